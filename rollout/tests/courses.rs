//! What a release does besides climbing its weights, as tables that a person can review: approvals, hooks, metrics of
//! other servers, mirroring, blue/green, verbs by hand, deadlines. See `fixture/walk.rs`.
//!
//! `UPDATE=1 cargo test -p rollout --test courses` rewrites them after a change that is meant.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::{Event, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::release::inquiry::Reply;
use rollout::release::integrations::{HookKind, MetricError, Severity};
use rollout::release::plan::{Deadlines, Stop, Strategy};

use fixture::walk::{BAD, GOOD, NONE, Walk, close, open, release};
use fixture::{alert, by, call, gate, hook, metric, on_certificate, percent, word};

const YES: Reply = Reply::Hook(Ok(()));

fn no(why: &str) -> Reply {
    Reply::Hook(Err(why.into()))
}

#[test]
fn a_rollback_hook_cuts_at_once() {
    let mut walk = Walk::new("rollback_hook", |spec| {
        spec.outside.hooks = vec![call("load", HookKind::Rollout), call("undo", HookKind::Rollback)];
        spec.outside.alerts = vec![alert("errors", Severity::Error), alert("all", Severity::Info)];
    });
    walk.release("v2");
    walk.answers("undo", no("no need"));
    walk.check(GOOD);
    walk.answers("undo", YES);
    walk.answers("load", YES);
    walk.compare();
}

#[test]
fn a_slow_hook_delays_no_cut() {
    let mut walk = Walk::new("slow_hook", |spec| {
        spec.outside.hooks = vec![call("load", HookKind::Rollout)];
        spec.threshold = 2;
    });
    walk.release("v2");
    walk.check(GOOD);
    walk.check(GOOD);
    walk.check(BAD);
    walk.answers("load", YES);
    walk.check(GOOD);
    let asked_at = walk.now;
    walk.check(BAD);
    assert_eq!(walk.now.since(asked_at), Millis::from_secs(10), "an interval after it was asked");
    walk.compare();
}

#[test]
fn a_silent_hook_counts_as_a_refusal() {
    let mut walk = Walk::new("silent_hook", |spec| spec.outside.hooks = vec![call("load", HookKind::Rollout)]);
    walk.release("v2");
    for _ in 0..24 {
        walk.timer();
    }
    walk.compare();
}

#[test]
fn stored_gates_are_closed_until_somebody_opens_them() {
    let mut walk = Walk::new("stored_gates", |spec| {
        spec.strategy = Strategy::Steps([50].map(percent).to_vec());
        spec.outside.hooks = vec![
            gate("change-board", HookKind::ConfirmRollout),
            gate("owner", HookKind::ConfirmPromotion),
            gate("red-button", HookKind::Rollback),
        ];
    });
    walk.ask("open an unknown gate", open("door"));
    walk.release("v2");
    walk.timer();
    walk.ask("open change-board", open("change-board"));
    walk.check(GOOD);
    walk.ask("open owner", open("owner"));
    walk.check(GOOD);
    walk.ask("press red-button", open("red-button"));
    walk.ask("retry", Verb::Retry { actor: word("ana"), reason: "fixed".into() });
    walk.check(GOOD);
    // An approval is for a revision and outlives an abort, but not another revision.
    walk.ask("abort", Verb::Abort { actor: word("ana"), reason: String::new() });
    walk.release("v2");
    walk.check(GOOD);
    walk.release("v3");
    walk.ask("abort", Verb::Abort { actor: word("ana"), reason: String::new() });
    walk.release("v2");
    walk.compare();
}

#[test]
fn blind_is_not_bad() {
    let mut walk = Walk::new("blind_metric", |spec| {
        spec.outside.metrics.push(metric("errors"));
        spec.outside.blind_limit = 1;
        spec.threshold = 2;
    });
    walk.release("v2");
    walk.check(GOOD);
    walk.answers("errors", Reply::Metric(Ok(11.5)));
    walk.check(GOOD);
    walk.answers("errors", Reply::Metric(Err(MetricError::NoValue)));
    walk.check(GOOD);
    walk.answers("errors", Reply::Metric(Err(MetricError::Failed("connection refused".into()))));
    walk.compare();
}

