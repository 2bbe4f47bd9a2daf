//! What the loop takes as one batch.

use rollout::controller::WorkerEvent;
use rollout::routing::route::Placement;
use rollout::routing::table::{Epoch, Version};
use rollout::worker::tally::{Counts, Slot, Stratum};

use super::*;

/// A loop that does not run, so that what comes in waits.
fn busy() -> (EventLoop, Handle) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (journal, recovered) = Disk::new().journal().unwrap();
    let dispatcher = Dispatcher::new(Secrets::default()).unwrap();
    EventLoop::new(recovered, journal, Clock::start(Millis(0)), dispatcher)
}

/// Takes what waits next; how many events that is in the journal, and how many messages still wait.
async fn take(event_loop: &mut EventLoop) -> (u64, usize) {
    let before = event_loop.journal.last_number();
    let input = next(&mut event_loop.held, &mut event_loop.inputs).await.unwrap();
    event_loop.take(input).await;
    (event_loop.journal.last_number() - before, event_loop.held.len() + event_loop.inputs.others.len())
}

fn reported(number: u64, strata: u32) -> WorkerEvent {
    let at = |slot| Stratum {
        canary: web(),
        epoch: Epoch(3),
        version: Version::Canary,
        placement: Placement::Drawn,
        slot: Slot(slot),
    };
    let strata = (0..strata).map(|slot| (at(slot), Counts::begun(1))).collect();
    WorkerEvent::Reported(Report { number, strata, watermarks: vec![], trips: vec![], destinations: vec![] })
}

#[tokio::test]
async fn what_workers_said_meanwhile_is_one_event_and_nothing_overtakes() {
    let (mut event_loop, handle) = busy();
    for number in 1..=3 {
        handle.worker(Conn(number), reported(1, 2)).await.unwrap();
    }
    handle.event(Event::Timer).await.unwrap();
    handle.worker(Conn(1), reported(2, 2)).await.unwrap();
    assert_eq!(take(&mut event_loop).await, (1, 2), "three reports are one event; the timer stays before the fourth");
    assert_eq!(take(&mut event_loop).await, (1, 1));
    assert_eq!(take(&mut event_loop).await, (1, 0));
}

#[tokio::test]
async fn a_batch_is_bounded_by_messages_and_by_what_they_hold() {
    let (mut event_loop, handle) = busy();
    for number in 1..=300 {
        handle.worker(CONN, WorkerEvent::Adopted(web(), Epoch(number))).await.unwrap();
    }
    assert_eq!(take(&mut event_loop).await, (1, 300 - 256));
    assert_eq!(take(&mut event_loop).await, (1, 0));
    for number in 1..=40 {
        handle.worker(CONN, reported(number, 128)).await.unwrap();
    }
    assert_eq!(take(&mut event_loop).await, (1, 40 - 32), "32 of the greatest reports hold 4,096 strata");
    assert_eq!(take(&mut event_loop).await, (1, 0));
}
