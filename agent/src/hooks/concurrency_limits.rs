//! How many calls may be in progress: a hook that does not answer must not take the places of others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Calls in progress in the whole agent.
pub(crate) const IN_AGENT: usize = 64;
/// Calls in progress of one canary.
pub(crate) const OF_CANARY: usize = 8;
/// Calls in progress of one hook, so that a dead one leaves its canary's other hooks their places.
pub(crate) const OF_HOOK: usize = 2;
/// Calls of one hook that are in progress, wait, or pause between attempts; there are no more.
pub(crate) const PENDING_OF_HOOK: usize = 64;

/// The places of all canaries.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimits {
    agent: Arc<Semaphore>,
    canaries: Mutex<BTreeMap<(String, String), Arc<OfCanary>>>,
}

#[derive(Debug)]
struct OfCanary {
    places: Semaphore,
    /// By name and URL: names may be shared.
    hooks: Mutex<BTreeMap<(String, String), Arc<OfHook>>>,
}

#[derive(Debug)]
struct OfHook {
    places: Semaphore,
    pending: Arc<Semaphore>,
}

/// One call, from its first attempt to its last.
#[derive(Debug)]
pub(crate) struct Call {
    agent: Arc<Semaphore>,
    canary: Arc<OfCanary>,
    hook: Arc<OfHook>,
    _pending: OwnedSemaphorePermit,
}

/// One attempt; its places are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    _hook: Option<SemaphorePermit<'a>>,
    _canary: Option<SemaphorePermit<'a>>,
    _agent: Option<SemaphorePermit<'a>>,
}

impl Default for ConcurrencyLimits {
    fn default() -> Self {
        Self { agent: Arc::new(Semaphore::new(IN_AGENT)), canaries: Mutex::default() }
    }
}

impl ConcurrencyLimits {
    /// Begins a call of a hook, which its name and URL make; `None` when too many of it are pending.
    pub(crate) fn begin(&self, namespace: &str, name: &str, (hook, url): (&str, &str)) -> Option<Call> {
        let canary = shared(&self.canaries, (namespace.to_owned(), name.to_owned()), || OfCanary {
            places: Semaphore::new(OF_CANARY),
            hooks: Mutex::default(),
        });
        let hook = shared(&canary.hooks, (hook.to_owned(), url.to_owned()), || OfHook {
            places: Semaphore::new(OF_HOOK),
            pending: Arc::new(Semaphore::new(PENDING_OF_HOOK)),
        });
        let pending = Arc::clone(&hook.pending).try_acquire_owned().ok()?;
        Some(Call { agent: Arc::clone(&self.agent), canary, hook, _pending: pending })
    }
}

impl Call {
    /// Waits for a place, in the order of asking.
    pub(crate) async fn attempt(&self) -> Attempt<'_> {
        // The narrowest first: a call that waits for its hook's place holds none that others need. These are never closed.
        let hook = self.hook.places.acquire().await.ok();
        let canary = self.canary.places.acquire().await.ok();
        let agent = self.agent.acquire().await.ok();
        Attempt { _hook: hook, _canary: canary, _agent: agent }
    }
}

/// The entry under a key, made when there is none; unused entries are removed.
fn shared<K: Ord, V>(all: &Mutex<BTreeMap<K, Arc<V>>>, key: K, make: impl FnOnce() -> V) -> Arc<V> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|_, entry| Arc::strong_count(entry) > 1);
    Arc::clone(all.entry(key).or_insert_with(|| Arc::new(make())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const URL: &str = "http://hooks";

    /// What a future has at once. Without tokio's budget, which would make a task wait that has done much.
    fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::task::unconstrained(future).now_or_never()
    }

    #[tokio::test]
    async fn places_are_bounded_per_hook_canary_and_agent_and_given_in_order() {
        let places = ConcurrencyLimits::default();
        let begin = |canary: &str, hook: &str| places.begin("prod", canary, (hook, URL)).unwrap();
        let (a, b) = (begin("web", "a"), begin("web", "b"));
        let first = a.attempt().await;
        let _second = a.attempt().await;
        let mut third = Box::pin(a.attempt());
        let mut fourth = Box::pin(a.attempt());
        assert!(at_once(&mut third).is_none() && at_once(&mut fourth).is_none());
        let of_b = at_once(b.attempt()).expect("a dead hook leaves others their places");
        drop(first);
        assert!(at_once(&mut fourth).is_none(), "the third came first");
        assert!(at_once(&mut third).is_some());
        drop((third, fourth, of_b));

        let names: Vec<String> = (0..IN_AGENT / OF_CANARY).map(|canary| format!("c{canary}")).collect();
        let hooks = (0..OF_CANARY / OF_HOOK).map(|hook| hook.to_string());
        let calls: Vec<Call> = hooks.flat_map(|hook| names.iter().map(move |name| begin(name, &hook))).collect();
        // One place is held above.
        let attempts = calls.iter().flat_map(|call| [call, call]).take(IN_AGENT - 1);
        let mut held: Vec<_> = attempts.map(|call| at_once(call.attempt()).expect("a free place")).collect();
        let other = begin("other", "a");
        assert!(at_once(other.attempt()).is_none(), "the agent is full");
        let gone = held.pop();
        assert!(at_once(begin("c0", "one more").attempt()).is_none(), "the canary is full");
        drop(gone);
        assert!(at_once(other.attempt()).is_some());
    }

    #[tokio::test]
    async fn a_hook_has_only_so_many_pending_calls_and_nothing_is_kept_of_it() {
        let places = ConcurrencyLimits::default();
        let begin = |hook: &str| places.begin("prod", "web", (hook, URL));
        let calls: Vec<Call> = (0..PENDING_OF_HOOK).map(|_| begin("a").unwrap()).collect();
        assert!(begin("a").is_none() && begin("b").is_some());
        drop(calls);
        assert!(begin("a").is_some());
        assert!(places.begin("prod", "other", ("x", URL)).is_some());
        assert_eq!(places.canaries.lock().unwrap().len(), 1);
    }
}