#[test]
fn blue_green_with_a_mirrored_stage() {
    let mut walk = Walk::new("blue_green", |spec| {
        spec.strategy = Strategy::Iterations(2);
        spec.course.mirror = Some(percent(100));
        spec.outside.hooks = vec![gate("owner", HookKind::ConfirmPromotion), call("load", HookKind::Rollout)];
    });
    walk.release("v2");
    for _ in 0..2 {
        walk.check(GOOD);
        walk.answers("load", YES);
    }
    walk.ask("open owner", open("owner"));
    walk.check(GOOD);
    walk.answers("load", YES);
    walk.compare();
}

#[test]
fn blue_green_without_any_traffic_is_judged_by_its_hooks() {
    let mut walk = Walk::new("blue_green_dark", |spec| {
        spec.strategy = Strategy::Iterations(1);
        spec.outside.hooks = vec![call("load", HookKind::Rollout)];
    });
    walk.release("v2");
    walk.check(NONE);
    walk.answers("load", YES);
    walk.check(BAD);
    walk.check(BAD);
    walk.check(BAD);
    walk.compare();
}

#[test]
fn mirrored_first_then_in_steps() {
    let mut walk = Walk::new("mirrored_first", |spec| spec.course.mirror = Some(percent(50)));
    walk.release("v2");
    walk.check(GOOD);
    walk.check(GOOD);
    walk.compare();
}

#[test]
fn traffic_returns_in_steps_after_it_has_baked() {
    let mut walk = Walk::new("returns_in_steps", |spec| {
        spec.strategy = Strategy::Steps([50].map(percent).to_vec());
        spec.course.bake = Some(Millis::from_secs(25));
        spec.course.promotion_step = Some(percent(40));
        spec.promotion = hook();
    });
    walk.release("v2");
    for _ in 0..4 {
        walk.check(GOOD);
    }
    walk.answers("promote", YES);
    walk.timer();
    walk.ask("abort", Verb::Abort { actor: word("ana"), reason: String::new() });
    walk.timer();
    walk.worker_adopts();
    walk.compare();
}

#[test]
fn steps_with_dwell_and_stop() {
    let mut walk = Walk::new("dwell_and_stop", |spec| {
        let stop = |seconds, pause| Stop { dwell: Millis::from_secs(seconds), pause };
        spec.course.stops = vec![stop(25, false), stop(0, true)];
    });
    walk.release("v2");
    for _ in 0..4 {
        walk.check(GOOD);
    }
    walk.ask("resume", by(|actor, reason| Verb::Resume { actor, reason }));
    walk.check(GOOD);
    walk.compare();
}

#[test]
fn driven_by_hand() {
    let mut walk = Walk::new("driven_by_hand", |spec| {
        spec.outside.hooks = vec![gate("board", HookKind::ConfirmRollout), gate("owner", HookKind::ConfirmPromotion)];
    });
    walk.ask("retry", Verb::Retry { actor: word("ana"), reason: String::new() });
    walk.release("v2");
    walk.ask("promote", by(|actor, reason| Verb::Promote { actor, reason }));
    walk.ask("set weight 25", by(|actor, reason| Verb::SetWeight { weight: percent(25), actor, reason }));
    walk.ask("skip", by(|actor, reason| Verb::Skip { actor, reason }));
    walk.ask("set weight 25", by(|actor, reason| Verb::SetWeight { weight: percent(25), actor, reason }));
    walk.check(GOOD);
    walk.ask("resume", by(|actor, reason| Verb::Resume { actor, reason }));
    walk.check(GOOD);
    walk.check(GOOD);
    walk.ask("skip", by(|actor, reason| Verb::Skip { actor, reason }));
    walk.ask("skip", by(|actor, reason| Verb::Skip { actor, reason }));
    walk.ask("abort", by(|actor, reason| Verb::Abort { actor, reason }));
    walk.ask("retry", Verb::Retry { actor: word("ana"), reason: String::new() });
    walk.ask("retry", Verb::Retry { actor: word("ana"), reason: String::new() });
    walk.compare();
}

