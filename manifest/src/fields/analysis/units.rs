//! Thresholds that are valid but hardly meant: a share where a percentage is asked for, seconds where milliseconds are.

use rollout::release::plan::{Metric, ThresholdRange};
use rollout::release::text::number;

use crate::reader::{Item, Log};

/// Said of a success rate that no step will prove.
pub(crate) const UNPROVABLE: &str = "100 will not be proven: a step would take millions of requests without one \
    failure; write less, such as 99.9, or advance: interval";

/// Warns of bounds of a built-in metric in a unit that is hardly meant; `ends` is where they stand.
pub(crate) fn warn(metric: Metric, range: ThresholdRange, ends: [Option<&Item<'_>>; 2], log: &mut Log) {
    let (value, item) = match metric {
        Metric::SuccessRate => (range.min, ends[0]),
        Metric::Duration { .. } => (range.max, ends[1]),
    };
    let (Some(value), Some(item)) = (value, item) else { return };
    if let Some(doubt) = doubt(metric, value) {
        item.warn(log, doubt);
    }
}

fn doubt(metric: Metric, value: f64) -> Option<String> {
    match metric {
        Metric::SuccessRate if value == 0.0 => {
            Some("0 means 0 %: any success rate passes, so nothing is checked".into())
        }
        Metric::SuccessRate if 0.0 < value && value <= 1.0 => {
            let (failing, meant) = (number(100.0 - value), number(value * 100.0));
            Some(format!("{value} means {value} %, so {failing} % may fail; did you mean {meant}?"))
        }
        Metric::Duration { .. } if value == 0.0 => {
            Some("0 means 0 ms, and no answer is that fast; write milliseconds, such as 500".into())
        }
        Metric::Duration { .. } if 0.0 < value && value < 1.0 => {
            Some(format!("{value} means {value} ms; did you mean {} (milliseconds)?", number(value * 1000.0)))
        }
        _ => None,
    }
}
