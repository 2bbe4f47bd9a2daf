//! The loop's last acts: what is stored is recorded and told, and whoever asked for it is answered.

use std::time::Duration;

use rollout::controller::Command;
use tokio::time::timeout;

use super::Engine;
use super::deferred::Deferred;

/// How long the end waits for what is queued to be stored.
const STORED_WITHIN: Duration = Duration::from_secs(10);

impl Engine {
    /// At the end: what is stored is recorded, told, and then the journal shortened. What is not stored by then stays in
    /// the journal for the next life, if the disk takes it at all.
    pub(super) async fn record_stored(&mut self) {
        let (last, mut stored) = (self.journal.last_number(), self.journal.stored());
        let settled = stored.wait_for(|stored| stored.through >= last || stored.failing.is_some());
        let _ = timeout(STORED_WITHIN, settled).await;
        let through = self.handle.stored.borrow().through;
        for (number, deferred) in self.waiting.drain() {
            match deferred {
                Deferred::Record(addition) if number <= through => self.archive.add(number, *addition),
                Deferred::Shorten(shortening) if number <= through => {
                    self.archive.through(number, || shortening.queue());
                }
                // The next life sends and calls again what follows from its state; what happened it does not tell again.
                Deferred::Command(command) if number <= through && tells(&command) => self.perform(*command),
                Deferred::Command(_) | Deferred::Record(_) | Deferred::Shorten(_) => {}
                answer @ Deferred::Answer(..) => self.waiting.push(number, answer),
            }
        }
    }

    /// At the end: whoever asked for what is on disk may rely on it.
    pub(super) fn answer_stored(&mut self) {
        let through = self.handle.stored.borrow().through;
        for (number, deferred) in self.waiting.drain() {
            if let Deferred::Answer(answer, reply) = deferred
                && number <= through
            {
                let _ = answer.send(reply);
            }
        }
    }
}

/// Whether it says what happened, rather than what is.
const fn tells(command: &Command) -> bool {
    matches!(command, Command::NotifyHook { .. } | Command::Alert { .. } | Command::Announce(..))
}
