//! One release from its start to its end, with what users got of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tests::samples::Sample;
use tests::upstream::Behaviour;
use tests::wait::until;

use crate::options::Options;
use crate::stage::Stage;
use crate::timeline::Timeline;

/// The limit on p95 in the demo's manifest.
const SLOW_MS: f64 = 500.0;
/// No act takes longer, however slow the machine is.
const ACT_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Act {
    title: String,
    behaviour: Behaviour,
    expected: &'static str,
}

/// How an act ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Played {
    pub(crate) title: String,
    pub(crate) revision: String,
    /// The phase in which it ended, and the one in which it must.
    pub(crate) phase: String,
    pub(crate) expected_phase: &'static str,
    /// From the release's start to its end.
    pub(crate) release_ms: u64,
    /// Responses of this version that users got, and how many of them were bad: failed, or slower than the limit.
    pub(crate) canary_responses: usize,
    pub(crate) bad_responses: usize,
    /// From the first bad response to the last request sent to the canary; none without a bad response.
    pub(crate) exposure_ms: Option<u64>,
    /// The agent's own words.
    pub(crate) verdict: String,
}

impl Act {
    pub(crate) fn all(options: &Options) -> [Self; 3] {
        let failing = Behaviour { fail_ratio: options.fail_percent / 100.0, ..Behaviour::healthy("v3") };
        let slow_latency = Duration::from_millis(options.slow_ms);
        let slow = Behaviour { slow_ratio: options.slow_percent / 100.0, slow_latency, ..Behaviour::healthy("v4") };
        [
            Self { title: "v2 is good".into(), behaviour: Behaviour::healthy("v2"), expected: "Succeeded" },
            Self {
                title: format!("v3 fails {} % of its requests", options.fail_percent),
                behaviour: failing,
                expected: "Failed",
            },
            Self {
                title: format!("v4 takes {} ms for {} % of its requests", options.slow_ms, options.slow_percent),
                behaviour: slow,
                expected: "Failed",
            },
        ]
    }

    pub(crate) async fn play(self, stage: &Stage, out: &Timeline) -> Result<Played> {
        let revision = self.behaviour.version.clone();
        out.title(&format!("Release {revision}: {}", self.title));
        let known_events = stage.events().await?.len();
        let mut shown = known_events;
        let begun = Instant::now();
        stage.release(self.behaviour).await?;
        let status = until(&format!("the end of release {revision}"), ACT_WITHIN, async || {
            let status = stage.status().await?;
            let events = stage.events().await?;
            events.iter().skip(shown).for_each(|event| out.event(begun, event));
            shown = shown.max(events.len());
            out.status(begun, &status);
            anyhow::ensure!(matches!(status.phase.as_str(), "Succeeded" | "Failed"), "phase {}", status.phase);
            Ok(status)
        })
        .await?;
        let release_ms = millis(begun.elapsed());
        drained(stage, &revision).await?;
        let samples = stage.samples();
        // A promoted version answers as the primary too; only its time as the canary counts.
        let canary: Vec<&Sample> =
            samples.of(&revision).filter(|s| s.sent < begun + Duration::from_millis(release_ms)).collect();
        let bad: Vec<&&Sample> = canary.iter().filter(|s| s.is_bad() || s.latency_ms() > SLOW_MS).collect();
        let first_bad = bad.iter().map(|sample| sample.done).min();
        let last_sent = canary.iter().map(|sample| sample.sent).max();
        let exposure = first_bad.zip(last_sent).map(|(bad, sent)| sent.saturating_duration_since(bad));
        Ok(Played {
            title: self.title,
            revision,
            phase: status.phase,
            expected_phase: self.expected,
            release_ms,
            canary_responses: canary.len(),
            bad_responses: bad.len(),
            exposure_ms: exposure.map(millis),
            verdict: status.message,
        })
    }
}

/// Waits until no request of an aborted version is on its way any more: one second without a new response of it.
async fn drained(stage: &Stage, revision: &str) -> Result<()> {
    if stage.primary_version() == revision {
        return Ok(());
    }
    let mut last = (stage.samples().count_of(revision), Instant::now());
    until("the last canary response", Duration::from_secs(20), async || {
        let count = stage.samples().count_of(revision);
        if count != last.0 {
            last = (count, Instant::now());
        }
        anyhow::ensure!(last.1.elapsed() > Duration::from_secs(1), "{count} responses so far");
        Ok(())
    })
    .await
    .with_context(|| format!("{revision} goes on answering"))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
