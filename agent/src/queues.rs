//! One queue and one task for each receiver: order is kept, and a dead receiver delays no other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// All queues of a kind. A receiver stands in `waiting` as long as its task runs.
#[derive(Debug)]
pub(crate) struct Queues<K, T> {
    /// What may wait for one receiver.
    room: usize,
    waiting: Mutex<BTreeMap<K, VecDeque<T>>>,
    busy: watch::Sender<usize>,
}

impl<K: Ord + Clone + Send + 'static, T: Send + 'static> Queues<K, T> {
    /// With `room` for each receiver; a further item pushes out the oldest.
    pub(crate) fn new(room: usize) -> Self {
        Self { room, waiting: Mutex::default(), busy: watch::Sender::new(0) }
    }

    /// Queues an item; the first for a receiver starts its task, which delivers one after the other. Returns the item that
    /// was pushed out. Needs a tokio runtime.
    pub(crate) fn push<F: Future<Output = ()> + Send>(
        queues: &Arc<Self>,
        receiver: K,
        item: T,
        deliver: impl Fn(T) -> F + Send + 'static,
    ) -> Option<T> {
        let mut waiting = queues.waiting();
        if let Some(queue) = waiting.get_mut(&receiver) {
            let oldest = if queue.len() >= queues.room { queue.pop_front() } else { None };
            queue.push_back(item);
            return oldest;
        }
        waiting.insert(receiver.clone(), VecDeque::from([item]));
        queues.busy.send_modify(|busy| *busy += 1);
        let queues = Arc::clone(queues);
        tokio::spawn(async move {
            while let Some(item) = queues.next(&receiver) {
                deliver(item).await;
            }
        });
        None
    }

    /// Until no task runs.
    pub(crate) async fn idle(&self) {
        // The sender is this very struct's.
        let _ = self.busy.subscribe().wait_for(|busy| *busy == 0).await;
    }

    /// Items that wait, and those that are being delivered.
    pub(crate) fn pending(&self) -> usize {
        // Under the lock a receiver has a queue exactly as long as its task runs, with one item in the task's hands.
        self.waiting().values().map(|queue| queue.len() + 1).sum()
    }

    /// The oldest; none ends the task, under the lock, so that the next item starts another one.
    fn next(&self, receiver: &K) -> Option<T> {
        let mut waiting = self.waiting();
        let next = waiting.get_mut(receiver).and_then(VecDeque::pop_front);
        if next.is_none() {
            waiting.remove(receiver);
            self.busy.send_modify(|busy| *busy = busy.saturating_sub(1));
        }
        next
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<K, VecDeque<T>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
