//! The fields of `analysis.guards` and `analysis.failures`.

use rollout::routing::failure_codes::GRPC_NAMES;

use super::forms::{MOST, fields};
use crate::reader::shape::{Field, Shape, field};

/// What a guard does.
pub(super) const ACTION: Shape = Shape::Word(&["abort", "pause", "notify", "off"]);

/// Which statuses are failures.
pub(super) const FAILURES: Shape = fields(&[
    field("httpExcept", Shape::List(&Shape::Whole(500, 599), MOST), "Statuses that are no failures; none by default."),
    field("grpc", Shape::List(&GRPC_STATUS, MOST), "gRPC statuses that are."),
]);

/// All but OK.
const GRPC_STATUS: Shape = match GRPC_NAMES.split_first() {
    Some((_, names)) => Shape::Word(names),
    None => Shape::Word(&[]),
};

const FORGIVING_GUARD: Shape = Shape::Either(&[
    ACTION,
    fields(&[
        field("action", ACTION, ""),
        field("unlessPrimaryAlso", Shape::Flag, "Whether what the primary suffers too is forgiven; true by default."),
    ]),
]);
const RELATIVE_GUARD: Shape = Shape::Either(&[
    ACTION,
    fields(&[
        field("action", ACTION, ""),
        field("margin", Shape::Number, "Times the primary's."),
        field("floor", Shape::Number, "In percent."),
    ]),
]);
/// Each guard by itself.
pub(super) const GUARDS: &[Field] = &[
    field("action", ACTION, "What each does unless it says otherwise."),
    field("alpha", Shape::Number, "Bound on a false abort over a whole release; 0.01 by default."),
    field("maxCluster", Shape::Whole(1, 1000), "Failures that one event may cause."),
    field("slo", FORGIVING_GUARD, ""),
    field("regression", RELATIVE_GUARD, ""),
    field("latency", FORGIVING_GUARD, ""),
    field("clientErrors", RELATIVE_GUARD, "Too many 4xx answers beside the primary's; pauses by default."),
    field("abandonment", RELATIVE_GUARD, "Too many requests that clients gave up; pauses by default."),
    field(
        "latencyRegression",
        Shape::Either(&[
            ACTION,
            fields(&[
                field("action", ACTION, ""),
                field("margin", Shape::Number, "Times the primary's."),
                field("floor", Shape::Span, ""),
            ]),
        ]),
        "",
    ),
    field(
        "sampleRatio",
        Shape::Either(&[
            ACTION,
            fields(&[
                field("action", ACTION, ""),
                field("tolerance", Shape::Number, "In percent."),
                field("alpha", Shape::Number, ""),
            ]),
        ]),
        "",
    ),
];
