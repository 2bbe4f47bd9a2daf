//! What rules that are right one by one do together in time: what waits for two things, is held twice, or was opened, closed
//! or lost in between. Tables as in `walks.rs`.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::{Event, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::judgement::guards::GuardAction;
use rollout::release::default_guards::{GuardSettings, guards_of};
use rollout::release::inquiry::Reply;
use rollout::release::integrations::HookKind;
use rollout::release::plan::{Deadlines, Spec, Stop, Strategy};

use fixture::walk::{BAD, GOOD, NONE, Walk, close, open};
use fixture::{by, call, counts, gate, id, on_certificate, percent, report, trip, unsupported};

const YES: Reply = Reply::Hook(Ok(()));

fn wait(walk: &mut Walk, secs: u64) {
    walk.now = walk.now.plus(Millis::from_secs(secs));
}

fn steps(spec: &mut Spec, shares: &[u32]) {
    spec.strategy = Strategy::Steps(shares.iter().copied().map(percent).collect());
}

/// A report of these answers of primary and canary, and of a fuse that tripped if it did.
fn say(walk: &mut Walk, what: &str, sides: [u64; 2], is_tripped: bool) {
    walk.adopt();
    walk.reports += 1;
    let epoch = walk.adopted[0].1;
    let mut said = report(walk.reports, &id("web"), epoch, sides.map(|good| counts(good, 0, 0)));
    said.trips.extend(is_tripped.then(|| trip(&id("web"), epoch)));
    wait(walk, 1);
    walk.happen(what, Event::reported(walk.conn, said));
}

/// Two steps that say the same to the workers: the second has requests of its own all the same.
#[test]
fn a_step_at_the_share_in_force_is_proven_by_its_own_requests() {
    let mut walk = Walk::new("bake_on_certificate", |spec| {
        on_certificate(spec, Otherwise::Fail, Otherwise::Fail);
        steps(spec, &[50, 100]);
        spec.course.bake = Some(Millis::from_secs(20));
    });
    walk.release("v2");
    for _ in 0..3 {
        walk.report([700, 0, 0]);
        walk.timer();
    }
    walk.compare();
}

#[test]
fn a_guard_that_pauses_hides_no_other() {
    let mut walk = Walk::new("paused_by_each", |spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        spec.guards = guards_of(&spec.checks, false, &GuardSettings::all(Some(GuardAction::Pause), GuardAction::Pause));
    });
    walk.release("v2");
    say(&mut walk, "report: 1500 and 500, all good", [1500, 500], false);
    walk.ask("resume", by(|actor, reason| Verb::Resume { actor, reason }));
    walk.report([0, 1000, 0]);
    walk.ask("resume", by(|actor, reason| Verb::Resume { actor, reason }));
    walk.report([0, 1000, 0]);
    walk.compare();
}

#[test]
fn a_gate_counts_as_it_stands_when_the_last_has_answered() {
    let mut walk = Walk::new("gate_moves_while_asked", |spec| {
        steps(spec, &[10]);
        spec.outside.hooks = vec![gate("owner", HookKind::ConfirmPromotion), call("qa", HookKind::ConfirmPromotion)];
    });
    walk.ask("open owner", open("owner"));
    walk.release("v2");
    walk.check(GOOD);
    walk.ask("close owner", close("owner"));
    walk.answers("qa", YES);
    walk.check(GOOD);
    walk.ask("open owner", open("owner"));
    walk.answers("qa", YES);
    walk.compare();
}

/// What was agreed to is not used yet, since a failure unproves the step: the gate is closed in time, and who said yes long
/// ago is asked again.
#[test]
fn an_approval_is_taken_back_before_it_is_used() {
    let mut walk = Walk::new("approval_taken_back", |spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        steps(spec, &[10]);
        spec.outside.hooks = vec![gate("owner", HookKind::ConfirmPromotion), call("qa", HookKind::ConfirmPromotion)];
    });
    walk.ask("open owner", open("owner"));
    walk.release("v2");
    walk.report([400, 0, 0]);
    walk.timer();
    walk.report([0, 2, 0]);
    walk.answers("qa", YES);
    walk.ask("close owner", close("owner"));
    walk.report([1500, 0, 0]);
    walk.report([0, 20, 0]);
    walk.ask("open owner", open("owner"));
    wait(&mut walk, 3_600);
    walk.report([5000, 0, 0]);
    walk.compare();
}

