//! What can be changed about the demo.

use clap::Parser;

/// Serin's main job on a real Envoy: a good release is promoted, a failing one and a slow one are aborted.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo")]
pub(crate) struct Options {
    /// Requests per second of the load.
    #[arg(long, default_value_t = 400.0, value_parser = rps)]
    pub(crate) rps: f64,
    /// Share of requests that the failing version answers with 500, in percent.
    #[arg(long, default_value_t = 20.0, value_parser = percent)]
    pub(crate) fail_percent: f64,
    /// Share of requests on which the slow version dawdles, in percent.
    #[arg(long, default_value_t = 30.0, value_parser = percent)]
    pub(crate) slow_percent: f64,
    /// How long it dawdles, in milliseconds; the limit on p95 is 500.
    #[arg(long, default_value_t = 800)]
    pub(crate) slow_ms: u64,
    /// Print only the summary, as JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave everything running afterwards and print the URLs.
    #[arg(long)]
    pub(crate) keep: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err("must be from 0 to 100".into()) }
}

fn rps(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (10.0..=5000.0).contains(&value) { Ok(value) } else { Err("must be from 10 to 5000".into()) }
}
