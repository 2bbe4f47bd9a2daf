//! What people and pipelines ask for is on disk before it is thought about, or it is not carried out: who is told that it
//! was not must not see it happen when space is freed. An abort alone waits for no disk.
//!
//! Events are handled in the order in which they are stored, so what comes in while a request is being stored is held: for
//! one write, and never for longer than a disk that works takes. Where it takes longer, and where an abort comes in, the
//! request is withdrawn.

use rollout::base::names::CanaryId;
use rollout::controller::{Done, Event, Refused, Verb};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::EventLoop;
use crate::handle::{Answer, Carried, NotCarried};
use crate::journal::{HANGS, HANGS_AFTER, Stored};

/// Most inputs held; more wait in their channel.
const MAX_HELD: usize = 1024;

impl EventLoop {
    /// A person or pipeline asks.
    pub(super) async fn request(&mut self, canary: CanaryId, verb: Verb, answer: oneshot::Sender<Answer>) {
        let is_abort = matches!(verb, Verb::Abort { .. });
        let event = Event::Requested(canary, verb);
        if is_abort {
            return self.handle_event(event, Some(answer));
        }
        let now = self.clock.now();
        if let Some(why) = self.journal.hindrance() {
            let _ = answer.send(Err(NotCarried::Unstored(why)));
            return;
        }
        let Some(number) = self.append(&event, now) else { return };
        match self.wait_until_stored(number).await {
            Ok(()) => {
                self.think(number, event, Some(answer), now);
                // What waits for this event alone waits for nothing.
                self.perform_stored();
            }
            Err(why) => {
                self.journal.withdraw(number, matches!(why, NotCarried::Unstored(_)));
                let _ = answer.send(Err(why));
            }
        }
    }

    /// Waits for the last appended event.
    ///
    /// # Errors
    /// Why it must not be waited for any longer.
    async fn wait_until_stored(&mut self, number: u64) -> Result<(), NotCarried> {
        let unstored = |why: &str| Err(NotCarried::Unstored(why.into()));
        let mut stored = self.journal.stored();
        let hangs = sleep(HANGS_AFTER);
        tokio::pin!(hangs);
        loop {
            tokio::select! {
                biased;
                settled = stored.wait_for(|stored| stored.through >= number || stored.failing.is_some()) => {
                    return match settled {
                        Ok(stored) if stored.through >= number => Ok(()),
                        Ok(stored) => unstored(stored.failing.as_deref().unwrap_or_default()),
                        Err(_) => unstored("its thread has ended; restart the agent"),
                    };
                }
                Some(abort) = self.inputs.aborts.recv() => {
                    // Before all that is held: requests among it would be stored first.
                    self.held.push_front(abort);
                    return Err(NotCarried::Overtaken);
                }
                () = &mut hangs => return unstored(HANGS),
                Some(input) = self.inputs.others.recv(), if self.held.len() < MAX_HELD => self.held.push_back(input),
            }
        }
    }
}

/// The answer to what is stored.
pub(super) fn stored(reply: Result<Done, Refused>) -> Answer {
    reply.map(|done| Carried { done, unstored: None }).map_err(NotCarried::Refused)
}

/// The answer to what waits for no disk: a refusal, or an abort, whose entry has left if there was traffic. The answer to
/// an abort promises more, that no restart undoes it: an agent killed at this moment, with the entry in no socket and the
/// event in no journal, would resume the release. So the answer waits until the abort is stored, or says that it is not.
pub(super) async fn answer_soon(
    answer: oneshot::Sender<Answer>,
    reply: Result<Done, Refused>,
    number: u64,
    mut journal: watch::Receiver<Stored>,
) {
    let mut unstored = None;
    if reply.is_ok() {
        let settled = journal.wait_for(|stored| stored.through >= number || stored.failing.is_some());
        // It is aborted: a disk that hangs, or a journal that has ended, must not hold the answer back.
        let is_settled = timeout(HANGS_AFTER, settled).await.is_ok();
        let stored = journal.borrow();
        if stored.through < number {
            let why = if is_settled { "its thread has ended; restart the agent" } else { HANGS };
            unstored = Some(stored.failing.clone().unwrap_or_else(|| why.into()));
        }
    }
    let _ = answer.send(reply.map(|done| Carried { done, unstored }).map_err(NotCarried::Refused));
}
