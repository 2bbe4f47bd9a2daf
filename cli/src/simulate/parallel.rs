//! Many runs on all cores; the results stand in the order of their seeds, not in which they finished.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use rollout::base::time::Millis;
use sim::Outcome;
use sim::contest::contest;
use sim::scenario::Scenario;

use super::progress::Progress;
use super::situation::Situation;

/// How many runs are usual.
pub(super) const USUAL_RUNS: u32 = 50;
/// How many there are at least, however long they take.
const LEAST_RUNS: u32 = 5;
/// About how much time of one core all runs may take where nobody says how many.
const BUDGET_SECONDS: f64 = 60.0;
/// About what a report to the agent costs: filter and agent, ten a second from each worker.
const SECONDS_A_REPORT: f64 = 80e-6;
/// About what a request costs: through the filter, and under the rivals' rules.
const SECONDS_A_REQUEST: f64 = 1.2e-6;
const SECONDS_A_RIVAL_REQUEST: f64 = 0.5e-6;

/// What came of one seed: Serin's outcome first, then the rivals', each with the fault and without.
#[derive(Debug)]
pub(super) struct Played {
    /// Empty without a fault.
    pub(super) faulty: Vec<Outcome>,
    pub(super) healthy: Vec<Outcome>,
}

/// Plays seeds `first` and on: as many as are wanted, or as the time allows for.
pub(super) fn play(situation: &Situation, wanted: Option<u32>, first: u64) -> Vec<Played> {
    let mut played = batch(situation, 0..wanted.unwrap_or(LEAST_RUNS), first);
    if let (None, Some(one)) = (wanted, played.first()) {
        // Counted in virtual time: the same seed gives the same result on a slow machine.
        let runs = affordable(situation, one);
        played.extend(batch(situation, LEAST_RUNS..runs, first));
    }
    played
}

/// How many runs like this one fit into the budget.
fn affordable(situation: &Situation, one: &Played) -> u32 {
    let healthy = cost(&situation.healthy, &one.healthy);
    let faulty = situation.faulty.as_ref().map_or(0.0, |scenario| cost(scenario, &one.faulty));
    ((BUDGET_SECONDS / (healthy + faulty)) as u32).clamp(LEAST_RUNS, USUAL_RUNS)
}

/// About how long one core takes to play what had these outcomes.
fn cost(scenario: &Scenario, outcomes: &[Outcome]) -> f64 {
    let length = |outcome: &Outcome| {
        let end = outcome.promoted().or(outcome.aborted().map(|(at, _)| at));
        end.unwrap_or(scenario.watched_for).plus(scenario.warm_up)
    };
    let seconds = |span: Option<Millis>| span.unwrap_or_default().0 as f64 / 1000.0;
    let (ours, theirs) = (outcomes.first().map(length), outcomes.iter().skip(1).map(length).max());
    let (reports, requests) = (10.0 * scenario.proxies.len() as f64, scenario.traffic.per_second);
    seconds(ours) * (reports * SECONDS_A_REPORT + requests * SECONDS_A_REQUEST)
        + seconds(theirs) * requests * SECONDS_A_RIVAL_REQUEST
}

fn batch(situation: &Situation, runs: Range<u32>, first: u64) -> Vec<Played> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU32::new(runs.start);
    let (sender, receiver) = mpsc::channel();
    let mut progress = Progress::begin(runs.clone());
    let mut played = thread::scope(|scope| {
        for _ in 0..threads {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    if run >= runs.end
                        || sender.send((run, play_one(situation, first.wrapping_add(run.into())))).is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut played = Vec::new();
        loop {
            match receiver.recv_timeout(progress.pause()) {
                Ok(one) => played.push(one),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            progress.show(u32::try_from(played.len()).unwrap_or(u32::MAX));
        }
        progress.end();
        played
    });
    played.sort_by_key(|(run, _)| *run);
    played.into_iter().map(|(_, played)| played).collect()
}

fn play_one(situation: &Situation, seed: u64) -> Played {
    let all = |scenario| {
        let ours = sim::run(scenario, seed);
        let theirs = contest(scenario, seed, situation.rivals.clone());
        [ours].into_iter().chain(theirs).collect::<Vec<Outcome>>()
    };
    Played { faulty: situation.faulty.as_ref().map(all).unwrap_or_default(), healthy: all(&situation.healthy) }
}

#[cfg(test)]
mod tests {
    use sim::outcome::End;

    use super::*;

    const MANIFEST: &str = "\
apiVersion: serin.dev/v1alpha1
kind: Canary
metadata: { name: web }
spec:
  service: { hosts: [web] }
  analysis: { stepWeights: [10], metrics: [{ name: request-success-rate, thresholdRange: { min: 99 } }] }
";

    /// How many runs of a release that is promoted after this time are played, of a quarter of an hour at most.
    fn runs(promoted_after: Option<u64>) -> u32 {
        let plan = manifest::read("f.yaml", MANIFEST).documents[0].plan().unwrap().clone();
        let mut healthy = Scenario::healthy(plan);
        healthy.watched_for = Millis::from_secs(900);
        let end = promoted_after.map(|seconds| End::Promoted { at: Millis::from_secs(seconds) });
        let one = Played { faulty: Vec::new(), healthy: vec![Outcome { end, ..Outcome::default() }] };
        affordable(&Situation { faulty: None, healthy, rivals: Vec::new() }, &one)
    }

    #[test]
    fn of_long_releases_fewer_are_played() {
        assert_eq!(runs(Some(80)), USUAL_RUNS);
        assert!((10..USUAL_RUNS).contains(&runs(Some(600))), "{}", runs(Some(600)));
        assert!(runs(None) < runs(Some(600)), "one that never ends takes all of the time");
    }
}
