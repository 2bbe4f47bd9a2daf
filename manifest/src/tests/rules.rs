//! The rest of the table of mistakes: one place changed in a file that has every field, and the field that is named.

use super::*;

/// Every problem after one change, without its place.
fn problems(base: &str, from: &str, to: &str) -> Vec<String> {
    assert!(base.contains(from), "the base has no {from:?}");
    let documents = read("f.yaml", &base.replacen(from, to, 1)).documents;
    let refused = documents.into_iter().filter_map(|document| document.result.err()).flatten();
    refused.map(|problem| problem.to_string().split_once(": ").map(|(_, shown)| shown.to_owned()).unwrap()).collect()
}

/// What a wrong MetricTemplate or AlertProvider means for the Canary that names it is reported too.
fn check(base: &str, cases: &[(&str, &str, &str)]) {
    for (from, to, expected) in cases {
        let found = problems(base, from, to);
        let is_told = found.iter().any(|shown| shown.starts_with(expected));
        let others =
            found.iter().filter(|shown| !shown.starts_with(expected) && !shown.contains("which is itself refused"));
        assert!(is_told && others.count() == 0, "{from:?} -> {to:?}: {expected:?} is not {found:#?}");
    }
}

#[test]
fn what_stands_beside_the_proxies_is_validated_too() {
    check(
        FULL,
        &[
            ("provider: gatewayapi:v1", "provider: istia", "spec.provider: \"istia\" is not supported"),
            (
                "metricsServer: http",
                "metricsServer: ftp",
                "spec.metricsServer: \"ftp://prometheus.monitoring:9090\" is not a valid URL",
            ),
            (
                "progressDeadlineSeconds: 60",
                "progressDeadlineSeconds: 1m",
                "spec.progressDeadlineSeconds: expected a number",
            ),
            (
                "progressDeadlineSeconds: 60",
                "progressDeadlineSeconds: -1",
                "spec.progressDeadlineSeconds: -1 must be a whole number",
            ),
            ("apiVersion: apps/v1, kind: Deployment", "kind: Deployment", "spec.targetRef.apiVersion: is missing"),
            (
                "kind: Deployment, name: book-app",
                "kind: Job, name: book-app",
                "spec.targetRef.kind: \"Job\" is not supported",
            ),
            ("kind: ScaledObject", "kind: Scaler", "spec.autoscalerRef.kind: \"Scaler\""),
            (
                "minReplicas: 2",
                "minReplicas: 0",
                "spec.autoscalerRef.primaryScalerReplicas.minReplicas: 0 must be a whole number from 1",
            ),
            ("kind: Ingress, name: book-ingress", "kind: Ingress", "spec.ingressRef.name: is missing"),
            ("kind: ApisixRoute", "kind: Route", "spec.routeRef.kind: \"Route\""),
            (
                "namespace: gloo",
                "namespaze: gloo",
                "spec.upstreamRef.namespaze: is not a field of spec.upstreamRef; did you mean namespace?",
            ),
            ("revertOnDeletion: true", "revertOnDeletion: yes", "spec.revertOnDeletion: expected true or false"),
            ("    port: 80\n", "", "spec.service.port: is missing"),
            ("    port: 80\n", "    port: 70000\n", "spec.service.port: 70000 must be a whole number from 1 to 65535"),
            ("targetPort: 8080", "targetPort: [1]", "spec.service.targetPort: expected a number"),
            ("PreferClose", "PreferFar", "spec.service.trafficDistribution: \"PreferFar\""),
            ("timeout: 15s\n    backend", "timeout: 15\n    backend", "spec.service.timeout: expected a time span"),
            (
                "uri: { prefix: /book }",
                "uri: { prefix: /book, exact: /b }",
                "spec.service.match[0].uri: must have exactly one of exact, prefix, regex",
            ),
            ("type: ReplacePrefixMatch", "type: Prefix", "spec.service.rewrite.type: \"Prefix\""),
            ("attempts: 3", "attempts: three", "spec.service.retries.attempts: expected a number"),
            (
                "remove: [x-e] }\n      response",
                "remove: x-e }\n      response",
                "spec.service.headers.request.remove: expected a list",
            ),
            ("maxAge: 24h", "maxAge: 1d", "spec.service.corsPolicy.maxAge: \"1d\" is not a time span"),
            ("kind: Service, name: shadow,", "kind: Service,", "spec.service.mirror[0].backendRef.name: is missing"),
            (
                "primaryReadyThreshold: 90",
                "primaryReadyThreshold: 190",
                "spec.analysis.primaryReadyThreshold: 190 must be from 0 to 100",
            ),
        ],
    );
}

