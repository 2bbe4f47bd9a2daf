//! Peers that stop without saying so: a frozen network, a worker that says nothing, a connection without streams, and
//! one that never was one of HTTP/2.
//!
//! Each test waits for one of the agent's own deadlines, 10 to 30 s.

use std::time::Duration;

use proto::wire::encode_from_worker;
use rollout::worker::messages::ToAgent;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::Code;

use crate::support::agent::TestAgent;
use crate::support::relay::Relay;
use crate::support::within;
use crate::support::worker::{Worker, endpoint};
use crate::tls::{files, signed};

/// What the agent allows a connection that answers no ping, 10 s between pings and 20 s for an answer, and time to spare.
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(60);
/// What it allows a connection until its first stream: 15 s, and time to spare, but less than keepalive needs.
const FIRST_STREAM_WITHIN: Duration = Duration::from_secs(25);
/// What it allows a welcomed stream that says nothing.
const SILENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_peer_that_vanishes_is_noticed() {
    let agent = TestAgent::start().await;
    let mut relay = Relay::start(agent.grpc()).await;
    let worker = Worker::welcomed(relay.addr(), 1).await;
    agent.api().until_web("the worker", |canary| canary["workersLive"] == 1).await;
    relay.freeze();
    agent.api().until_web("the worker to be gone", |canary| canary["workersLive"] == 0).await;
    agent.api().until_metric("serin_agent_streams", 0.0).await;
    // The stream is gone by its silence; its connection, which nobody closed, by keepalive.
    timeout(KEEPALIVE_WITHIN, relay.closed()).await.expect("deadline: the agent closes the connection");
    drop(worker);
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_closed_although_it_has_no_stream() {
    let agent = TestAgent::start().await;
    let mut relay = Relay::start(agent.grpc()).await;
    let channel = within("a connection", endpoint(relay.addr()).connect()).await.unwrap();
    // A stream that is refused: after it the connection is known to be up, and has none.
    let refused = Worker::open_on(channel.clone(), None, vec![encode_from_worker(&ToAgent::Beat)], true).await;
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::InvalidArgument));
    agent.api().until_metric("serin_agent_streams", 0.0).await;
    relay.freeze();
    timeout(KEEPALIVE_WITHIN, relay.closed()).await.expect("deadline: the agent closes the connection");
    drop(channel);
}

/// Sends these bytes, then nothing, and waits until the agent closes the connection.
async fn until_closed(agent: &TestAgent, bytes: &[u8]) -> Duration {
    let mut socket = TcpStream::connect(agent.grpc()).await.unwrap();
    let begun = Instant::now();
    socket.write_all(bytes).await.unwrap();
    // The agent's own frames come first; then the end of the file, or a reset for what it had not read.
    let _ = socket.read_to_end(&mut Vec::new()).await;
    begun.elapsed()
}

#[tokio::test]
async fn a_connection_that_asks_for_no_stream_is_closed() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    // HEADERS that announce 16 bytes and bring none.
    const UNFINISHED: &[u8] = &[0, 0, 16, 1, 4, 0, 0, 0, 1];
    let agent = TestAgent::start().await;
    let whole = [PREFACE, SETTINGS].concat();
    let unfinished = [PREFACE, SETTINGS, UNFINISHED].concat();
    let closed = async {
        tokio::join!(
            until_closed(&agent, b""),
            until_closed(&agent, &PREFACE[..10]),
            until_closed(&agent, PREFACE),
            until_closed(&agent, &whole),
            until_closed(&agent, &unfinished),
        )
    };
    let after = timeout(FIRST_STREAM_WITHIN, closed).await.expect("deadline: the agent closes every connection");
    let after = <[Duration; 5]>::from(after);
    assert!(after.iter().all(|after| *after >= Duration::from_secs(14)), "closed after {after:?}");
}

#[tokio::test]
async fn under_tls_a_connection_that_asks_for_no_stream_is_closed() {
    let server = signed();
    let agent = TestAgent::start_with(|options, dir| options.grpc_tls = Some(files(dir.path(), &server, None))).await;
    // Nothing, and the head of a record of a handshake.
    let closed = async { tokio::join!(until_closed(&agent, b""), until_closed(&agent, &[22, 3, 1, 2, 0])) };
    timeout(FIRST_STREAM_WITHIN, closed).await.expect("deadline: the agent closes every connection");
}

#[tokio::test]
async fn without_the_token_a_connection_has_had_no_stream() {
    let agent = TestAgent::start_with(|options, dir| {
        let file = dir.path().join("token");
        std::fs::write(&file, "0123456789abcdef0123456789abcdef").unwrap();
        options.grpc_token_file = Some(file);
    })
    .await;
    let mut relay = Relay::start(agent.grpc()).await;
    let channel = within("a connection", endpoint(relay.addr()).connect()).await.unwrap();
    let refused = Worker::open_on(channel.clone(), None, vec![encode_from_worker(&ToAgent::Beat)], true).await;
    assert_eq!(refused.err().map(|status| status.code()), Some(Code::Unauthenticated));
    timeout(FIRST_STREAM_WITHIN, relay.closed()).await.expect("deadline: the agent closes the connection");
    drop(channel);
}

#[tokio::test]
async fn a_welcomed_stream_that_says_nothing_is_closed_and_one_that_beats_is_not() {
    let agent = TestAgent::start().await;
    let begun = Instant::now();
    let mut silent = Worker::welcomed(agent.grpc(), 1).await;
    let mut beating = Worker::welcomed(agent.grpc(), 2).await;
    let mut ended = Box::pin(async {
        let status = silent.ended().await;
        (status, begun.elapsed())
    });
    let mut pulse = tokio::time::interval(Duration::from_millis(500));
    let (status, after) = loop {
        tokio::select! {
            end = &mut ended => break end,
            _ = pulse.tick() => beating.beats().await,
        }
    };
    let status = status.expect("the agent says why");
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "no message for 10 s"));
    assert!(after >= SILENCE, "closed after {after:?}");
    beating.beats().await;
    agent.api().until_metric("serin_agent_streams", 1.0).await;
}
