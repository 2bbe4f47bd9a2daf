//! The rules that a plan keeps, each in the manifest's terms.

use super::{
    Advance, Check, MAX_INTERVAL, MAX_ITEMS, MIN_INTERVAL, Metric, Outside, PlanError, Promotion, Spec, Strategy,
    ThresholdRange,
};
use crate::base::time::Millis;
use crate::judgement::certificate::certifiable;
use crate::judgement::guards::{GuardRule, Guards};
use crate::release::integrations::{Hook, HookTarget};
use crate::routing::measurement::{GOOD_AFTER, MAX_WARM_UP, Measurement};
use crate::routing::table::{Scope, WeightPpm};

/// Most failures that may be taken as one event; more would blind the guards.
const MAX_CLUSTER: u32 = 1000;
/// Most retries of one call.
const MAX_RETRIES: u32 = 100;

/// Every rule that a spec breaks.
pub(super) fn broken(spec: &Spec) -> Vec<PlanError> {
    let mut rules = Rules::default();
    rules.routing(spec);
    rules.strategy(&spec.strategy);
    rules.timing(spec);
    spec.checks.iter().enumerate().for_each(|(n, check)| rules.check(n, check));
    rules.measurement(&spec.measurement);
    rules.guards(&spec.guards);
    rules.advance(spec);
    rules.course(spec);
    rules.lane(spec);
    rules.outside(spec);
    rules.0
}

#[derive(Default)]
struct Rules(Vec<PlanError>);

impl Rules {
    fn broken(&mut self, field: impl Into<String>, value: impl std::fmt::Display, rule: impl Into<String>) {
        self.0.push(PlanError { field: field.into(), value: value.to_string(), rule: rule.into() });
    }

    fn routing(&mut self, spec: &Spec) {
        if spec.primary == spec.canary {
            self.broken(
                "spec.upstreams.canary",
                &spec.canary,
                "is also the primary; the two must be different upstreams",
            );
        }
        if spec.scope.hosts.is_empty() {
            self.broken("spec.service.hosts", "[]", "is empty; without it the service's own names are used");
        }
        let prefixes = &spec.scope.path_prefixes;
        for prefix in prefixes.iter().filter(|prefix| !prefix.starts_with('/')) {
            self.broken("spec.service.match", prefix, "must begin with /");
        }
        if prefixes.is_empty() || *prefixes != Scope::merged(prefixes.clone()) {
            self.broken(
                "spec.service.match",
                format!("{prefixes:?}"),
                "must be prefixes in order, none within another",
            );
        }
        for (length, field) in [
            (spec.scope.hosts.len(), "spec.service.hosts"),
            (spec.rules.len(), "spec.analysis.match"),
            (spec.checks.len(), "spec.analysis.metrics"),
        ] {
            if length > MAX_ITEMS {
                self.broken(field, length, format!("items are too many; at most {MAX_ITEMS}"));
            }
        }
        for (n, _) in spec.rules.iter().enumerate().filter(|(_, rule)| rule.is_empty()) {
            self.broken(format!("spec.analysis.match[{n}]"), "{}", "has no condition and would match every request");
        }
    }

    fn measurement(&mut self, measurement: &Measurement) {
        let Measurement { warm_up, good_after, .. } = measurement;
        if warm_up.time > MAX_WARM_UP {
            self.broken(
                "spec.analysis.warmUp.time",
                format!("{} ms", warm_up.time.0),
                "is too long; at most 5m is allowed",
            );
        }
        if !GOOD_AFTER.contains(good_after) {
            self.broken("spec.analysis.streamGoodAfter", format!("{} ms", good_after.0), "is outside 1s to 1h");
        }
    }

    fn strategy(&mut self, strategy: &Strategy) {
        match strategy {
            Strategy::Steps(weights) => self.weights(weights),
            Strategy::Iterations(0) => {
                self.broken("spec.analysis.iterations", 0, "must be at least 1");
            }
            Strategy::Iterations(_) => {}
        }
    }

    fn weights(&mut self, weights: &[WeightPpm]) {
        const FIELD: &str = "spec.analysis.stepWeights";
        if weights.is_empty() || weights.len() > MAX_ITEMS {
            self.broken(FIELD, weights.len(), format!("items; there must be 1 to {MAX_ITEMS}"));
        }
        let mut last = WeightPpm::ZERO;
        for (n, weight) in weights.iter().enumerate() {
            if *weight <= last {
                let rule = "must be greater than the step before it (and the first greater than 0)";
                self.broken(format!("{FIELD}[{n}]"), weight.percent(), rule);
            }
            last = *weight;
        }
    }

