//! What the loop lets out before its event is on disk, and what it holds back.

use std::time::Duration;

use proto::wire::decode_to_worker;
use rollout::base::names::Revision;
use rollout::base::time::Millis;
use rollout::controller::Verb;
use rollout::release::phase::{Cause, Note, Phase};
use rollout::release::threshold_checks::{CheckResult, ChecksVerdict};
use rollout::worker::messages::{Report, ToWorker};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::archive::Limits;
use crate::handle::{MAX_OUTBOX, Stopped};
use crate::http_delivery::listener::{Listener, Reply};
use crate::journal::tests::{Disk, asked, declared, declared_with, hello, release, web};
use crate::secrets::Secrets;

/// What the loop takes as one batch.
mod batches;

/// What people ask for while the disk refuses or hangs.
mod requests;

/// A loop on a disk of the test's, one stream to it, and the switch that stops it.
struct Rig {
    disk: Disk,
    handle: Handle,
    messages: mpsc::Receiver<Bytes>,
    end: oneshot::Receiver<StreamEnd>,
    dispatcher: Dispatcher,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
}

const CONN: Conn = Conn(1);

impl Rig {
    async fn start(room: usize) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let disk = Disk::new();
        let (journal, recovered) = disk.journal().unwrap();
        let clock = Clock::start(Millis(0));
        let dispatcher = Dispatcher::new(Secrets::default()).unwrap();
        let (event_loop, handle) = EventLoop::new(recovered, journal, clock, dispatcher.clone());
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(event_loop.run(stopped));
        let (sender, messages) = mpsc::channel(room);
        let (end_sender, end) = oneshot::channel();
        handle.event(declared()).await.unwrap();
        handle.connected(CONN, hello(1), Outbox { messages: sender, end: end_sender }).await.unwrap();
        Self { disk, handle, messages, end, dispatcher, stop, running }
    }

    async fn next(&mut self) -> ToWorker {
        let frame = timeout(Duration::from_secs(20), self.messages.recv()).await.expect("deadline: a message").unwrap();
        decode_to_worker(&frame).unwrap()
    }

    /// All that was sent before a beat.
    async fn until_beat(&mut self) -> Vec<ToWorker> {
        self.handle.beat(CONN).await.unwrap();
        let mut before = Vec::new();
        loop {
            match self.next().await {
                ToWorker::Beat => return before,
                message => before.push(message),
            }
        }
    }

    async fn ask(&self, event: Event) -> Result<Answer, Stopped> {
        let Event::Requested(canary, verb) = event else { unreachable!() };
        self.handle.ask(canary, verb).await
    }

    /// Waits until the canary is so.
    async fn until(&self, is_so: fn(&Phase) -> bool) {
        let look =
            move |controller: &Controller, _| controller.canary(&web()).is_some_and(|canary| is_so(&canary.phase));
        let seen = async { while !self.handle.read(look).await.unwrap() {} };
        timeout(Duration::from_secs(20), seen).await.expect("deadline: the canary");
    }

    async fn refuse(&self) {
        self.disk.fail_after(0);
        self.handle.event(Event::Timer).await.unwrap();
        let mut stored = self.handle.watch_stored();
        let failing = stored.wait_for(|stored| stored.failing.is_some());
        timeout(Duration::from_secs(20), failing).await.expect("deadline: failing").unwrap();
    }
}

fn splits(message: &ToWorker) -> bool {
    matches!(message, ToWorker::Entry(entry) if entry.routing.as_ref().is_some_and(|routing| routing.split.is_some()))
}

#[tokio::test]
async fn welcome_comes_before_all_else() {
    for _ in 0..50 {
        // The manifest's entry is stored, and pushed, while the worker says Hello.
        let mut rig = Rig::start(64).await;
        assert!(matches!(rig.next().await, ToWorker::Welcome(_)));
    }
}

