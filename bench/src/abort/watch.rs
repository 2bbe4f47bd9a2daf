//! What the agent announces of the canary, as it announces it, and the clock that its times are on.
//!
//! Waiting on the agent's watch costs nothing while nothing happens; asking for the status many times a second would take
//! its CPU from what is measured.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rollout::view::status::EventStatus;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

/// An open watch.
pub struct Watch {
    lines: Lines<BufReader<TcpStream>>,
}

impl Watch {
    /// Watches the canary at `path` of the agent's API.
    ///
    /// # Errors
    /// When the agent cannot be reached or refuses.
    pub async fn open(agent: SocketAddr, path: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(agent).await?;
        // An answer in HTTP/1.0 ends with the connection and comes in no chunks.
        stream.write_all(format!("GET {path}/watch HTTP/1.0\r\nhost: {agent}\r\n\r\n").as_bytes()).await?;
        let mut watch = Self { lines: BufReader::new(stream).lines() };
        let status = watch.line().await?;
        ensure!(status.contains(" 200 "), "{path}/watch: {status}");
        Ok(watch)
    }

    /// The next event that `wanted` accepts; others are passed over.
    ///
    /// A caller that stops waiting may ask again: nothing is lost.
    ///
    /// # Errors
    /// When the watch ends.
    pub async fn next(&mut self, wanted: impl Fn(&EventStatus) -> bool) -> Result<EventStatus> {
        loop {
            // `event: status` is followed by a status, which is no event; the names need no reading.
            let line = self.line().await?;
            let Some(event) = line.strip_prefix("data:").and_then(event) else { continue };
            if wanted(&event) {
                return Ok(event);
            }
        }
    }

    async fn line(&mut self) -> Result<String> {
        self.lines.next_line().await?.context("the agent ended the watch")
    }
}

fn event(data: &str) -> Option<EventStatus> {
    serde_json::from_str(data.trim_start()).ok()
}

/// The agent's clock next to ours. The agent reads wall time once, at its start, and counts monotonically from there; this
/// does the same at about the same time, so both agree to the millisecond that the agent counts in.
#[derive(Clone, Copy, Debug)]
pub struct AgentClock {
    origin: Instant,
    origin_ms: f64,
}

impl AgentClock {
    /// Read next to the agent's start.
    ///
    /// # Errors
    /// When wall time lies before 1970.
    pub fn read() -> Result<Self> {
        let origin_ms = SystemTime::now().duration_since(UNIX_EPOCH).context("no wall time")?.as_secs_f64() * 1e3;
        Ok(Self { origin: Instant::now(), origin_ms })
    }

    /// Our instant for one of the agent's times, to one millisecond more or less. The agent truncates its clock's start and
    /// each time off to whole milliseconds, so on average it is one behind.
    #[must_use]
    pub fn instant(&self, at_ms: u64) -> Instant {
        let since_ms = (at_ms as f64 + 1.0 - self.origin_ms).max(0.0);
        self.origin + Duration::from_secs_f64(since_ms / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    const DECLARED: &str = r#"{"atMs":5,"release":0,"weightPercent":0.0,"message":"m","detail":"declared"}"#;

    async fn server(answer: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        addr
    }

    #[tokio::test]
    async fn events_are_read_and_statuses_passed_over_until_the_agent_ends_the_watch() {
        let late = DECLARED.replace("\"atMs\":5", "\"atMs\":9");
        let head = "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let body = format!("event: status\ndata: {{\"name\":\"web\"}}\n\n:\n\nevent: event\ndata: {DECLARED}\n\n");
        let addr = server(format!("{head}{body}event: event\ndata: {late}\n\n")).await;
        let mut watch = Watch::open(addr, "/x").await.unwrap();
        assert_eq!(watch.next(|event| event.at_ms > 6).await.unwrap().at_ms, 9);
        assert!(watch.next(|_| true).await.unwrap_err().to_string().contains("ended the watch"));
    }

    #[tokio::test]
    async fn a_refusal_is_an_error() {
        let addr = server("HTTP/1.0 404 Not Found\r\n\r\n".to_owned()).await;
        let refused = Watch::open(addr, "/x").await.err().unwrap().to_string();
        assert!(refused.contains("/x/watch") && refused.contains("404"), "{refused}");
    }

    #[test]
    fn the_agents_times_become_ours() {
        let origin = Instant::now();
        let clock = AgentClock { origin, origin_ms: 1_000.25 };
        assert_eq!(clock.instant(1_010), origin + Duration::from_micros(10_750));
        assert_eq!(clock.instant(3), origin, "not before the start");
    }
}