    /// What several versions that share one primary and its traffic cannot have.
    fn lane(&mut self, spec: &Spec) {
        let Some(lane) = &spec.scope.lane else { return };
        let most = lane.width();
        if let Strategy::Steps(weights) = &spec.strategy {
            for (n, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > most) {
                let most = most.percent();
                let rule = format!("is more than {most} %, an equal part for each of the versions");
                self.broken(format!("spec.analysis.stepWeights[{n}]"), weight.percent(), rule);
            }
        }
        if matches!(spec.strategy, Strategy::Iterations(_)) && spec.rules.is_empty() {
            let rule =
                "without a match would give all traffic to one of several versions; use weights, or a match in each";
            self.broken("spec.analysis.iterations", "", rule);
        }
        if spec.promotion == Promotion::Swap {
            let rule = "would change the primary under the other versions; only copy can promote one of several";
            self.broken("spec.promotion.mode", "swap", rule);
        }
        if spec.course.bake.is_some() {
            let rule = "would give all traffic to one of several versions; a longer dwell of the last step can do it";
            self.broken("spec.analysis.bakeTime", "", rule);
        }
    }

    fn timing(&mut self, spec: &Spec) {
        self.span("spec.analysis.interval", spec.interval);
        if spec.threshold == 0 {
            self.broken("spec.analysis.threshold", 0, "must be at least 1: the failed check of this number rolls back");
        }
        if let Promotion::Copy { hook: Some(hook) } = &spec.promotion {
            self.hook("spec.promotion.hook", hook);
        }
    }

