//! What can be asked of `cargo xtask bench abort`.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Whether and when a release goes bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is bad when the release begins.
    Start,
    /// It goes bad after a time of perfect health.
    Late,
    /// It is as good as it must be, and so is the primary.
    Healthy,
}

impl Mode {
    /// All, in the order in which they are measured.
    pub const ALL: [Self; 3] = [Self::Start, Self::Late, Self::Healthy];

    /// Its name in the table and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Late => "late",
            Self::Healthy => "healthy",
        }
    }
}

/// Counts the bad responses that users get of a bad canary until its release is aborted, on a real Envoy with the real filter and agent.
#[derive(Clone, Debug, Parser)]
#[command(name = "abort", bin_name = "cargo xtask bench abort --")]
pub struct Options {
    /// Releases of each kind.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Shares of its requests that the canary fails, in percent.
    #[arg(long, value_delimiter = ',', default_values_t = [2.0, 5.0, 20.0, 100.0], value_parser = percent)]
    pub faults: Vec<f64>,
    /// Measure only releases that are bad from the start, that go bad late, or that are healthy.
    #[arg(long)]
    pub only: Option<Mode>,
    /// How long a release is healthy before it goes bad late.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub health: Duration,
    /// How long a healthy release runs, which must not be aborted.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub healthy_for: Duration,
    /// How long a bad release may run before the benchmark stops it and counts it as not aborted.
    #[arg(long, default_value = "120s", value_parser = duration)]
    pub patience: Duration,
    /// Requests per second, to both versions together.
    #[arg(long, default_value_t = 1000.0, value_parser = rps)]
    pub rps: f64,
    /// The canary's share of them, in percent.
    #[arg(long, default_value_t = 10.0, value_parser = percent)]
    pub weight: f64,
    /// How long the primary takes to answer, which the comparison has to wait for.
    #[arg(long, default_value = "0s", value_parser = duration_or_none)]
    pub primary_latency: Duration,
    /// Share of its requests that each version fails while the release is healthy, in percent; the objective is 1.
    #[arg(long, default_value_t = 0.5, value_parser = percent)]
    pub shared: f64,
    /// Decides which of the canary's requests fail.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Switch the guards off: then nothing is aborted, and this benchmark must say so and fail.
    #[arg(long)]
    pub without_guards: bool,
    /// Print JSON instead of the table; target/bench/abort.json is written in any case.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Whether releases of this kind are asked for.
    #[must_use]
    pub fn wants(&self, mode: Mode) -> bool {
        self.only.is_none_or(|only| only == mode)
    }
}

/// A share in percent, above 0.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "must be a number of percent".to_owned())?;
    if value > 0.0 && value <= 100.0 { Ok(value) } else { Err("must be above 0 and at most 100 percent".into()) }
}

fn rps(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "must be a number of requests per second".to_owned())?;
    if (10.0..=20_000.0).contains(&value) { Ok(value) } else { Err("must be from 10 to 20000".into()) }
}

fn duration_or_none(text: &str) -> Result<Duration, String> {
    if text == "0s" { Ok(Duration::ZERO) } else { duration(text) }
}

/// `500ms`, `60s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a whole number with ms, s or m, such as 60s".to_owned();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit_ms = match text.strip_prefix(digits) {
        Some("ms") => 1,
        Some("s") => 1000,
        Some("m") => 60_000,
        _ => return Err(wrong()),
    };
    match number.checked_mul(unit_ms) {
        Some(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => Err("must be above 0 and at most a day".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_with_its_units() {
        let options = Options::parse_from(["abort", "--faults", "2,5.5", "--health", "2m", "--only", "late"]);
        assert_eq!((options.faults.as_slice(), options.health), (&[2.0, 5.5][..], Duration::from_secs(120)));
        assert!(options.wants(Mode::Late) && !options.wants(Mode::Start) && !options.wants(Mode::Healthy));
        let plain = Options::parse_from(["abort"]);
        assert_eq!((plain.faults.len(), plain.rounds, plain.health), (4, 5, Duration::from_secs(60)));
        assert!(Mode::ALL.into_iter().all(|mode| plain.wants(mode)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            ["--faults", "0"],
            ["--faults", "101"],
            ["--faults", "x"],
            ["--health", "60"],
            ["--health", "0s"],
            ["--health", "s"],
            ["--health", "3d"],
            ["--rounds", "0"],
            ["--weight", "0"],
            ["--rps", "1"],
            ["--only", "never"],
        ] {
            assert!(Options::try_parse_from([&["abort"][..], &wrong[..]].concat()).is_err(), "{wrong:?}");
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    }
}
