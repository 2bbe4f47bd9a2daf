//! Calls one hook until it has answered: places, timeouts, retries, and what is said of a refusal.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rollout::release::integrations::HookCall;

use super::concurrency_limits::{ConcurrencyLimits, PENDING_OF_HOOK};
use super::payload::Payload;
use super::request;
use crate::http_delivery::{self, Hidden, Pace, Refused};
use crate::secrets::Secrets;

/// Waits between attempts, as Flagger's.
const PACE: Pace = Pace { first: Duration::from_secs(1), most: Duration::from_secs(30) };

/// Calls hooks. Clones share their places.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: reqwest::Client,
    /// Verifies no certificate: `disableTLS`.
    trusting: reqwest::Client,
    secrets: Secrets,
    places: ConcurrencyLimits,
    pace: Pace,
}

impl Caller {
    /// Ready to call; headers and signing keys come from these secrets.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(secrets: Secrets) -> Result<Self, reqwest::Error> {
        Self::with_pace(secrets, PACE)
    }

    /// The same with other waits.
    pub(super) fn with_pace(secrets: Secrets, pace: Pace) -> Result<Self, reqwest::Error> {
        let client = http_delivery::client().build()?;
        let trusting = http_delivery::client().tls_danger_accept_invalid_certs(true).build()?;
        Ok(Self(Arc::new(Inner { client, trusting, secrets, places: ConcurrencyLimits::default(), pace })))
    }

    /// Calls a hook; any 2xx approves, whatever its body. Repeats on a network error, 429 and 5xx as often as the hook
    /// says, after 1 to 30 s. It waits its turn behind other calls, so spawn it; dropping it ends the call.
    ///
    /// # Errors
    /// Why the last attempt was refused: a text of bounded length on one line, without the URL and without secrets.
    pub(crate) async fn call(&self, hook_name: &str, call: &HookCall, payload: &Payload) -> Result<(), String> {
        let result = self.attempts(hook_name, call, payload).await;
        result.map_err(|refused| refused.said_by(hook_name))
    }

    async fn attempts(&self, hook_name: &str, call: &HookCall, payload: &Payload) -> Result<(), Refused> {
        let Inner { places, pace, .. } = &*self.0;
        let body = serde_json::to_vec(payload).map_err(|error| Refused::finally(error.to_string()))?;
        let body = Bytes::from(body);
        let place = places.begin(&payload.namespace, &payload.name, (hook_name, &call.url)).ok_or_else(|| {
            Refused::finally(format!("not called, since {PENDING_OF_HOOK} earlier calls of it are still pending"))
        })?;
        let mut waits = pace.waits();
        let mut retries = call.retries;
        loop {
            let refused = {
                let _attempt = place.attempt().await;
                match self.attempt(call, body.clone()).await {
                    Ok(()) => return Ok(()),
                    Err(refused) => refused,
                }
            };
            if !refused.again || retries == 0 {
                return Err(refused);
            }
            retries -= 1;
            tokio::time::sleep(pace.after(&refused, &mut waits)).await;
        }
    }

    async fn attempt(&self, call: &HookCall, body: Bytes) -> Result<(), Refused> {
        let url = http_delivery::address(&call.url)?;
        let (signed, of) = (body.clone(), call.clone());
        let mut hidden = Hidden::of(&url);
        let timeout = Duration::from_millis(call.timeout.0);
        let prepare = move |secrets: &Secrets| {
            let headers = request::headers(&of, &signed, secrets, &mut hidden)?;
            Ok((headers, hidden))
        };
        let (headers, hidden) = http_delivery::prepared(&self.0.secrets, timeout, prepare).await?;
        let client = if call.insecure_skip_verify { &self.0.trusting } else { &self.0.client };
        let request = client.post(url).timeout(timeout).headers(headers).body(body);
        http_delivery::send(request, &hidden).await.map(drop)
    }
}
