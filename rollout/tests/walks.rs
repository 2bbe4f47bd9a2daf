//! Releases as tables that a person can review; see `fixture/walk.rs`.
//!
//! `UPDATE=1 cargo test -p rollout --test walks` rewrites them after a change that is meant.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::{Event, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::release::plan::{Promotion, Spec, Stop, Strategy};
use rollout::routing::request::{MatchRule, StringMatch};
use rollout::routing::table::WeightPpm;

use fixture::walk::{BAD, GOOD, NONE, SLOW, Walk, release};
use fixture::{hook, id, on_certificate, percent, unsupported, upstream, word};

fn every_verb() -> Vec<(&'static str, Verb)> {
    let (actor, reason) = (word("bob"), String::new());
    vec![
        ("confirm", Verb::Confirm { actor: actor.clone(), reason: String::new() }),
        ("resume", Verb::Resume { actor: actor.clone(), reason: String::new() }),
        ("promote", Verb::Promote { actor: actor.clone(), reason: String::new() }),
        ("pause", Verb::Pause { actor: actor.clone(), reason: reason.clone() }),
        ("abort", Verb::Abort { actor, reason }),
    ]
}

#[test]
fn good_by_copy_with_hook() {
    let mut walk = Walk::new("good_by_copy_with_hook", |spec| spec.promotion = hook());
    walk.release("v2");
    (0..3).for_each(|_| walk.check(GOOD));
    walk.hook_answers(Ok(()));
    walk.worker_adopts();
    walk.get();
    walk.compare();
}

/// It lasts longer than the plan is patient with what nothing was proven on; the second step is such a one.
#[test]
fn a_step_that_was_proven_is_not_given_up_when_a_failure_unproves_it() {
    let spec = |suspend| {
        move |spec: &mut Spec| {
            on_certificate(spec, Otherwise::Fail, Otherwise::Hold);
            spec.strategy = Strategy::Steps([10, 30].map(percent).to_vec());
            spec.course.stops = vec![Stop { dwell: Millis::from_secs(3_600), ..Stop::default() }];
            spec.course.suspend = suspend;
        }
    };
    let mut walk = Walk::new("proven_and_dwells", spec(false));
    walk.release("v2");
    walk.report([400, 0, 0]);
    walk.now = walk.now.plus(Millis::from_secs(700));
    walk.report([0, 1, 0]);
    walk.declare(spec(true));
    walk.report([1, 0, 0]);
    walk.now = walk.now.plus(Millis::from_secs(3_600));
    walk.report([1, 0, 0]);
    walk.declare(spec(false));
    walk.report([1, 0, 0]);
    walk.report([300, 0, 0]);
    walk.now = walk.now.plus(Millis::from_secs(700));
    walk.report([300, 0, 0]);
    walk.compare();
}

/// As many good checks as there are iterations, on the requests that the rules place; nobody else comes there.
#[test]
fn a_b_is_promoted_after_its_iterations_and_cut_by_its_failed_checks() {
    let mut walk = Walk::new("a_b", |spec| {
        spec.strategy = Strategy::Iterations(3);
        let cookies = vec![("type".into(), StringMatch::Exact("insider".into()))];
        spec.rules = vec![MatchRule { cookies, ..MatchRule::default() }];
    });
    walk.release("v2");
    [GOOD, NONE, BAD, GOOD, GOOD].into_iter().for_each(|requests| walk.check(requests));
    walk.ask("confirm", every_verb().remove(0).1);
    walk.worker_adopts();
    walk.release("v3");
    (0..3).for_each(|_| walk.check(BAD));
    walk.get();
    walk.compare();
}

#[test]
fn good_by_copy_with_confirm_after_a_failed_hook() {
    let mut walk = Walk::new("good_by_copy_with_confirm", |spec| spec.promotion = hook());
    walk.release("v2");
    (0..3).for_each(|_| walk.check(GOOD));
    walk.hook_answers(Err("status 500"));
    walk.get();
    walk.ask("confirm", Verb::Confirm { actor: word("ana"), reason: String::new() });
    walk.hook_answers(Ok(()));
    walk.timer();
    walk.compare();
}

#[test]
fn proven_by_its_own_requests_step_by_step() {
    let mut walk = Walk::new("on_certificate", |spec| {
        on_certificate(spec, Otherwise::Pause, Otherwise::Hold);
        spec.promotion = Promotion::Swap;
    });
    walk.release("v2");
    walk.timer();
    walk.report([200, 0, 0]);
    walk.report([171, 0, 0]);
    walk.report([1, 0, 0]);
    walk.report([700, 1, 0]);
    walk.get();
    walk.timer();
    walk.report([0, 0, 0]);
    walk.timer();
    walk.timer();
    walk.get();
    walk.report([400, 0, 0]);
    walk.compare();
}

#[test]
fn good_by_swap_and_the_next_release() {
    let mut walk = Walk::new("good_by_swap", |spec| spec.promotion = Promotion::Swap);
    walk.release("v2");
    (0..3).for_each(|_| walk.check(GOOD));
    walk.worker_adopts();
    walk.get();
    walk.release("v3");
    walk.hello(|said| said.default_upstreams.push((id("web"), upstream("web-canary"))));
    walk.get();
    walk.release("v3");
    walk.declare(|spec| std::mem::swap(&mut spec.primary, &mut spec.canary));
    (0..3).for_each(|_| walk.check(BAD));
    walk.get();
    walk.compare();
}

