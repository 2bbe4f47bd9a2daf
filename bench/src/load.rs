//! A closed loop of keep-alive HTTP/1.1 connections that costs little: nothing is allocated for a request, and of an
//! answer only the status and the one letter that [`crate::upstream::Upstream`] sends is looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The header whose value is another one in each request: a user's key.
pub const KEY_HEADER: &str = "x-user";

const END: &[u8] = b"\r\n\r\n";

/// Connections that stay open over all rounds.
pub struct Clients {
    streams: Vec<TcpStream>,
    sent: Arc<AtomicU64>,
}

/// How many requests were answered by which upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// By the one whose letter is `p`.
    pub primary: u64,
    /// By the one whose letter is `c`.
    pub canary: u64,
}

impl Answered {
    /// Both.
    #[must_use]
    pub fn total(self) -> u64 {
        self.primary + self.canary
    }
}

impl Clients {
    /// Opens this many connections.
    pub async fn connect(addr: SocketAddr, connections: usize) -> Result<Self> {
        let mut streams = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = TcpStream::connect(addr).await.with_context(|| format!("cannot connect to {addr}"))?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        Ok(Self { streams, sent: Arc::default() })
    }

    /// Sends `requests` over all connections, each as soon as its last one is answered, and waits for all answers.
    ///
    /// # Errors
    /// When any answer is not 200 from one of the two upstreams.
    pub async fn send(&mut self, requests: u64) -> Result<Answered> {
        let end = self.sent.load(Ordering::Relaxed) + requests;
        let mut running = JoinSet::new();
        for stream in self.streams.drain(..) {
            running.spawn(drive(stream, Arc::clone(&self.sent), end));
        }
        let mut all = Answered::default();
        while let Some(done) = running.join_next().await {
            let (stream, answered) = done??;
            self.streams.push(stream);
            all.primary += answered.primary;
            all.canary += answered.canary;
        }
        // Each connection drew one number too many to learn that it was done.
        self.sent.store(end, Ordering::Relaxed);
        Ok(all)
    }
}

async fn drive(mut stream: TcpStream, sent: Arc<AtomicU64>, end: u64) -> Result<(TcpStream, Answered)> {
    let mut answered = Answered::default();
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return Ok((stream, answered));
        }
        buffer.clear();
        write_request(&mut buffer, number)?;
        stream.write_all(&buffer).await?;
        buffer.clear();
        let letter = loop {
            ensure!(stream.read_buf(&mut buffer).await? > 0, "the connection was closed before an answer");
            if let Some(letter) = letter_of(&buffer) {
                break letter;
            }
        };
        match letter {
            b'p' if is_ok(&buffer) => answered.primary += 1,
            b'c' if is_ok(&buffer) => answered.canary += 1,
            _ => bail!("an unexpected answer: {:?}", String::from_utf8_lossy(&buffer)),
        }
    }
}

fn write_request(buffer: &mut Vec<u8>, number: u64) -> std::io::Result<()> {
    use std::io::Write;

    write!(
        buffer,
        "GET /cart?item=7 HTTP/1.1\r\nhost: web\r\nuser-agent: serin-bench\r\naccept: */*\r\n{KEY_HEADER}: {number:010}\r\n\r\n"
    )
}

fn is_ok(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 200 ")
}

/// The body's first byte, once it is here.
fn letter_of(answer: &[u8]) -> Option<u8> {
    let head = answer.windows(END.len()).position(|window| window == END)?;
    answer.get(head + END.len()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Upstream;

    #[tokio::test]
    async fn every_request_is_sent_and_counted_once_over_several_rounds() {
        let upstream = Upstream::start('c').await.unwrap();
        let mut clients = Clients::connect(upstream.addr(), 3).await.unwrap();
        for requests in [1, 100, 7] {
            assert_eq!(clients.send(requests).await.unwrap(), Answered { primary: 0, canary: requests });
        }
    }

    #[tokio::test]
    async fn an_answer_from_nobody_known_is_an_error() {
        let stranger = Upstream::start('x').await.unwrap();
        let mut clients = Clients::connect(stranger.addr(), 2).await.unwrap();
        let message = clients.send(5).await.unwrap_err().to_string();
        assert!(message.contains("an unexpected answer") && message.contains("200 OK"), "{message}");
    }

    #[test]
    fn an_answer_is_complete_with_its_letter() {
        assert_eq!(letter_of(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r"), None);
        assert_eq!(letter_of(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"), None);
        assert_eq!(letter_of(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\np"), Some(b'p'));
        assert!(is_ok(b"HTTP/1.1 200 OK\r\n") && !is_ok(b"HTTP/1.1 503 x"));
    }
}
