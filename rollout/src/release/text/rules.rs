//! What a guard allows, in words.

use super::number;
use crate::judgement::guards::{Forgiveness, GuardRule};
use crate::routing::measurement::LatencyEnd;
use crate::statistics::boundary::Allocation;

/// What a guard allows, in words.
pub fn rule(rule: &GuardRule) -> String {
    let is_forgiven = match rule {
        GuardRule::Slo { unless_primary_also, .. } => *unless_primary_also,
        GuardRule::Latency { unless_primary_also, end, .. } => *unless_primary_also || *end == LatencyEnd::LastByte,
        _ => false,
    };
    certified(rule) + if is_forgiven { ", unless the primary's do too" } else { "" }
}

/// What a guard allows now, in words: where it cannot forgive what the primary suffers too, it says why.
pub fn rule_now(rule: &GuardRule, split: Option<Allocation>) -> String {
    match rule.forgiveness(split) {
        Some(Forgiveness::AboveHalf) => {
            certified(rule) + ", whatever the primary's do: the canary has more than half of the traffic"
        }
        Some(Forgiveness::NoDraw) => certified(rule) + ", whatever the primary's do: no requests are drawn at random",
        Some(Forgiveness::InForce) | None => self::rule(rule),
    }
}

/// What is certified of a guard, in words: the canary on its own keeps the limit, whatever the primary does.
pub fn certified(rule: &GuardRule) -> String {
    match rule {
        GuardRule::Slo { limit, .. } => format!("at most {} % may fail", number(limit * 100.0)),
        GuardRule::Regression { margin, floor_rate } => {
            format!("at most {} times the primary's failures, above {} %", number(*margin), number(floor_rate * 100.0))
        }
        GuardRule::LatencyRegression { margin, floor_latency, share } => {
            let (margin, floor) = (number(*margin), number(floor_latency.0 as f64 / 1000.0));
            format!(
                "at most {margin} times the primary's latencies, where over {} % take over {floor} ms",
                number(share * 100.0)
            )
        }
        GuardRule::ClientErrors { margin, floor_rate } => format!(
            "at most {} times the primary's share of 4xx answers, above {} %",
            number(*margin),
            number(floor_rate * 100.0)
        ),
        GuardRule::Abandonment { margin, floor_rate } => format!(
            "at most {} times the primary's share of requests that clients gave up, above {} %",
            number(*margin),
            number(floor_rate * 100.0)
        ),
        GuardRule::Latency { limit, share, .. } => {
            let limit = number(limit.0 as f64 / 1000.0);
            format!("at most {} % may fail or take over {limit} ms", number(share * 100.0))
        }
    }
}
