//! Many runs on all cores; the results stand in the order of their seeds, not in which they finished.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use sim::Outcome;
use sim::contest::contest;

use super::situation::Situation;

/// What came of one seed: Serin's outcome first, then the rivals', each with the fault and without.
#[derive(Debug)]
pub(super) struct Played {
    /// Empty without a fault.
    pub(super) faulty: Vec<Outcome>,
    pub(super) healthy: Vec<Outcome>,
}

/// Plays seeds `first` and on.
pub(super) fn play(situation: &Situation, runs: u32, first: u64) -> Vec<Played> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU32::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut played = thread::scope(|scope| {
        for _ in 0..threads {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    if run >= runs || sender.send((run, play_one(situation, first.wrapping_add(run.into())))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut played = Vec::new();
        for one in receiver {
            played.push(one);
            show_progress(played.len(), runs);
        }
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

/// One line that is written over, and cleared at the end; only a person at a terminal wants it.
fn show_progress(done: usize, runs: u32) {
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        let is_last = done >= runs as usize;
        let line = if is_last { String::new() } else { format!("{done} of {runs} runs") };
        let _ = write!(err, "\r\x1b[K{line}");
        let _ = err.flush();
    }
}
