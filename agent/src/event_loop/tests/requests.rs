//! What people ask for while the disk refuses or hangs: an abort is carried out, everything else is not, now or later.

use rollout::routing::table::{Epoch, WeightPpm};
use tokio::task::JoinHandle;

use super::*;
use crate::handle::NotCarried;

/// Every verb but an abort.
const VERBS: [fn(Revision) -> Verb; 12] = [
    release,
    |actor| Verb::Retry { actor, reason: String::new() },
    |actor| Verb::Confirm { actor, reason: String::new() },
    |actor| Verb::ForceConfirm { actor, reason: "so".into() },
    |actor| Verb::OpenGate { gate: "g".into(), revision: None, expires_after: None, actor, reason: String::new() },
    |actor| Verb::Promote { actor, reason: String::new() },
    |actor| Verb::Pause { actor, reason: String::new() },
    |actor| Verb::Resume { actor, reason: String::new() },
    |actor| Verb::Skip { actor, reason: String::new() },
    |actor| Verb::SetWeight { weight: WeightPpm::ZERO, actor, reason: String::new() },
    |actor| Verb::CloseGate { gate: "g".into(), actor, reason: String::new() },
    |actor| Verb::Forget { actor, reason: String::new() },
];

/// What a verb can change.
async fn state(rig: &Rig) -> (Phase, usize, Epoch) {
    let look = |controller: &Controller, _| {
        let canary = controller.canary(&web()).unwrap();
        (canary.phase.clone(), canary.history.len(), canary.epoch)
    };
    rig.handle.read(look).await.unwrap()
}

/// Asks beside whatever else happens.
fn asking(rig: &Rig, verb: fn(Revision) -> Verb) -> JoinHandle<Result<Answer, Stopped>> {
    let (handle, Event::Requested(canary, verb)) = (rig.handle.clone(), asked(verb)) else { unreachable!() };
    tokio::spawn(async move { handle.ask(canary, verb).await })
}

#[tokio::test]
async fn what_a_full_disk_refused_is_answered_at_once_and_never_carried_out() {
    for is_known in [true, false] {
        for verb in VERBS {
            let mut rig = Rig::start(64).await;
            rig.ask(asked(release)).await.unwrap().unwrap();
            let before = state(&rig).await;
            if is_known {
                rig.refuse().await;
            } else {
                // Nobody has noticed yet: this verb is what is to be written first.
                rig.disk.fail_after(0);
            }
            let answer = timeout(Duration::from_secs(5), rig.ask(asked(verb))).await.expect("deadline: an answer");
            let Err(NotCarried::Unstored(why)) = answer.unwrap() else { panic!("carried out, or refused") };
            assert!(why.contains("no space left"), "{why}");
            healed(&mut rig).await;
            assert_eq!(state(&rig).await, before, "{:?} was carried out later", verb(Revision::parse("ann").unwrap()));
            rig.stop.send(true).unwrap();
            rig.running.await.unwrap();
            let (_journal, recovered) = rig.disk.journal().unwrap();
            assert_eq!(recovered.controller.canary(&web()).unwrap().phase, before.0, "and no restart carries it out");
        }
    }
}

