//! What can be asked of `cargo xtask bench fleet`.

use clap::Parser;

use crate::abort::options::percent;

/// Measures one agent under many workers: reports per second and core, acknowledgements, memory, journal, pushes.
#[derive(Clone, Debug, Parser)]
#[command(name = "fleet", bin_name = "cargo xtask bench fleet --")]
pub struct FleetOptions {
    /// Streams of each row; every row has an agent of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 4_000, 10_000],
          value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub workers: Vec<u32>,
    /// Seconds that a row is measured, after as long to warm up, 3 s at most.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Requests per second that each worker gets; 0 measures idle streams only.
    #[arg(long, default_value_t = 10.0, value_parser = rate)]
    pub rate: f64,
    /// The canary's share of them, in percent.
    #[arg(long, default_value_t = 10.0, value_parser = percent)]
    pub weight: f64,
    /// Aborts of each row, from which the push is measured.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub aborts: u32,
    /// Shares of its requests that a bad canary fails, in percent.
    #[arg(long, value_delimiter = ',', default_values_t = [5.0, 100.0], value_parser = percent)]
    pub faults: Vec<f64>,
    /// The row in which bad canaries are released.
    #[arg(long, default_value_t = 1_000)]
    pub fault_workers: u32,
    /// Releases of each bad canary.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub fault_rounds: u32,
    /// HTTP/2 connections that the streams share.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub connections: u32,
    /// Threads that play the workers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// All workers tick at the same moment, as they do at first when an entry has told all of them at once to tick faster.
    #[arg(long)]
    pub in_step: bool,
    /// Every random number follows from it.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print JSON instead of the table; target/bench/fleet.json is written in any case.
    #[arg(long)]
    pub json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "must be a number of requests per second".to_owned())?;
    if (0.0..=1_000.0).contains(&value) { Ok(value) } else { Err("must be from 0 to 1000".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_can_be_chosen_and_what_makes_no_sense_is_refused() {
        let plain = FleetOptions::parse_from(["fleet"]);
        assert_eq!((plain.workers, plain.faults), (vec![100, 1_000, 4_000, 10_000], vec![5.0, 100.0]));
        let chosen = FleetOptions::parse_from(["fleet", "--workers", "7,90", "--rate", "0"]);
        assert_eq!((chosen.workers, chosen.rate), (vec![7, 90], 0.0));
        for wrong in [["--workers", "0"], ["--workers", "20001"], ["--rate", "-1"], ["--faults", "0"]] {
            assert!(FleetOptions::try_parse_from([&["fleet"][..], &wrong[..]].concat()).is_err(), "{wrong:?}");
        }
    }
}
