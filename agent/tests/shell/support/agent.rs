//! An agent in this process with directories of its own, and its HTTP API as JSON.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use agent::{Agent, Options};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{until, within};

/// The canary of most tests: two steps, one check, promoted by a person.
pub(crate) const WEB: &str = "apiVersion: serin.dev/v1alpha1
kind: Canary
metadata: { name: web, namespace: prod }
spec:
  analysis:
    advance: interval
    interval: 1s
    threshold: 2
    stepWeights: [10, 50]
    metrics:
      - { name: request-success-rate, interval: 1s, thresholdRange: { min: 99 } }
";
/// Its path.
pub(crate) const WEB_PATH: &str = "/api/v1/canaries/prod/web";

/// An agent, its directories and where it listens.
pub(crate) struct TestAgent {
    agent: Option<Agent>,
    options: Options,
    dir: TempDir,
}

/// Answers over HTTP, wherever the agent runs.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    base: String,
    token: Option<String>,
}

/// Options for an agent whose directories lie in `dir`.
pub(crate) fn options(dir: &Path) -> Options {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Options {
        secrets: None,
        canaries: dir.join("canaries"),
        data: dir.join("data"),
        grpc: any,
        http: any,
        grpc_tls: None,
        grpc_token_file: None,
        http_token_file: None,
        insecure: false,
        records_mib: 16,
        records_per_canary: 5,
        flagger_metrics: false,
    }
}

/// A fresh directory with the test's canary in it.
pub(crate) fn directory() -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("canaries")).unwrap();
    std::fs::write(dir.path().join("canaries/web.yaml"), WEB).unwrap();
    dir
}

impl TestAgent {
    /// With the test's canary and nothing else.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// The same after `change`, which gets the options and the directory.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Options, &TempDir)) -> Self {
        let dir = directory();
        let mut options = options(dir.path());
        change(&mut options, &dir);
        let agent = within("the agent to start", agent::start(options.clone())).await.unwrap();
        Self { agent: Some(agent), options, dir }
    }

    /// What a second agent with the same options says.
    pub(crate) async fn second(&self) -> Result<Agent, agent::AgentError> {
        agent::start(self.options.clone()).await
    }

    /// Stops it as SIGTERM would.
    pub(crate) async fn stop(&mut self) {
        if let Some(agent) = self.agent.take() {
            within("the agent to stop", agent.stop()).await;
        }
    }

    /// Starts it again on the same data, on other ports.
    pub(crate) async fn start_again(&mut self) {
        self.agent = Some(within("the agent to start again", agent::start(self.options.clone())).await.unwrap());
    }

    /// Where proxies connect.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.agent.as_ref().unwrap().grpc()
    }

    /// Its API.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.agent.as_ref().unwrap().http())
    }

    /// The file that holds the test's canary.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.dir.path().join("canaries/web.yaml")
    }
}

impl Api {
    /// The API at an address.
    pub(crate) fn new(http: SocketAddr) -> Self {
        Self { client: Client::builder().no_proxy().build().unwrap(), base: format!("http://{http}"), token: None }
    }

    /// The same with a bearer token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// A request to be changed and sent with [`Api::send`].
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// A page and its status; JSON if it is, otherwise a string.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        send(self.request(Method::GET, path)).await
    }

    /// A request with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// A verb on the test's canary by the actor `ann`, which must succeed.
    pub(crate) async fn ask(&self, verb: &str) -> Value {
        let mut body = json!({ "actor": "ann" });
        if verb == "releases" {
            body["revision"] = "v2".into();
        }
        let (status, answer) = self.post(&format!("{WEB_PATH}/{verb}"), &body).await;
        assert_eq!(status, 200, "{verb}: {answer}");
        answer
    }

    /// The test's canary.
    pub(crate) async fn web(&self) -> Value {
        let (status, canary) = self.get(WEB_PATH).await;
        assert_eq!(status, 200, "{canary}");
        canary
    }

    /// Waits until the test's canary looks right.
    pub(crate) async fn until_web(&self, what: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        until(what, async || {
            let canary = self.web().await;
            if is_right(&canary) { Ok(canary) } else { Err(canary.to_string()) }
        })
        .await
    }

    /// The value of a sample of /metrics, by its name and labels as printed.
    pub(crate) async fn metric(&self, sample: &str) -> Option<f64> {
        let (status, page) = self.get("/metrics").await;
        assert_eq!(status, 200, "{page}");
        let line = page.as_str().unwrap().lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    /// Waits until a sample of /metrics has a value.
    pub(crate) async fn until_metric(&self, sample: &str, value: f64) {
        until(&format!("{sample} to be {value}"), async || match self.metric(sample).await {
            Some(now) if now == value => Ok(()),
            now => Err(format!("{now:?}")),
        })
        .await;
    }
}

/// Sends it; the answer's status and body.
pub(crate) async fn send(request: RequestBuilder) -> (u16, Value) {
    let answer = within("an answer", request.send()).await.unwrap();
    let status = answer.status().as_u16();
    let text = within("a body", answer.text()).await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Words of the web framework and its parsers, which no user should read.
const FRAMEWORK_WORDS: &[&str] = &[
    "Failed to",
    "deserialize",
    "expected",
    "EOF while",
    "trailing characters",
    "invalid type",
    "missing field",
    "unknown field",
    "length limit",
    "Method Not Allowed",
    "Invalid URL",
    "Invalid UTF-8",
    "Expected request",
];

/// An answer of the API refuses with this status and says these words, in its own form and in its own words.
#[track_caller]
pub(crate) fn refused(answer: &(u16, Value), status: u16, words: &[&str]) {
    let error = answer.1["error"].as_str().unwrap_or_else(|| panic!("no error in {answer:?}"));
    assert_eq!((answer.0, &answer.1["status"]), (status, &json!(status)), "{error}");
    assert_eq!(answer.1.as_object().unwrap().len(), 2, "{answer:?}");
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
    for word in FRAMEWORK_WORDS {
        assert!(!error.contains(word), "{word:?} is the framework's: {error:?}");
    }
}
