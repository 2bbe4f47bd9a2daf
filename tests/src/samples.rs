//! What a load saw, and the questions that tests and the demo ask of it.

use std::collections::BTreeMap;
use std::time::Instant;

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its number in the load, from 0.
    pub index: u64,
    /// When it was due; latency counts from here, so that a load that falls behind does not hide it.
    pub due: Instant,
    /// When it left.
    pub sent: Instant,
    /// When the whole answer was here, or hope was given up.
    pub done: Instant,
    /// The status; none if the connection failed or nothing came in time.
    pub status: Option<u16>,
    /// The upstream's `x-version`; none if no upstream answered.
    pub version: Option<String>,
}

impl Sample {
    /// Whether a user would call it broken: no answer, or 5xx.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.status.is_none_or(|status| status >= 500)
    }

    /// From due to done, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self) -> f64 {
        self.done.saturating_duration_since(self.due).as_secs_f64() * 1e3
    }
}

/// How often a version answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionCount {
    /// Answers, good and bad.
    pub responses: u64,
    /// The bad ones.
    pub bad: u64,
}

/// Samples in the order in which they were done.
#[derive(Clone, Debug, Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// How many were bad.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.0.iter().filter(|sample| sample.is_bad()).count() as u64
    }

    /// Those that `version` answered.
    pub fn of(&self, version: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.version.as_deref() == Some(version))
    }

    /// How many `version` answered.
    #[must_use]
    pub fn count_of(&self, version: &str) -> u64 {
        self.of(version).count() as u64
    }

    /// Counts for each version; what no upstream answered is under "none".
    #[must_use]
    pub fn by_version(&self) -> BTreeMap<String, VersionCount> {
        let mut counts: BTreeMap<String, VersionCount> = BTreeMap::new();
        for sample in &self.0 {
            let count = counts.entry(sample.version.clone().unwrap_or("none".to_owned())).or_default();
            count.responses += 1;
            count.bad += u64::from(sample.is_bad());
        }
        counts
    }

    /// The bad sample that was done first.
    #[must_use]
    pub fn first_bad(&self) -> Option<&Sample> {
        self.0.iter().filter(|sample| sample.is_bad()).min_by_key(|sample| sample.done)
    }

    /// When the last request left that `version` answered.
    #[must_use]
    pub fn last_sent_to(&self, version: &str) -> Option<Instant> {
        self.of(version).map(|sample| sample.sent).max()
    }

    /// The latency that a share `q` (0 to 1) of `version`'s answers did not exceed, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self, version: &str, q: f64) -> Option<f64> {
        let mut latencies: Vec<f64> = self.of(version).map(Sample::latency_ms).collect();
        latencies.sort_by(f64::total_cmp);
        let rank = (q * latencies.len() as f64).ceil() as usize;
        latencies.get(rank.saturating_sub(1)).copied()
    }
}
