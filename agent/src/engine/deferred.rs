//! What the loop keeps back until the disk has what it follows from, in the order of the events.

use std::collections::{HashSet, VecDeque};

use rollout::base::names::CanaryId;
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Done, Refused};
use rollout::record::Addition;
use rollout::release::inquiry::CallId;
use rollout::worker::messages::ToWorker;
use tokio::sync::oneshot;

use crate::journal::Shortening;

/// Streams that have ended and for which something may still wait. What waits is looked through for so many at once: while
/// the disk refuses that is much, and a whole fleet may come and go.
pub(super) const MAX_ENDED: usize = 256;

/// What waits for the disk.
pub(super) enum Deferred {
    Command(Box<Command>),
    Answer(oneshot::Sender<Result<Done, Refused>>, Result<Done, Refused>),
    Record(Box<Addition>),
    Shorten(Shortening),
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
pub(super) struct Waiting {
    deferred: VecDeque<(u64, Deferred)>,
    shortenings: usize,
    /// At most [`MAX_ENDED`].
    ended: HashSet<Conn>,
}

impl Waiting {
    /// Waits behind all that waits already.
    pub(super) fn push(&mut self, number: u64, deferred: Deferred) {
        self.shortenings += usize::from(matches!(deferred, Deferred::Shorten(_)));
        self.deferred.push_back((number, deferred));
    }

    /// The first, if its event is stored by now.
    pub(super) fn next(&mut self, through: u64) -> Option<(u64, Deferred)> {
        let next = self.deferred.pop_front_if(|(number, _)| *number <= through);
        self.shortenings -= usize::from(matches!(next, Some((_, Deferred::Shorten(_)))));
        next
    }

    /// All, whether it is stored or not.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u64, Deferred)> + use<> {
        std::mem::take(self).deferred.into_iter()
    }

    /// How much that is.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.deferred.len()
    }

    /// Whether the journal is to be shortened.
    pub(super) const fn shortens(&self) -> bool {
        self.shortenings > 0
    }

    /// A stream has ended: what waits to be sent on it is taken out, by and by. A disk that refuses keeps every confirmation
    /// back, so workers come back again and again, and each time an entry of each canary waits for them.
    pub(super) fn forget(&mut self, conn: Conn) {
        self.ended.insert(conn);
        if self.ended.len() >= MAX_ENDED {
            let ended = std::mem::take(&mut self.ended);
            self.deferred.retain(|(_, deferred)| !deferred.is_sent_on(&ended));
        }
    }

    /// Takes out what comes with every report: what the records were to get, and every confirmation but each stream's last;
    /// and what was to be sent on streams that have ended. Nothing is lost but the records, which lack the events between
    /// these numbers; and nobody hears an answer who has hung up.
    pub(super) fn abridge(&mut self) -> Option<(u64, u64)> {
        let (mut lacking, mut acknowledged) = (None, HashSet::new());
        let Self { deferred, ended, .. } = std::mem::take(self);
        let mut kept: VecDeque<_> = deferred.into_iter().rev().collect();
        kept.retain(|(number, deferred)| match deferred {
            deferred if deferred.is_sent_on(&ended) => false,
            Deferred::Record(_) => {
                let last = lacking.map_or(*number, |(_, last)| last);
                lacking = Some((*number, last));
                false
            }
            Deferred::Shorten(_) => false,
            Deferred::Command(command) => match &**command {
                Command::Send(conn, ToWorker::Ack(_)) => acknowledged.insert(*conn),
                _ => true,
            },
            Deferred::Answer(asker, _) => !asker.is_closed(),
        });
        self.deferred = kept.into_iter().rev().collect();
        lacking
    }

    /// Takes calls out that are not wanted any more.
    pub(super) fn end_calls(&mut self, canary: &CanaryId, calls: &[CallId]) {
        let is_ended = |command: &Command| match command {
            Command::CallHook { canary: of, call, .. } | Command::Query { canary: of, call, .. } => {
                of == canary && calls.contains(call)
            }
            _ => false,
        };
        self.deferred.retain(|(_, deferred)| !matches!(deferred, Deferred::Command(command) if is_ended(command)));
    }
}
