//! Performs the engine's commands to the world outside the proxies: hooks are called, metric servers asked, alerts sent,
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
use crate::engine::Handle;
use crate::hooks::{Caller, Payload};
use crate::metrics::Calls;
use crate::providers::{self, Providers};
use crate::queues::Queues;
use crate::secrets::Secrets;

/// How long alerts and what hooks are told may take when the agent stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// What may wait for one hook that is told; a further one pushes out the oldest.
const MAX_UNTOLD: usize = 64;

/// The ways out.
#[derive(Clone, Debug)]
pub(crate) struct Outside {
    caller: Caller,
    alerts: Alerts,
    providers: Providers,
    calls: Calls,
    under_way: UnderWay,
    told: Arc<Queues<ToldHook, Telling>>,
}

/// Whose queue it is: a canary, a hook's name and its URL. Names alone may be shared, as in Flagger, and one receiver that is
/// dead must not delay another.
type ToldHook = (CanaryId, String, String);

/// What a hook whose answer changes nothing is still to be told.
#[derive(Debug)]
struct Telling {
    hook_name: String,
    target: HookCall,
    payload: Payload,
}

/// The calls and queries whose answers are awaited. A callee is asked one question at a time, so a new one ends the old.
#[derive(Clone, Debug, Default)]
struct UnderWay(Arc<Mutex<Asked>>);

type Asked = BTreeMap<(CanaryId, Callee), (CallId, AbortHandle)>;

impl Outside {
    /// Ready to call.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(secrets: Secrets) -> Result<Self, reqwest::Error> {
        let (caller, providers) = (Caller::new(secrets.clone())?, Providers::new(secrets.clone())?);
        let (alerts, calls, under_way) = (Alerts::new(secrets), Calls::default(), UnderWay::default());
        let told = Arc::new(Queues::new(MAX_UNTOLD));
        Ok(Self { caller, alerts, providers, calls, under_way, told })
    }

    /// For the metrics page.
    pub(crate) fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// For the metrics page.
    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Performs a command, if it is about the outside.
    pub(crate) fn perform(&self, command: Command, handle: &Handle) {
        match command {
            Command::CallHook { canary, call, hook, payload } => {
                self.call(handle.clone(), canary, call, hook, payload);
            }
            Command::Query { canary, call, metric } => self.query(handle.clone(), canary, call, *metric),
            Command::EndCalls { canary, calls } => calls.iter().for_each(|call| self.under_way.end(&canary, *call)),
            Command::NotifyHook { canary, hook, payload } => self.tell(&canary, hook, payload),
            Command::Alert { canary, alert, revision, notification } => {
                self.alert(canary, &alert, revision, notification);
            }
            Command::Send(..) | Command::Push(_) | Command::Close(_) | Command::Announce(..) => {}
        }
    }

    /// Whether no call or query is under way.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.calls().is_empty()
    }

    /// Sends what is still queued.
    pub(crate) async fn drain(&self) {
        self.drain_within(DRAIN_WITHIN).await;
    }

    async fn drain_within(&self, most: Duration) {
        let all = futures::future::join(self.alerts.idle(), self.told.idle());
        if tokio::time::timeout(most, all).await.is_err() {
            tracing::warn!(
                "hooks or receivers of alerts are too slow: what they were not told before the stop is lost"
            );
        }
    }

    fn call(&self, handle: Handle, canary: CanaryId, call: CallId, hook: Hook, said: Said) {
        let HookTarget::Call(target) = hook.target else { return };
        let payload = Payload::new(&canary, said);
        let (caller, calls) = (self.caller.clone(), self.calls.clone());
        self.under_way.begin(canary.clone(), call, async move {
            let since = Instant::now();
            let answer = caller.call(&hook.name, &target, &payload).await;
            calls.hook(&canary, &hook.name, answer.is_ok(), since.elapsed());
            let reply = Reply::Hook(answer);
            // When the loop is gone there is nobody to tell: the next life of the agent asks again.
            let _ = handle.event(Event::Reply { canary, call, reply }).await;
        });
    }

    fn query(&self, handle: Handle, canary: CanaryId, call: CallId, metric: ExternalMetric) {
        let (providers, calls) = (self.providers.clone(), self.calls.clone());
        self.under_way.begin(canary.clone(), call, async move {
            let now = Millis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64));
            let since = Instant::now();
            let answer = providers.query(&metric.provider, &metric.query, metric.window, now).await;
            let provider = providers::name(metric.provider.kind);
            calls.query(&canary, &metric.name, provider, &answer, since.elapsed());
            let reply = Reply::Metric(answer);
            let _ = handle.event(Event::Reply { canary, call, reply }).await;
        });
    }

    /// One after the other, so that a hook hears of events in their order.
    fn tell(&self, canary: &CanaryId, hook: Hook, said: Said) {
        let HookTarget::Call(target) = hook.target else { return };
        let payload = Payload::new(canary, said);
        let told_hook: ToldHook = (canary.clone(), hook.name.clone(), target.url.clone());
        let telling = Telling { hook_name: hook.name.clone(), target, payload };
        let (caller, calls, of) = (self.caller.clone(), self.calls.clone(), canary.clone());
        let deliver = move |Telling { hook_name, target, payload }| {
            let (caller, calls, canary) = (caller.clone(), calls.clone(), of.clone());
            async move {
                let since = Instant::now();
                let answer = caller.call(&hook_name, &target, &payload).await;
                calls.hook(&canary, &hook_name, answer.is_ok(), since.elapsed());
                if let Err(error) = answer {
                    tracing::warn!(%canary, hook = hook_name, error, "a hook was not told");
                }
            }
        };
        if Queues::push(&self.told, told_hook, telling, deliver).is_some() {
            let why = "it is too slow, and newer events push out the oldest";
            tracing::warn!(%canary, hook = hook.name, why, "a hook was not told");
        }
    }

    fn alert(&self, canary: CanaryId, alert: &Alert, revision: Option<Revision>, told: Notification) {
        let Notification { at, severity, message } = told;
        let fields = revision.map(|revision| ("Revision".to_owned(), revision.to_string())).into_iter().collect();
        self.alerts.send(alert, Message { canary, severity, text: message, fields, at });
    }
}

impl UnderWay {
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

    /// Whatever it is about to do, another attempt above all, it does not.
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

    fn calls(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
