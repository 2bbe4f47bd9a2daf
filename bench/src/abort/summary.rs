//! From rounds to what is read: rows with medians and goals, as JSON for machines and as text for people.

use std::fmt::Write as _;

use serde::Serialize;

use crate::abort::exposure::Exposure;
use crate::abort::options::{Mode, Options};
use crate::abort::round::{CONNECTIONS, Ended, Kind, Round};
use crate::machine::{Machine, Versions};
use crate::quartiles::quantile;

/// All releases of one kind. Medians are taken figure by figure, so they need not add up as each round's do.
#[derive(Clone, Debug, Serialize)]
pub struct AbortRow {
    /// Whether and when the release went bad.
    pub mode: Mode,
    /// Share of its requests that the canary failed, percent.
    pub fault: f64,
    /// Requests per second that the client sent to both versions, median.
    pub rps: f64,
    /// The canary's share, percent.
    pub weight: f64,
    /// Bad responses of the canary that the client got, median.
    pub bad_responses: Option<f64>,
    /// First bad response to last canary request, milliseconds, median.
    pub exposure_ms: Option<f64>,
    /// First bad response to verdict, milliseconds, median.
    pub detect_ms: Option<f64>,
    /// Verdict to last canary request, milliseconds, median; below 0 when the canary got none after the verdict.
    pub push_ms: Option<f64>,
    /// Verdict until the agent knew of every worker that weight 0 was in force there, milliseconds, median.
    pub in_force_ms: Option<f64>,
    /// Rounds that count.
    pub rounds: u32,
    /// Rounds that were asked for.
    pub rounds_wanted: u32,
    /// What spoiled the rounds that do not count; each was repeated.
    pub invalid_rounds: Vec<String>,
    /// Rounds in which the release was aborted.
    pub aborts: usize,
    /// Responses of both versions over all rounds, and of the canary.
    pub requests: u64,
    /// See `requests`.
    pub canary_responses: u64,
    /// The greatest median of bad responses that is good enough, where one is set.
    pub goal: Option<f64>,
    /// Whether the median is at most that.
    pub goal_met: Option<bool>,
    /// Whether every round ended as it must: a bad release aborted by a guard, a healthy one not at all.
    pub as_it_must: bool,
    /// Nine in ten rounds had at most this many bad responses.
    pub bad_responses_p90: Option<f64>,
    /// The most in any round.
    pub bad_responses_max: Option<f64>,
    /// As for the bad responses.
    pub exposure_ms_p90: Option<f64>,
    /// See `exposure_ms_p90`.
    pub exposure_ms_max: Option<f64>,
    /// Bad responses, round by round.
    pub bad_responses_each: Vec<u64>,
    /// Exposure, round by round; null where there was none.
    pub exposure_ms_each: Vec<Option<f64>>,
    /// Detection, round by round.
    pub detect_ms_each: Vec<Option<f64>>,
    /// Push, round by round.
    pub push_ms_each: Vec<Option<f64>>,
    /// Everything of each round.
    pub each: Vec<Round>,
}

/// Everything that one run found.
#[derive(Clone, Debug, Serialize)]
pub struct AbortReport {
    /// One for each kind of release.
    pub rows: Vec<AbortRow>,
    /// Whether every round of every row ended as it must, and none is missing.
    pub as_it_must: bool,
    /// How long a late release was healthy, and how long a healthy one ran, milliseconds.
    pub health_ms: u128,
    /// See `health_ms`.
    pub healthy_for_ms: u128,
    /// Share of its requests that each version failed then, percent.
    pub shared_percent: f64,
    /// Decides which requests failed.
    pub seed: u64,
    /// Whether the guards were on.
    pub guards: bool,
    /// Envoy's worker threads.
    pub envoy_workers: usize,
    /// Keep-alive connections of the load.
    pub connections: usize,
    /// The load average before and after.
    pub load_average: [Option<f64>; 2],
    /// What `serin --version` says.
    pub agent: String,
    /// Where it was measured.
    pub machine: Machine,
    /// What was measured.
    pub versions: Versions,
}

