//! What `serin explain` says, from a release's first moment to after its end: the line, and numbers that agree with it.

#![cfg(test)]

mod fixture;

use fixture::scene::Scene;
use fixture::{id, on_certificate, word};
use rollout::base::time::{Micros, Millis};
use rollout::controller::{Event, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::judgement::guards::GuardAction;
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
    assert_eq!(explained(&scene).summary, "web v2 at 10 %: not cut; step 1 has just begun");
    scene.serve([90, 0], 0, FAST);
    let nothing = "web v2 at 10 %: not cut, and no canary request on step 1 yet: there is nothing to judge";
    assert_eq!(explained(&scene).summary, nothing);
    (0..10).for_each(|_| drop(scene.serve([90, 10], 0, FAST)));
    let told = explained(&scene);
    let line = "web v2 at 10 %: not cut, 26 % of the way to the certificate of step 1; about 272 more good requests";
    assert_eq!(told.summary, line);
    let certificate = told.certificate.unwrap();
    assert_eq!((certificate.on_step_ms, certificate.dwell_ms), (1_100, 10_000));
    assert_eq!((certificate.guards[0].guard.as_str(), certificate.guards[0].requests_to_go), ("slo", 272));
    (0..30).for_each(|_| drop(scene.serve([90, 10], 0, FAST)));
    assert_eq!(
        explained(&scene).summary,
        "web v2 at 10 %: not cut, step 1 is certified; it lasts 6 s more at the least"
    );
}

#[test]
fn a_cut_names_its_guard_and_its_counts_for_ever() {
    let mut scene = certified();
    while scene.canary().phase.run().is_some() {
        scene.serve([90, 10], 2, FAST);
    }
    let told = explained(&scene);
    let slo = &told.guards[0];
    let Some(counts) = told.summary.strip_prefix("web v2 was cut by guard ") else { panic!("{}", told.summary) };
    let (guard, _) = counts.split_once(':').unwrap();
    let forced = told.guards.iter().find(|guard| guard.verdict == "bad").unwrap();
    assert_eq!(forced.guard, guard);
    let of = format!("{} of {} requests failed", forced.canary.events, forced.canary.trials);
    assert!(counts.contains(&of), "{}", told.summary);
    assert_eq!(told.toward_abort, 1.0);
    let [low, estimate, high] = slo.difference;
    assert!(low < estimate && (estimate - 20.0).abs() < 1e-9 && estimate < high, "{:?}", slo.difference);
    assert!(told.certificate.is_none() && told.revision.as_deref() == Some("v2"));
    // What `serin get` shows is the same.
    let status = status::canary(&scene.controller, scene.canary(), Millis(9_000_000));
    for (told, got) in told.guards.iter().zip(&status.guards) {
        assert_eq!((told.canary.events, told.canary.trials), (got.canary_events, got.canary_trials));
    }
    // Late reports change what is counted, not what was decided.
    scene.serve([90, 1], 0, FAST);
    assert_eq!(explained(&scene).summary, told.summary);
}

#[test]
fn strata_add_up_to_the_versions() {
    let mut scene = certified();
    (0..120).for_each(|_| drop(scene.serve([90, 10], 0, FAST)));
    let told = explained(&scene);
    assert_eq!(told.strata.len(), 4, "two epochs, two versions");
    assert_eq!(told.strata[0].weight_percent, Some(10.0));
    for version in &told.versions {
        let of = told.strata.iter().filter(|stratum| stratum.version == version.version);
        assert_eq!(of.map(|stratum| stratum.requests).sum::<u64>(), version.started);
    }
}

#[test]
fn checks_pauses_and_people_are_told_too() {
    let mut scene = Scene::guarded(GuardAction::Abort);
    scene.serve([90, 10], 0, FAST);
    let line = "web v2 at 10 %: not cut, its guards are 0 % of the way to it; its checks advance it, 0 of 3 failed";
    assert_eq!(explained(&scene).summary, line);
    let (actor, reason) = (word("ann"), "lunch".to_owned());
    scene.happen(Event::Requested(id("web"), Verb::Pause { actor: actor.clone(), reason: reason.clone() }));
    assert_eq!(explained(&scene).summary, line.replace("not cut", "paused; not cut"));
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
        let told = explained(&scene).summary;
        let [verb, guard] =
            [if said.is_empty() { "; only reported, by guard" } else { "; stopped by guard" }, "requests failed"];
        assert!(told.starts_with(&format!("web v2 at 10 %: {said}not cut")), "{told}");
        assert!(told.contains(verb) && told.contains(guard), "{told}");
    }
}

#[test]
fn guards_are_told_before_they_have_seen_anything() {
    let scene = certified();
    let told = explained(&scene);
    assert!(!told.guards.is_empty());
    assert!(told.guards.iter().all(|guard| guard.verdict == "undecided" && guard.toward_action == 0.0));
}
