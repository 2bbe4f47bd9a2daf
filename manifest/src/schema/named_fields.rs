//! The fields of what Canaries name: MetricTemplates and AlertProviders.

use super::forms::{MOST, fields};
use crate::fields::named::templates::{ALERT_TYPES, METRIC_TYPES, OWN_ALERT_TYPES, OWN_METRIC_TYPES};
use crate::reader::shape::{Field, Need, Shape, field, required};

const LOCAL_SECRET: Shape = fields(&[required("name", Shape::Text, "In the document's own namespace.")]);
macro_rules! template {
    ($types:expr) => {
        &[
            required(
                "provider",
                fields(&[
                    required("type", Shape::Word($types), ""),
                    field("address", Shape::Text, ""),
                    field("region", Shape::Text, "The region of cloudwatch."),
                    field("headers", Shape::Keyed(&Shape::List(&Shape::Text, MOST)), ""),
                    field("secretRef", LOCAL_SECRET, ""),
                    field("insecureSkipVerify", Shape::Flag, ""),
                ]),
                "The metric server.",
            ),
            required(
                "query",
                Shape::Named,
                "With {{ name }}, namespace, target, service, ingress, route, interval, variables.",
            ),
        ]
    };
}
/// A MetricTemplate's `spec`, Flagger's and ours.
pub(crate) const TEMPLATES: [&[Field]; 2] = [template!(METRIC_TYPES), template!(OWN_METRIC_TYPES)];

macro_rules! provider {
    ($types:expr) => {
        &[
            required("type", Shape::Word($types), ""),
            field("channel", Shape::Text, "general by default."),
            field("username", Shape::Text, "The sender's name."),
            field("proxy", Shape::Url, ""),
            field("address", Shape::Url, ""),
            field("secretRef", LOCAL_SECRET, "Its keys address and token."),
        ]
    };
}
/// An AlertProvider's `spec`, Flagger's and ours.
pub(crate) const RECEIVERS: [&[Field]; 2] = [provider!(ALERT_TYPES), provider!(OWN_ALERT_TYPES)];
/// What an AlertProvider needs.
pub(crate) const RECEIVER_NEEDS: Need = Need::AtLeastOne(&["address", "secretRef"]);
