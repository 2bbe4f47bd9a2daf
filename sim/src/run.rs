//! Scenario and seed in, outcome out.

use std::convert::Infallible;

use rollout::base::time::{Micros, Millis};

use crate::fleet::Fleet;
use crate::laws::{Broken, Laws};
use crate::outcome::Outcome;
use crate::scenario::Scenario;
use crate::traffic::Arrivals;

/// After this long without trouble everything that was under way has arrived: longer than silence and back-off together.
const CALM: Millis = Millis(30_000);

/// Plays a scenario until its release has ended and every worker knows, or its time is over.
pub fn run(scenario: &Scenario, seed: u64) -> Outcome {
    let mut fleet = Fleet::new(scenario, seed, None);
    let Ok(()) = play(&mut fleet, seed, |_| Ok::<(), Infallible>(()));
    fleet.users.outcome(fleet.agent.canary(), scenario.warm_up, fleet.now.to_millis())
}

/// The same with every law checked after every event, and a calm end after which all counts must agree.
///
/// # Errors
/// With the first law that was broken.
pub fn run_checked(scenario: &Scenario, seed: u64) -> Result<Outcome, Broken> {
    let mut fleet = Fleet::new(scenario, seed, Some(Laws::default()));
    play(&mut fleet, seed, broken)?;
    let outcome = fleet.users.outcome(fleet.agent.canary(), scenario.warm_up, fleet.now.to_millis());
    fleet.calm_down();
    let end = Micros(fleet.now.0 + CALM.0 * 1000);
    while fleet.schedule.next_at().is_some_and(|at| at <= end) && fleet.next() {
        broken(&mut fleet)?;
    }
    if let (Some(laws), Some(canary)) = (&mut fleet.laws, fleet.agent.canary()) {
        laws.at_end(fleet.agent.controller(), canary);
    }
    broken(&mut fleet)?;
    Ok(outcome)
}

fn play<E>(fleet: &mut Fleet<'_>, seed: u64, check: impl Fn(&mut Fleet<'_>) -> Result<(), E>) -> Result<(), E> {
    let scenario = fleet.scenario;
    let end = Micros(scenario.warm_up.plus(scenario.watched_for).0.saturating_mul(1000));
    let mut arrivals = Arrivals::new(scenario, seed).peekable();
    loop {
        let due = fleet.schedule.next_at();
        let arrival = arrivals.next_if(|arrival| due.is_none_or(|due| arrival.at <= due));
        if arrival.map(|arrival| arrival.at).or(due).is_none_or(|at| at > end) {
            return Ok(());
        }
        match arrival {
            Some(arrival) => fleet.request(arrival),
            None => {
                fleet.next();
                if fleet.is_over() {
                    return Ok(());
                }
            }
        }
        check(fleet)?;
    }
}

fn broken(fleet: &mut Fleet<'_>) -> Result<(), Broken> {
    let at = fleet.since_begin();
    fleet.laws.as_mut().and_then(|laws| laws.take_broken(at)).map_or(Ok(()), Err)
}
