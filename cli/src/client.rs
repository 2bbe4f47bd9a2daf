//! The agent's HTTP API as this program uses it: one function per request, each failure distinguished.

use std::error::Error;
use std::time::Duration;

use reqwest::{Certificate, RequestBuilder, Response, StatusCode, Url};
use rollout::base::names::CanaryId;
use serde::{Deserialize, Serialize};

use crate::args::AgentArgs;
use crate::failure::Failure;
use crate::sse::{Decoder, Frame};
use crate::text;

mod address;
mod answers;

use address::{is_loopback, parse_base};
pub(crate) use answers::{Body, Done, Items, Listing, Recorded};

/// Longest answer read, in bytes.
const MAX_BODY_BYTES: usize = 64 << 20;
/// How long a connection may take; the agent is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence: a watch says something every second.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);
/// How reqwest's causes call a connection that was closed without an error of the system. They have no type that reqwest
/// shows, only words; `the_agent_s_grpc_port_is_told_from_no_agent` notices when those change.
const ENDED: [&str; 3] = ["connection closed before message completed", "operation was canceled", "channel closed"];

/// Where the agent is, and what it wants to see.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
}

/// A watch: server-sent events of one canary.
#[derive(Debug)]
pub(crate) struct Watch {
    url: String,
    response: Response,
    decoder: Decoder,
    ready: std::collections::VecDeque<Frame>,
}

impl Client {
    /// From the command line.
    ///
    /// # Errors
    /// When the address is none.
    pub(crate) fn new(args: &AgentArgs) -> Result<Self, Failure> {
        let (given, source) = args.address();
        let base = parse_base(&given, source)?;
        let http = build(&base).map_err(|error| Failure::Other(error.into()))?;
        Ok(Self { http, base, token: args.token() })
    }

    /// Every canary.
    pub(crate) async fn canaries(&self) -> Result<Body, Failure> {
        self.get(&["canaries"]).await
    }

    /// One canary.
    pub(crate) async fn canary(&self, id: &CanaryId) -> Result<Body, Failure> {
        self.get(&["canaries", id.namespace(), id.name()]).await
    }

    /// Why its latest release stands where it stands.
    pub(crate) async fn explanation(&self, id: &CanaryId) -> Result<Body, Failure> {
        self.get(&["canaries", id.namespace(), id.name(), "explain"]).await
    }

    /// Its history, oldest first.
    pub(crate) async fn events(&self, id: &CanaryId) -> Result<Body, Failure> {
        self.get(&["canaries", id.namespace(), id.name(), "events"]).await
    }

    /// Its recorded releases, oldest first.
    pub(crate) async fn releases(&self, id: &CanaryId) -> Result<Body, Failure> {
        self.get(&["canaries", id.namespace(), id.name(), "releases"]).await
    }

    /// Reads the record of a release, piece by piece: it may be longer than any other answer.
    pub(crate) async fn record(
        &self,
        id: &CanaryId,
        release: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let url = self.url(&["canaries", id.namespace(), id.name(), "releases", &release.to_string(), "record"]);
        let mut response = self.answer(self.http.get(url)).await?;
        let broken = |error: reqwest::Error| unreachable(self.shown_url(), &error);
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            take(&chunk)?;
        }
        Ok(())
    }

    /// Every worker.
    pub(crate) async fn workers(&self) -> Result<Body, Failure> {
        self.get(&["workers"]).await
    }

    /// A canary's stored gates.
    pub(crate) async fn stored_gates(&self, id: &CanaryId) -> Result<Body, Failure> {
        self.get(&["canaries", id.namespace(), id.name(), "gates"]).await
    }

    /// Asks something of a canary: `what` is the rest of the path.
    pub(crate) async fn ask(&self, id: &CanaryId, what: &[&str], body: &impl Serialize) -> Result<Done, Failure> {
        let url = self.url(&[&["canaries", id.namespace(), id.name()], what].concat());
        let request = self.http.post(url).json(body).timeout(SILENCE_TIMEOUT * 2);
        self.send(request).await?.shown()
    }

    /// Opens a canary's watch.
    pub(crate) async fn watch(&self, id: &CanaryId) -> Result<Watch, Failure> {
        let url = self.url(&["canaries", id.namespace(), id.name(), "watch"]);
        let request = self.http.get(url).header("accept", "text/event-stream");
        let response = self.answer(request).await?;
        Ok(Watch { url: self.shown_url(), response, decoder: Decoder::default(), ready: [].into() })
    }

    async fn get(&self, path: &[&str]) -> Result<Body, Failure> {
        let request = self.http.get(self.url(path));
        self.send(request.timeout(SILENCE_TIMEOUT * 2)).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Body, Failure> {
        let bytes = self.read(self.answer(request).await?).await?;
        let url = self.shown_url();
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Body::new(url, value)),
            Err(error) => Err(Failure::Nonsense { url, why: format!("its answer is no JSON: {error}") }),
        }
    }

    /// The answer if it is a success; else the failure that its status and words tell.
    async fn answer(&self, mut request: RequestBuilder) -> Result<Response, Failure> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let sent = request.send().await;
        let response = sent.map_err(|error| unreachable(self.shown_url(), &error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = self.read(response).await?;
        Err(self.refusal(status, &bytes))
    }

    fn refusal(&self, status: StatusCode, bytes: &[u8]) -> Failure {
        #[derive(Deserialize)]
        struct Words {
            error: String,
        }
        let url = self.shown_url();
        let Ok(Words { error }) = serde_json::from_slice(bytes) else {
            return match status {
                StatusCode::UNAUTHORIZED => Failure::Unauthorized { url, said: status.to_string() },
                _ => Failure::Nonsense { url, why: format!("it answers {status} without a reason") },
            };
        };
        let said = text::quoted(&error);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Unauthorized { url, said },
            StatusCode::NOT_FOUND => Failure::NotFound(said),
            status if status.is_server_error() => Failure::Unavailable(said),
            _ => Failure::Refused(said),
        }
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let broken = |error: reqwest::Error| unreachable(self.shown_url(), &error);
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_BODY_BYTES {
                return Err(Failure::Nonsense {
                    url: self.shown_url(),
                    why: format!("its answer is longer than {MAX_BODY_BYTES} bytes"),
                });
            }
        }
        Ok(bytes)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        url
    }

    /// The agent's address for messages: without a password.
    fn shown_url(&self) -> String {
        let mut url = self.base.clone();
        let _ = url.set_password(None);
        text::clean(url.as_str().trim_end_matches('/'))
    }
}

