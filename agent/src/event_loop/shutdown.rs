//! What the loop still does when the agent stops: what is stored goes to records and receivers, and requests are answered.

use std::time::Duration;

use rollout::controller::Command;
use tokio::time::timeout;

use super::EventLoop;
use super::deferred::Deferred;
use super::requests::stored;

/// How long the end waits for what is queued to be stored.
const STORED_WITHIN: Duration = Duration::from_secs(10);

impl EventLoop {
    /// What is stored goes to records, hooks and receivers of alerts; then a snapshot shortens the journal. What is not
    /// stored by then is left to the next start, if the disk takes it at all.
    pub(super) async fn record_stored(&mut self) {
        let (last, mut stored) = (self.journal.last_number(), self.journal.stored());
        let settled = stored.wait_for(|stored| stored.through >= last || stored.failing.is_some());
        let _ = timeout(STORED_WITHIN, settled).await;
        let through = self.journal.stored().borrow().through;
        for (number, deferred) in self.deferred.drain() {
            match deferred {
                Deferred::Record(addition) if number <= through => self.archive.add(number, *addition),
                Deferred::Snapshot(snapshot) if number <= through => {
                    self.archive.through(number, || snapshot.queue());
                }
                // The next start sends and calls again what follows from its state, but sends no notification of what
                // happened before.
                Deferred::Command(command) if number <= through && notifies(&command) => self.perform(*command),
                Deferred::Command(_) | Deferred::Record(_) | Deferred::Snapshot(_) => {}
                answer @ Deferred::Answer(..) => self.deferred.push(number, answer),
            }
        }
    }

    /// Requests whose events are on disk are answered: callers may rely on them.
    pub(super) fn answer_stored(&mut self) {
        let through = self.journal.stored().borrow().through;
        for (number, deferred) in self.deferred.drain() {
            if let Deferred::Answer(answer, reply) = deferred
                && number <= through
            {
                let _ = answer.send(stored(reply));
            }
        }
    }
}

/// Whether it notifies somebody of an event, rather than carrying state.
const fn notifies(command: &Command) -> bool {
    matches!(command, Command::NotifyHook { .. } | Command::Alert { .. } | Command::Announce(..))
}