    fn check(&mut self, n: usize, check: &Check) {
        let field = format!("spec.analysis.metrics[{n}]");
        self.span(&format!("{field}.interval"), check.window);
        let ThresholdRange { min, max } = check.range;
        for (end, value) in [("min", min), ("max", max)] {
            let Some(value) = value else { continue };
            let (low, high) = match check.metric {
                Metric::SuccessRate => (0.0, 100.0),
                Metric::Duration { .. } => (0.0, 86_400_000.0),
            };
            if !(low..=high).contains(&value) {
                self.broken(format!("{field}.thresholdRange.{end}"), value, format!("must be from {low} to {high}"));
            }
        }
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            self.broken(format!("{field}.thresholdRange.min"), min, format!("is greater than max, {max}"));
        }
        if let Metric::Duration { quantile } = check.metric
            && !(quantile > 0.0 && quantile < 1.0)
        {
            self.broken(format!("{field}.quantile"), quantile, "must lie between 0 and 1, both excluded");
        }
    }

    fn guards(&mut self, guards: &Guards) {
        const FIELD: &str = "spec.analysis.guards";
        self.alpha(&format!("{FIELD}.alpha"), guards.alpha);
        if guards.max_cluster == 0 || guards.max_cluster > MAX_CLUSTER {
            let rule = format!("must be from 1 to {MAX_CLUSTER}");
            self.broken(format!("{FIELD}.maxCluster"), guards.max_cluster, rule);
        }
        for guard in &guards.guards {
            let field = format!("{FIELD}.{}", guard.rule.name().name());
            match guard.rule {
                GuardRule::Slo { limit, .. } => self.share(&field, limit),
                GuardRule::Regression { margin, floor_rate }
                | GuardRule::ClientErrors { margin, floor_rate }
                | GuardRule::Abandonment { margin, floor_rate } => {
                    self.margin(&field, margin);
                    self.share(&format!("{field}.floor"), floor_rate);
                }
                GuardRule::Latency { share, .. } => self.share(&field, share),
                GuardRule::LatencyRegression { margin, share, .. } => {
                    self.margin(&field, margin);
                    self.share(&field, share);
                }
            }
        }
        if let Some(ratio) = &guards.sample_ratio {
            self.alpha(&format!("{FIELD}.sampleRatio.alpha"), ratio.alpha);
            self.share(&format!("{FIELD}.sampleRatio.tolerance"), ratio.tolerance);
        }
    }

    fn advance(&mut self, spec: &Spec) {
        const FIELD: &str = "spec.analysis.certificate";
        let Advance::Certificate(certificate) = &spec.advance else { return };
        self.alpha(&format!("{FIELD}.alpha"), certificate.alpha);
        if certificate.min_dwell > MAX_INTERVAL {
            self.broken(format!("{FIELD}.minDwell"), millis(certificate.min_dwell), "must be at most 24h");
        }
        self.span(&format!("{FIELD}.undecided.after"), certificate.undecided.after);
        self.span(&format!("{FIELD}.noData.after"), certificate.no_data.after);
        if certifiable(&spec.guards).next().is_none() {
            let rule = "has nothing to certify: give a metric a thresholdRange (request-success-rate with min, \
                        request-duration with max) whose guard is not off or notify, or use advance: interval";
            self.broken("spec.analysis.advance", "certificate", rule);
        }
        if let Strategy::Iterations(count) = spec.strategy {
            let rule = "counts intervals, which advance: certificate does not have; use advance: interval";
            self.broken("spec.analysis.iterations", count, rule);
        }
    }

    fn course(&mut self, spec: &Spec) {
        const FIELD: &str = "spec.analysis";
        let course = &spec.course;
        let phases = [
            ("waiting", course.deadlines.waiting),
            ("progressing", course.deadlines.progressing),
            ("waitingPromotion", course.deadlines.waiting_promotion),
            ("promoting", course.deadlines.promoting),
        ];
        for (phase, after) in phases.into_iter().filter_map(|(phase, after)| Some((phase, after?))) {
            self.span(&format!("{FIELD}.deadlines.{phase}"), after);
        }
        if let Some(bake) = course.bake {
            self.span(&format!("{FIELD}.bakeTime"), bake);
        }
        for (n, stop) in course.stops.iter().enumerate().filter(|(_, stop)| stop.dwell > MAX_INTERVAL) {
            self.broken(format!("{FIELD}.steps[{n}].dwell"), millis(stop.dwell), "must be at most 24h");
        }
        for (field, share) in [("mirrorWeight", course.mirror), ("stepWeightPromotion", course.promotion_step)] {
            if share == Some(WeightPpm::ZERO) {
                self.broken(format!("{FIELD}.{field}"), 0, "must be greater than 0");
            }
        }
    }

    fn outside(&mut self, spec: &Spec) {
        let Outside { hooks, metrics, alerts, .. } = &spec.outside;
        for (length, field) in [
            (hooks.len(), "spec.analysis.webhooks"),
            (metrics.len(), "spec.analysis.metrics"),
            (alerts.len(), "spec.analysis.alerts"),
        ] {
            if length > MAX_ITEMS {
                self.broken(field, length, format!("items are too many; at most {MAX_ITEMS}"));
            }
        }
        for (n, hook) in hooks.iter().enumerate() {
            let field = format!("spec.analysis.webhooks[{n}]");
            self.hook(&field, hook);
            let is_gate = |other: &Hook| other.target == HookTarget::Gate || hook.target == HookTarget::Gate;
            if hooks.iter().take(n).any(|other| other.name == hook.name && is_gate(other)) {
                let rule = "is the name of a hook above it too; a gate is opened by its name, which must be its own";
                self.broken(format!("{field}.name"), &hook.name, rule);
            }
        }
        for (n, metric) in metrics.iter().enumerate() {
            let field = format!("spec.analysis.metrics[{n}]");
            self.span(&format!("{field}.interval"), metric.window);
            for (end, value) in [("min", metric.range.min), ("max", metric.range.max)] {
                if let Some(value) = value.filter(|value| !value.is_finite()) {
                    self.broken(format!("{field}.thresholdRange.{end}"), value, "must be a finite number");
                }
            }
        }
    }

    fn hook(&mut self, field: &str, hook: &Hook) {
        match &hook.target {
            HookTarget::Gate if !hook.kind.is_approval() => {
                let rule = "cannot be a gate; gates are for confirm-rollout, confirm-traffic-increase, \
                            confirm-promotion and rollback";
                self.broken(format!("{field}.type"), hook.kind.name(), rule);
            }
            HookTarget::Gate => {}
            HookTarget::Call(call) => {
                if call.timeout == Millis(0) || call.timeout > MAX_INTERVAL {
                    self.broken(format!("{field}.timeout"), millis(call.timeout), "must be from 1ms to 24h");
                }
                if call.retries > MAX_RETRIES {
                    self.broken(format!("{field}.retries"), call.retries, format!("must be at most {MAX_RETRIES}"));
                }
                if !(call.url.starts_with("http://") || call.url.starts_with("https://")) {
                    self.broken(format!("{field}.url"), &call.url, "must begin with http:// or https://");
                }
            }
        }
    }

    fn alpha(&mut self, field: &str, alpha: f64) {
        if !(alpha > 0.0 && alpha < 0.5) {
            self.broken(field, alpha, "must lie between 0 and 0.5, both excluded");
        }
    }

    fn margin(&mut self, field: &str, margin: f64) {
        if !(1.0..=100.0).contains(&margin) {
            self.broken(format!("{field}.margin"), margin, "must be from 1 to 100 times the primary's");
        }
    }

    /// A share, written in percent; nearer to the ends the tests' arithmetic would lose it.
    fn share(&mut self, field: &str, share: f64) {
        if !(1e-9..=1.0 - 1e-9).contains(&share) {
            self.broken(field, share * 100.0, "must lie between 0 and 100 percent, both excluded");
        }
    }

    fn span(&mut self, field: &str, span: Millis) {
        if span < MIN_INTERVAL || span > MAX_INTERVAL {
            self.broken(field, millis(span), "must be from 1s to 24h");
        }
    }
}

fn millis(span: Millis) -> String {
    if span.0.is_multiple_of(1000) { format!("{}s", span.0 / 1000) } else { format!("{}ms", span.0) }
}