impl Watch {
    /// The next event; `None` once the agent has ended the watch.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, Failure> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            let chunk = self.response.chunk().await;
            let Some(bytes) = chunk.map_err(|error| unreachable(self.url.clone(), &error))? else {
                return Ok(None);
            };
            let frames = self
                .decoder
                .push(&bytes)
                .map_err(|error| Failure::Nonsense { url: self.url.clone(), why: error.to_string() })?;
            self.ready.extend(frames);
        }
    }

    /// A frame's JSON.
    pub(crate) fn body(&self, frame: &Frame) -> Result<Body, Failure> {
        let url = self.url.clone();
        match serde_json::from_str(&frame.data) {
            Ok(value) => Ok(Body::new(url, value)),
            Err(error) => Err(Failure::Nonsense { url, why: format!("an event of its watch is no JSON: {error}") }),
        }
    }
}

fn build(base: &Url) -> reqwest::Result<reqwest::Client> {
    // The one TLS provider of this program; a second installation is refused and harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("serin/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE_TIMEOUT)
        // A redirected POST would turn into a GET, and a token belongs to one address.
        .redirect(reqwest::redirect::Policy::none());
    if is_loopback(base) {
        // A proxy for the outside world cannot reach this machine's own loopback.
        builder = builder.no_proxy();
    }
    if base.scheme() == "http" {
        // Plain HTTP must work on a machine that has no root certificates installed.
        builder = builder.tls_certs_only(std::iter::empty::<Certificate>());
    }
    builder.build()
}

/// The deepest cause says what happened; the ones above it only that something did.
fn unreachable(url: String, error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Unreachable { url, why: "it says nothing, the time is over".into() };
    }
    let why = anyhow::Chain::new(error).last().map_or_else(String::new, |cause| text::quoted(&cause.to_string()));
    // An answer that began well can only break; a connection that was never made has no answer.
    if error.is_request() && !error.is_connect() && !has_ended(error) {
        return Failure::Nonsense { url, why };
    }
    Failure::Unreachable { url, why }
}

/// Whether the connection broke or was closed. All else says that something answered, but not in HTTP/1: a gRPC server
/// speaks first, and in frames.
fn has_ended(error: &reqwest::Error) -> bool {
    let ended = |cause: &(dyn Error + 'static)| cause.is::<std::io::Error>() || ENDED.contains(&&*cause.to_string());
    anyhow::Chain::new(error).any(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_a_path_in_front_stay_what_they_are() {
        let args = AgentArgs { agent: Some("https://u:secret@host/serin/".into()), token: None };
        let client = Client::new(&args).unwrap();
        let url = client.url(&["canaries", "a b", "c/d?e"]);
        assert_eq!(url.path(), "/serin/api/v1/canaries/a%20b/c%2Fd%3Fe");
        assert_eq!(client.shown_url(), "https://u@host/serin");
    }
}
