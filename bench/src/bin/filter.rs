//! `cargo xtask bench filter`: what Serin's filter costs for each request, next to Envoy's own ways to split traffic and
//! to a filter that does nothing.
//!
//! All variants are listeners of one Envoy, measured in turn over many rounds, so that whatever else the machine does
//! meets all alike. What is measured is what is shipped: the deployed module, its default configuration, and for the
//! last row a real agent with a release in progress. A run in which a variant does not do what its name says is an
//! error, not a figure.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ::tests::agent::Agent;
use ::tests::case::Case;
use ::tests::envoy::{Envoy, EnvoySetup};
use ::tests::manifest::Manifest;
use ::tests::parts;
use ::tests::ports::Reserved;
use ::tests::wait::until;
use anyhow::{Context, Result, ensure};
use bench::cpu::process_cpu_ns;
use bench::listeners::{CANARY_PERCENT, Modules, Variant, beside_the_shipped_one, listener};
use bench::load::{Answered, Clients, KEY_HEADER};
use bench::machine::{Machine, Versions, load_average};
use bench::output::write_json;
use bench::report::{FilterReport, rows};
use bench::upstream::Upstream;
use clap::Parser;

const CONNECTIONS: usize = 16;
/// Requests of each variant before anything is measured: code is compiled, connections are open, caches are warm.
const WARM_UP: u64 = 5_000;
/// Requests of one variant before it is the next one's turn.
const SLICE: u64 = 2_000;
/// Requests before each measured slice, so that none begins with its neighbour's caches.
const LEAD_IN: u64 = 300;
const IDLE_FOR: Duration = Duration::from_secs(2);
const WITHIN: Duration = Duration::from_secs(20);

/// Measures the CPU time that Envoy takes for each request, with Serin's filter and with what it is compared with.
#[derive(Parser)]
#[command(name = "filter", bin_name = "cargo xtask bench filter --")]
struct Options {
    /// How often each variant is measured; the lower quartile counts.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Requests of each variant in one round.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// Print JSON instead of the table; target/bench/filter.json is written in any case.
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench filter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    let case = Case::new("bench-filter")?;
    let report = measure(&case, options).await?;
    case.remove();
    let json = serde_json::to_string_pretty(&report)?;
    let file = write_json("filter", &json)?;
    print!("{}", if options.json { json + "\n" } else { report.text() });
    eprintln!("also as JSON in {}", file.display());
    Ok(())
}

async fn measure(case: &Case, options: &Options) -> Result<FilterReport> {
    let modules = Modules { serin: parts::module()?, noop: noop_module()? };
    let versions = Versions::of(&parts::envoy()?, &modules.serin)?;
    let load_before = load_average();
    eprintln!("starting agent, Envoy and upstreams");
    let mut stage = Stage::start(case, &modules).await?;
    for lane in &mut stage.lanes {
        lane.send(WARM_UP).await?;
    }
    let started = Instant::now();
    for round in 0..options.rounds {
        stage.round(options.requests).await?;
        let spent_s = started.elapsed().as_secs_f64();
        let left_s = spent_s / f64::from(round + 1) * f64::from(options.rounds - round - 1);
        eprintln!("round {:>2} of {}: {}; {left_s:.0} s left", round + 1, options.rounds, stage.last_round());
    }
    let idle_us_per_second = stage.idle_us_per_second().await?;
    stage.check_what_was_done().await?;
    let samples: Vec<_> = stage.lanes.into_iter().map(|lane| (lane.variant.name(), lane.samples_us)).collect();
    Ok(FilterReport {
        rows: rows(&samples, Variant::Plain.name(), Variant::Noop.name())?,
        rounds: options.rounds,
        requests: options.requests,
        connections: CONNECTIONS,
        idle_us_per_second,
        load_average: [load_before, load_average()],
        machine: Machine::this(),
        versions,
    })
}

/// Everything that runs, with one lane for each variant.
struct Stage {
    lanes: Vec<Lane>,
    turn: usize,
    envoy: Envoy,
    agent: Agent,
    _upstreams: [Upstream; 2],
}

/// One variant's way through Envoy, and what was measured on it.
struct Lane {
    variant: Variant,
    clients: Clients,
    answered: Answered,
    /// Envoy's CPU time in this round.
    spent_ns: u64,
    /// The same for one request, of each round that is over.
    samples_us: Vec<f64>,
}

