//! What each kind looks like, field by field, for its JSON Schema. The reader has the same rules in its own words; tests
//! compare the fields that both know, and change every place of every fixture to see that the two agree.

use crate::fields::analysis::alerts::SEVERITIES;
use crate::fields::webhooks::{MAX_RETRIES, TYPES};
use crate::reader::shape::{Field, Need, Shape, field, required};
use crate::schema::forms::{MOST, fields};
use crate::schema::guards::{ACTION, FAILURES, GUARDS};

const NONE: Need = Need::Nothing;
const COUNT: Shape = Shape::Whole(0, i32::MAX as i64);
const TEXT_MAP: Shape = Shape::Keyed(&Shape::Text);

/// `spec` of both.
pub(crate) const SPEC: &[Field] = &[
    field("metricsServer", Shape::Url, "The server of metrics with a query; http://prometheus:9090 by default."),
    field("skipAnalysis", Shape::Flag, "Promote without analysis."),
    field("revertOnDeletion", Shape::Flag, "Not acted on: nothing in a cluster was changed."),
    field(
        "suspend",
        Shape::Flag,
        "No release starts, a running one stops advancing; it is still judged and may be aborted.",
    ),
];

const TARGET_KIND: Shape = Shape::Word(&["Deployment", "DaemonSet", "Service"]);
const TARGET: &str = "The workload; its name is the default of the service's. Not acted on.";

/// `spec` of Flagger's.
pub(crate) const FLAGGERS_SPEC: &[Field] = &[required(
    "targetRef",
    fields(&[
        required("apiVersion", Shape::Text, ""),
        required("kind", TARGET_KIND, ""),
        required("name", Shape::Named, ""),
    ]),
    TARGET,
)];

/// `spec` of ours.
pub(crate) const OWN_SPEC: &[Field] = &[
    field(
        "targetRef",
        fields(&[
            field("apiVersion", Shape::Text, ""),
            required("kind", TARGET_KIND, ""),
            required("name", Shape::Named, ""),
        ]),
        TARGET,
    ),
    field(
        "upstreams",
        fields(&[
            field("primary", Shape::Upstream, "The service's name with -primary by default."),
            field("canary", Shape::Upstream, "The service's name with -canary by default."),
        ]),
        "What the routes call the two versions.",
    ),
    field(
        "promotion",
        fields(&[
            field(
                "mode",
                Shape::Word(&["copy", "swap"]),
                "Bring the primary to the new version (default), or swap roles.",
            ),
            field(
                "hook",
                Shape::Fields(PROMOTION, NONE),
                "Brings the primary to the new version; without it, `serin confirm`.",
            ),
        ]),
        "How a proven version becomes the primary.",
    ),
    field(
        "sticky",
        Shape::Fields(
            &[
                field("header", Shape::Token, ""),
                field("cookie", Shape::Token, ""),
                field("clientAddress", Shape::True, ""),
            ],
            Need::ExactlyOne(&["header", "cookie", "clientAddress"]),
        ),
        "What keeps a user on one side.",
    ),
    field(
        "versions",
        Shape::List(
            &fields(&[
                required("name", Shape::VersionName, "Its canary is called NAME.VERSION."),
                field("upstream", Shape::Upstream, "The service's name with the version's by default."),
                field(
                    "match",
                    Shape::List(&Shape::Fields(OWN_RULE, NONE), MOST),
                    "Requests that go to it whatever its weight.",
                ),
            ]),
            rollout::routing::lane::MAX_VERSIONS,
        ),
        "A/B/n: two or more versions, each released, judged and aborted on its own, each tried in an equal part of the traffic.",
    ),
    field(
        "winner",
        Shape::Word(crate::fields::traffic::versions::WINNERS),
        "Which version is promoted: the one whose stored gate `winner` is opened (default), or the first that is proven.",
    ),
];

const SECRET: Shape = fields(&[required(
    "secretRef",
    fields(&[required("name", Shape::Named, ""), field("namespace", Shape::Named, "The canary's by default.")]),
    "",
)]);

const PROMOTION: &[Field] = &[
    field("name", Shape::Named, "In messages; promotion-hook by default."),
    required("url", Shape::Url, ""),
    field("timeout", Shape::Span, "For each attempt; 10s by default."),
    field("retries", Shape::Whole(0, MAX_RETRIES), "Attempts after the first; 0 by default."),
    field("disableTLS", Shape::Flag, "Do not verify the certificate."),
    field("metadata", TEXT_MAP, "Sent unchanged."),
    field("headersFrom", SECRET, "Each key of the secret is a header."),
    field("signWith", SECRET, "The secret's key `key` signs the body."),
];

