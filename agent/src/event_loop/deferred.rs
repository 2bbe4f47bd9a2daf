//! What the loop holds back until the event that it follows from is on disk, in the order of the events.

use std::collections::{HashSet, VecDeque};

use rollout::base::names::CanaryId;
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Done, Refused};
use rollout::record::Addition;
use rollout::release::inquiry::CallId;
use rollout::worker::messages::ToWorker;
use tokio::sync::oneshot;

use crate::handle::Answer;
use crate::journal::PendingSnapshot;

/// Streams that have ended and for which something may still wait. One pass over the queue serves this many of them: while
/// the disk refuses the queue is long, and a whole fleet may come and go.
pub(super) const MAX_ENDED: usize = 256;

/// What waits for the disk.
pub(super) enum Deferred {
    Command(Box<Command>),
    Answer(oneshot::Sender<Answer>, Result<Done, Refused>),
    Record(Box<Addition>),
    Snapshot(PendingSnapshot),
}

impl Deferred {
    /// Whether it is a message on one of these streams.
    fn is_sent_on(&self, conns: &HashSet<Conn>) -> bool {
        let Self::Command(command) = self else { return false };
        matches!(&**command, Command::Send(conn, _) if conns.contains(conn))
    }
}

/// All that waits, each with the number of its event.
#[derive(Default)]
pub(super) struct DeferredQueue {
    queue: VecDeque<(u64, Deferred)>,
    snapshots: usize,
    /// At most [`MAX_ENDED`].
    ended: HashSet<Conn>,
}

impl DeferredQueue {
    /// Waits behind all that waits already.
    pub(super) fn push(&mut self, number: u64, deferred: Deferred) {
        self.snapshots += usize::from(matches!(deferred, Deferred::Snapshot(_)));
        self.queue.push_back((number, deferred));
    }

    /// The first, if its event is stored by now.
    pub(super) fn next(&mut self, through: u64) -> Option<(u64, Deferred)> {
        let next = self.queue.pop_front_if(|(number, _)| *number <= through);
        self.snapshots -= usize::from(matches!(next, Some((_, Deferred::Snapshot(_)))));
        next
    }

    /// All, whether it is stored or not.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u64, Deferred)> + use<> {
        std::mem::take(self).queue.into_iter()
    }

    /// How much that is.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether a snapshot waits that will shorten the journal.
    pub(super) const fn has_snapshot(&self) -> bool {
        self.snapshots > 0
    }

    /// A stream has ended: what waits to be sent on it is removed, sooner or later. A disk that refuses holds every
    /// confirmation back, so workers reconnect again and again, and each time an entry of each canary waits for them.
    pub(super) fn forget(&mut self, conn: Conn) {
        self.ended.insert(conn);
        if self.ended.len() >= MAX_ENDED {
            let ended = std::mem::take(&mut self.ended);
            self.queue.retain(|(_, deferred)| !deferred.is_sent_on(&ended));
        }
    }

    /// Removes what comes with every report: additions to records, and every confirmation but each stream's last; also what
    /// was to be sent on streams that have ended, and answers to callers who hung up. Only the records lose by it: they
    /// lack the events between the numbers returned.
    pub(super) fn collapse(&mut self) -> Option<(u64, u64)> {
        let (mut lacking, mut acknowledged) = (None, HashSet::new());
        let Self { queue, ended, .. } = std::mem::take(self);
        let mut kept: VecDeque<_> = queue.into_iter().rev().collect();
        kept.retain(|(number, deferred)| match deferred {
            deferred if deferred.is_sent_on(&ended) => false,
            Deferred::Record(_) => {
                let last = lacking.map_or(*number, |(_, last)| last);
                lacking = Some((*number, last));
                false
            }
            Deferred::Snapshot(_) => false,
            Deferred::Command(command) => match &**command {
                Command::Send(conn, ToWorker::Stored(_)) => acknowledged.insert(*conn),
                _ => true,
            },
            Deferred::Answer(asker, _) => !asker.is_closed(),
        });
        self.queue = kept.into_iter().rev().collect();
        lacking
    }

    /// Removes calls whose answers are not awaited any more.
    pub(super) fn end_calls(&mut self, canary: &CanaryId, calls: &[CallId]) {
        let is_ended = |command: &Command| match command {
            Command::CallHook { canary: of, call, .. } | Command::Query { canary: of, call, .. } => {
                of == canary && calls.contains(call)
            }
            _ => false,
        };
        self.queue.retain(|(_, deferred)| !matches!(deferred, Deferred::Command(command) if is_ended(command)));
    }
}
