//! One queue and one task for each receiver: order is kept, and one that is dead delays no other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollout::outside::Receiver;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::delivery::Delivery;
use super::{Counters, Message};
use crate::post::{Pace, Refused};
use crate::secrets::Secrets;

/// How long a queue is and how patient.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Messages that wait for one receiver; a further one pushes out the oldest.
    pub room: usize,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Between attempts.
    pub pace: Pace,
    /// No attempt but the first begins later than this after the message was queued.
    pub patience: Duration,
}

/// What the agent runs with.
pub(super) const LIMITS: Limits = Limits {
    room: 256,
    timeout: Duration::from_secs(5),
    pace: Pace { first: Duration::from_secs(1), most: Duration::from_secs(60) },
    patience: Duration::from_secs(300),
};

/// All queues. A receiver stands in `waiting` as long as its task runs.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) counters: Counters,
    limits: Limits,
    delivery: Delivery,
    waiting: Mutex<BTreeMap<Receiver, VecDeque<Queued>>>,
    busy: watch::Sender<usize>,
}

#[derive(Debug)]
struct Queued {
    alert: String,
    message: Message,
    since: Instant,
}

impl Queues {
    pub(super) fn new(secrets: Secrets, limits: Limits) -> Self {
        Self {
            counters: Counters::default(),
            limits,
            delivery: Delivery::new(secrets, limits.timeout),
            waiting: Mutex::default(),
            busy: watch::Sender::new(0),
        }
    }

    /// Queues a message; the first one of a receiver starts its task.
    pub(super) fn push(queues: &Arc<Self>, receiver: &Receiver, alert: &str, message: Message) {
        let queued = Queued { alert: alert.to_owned(), message, since: Instant::now() };
        let mut waiting = queues.waiting();
        if let Some(queue) = waiting.get_mut(receiver) {
            if queue.len() >= queues.limits.room {
                queue.pop_front();
                queues.counters.dropped.fetch_add(1, Ordering::Relaxed);
            }
            queue.push_back(queued);
            return;
        }
        waiting.insert(receiver.clone(), VecDeque::from([queued]));
        queues.busy.send_modify(|busy| *busy += 1);
        let (queues, receiver) = (Arc::clone(queues), receiver.clone());
        tokio::spawn(async move {
            while let Some(queued) = queues.next(&receiver) {
                queues.deliver(&receiver, &queued).await;
            }
        });
    }

    /// Until no task runs.
    pub(super) async fn idle(&self) {
        // The sender is this very struct's.
        let _ = self.busy.subscribe().wait_for(|busy| *busy == 0).await;
    }

    /// The oldest message; none ends the task, under the lock, so that the next message starts another one.
    fn next(&self, receiver: &Receiver) -> Option<Queued> {
        let mut waiting = self.waiting();
        let next = waiting.get_mut(receiver).and_then(VecDeque::pop_front);
        if next.is_none() {
            waiting.remove(receiver);
            self.busy.send_modify(|busy| *busy = busy.saturating_sub(1));
        }
        next
    }

    /// Sends one message, again and again while that may help.
    async fn deliver(&self, receiver: &Receiver, queued: &Queued) {
        let pace = self.limits.pace;
        let mut waits = pace.waits();
        loop {
            let refused = match self.delivery.attempt(receiver, &queued.message).await {
                Ok(()) => {
                    self.counters.sent.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(refused) => refused,
            };
            let wait = pace.after(&refused, &mut waits);
            if !refused.again || queued.since.elapsed() + wait > self.limits.patience {
                self.give_up(receiver, queued, &refused);
                return;
            }
            sleep(wait).await;
        }
    }

    fn give_up(&self, receiver: &Receiver, queued: &Queued, refused: &Refused) {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        let (kind, canary) = (receiver.kind, &queued.message.canary);
        let error = refused.said_by(&queued.alert);
        tracing::warn!(alert = %queued.alert, ?kind, canary = canary.as_str(), %error, "alert not sent");
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Receiver, VecDeque<Queued>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
