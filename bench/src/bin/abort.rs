//! `cargo xtask bench abort`: how many bad responses users get of a bad canary until its release is aborted, and how long that takes.
//!
//! A real Envoy, the deployed module and a real agent stay up for all rounds; each round is one release under a steady open
//! load, counted by the client that receives the responses. Releases are bad from the start, go bad after a time of health,
//! or stay healthy, and then must not be aborted. The kinds take turns round by round, so that other work on the machine
//! affects all alike. A bad release that is not aborted, or not by a guard, or a healthy one that is, makes this fail; a goal that
//! is missed is said in the table.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ::tests::case::Case;
use ::tests::parts;
use anyhow::Result;
use bench::abort::options::{Mode, Options};
use bench::abort::round::{CONNECTIONS, Ended, Kind, Round, Rounds};
use bench::abort::summary::{AbortReport, AbortRow};
use bench::machine::{Machine, Versions, load_average};
use bench::output::write_json;
use clap::Parser;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("bench abort: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Measures and prints; `false` when a release did not end as it must.
async fn run(options: &Options) -> Result<bool> {
    let case = Case::new("bench-abort")?;
    let report = measure(&case, options).await?;
    case.remove();
    let json = serde_json::to_string_pretty(&report)?;
    let file = write_json("abort", &json)?;
    print!("{}", if options.json { json + "\n" } else { report.text() });
    eprintln!("also as JSON in {}", file.display());
    if !report.as_it_must {
        eprintln!("bench abort: NOT every release ended as it must");
    }
    Ok(report.as_it_must)
}

async fn measure(case: &Case, options: &Options) -> Result<AbortReport> {
    let versions = Versions::of(&parts::envoy()?, &parts::module()?)?;
    let load_before = load_average();
    let mut planned: Vec<Planned> = kinds(options).into_iter().map(Planned::new).collect();
    let estimate: Duration = planned.iter().map(|it| it.kind.estimate(options)).sum::<Duration>() * options.rounds;
    eprintln!("{} releases, about {} s", planned.len() * options.rounds as usize, estimate.as_secs());
    let mut rounds = Rounds::start(case, options).await?;
    // The main thread's worker gets no requests.
    let envoy_workers = rounds.workers().await?.saturating_sub(1);
    let agent = rounds.agent_version().await?;
    let started = Instant::now();
    for round in 1..=options.rounds {
        for kind in &mut planned {
            kind.play(&mut rounds, options, round, started).await?;
        }
    }
    let rows: Vec<AbortRow> =
        planned.into_iter().map(|Planned { kind, valid, flaws }| AbortRow::new(kind, options, valid, flaws)).collect();
    Ok(AbortReport {
        as_it_must: rows.iter().all(|row| row.as_it_must),
        rows,
        health_ms: options.health.as_millis(),
        healthy_for_ms: options.healthy_for.as_millis(),
        shared_percent: options.shared,
        seed: options.seed,
        guards: !options.without_guards,
        envoy_workers,
        connections: CONNECTIONS,
        load_average: [load_before, load_average()],
        agent,
        machine: Machine::this(),
        versions,
    })
}

/// What is to be released, in the order of the table.
fn kinds(options: &Options) -> Vec<Kind> {
    let of = |mode: Mode| {
        let faults = if mode == Mode::Healthy { vec![options.shared] } else { options.faults.clone() };
        faults.into_iter().map(move |fail_percent| Kind { mode, fail_percent })
    };
    Mode::ALL.into_iter().filter(|mode| options.wants(*mode)).flat_map(of).collect()
}

/// A kind of release with the rounds played so far.
struct Planned {
    kind: Kind,
    valid: Vec<Round>,
    flaws: Vec<String>,
}

impl Planned {
    const fn new(kind: Kind) -> Self {
        Self { kind, valid: Vec::new(), flaws: Vec::new() }
    }

    /// One round that counts. Those that the machine spoiled are repeated, as many as there are rounds in all; but one that
    /// ended as it must not is never put down to the machine.
    async fn play(&mut self, rounds: &mut Rounds, options: &Options, round: u32, started: Instant) -> Result<()> {
        let Kind { mode, fail_percent } = self.kind;
        while self.flaws.len() <= options.rounds as usize {
            let elapsed_s = started.elapsed().as_secs();
            eprint!("{elapsed_s:>5} s  round {round} of {}, {} {fail_percent} %: ", options.rounds, mode.name());
            let played = rounds.play(self.kind).await?;
            eprintln!("{}", described(&played));
            match played.flaw.clone() {
                Some(flaw) if played.ended == self.kind.must_end() => self.flaws.push(flaw),
                _ => {
                    self.valid.push(played);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn described(round: &Round) -> String {
    let flaw = round.flaw.as_ref().map(|flaw| format!("invalid ({flaw}): ")).unwrap_or_default();
    let bad = format!("{flaw}{} of {} responses bad", round.received.bad_responses, round.received.canary_responses);
    match (round.ended, round.exposure) {
        (Ended::Guards | Ended::OtherCause, Some(exposure)) => format!("{bad} within {:.0} ms", exposure.exposure_ms),
        (Ended::NotAborted, _) => format!("{bad}, not aborted"),
        _ => format!("{bad}, aborted: {}", round.verdict),
    }
}
