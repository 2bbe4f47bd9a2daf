//! What a guard allows, in words.

use super::number;
use crate::judgement::guards::GuardRule;

/// What a guard allows, in words.
pub fn rule(rule: &GuardRule) -> String {
    match rule {
        GuardRule::Slo { limit, unless_primary_also } => {
            let unless = if *unless_primary_also { ", unless the primary does too" } else { "" };
            format!("at most {} % may fail{unless}", number(limit * 100.0))
        }
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
        GuardRule::Latency { limit, share, unless_primary_also } => {
            let unless = if *unless_primary_also { ", unless the primary's do too" } else { "" };
            let limit = number(limit.0 as f64 / 1000.0);
            format!("at most {} % may fail or take over {limit} ms{unless}", number(share * 100.0))
        }
    }
}
