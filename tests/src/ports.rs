//! Ports that stay ours although another program will listen on them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Socket, Type};

/// A port on 127.0.0.1, kept by a socket that is bound but never listens.
///
/// Envoy binds its listeners with `SO_REUSEPORT`, as this socket does, so it can share the port, while the kernel gives
/// it to nobody else who asks for a free one: not between our choosing it and Envoy's start, not during a restart.
/// Without a listener, connections to it are refused at once.
pub struct Reserved {
    addr: SocketAddr,
    _socket: Socket,
}

impl Reserved {
    /// Has the kernel choose a free port.
    pub fn new() -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).context("no free port on 127.0.0.1")?;
        let addr = socket.local_addr()?.as_socket().context("an IPv4 socket has an IPv4 address")?;
        Ok(Self { addr, _socket: socket })
    }

    /// The address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Below those that the kernel gives where any will do.
const UNASKED: Range<u16> = 20_000..32_000;

/// A free port on 127.0.0.1 for a program that must be given one before it starts, and shares it with nobody. It is not
/// held; but the kernel gives it to nobody, and this process no second time.
///
/// # Errors
/// When all are taken.
pub fn unasked() -> Result<SocketAddr> {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..)));
    for _ in UNASKED {
        let port = UNASKED.start + NEXT.fetch_add(1, Ordering::SeqCst) % (UNASKED.end - UNASKED.start);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    bail!("no port from {UNASKED:?} is free on 127.0.0.1")
}
