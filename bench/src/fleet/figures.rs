//! From what was measured to a row's figures, and whom they say to have fallen behind.

use std::time::Duration;

use serde::Serialize;

use crate::fleet::seen::FleetCounts;
use crate::quartiles::quantile;

/// The share of its ticks, or of its threads, from which on a client is said to have fallen behind.
const LATE_SHARE: f64 = 0.01;
const BUSY_SHARE: f64 = 0.9;
/// The least share of the reports wanted that an agent which keeps up acknowledges.
const KEEPS_UP: f64 = 0.95;

/// What was seen and used while a release was on.
#[derive(Clone, Debug, Default)]
pub struct FleetLoad {
    /// For how long.
    pub elapsed: Duration,
    /// What the workers saw.
    pub counts: FleetCounts,
    /// What the agent used.
    pub agent_cpu: Duration,
    /// What the benchmark used.
    pub client_cpu: Duration,
    /// What the agent sent to the disk.
    pub written_bytes: u64,
}

/// How one abort reached the last worker, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Push {
    /// Since the abort was asked for: what waited in the agent before it is in this.
    pub asked_ms: f64,
    /// Since the agent's verdict, by its own clock, which counts whole milliseconds.
    pub verdict_ms: f64,
    /// Since the first worker had it.
    pub spread_ms: f64,
}

/// One release of a bad canary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FaultRound {
    /// Answers that failed, until the last worker had weight 0.
    pub bad_responses: u64,
    /// All answers of the canary.
    pub canary_responses: u64,
    /// From the release's being asked for until every worker had weight 0.
    pub until_everywhere_ms: f64,
    /// Whether a guard aborted it.
    pub by_guard: bool,
}

/// What a bad canary costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultCost {
    /// Share of its requests that it fails, percent.
    pub fault: f64,
    /// Median over the rounds.
    pub bad_responses: Option<f64>,
    /// Median over the rounds.
    pub until_everywhere_ms: Option<f64>,
    /// Each.
    pub rounds: Vec<FaultRound>,
}

/// One agent under so many workers. What could not be measured is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FleetRow {
    /// Streams.
    pub workers: u32,
    /// Reports acknowledged per second.
    pub reports_per_s: Option<f64>,
    /// Ticks per second at which a worker had something to report.
    pub reports_wanted_per_s: Option<f64>,
    /// CPU that the agent used meanwhile, in cores.
    pub agent_cores: Option<f64>,
    /// The first by the third.
    pub reports_per_core_s: Option<f64>,
    /// From a report's leaving to its ack.
    pub ack_p50_ms: Option<f64>,
    /// See `ack_p50_ms`.
    pub ack_p99_ms: Option<f64>,
    /// Memory of the agent under load, less that before the first stream, for each stream.
    pub kib_per_stream: Option<f64>,
    /// The same without any release or request.
    pub kib_per_idle_stream: Option<f64>,
    /// CPU that the agent used then, in cores.
    pub idle_agent_cores: Option<f64>,
    /// Bytes that the agent sent to the disk for each report acknowledged: whole pages, records of releases among them.
    pub journal_bytes_per_report: Option<f64>,
    /// From the verdict to the last worker that has the abort's entry in force, over the aborts.
    pub push_p50_ms: Option<f64>,
    /// See `push_p50_ms`.
    pub push_p99_ms: Option<f64>,
    /// The same from the abort's being asked for.
    pub asked_p99_ms: Option<f64>,
    /// The same from the first worker that has it.
    pub spread_p99_ms: Option<f64>,
    /// Answers that the workers' users got per second.
    pub responses_per_s: Option<f64>,
    /// CPU that the benchmark itself used, in cores.
    pub client_cores: Option<f64>,
    /// Share of its ticks that came over 20 ms late.
    pub ticks_late: Option<f64>,
    /// Streams that ended though nobody asked for it.
    pub streams_lost: u64,
    /// Every abort.
    pub pushes: Vec<Push>,
    /// Bad canaries, in the row that has them.
    pub faults: Vec<FaultCost>,
    /// What a reader must know before believing a figure.
    pub notes: Vec<String>,
}

impl FaultCost {
    /// From its rounds.
    #[must_use]
    pub fn new(fault: f64, rounds: Vec<FaultRound>) -> Self {
        let median = |of: fn(&FaultRound) -> f64| quantile(&rounds.iter().map(of).collect::<Vec<_>>(), 0.5);
        let (bad_responses, until) = (median(|it| it.bad_responses as f64), median(|it| it.until_everywhere_ms));
        Self { fault, bad_responses, until_everywhere_ms: until, rounds }
    }
}

