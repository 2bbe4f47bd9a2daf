//! Performs the controller's commands to the world beyond the proxies: calls hooks, queries metric servers, sends alerts,
//! each in a task of its own; answers come back as events. Nothing here decides anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rollout::base::names::{CanaryId, Revision};
use rollout::base::time::Millis;
use rollout::controller::{Command, Event, Notification, Payload as Said};
use rollout::release::inquiry::{CallId, Callee, Reply};
use rollout::release::integrations::{Alert, Hook, HookCall, HookTarget};
use rollout::release::plan::ExternalMetric;
use tokio::task::AbortHandle;

use crate::alerts::{Alerts, Message};
use crate::handle::Handle;
use crate::hooks::{Caller, Payload};
use crate::metrics::Calls;
use crate::providers::{self, Providers};
use crate::queues::Queues;
use crate::secrets::Secrets;

/// How long alerts and notices to hooks may take when the agent stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// Notices that may wait for one hook; a further one pushes out the oldest.
const MAX_NOTICES: usize = 64;

/// Performs commands. Clones share their queues and calls.
#[derive(Clone, Debug)]
pub(crate) struct Dispatcher {
    caller: Caller,
    alerts: Alerts,
    providers: Providers,
    calls: Calls,
    in_progress: CallsInProgress,
    notices: Arc<Queues<HookReceiver, HookNotice>>,
}

/// Whose queue it is: a canary, a hook's name and its URL. Names alone may be shared, as in Flagger, and one dead receiver
/// must not delay another.
type HookReceiver = (CanaryId, String, String);

/// An event that a hook is notified of; its answer changes nothing.
#[derive(Debug)]
struct HookNotice {
    hook_name: String,
    target: HookCall,
    payload: Payload,
}

/// The calls and queries whose answers are awaited. A callee is asked one question at a time, so a new one ends the old.
#[derive(Clone, Debug, Default)]
struct CallsInProgress(Arc<Mutex<CallTasks>>);

type CallTasks = BTreeMap<(CanaryId, Callee), (CallId, AbortHandle)>;