#[test]
fn hooks_metrics_and_alerts_of_flagger() {
    check(
        FULL,
        &[
            ("mirrorWeight: 25", "mirrorWeight: 125", "spec.analysis.mirrorWeight: 125 must be from 0 to 100"),
            ("mirror: true", "mirror: 1", "spec.analysis.mirror: expected true or false"),
            (
                "stepWeightPromotion: 20",
                "stepWeightPromotion: -20",
                "spec.analysis.stepWeightPromotion: -20 must be from 0 to 100",
            ),
            ("stepWeightPromotion: 20", "bakeTime: 5m", "spec.analysis.bakeTime: is a field of serin.dev/v1alpha1"),
            (
                "stepWeightPromotion: 20",
                "steps: []",
                "spec.analysis.steps: is a field of serin.dev/v1alpha1; here write stepWeights",
            ),
            ("muteAlert: true", "muteAlert: sure", "spec.analysis.webhooks[0].muteAlert: expected true or false"),
            ("muteAlert: true", "gate: true", "spec.analysis.webhooks[0].gate: is a field of serin.dev/v1alpha1"),
            (
                "retries: 2 }",
                "retries: 101 }",
                "spec.analysis.webhooks[1].retries: 101 must be a whole number from 0 to 100",
            ),
            ("timeout: 3m", "timeout: 0s", "spec.analysis.webhooks[1].timeout: 0s must be from 1ms to 24h"),
            ("timeout: 3m", "timeout: 25h", "spec.analysis.webhooks[1].timeout: 90000s must be from 1ms to 24h"),
            (
                "name: more, type: confirm-traffic-increase",
                "name: more, type: promotion",
                "spec.analysis.webhooks[3].type: \"promotion\" is not a type of webhook",
            ),
            ("name: more, ", "", "spec.analysis.webhooks[3].name: is missing"),
            ("name: more, ", "name: \"\", ", "spec.analysis.webhooks[3].name: \"\" is empty"),
            (
                "url: \"http://gate.shop/more\"",
                "url: gate.shop",
                "spec.analysis.webhooks[3].url: \"gate.shop\" is not a valid URL",
            ),
            (
                "type: cmd }",
                "type: 5 }",
                "spec.analysis.webhooks[2].metadata.type: expected a text, found the number 5; put it in quotes",
            ),
            (
                "severity: error",
                "severity: fatal",
                "spec.analysis.alerts[0].severity: \"fatal\" is not supported; use info, warn, error",
            ),
            (
                ", providerRef: { name: on-call, namespace: observability }",
                "",
                "spec.analysis.alerts[0].providerRef: is missing",
            ),
            (
                "templateRef: { name: error-rate, namespace: observability }",
                "templateRef: { namespace: observability }",
                "spec.analysis.metrics[2].templateRef.name: is missing",
            ),
            (
                "direction: inbound",
                "direction: 1",
                "spec.analysis.metrics[2].templateVariables.direction: expected a text",
            ),
            (
                "templateVariables: { direction: inbound }",
                "templateVariables: { dir: inbound }",
                "spec.analysis.metrics[2].templateRef: the query of the MetricTemplate observability/error-rate cannot be rendered: line 2",
            ),
            ("interval: 2m", "interval: 25h", "spec.analysis.metrics[2].interval: \"25h\" must be from 1s to 24h"),
            ("interval: 2m", "interval: soon", "spec.analysis.metrics[2].interval: \"soon\" is not a time span"),
            (
                "{ max: 1.5 }",
                "{ max: 1.5, min: 2 }",
                "spec.analysis.metrics[2].thresholdRange.min: 2 is greater than max, 1.5",
            ),
            ("thresholdRange: { min: 1, max: 500 }", "a: b", "spec.analysis.metrics[1].a: is not a field"),
            ("{{ target }}\"}", "{{ pod }}\"}", "spec.analysis.metrics[3].query: "),
        ],
    );
}