impl Lane {
    async fn send(&mut self, requests: u64) -> Result<()> {
        let name = self.variant.name();
        let answered = self.clients.send(requests).await.with_context(|| name)?;
        self.answered.primary += answered.primary;
        self.answered.canary += answered.canary;
        Ok(())
    }
}

impl Stage {
    async fn start(case: &Case, modules: &Modules) -> Result<Self> {
        let upstreams = [Upstream::start('p').await?, Upstream::start('c').await?];
        let agent = Agent::start(case.dir(), &manifest()?.write(case)?).await?;
        let beside: Vec<_> = Variant::ALL.into_iter().filter(|variant| *variant != Variant::SerinSticky).collect();
        let ports = beside.iter().map(|_| Reserved::new()).collect::<Result<Vec<_>>>()?;
        let added = beside.iter().zip(&ports).map(|(variant, port)| listener(*variant, port.addr(), modules));
        let added = added.collect::<Result<Vec<_>>>()?;
        let setup = EnvoySetup::new(upstreams[0].addr(), upstreams[1].addr());
        let setup = setup.node("bench").concurrency(1).agent(agent.grpc());
        let envoy = Envoy::start(case.dir(), setup.edit(move |text| beside_the_shipped_one(text, &added))).await?;
        begin_release(&agent, &envoy).await?;

        let mut lanes = Vec::new();
        for variant in Variant::ALL {
            let port = beside.iter().position(|other| *other == variant).and_then(|at| ports.get(at));
            let addr = port.map_or(envoy.addr(), Reserved::addr);
            let clients = Clients::connect(addr, CONNECTIONS).await?;
            lanes.push(Lane { variant, clients, answered: Answered::default(), spent_ns: 0, samples_us: Vec::new() });
        }
        Ok(Self { lanes, turn: 0, envoy, agent, _upstreams: upstreams })
    }

    async fn idle_us_per_second(&mut self) -> Result<f64> {
        let pid = self.envoy.process().pid();
        let (before_ns, started) = (process_cpu_ns(pid)?, Instant::now());
        tokio::time::sleep(IDLE_FOR).await;
        Ok((process_cpu_ns(pid)? - before_ns) as f64 / 1e3 / started.elapsed().as_secs_f64())
    }

    /// One figure for each variant. The variants take turns in short slices, beginning with another one each time: what
    /// else the machine does comes in bursts, and so meets all of them.
    async fn round(&mut self, requests: u64) -> Result<()> {
        let pid = self.envoy.process().pid();
        for slice in slices(requests) {
            self.turn += 1;
            let first = self.turn % self.lanes.len();
            let (before_first, from_first) = self.lanes.split_at_mut(first);
            for lane in from_first.iter_mut().chain(before_first) {
                lane.send(LEAD_IN).await?;
                let before_ns = process_cpu_ns(pid)?;
                lane.send(slice).await?;
                lane.spent_ns += process_cpu_ns(pid)? - before_ns;
            }
        }
        for lane in &mut self.lanes {
            let spent_us = std::mem::take(&mut lane.spent_ns) as f64 / 1e3;
            lane.samples_us.push(spent_us / requests as f64);
        }
        Ok(())
    }

    fn last_round(&self) -> String {
        let figure = |lane: &Lane| lane.samples_us.last().map_or("-".to_owned(), |us| format!("{us:.1}"));
        self.lanes.iter().map(figure).collect::<Vec<_>>().join(" ")
    }

    /// A listener that drops its filter, or a filter that decides nothing, would look cheap.
    async fn check_what_was_done(&mut self) -> Result<()> {
        for Lane { variant, answered, .. } in &self.lanes {
            let (share, expected) =
                (answered.canary as f64 / answered.total() as f64, f64::from(CANARY_PERCENT) / 100.0);
            // Six standard deviations of a fair draw.
            let bound = 6.0 * (expected * (1.0 - expected) / answered.total() as f64).sqrt();
            let is_right = if variant.is_split() { (share - expected).abs() < bound } else { answered.canary == 0 };
            ensure!(is_right, "{:?}: {answered:?} is not the split that was asked for", variant.name());
        }
        for (variant, canary) in [(Variant::SerinWeight, "default/fixed"), (Variant::SerinSticky, "default/web")] {
            let lane = self.lanes.iter().find(|lane| lane.variant == variant).context("every variant has a lane")?;
            let (envoy, answered) = (&self.envoy, lane.answered);
            until(&format!("Envoy's statistics of {canary}"), WITHIN, async || {
                let counted = counted(envoy, canary).await?;
                ensure!(counted == answered, "the filter counted {counted:?}, the client {answered:?}");
                Ok(())
            })
            .await?;
        }
        let lane = self.lanes.iter().find(|lane| lane.variant == Variant::SerinSticky).context("it has a lane")?;
        let (agent, answered) = (&self.agent, lane.answered);
        until("all reports at the agent", WITHIN, async || {
            let reported = reported(agent).await?;
            ensure!(reported == answered, "the agent knows {reported:?}, the client {answered:?}");
            Ok(())
        })
        .await
    }
}

