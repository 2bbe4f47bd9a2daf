//! An upstream that costs next to nothing: every request gets the same one-letter answer, and nothing is parsed.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const END: &[u8] = b"\r\n\r\n";

/// A running upstream; it stops when dropped.
pub struct Upstream {
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Upstream {
    /// Answers requests without a body with 200 and this one letter.
    pub async fn start(letter: char) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1\r\n\r\n{letter}");
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone()));
            }
        });
        Ok(Self { addr, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: String) {
    stream.set_nodelay(true).ok();
    let mut request = Vec::with_capacity(4096);
    // Envoy waits for one answer before it sends the next request on a connection.
    while let Ok(1..) = stream.read_buf(&mut request).await {
        if request.ends_with(END) {
            request.clear();
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
