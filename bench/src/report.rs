//! From samples to what is read: a table for people, the same as JSON for machines.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::machine::{Machine, Versions};
use crate::quartiles::Quartiles;

/// One variant's figures. All come from the lower quartile over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FilterRow {
    /// The variant.
    pub name: &'static str,
    /// CPU time of the whole Envoy process for one request, in microseconds.
    pub cpu_us_per_request: f64,
    /// How much more than the plain route, in microseconds.
    pub over_plain_us: f64,
    /// That, in multiples of what the filter that does nothing costs over the plain route.
    pub times_noop: f64,
    /// How the rounds scattered, in microseconds for one request.
    pub quartiles_us: Quartiles,
}

/// Everything that one run found.
#[derive(Clone, Debug, Serialize)]
pub struct FilterReport {
    /// One for each variant.
    pub rows: Vec<FilterRow>,
    /// How often each variant was measured.
    pub rounds: u32,
    /// Requests of one variant in one round.
    pub requests: u64,
    /// Keep-alive connections of the load.
    pub connections: usize,
    /// CPU time that Envoy takes without any request, in microseconds each second; it is in every figure.
    pub idle_us_per_second: f64,
    /// The load average before and after.
    pub load_average: [Option<f64>; 2],
    /// Where it was measured.
    pub machine: Machine,
    /// What was measured.
    pub versions: Versions,
}

/// The figures of variants whose samples are in microseconds for one request.
///
/// # Errors
/// When `plain` or `noop` is not among them, or one has no sample.
pub fn rows(samples: &[(&'static str, Vec<f64>)], plain: &str, noop: &str) -> Result<Vec<FilterRow>> {
    let quartiles = |name: &str| {
        let found = samples.iter().find(|(other, _)| *other == name);
        found.and_then(|(_, samples)| Quartiles::of(samples)).with_context(|| format!("{name:?} was not measured"))
    };
    let plain_us = quartiles(plain)?.lower;
    let noop_us = quartiles(noop)?.lower - plain_us;
    let row = |&(name, _): &(&'static str, Vec<f64>)| {
        let quartiles_us = quartiles(name)?;
        let over_plain_us = quartiles_us.lower - plain_us;
        let times_noop = over_plain_us / noop_us;
        Ok(FilterRow { name, cpu_us_per_request: quartiles_us.lower, over_plain_us, times_noop, quartiles_us })
    };
    samples.iter().map(row).collect()
}

impl FilterReport {
    /// The table, and under it what a reader needs to judge it.
    #[must_use]
    pub fn text(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let mut text = format!(
            "{:width$}  {:>10}  {:>10}  {:>7}  quartiles over the rounds\n{:width$}  {:>10}  {:>10}  {:>7}  µs\n",
            "", "µs CPU per", "over plain", "times", "", "request", "µs", "no-op"
        );
        for FilterRow { name, cpu_us_per_request, over_plain_us, times_noop, quartiles_us } in &self.rows {
            let Quartiles { lower, median, upper } = quartiles_us;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name:width$}  {cpu_us_per_request:>10.2}  {over_plain_us:>+10.2}  {times_noop:>7.2}  \
                 {lower:.2} | {median:.2} | {upper:.2}"
            );
        }
        text.push_str(&self.circumstances());
        text
    }

    fn circumstances(&self) -> String {
        let Self { rounds, requests, connections, idle_us_per_second, machine, versions, .. } = self;
        let [before, after] = self.load_average.map(|load| load.map_or("?".to_owned(), |load| format!("{load:.1}")));
        format!(
            "\nCPU of the whole Envoy process, one worker thread; lower quartile of {rounds} rounds of {requests} requests \
             over {connections} keep-alive connections.\n\
             Idle, Envoy takes {idle_us_per_second:.0} µs each second, which is in every figure.\n\
             {}, {} CPUs, Linux {}; load average {before} before, {after} after.\n\
             Envoy {}; Serin {}, module {} KiB.\n",
            machine.cpu,
            machine.cpus,
            machine.kernel,
            versions.envoy,
            versions.serin,
            versions.module_bytes.div_ceil(1024),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_rows() -> Vec<FilterRow> {
        let samples = [("plain", vec![20.0, 20.0]), ("noop", vec![22.0, 22.0]), ("ours", vec![25.0, 25.0])];
        rows(&samples, "plain", "noop").unwrap()
    }

    #[test]
    fn costs_are_relative_to_the_plain_route_and_the_noop() {
        let figures: Vec<_> =
            three_rows().iter().map(|row| (row.cpu_us_per_request, row.over_plain_us, row.times_noop)).collect();
        assert_eq!(figures, [(20.0, 0.0, 0.0), (22.0, 2.0, 1.0), (25.0, 5.0, 2.5)]);
        assert!(rows(&[("plain", vec![1.0])], "plain", "noop").is_err());
        assert!(rows(&[("plain", vec![]), ("noop", vec![1.0])], "plain", "noop").is_err());
    }

    #[test]
    fn table_and_json_say_the_same() {
        let machine = Machine { cpu: "Some CPU".to_owned(), cpus: 2, kernel: "6.1".to_owned() };
        let versions = Versions { envoy: "1.40.0/Clean".to_owned(), serin: "0.1.0", module_bytes: 2048 };
        let report = FilterReport {
            rows: three_rows(),
            rounds: 2,
            requests: 10,
            connections: 16,
            idle_us_per_second: 300.0,
            load_average: [Some(1.25), None],
            machine,
            versions,
        };
        let text = report.text();
        let words: Vec<_> =
            text.lines().find(|line| line.starts_with("ours")).unwrap().split_whitespace().take(4).collect();
        assert_eq!(words, ["ours", "25.00", "+5.00", "2.50"]);
        assert!(text.contains("load average 1.2 before, ? after") && text.contains("module 2 KiB"), "{text}");

        let json = serde_json::to_value(&report).unwrap();
        let row = &json["rows"][2];
        assert_eq!((row["name"].as_str(), row["cpu_us_per_request"].as_f64()), (Some("ours"), Some(25.0)));
        assert_eq!((row["over_plain_us"].as_f64(), row["times_noop"].as_f64()), (Some(5.0), Some(2.5)));
        assert_eq!(json["versions"]["envoy"], "1.40.0/Clean");
    }
}