#[test]
fn an_abort_in_finalising_takes_a_swap_back() {
    let mut walk = Walk::new("abort_in_finalising", |spec| spec.promotion = Promotion::Swap);
    walk.release("v2");
    (0..3).for_each(|_| walk.check(GOOD));
    walk.ask("abort", Verb::Abort { actor: word("bob"), reason: "checkout is broken".into() });
    walk.get();
    walk.compare();
}

#[test]
fn the_third_failed_check_rolls_back() {
    let mut walk = Walk::new("third_failed_check", |_| ());
    walk.release("v2");
    [BAD, GOOD, SLOW, NONE, [80, 15, 5]].into_iter().for_each(|traffic| walk.check(traffic));
    walk.get();
    walk.compare();
}

#[test]
fn no_traffic_holds_and_says_so() {
    let mut walk = Walk::new("no_traffic", |_| ());
    walk.release("v2");
    [NONE, NONE].into_iter().for_each(|traffic| walk.check(traffic));
    walk.get();
    walk.check(BAD);
    walk.get();
    walk.check(GOOD);
    walk.compare();
}

#[test]
fn unsupported_holds_until_it_is_accepted() {
    let mut walk = Walk::new("unsupported", |spec| spec.unsupported.push(unsupported()));
    walk.release("v2");
    walk.check(NONE);
    walk.get();
    walk.ask("promote", Verb::Promote { actor: word("bob"), reason: String::new() });
    walk.ask("pause", Verb::Pause { actor: word("bob"), reason: "lunch".into() });
    walk.ask("release v2, accepted", release("v2", true));
    walk.ask("resume", Verb::Resume { actor: word("bob"), reason: String::new() });
    walk.ask("release v2, accepted", release("v2", true));
    walk.check(GOOD);
    walk.compare();
}

#[test]
fn a_paused_release_does_not_advance_but_a_bad_canary_is_still_cut() {
    let mut walk = Walk::new("paused", |spec| spec.threshold = 2);
    walk.release("v2");
    walk.ask("pause", Verb::Pause { actor: word("bob"), reason: "lunch".into() });
    walk.check(GOOD);
    walk.get();
    walk.ask("resume", Verb::Resume { actor: word("bob"), reason: String::new() });
    walk.check(GOOD);
    walk.ask("pause", Verb::Pause { actor: word("bob"), reason: String::new() });
    [BAD, BAD].into_iter().for_each(|traffic| walk.check(traffic));
    walk.ask("resume", Verb::Resume { actor: word("bob"), reason: String::new() });
    walk.compare();
}

#[test]
fn promoted_early_and_still_cut_while_it_waits() {
    let mut walk = Walk::new("promoted_early", |spec| spec.threshold = 1);
    walk.release("v2");
    walk.ask("promote", Verb::Promote { actor: word("bob"), reason: String::new() });
    walk.check(GOOD);
    walk.check(BAD);
    walk.compare();
}

#[test]
fn each_verb_in_each_phase_where_it_makes_no_sense() {
    let mut walk = Walk::new("refused_verbs", |_| ());
    let refuse = |walk: &mut Walk, verbs: usize| {
        every_verb().into_iter().take(verbs).for_each(|(what, verb)| walk.ask(what, verb));
    };
    refuse(&mut walk, 5);
    walk.release("v2");
    refuse(&mut walk, 2);
    (0..3).for_each(|_| walk.check(GOOD));
    every_verb().into_iter().skip(1).take(2).for_each(|(what, verb)| walk.ask(what, verb));
    walk.ask("confirm", Verb::Confirm { actor: word("ana"), reason: String::new() });
    refuse(&mut walk, 5);
    walk.release("v3");
    walk.worker_adopts();
    refuse(&mut walk, 5);
    walk.happen("abort an unknown canary", Event::Requested(id("cart"), every_verb().remove(4).1));
    walk.compare();
}

#[test]
fn a_release_onto_what_a_proxy_serves_by_default_is_refused() {
    let mut walk = Walk::new("default_upstream", |_| ());
    walk.hello(|said| said.default_upstreams.push((id("web"), upstream("web-canary"))));
    walk.get();
    walk.release("v2");
    walk.hello(|_| ());
    walk.release("v2");
    walk.hello(|said| said.default_upstreams.push((id("web"), upstream("web-canary"))));
    [GOOD, GOOD].into_iter().for_each(|traffic| walk.check(traffic));
    walk.get();
    walk.compare();
}

#[test]
fn a_newer_revision_takes_over_and_follows_the_newer_manifest() {
    let mut walk = Walk::new("new_revision_and_manifest", |_| ());
    walk.release("v2");
    walk.check(GOOD);
    walk.check(BAD);
    walk.declare(|spec| spec.strategy = Strategy::Steps(vec![percent(5), WeightPpm::new(505_000).unwrap()]));
    walk.release("v2");
    walk.check(GOOD);
    walk.release("v3");
    (0..2).for_each(|_| walk.check(GOOD));
    walk.declare(|spec| spec.threshold = 1);
    walk.ask("abort", Verb::Abort { actor: word("bob"), reason: "wrong build".into() });
    walk.release("v4");
    walk.check(BAD);
    walk.happen("manifest removed", Event::Withdrawn(id("web")));
    walk.compare();
}

#[test]
fn a_cut_that_was_lost_with_the_agent() {
    let mut walk = Walk::new("lost_abort", |_| ());
    walk.release("v2");
    walk.adopt();
    let stored = walk.controller.clone();
    walk.ask("abort", Verb::Abort { actor: word("bob"), reason: "errors".into() });
    walk.forget_last(stored);
    walk.happen("agent restarts without the abort", walk.controller.restarted(walk.now));
    walk.hello(|_| ());
    walk.get();
    walk.compare();
}
