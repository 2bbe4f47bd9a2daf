//! What the log holds of a command: its program at every level, its arguments, which may hold secrets, at debug alone.
#![cfg(test)]

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadtester::{LoadTester, Options};
use reqwest::Client;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
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

async fn run(tester: &LoadTester, command: &str) {
    let payload = json!({ "name": "web", "namespace": "prod", "metadata": { "cmd": command, "wait": "true" } });
    let request = Client::new().post(format!("http://{}/", tester.http())).timeout(Duration::from_secs(30));
    request.json(&payload).send().await.unwrap();
}

// One thread, so that the subscriber of this thread sees all that the load tester does.
#[tokio::test(flavor = "current_thread")]
async fn arguments_are_logged_at_debug_alone() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::DEBUG);
    let subscriber = subscriber.with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = Options {
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        http_token_file: None,
        insecure: false,
        allow: ["true", "false"].map(str::to_owned).into(),
        allow_shell: true,
        timeout: Duration::from_secs(60),
        max_tasks: 4,
        namespace_regexp: None,
    };
    let tester = loadtester::start(options).await.unwrap();
    // One that succeeds, one that fails, and one that a shell runs.
    for command in ["true -H s3cret", "false -H s3cret", "true s3cret | true"] {
        run(&tester, command).await;
    }
    tester.stop().await;
    let text = log.text();
    let (debug, others): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains(" DEBUG "));
    assert_eq!(debug.iter().filter(|line| line.contains("s3cret")).count(), 3, "{text}");
    assert!(!others.iter().any(|line| line.contains("s3cret")), "{text}");
    for program in ["\"true\"", "\"false\"", "\"sh\""] {
        let lines = others.iter().filter(|line| line.contains("task=") && line.contains(program));
        assert_eq!(lines.count(), 2, "{program} starts and ends\n{text}");
    }
}
