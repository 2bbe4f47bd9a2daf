//! One queue for each receiver, and how long its task tries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rollout::release::integrations::Receiver;
use tokio::time::{Instant, sleep};

use super::delivery::Delivery;
use super::{AlertCounters, Message};
use crate::http_delivery::{Pace, Refused};
use crate::queues;
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

/// All queues, and what became of what was in them.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) counters: AlertCounters,
    limits: Limits,
    delivery: Delivery,
    waiting: Arc<queues::Queues<Receiver, Queued>>,
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
            counters: AlertCounters::default(),
            limits,
            delivery: Delivery::new(secrets, limits.timeout),
            waiting: Arc::new(queues::Queues::new(limits.room)),
        }
    }

    /// Queues a message.
    pub(super) fn push(queues: &Arc<Self>, receiver: &Receiver, alert: &str, message: Message) {
        let queued = Queued { alert: alert.to_owned(), message, since: Instant::now() };
        let (own, to) = (Arc::clone(queues), receiver.clone());
        let deliver = move |queued| {
            let (queues, receiver) = (Arc::clone(&own), to.clone());
            async move { queues.deliver(&receiver, &queued).await }
        };
        if queues::Queues::push(&queues.waiting, receiver.clone(), queued, deliver).is_some() {
            queues.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Until nothing is left.
    pub(super) async fn idle(&self) {
        self.waiting.idle().await;
    }

    /// What is left.
    pub(super) fn pending(&self) -> usize {
        self.waiting.pending()
    }

    /// Sends one message, with repetitions while they may help.
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
}
