//! HTTP/2 streams of which only the headers ever come, many on one connection, given up after a while.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use h2::Reason;
use h2::client::handshake;
use hyper::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Longer than opening streams takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens one connection, begins so many requests with a body, sends nothing of any, and resets all so much later. Returns
/// how many the proxy took.
pub async fn headers_alone(envoy: SocketAddr, streams: usize, after: Duration) -> Result<usize> {
    timeout(PATIENCE, begin_and_reset(envoy, streams, after)).await.context("streams were not taken")?
}

async fn begin_and_reset(envoy: SocketAddr, streams: usize, after: Duration) -> Result<usize> {
    let (mut client, connection) = handshake(TcpStream::connect(envoy).await?).await?;
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let mut begun = Vec::new();
    for _ in 0..streams {
        client = client.ready().await?;
        let request = Request::post("http://web/upload").body(())?;
        begun.push(client.send_request(request, false)?);
    }
    sleep(after).await;
    for (_, body) in &mut begun {
        body.send_reset(Reason::CANCEL);
    }
    // The resets leave with the next turn of the connection, which ends when nobody can use it any more.
    let count = begun.len();
    drop((begun, client));
    driven.join_next().await.context("no connection")???;
    Ok(count)
}