impl Dispatcher {
    /// Ready to call.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(secrets: Secrets) -> Result<Self, reqwest::Error> {
        let (caller, providers) = (Caller::new(secrets.clone())?, Providers::new(secrets.clone())?);
        let (alerts, calls, in_progress) = (Alerts::new(secrets), Calls::default(), CallsInProgress::default());
        let notices = Arc::new(Queues::new(MAX_NOTICES));
        Ok(Self { caller, alerts, providers, calls, in_progress, notices })
    }

    /// For the metrics page.
    pub(crate) fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// For the metrics page.
    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Performs a command, if it goes beyond the proxies.
    pub(crate) fn perform(&self, command: Command, handle: &Handle) {
        match command {
            Command::CallHook { canary, call, hook, payload } => {
                self.call(handle.clone(), canary, call, hook, payload);
            }
            Command::Query { canary, call, metric } => self.query(handle.clone(), canary, call, *metric),
            Command::EndCalls { canary, calls } => calls.iter().for_each(|call| self.in_progress.end(&canary, *call)),
            Command::NotifyHook { canary, hook, payload } => self.notify(&canary, hook, payload),
            Command::Alert { canary, alert, revision, notification } => {
                self.alert(canary, &alert, revision, notification);
            }
            Command::Send(..) | Command::Push(_) | Command::Close(_) | Command::Announce(..) => {}
        }
    }

    /// Whether no call or query is in progress.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.in_progress.calls().is_empty()
    }

    /// Sends what is still queued.
    pub(crate) async fn drain(&self) {
        self.drain_within(DRAIN_WITHIN).await;
    }

    /// Returns how many notifications were dropped.
    async fn drain_within(&self, most: Duration) -> usize {
        let all = futures::future::join(self.alerts.idle(), self.notices.idle());
        if tokio::time::timeout(most, all).await.is_ok() {
            return 0;
        }
        let dropped = self.alerts.pending() + self.notices.pending();
        tracing::warn!("shutdown timeout: {dropped} notifications dropped");
        dropped
    }

    fn call(&self, handle: Handle, canary: CanaryId, call: CallId, hook: Hook, said: Said) {
        let HookTarget::Call(target) = hook.target else { return };
        let payload = Payload::new(&canary, said);
        let (caller, calls) = (self.caller.clone(), self.calls.clone());
        self.in_progress.begin(canary.clone(), call, async move {
            let since = Instant::now();
            let answer = caller.call(&hook.name, &target, &payload).await;
            calls.hook(&canary, &hook.name, answer.is_ok(), since.elapsed());
            let reply = Reply::Hook(answer);
            // When the loop is gone the answer is lost: after a restart the agent asks again.
            let _ = handle.event(Event::Reply { canary, call, reply }).await;
        });
    }

    fn query(&self, handle: Handle, canary: CanaryId, call: CallId, metric: ExternalMetric) {
        let (providers, calls) = (self.providers.clone(), self.calls.clone());
        self.in_progress.begin(canary.clone(), call, async move {
            let now = Millis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64));
            let since = Instant::now();
            let answer = providers.query(&metric.provider, &metric.query, metric.window, now).await;
            let provider = providers::name(metric.provider.kind);
            calls.query(&canary, &metric.name, provider, &answer, since.elapsed());
            let reply = Reply::Metric(answer);
            let _ = handle.event(Event::Reply { canary, call, reply }).await;
        });
    }

    /// One after the other, so that a hook is notified of events in their order.
    fn notify(&self, canary: &CanaryId, hook: Hook, said: Said) {
        let HookTarget::Call(target) = hook.target else { return };
        let payload = Payload::new(canary, said);
        let receiver: HookReceiver = (canary.clone(), hook.name.clone(), target.url.clone());
        let notice = HookNotice { hook_name: hook.name.clone(), target, payload };
        let (caller, calls, of) = (self.caller.clone(), self.calls.clone(), canary.clone());
        let deliver = move |HookNotice { hook_name, target, payload }| {
            let (caller, calls, canary) = (caller.clone(), calls.clone(), of.clone());
            async move {
                let since = Instant::now();
                let answer = caller.call(&hook_name, &target, &payload).await;
                calls.hook(&canary, &hook_name, answer.is_ok(), since.elapsed());
                if let Err(error) = answer {
                    tracing::warn!(%canary, hook = hook_name, error, "hook not notified");
                }
            }
        };
        if Queues::push(&self.notices, receiver, notice, deliver).is_some() {
            let why = "slow consumer: a newer event pushed out the oldest";
            tracing::warn!(%canary, hook = hook.name, why, "hook not notified");
        }
    }

    fn alert(&self, canary: CanaryId, alert: &Alert, revision: Option<Revision>, notification: Notification) {
        let Notification { at, severity, message } = notification;
        let fields = revision.map(|revision| ("Revision".to_owned(), revision.to_string())).into_iter().collect();
        self.alerts.send(alert, Message { canary, severity, text: message, fields, at });
    }
}

impl CallsInProgress {
    fn begin(&self, canary: CanaryId, call: CallId, inquiry: impl Future<Output = ()> + Send + 'static) {
        let (all, of) = (self.clone(), canary.clone());
        // Under the lock: a call that ends at once must find itself.
        let mut calls = self.calls();
        let task = tokio::spawn(async move {
            inquiry.await;
            all.forget(&of, call);
        });
        if let Some((_, former)) = calls.insert((canary, call.callee), (call, task.abort_handle())) {
            former.abort();
        }
    }

    /// Stops it before its next attempt, or in the middle of one.
    fn end(&self, canary: &CanaryId, call: CallId) {
        if let Some(task) = self.forget(canary, call) {
            task.abort();
        }
    }

    fn forget(&self, canary: &CanaryId, call: CallId) -> Option<AbortHandle> {
        let key = (canary.clone(), call.callee);
        let mut calls = self.calls();
        let is_this = calls.get(&key).is_some_and(|(known, _)| *known == call);
        if is_this { calls.remove(&key).map(|(_, task)| task) } else { None }
    }

    fn calls(&self) -> MutexGuard<'_, CallTasks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