/// The greatest median of bad responses that is good enough for a fault in percent, at 1000 requests a second and a weight
/// of 10 %.
fn goal(kind: Kind, options: &Options) -> Option<f64> {
    let is_comparable = options.rps == 1000.0 && options.weight == 10.0 && options.primary_latency.is_zero();
    let goals = match kind.mode {
        Mode::Start => [(2.0, 15.0), (5.0, 8.0), (20.0, 6.0), (100.0, 4.0)],
        Mode::Late => [(2.0, 33.0), (5.0, 13.0), (20.0, 10.0), (100.0, 11.0)],
        Mode::Healthy => return None,
    };
    goals.into_iter().find(|(fault, _)| is_comparable && *fault == kind.fail_percent).map(|(_, goal)| goal)
}

impl AbortRow {
    /// From the rounds that count and the flaws of those that do not.
    #[must_use]
    pub fn new(kind: Kind, options: &Options, each: Vec<Round>, invalid_rounds: Vec<String>) -> Self {
        let bad: Vec<f64> = each.iter().map(|round| round.received.bad_responses as f64).collect();
        let of = |part: fn(&Exposure) -> f64| -> Vec<Option<f64>> {
            each.iter().map(|round| round.exposure.as_ref().map(part)).collect()
        };
        let known = |each: &[Option<f64>]| each.iter().copied().flatten().collect::<Vec<f64>>();
        let median = |each: &[Option<f64>]| quantile(&known(each), 0.5);
        let [exposure, detect, push] = [of(|it| it.exposure_ms), of(|it| it.detect_ms), of(|it| it.push_ms)];
        let bad_responses = quantile(&bad, 0.5);
        let goal = goal(kind, options);
        let rates: Vec<f64> = each.iter().map(|round| round.received.rps).collect();
        let rounds = u32::try_from(each.len()).unwrap_or(u32::MAX);
        let as_it_must = rounds == options.rounds && each.iter().all(|round| round.ended == kind.must_end());
        Self {
            mode: kind.mode,
            fault: kind.fail_percent,
            rps: quantile(&rates, 0.5).unwrap_or(0.0),
            weight: options.weight,
            bad_responses,
            exposure_ms: median(&exposure),
            detect_ms: median(&detect),
            push_ms: median(&push),
            in_force_ms: median(&of(|it| it.in_force_ms)),
            rounds,
            rounds_wanted: options.rounds,
            invalid_rounds,
            aborts: each.iter().filter(|round| round.ended != Ended::NotAborted).count(),
            requests: each.iter().map(|round| round.received.requests).sum(),
            canary_responses: each.iter().map(|round| round.received.canary_responses).sum(),
            goal,
            // A release that was not aborted met no goal, however few bad responses it gave while the benchmark waited.
            goal_met: goal.zip(bad_responses).map(|(goal, bad)| as_it_must && bad <= goal),
            as_it_must,
            bad_responses_p90: quantile(&bad, 0.9),
            bad_responses_max: quantile(&bad, 1.0),
            exposure_ms_p90: quantile(&known(&exposure), 0.9),
            exposure_ms_max: quantile(&known(&exposure), 1.0),
            bad_responses_each: each.iter().map(|round| round.received.bad_responses).collect(),
            exposure_ms_each: exposure,
            detect_ms_each: detect,
            push_ms_each: push,
            each,
        }
    }

    fn name(&self) -> String {
        format!("{} {} %", self.mode.name(), self.fault)
    }

    fn line(&self) -> String {
        let number = |value: Option<f64>, decimals: usize| value.map_or("-".into(), |it| format!("{it:.decimals$}"));
        let goal = match (self.goal, self.goal_met) {
            (Some(goal), Some(true)) => format!("<= {goal} met"),
            (Some(goal), _) => format!("<= {goal} MISSED"),
            (None, _) => "-".into(),
        };
        format!(
            "{:<13} {:>6} {:>6} {:>6}  {:<12} {:>9} {:>9} {:>7} {:>9}  {:>5.0} {:>6}",
            self.name(),
            number(self.bad_responses, 1),
            number(self.bad_responses_p90, 1),
            number(self.bad_responses_max, 0),
            goal,
            number(self.exposure_ms, 1),
            number(self.detect_ms, 1),
            number(self.push_ms, 1),
            number(self.in_force_ms, 1),
            self.rps,
            self.rounds,
        )
    }