#[tokio::test]
async fn without_a_disk_an_abort_leaves_and_nothing_else_until_it_is_back() {
    let mut rig = Rig::start(64).await;
    while !matches!(rig.next().await, ToWorker::Entry(_)) {}
    rig.ask(asked(release)).await.unwrap().unwrap();
    while !splits(&rig.next().await) {}
    rig.refuse().await;
    let report = Report { number: 1, strata: vec![], watermarks: vec![], trips: vec![], destinations: vec![] };
    rig.handle.event(Event::reported(CONN, report)).await.unwrap();
    let left = rig.until_beat().await;
    assert_eq!(left, vec![ToWorker::Received(1)], "it was said to be stored, or an entry left, before it was");
    let done = rig.ask(asked(|actor| Verb::Abort { actor, reason: String::new() })).await.unwrap().unwrap();
    assert_eq!(done.done.phase, "Failed");
    let left = rig.until_beat().await;
    assert!(matches!(left.as_slice(), [entry @ ToWorker::Entry(_)] if !splits(entry)), "{left:?}");
    assert!(done.unstored.is_some_and(|why| why.contains("no space")), "it says that it is not stored");
    rig.disk.heal();
    assert_eq!(rig.next().await, ToWorker::Stored(1));
}

/// Until all that was appended is on disk, and handed on.
async fn healed(rig: &mut Rig) {
    rig.disk.heal();
    rig.ask(asked(|actor| Verb::Retry { actor, reason: String::new() })).await.unwrap().unwrap_err();
    let mut stored = rig.handle.watch_stored();
    let writable = stored.wait_for(|stored| stored.failing.is_none());
    timeout(Duration::from_secs(20), writable).await.expect("deadline: writable").unwrap();
}

#[tokio::test]
async fn a_call_that_waits_for_the_disk_is_not_made_once_its_release_is_aborted() {
    let server = Listener::start([Reply::status(200)]).await;
    let rig = Rig::start(64).await;
    let hook = format!("  promotion: {{ mode: copy, hook: {{ name: deploy, url: \"{}\" }} }}\n", server.url("/"));
    rig.handle.event(declared_with(&hook)).await.unwrap();
    rig.ask(asked(release)).await.unwrap().unwrap();
    rig.refuse().await;
    // As an event it waits for the disk with what follows from it, as what checks and answers lead to does.
    rig.handle.event(asked(|actor| Verb::Promote { actor, reason: String::new() })).await.unwrap();
    rig.until(|phase| matches!(phase, Phase::Promoting(..))).await;
    rig.ask(asked(|actor| Verb::Abort { actor, reason: String::new() })).await.unwrap().unwrap();
    let mut rig = rig;
    // What waits is performed in order, so a call that was made would be under way now.
    healed(&mut rig).await;
    assert!(rig.dispatcher.is_idle(), "deploy was called for an aborted release");
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_stop_without_a_disk_ends_and_promises_nothing() {
    let rig = Rig::start(64).await;
    rig.refuse().await;
    rig.handle.event(asked(release)).await.unwrap();
    while rig.handle.read(|controller, _| controller.canaries().all(|canary| canary.releases == 0)).await.unwrap() {}
    rig.stop.send(true).unwrap();
    timeout(Duration::from_secs(20), rig.running).await.expect("deadline: stopped").unwrap();
    assert_eq!(rig.handle.ask(web(), release(Revision::parse("ann").unwrap())).await, Err(Stopped));
    rig.disk.heal();
    let (_journal, recovered) = rig.disk.journal().unwrap();
    assert!(recovered.controller.canaries().all(|canary| canary.releases == 0));
}

#[tokio::test]
async fn a_stop_answers_what_is_stored() {
    let rig = Rig::start(64).await;
    let handle = rig.handle.clone();
    let Event::Requested(canary, verb) = asked(release) else { unreachable!() };
    let asking = tokio::spawn(async move { handle.ask(canary, verb).await });
    while rig.handle.read(|controller, _| controller.canaries().all(|canary| canary.releases == 0)).await.unwrap() {}
    rig.stop.send(true).unwrap();
    rig.running.await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap().unwrap().done.release.0, 1);
    assert_eq!(rig.disk.journal().unwrap().1.replayed, 0, "the last act is a snapshot");
}