#[tokio::test]
async fn a_disk_that_hangs_holds_a_verb_for_a_second_and_an_abort_for_none() {
    let mut rig = Rig::start(64).await;
    rig.ask(asked(release)).await.unwrap().unwrap();
    let before = state(&rig).await;
    rig.disk.hang(true);
    let pause: fn(Revision) -> Verb = |actor| Verb::Pause { actor, reason: String::new() };
    let answer = timeout(Duration::from_secs(5), rig.ask(asked(pause))).await.expect("deadline: an answer");
    assert!(matches!(answer.unwrap(), Err(NotCarried::Unstored(why)) if why.contains("not finished")));
    assert_eq!(state(&rig).await, before);
    // It is known by now, so no other verb holds anybody up.
    let answer = timeout(Duration::from_millis(500), rig.ask(asked(pause))).await.expect("deadline: at once");
    assert!(matches!(answer.unwrap(), Err(NotCarried::Unstored(_))));
    while !splits(&rig.next().await) {}
    let abort: fn(Revision) -> Verb = |actor| Verb::Abort { actor, reason: String::new() };
    let aborted = asking(&rig, abort);
    let entry = timeout(Duration::from_millis(500), rig.next()).await.expect("deadline: the abort's entry");
    assert!(matches!(&entry, ToWorker::Entry(_)) && !splits(&entry), "{entry:?}");
    let done = aborted.await.unwrap().unwrap().unwrap();
    assert!(done.done.phase == "Failed" && done.unstored.is_some_and(|why| why.contains("not finished")));
    rig.disk.hang(false);
    healed(&mut rig).await;
    let (phase, history, _) = state(&rig).await;
    assert!(matches!(phase, Phase::Failed(_, Cause::Requested { .. })) && history == before.1 + 1, "{phase:?}");
}

#[tokio::test]
async fn an_abort_does_not_wait_behind_a_verb_that_is_being_stored() {
    let mut rig = Rig::start(64).await;
    rig.ask(asked(release)).await.unwrap().unwrap();
    while !splits(&rig.next().await) {}
    rig.disk.hang(true);
    let verbs: Vec<_> = VERBS.into_iter().map(|verb| asking(&rig, verb)).collect();
    // The first of them is on its way to the disk, which nothing else has touched since.
    timeout(Duration::from_millis(900), rig.disk.is_writing()).await.expect("deadline: a write that hangs");
    let abort = asking(&rig, |actor| Verb::Abort { actor, reason: String::new() });
    let entry = timeout(Duration::from_millis(900), rig.next()).await.expect("deadline: the abort's entry");
    assert!(matches!(&entry, ToWorker::Entry(_)) && !splits(&entry), "{entry:?}");
    assert_eq!(abort.await.unwrap().unwrap().unwrap().done.phase, "Failed");
    rig.disk.hang(false);
    let mut overtaken = 0;
    for verb in verbs {
        match verb.await.unwrap() {
            Ok(Err(NotCarried::Overtaken)) => overtaken += 1,
            // What was asked behind the abort: the disk is slow, or the phase is another.
            Ok(Err(NotCarried::Unstored(_) | NotCarried::Refused(_))) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(overtaken, 1, "one was being stored");
}

/// Of what is sent more than the loop holds and its channel takes together: streams and people wait then, an abort does not.
#[tokio::test]
async fn an_abort_waits_behind_nothing_however_much_is_held() {
    let mut rig = Rig::start(64).await;
    rig.ask(asked(release)).await.unwrap().unwrap();
    while !splits(&rig.next().await) {}
    rig.disk.hang(true);
    let pause = asking(&rig, |actor| Verb::Pause { actor, reason: String::new() });
    timeout(Duration::from_millis(900), rig.disk.is_writing()).await.expect("deadline: a write that hangs");
    let handle = rig.handle.clone();
    let flood = tokio::spawn(async move { while handle.beat(Conn(9)).await.is_ok() {} });
    let is_full = async {
        while rig.handle.room() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_millis(900), is_full).await.expect("deadline: a full channel");
    let abort = asking(&rig, |actor| Verb::Abort { actor, reason: String::new() });
    assert_eq!(pause.await.unwrap().unwrap(), Err(NotCarried::Overtaken), "not a disk that hangs ended its wait");
    let entry = timeout(Duration::from_millis(900), rig.next()).await.expect("deadline: the abort's entry");
    assert!(matches!(&entry, ToWorker::Entry(_)) && !splits(&entry), "{entry:?}");
    assert_eq!(abort.await.unwrap().unwrap().unwrap().done.phase, "Failed");
    flood.abort();
}