/// `service` of both, beside what is not acted on.
pub(crate) const SERVICE: &[Field] = &[
    field("name", Shape::Name, "The target's name, else the canary's, by default."),
    field("hosts", Shape::List(&Shape::Text, MOST), "Hosts beside the service's own names."),
    field("match", Shape::List(&crate::fields::unsupported_fields::MATCH, MOST), "One uri.prefix bounds the scope."),
];
/// `service` of ours.
pub(crate) const OWN_SERVICE: &[Field] = &[field("pathPrefix", Shape::Path, "The scope's path prefix; / by default.")];

/// `analysis` of both, beside what differs.
pub(crate) const ANALYSIS: &[Field] = &[
    field("interval", Shape::Span, "Time between checks, 1s to 24h; 60s by default."),
    field("maxWeight", Shape::Percent, "Where stepWeight ends; 100 by default."),
    field("stepWeight", Shape::Percent, "Added at each step."),
    field("stepWeights", Shape::List(&Shape::Percent, MOST), "The weights in order."),
    field("iterations", Shape::Whole(1, i32::MAX as i64), "Number of checks: with match A/B, without it blue/green."),
    field("mirror", Shape::Flag, "Copies of requests first, or during blue/green's iterations."),
    field("mirrorWeight", Shape::Percent, "Share of the requests that is copied; 100 by default."),
    field("stepWeightPromotion", Shape::Percent, "Traffic that returns at each interval; 0 is all at once."),
    field("alerts", Shape::List(&Shape::Fields(ALERT, NONE), MOST), "Who gets which events."),
    field(
        "sessionAffinity",
        crate::fields::traffic::affinity::SHAPE,
        "A cookie that the proxy issues, so that users stay on their version.",
    ),
];

/// `analysis` of Flagger's.
pub(crate) const FLAGGERS_ANALYSIS: &[Field] = &[
    field(
        "threshold",
        Shape::Whole(i32::MIN as i64, i32::MAX as i64),
        "The failed check of this number rolls back; 1 by default.",
    ),
    field(
        "match",
        Shape::List(&Shape::Fields(RULE, NONE), MOST),
        "Requests that go to the canary whatever the weight.",
    ),
    field("metrics", Shape::List(&Shape::Fields(METRIC, NONE), MOST), "Thresholds to check."),
    field("webhooks", Shape::List(&Shape::Fields(WEBHOOK, NONE), MOST), "Hooks and gates."),
];
/// Ways to give traffic in Flagger's form.
pub(crate) const FLAGGERS_WAYS: Need = Need::ExactlyOne(&["stepWeight", "stepWeights", "iterations"]);

/// `analysis` of ours.
pub(crate) const OWN_ANALYSIS: &[Field] = &[
    field("threshold", Shape::Whole(1, i32::MAX as i64), "The failed check of this number rolls back; 1 by default."),
    field(
        "match",
        Shape::List(&Shape::Fields(OWN_RULE, NONE), MOST),
        "Requests that go to the canary whatever the weight.",
    ),
    field("metrics", Shape::List(&Shape::Fields(OWN_METRIC, NONE), MOST), "Thresholds to check."),
    field(
        "webhooks",
        Shape::List(&Shape::Fields(OWN_WEBHOOK, Need::ExactlyOne(&["url", "gate"])), MOST),
        "Hooks and gates.",
    ),
    field(
        "metricsBlindLimit",
        COUNT,
        "Checks that may pass without a metric value; one more rolls back; 10 by default.",
    ),
    field(
        "steps",
        Shape::List(
            &fields(&[
                required("weight", Shape::Percent, ""),
                field("dwell", Shape::Span, "The step lasts at least this long."),
                field("pause", Shape::Flag, "The step lasts until `serin resume`."),
            ]),
            MOST,
        ),
        "The weights in order, each with its conditions.",
    ),
    field("bakeTime", Shape::Span, "How long all traffic stays on the proven version before promotion."),
    field(
        "deadlines",
        fields(&[
            field("waiting", Shape::Span, "For the approval to start."),
            field("progressing", Shape::Span, "From the first traffic to promotion."),
            field("waitingPromotion", Shape::Span, "For the approval to promote."),
            field("promoting", Shape::Span, "Until the primary runs the new version."),
        ]),
        "A phase that lasts longer aborts the release; none by default.",
    ),
    field(
        "onPrimaryFailure",
        Shape::Word(&["hold", "shift"]),
        "What follows by itself when the primary fails and the canary is proven: it keeps its share, or gets all; hold by default.",
    ),
    field("advance", Shape::Word(&["certificate", "interval"]), "What ends a step."),
    field(
        "certificate",
        fields(&[
            field("alpha", Shape::Number, "Bound on wrongly certifying; between 0 and 0.5."),
            field("minDwell", Shape::Span, "Least time on a step."),
            field("undecided", PATIENCE, "What is done with a step that is not proven."),
            field("noData", PATIENCE, "What is done with a step without requests."),
        ]),
        "How strict the certificate is.",
    ),
    field("measure", Shape::Word(&["responseHeaders", "lastByte"]), "Where a version's time ends."),
    field(
        "warmUp",
        Shape::Either(&[
            Shape::Word(&["off"]),
            fields(&[
                field("time", Shape::Span, "At most 5m."),
                field("requests", Shape::Whole(0, 4_294_967_295), "On each worker of a proxy."),
            ]),
        ]),
        "The canary's first requests in a release, whose latency does not count; 10s by default.",
    ),
    field("streamGoodAfter", Shape::Span, "An answer that stays open so long is good; 10s by default."),
    field("failures", FAILURES, "Which statuses are failures."),
    field(
        "guards",
        Shape::Either(&[ACTION, fields(GUARDS)]),
        "Sequential tests that may abort at any moment; abort by default.",
    ),
];
/// Ways to give traffic in our form.
pub(crate) const OWN_WAYS: Need = Need::ExactlyOne(&["stepWeight", "stepWeights", "iterations", "steps"]);

