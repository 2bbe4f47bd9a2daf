//! Ports that stay ours although another program will listen on them.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
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
