//! The lines that an operator looks for in the agent's log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::agent::{TestAgent, WEB_PATH};
use crate::support::until;
use crate::support::worker::Worker;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The lines of a level with this message.
    fn lines(&self, level: &str, message: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["level"] == level && line["message"].as_str().unwrap().contains(message)).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

// One thread, so that the subscriber of this thread sees all that the agent does.
#[tokio::test(flavor = "current_thread")]
async fn proxies_come_and_go_at_info_and_an_abort_is_a_warning() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(log.clone()).finish();
    // With one subscriber alone, `tracing` asks the thread that meets a line first whether the line is wanted, and keeps the
    // answer: of the other tests' threads none wants any. With two it asks both.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let agent = TestAgent::start().await;
    let worker = Worker::welcomed(agent.grpc(), 1).await;
    let connected = log.lines("INFO", "proxy connected");
    assert_eq!(connected.len(), 1, "{connected:?}");
    let shown = connected[0].to_string();
    assert!(["proxy-1", "front", "0.1.0"].iter().all(|part| shown.contains(part)), "{shown}");
    drop(worker);
    agent.api().until_web("the worker to be gone", |canary| canary["workersLive"] == 0).await;
    until("the line", async || match log.lines("INFO", "proxy disconnected").len() {
        1 => Ok(()),
        other => Err(format!("{other} lines")),
    })
    .await;
    agent.api().ask("releases").await;
    let body = json!({ "actor": "ann", "reason": "INC-42" });
    assert_eq!(agent.api().post(&format!("{WEB_PATH}/abort"), &body).await.0, 200);
    until("the warning", async || match log.lines("WARN", "INC-42").as_slice() {
        [line] if line["canary"] == "prod/web" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(log.lines("WARN", "started").is_empty());
}
