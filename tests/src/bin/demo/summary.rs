//! What it cost the users, at the end.

use std::fmt;

use serde::Serialize;

use crate::act::Played;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary<'a> {
    pub(crate) as_expected: bool,
    pub(crate) requests: u64,
    pub(crate) releases: &'a [Played],
}

impl<'a> Summary<'a> {
    pub(crate) fn new(releases: &'a [Played], requests: u64) -> Self {
        let as_expected = releases.iter().all(|played| played.phase == played.expected_phase);
        Self { as_expected, requests, releases }
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nSummary, counted by the client over {} requests", self.requests)?;
        writeln!(f, "  release  ended      took     canary answers  bad  first bad answer to last canary request")?;
        for played in self.releases {
            let exposure = played.exposure_ms.map_or_else(|| "-".into(), |ms| format!("{:.2} s", ms as f64 / 1000.0));
            let took = format!("{:.1} s", played.release_ms as f64 / 1000.0);
            let Played { revision, phase, canary_responses, bad_responses, .. } = played;
            writeln!(
                f,
                "  {revision:<7}  {phase:<9}  {took:>7}  {canary_responses:>14}  {bad_responses:>3}  {exposure}"
            )?;
        }
        for played in self.releases {
            writeln!(f, "  {}: {}", played.revision, played.verdict)?;
        }
        let verdict = if self.as_expected { "as it must" } else { "NOT as it must" };
        write!(f, "Every release ended {verdict}.")
    }
}