impl FleetRow {
    /// Fills in what a load says, and whom it says to have fallen behind. `threads` play the workers.
    pub fn set_load(&mut self, load: &FleetLoad, threads: u32) {
        let FleetLoad { elapsed, counts, agent_cpu, client_cpu, written_bytes } = load;
        let per_s = |count: f64| count / elapsed.as_secs_f64();
        let acks = counts.ack_ms.len() as f64;
        let (agent_cores, client_cores) = (per_s(agent_cpu.as_secs_f64()), per_s(client_cpu.as_secs_f64()));
        let late = counts.ticks_late as f64 / (counts.ticks as f64).max(1.0);
        self.reports_per_s = Some(per_s(acks));
        self.reports_wanted_per_s = Some(per_s(counts.reports_wanted as f64));
        self.responses_per_s = Some(per_s(counts.responses as f64));
        self.agent_cores = Some(agent_cores);
        self.client_cores = Some(client_cores);
        self.ticks_late = Some(late);
        self.reports_per_core_s = (agent_cores > 0.0).then(|| per_s(acks) / agent_cores);
        self.journal_bytes_per_report = (acks > 0.0).then(|| *written_bytes as f64 / acks);
        [self.ack_p50_ms, self.ack_p99_ms] = [0.5, 0.99].map(|share| quantile(&counts.ack_ms, share));
        self.streams_lost = counts.streams_lost;
        if late > LATE_SHARE || client_cores > BUSY_SHARE * f64::from(threads) {
            self.notes.push(format!(
                "the client fell behind: {:.0} % of its ticks came over 20 ms late, and its {threads} thread(s) used \
                 {client_cores:.2} cores; acks wait for it too",
                late * 100.0
            ));
        }
        if acks < KEEPS_UP * counts.reports_wanted as f64 {
            let (done, wanted) = (per_s(acks), per_s(counts.reports_wanted as f64));
            self.notes.push(format!("{done:.0} of {wanted:.0} reports a second were acknowledged"));
        }
        if counts.streams_lost > 0 {
            let why = counts.last_loss.as_deref().unwrap_or("nobody said why");
            self.notes.push(format!("{} streams were lost, the last: {why}", counts.streams_lost));
        }
    }

    /// Fills in what the aborts say.
    pub fn set_pushes(&mut self) {
        let at = |share, of: fn(&Push) -> f64| quantile(&self.pushes.iter().map(of).collect::<Vec<_>>(), share);
        let (verdict, asked) = ([0.5, 0.99].map(|share| at(share, |it| it.verdict_ms)), at(0.99, |it| it.asked_ms));
        let spread = at(0.99, |it| it.spread_ms);
        [self.push_p50_ms, self.push_p99_ms] = verdict;
        (self.asked_p99_ms, self.spread_p99_ms) = (asked, spread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(wanted: u64, acks: usize) -> FleetLoad {
        let counts = FleetCounts {
            reports_wanted: wanted,
            ack_ms: vec![2.0; acks],
            ticks: 1_000,
            responses: 500,
            ..FleetCounts::default()
        };
        let second = Duration::from_secs(1);
        FleetLoad { elapsed: 2 * second, counts, agent_cpu: second, client_cpu: second / 2, written_bytes: 3_000 }
    }

    #[test]
    fn figures_are_per_second_per_core_and_per_report() {
        let mut row = FleetRow { workers: 10, ..FleetRow::default() };
        row.set_load(&load(100, 100), 1);
        assert_eq!((row.reports_per_s, row.agent_cores, row.reports_per_core_s), (Some(50.0), Some(0.5), Some(100.0)));
        assert_eq!((row.ack_p99_ms, row.journal_bytes_per_report), (Some(2.0), Some(30.0)));
        assert_eq!((row.client_cores, row.notes.len()), (Some(0.25), 0));
    }

    #[test]
    fn who_falls_behind_is_said() {
        let notes = |load: &FleetLoad| {
            let mut row = FleetRow::default();
            row.set_load(load, 1);
            row.notes.join("\n")
        };
        assert!(notes(&load(100, 90)).contains("45 of 50 reports"));
        let late = |load: &mut FleetLoad| load.counts.ticks_late = 20;
        let mut behind = load(100, 100);
        late(&mut behind);
        assert!(notes(&behind).contains("2 % of its ticks"), "{}", notes(&behind));
        let busy = FleetLoad { client_cpu: Duration::from_millis(1_900), ..load(100, 100) };
        assert!(notes(&busy).contains("0.95 cores"));
        let mut lost = load(100, 100);
        (lost.counts.streams_lost, lost.counts.last_loss) = (3, Some("too slow".into()));
        assert!(notes(&lost).contains("3 streams were lost, the last: too slow"));
    }
}