/// `requests` divided into slices of [`SLICE`] and the rest.
fn slices(requests: u64) -> impl Iterator<Item = u64> {
    let rest = requests % SLICE;
    std::iter::repeat_n(SLICE, (requests / SLICE) as usize).chain((rest > 0).then_some(rest))
}

/// The shipped example, guards, fuse and all, as a release that stays where it is, at one weight and sticky by a header.
fn manifest() -> Result<Manifest> {
    Manifest::steady(&CANARY_PERCENT.to_string())?.guarded()?.sticky(&format!("{{ header: {KEY_HEADER} }}"))
}

async fn begin_release(agent: &Agent, envoy: &Envoy) -> Result<()> {
    until("Envoy's workers at the agent", WITHIN, async || {
        // The worker thread's and the main thread's.
        let connected = envoy.counter("wasmcustom.serin.connected").await?;
        ensure!(connected == 2, "{connected} are connected");
        Ok(())
    })
    .await?;
    agent.cli(&["release", "web", "--revision", "2"]).await?.ok()?;
    until("the release's weight", WITHIN, async || {
        let weights = envoy.stats("wasmcustom.serin.weight_ppm").await?;
        let weight_ppm = weights.iter().find(|(name, _)| name.ends_with("canary=default/web")).map(|(_, ppm)| *ppm);
        ensure!(weight_ppm == Some(u64::from(CANARY_PERCENT) * 10_000), "the weight is {weight_ppm:?} ppm");
        Ok(())
    })
    .await
}

/// What the filter counted for a canary in Envoy's own statistics.
async fn counted(envoy: &Envoy, canary: &str) -> Result<Answered> {
    let all = envoy.stats("wasmcustom.serin.requests").await?;
    let of = |version: &str| {
        let end = format!(";canary={canary};version={version}");
        all.iter().filter(|(name, _)| name.ends_with(&end)).map(|(_, count)| count).sum()
    };
    Ok(Answered { primary: of("primary"), canary: of("canary") })
}

/// What the agent knows of the release's good answers.
async fn reported(agent: &Agent) -> Result<Answered> {
    let status = agent.api("/api/v1/canaries/default/web").await?;
    let totals = status.get("totals").and_then(|totals| totals.as_array()).context("no totals")?;
    let of = |version: &str| {
        let found = totals.iter().find(|row| row.get("version").is_some_and(|name| name == version));
        found.and_then(|row| row.get("succeeded")?.as_u64()).with_context(|| format!("no total of {version}"))
    };
    Ok(Answered { primary: of("primary")?, canary: of("canary")? })
}

/// The filter that does nothing, which `cargo xtask bench` builds.
fn noop_module() -> Result<PathBuf> {
    let path =
        std::env::var_os("SERIN_WASM_NOOP").context("SERIN_WASM_NOOP is not set: run `cargo xtask bench filter`")?;
    PathBuf::from(&path).canonicalize().with_context(|| format!("SERIN_WASM_NOOP={}", Path::new(&path).display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_files_still_have_what_is_changed_in_them() {
        let text = manifest().unwrap().text().to_owned();
        assert!(text.contains("sticky: { header: ") && text.contains("# guards: abort"), "{text}");
        beside_the_shipped_one(::tests::envoy::STANDALONE, &[]).unwrap();
    }

    #[test]
    fn slices_add_up_to_the_requests_asked_for() {
        let of = |requests| slices(requests).collect::<Vec<_>>();
        assert_eq!(of(5_000), [2_000, 2_000, 1_000]);
        assert_eq!(of(4_000), [2_000, 2_000]);
        assert_eq!(of(7), [7]);
    }
}
