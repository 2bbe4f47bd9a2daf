//! What people do between two checks, and what happens while the agent is away, as tables that a person can review. See
//! `fixture/walk.rs`.
//!
//! `UPDATE=1 cargo test -p rollout --test by_hand` rewrites them after a change that is meant.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::Verb;
use rollout::judgement::certificate::Otherwise;
use rollout::release::inquiry::Reply;
use rollout::release::integrations::HookKind;
use rollout::release::plan::{Deadlines, Plan, Promotion, Spec, Strategy};
use rollout::routing::request::{MatchRule, StringMatch};
use rollout::view::status;

use fixture::walk::{BAD, GOOD, NONE, Walk, close, open};
use fixture::{by, call, gate, id, on_certificate, percent, upstream, word};

const YES: Reply = Reply::Hook(Ok(()));

fn open_for(gate: &str, revision: Option<&str>) -> Verb {
    let (gate, revision) = (gate.into(), revision.map(word));
    by(|actor, reason| Verb::OpenGate { gate, revision, expires_after: None, actor, reason })
}

fn set(share: u32) -> Verb {
    by(|actor, reason| Verb::SetWeight { weight: percent(share), actor, reason })
}

fn retry() -> Verb {
    by(|actor, reason| Verb::Retry { actor, reason })
}

fn resume() -> Verb {
    by(|actor, reason| Verb::Resume { actor, reason })
}

fn skip() -> Verb {
    by(|actor, reason| Verb::Skip { actor, reason })
}

fn abort() -> Verb {
    by(|actor, reason| Verb::Abort { actor, reason })
}

fn to_half(spec: &mut Spec) {
    spec.strategy = Strategy::Steps([50].map(percent).to_vec());
}

#[test]
fn a_gate_that_moves_is_no_check() {
    let mut walk = Walk::new("gate_is_no_check", |spec| {
        spec.outside.hooks = ["owner", "board"].map(|name| gate(name, HookKind::ConfirmPromotion)).to_vec();
    });
    walk.release("v2");
    walk.report(GOOD);
    walk.ask("close owner", close("owner"));
    walk.ask("open owner", open("owner"));
    walk.ask("close owner", close("owner"));
    walk.check(BAD);
    for _ in 0..2 {
        walk.ask("open owner", open("owner"));
        walk.ask("close owner", close("owner"));
    }
    for _ in 0..4 {
        walk.check(GOOD);
    }
    walk.ask("open owner", open("owner"));
    walk.ask("open owner again", open("owner"));
    walk.check(BAD);
    walk.ask("open board", open("board"));
    walk.check(GOOD);
    walk.compare();
}

#[test]
fn whoever_waits_for_a_gate_goes_on_at_once() {
    let mut walk = Walk::new("gate_opened", |spec| {
        let more = gate("more", HookKind::ConfirmTrafficIncrease);
        spec.outside.hooks = vec![more, call("load", HookKind::Rollout)];
    });
    walk.release("v2");
    walk.ask("open more", open("more"));
    walk.ask("close more", close("more"));
    walk.check(GOOD);
    walk.answers("load", YES);
    walk.ask("open more", open("more"));
    walk.ask("close more", close("more"));
    walk.check(GOOD);
    walk.answers("load", YES);
    walk.check(GOOD);
    walk.answers("load", Reply::Hook(Err("status 500".into())));
    walk.ask("open more", open("more"));
    walk.check(GOOD);
    walk.answers("load", YES);
    walk.compare();
}

#[test]
fn a_red_button_is_pressed_once_and_for_one_revision() {
    let mut walk = Walk::new("red_button", |spec| spec.outside.hooks = vec![gate("red-button", HookKind::Rollback)]);
    walk.release("v2");
    walk.check(GOOD);
    walk.ask("press for v9", open_for("red-button", Some("v9")));
    walk.check(GOOD);
    walk.ask("press", open("red-button"));
    walk.ask("retry", retry());
    walk.check(GOOD);
    walk.ask("abort", abort());
    walk.ask("press beforehand", open("red-button"));
    walk.release("v3");
    walk.ask("retry", retry());
    walk.check(GOOD);
    walk.compare();
}