#[test]
fn a_red_button_that_was_pressed_before_lets_nothing_begin_on_certificate() {
    let mut walk = Walk::new("red_button_on_certificate", |spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        spec.outside.hooks = vec![gate("red-button", HookKind::Rollback)];
    });
    walk.ask("press beforehand", open("red-button"));
    walk.release("v2");
    walk.release("v2");
    walk.report(GOOD);
    walk.compare();
}

#[test]
fn deadlines_stand_still_while_suspended() {
    let spec = |suspend| {
        move |spec: &mut Spec| {
            spec.course.deadlines.progressing = Some(Millis::from_secs(30));
            spec.course.suspend = suspend;
        }
    };
    let mut walk = Walk::new("suspended_and_deadline", spec(false));
    walk.release("v2");
    walk.declare(spec(true));
    (0..5).for_each(|_| walk.check(GOOD));
    walk.declare(spec(false));
    walk.check(GOOD);
    (0..2).for_each(|_| walk.check(BAD));
    walk.compare();
}

#[test]
fn an_approval_of_the_first_traffic_has_the_deadline_of_waiting() {
    let mut walk = Walk::new("deadline_of_first_traffic", |spec| {
        spec.course.deadlines = Deadlines { waiting: Some(Millis::from_secs(60)), ..Deadlines::default() };
        spec.outside.hooks = vec![gate("more", HookKind::ConfirmTrafficIncrease)];
    });
    walk.release("v2");
    (0..6).for_each(|_| walk.timer());
    walk.compare();
}

/// A request now and then: a quiet moment makes no event.
#[test]
fn a_quiet_moment_is_no_news_to_who_waits_or_dwells() {
    let mut walk = Walk::new("quiet_moments", |spec| {
        steps(spec, &[10]);
        spec.course.stops = vec![Stop { dwell: Millis::from_secs(40), pause: false }];
        spec.outside.hooks = vec![gate("owner", HookKind::ConfirmPromotion)];
    });
    walk.release("v2");
    [GOOD, NONE, GOOD, NONE, GOOD, NONE, GOOD, BAD, NONE].into_iter().for_each(|requests| walk.check(requests));
    walk.get();
    walk.ask("open owner", open("owner"));
    walk.check(GOOD);
    walk.compare();
}

#[test]
fn a_fuse_holds_though_its_stream_is_lost_and_nothing_advances_with_no_worker() {
    let mut walk = Walk::new("fuse_and_lost_stream", |spec| on_certificate(spec, Otherwise::Hold, Otherwise::Hold));
    walk.release("v2");
    walk.report([700, 0, 0]);
    say(&mut walk, "fuse trips", [0, 0], true);
    wait(&mut walk, 7);
    walk.happen("its stream is lost", Event::Disconnected(walk.conn));
    walk.timer();
    wait(&mut walk, 60);
    walk.happen("deadline", Event::Timer);
    walk.get();
    walk.hello(|_| ());
    walk.report([10, 0, 0]);
    walk.compare();
}

#[test]
fn a_mended_manifest_frees_the_release_that_it_kept_from_beginning() {
    let mut walk = Walk::new("unsupported_and_fixed", |spec| spec.unsupported.push(unsupported()));
    walk.release("v2");
    walk.release("v2");
    walk.declare(|_| ());
    walk.get();
    walk.release("v2");
    walk.check(GOOD);
    walk.compare();
}

#[test]
fn a_pause_takes_no_proof_away() {
    let mut walk = Walk::new("resumed_at_a_gate", |spec| {
        on_certificate(spec, Otherwise::Fail, Otherwise::Hold);
        steps(spec, &[10]);
        spec.outside.hooks = vec![gate("owner", HookKind::ConfirmPromotion)];
    });
    walk.release("v2");
    walk.report([700, 0, 0]);
    walk.timer();
    walk.ask("pause", by(|actor, reason| Verb::Pause { actor, reason }));
    walk.report([3, 5, 0]);
    walk.ask("resume", by(|actor, reason| Verb::Resume { actor, reason }));
    walk.ask("open owner", open("owner"));
    wait(&mut walk, 700);
    walk.report([10, 0, 0]);
    walk.report([3000, 0, 0]);
    walk.compare();
}