#[test]
fn templates_and_providers() {
    check(
        FULL,
        &[
            (
                "type: cloudwatch, region: eu-central-1",
                "type: cloudwatch",
                "spec.provider.region: is missing; cloudwatch needs it",
            ),
            ("type: cloudwatch", "type: http", "spec.provider.type: \"http\" is not supported"),
            (
                "insecureSkipVerify: true",
                "insecureSkipVerify: 1",
                "spec.provider.insecureSkipVerify: expected true or false",
            ),
            (
                "X-Scope-OrgID: [shop, all]",
                "X-Scope-OrgID: shop",
                "spec.provider.headers.X-Scope-OrgID: expected a list",
            ),
            (
                "secretRef: { name: prometheus }",
                "secretRef: { name: prometheus, namespace: a }",
                "spec.provider.secretRef.namespace: cannot be chosen",
            ),
            ("type: slack", "type: webhook", "spec.type: \"webhook\" is not supported"),
            ("proxy: http://proxy.shop:3128", "proxy: proxy.shop", "spec.proxy: \"proxy.shop\" is not a valid URL"),
            (
                "type: msteams, address: \"https://teams.example.com/1\"",
                "type: msteams",
                "spec: must have one of address, secretRef",
            ),
        ],
    );
}

#[test]
fn what_only_our_own_kind_has() {
    check(
        FULL_OWN,
        &[
            (
                "weight: 10\n",
                "weight: 0.5\n",
                "spec.analysis.steps[1].weight: 0.5 must be greater than the step before it",
            ),
            ("      - weight: 10\n        pause", "      - pause", "spec.analysis.steps[1].weight: is missing"),
            ("dwell: 5m", "dwell: 25h", "spec.analysis.steps[0].dwell: 90000s must be at most 24h"),
            ("pause: true", "pause: 5m", "spec.analysis.steps[1].pause: expected true or false"),
            ("bakeTime: 10m", "bakeTime: 0s", "spec.analysis.bakeTime: 0s must be from 1s to 24h"),
            ("waiting: 24h", "waiting: 25h", "spec.analysis.deadlines.waiting: 90000s must be from 1s to 24h"),
            ("waiting: 24h", "finalising: 1h", "spec.analysis.deadlines.finalising: is not a field"),
            ("bakeTime: 10m", "stepWeight: 10", "spec.analysis.steps: is given beside stepWeight"),
            (
                "metricsBlindLimit: 6",
                "metricsBlindLimit: -1",
                "spec.analysis.metricsBlindLimit: -1 must be a whole number",
            ),
            ("stepWeightPromotion: 25", "mirrorWeight: 0", "spec.analysis.mirrorWeight: 0 must be greater than 0"),
            ("type: rollback, gate: true", "type: event, gate: true", "spec.analysis.webhooks[1]: cannot be a gate"),
            (
                "type: rollback, gate: true",
                "type: rollback, gate: false",
                "spec.analysis.webhooks[1].gate: false has no meaning here",
            ),
            (
                "type: rollback, gate: true",
                "type: rollback, gate: true, url: \"http://a/\"",
                "spec.analysis.webhooks[1].url: \"http://a/\" has no effect beside gate: true",
            ),
            (
                "name: red-button",
                "name: change-board",
                "spec.analysis.webhooks[1].name: change-board is the name of a hook above it too; a gate is opened by its name",
            ),
            ("secretRef: { name: load-key }", "", "spec.analysis.webhooks[2].signWith.secretRef: is missing"),
            ("thresholdRange: { min: 0, max: 100 }", "thresholdRange: {}", "spec.analysis.metrics[1]: has no bounds"),
            ("        thresholdRange: { min: 0, max: 100 }\n", "", "spec.analysis.metrics[1]: has no bounds"),
            ("url: https://deploy.example.com/till", "timeout: 5s", "spec.promotion.hook.url: is missing"),
            ("type: webhook", "type: pager", "spec.type: \"pager\" is not supported"),
            ("type: http", "type: https", "spec.provider.type: \"https\" is not supported"),
            ("address: \"http://stats.shop\"", "region: a", "spec.provider.address: is missing"),
        ],
    );
}

#[test]
fn names_that_stand_twice_are_told() {
    let twice = FULL
        .replace("name: again", "name: load")
        .replace("name: saturation\n        temp", "name: error-rate\n        temp");
    let shown = warnings(&twice).join("\n");
    assert!(
        shown.contains("spec.analysis.webhooks[8]: has the name \"load\", which a hook above it has too"),
        "{shown}"
    );
    assert!(shown.contains("spec.analysis.metrics[4]: has the name of a metric above it"), "{shown}");
}
