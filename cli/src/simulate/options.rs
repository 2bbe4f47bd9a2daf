//! `serin simulate`: what may be typed, and which values make sense.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::args::OutputArgs;

/// Shown below `serin simulate --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  serin simulate -f canary.yaml                   healthy: how long, and how many false aborts?
  serin simulate -f canary.yaml --fault 5%        5 % of the canary's requests fail: who aborts?
  serin simulate -f canary.yaml --fault 20% --fault-after 60s --rps 200 --workers 8
  serin simulate -f canary.yaml --fault 100% --fails-by hang          it never answers
  serin simulate -f canary.yaml --slow 800ms                          it answers, but late
  serin simulate -f canary.yaml --fault 5% -o json | jq '.rules[0]'   for programs

Plays whole releases in virtual time, with the product's own filter and agent on random traffic;
then the same requests under Flagger's and Argo Rollouts' rules, idealised in their favour:
perfect metrics without delay, routes that change at once (real ones take 15 to 60 s). With a
fault it also plays the release without it: that gives the false aborts and the time to promote.

A request through the filter takes half a microsecond, a report to the agent (10 a second from
each worker) some 100. So 50 runs of a release of 80 seconds, with and without a fault, at 1000
requests a second and 4 workers take twelve seconds on two cores. Of longer releases fewer are
played, about as many as one core plays in a minute, and a note says so; --runs overrides it.
The same --seed gives the same result on every machine.

Next: `serin validate` checks the file for the agent; `serin release` begins the real one.";

/// `serin simulate`.
#[derive(Args, Debug)]
pub(crate) struct SimulateArgs {
    /// The Canary manifest, or `-` for standard input
    #[arg(short, long, value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// Which Canary of the file, where it holds several: NAME or NAMESPACE/NAME
    pub(crate) canary: Option<String>,
    /// Requests a second over all workers
    #[arg(long, value_name = "N", default_value = "1000", value_parser = rate)]
    pub(crate) rps: f64,
    /// Workers: one for each thread of each Envoy
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) workers: u16,
    /// The share of the canary's requests that fail [default: as many as the primary's]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(crate) fault: Option<f64>,
    /// When the canary begins to fail, or to be slow, after the release has begun
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = span)]
    pub(crate) fault_after: Duration,
    /// What a failure looks like: an error at once, no answer until the proxy gives up after 15 s, or no answer ever
    #[arg(long, value_name = "HOW", default_value = "error")]
    pub(crate) fails_by: FailsBy,
    /// The canary's median latency once it is slow
    #[arg(long, value_name = "TIME", value_parser = latency)]
    pub(crate) slow: Option<Duration>,
    /// Median latency of good answers; the p95 is 2.3 times as long
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = latency)]
    pub(crate) latency: Duration,
    /// The share of all requests that fail on a good day
    #[arg(long, value_name = "PERCENT", default_value = "0.1%", value_parser = percent)]
    pub(crate) base_failures: f64,
    /// How many releases to play [default: 50; fewer, but at least 5, where one takes long to play]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) runs: Option<u32>,
    /// The first run's seed; the others count on from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long a release is watched at most
    #[arg(long = "for", value_name = "TIME", default_value = "30m", value_parser = watched)]
    pub(crate) watched_for: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What a failure looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailsBy {
    /// Status 500 after a millisecond
    Error,
    /// Status 504 after 15 s, Envoy's default
    Timeout,
    /// Nothing, ever
    Hang,
}

/// 5% or 5, as a share from 0 to 1.
fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    match number {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("must be a percentage from 0% to 100%, as in 5% or 0.1%".into()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("must be a number from 0.1 to 100000".into()),
    }
}

fn span(text: &str) -> Result<Duration, String> {
    within(text, Duration::ZERO, Duration::from_hours(24), "0s to 24h")
}

fn watched(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1), Duration::from_hours(24), "1s to 24h")
}

fn latency(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_millis(1), Duration::from_mins(1), "1ms to 1m")
}

fn within(text: &str, least: Duration, most: Duration, range: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).ok().filter(|span| (least..=most).contains(span));
    span.ok_or_else(|| format!("must be a time from {range}, as in 800ms, 90s or 1h30m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_refused_with_their_rule() {
        assert_eq!((percent("5%"), percent("0.1"), percent("100 %")), (Ok(0.05), Ok(0.001), Ok(1.0)));
        for wrong in ["", "%", "-1%", "101%", "NaN", "inf", "five"] {
            assert!(percent(wrong).is_err(), "{wrong}");
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(latency("800ms"), Ok(Duration::from_millis(800)));
        for wrong in ["0ms", "2m", "soon", "800"] {
            assert!(latency(wrong).unwrap_err().contains("1ms to 1m"), "{wrong}");
        }
    }
}
