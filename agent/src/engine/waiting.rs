//! What the loop keeps back until the disk has what it follows from, in the order of the events.

use std::collections::VecDeque;

use rollout::asking::CallId;
use rollout::controller::{Command, Done, Refused};
use rollout::names::CanaryId;
use rollout::record::Addition;
use tokio::sync::oneshot;

use crate::journal::Shortening;

/// What waits for the disk.
pub(super) enum Deferred {
    Command(Box<Command>),
    Answer(oneshot::Sender<Result<Done, Refused>>, Result<Done, Refused>),
    Record(Box<Addition>),
    Shorten(Shortening),
}

/// All that waits, each with the number of its event.
#[derive(Default)]
pub(super) struct Waiting(VecDeque<(u64, Deferred)>);

impl Waiting {
    /// Waits behind all that waits already.
    pub(super) fn push(&mut self, number: u64, deferred: Deferred) {
        self.0.push_back((number, deferred));
    }

    /// The first, if its event is stored by now.
    pub(super) fn next(&mut self, through: u64) -> Option<(u64, Deferred)> {
        self.0.pop_front_if(|(number, _)| *number <= through)
    }

    /// All, whether it is stored or not.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u64, Deferred)> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }

    /// Takes calls out that are not wanted any more.
    pub(super) fn end_calls(&mut self, canary: &CanaryId, calls: &[CallId]) {
        let is_ended = |command: &Command| match command {
            Command::CallHook { canary: of, call, .. } | Command::Query { canary: of, call, .. } => {
                of == canary && calls.contains(call)
            }
            _ => false,
        };
        self.0.retain(|(_, deferred)| !matches!(deferred, Deferred::Command(command) if is_ended(command)));
    }
}
