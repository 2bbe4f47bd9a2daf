//! What workers said while the loop was busy, taken at once: at rest that is one message, under load as many as came in
//! meanwhile. So the dearer a message becomes, the more of them share one look and one row of the journal.

use rollout::controller::fleet::Conn;
use rollout::controller::{Event, WorkerEvent};

use super::EventLoop;
use crate::handle::LoopInput;

/// Most messages in one batch: what comes after them does not wait for long.
const MOST_MESSAGES: usize = 256;
/// No further message is taken where reports hold so many strata: usual ones hold a few, the greatest 128, and all of it is
/// one row of the journal.
const ENOUGH_STRATA: usize = 4096;

impl EventLoop {
    /// A worker spoke, and perhaps others since.
    pub(super) fn workers(&mut self, first: (Conn, WorkerEvent)) {
        let mut strata = strata_of(&first.1);
        let mut batch = vec![first];
        while batch.len() < MOST_MESSAGES
            && strata < ENOUGH_STRATA
            && let Some(input) = self.waiting()
        {
            match input {
                LoopInput::Worker(conn, event) => {
                    strata += strata_of(&event);
                    batch.push((conn, event));
                }
                // In the order in which it came.
                other => {
                    self.held.push_front(other);
                    break;
                }
            }
        }
        self.handle_event(Event::Workers(batch), None);
    }

    fn waiting(&mut self) -> Option<LoopInput> {
        self.held.pop_front().or_else(|| self.inputs.others.try_recv().ok())
    }
}

fn strata_of(event: &WorkerEvent) -> usize {
    match event {
        WorkerEvent::Reported(report) => report.strata.len(),
        WorkerEvent::Adopted(..) => 0,
    }
}