const PATIENCE: Shape =
    fields(&[field("after", Shape::Span, ""), field("then", Shape::Word(&["hold", "pause", "fail"]), "")]);

const FORM: Shape = Shape::Fields(
    &[
        field("exact", Shape::Text, ""),
        field("prefix", Shape::Text, ""),
        field("suffix", Shape::Text, ""),
        field("regex", Shape::Text, "The whole value; RE2."),
    ],
    Need::ExactlyOne(&["exact", "prefix", "suffix", "regex"]),
);
const OWN_FORM: Shape = Shape::Fields(
    &[
        field("exact", Shape::Text, ""),
        field("prefix", Shape::Text, ""),
        field("suffix", Shape::Text, ""),
        field("regex", Shape::Text, "The whole value; RE2."),
        field("present", Shape::True, ""),
    ],
    Need::ExactlyOne(&["exact", "prefix", "suffix", "regex", "present"]),
);
const RULE: &[Field] = &[
    field("headers", Shape::Keyed(&FORM), ""),
    field("queryParams", Shape::Keyed(&FORM), ""),
    field("sourceLabels", Shape::Any, "Holds the release: the proxy does not know them."),
];
const OWN_RULE: &[Field] = &[
    field("headers", Shape::Keyed(&OWN_FORM), ""),
    field("withoutHeaders", Shape::Keyed(&OWN_FORM), ""),
    field("cookies", Shape::Keyed(&OWN_FORM), ""),
    field("queryParams", Shape::Keyed(&OWN_FORM), ""),
    field("path", OWN_FORM, ""),
    field("sourceLabels", Shape::Any, "Holds the release: the proxy does not know them."),
];

const RANGE: Shape = fields(&[field("min", Shape::Number, ""), field("max", Shape::Number, "")]);
const REFERENCE: Shape =
    fields(&[required("name", Shape::Name, ""), field("namespace", Shape::Name, "The canary's by default.")]);
macro_rules! metric {
    ($($more:expr),*) => {
        &[
            required("name", Shape::Named, "request-success-rate and request-duration are measured in the proxy."),
            field("interval", Shape::Span, "The window, 1s to 24h; 1m by default."),
            field("thresholdRange", RANGE, "What is good; both ends included."),
            field("threshold", Shape::Number, "Deprecated: the least success rate, the greatest of anything else."),
            field("templateRef", REFERENCE, "The MetricTemplate whose server is queried."),
            field("templateVariables", TEXT_MAP, ""),
            field("query", Shape::Text, "Deprecated: sent to metricsServer."),
            $($more),*
        ]
    };
}
const METRIC: &[Field] = metric!();
const OWN_METRIC: &[Field] = metric!(field("quantile", Shape::Number, "Of request-duration; 0.95 by default."));

macro_rules! webhook {
    ($url:expr $(, $more:expr)*) => {
        &[
            required("name", Shape::Named, ""),
            field("type", Shape::Word(TYPES), "When it is called; rollout by default."),
            $url("url", Shape::Url, ""),
            field("timeout", Shape::Span, "For each attempt; 10s by default."),
            field("retries", Shape::Whole(0, MAX_RETRIES), "Attempts after the first; 0 by default."),
            field("disableTLS", Shape::Flag, "Do not verify the certificate."),
            field("muteAlert", Shape::Flag, "Send no alert while its approval is awaited."),
            field("metadata", TEXT_MAP, "Sent unchanged."),
            $($more),*
        ]
    };
}
const WEBHOOK: &[Field] = webhook!(required);
const OWN_WEBHOOK: &[Field] = webhook!(
    field,
    field("gate", Shape::True, "A gate that this agent keeps, instead of url; for approvals and rollback."),
    field("headersFrom", SECRET, "Each key of the secret is a header."),
    field("signWith", SECRET, "The secret's key `key` signs the body.")
);

const ALERT: &[Field] = &[
    required("name", Shape::Named, ""),
    field("severity", Shape::Word(SEVERITIES), "The least severe event that is sent; info by default."),
    required("providerRef", REFERENCE, "The AlertProvider."),
];
