//! What can be asked of `cargo xtask bench attacks`.

use clap::Parser;

/// Attacks healthy releases, which must not be aborted for it, and bad ones, which must be all the same.
#[derive(Clone, Debug, Parser)]
#[command(name = "attacks", bin_name = "cargo xtask bench attacks --")]
pub struct AttackOptions {
    /// Play on a real Envoy instead of in virtual time.
    #[arg(long)]
    pub envoy: bool,
    /// Healthy releases for each attack [default: 2000, on Envoy 20].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rounds: Option<u32>,
    /// Bad releases for each attack and fault [default: 200, on Envoy 2].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub bad_rounds: Option<u32>,
    /// Only attacks with this in their name.
    #[arg(long, default_value = "")]
    pub only: String,
    /// Every random number follows from it.
    #[arg(long, default_value_t = 20_261_130)]
    pub seed: u64,
    /// Print JSON instead of the table; target/bench/attacks.json, on Envoy attacks-envoy.json, is written in any case.
    #[arg(long)]
    pub json: bool,
}

impl AttackOptions {
    /// Healthy releases for each attack.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.envoy { 20 } else { 2_000 })
    }

    /// Bad releases for each attack and fault.
    #[must_use]
    pub fn bad_rounds(&self) -> u32 {
        self.bad_rounds.unwrap_or(if self.envoy { 2 } else { 200 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envoy_plays_fewer_rounds() {
        let read = |args: &[&str]| AttackOptions::parse_from([&["attacks"][..], args].concat());
        let rounds = |options: AttackOptions| (options.rounds(), options.bad_rounds());
        assert_eq!((rounds(read(&[])), rounds(read(&["--envoy"]))), ((2_000, 200), (20, 2)));
        assert_eq!(rounds(read(&["--envoy", "--rounds", "3"])), (3, 2));
        assert!(AttackOptions::try_parse_from(["attacks", "--rounds", "0"]).is_err());
    }
}
