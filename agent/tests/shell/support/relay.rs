//! A network between a worker and the agent that can fall silent: nothing passes any more, and neither side learns it.
//!
//! A closed socket announces itself with FIN or RST. A host that loses its power or its route announces nothing, which is
//! what a frozen relay looks like from the agent: its connection stays open, and no byte comes back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards one connection until it is frozen.
pub(crate) struct Relay {
    addr: SocketAddr,
    is_frozen: watch::Sender<bool>,
    /// Ends when the agent has closed its end.
    agent_closed: JoinHandle<()>,
}

impl Relay {
    /// A relay to this address, for one connection.
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (is_frozen, frozen) = watch::channel(false);
        let agent_closed = tokio::spawn(async move {
            let (worker, _) = listener.accept().await.unwrap();
            let (from_worker, to_worker) = split(worker);
            let (from_agent, to_agent) = split(TcpStream::connect(to).await.unwrap());
            let up = tokio::spawn(forward(from_worker, to_agent, frozen.clone()));
            until_closed(from_agent, to_worker, frozen).await;
            // Its halves hold both sockets open until here.
            up.abort();
        });
        Self { addr, is_frozen, agent_closed }
    }

    /// Where the worker connects.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on nothing passes in either direction; both sockets stay open.
    pub(crate) fn freeze(&self) {
        self.is_frozen.send(true).unwrap();
    }

    /// Until the agent closes its end.
    pub(crate) async fn closed(&mut self) {
        (&mut self.agent_closed).await.unwrap();
    }
}

/// From the worker to the agent. Frozen or at the worker's end it keeps the agent's socket open and sends nothing.
async fn forward(mut from: ReadHalf<TcpStream>, mut to: WriteHalf<TcpStream>, mut frozen: watch::Receiver<bool>) {
    let mut bytes = vec![0; 4096];
    loop {
        let length = tokio::select! {
            biased;
            () = async { drop(frozen.wait_for(|frozen| *frozen).await) } => break,
            read = from.read(&mut bytes) => read.unwrap_or(0),
        };
        if length == 0 || to.write_all(&bytes[..length]).await.is_err() {
            break;
        }
    }
    std::future::pending::<()>().await;
}

/// From the agent to the worker; once frozen, what the agent sends is read and dropped, until it closes its end.
async fn until_closed(mut from: ReadHalf<TcpStream>, mut to: WriteHalf<TcpStream>, frozen: watch::Receiver<bool>) {
    let mut bytes = vec![0; 4096];
    loop {
        let length = from.read(&mut bytes).await.unwrap_or(0);
        if length == 0 {
            return;
        }
        if !*frozen.borrow() {
            let _ = to.write_all(&bytes[..length]).await;
        }
    }
}