#[tokio::test]
async fn a_stop_notifies_of_what_is_stored_and_was_held_back() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Listener::start([Reply::status(200)]).await;
    let (journal, recovered) = Disk::new().journal().unwrap();
    let dispatcher = Dispatcher::new(Secrets::default()).unwrap();
    let (mut event_loop, handle) = EventLoop::new(recovered, journal, Clock::start(Millis(0)), dispatcher);
    let mut watcher = handle.watch();
    let hook = format!("    webhooks: [{{ name: events, type: event, url: \"{}\" }}]\n", server.url("/"));
    event_loop.handle_event(declared_with(&hook), None);
    // The stop comes before the loop hears that this is stored.
    event_loop.record_stored().await;
    event_loop.dispatcher.drain().await;
    assert_eq!(server.count(), 1);
    watcher.try_recv().unwrap();
}

#[tokio::test]
async fn a_disk_that_refuses_for_long_costs_one_snapshot_and_no_more_memory() {
    refused_for_long(Backlog { events: 1_000, bytes: u64::MAX }).await;
    refused_for_long(Backlog { events: u64::MAX, bytes: 100_000 }).await;
}

async fn refused_for_long(most_backlog: Backlog) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (disk, dir) = (Disk::new(), tempfile::tempdir().unwrap());
    let archive = Archive::open(dir.path().into(), Limits { bytes: 1 << 20, per_canary: 5 }).unwrap();
    let (journal, recovered) = disk.journal_with(archive).unwrap();
    let dispatcher = Dispatcher::new(Secrets::default()).unwrap();
    let (mut event_loop, handle) = EventLoop::new(recovered, journal, Clock::start(Millis(0)), dispatcher);
    event_loop.max_backlog = most_backlog;
    for event in [declared(), Event::Connected(CONN, hello(1)), asked(release)] {
        event_loop.handle_event(event, None);
    }
    let last = event_loop.journal.last_number();
    let mut stored = handle.watch_stored();
    let all = timeout(Duration::from_secs(20), stored.wait_for(|stored| stored.through == last));
    all.await.expect("deadline: stored").unwrap();
    event_loop.perform_stored();
    disk.fail_after(0);
    let mut most = 0;
    for number in 1..=30_000 {
        let report = Report { number, strata: vec![], watermarks: vec![], trips: vec![], destinations: vec![] };
        event_loop.handle_event(Event::reported(CONN, report), None);
        // Nothing is confirmed, so workers give their streams up and come back.
        if number % 6 == 0 {
            let conn = Conn(CONN.0 + number);
            drop(connect(&mut event_loop, conn).await);
            event_loop.take(LoopInput::Event(Event::Disconnected(conn))).await;
        }
        most = most.max(event_loop.deferred.len());
    }
    // Two for each report, and the thread may have taken a batch.
    assert!(most < 15_000, "{most} things waited");
    let backlog = event_loop.journal.backlog();
    assert!(backlog.events < most_backlog.events && backlog.bytes < most_backlog.bytes, "{backlog:?}");
    event_loop.collapse_backlog();
    assert_eq!(event_loop.deferred.len(), 1, "more waits than the confirmation for the stream that lives");
    // All the same nothing is lost but the record.
    disk.heal();
    let last = event_loop.journal.last_number();
    let all = timeout(Duration::from_secs(20), stored.wait_for(|stored| stored.through == last));
    all.await.expect("deadline: stored").unwrap();
    event_loop.perform_stored();
    event_loop.handle_event(Event::Timer, None);
    event_loop.record_stored().await;
    let records = event_loop.archive.list(web()).await;
    assert!(records[0].truncated.is_some(), "{records:?}");
    let EventLoop { controller, mut journal, archive, .. } = event_loop;
    archive.close().await;
    journal.close().await;
    let (_journal, recovered) = disk.journal().unwrap();
    assert!(recovered.replayed < 10_000, "{} events were stored one by one", recovered.replayed);
    assert_eq!(recovered.controller, controller);
}

/// A worker other than [`CONN`]'s says Hello, always the same; its end of the stream.
async fn connect(event_loop: &mut EventLoop, conn: Conn) -> (mpsc::Receiver<Bytes>, oneshot::Receiver<StreamEnd>) {
    let (messages, received) = mpsc::channel(MAX_OUTBOX);
    let (end, ended) = oneshot::channel();
    event_loop.take(LoopInput::Connected { conn, hello: hello(2), outbox: Outbox { messages, end } }).await;
    (received, ended)
}

