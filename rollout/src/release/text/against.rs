//! The sentences about what speaks against a canary.

use super::{guards, objections, verdict};
use crate::release::phase::Note;
use crate::worker::fuse::FuseTest;

/// What a check, hook, guard or fuse found.
pub(super) fn found(note: &Note) -> String {
    match note {
        Note::Objected { failed, threshold, refused } => {
            format!("failed check {failed}/{threshold}: {}", objections(refused))
        }
        Note::MetricError { checks, limit, refused } => {
            format!("check {checks} without a metric value (limit {limit}): {}", objections(refused))
        }
        Note::CheckFailed { failed, threshold, verdict: found } => {
            format!("failed check {failed}/{threshold}: {}", verdict(found))
        }
        Note::Tripped(found) => format!("tripped: {}", guards(found)),
        Note::FuseTripped { node, test, events, trials } => {
            let what = of_fuse(*test);
            format!("fuse of proxy {node} tripped and sends every request to the primary: {events} of {trials} {what}")
        }
        _ => String::new(),
    }
}

const fn of_fuse(test: FuseTest) -> &'static str {
    match test {
        FuseTest::Failed => "failed",
        FuseTest::Slow => "failed, took or are taking too long",
    }
}