    /// What a reader must know beyond the figures.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let count = |ended| self.each.iter().filter(|round| round.ended == ended).count();
        let verdict = |ended| self.each.iter().find(|round| round.ended == ended).map_or("", |round| &round.verdict);
        let name = self.name();
        if self.mode == Mode::Healthy {
            remarks.push(format!(
                "{name}: {} aborts in {} rounds, {} requests served, {} of them by the canary",
                self.aborts, self.rounds, self.requests, self.canary_responses
            ));
        } else if count(Ended::NotAborted) > 0 {
            remarks.push(format!("{name}: NOT ABORTED in {} of {} rounds", count(Ended::NotAborted), self.rounds));
        }
        for (ended, what) in
            [(Ended::OtherCause, "NOT ABORTED BY A GUARD"), (Ended::WhileHealthy, "ABORTED WHILE HEALTHY")]
        {
            if count(ended) > 0 {
                remarks.push(format!("{name}: {what} in {} rounds, such as: {}", count(ended), verdict(ended)));
            }
        }
        if self.rounds < self.rounds_wanted {
            remarks.push(format!("{name}: only {} of {} rounds count", self.rounds, self.rounds_wanted));
        }
        for flaw in &self.invalid_rounds {
            remarks.push(format!("{name}: a round was invalid and does not count: {flaw}"));
        }
        remarks
    }
}

