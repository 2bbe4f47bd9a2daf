//! What will happen when: a heap in virtual time. What is due at one moment happens in the order in which it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rollout::base::time::{Micros, Millis};
use rollout::controller::Event;
use rollout::controller::fleet::Conn;
use rollout::worker::messages::{ToAgent, ToWorker};

use crate::exchange::Moment;
use crate::mishaps::Mishap;

/// Everything that happens, besides requests that come in.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The next moment of an open request, by its place among them.
    RequestMoves(usize, Moment),
    /// A worker's tick; it is out of date if the worker has asked for another pace since.
    Tick { proxy: usize, pace: u64 },
    /// A message reaches the agent.
    ToAgent(Conn, Box<ToAgent>),
    /// The agent's loop takes what workers have said.
    AgentTakes,
    /// A message reaches a worker.
    ToWorker(Conn, Box<ToWorker>),
    /// A stream breaks by itself.
    StreamBreaks(Conn),
    /// A worker notices that its stream is gone.
    WorkerLoses(usize, Conn),
    /// The agent notices that a stream is gone.
    AgentLoses(Conn),
    /// The disk has stored all events up to this number, in this life of the agent.
    Stored { life: u64, number: u64 },
    /// The controller's deadline.
    Timer(Millis),
    /// The promotion hook answers.
    HookAnswers(Box<Event>),
    /// A person does what is to be done now: begin the release, or confirm it.
    PersonActs,
    /// Something breaks.
    Breaks(Mishap),
    /// A worker begins a new life.
    WorkerBack(usize),
    /// The agent begins a new life.
    AgentBack,
}

#[derive(Debug)]
struct Due {
    at: Micros,
    number: u64,
    what: Happening,
}

/// The heap.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    due: BinaryHeap<Due>,
    planned: u64,
}

impl Schedule {
    pub(crate) fn plan(&mut self, at: Micros, what: Happening) {
        self.planned += 1;
        self.due.push(Due { at, number: self.planned, what });
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Micros> {
        self.due.peek().map(|due| due.at)
    }

    /// The next thing.
    pub(crate) fn next(&mut self) -> Option<(Micros, Happening)> {
        self.due.pop().map(|due| (due.at, due.what))
    }

    /// Drops every mishap that is still to come.
    pub(crate) fn forget_mishaps(&mut self) {
        self.due.retain(|due| !matches!(due.what, Happening::Breaks(_) | Happening::StreamBreaks(_)));
    }
}

impl Ord for Due {
    /// Reversed: the heap's greatest is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_equals_keep_their_order() {
        let mut schedule = Schedule::default();
        for (at, request) in [(5, 0), (3, 1), (5, 2), (3, 3)] {
            schedule.plan(Micros(at), Happening::RequestMoves(request, Moment::Over));
        }
        assert_eq!(schedule.next_at(), Some(Micros(3)));
        let order = std::iter::from_fn(|| schedule.next()).map(|(at, what)| match what {
            Happening::RequestMoves(request, _) => (at.0, request),
            other => panic!("{other:?}"),
        });
        assert_eq!(order.collect::<Vec<_>>(), [(3, 1), (3, 3), (5, 0), (5, 2)]);
    }
}