#[test]
fn a_question_outlives_the_agents_absence() {
    let mut walk = Walk::new("restart_in_question", |spec| {
        spec.outside.hooks = vec![call("load", HookKind::Rollout)];
        spec.threshold = 1;
    });
    walk.release("v2");
    walk.check(GOOD);
    walk.now = walk.now.plus(Millis::from_secs(120));
    walk.happen("agent restarts", walk.controller.restarted(walk.now));
    walk.hello(|_| ());
    walk.check(GOOD);
    walk.answers("load", YES);
    walk.check(GOOD);
    walk.now = walk.now.plus(Millis::from_secs(120));
    walk.happen("agent restarts", walk.controller.restarted(walk.now));
    for _ in 0..7 {
        walk.timer();
    }
    walk.compare();
}

#[test]
fn a_retry_is_held_to_what_a_release_is() {
    let mut walk = Walk::new("retry", |spec| {
        to_half(spec);
        spec.promotion = Promotion::Swap;
    });
    walk.release("v2");
    walk.ask("abort", abort());
    walk.hello(|said| said.default_upstreams.push((id("web"), upstream("web-canary"))));
    walk.ask("retry", retry());
    walk.hello(|_| ());
    walk.ask("retry", retry());
    walk.check(GOOD);
    walk.worker_adopts();
    walk.ask("retry", retry());
    walk.compare();
}

#[test]
fn the_first_traffic_is_held_back_whoever_allows_it() {
    let board = |spec: &mut Spec| spec.outside.hooks = vec![call("board", HookKind::ConfirmRollout)];
    let mut walk = Walk::new("held_before_traffic", board);
    walk.release("v2");
    walk.declare(|spec| {
        board(spec);
        spec.course.suspend = true;
    });
    walk.answers("board", YES);
    walk.ask("skip", skip());
    walk.ask("pause", by(|actor, reason| Verb::Pause { actor, reason }));
    walk.ask("resume", resume());
    walk.declare(board);
    walk.hello(|said| said.default_upstreams.push((id("web"), upstream("web-canary"))));
    walk.timer();
    walk.ask("skip", skip());
    walk.hello(|_| ());
    walk.timer();
    walk.compare();
}

#[test]
fn iterations_go_on_after_a_share_that_a_person_set() {
    let mut walk = Walk::new("iterations_by_hand", |spec| {
        spec.strategy = Strategy::Iterations(3);
        let headers = vec![("x-beta".into(), StringMatch::Present)];
        spec.rules = vec![MatchRule { headers, ..MatchRule::default() }];
    });
    walk.release("v2");
    walk.check(GOOD);
    walk.ask("set weight 5", set(5));
    walk.ask("resume", resume());
    for _ in 0..2 {
        walk.check(GOOD);
    }
    walk.compare();
}

#[test]
fn after_a_share_that_a_person_set_the_next_is_the_first_that_is_greater() {
    let mut walk = Walk::new("next_is_greater", |_| ());
    walk.release("v2");
    walk.ask("set weight 25", set(25));
    walk.ask("skip", skip());
    walk.ask("set weight 5", set(5));
    walk.ask("resume", resume());
    walk.check(GOOD);
    walk.ask("set weight 15", set(15));
    walk.ask("resume", resume());
    walk.check(GOOD);
    walk.ask("set weight 35", set(35));
    walk.ask("resume", resume());
    walk.check(GOOD);
    walk.compare();
}

#[test]
fn a_share_of_nothing_proves_nothing() {
    let mut walk = Walk::new("certificate_at_zero", |spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        spec.checks.iter_mut().for_each(|check| check.window = Millis::from_secs(600));
    });
    walk.release("v2");
    walk.report(GOOD);
    walk.ask("set weight 0", set(0));
    walk.ask("resume", resume());
    for _ in 0..3 {
        walk.timer();
    }
    walk.compare();
}

#[test]
fn all_traffic_is_given_only_with_the_approval_to_promote() {
    let mut walk = Walk::new("bake_is_approved", |spec| {
        to_half(spec);
        spec.course.bake = Some(Millis::from_secs(15));
        spec.outside.hooks = vec![call("owner", HookKind::ConfirmPromotion)];
    });
    walk.release("v2");
    walk.check(GOOD);
    walk.answers("owner", Reply::Hook(Err("not before ten".into())));
    walk.ask("set weight 100", set(100));
    walk.ask("resume", resume());
    walk.check(GOOD);
    walk.answers("owner", YES);
    for _ in 0..2 {
        walk.check(GOOD);
    }
    walk.compare();
}

