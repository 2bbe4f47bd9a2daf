//! What `serin explain` says, from a release's first moment to after its end: the line, and numbers that agree with it.

#![cfg(test)]

mod fixture;

use fixture::scene::Scene;
use fixture::{call, id, metric, on_certificate, word};
use rollout::base::names::ReleaseId;
use rollout::base::time::{Micros, Millis};
use rollout::controller::{Event, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::judgement::guards::GuardAction;
use rollout::release::inquiry::{CallId, Callee, Reply};
use rollout::release::integrations::{HookKind, MetricError};
use rollout::view::explanation::{Explanation, explain};
use rollout::view::status;

const FAST: Micros = Micros(9_000);

fn certified() -> Scene {
    Scene::new(|spec| on_certificate(spec, Otherwise::Hold, Otherwise::Hold))
}

fn explained(scene: &Scene) -> Explanation {
    explain(scene.canary(), Millis(1_000 + scene.number * 100))
}

#[test]
fn a_release_says_how_far_it_is_from_its_certificate() {
    let mut scene = certified();
    assert_eq!(explained(&scene).summary, "web v2 at 10 %: step 1 has just begun");
    scene.serve([90, 0], 0, FAST);
    let nothing = "web v2 at 10 %: no canary request on step 1 yet: there is nothing to judge";
    assert_eq!(explained(&scene).summary, nothing);
    (0..10).for_each(|_| drop(scene.serve([90, 10], 0, FAST)));
    let shown = explained(&scene);
    let line = "web v2 at 10 %: 26 % of the way to the certificate of step 1; about 272 more good requests";
    assert_eq!(shown.summary, line);
    let certificate = shown.certificate.unwrap();
    assert_eq!((certificate.on_step_ms, certificate.dwell_ms), (1_100, 10_000));
    assert_eq!((certificate.guards[0].guard.as_str(), certificate.guards[0].requests_to_go), ("slo", 272));
    (0..30).for_each(|_| drop(scene.serve([90, 10], 0, FAST)));
    assert_eq!(explained(&scene).summary, "web v2 at 10 %: step 1 is certified; at least 6 s more on it");
}

#[test]
fn an_abort_names_its_guard_and_its_counts_to_the_end() {
    let mut scene = certified();
    while scene.canary().phase.run().is_some() {
        scene.serve([90, 10], 2, FAST);
    }
    let shown = explained(&scene);
    let slo = &shown.guards[0];
    let Some(counts) = shown.summary.strip_prefix("web v2 was aborted by guard ") else { panic!("{}", shown.summary) };
    let (guard, _) = counts.split_once(':').unwrap();
    let forced = shown.guards.iter().find(|guard| guard.verdict == "bad").unwrap();
    assert_eq!(forced.guard, guard);
    let of = format!("{} of {} requests failed", forced.canary.events, forced.canary.trials);
    assert!(counts.contains(&of), "{}", shown.summary);
    assert_eq!(shown.toward_abort, 1.0);
    let [low, estimate, high] = slo.difference;
    assert!(low < estimate && (estimate - 20.0).abs() < 1e-9 && estimate < high, "{:?}", slo.difference);
    assert!(shown.certificate.is_none() && shown.revision.as_deref() == Some("v2"));
    // What `serin get` shows is the same.
    let status = status::canary(&scene.controller, scene.canary(), Millis(9_000_000));
    for (shown, got) in shown.guards.iter().zip(&status.guards) {
        assert_eq!((shown.canary.events, shown.canary.trials), (got.canary_events, got.canary_trials));
    }
    // Late reports change what is counted, not what was decided.
    scene.serve([90, 1], 0, FAST);
    assert_eq!(explained(&scene).summary, shown.summary);
}

#[test]
fn strata_add_up_to_the_versions() {
    let mut scene = certified();
    (0..120).for_each(|_| drop(scene.serve([90, 10], 0, FAST)));
    let shown = explained(&scene);
    assert_eq!(shown.strata.len(), 4, "two epochs, two versions");
    assert_eq!(shown.strata[0].weight_percent, Some(10.0));
    for version in &shown.versions {
        let of = shown.strata.iter().filter(|stratum| stratum.version == version.version);
        assert_eq!(of.map(|stratum| stratum.requests).sum::<u64>(), version.started);
    }
}

#[test]
fn checks_pauses_and_people_are_told_too() {
    let mut scene = Scene::guarded(GuardAction::Abort);
    scene.serve([90, 10], 0, FAST);
    let line = "web v2 at 10 %: evidence for an abort 0 %; its checks advance it, 0 of 3 failed";
    assert_eq!(explained(&scene).summary, line);
    let (actor, reason) = (word("ann"), "lunch".to_owned());
    scene.happen(Event::Requested(id("web"), Verb::Pause { actor: actor.clone(), reason: reason.clone() }));
    assert_eq!(explained(&scene).summary, line.replace("evidence", "paused; evidence"));
    scene.happen(Event::Requested(id("web"), Verb::Abort { actor, reason }));
    assert_eq!(explained(&scene).summary, "web v2 was aborted: requested by ann: lunch");
}

#[test]
fn a_guard_that_only_pauses_or_reports_is_named() {
    for (action, said) in [(GuardAction::Pause, "paused; "), (GuardAction::Notify, "")] {
        let mut scene = Scene::guarded(action);
        for _ in 0..3 {
            scene.serve([90, 10], 6, FAST);
        }
        let shown = explained(&scene).summary;
        let [verb, guard] =
            [if said.is_empty() { "; only reported, by guard" } else { "; stopped by guard" }, "requests failed"];
        assert!(shown.starts_with(&format!("web v2 at 10 %: {said}evidence for an abort")), "{shown}");
        assert!(shown.contains(verb) && shown.contains(guard), "{shown}");
    }
}

#[test]
fn guards_are_shown_before_they_have_seen_anything() {
    let scene = certified();
    let shown = explained(&scene);
    assert!(!shown.guards.is_empty());
    assert!(shown.guards.iter().all(|guard| guard.verdict == "undecided" && guard.toward_action == 0.0));
}

#[test]
fn checks_that_pass_are_shown_and_stay_as_they_were_looked_at_last() {
    let mut scene = Scene::guarded(GuardAction::Notify);
    scene.serve([90, 10], 0, FAST);
    let shown = explained(&scene);
    assert_eq!(shown.checks.len(), 2);
    for check in &shown.checks {
        assert_eq!((check.verdict.as_str(), check.requests, check.at_ms), ("pass", 10, None), "{check:?}");
    }
    assert_eq!((shown.checks[0].value, shown.checks[0].min), (Some(100.0), Some(99.0)));
    for _ in 0..2_000 {
        scene.serve([90, 10], 5, FAST);
        scene.happen(Event::Timer);
    }
    let shown = explain(scene.canary(), Millis(90_000_000));
    let failed = &shown.checks[0];
    let ended_at = scene.canary().phase.ended().unwrap().at.0;
    assert_eq!((failed.verdict.as_str(), failed.at_ms), ("fail", Some(ended_at)), "{failed:?}");
    assert!(failed.value.unwrap() < 99.0 && failed.requests > 10, "what was seen then: {failed:?}");
    assert!(explained(&certified()).checks.is_empty(), "certificates have no use for checks");
}

#[test]
fn hooks_and_metric_servers_are_shown_with_what_they_said_last() {
    let mut scene = Scene::new(|spec| {
        spec.outside.hooks.push(call("board", HookKind::ConfirmRollout));
        spec.outside.hooks.push(call("load", HookKind::Rollout));
        spec.outside.metrics.push(metric("errors"));
    });
    let answer = |scene: &mut Scene, round, callee, reply| {
        let call = CallId { release: ReleaseId(1), round, callee };
        scene.happen(Event::Reply { canary: id("web"), call, reply });
    };
    let states = |scene: &Scene| explained(scene).hooks.iter().map(|hook| hook.state.clone()).collect::<Vec<_>>();
    assert_eq!(states(&scene), ["asked", "notAsked"]);
    answer(&mut scene, 7, Callee::Hook(0), Reply::Hook(Ok(())));
    assert_eq!(states(&scene), ["asked", "notAsked"], "an answer to no open question is not kept");
    answer(&mut scene, 1, Callee::Hook(0), Reply::Hook(Err("not yet".into())));
    let shown = explained(&scene);
    assert_eq!((shown.hooks[0].state.as_str(), shown.hooks[0].said.as_deref()), ("refused", Some("not yet")));
    assert_eq!(shown.metrics[0].verdict, "notAsked");
    let mut round = 1;
    let mut verdicts = Vec::new();
    let replies = [Ok(3.0), Ok(11.0), Err(MetricError::Failed("timed out".into()))];
    let mut replies = replies.into_iter();
    for _ in 0..4_000 {
        if verdicts.len() == 3 {
            break;
        }
        scene.serve([90, 10], 0, FAST);
        scene.happen(Event::Timer);
        let run = scene.canary().phase.run().expect("it goes on");
        let inquiry = scene.canary().phase.inquiry().cloned();
        let Some(inquiry) = inquiry.filter(|_| run.round > round) else { continue };
        round = run.round;
        for callee in inquiry.open {
            let asks_metric = matches!(callee, Callee::Metric(_));
            let reply = if asks_metric { Reply::Metric(replies.next().unwrap()) } else { Reply::Hook(Ok(())) };
            answer(&mut scene, round, callee, reply);
            if asks_metric {
                let metric = explained(&scene).metrics.remove(0);
                assert_eq!(metric.asked_at_ms, Some(1_000 + scene.number * 100));
                verdicts.push((metric.verdict, metric.value, metric.error));
            }
        }
    }
    let expected = [("pass", Some(3.0), None), ("fail", Some(11.0), None), ("noValue", None, Some("timed out"))];
    let expected = expected.map(|(verdict, value, error)| (verdict.to_owned(), value, error.map(str::to_owned)));
    assert_eq!(verdicts, expected);
    assert_eq!(states(&scene), ["agreed", "agreed"]);
}

#[test]
fn a_step_says_how_long_it_takes_at_its_rate() {
    let mut scene = certified();
    let status = |scene: &Scene| status::canary(&scene.controller, scene.canary(), Millis(1_000 + scene.number * 100));
    assert_eq!((status(&scene).requests_per_second, status(&scene).step_remaining_ms), (None, None));
    (0..20).for_each(|_| drop(scene.serve([90, 10], 0, FAST)));
    let shown = status(&scene);
    assert_eq!((shown.started_at_ms, shown.ran_ms, shown.on_step_ms), (Some(1_000), Some(2_000), Some(2_000)));
    assert_eq!(shown.requests_per_second, Some(100.0));
    // 172 more requests take 1.72 s at that rate, but a step lasts 10 s at the least.
    assert_eq!(explained(&scene).certificate.unwrap().guards[0].requests_to_go, 172);
    assert_eq!(shown.step_remaining_ms, Some(8_000));
    let (actor, reason) = (word("ann"), "lunch".to_owned());
    scene.happen(Event::Requested(id("web"), Verb::Pause { actor, reason }));
    assert_eq!(status(&scene).step_remaining_ms, None, "a person decides");
    let later = status::canary(&scene.controller, scene.canary(), Millis(63_000));
    assert_eq!((later.ran_ms, later.on_step_ms), (Some(62_000), Some(62_000)));
}
