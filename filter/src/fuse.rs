//! The fuse of a static canary: the limits at which a worker stops the canary's traffic by itself, with no agent to ask.
//!
//! Under `fuse` in an item of `canaries`:
//!
//! | key | meaning |
//! |---|---|
//! | `minSuccessRate` | good answers in percent of all, 0 to 100: fewer, and it trips |
//! | `maxLatencyMs` | milliseconds that `quantile` of all requests may take, failed ones left out of those in time |
//! | `quantile` | 0.95 unless it is set; 0.5 to 0.999 |
//!
//! At least one of the first two. Without `maxLatencyMs` a request is slow when it fails or is open for 15 s. A tripped
//! fuse stays so until this item changes, or an agent sends an entry for the canary. The probability that a fuse of any of
//! 64 workers ever trips while the canary keeps these limits is at most 1 %: their real number cannot be known here.

use rollout::base::time::{Micros, Millis};
use rollout::controller::rearm::fuse_plan;
use rollout::judgement::guards::GuardAction;
use rollout::release::default_guards::{GuardSettings, guards_of};
use rollout::release::plan::{Check, Metric, ThresholdRange};
use rollout::worker::fuse::FusePlan;
use serde::Deserialize;

use crate::config_error::{ConfigError, bounded};

/// Workers among which alpha is shared, since their real number is not known here.
const ASSUMED_WORKERS: u32 = 64;
/// Longest latency limit, in milliseconds: an hour.
const MAX_LATENCY_MS: f64 = 3_600_000.0;

/// The fuse as written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawFuse {
    min_success_rate: Option<f64>,
    max_latency_ms: Option<f64>,
    quantile: Option<f64>,
}

/// The fuse, and the latency above which a request is slow. It means what the same thresholds mean in a manifest.
///
/// # Errors
/// When a number is out of range, or there is no limit.
pub(crate) fn parse_fuse(at: &str, raw: &RawFuse, is_sticky: bool) -> Result<(FusePlan, Option<Micros>), ConfigError> {
    let limit = |field: &str, value: Option<f64>, min: f64, max: f64| {
        value.map(|value| bounded(&format!("{at}.{field}"), value, min, max)).transpose()
    };
    let least = limit("minSuccessRate", raw.min_success_rate, 0.0, 100.0)?;
    let longest = limit("maxLatencyMs", raw.max_latency_ms, 1.0, MAX_LATENCY_MS)?;
    let quantile = limit("quantile", raw.quantile, 0.5, 0.999)?.unwrap_or(0.95);
    let check =
        |metric, min, max| Check { name: String::new(), metric, window: Millis(0), range: ThresholdRange { min, max } };
    let checks: Vec<Check> = [
        least.map(|least| check(Metric::SuccessRate, Some(least), None)),
        longest.map(|longest| check(Metric::Duration { quantile }, None, Some(longest))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let guards = guards_of(&checks, is_sticky, &GuardSettings::all(Some(GuardAction::Abort), GuardAction::Notify));
    let plan = fuse_plan(&guards, ASSUMED_WORKERS);
    let plan = plan.ok_or_else(|| ConfigError::new(at, "sets no limit; give minSuccessRate, maxLatencyMs or both"))?;
    Ok((plan, guards.latency_limit()))
}
