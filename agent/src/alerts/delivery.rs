//! One attempt to bring one message to one receiver. Addresses are secrets: knowing one suffices to post there.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Proxy, Response, Url};
use rollout::release::integrations::{Receiver, ReceiverKind};
use serde::Deserialize;

use super::{Message, body};
use crate::http_delivery::{self, Hidden, Refused};
use crate::secrets::{Secret, Secrets};

/// Where a bot's token is used when no address is given.
const SLACK_API: &str = "https://slack.com/api/chat.postMessage";
/// Longest answer of Slack's API that is read; it repeats the message.
const MAX_SLACK_BYTES: usize = 64 << 10;

/// Sends messages.
#[derive(Debug)]
pub(super) struct Delivery {
    secrets: Secrets,
    timeout: Duration,
    /// One for each proxy: setting up TLS takes its time.
    clients: Mutex<BTreeMap<Option<String>, Client>>,
}

/// Where a receiver is and how it knows us, at this moment.
struct Place {
    address: Url,
    token: Option<Secret>,
}

/// Slack's API says 200 to what it refuses.
#[derive(Deserialize)]
struct SlackAnswer {
    ok: bool,
    #[serde(default)]
    error: String,
}

impl Delivery {
    pub(super) fn new(secrets: Secrets, timeout: Duration) -> Self {
        Self { secrets, timeout, clients: Mutex::default() }
    }

    /// Sends a message once.
    pub(super) async fn attempt(&self, receiver: &Receiver, message: &Message) -> Result<(), Refused> {
        let of = receiver.clone();
        let found = http_delivery::prepared(&self.secrets, self.timeout, move |secrets| place(&of, secrets)).await;
        let Place { address, token } = found?;
        let mut hidden = Hidden::of(&address);
        if let Some(proxy) = receiver.proxy.as_deref().and_then(|proxy| Url::parse(proxy).ok()) {
            hidden.merge(&Hidden::of(&proxy));
        }
        let body = body(receiver, &address, message);
        let mut request = self.client(receiver.proxy.as_deref())?.post(address).timeout(self.timeout).json(&body);
        if let Some(token) = &token {
            hidden.add(token.reveal());
            request = request.bearer_auth(token.reveal());
        }
        let answer = http_delivery::send(request, &hidden).await?;
        if receiver.kind == ReceiverKind::Slack && token.is_some() {
            slack_said_yes(answer, &hidden).await
        } else {
            Ok(())
        }
    }

    fn client(&self, proxy: Option<&str>) -> Result<Client, Refused> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = proxy.map(str::to_owned);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let mut builder = http_delivery::client();
        if let Some(proxy) = proxy {
            // What these errors say may show the password in the proxy's address.
            http_delivery::address(proxy)
                .map_err(|_| Refused::finally("its proxy must be an http:// or https:// URL"))?;
            builder = builder.proxy(Proxy::all(proxy).map_err(|_| Refused::finally("its proxy cannot be used"))?);
        }
        let client = builder.build().map_err(|error| Refused::finally(error.to_string()))?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Reads the secret. Its address comes before the receiver's own.
fn place(receiver: &Receiver, secrets: &Secrets) -> Result<Place, Refused> {
    let missing = |error| Refused::finally(format!("{error}"));
    let of_secret = |key| match &receiver.secret {
        Some(secret) => secrets.optional(secret, key).map_err(missing),
        None => Ok(None),
    };
    let takes_token = matches!(receiver.kind, ReceiverKind::Slack | ReceiverKind::Webhook);
    let token = if takes_token { of_secret("token")? } else { None };
    let address = of_secret("address")?;
    let address = match (address.as_ref().map(Secret::reveal).or(receiver.address.as_deref()), receiver.kind) {
        (Some(address), _) => address,
        (None, ReceiverKind::Slack) if token.is_some() => SLACK_API,
        (None, _) => {
            let wanted = match &receiver.secret {
                Some(secret) => format!("key \"address\" of secret {}/{}", secret.namespace, secret.name),
                None => "spec.address or a secret with the key \"address\"".to_owned(),
            };
            return Err(Refused::finally(format!("it has no address: it needs {wanted}")));
        }
    };
    let mut address = http_delivery::address(address)?;
    if receiver.kind == ReceiverKind::Discord && !address.path().ends_with("/slack") {
        // Discord reads Slack's format there.
        let path = format!("{}/slack", address.path().trim_end_matches('/'));
        address.set_path(&path);
    }
    Ok(Place { address, token })
}

async fn slack_said_yes(answer: Response, hidden: &Hidden) -> Result<(), Refused> {
    let start = http_delivery::start(answer, MAX_SLACK_BYTES).await;
    match serde_json::from_str::<SlackAnswer>(&start.text) {
        Ok(SlackAnswer { ok: false, error }) => {
            let again =
                matches!(error.as_str(), "ratelimited" | "internal_error" | "fatal_error" | "service_unavailable");
            Err(Refused { again, ..Refused::finally(hidden.clean(&format!("Slack refused it: {error}"))) })
        }
        // Accepted, or something that stands before Slack and speaks otherwise; its status was 2xx.
        Ok(_) | Err(_) => Ok(()),
    }
}
