//! Calls promotion hooks: a POST in the shape that Flagger's webhooks have, any 2xx is a yes.

use reqwest::redirect::Policy;
use rollout::controller::Event;
use rollout::names::{CanaryId, Revision};
use rollout::plan::Hook;
use rollout::release::ReleaseId;
use serde_json::json;
use std::time::Duration;

use crate::engine::Handle;

/// Longest part of an answer that goes into a message, in bytes.
const MAX_ANSWER_BYTES: usize = 512;

/// The HTTP client behind the hooks.
#[derive(Clone, Debug)]
pub(crate) struct Hooks {
    client: reqwest::Client,
}

impl Hooks {
    /// A client that waits as long as each hook allows and follows no redirect: a POST would arrive as a GET there.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let client =
            reqwest::Client::builder().redirect(Policy::none()).connect_timeout(Duration::from_secs(10)).build()?;
        Ok(Self { client })
    }

    /// Calls a hook in the background; its answer comes back as an event.
    pub(crate) fn call(&self, handle: Handle, canary: CanaryId, release: ReleaseId, revision: Revision, hook: Hook) {
        let client = self.client.clone();
        tokio::spawn(async move {
            let result = post(&client, &canary, release, &revision, &hook).await;
            // When the loop is gone there is nobody to tell: the next life of the agent calls the hook again.
            let _ = handle.event(Event::HookFinished { canary, release, result }).await;
        });
    }
}

async fn post(
    client: &reqwest::Client,
    canary: &CanaryId,
    release: ReleaseId,
    revision: &Revision,
    hook: &Hook,
) -> Result<(), String> {
    let body = json!({
        "name": canary.name(),
        "namespace": canary.namespace(),
        "phase": "Promoting",
        "checksum": revision.as_str(),
        "metadata": { "revision": revision.as_str(), "release": release.0.to_string() },
    });
    let request = client.post(&hook.url).timeout(Duration::from_millis(hook.timeout.0)).json(&body);
    // Without its URL: what stands there may be a secret, and this text goes into the history.
    let failed = |error: reqwest::Error| format!("{}: {}", hook.name, with_causes(&error.without_url()));
    let mut answer = request.send().await.map_err(failed)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let mut text = Vec::new();
    while text.len() < MAX_ANSWER_BYTES {
        match answer.chunk().await {
            Ok(Some(chunk)) => text.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    text.truncate(MAX_ANSWER_BYTES);
    let text: String = String::from_utf8_lossy(&text).chars().filter(|c| !c.is_control()).collect();
    Err(format!("{} answered {} {text}", hook.name, answer.status().as_u16()).trim_end().to_owned())
}

/// reqwest's own text stops at "error sending request"; the reason is in the causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
