//! Streams that break a rule: refused or closed by name, counted, and no other stream notices.

use rollout::routing::table::Epoch;
use rollout::worker::messages::{PROTOCOL, Protocol, ToAgent, ToWorker};
use tonic::{Code, Status};

use crate::support::agent::TestAgent;
use crate::support::worker::{Worker, endpoint, hello, web};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

async fn refused(agent: &TestAgent, frames: Vec<Vec<u8>>, stay: bool) -> Status {
    Worker::open_raw(&endpoint(agent.grpc()), None, frames, stay).await.err().expect("the stream is refused")
}

fn frame(message: &ToAgent) -> Vec<u8> {
    proto::wire::encode_from_worker(message)
}

#[track_caller]
fn says(status: &Status, code: Code, words: &[&str]) {
    assert_eq!(status.code(), code, "{status:?}");
    for word in words {
        assert!(status.message().contains(word), "{word:?} is not in {status:?}");
    }
}

#[tokio::test]
async fn a_stream_that_does_not_begin_as_it_should_is_refused_by_name() {
    let agent = TestAgent::start().await;
    let mut foreign = hello(1);
    foreign.protocol = Protocol { major: 9, minor: 4 };
    let status = refused(&agent, vec![frame(&ToAgent::Hello(foreign))], true).await;
    let ours = format!("this agent speaks {PROTOCOL}");
    says(&status, Code::FailedPrecondition, &["protocol 9.4", &ours, "upgrade"]);
    let status = refused(&agent, vec![], false).await;
    says(&status, Code::Cancelled, &["ended before Hello"]);
    let status = refused(&agent, vec![frame(&ToAgent::Beat)], true).await;
    says(&status, Code::InvalidArgument, &["first message must be Hello"]);
    let status = refused(&agent, vec![b"\xff\xff\xff".to_vec()], true).await;
    says(&status, Code::InvalidArgument, &["Hello", "not a message of this protocol"]);
    let mut nameless = hello(2);
    nameless.node = "x".repeat(2000);
    let status = refused(&agent, vec![frame(&ToAgent::Hello(nameless))], true).await;
    says(&status, Code::InvalidArgument, &["hello.node", "2000 bytes long; at most 1024"]);
    for held in [1 << 60, u64::MAX] {
        let mut forged = hello(3);
        forged.adopted = vec![(web(), Epoch(held))];
        let status = refused(&agent, vec![frame(&ToAgent::Hello(forged))], true).await;
        says(&status, Code::FailedPrecondition, &["hello", &held.to_string(), "no agent can have issued"]);
    }
    // Who went away before Hello was not refused.
    agent.api().until_metric("serin_agent_refused_streams_total", 6.0).await;
    agent.api().until_metric("serin_agent_streams", 0.0).await;
}

#[tokio::test]
async fn a_stream_that_says_no_hello_is_given_up() {
    let agent = TestAgent::start().await;
    let status = refused(&agent, vec![], true).await;
    says(&status, Code::DeadlineExceeded, &["no Hello within 10 s"]);
}

#[tokio::test]
async fn a_second_hello_ends_the_stream() {
    let agent = TestAgent::start().await;
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    worker.send(&ToAgent::Hello(hello(2))).await;
    says(&worker.ended().await.unwrap(), Code::InvalidArgument, &["Hello may come only once"]);
}

#[tokio::test]
async fn garbage_is_counted_and_survived_up_to_a_limit() {
    let agent = TestAgent::start().await;
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    for _ in 0..15 {
        worker.send_raw(vec![0xff; 40]).await;
    }
    worker.beats().await;
    assert_eq!(agent.api().metric("serin_agent_malformed_messages_total").await, Some(15.0));
    worker.send(&ToAgent::Adopted(web(), Epoch(0))).await;
    let why = worker.ended().await.unwrap();
    says(&why, Code::InvalidArgument, &["16 messages broke a rule", "adopted.epoch", "count from 1"]);
    agent.api().until_metric("serin_agent_streams", 0.0).await;
    Worker::welcomed(agent.grpc(), 1).await.beats().await;
}

#[tokio::test]
async fn an_oversized_frame_is_counted_and_ends_its_stream_only() {
    let agent = TestAgent::start().await;
    let mut other = Worker::welcomed(agent.grpc(), 2).await;
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    worker.send_raw(vec![0; (4 << 20) + 1]).await;
    says(&worker.ended().await.unwrap(), Code::OutOfRange, &["4194304"]);
    other.beats().await;
    assert_eq!(agent.api().metric("serin_agent_malformed_messages_total").await, Some(1.0));
}

#[tokio::test]
async fn only_the_token_opens_a_stream() {
    let agent = TestAgent::start_with(|options, dir| {
        let file = dir.path().join("token");
        std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
        options.grpc_token_file = Some(file);
    })
    .await;
    let first = [ToAgent::Hello(hello(1))];
    let endpoint = endpoint(agent.grpc());
    for wrong in [None, Some("0123456789abcdef"), Some("")] {
        let status = Worker::open(&endpoint, wrong, &first).await.err().expect("the stream is refused");
        says(&status, Code::Unauthenticated, &["token is missing or wrong"]);
    }
    let mut worker = Worker::open(&endpoint, Some(TOKEN), &first).await.unwrap();
    assert!(matches!(worker.next().await, ToWorker::Welcome(_)));
    assert_eq!(agent.api().metric("serin_agent_refused_streams_total").await, Some(3.0));
}

#[tokio::test]
async fn a_slow_consumer_is_disconnected_and_others_are_not() {
    let agent = TestAgent::start().await;
    let mut other = Worker::welcomed(agent.grpc(), 2).await;
    // The smallest window that HTTP/2 has by default, so that little is on its way when nobody reads.
    let narrow = endpoint(agent.grpc()).initial_stream_window_size(65_535);
    let mut slow = Worker::open(&narrow, None, &[ToAgent::Hello(hello(1))]).await.unwrap();
    agent.api().until_web("both", |canary| canary["workersLive"] == 2).await;
    // Each beat asks for an answer; none is read.
    let ended = async {
        loop {
            while slow.try_send(&ToAgent::Beat) {}
            let live = agent.api().web().await["workersLive"].clone();
            if live == 1 {
                return;
            }
            other.beats().await;
        }
    };
    crate::support::within("the slow worker to be disconnected", ended).await;
    says(&slow.ended().await.unwrap(), Code::Aborted, &["slow consumer"]);
    other.beats().await;
    agent.api().until_metric("serin_agent_streams", 1.0).await;
}
