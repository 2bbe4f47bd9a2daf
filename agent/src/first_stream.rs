//! Connections to the fleet's port that never ask for a stream are closed: keepalive begins only after the HTTP/2
//! handshake, so without this a peer that sends nothing, or only a part of it, would hold its socket for good.
//!
//! The deadline stands below TLS and HTTP/2, on the socket's own reads, so it covers whatever a peer may leave undone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

/// How long a connection may take to its first stream with a right token. Proxies open one at once.
const FIRST_STREAM_WITHIN: Duration = Duration::from_secs(15);

/// Whether a connection has had a stream; tonic hands it to each request of the connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstStream(Arc<AtomicBool>);

impl FirstStream {
    /// A stream was opened: from now on keepalive alone decides over the connection.
    pub(crate) fn opened(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// An accepted connection; its reads fail once it is too late for a first stream.
#[derive(Debug)]
pub(crate) struct TimedConnection {
    socket: TcpStream,
    first_stream: FirstStream,
    /// `None` once there was a stream.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl TimedConnection {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, first_stream: FirstStream::default(), deadline: Some(Box::pin(sleep(FIRST_STREAM_WITHIN))) }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.first_stream.is_open() {
            self.deadline = None;
        }
        let Some(deadline) = &mut self.deadline else { return Ok(()) };
        if deadline.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        let peer = self.socket.peer_addr().ok();
        tracing::debug!(?peer, "connection closed: no stream within {} s", FIRST_STREAM_WITHIN.as_secs());
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Connected for TimedConnection {
    type ConnectInfo = FirstStream;

    fn connect_info(&self) -> FirstStream {
        self.first_stream.clone()
    }
}

impl AsyncRead for TimedConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_deadline(cx)?;
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl AsyncWrite for TimedConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
