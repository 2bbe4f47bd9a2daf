//! The watch: server-sent events with the status at once, each event as it happens, and none of other canaries.

use reqwest::{Method, Response};
use serde_json::Value;

use crate::openapi::fits;
use crate::support::agent::{Api, TestAgent, WEB, WEB_PATH};
use crate::support::within;

struct Watch {
    response: Response,
    buffer: String,
}

impl Watch {
    async fn open(api: &Api) -> Self {
        let request = api.request(Method::GET, &format!("{WEB_PATH}/watch"));
        let response = within("the watch to open", request.send()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: String::new() }
    }

    /// The next event's kind and data; none when the stream ends.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let (kind, data) = (field("event: "), field("data: "));
                self.buffer = rest.to_owned();
                if let (Some(kind), Some(data)) = (kind, data) {
                    return Some((kind, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let chunk = within("an event", self.response.chunk()).await.unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Reads up to the event whose message contains this; everything before it must fit the document.
    async fn until_event(&mut self, says: &str) -> Value {
        loop {
            let (kind, data) = self.next().await.expect("the watch goes on");
            match kind.as_str() {
                "status" => fits("CanaryStatus", &data),
                "event" => fits("EventStatus", &data),
                other => panic!("unknown event {other}"),
            }
            if kind == "event" && data["message"].as_str().unwrap().contains(says) {
                return data;
            }
        }
    }
}

#[tokio::test]
async fn a_watcher_sees_the_status_at_once_and_each_event() {
    let agent = TestAgent::start().await;
    let mut watch = Watch::open(&agent.api()).await;
    let (kind, status) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &status["phase"]), ("status", &Value::from("Initialized")));
    agent.api().ask("releases").await;
    watch.until_event("release of v2 started by ann").await;
    let stepped = watch.until_event("weight 0 -> 10 %").await;
    assert_eq!(stepped["weightPercent"], 10.0);
    agent.api().ask("abort").await;
    watch.until_event("aborted").await;
    loop {
        let (kind, status) = watch.next().await.unwrap();
        if kind == "status" {
            assert_eq!(status["phase"], "Failed");
            break;
        }
    }
}

#[tokio::test]
async fn a_watcher_does_not_see_other_canaries() {
    let agent = TestAgent::start_with(|options, _| {
        std::fs::write(options.canaries.join("api.yaml"), WEB.replace("name: web", "name: api")).unwrap();
    })
    .await;
    let api = agent.api();
    let mut watch = Watch::open(&api).await;
    let body = serde_json::json!({ "revision": "other", "actor": "ann" });
    assert_eq!(api.post("/api/v1/canaries/prod/api/releases", &body).await.0, 200);
    api.ask("releases").await;
    loop {
        let (kind, data) = watch.next().await.unwrap();
        let message = data["message"].as_str().unwrap().to_owned();
        assert!(!message.contains("other"), "{data}");
        if kind == "event" && message.contains("v2") {
            return;
        }
    }
}

#[tokio::test]
async fn a_watch_ends_with_its_canary_and_with_the_agent() {
    let mut agent = TestAgent::start().await;
    let mut watch = Watch::open(&agent.api()).await;
    agent.stop().await;
    while watch.next().await.is_some() {}
    agent.start_again().await;
    let mut watch = Watch::open(&agent.api()).await;
    std::fs::remove_file(agent.manifest()).unwrap();
    while watch.next().await.is_some() {}
}