#[test]
fn a_deadline_of_progress_runs_from_the_first_traffic() {
    let mut walk = Walk::new("deadline_of_progress", |spec| {
        to_half(spec);
        spec.course.deadlines = Deadlines { progressing: Some(Millis::from_secs(30)), ..Deadlines::default() };
        spec.outside.hooks = vec![gate("more", HookKind::ConfirmTrafficIncrease)];
    });
    walk.release("v2");
    for _ in 0..4 {
        walk.timer();
    }
    walk.ask("open more", open("more"));
    for _ in 0..3 {
        walk.check(NONE);
    }
    walk.compare();
}

#[test]
fn a_gate_is_shown_open_if_the_next_release_would_find_it_so() {
    let mut walk = Walk::new("gate_shown", |spec| {
        to_half(spec);
        spec.outside.hooks = vec![gate("board", HookKind::ConfirmRollout)];
    });
    let shown = |walk: &Walk| status::stored_gates(walk.controller.canary(&id("web")).unwrap(), walk.now)[0].open;
    walk.ask("open board beforehand", open("board"));
    assert!(shown(&walk), "for whichever comes next");
    walk.release("v2");
    assert!(shown(&walk), "for the one in progress");
    walk.ask("abort", abort());
    assert!(!shown(&walk), "it is bound to what has ended");
    walk.release("v3");
    assert!(!shown(&walk));
    walk.compare();
}

#[test]
fn a_gate_and_a_call_never_share_a_name() {
    for kinds in [[true, true], [true, false], [false, true], [false, false]] {
        let mut spec = fixture::spec("web");
        let hook = |is_gate| if is_gate { gate("x", HookKind::Rollback) } else { call("x", HookKind::Rollback) };
        spec.outside.hooks = kinds.map(hook).to_vec();
        let broken = Plan::new(spec).err().into_iter().flatten().map(|error| error.field).collect::<Vec<_>>();
        let expected: &[&str] = if kinds == [false, false] { &[] } else { &["spec.analysis.webhooks[1].name"] };
        assert_eq!(broken, expected, "{kinds:?}");
    }
}

/// What an approval is awaited for was proven. Bad answers, or some that are still to come, unprove it for a moment: that
/// is no news, takes nothing back, and is nothing to lose patience with.
#[test]
fn what_was_proven_waits_for_its_approval_though_it_is_unproven_for_a_moment() {
    let mut walk = Walk::new("unproven_at_a_gate", |spec| {
        on_certificate(spec, Otherwise::Fail, Otherwise::Pause);
        spec.strategy = Strategy::Steps(vec![percent(10), percent(30)]);
        spec.outside.hooks =
            vec![gate("more", HookKind::ConfirmTrafficIncrease), gate("winner", HookKind::ConfirmPromotion)];
    });
    walk.ask("open more", open("more"));
    walk.release("v2");
    walk.ask("close more", close("more"));
    for name in ["more", "winner"] {
        walk.report([700, 0, 0]);
        walk.timer();
        walk.report([3, 5, 0]);
        walk.get();
        walk.report([1500, 0, 0]);
        walk.report([3, 9, 0]);
        walk.now = walk.now.plus(Millis::from_secs(700));
        walk.report([10, 0, 0]);
        walk.ask(&format!("open {name}"), open(name));
        walk.get();
        walk.report([4000, 0, 0]);
    }
    walk.compare();
}

#[test]
fn a_slow_approval_does_not_end_what_the_check_agreed_to() {
    let mut walk = Walk::new("slow_approval", |spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        spec.outside.hooks = vec![call("load", HookKind::Rollout), call("more", HookKind::ConfirmTrafficIncrease)];
    });
    walk.release("v2");
    walk.answers("more", YES);
    for _ in 0..10 {
        walk.report([300, 0, 0]);
    }
    walk.answers("load", YES);
    for _ in 0..12 {
        walk.report([300, 0, 0]);
    }
    walk.answers("more", YES);
    walk.compare();
}