impl AbortReport {
    /// The table, and under it what a reader needs to judge it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:13} {:^20}  {:12} {:^37}\n{:13} {:>6} {:>6} {:>6}  {:12} {:>9} {:>9} {:>7} {:>9}  {:>5} {:>6}\n",
            "",
            "bad responses",
            "",
            "ms, median",
            "release",
            "median",
            "p90",
            "max",
            "goal",
            "exposure",
            "= detect",
            "+ push",
            "in force",
            "rps",
            "rounds"
        );
        for row in &self.rows {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", row.line());
        }
        for remark in self.rows.iter().flat_map(AbortRow::remarks) {
            let _ = writeln!(text, "{remark}");
        }
        text.push_str(&self.circumstances());
        text
    }

    fn circumstances(&self) -> String {
        let [before, after] = self.load_average.map(|load| load.map_or("?".to_owned(), |load| format!("{load:.1}")));
        let guards = if self.guards { "abort" } else { "OFF" };
        format!(
            "\nCounted by the client, each round against Envoy's own counters. Exposure: first bad response received to last \
             request\nthat the canary got; detect: to the agent's verdict (to 1 ms); push: from there, below 0 when the canary \
             got none after\nthe verdict; in force: verdict until the agent knew of all workers that the abort was in force. They \
             add up in each round,\ntheir medians need not. start: bad when the release begins; late: after {} s of health; \
             healthy: both versions fail {} %\nfor {} s. Guards: {guards}. Seed {}.\n\
             {} Envoy worker threads, {} keep-alive connections, open loop. {}, {} CPUs, Linux {}; load average {before} \
             before, {after} after.\n{}; Envoy {}; module {} KiB.\n",
            self.health_ms as f64 / 1e3,
            self.shared_percent,
            self.healthy_for_ms as f64 / 1e3,
            self.seed,
            self.envoy_workers,
            CONNECTIONS,
            self.machine.cpu,
            self.machine.cpus,
            self.machine.kernel,
            self.agent,
            self.versions.envoy,
            self.versions.module_bytes.div_ceil(1024),
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::abort::exposure::Received;

    fn options() -> Options {
        Options::parse_from(["abort", "--rounds", "3"])
    }

    fn round(bad_responses: u64, ended: Ended, [detect_ms, push_ms]: [f64; 2]) -> Round {
        let received =
            Received { requests: 500, canary_responses: 50, bad_responses, rps: 1000.0, ..Received::default() };
        let exposure = Exposure { exposure_ms: detect_ms + push_ms, detect_ms, push_ms, in_force_ms: 2.0 };
        let exposure = (ended == Ended::Guards).then_some(exposure);
        Round { ended, verdict: "because".to_owned(), received, exposure, flaw: None }
    }

    const START: Kind = Kind { mode: Mode::Start, fail_percent: 20.0 };

    fn three(last: Round) -> AbortRow {
        let rounds = vec![round(7, Ended::Guards, [100.0, -4.0]), round(3, Ended::Guards, [50.0, 6.0]), last];
        AbortRow::new(START, &options(), rounds, Vec::new())
    }

    #[test]
    fn a_row_has_medians_beside_every_rounds_figures() {
        let row = three(round(5, Ended::Guards, [80.0, 1.0]));
        assert_eq!((row.bad_responses, row.bad_responses_max), (Some(5.0), Some(7.0)));
        assert!((row.bad_responses_p90.unwrap() - 6.6).abs() < 1e-9);
        // 81 is the median of 96, 56 and 81.
        assert_eq!((row.exposure_ms, row.detect_ms, row.push_ms), (Some(81.0), Some(80.0), Some(1.0)));
        assert_eq!((row.goal, row.goal_met, row.as_it_must), (Some(6.0), Some(true), true));
        assert_eq!((row.aborts, row.requests, row.canary_responses), (3, 1500, 150));
        assert_eq!(row.bad_responses_each, [7, 3, 5]);
        assert!(row.line().contains("<= 6 met") && row.remarks().is_empty(), "{} {:?}", row.line(), row.remarks());
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!((json["mode"].as_str(), json["fault"].as_f64()), (Some("start"), Some(20.0)));
        assert_eq!(
            (json["each"][1]["bad_responses"].as_u64(), json["each"][1]["push_ms"].as_f64()),
            (Some(3), Some(6.0))
        );
    }

    #[test]
    fn a_median_above_the_goal_is_missed_although_all_were_cut() {
        let rounds = [7, 7, 3].map(|bad| round(bad, Ended::Guards, [1.0, 1.0])).to_vec();
        let row = AbortRow::new(START, &options(), rounds, Vec::new());
        assert!(row.as_it_must && row.goal_met == Some(false) && row.line().contains("<= 6 MISSED"));
        let slower = Options { rps: 500.0, ..options() };
        let row = AbortRow::new(START, &slower, vec![round(7, Ended::Guards, [1.0, 1.0])], Vec::new());
        assert_eq!((row.goal, row.goal_met), (None, None), "the goals are for another load");
    }

    #[test]
    fn a_release_that_was_not_cut_as_it_must_is_said_and_counts_as_missed() {
        for (ended, said) in [
            (Ended::NotAborted, "NOT ABORTED in 1 of 3 rounds"),
            (Ended::OtherCause, "NOT ABORTED BY A GUARD in 1 rounds, such as: because"),
            (Ended::WhileHealthy, "ABORTED WHILE HEALTHY in 1 rounds"),
        ] {
            let row = three(round(1, ended, [1.0, 1.0]));
            assert!(!row.as_it_must && row.goal_met == Some(false), "{ended:?}");
            assert!(row.remarks().iter().any(|remark| remark.contains(said)), "{:?}", row.remarks());
        }
        let short =
            AbortRow::new(START, &options(), vec![round(1, Ended::Guards, [1.0, 1.0])], vec!["slow".to_owned()]);
        assert!(!short.as_it_must, "two rounds are missing");
        assert!(short.remarks().iter().any(|remark| remark.contains("only 1 of 3")), "{:?}", short.remarks());
        assert!(
            short.remarks().iter().any(|remark| remark.contains("invalid and does not count: slow")),
            "{:?}",
            short.remarks()
        );
    }

    #[test]
    fn a_healthy_release_must_not_be_cut() {
        let kind = Kind { mode: Mode::Healthy, fail_percent: 0.5 };
        let of = |last| {
            let ended = [Ended::NotAborted, Ended::NotAborted, last];
            AbortRow::new(kind, &options(), ended.map(|ended| round(1, ended, [1.0, 1.0])).to_vec(), Vec::new())
        };
        let left_alone = of(Ended::NotAborted);
        assert!(left_alone.as_it_must && left_alone.aborts == 0 && left_alone.exposure_ms.is_none());
        assert!(left_alone.remarks().iter().any(|remark| remark.contains("0 aborts in 3 rounds, 1500 requests")));
        let aborted = of(Ended::WhileHealthy);
        assert!(!aborted.as_it_must && aborted.aborts == 1);
    }
}
