//! From rows to what is read: JSON for machines, a table for people.

use std::fmt::Write as _;

use serde::Serialize;

use crate::fleet::figures::FleetRow;
use crate::fleet::options::FleetOptions;
use crate::machine::Machine;

/// Everything that one run found.
#[derive(Clone, Debug, Serialize)]
pub struct FleetReport {
    /// One for each number of workers.
    pub rows: Vec<FleetRow>,
    /// How long each was measured.
    pub seconds: u64,
    /// Requests per second and worker.
    pub rate: f64,
    /// The canary's share, percent.
    pub weight: f64,
    /// HTTP/2 connections that the streams share.
    pub connections: u32,
    /// Threads of the benchmark that play workers.
    pub threads: u32,
    /// Whether all workers tick at the same moment.
    pub in_step: bool,
    /// Decides when requests come.
    pub seed: u64,
    /// The load average before and after.
    pub load_average: [Option<f64>; 2],
    /// What `serin --version` says.
    pub agent: String,
    /// Where it was measured.
    pub machine: Machine,
}

impl FleetRow {
    fn cells(&self) -> [String; 16] {
        let show = |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        [
            self.workers.to_string(),
            show(self.reports_wanted_per_s, 0),
            show(self.reports_per_s, 0),
            show(self.agent_cores, 2),
            show(self.reports_per_core_s, 0),
            show(self.ack_p50_ms, 1),
            show(self.ack_p99_ms, 1),
            show(self.kib_per_idle_stream, 1),
            show(self.kib_per_stream, 1),
            show(self.journal_bytes_per_report, 0),
            show(self.push_p50_ms, 1),
            show(self.push_p99_ms, 1),
            show(self.asked_p99_ms, 1),
            show(self.spread_p99_ms, 1),
            show(self.client_cores, 2),
            show(self.ticks_late.map(|share| share * 100.0), 1),
        ]
    }
}

/// The table's head, two lines of it.
const HEAD: [[&str; 16]; 2] = [
    [
        "",
        "reports/s",
        "",
        "agent",
        "reports/s",
        "ack",
        "ack",
        "KiB/stream",
        "KiB/stream",
        "bytes to",
        "verdict to",
        "last, ms",
        "asked",
        "first",
        "client",
        "late",
    ],
    [
        "workers",
        "wanted",
        "done",
        "cores",
        "per core",
        "p50 ms",
        "p99 ms",
        "idle",
        "loaded",
        "disk/rep.",
        "p50",
        "p99",
        "p99 ms",
        "p99 ms",
        "cores",
        "ticks %",
    ],
];

impl FleetReport {
    /// The report of rows under these options.
    #[must_use]
    pub fn new(rows: Vec<FleetRow>, options: &FleetOptions, agent: String, load_average: [Option<f64>; 2]) -> Self {
        let &FleetOptions { seconds, rate, weight, connections, threads, in_step, seed, .. } = options;
        let machine = Machine::this();
        Self { rows, seconds, rate, weight, connections, threads, in_step, seed, load_average, agent, machine }
    }

    /// The table, and under it what a reader needs to judge it.
    #[must_use]
    pub fn text(&self) -> String {
        let cells: Vec<[String; 16]> =
            HEAD.map(|line| line.map(str::to_owned)).into_iter().chain(self.rows.iter().map(FleetRow::cells)).collect();
        let width = |column: usize| cells.iter().filter_map(|line| line.get(column)).map(String::len).max();
        let mut text = String::new();
        for line in &cells {
            let padded: Vec<String> = line
                .iter()
                .enumerate()
                .map(|(column, cell)| format!("{cell:>width$}", width = width(column).unwrap_or(0)))
                .collect();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", padded.join("  "));
        }
        text.push('\n');
        for row in &self.rows {
            for cost in &row.faults {
                let show = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.0}"));
                let (bad, until) = (show(cost.bad_responses), show(cost.until_everywhere_ms));
                let guards = cost.rounds.iter().filter(|round| round.by_guard).count();
                let _ = writeln!(
                    text,
                    "At {} workers a canary that fails {} % cost {bad} bad responses and had weight 0 everywhere after \
                     {until} ms (medians; guards aborted {guards} of {}).",
                    row.workers,
                    cost.fault,
                    cost.rounds.len()
                );
            }
            for note in &row.notes {
                let _ = writeln!(text, "NOTE {} workers: {note}.", row.workers);
            }
        }
        text.push_str(&self.circumstances());
        text
    }

    fn circumstances(&self) -> String {
        let Self { seconds, rate, weight, connections, threads, machine, agent, .. } = self;
        let [before, after] = self.load_average.map(|load| load.map_or("?".to_owned(), |load| format!("{load:.1}")));
        let step = if self.in_step { ", all ticks at once" } else { "" };
        format!(
            "Each worker got {rate} requests a second, {weight} % of them to the canary; {seconds} s measured; streams on \
             {connections} connections, played by {threads} thread(s) of the client on the same machine{step}.\n\
             Verdict to last: from the agent's verdict (its clock counts milliseconds) to the last worker with the abort \
             in force; asked: from the request for it; first: from the first worker that had it.\n\
             Bytes to disk are whole pages, records of releases and all; idle streams have no release and no request.\n\
             {}, {} CPUs, Linux {}; load average {before} before, {after} after; {agent}.\n",
            machine.cpu, machine.cpus, machine.kernel
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::fleet::figures::{FaultCost, FaultRound, Push};

    #[test]
    fn the_table_lines_up_and_json_has_the_same() {
        let mut row = FleetRow { workers: 4_000, ..FleetRow::default() };
        row.ack_p50_ms = Some(2.0);
        row.notes = vec!["45 of 50 reports a second were acknowledged".into()];
        row.pushes = vec![Push { asked_ms: 9.0, verdict_ms: 7.5, spread_ms: 5.0 }];
        row.set_pushes();
        let round = FaultRound { bad_responses: 4, canary_responses: 9, until_everywhere_ms: 80.0, by_guard: true };
        row.faults = vec![FaultCost::new(5.0, vec![round])];
        let rows = vec![FleetRow { workers: 9, ..FleetRow::default() }, row];
        let options = FleetOptions::parse_from(["fleet"]);
        let report = FleetReport::new(rows, &options, "serin 0.1.0".into(), [Some(1.0), None]);
        let text = report.text();
        let table: Vec<&str> = text.lines().take(4).collect();
        assert!(
            table.windows(2).all(|pair| pair.first().map(|it| it.len()) == pair.last().map(|it| it.len())),
            "{text}"
        );
        assert!(text.contains("fails 5 % cost 4 bad") && text.contains("NOTE 4000 workers: 45 of 50"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            (&json["rows"][1]["push_p99_ms"], &json["rows"][0]["ack_p50_ms"]),
            (&7.5.into(), &None::<f64>.into())
        );
    }
}