#[tokio::test]
async fn streams_that_come_and_go_while_the_disk_refuses_leave_nothing_that_waits() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let disk = Disk::new();
    let (journal, recovered) = disk.journal().unwrap();
    let dispatcher = Dispatcher::new(Secrets::default()).unwrap();
    let (mut event_loop, handle) = EventLoop::new(recovered, journal, Clock::start(Millis(0)), dispatcher);
    event_loop.handle_event(declared(), None);
    let mut stored = handle.watch_stored();
    let all = timeout(Duration::from_secs(20), stored.wait_for(|stored| stored.through == 1));
    all.await.expect("deadline: stored").unwrap();
    event_loop.perform_stored();
    disk.fail_after(0);
    let (mut most, mut streams) = (0, Vec::new());
    for number in 1..=5_000 {
        streams.push(connect(&mut event_loop, Conn(number)).await);
        most = most.max(event_loop.deferred.len());
        // Every other stream ends when the next one takes its place, before it says so.
        if number % 2 == 1 {
            event_loop.take(LoopInput::Event(Event::Disconnected(Conn(number)))).await;
        }
    }
    assert!(most <= deferred::MAX_ENDED + 1, "{most} entries waited, all but one for streams that are gone");
    // The stream that lives loses nothing by it.
    disk.heal();
    let last = event_loop.journal.last_number();
    let all = timeout(Duration::from_secs(20), stored.wait_for(|stored| stored.through == last));
    all.await.expect("deadline: stored").unwrap();
    event_loop.perform_stored();
    let (mut received, _ended) = streams.pop().unwrap();
    let mut next = || decode_to_worker(&received.try_recv().unwrap()).unwrap();
    assert!(matches!(next(), ToWorker::Welcome(_)));
    assert!(matches!(next(), ToWorker::Entry(_)));
}

#[tokio::test]
async fn a_full_outbox_ends_its_stream() {
    let rig = Rig::start(3).await;
    for _ in 0..4 {
        rig.handle.beat(CONN).await.unwrap();
    }
    let end = timeout(Duration::from_secs(20), rig.end).await.expect("deadline: the end").unwrap();
    assert_eq!(end, StreamEnd::Slow);
}

#[tokio::test]
async fn a_running_agent_shortens_its_journal_once_the_records_have_what_is_dropped() {
    let mut rig = Rig::start(64).await;
    for _ in 0..SNAPSHOT_EVERY {
        rig.handle.event(Event::Timer).await.unwrap();
    }
    // What waits for the disk is done in order: with this ack behind it, the snapshot is queued.
    let report = Report { number: 1, strata: vec![], watermarks: vec![], trips: vec![], destinations: vec![] };
    rig.handle.event(Event::reported(CONN, report)).await.unwrap();
    while rig.next().await != ToWorker::Stored(1) {}
    rig.running.abort();
    let mut stored = rig.handle.watch_stored();
    let ended = async { while stored.changed().await.is_ok() {} };
    timeout(Duration::from_secs(20), ended).await.expect("deadline: the journal's end");
    let replayed = rig.disk.journal().unwrap().1.replayed;
    assert!(replayed < 100, "{replayed} events are left");
}

#[test]
fn aborts_and_failed_checks_are_logged_as_warnings_and_progress_is_not() {
    let verdict = ChecksVerdict { answer: CheckResult::Fail, findings: vec![] };
    assert!(is_warning(&Note::CheckFailed { failed: 1, threshold: 3, verdict }));
    assert!(is_warning(&Note::Objected { failed: 1, threshold: 3, refused: vec![] }));
    assert!(is_warning(&Note::Aborted(Cause::Withdrawn)));
    let (revision, actor) = (Revision::parse("v2").unwrap(), Revision::parse("ann").unwrap());
    assert!(!is_warning(&Note::Started { revision, actor, reason: String::new() }));
    assert!(!is_warning(&Note::Declared));
}