#[test]
fn analysis_is_skipped_when_the_manifest_says_so() {
    let mut walk = Walk::new("analysis_skipped", |spec| {
        spec.course.skip_analysis = true;
        spec.outside.hooks = vec![gate("board", HookKind::ConfirmRollout)];
    });
    walk.release("v2");
    walk.ask("open board", open("board"));
    walk.timer();
    walk.ask("confirm", Verb::Confirm { actor: word("ana"), reason: String::new() });
    walk.compare();
}

#[test]
fn a_suspended_canary_stands_still_and_is_still_cut() {
    let mut walk = Walk::new("suspended", |_| ());
    walk.release("v2");
    walk.declare(|spec| spec.course.suspend = true);
    walk.check(GOOD);
    walk.release("v3");
    for _ in 0..3 {
        walk.check(BAD);
    }
    walk.release("v3");
    walk.compare();
}

#[test]
fn the_promoted_revision_ends_a_release() {
    let mut walk = Walk::new("reverted", |spec| spec.strategy = Strategy::Steps([50].map(percent).to_vec()));
    walk.release("v1");
    walk.check(GOOD);
    walk.ask("confirm", Verb::Confirm { actor: word("ana"), reason: String::new() });
    walk.worker_adopts();
    walk.release("v2");
    walk.release("v1");
    walk.release("v1");
    walk.compare();
}

#[test]
fn a_newer_revision_waits_for_its_own_approval() {
    let mut walk = Walk::new("newer_revision_waits", |spec| {
        spec.outside.hooks = vec![gate("board", HookKind::ConfirmRollout)];
    });
    walk.ask("open board beforehand", open("board"));
    walk.release("v2");
    walk.check(GOOD);
    walk.release("v3");
    walk.ask("open board", open("board"));
    walk.compare();
}

#[test]
fn deadlines_end_what_nobody_ends() {
    let mut walk = Walk::new("deadlines", |spec| {
        let minute = Some(Millis::from_secs(60));
        spec.course.deadlines =
            Deadlines { waiting: minute, progressing: minute, waiting_promotion: minute, promoting: minute };
        spec.outside.hooks = vec![gate("board", HookKind::ConfirmRollout)];
    });
    walk.release("v2");
    for _ in 0..6 {
        walk.timer();
    }
    walk.happen("the worker's clock", Event::Timer);
    let actor = word("ana");
    walk.ask("release v3", release("v3", false));
    walk.ask("skip", Verb::Skip { actor, reason: String::new() });
    for _ in 0..6 {
        walk.check(NONE);
    }
    walk.compare();
}

#[test]
fn on_certificate_with_hooks_metrics_and_gates() {
    let mut walk = Walk::new("certificate_and_hooks", |spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        spec.outside.metrics.push(metric("errors"));
        spec.outside.hooks = vec![gate("more", HookKind::ConfirmTrafficIncrease)];
    });
    walk.ask("open more", open("more"));
    walk.release("v2");
    for _ in 0..11 {
        walk.report([300, 0, 0]);
    }
    walk.answers("errors", Reply::Metric(Ok(1.0)));
    walk.report([300, 0, 0]);
    walk.ask("close more", close("more"));
    for _ in 0..12 {
        walk.report([300, 0, 0]);
    }
    walk.answers("errors", Reply::Metric(Ok(1.0)));
    walk.report([300, 0, 0]);
    walk.ask("open more", open("more"));
    walk.compare();
}

#[test]
fn on_certificate_a_closed_red_button_holds_nothing() {
    let mut walk = Walk::new("certificate_and_red_button", |spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        spec.outside.hooks = vec![gate("red-button", HookKind::Rollback), gate("owner", HookKind::ConfirmPromotion)];
    });
    walk.release("v2");
    for _ in 0..34 {
        walk.report([300, 0, 0]);
    }
    walk.ask("open owner", open("owner"));
    walk.compare();
}
