//! A/B/n: several versions of one service at once. Each is released, judged and aborted on its own; one becomes the primary.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Controller, Event, Verb};
use rollout::release::inquiry::{CallId, Callee, Reply};
use rollout::release::integrations::HookKind;
use rollout::release::phase::{Cause, Phase};
use rollout::release::plan::{Plan, Promotion, Spec, Strategy};
use rollout::routing::table::Epoch;

use fixture::shop::{Shop, version, version_of};
use fixture::{call, counts, gate, hello, id, in_lane, percent, report, spec, upstream, word};

#[test]
fn each_has_its_own_weight_of_all_traffic_and_the_wire_says_it_of_its_lane() {
    let mut shop = Shop::new(|_| ());
    shop.release("web.blue", "b2").unwrap();
    let (canary, split, _) = shop.pushed.last().unwrap();
    assert_eq!((canary, split.as_ref().unwrap().weight), (&id("web.blue"), percent(20)), "10 % are a fifth of a half");
    assert_eq!(shop.controller.canary(&id("web.blue")).unwrap().weight(), percent(10));
    assert_eq!(shop.phase("web.green").name(), "Initialized");
    shop.release("web.green", "g2").unwrap();
    shop.serve(&["web.blue"]);
    let weights = ["web.blue", "web.green"].map(|name| shop.controller.canary(&id(name)).unwrap().weight());
    assert_eq!(weights, [percent(40), percent(10)], "green without traffic does not hold blue up");
}

#[test]
fn a_bad_version_is_cut_and_the_other_goes_on() {
    let mut shop = Shop::new(|_| ());
    shop.release("web.blue", "b2").unwrap();
    shop.release("web.green", "g2").unwrap();
    shop.ask("web.blue", Verb::Abort { actor: word("ana"), reason: "slow".into() }).unwrap();
    assert!(matches!(shop.phase("web.blue"), Phase::Failed(..)));
    assert_eq!(shop.phase("web.green").name(), "Progressing");
    shop.serve(&["web.green"]);
    assert_eq!(shop.controller.canary(&id("web.green")).unwrap().weight(), percent(40));
}

#[test]
fn who_is_promoted_ends_the_others_at_once_and_none_begins_until_the_primary_has_changed() {
    let mut shop = Shop::new(|_| ());
    for (name, revision) in [("web.blue", "b2"), ("web.green", "g2"), ("cart", "c2")] {
        shop.release(name, revision).unwrap();
    }
    shop.pushed.clear();
    shop.promote("web.green").unwrap();
    assert_eq!(shop.phase("web.green").name(), "Promoting");
    let Phase::Failed(ended, Cause::NotChosen { version, revision }) = shop.phase("web.blue") else {
        panic!("blue goes on: {:?}", shop.phase("web.blue"))
    };
    assert_eq!((ended.revision.as_str(), version.as_str(), revision.as_str()), ("b2", "web.green", "g2"));
    assert!(shop.pushed.contains(&(id("web.blue"), None, true)), "{:?}", shop.pushed);
    assert_eq!(shop.phase("cart").name(), "Progressing", "cart is no version of web's");
    for verb in [shop.release("web.blue", "b3"), shop.ask("web.blue", retry())] {
        let refused = verb.unwrap_err().to_string();
        assert!(refused.contains("prod/web.green is Promoting, and changes the primary"), "{refused}");
    }
    shop.confirm("web.green").unwrap();
    shop.adopt("web.green");
    assert_eq!(shop.phase("web.green").name(), "Succeeded");
    shop.release("web.blue", "g2").unwrap();
    assert!(matches!(shop.phase("web.blue"), Phase::Failed(..)), "the primary runs g2 already: nothing begins");
    shop.release("web.blue", "b3").unwrap();
    assert_eq!(shop.phase("web.blue").name(), "Progressing");
}

fn retry() -> Verb {
    Verb::Retry { actor: word("ana"), reason: String::new() }
}

#[test]
fn with_a_winner_gate_the_proven_ones_wait_for_a_persons_choice() {
    let mut shop = Shop::new(|spec| spec.outside.hooks = vec![gate("winner", HookKind::ConfirmPromotion)]);
    shop.release("web.blue", "b2").unwrap();
    shop.release("web.green", "g2").unwrap();
    (0..2).for_each(|_| shop.serve(&["web.blue", "web.green"]));
    assert_eq!([shop.phase("web.blue").name(), shop.phase("web.green").name()], ["WaitingPromotion"; 2]);
    let open = Verb::OpenGate {
        gate: "winner".into(),
        revision: None,
        expires_after: None,
        actor: word("ana"),
        reason: "it sells more".into(),
    };
    shop.ask("web.blue", open).unwrap();
    shop.serve(&["web.blue", "web.green"]);
    assert_eq!([shop.phase("web.blue").name(), shop.phase("web.green").name()], ["Promoting", "Failed"]);
}

#[test]
fn of_two_that_are_proven_at_the_same_check_one_is_promoted() {
    let mut shop = Shop::new(|_| ());
    shop.release("web.blue", "b2").unwrap();
    shop.release("web.green", "g2").unwrap();
    (0..2).for_each(|_| shop.serve(&["web.blue", "web.green"]));
    assert_eq!([shop.phase("web.blue").name(), shop.phase("web.green").name()], ["Promoting", "Failed"]);
}

#[test]
fn the_record_of_a_version_that_was_not_chosen_says_why_without_the_others() {
    let mut shop = Shop::new(|_| ());
    shop.release("web.blue", "b2").unwrap();
    shop.release("web.green", "g2").unwrap();
    shop.promote("web.green").unwrap();
    assert_eq!(shop.replays("web.blue", 1).unwrap().unwrap(), "web.green is promoted instead, with g2");
}

#[test]
fn the_name_that_they_share_names_none_of_them() {
    let mut shop = Shop::new(|_| ());
    let refused = shop.release("web", "v2").unwrap_err().to_string();
    assert_eq!(refused, "canary prod/web has several versions; name one: prod/web.blue, prod/web.green");
}

#[test]
fn a_worker_knows_the_traffic_by_the_name_that_they_share() {
    let mut greeting = hello(7, vec![]);
    greeting.default_upstreams = vec![(id("web"), upstream("web.blue-canary"))];
    let mut shop = Shop::greeted_by(greeting, |_| ());
    let refused = shop.release("web.blue", "b2").unwrap_err().to_string();
    assert!(refused.contains("sends requests to web.blue-canary by default"), "{refused}");
    shop.release("web.green", "g2").unwrap();
}

#[test]
fn a_share_set_by_hand_cannot_leave_the_lane() {
    let mut shop = Shop::new(|_| ());
    shop.release("web.blue", "b2").unwrap();
    let set = |weight| Verb::SetWeight { weight, actor: word("ana"), reason: String::new() };
    let refused = shop.ask("web.blue", set(percent(51))).unwrap_err().to_string();
    assert!(refused.contains("more than one version's equal part"), "{refused}");
    shop.ask("web.blue", set(percent(50))).unwrap();
    let (_, split, _) = shop.pushed.last().unwrap();
    assert_eq!(split.as_ref().unwrap().weight, percent(100), "half of all is all of its lane");
    assert_eq!(shop.controller.canary(&id("web.blue")).unwrap().weight(), percent(50));
}

#[test]
fn what_several_versions_cannot_have_is_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Spec)| {
        let mut spec = spec("web");
        in_lane(&mut spec, 0);
        change(&mut spec);
        Plan::new(spec).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (rule, change) in [
        (
            "stepWeights[1]: 60 is more than 50 %",
            &(|spec: &mut Spec| {
                spec.strategy = Strategy::Steps([10, 60].map(percent).to_vec());
            }) as &dyn Fn(&mut Spec),
        ),
        ("spec.promotion.mode: swap would change the primary", &|spec| spec.promotion = Promotion::Swap),
        ("spec.analysis.iterations: ", &|spec| spec.strategy = Strategy::Iterations(3)),
        ("spec.analysis.bakeTime: ", &|spec| spec.course.bake = Some(Millis(1))),
    ] {
        assert!(refused(change).contains(rule), "{rule} not in {}", refused(change));
    }
}

#[test]
fn epochs_are_each_versions_own() {
    let mut shop = Shop::new(|_| ());
    let before = shop.controller.canary(&id("web.green")).unwrap().epoch;
    shop.release("web.blue", "b2").unwrap();
    shop.serve(&["web.blue"]);
    let epochs = ["web.blue", "web.green"].map(|name| shop.controller.canary(&id(name)).unwrap().epoch);
    assert_eq!(epochs[1], before);
    assert!(epochs[0] > Epoch(before.0 + 1));
}

#[test]
fn lanes_that_a_manifest_moves_wait_for_the_releases_that_run_in_them() {
    let mut shop = Shop::new(|_| ());
    shop.release("web.green", "g2").unwrap();
    // Sorted otherwise: each would have the other's lane.
    shop.declare(version("blue", 1, |_| ()));
    shop.declare(version("green", 0, |_| ()));
    assert_eq!([shop.lane("web.blue"), shop.lane("web.green")], [Some((0.0, 50.0)), Some((50.0, 100.0))]);
    // Beside the running one a release begins under the lanes that are in force.
    shop.release("web.blue", "b2").unwrap();
    assert_eq!(shop.lane("web.blue"), Some((0.0, 50.0)));
    for name in ["web.green", "web.blue"] {
        shop.ask(name, Verb::Abort { actor: word("ana"), reason: String::new() }).unwrap();
    }
    assert_eq!([shop.lane("web.blue"), shop.lane("web.green")], [Some((50.0, 100.0)), Some((0.0, 50.0))]);
}

#[test]
fn a_version_that_is_added_gets_its_lane_when_nobody_runs_in_it() {
    let mut shop = Shop::new(|_| ());
    shop.release("web.green", "g2").unwrap();
    for (nth, name) in ["blue", "green", "red"].into_iter().enumerate() {
        shop.declare(version_of(name, nth, 3, |spec| spec.strategy = Strategy::Steps(vec![percent(10)])));
    }
    assert_eq!([shop.lane("web.green"), shop.lane("web.red")], [Some((50.0, 100.0)), None]);
    let refused = shop.release("web.red", "r2").unwrap_err().to_string();
    assert!(refused.contains("what the release of prod/web.green runs on"), "{refused}");
    shop.promote("web.green").unwrap();
    shop.confirm("web.green").unwrap();
    shop.adopt("web.green");
    assert_eq!(shop.lane("web.red"), Some((66.6666, 100.0)));
    shop.release("web.red", "r2").unwrap();
    // A version that comes later knows what the primary runs.
    shop.declare(version_of("teal", 0, 4, |spec| spec.strategy = Strategy::Steps(vec![percent(10)])));
    let promoted = shop.controller.canary(&id("web.teal")).unwrap().promoted.clone();
    assert_eq!(promoted, Some(word("g2")));
}

#[test]
fn of_two_that_are_looked_at_by_one_event_each_has_a_record_that_tells_its_own_story() {
    let mut shop = Shop::new(|spec| spec.threshold = 1);
    shop.release("web.blue", "b2").unwrap();
    shop.release("web.green", "g2").unwrap();
    shop.serve(&["web.blue", "web.green"]);
    // At the next check blue is proven and green is bad.
    let epoch = shop.controller.canary(&id("web.green")).unwrap().epoch;
    shop.now = shop.now.plus(Millis(9_000));
    shop.number += 1;
    let bad = report(shop.number, &id("web.green"), epoch, [counts(90, 0, 0), counts(0, 900, 0)]);
    shop.happen(Event::reported(Conn(1), bad));
    shop.now = Millis(shop.now.0 - 9_000);
    shop.serve(&["web.blue"]);
    assert_eq!([shop.phase("web.blue").name(), shop.phase("web.green").name()], ["Promoting", "Failed"]);
    let difference = shop.replays("web.green", 1).unwrap().unwrap();
    assert!(
        difference.contains("failed checks reached the threshold (1)"),
        "its own check came before the other's news: {difference}"
    );
    assert_eq!(shop.replays("web.blue", 1).unwrap(), None);
}

#[test]
fn who_was_not_chosen_needs_another_choice() {
    let mut shop = Shop::new(|spec| spec.outside.hooks = vec![gate("winner", HookKind::ConfirmPromotion)]);
    let (actor, reason) = (word("ana"), String::new());
    shop.release("web.blue", "b2").unwrap();
    let open = Verb::OpenGate { gate: "winner".into(), revision: None, expires_after: None, actor, reason };
    shop.ask("web.blue", open).unwrap();
    shop.release("web.green", "g2").unwrap();
    shop.promote("web.green").unwrap();
    shop.confirm("web.green").unwrap();
    shop.adopt("web.green");
    shop.ask("web.blue", retry()).unwrap();
    (0..3).for_each(|_| shop.serve(&["web.blue"]));
    assert_eq!(shop.phase("web.blue").name(), "WaitingPromotion");
    let difference = shop.replays("web.blue", 2).unwrap();
    assert_eq!(difference, None, "a retry has a record of its own");
}

#[test]
fn an_answer_for_one_looks_at_no_other_whose_record_would_not_know_of_it() {
    let mut shop = Shop::new(|spec| spec.outside.hooks = vec![call("board", HookKind::ConfirmRollout)]);
    shop.release("web.blue", "b2").unwrap();
    shop.release("cart", "c2").unwrap();
    shop.now = shop.now.plus(Millis(9_000));
    shop.number += 1;
    let epoch = shop.controller.canary(&id("cart")).unwrap().epoch;
    let good = report(shop.number, &id("cart"), epoch, [counts(90, 0, 0), counts(10, 0, 0)]);
    shop.happen(Event::reported(Conn(1), good));
    shop.now = shop.now.plus(Millis(1_000));
    let step = |shop: &Shop, name: &str| shop.phase(name).steps();
    let run = shop.phase("web.blue").run().unwrap();
    let call = CallId { release: run.release, round: run.round, callee: Callee::Hook(0) };
    shop.happen(Event::Reply { canary: id("web.blue"), call, reply: Reply::Hook(Ok(())) });
    assert_eq!([step(&shop, "web.blue"), step(&shop, "cart")], [1, 1]);
    shop.happen(Event::Timer);
    assert_eq!([step(&shop, "web.blue"), step(&shop, "cart")], [1, 2]);
}

/// kill -9 after each event of a whole contest, a restart from the journal, and the workers back: it ends as it did.
#[test]
fn a_contest_goes_on_after_a_restart_anywhere() {
    let mut shop = Shop::new(|spec| spec.outside.hooks = vec![gate("winner", HookKind::ConfirmPromotion)]);
    shop.release("web.blue", "b2").unwrap();
    shop.release("web.green", "g2").unwrap();
    shop.declare(version("blue", 1, |_| ()));
    (0..2).for_each(|_| shop.serve(&["web.blue", "web.green"]));
    shop.promote("web.green").unwrap();
    shop.confirm("web.green").unwrap();
    shop.adopt("web.green");
    shop.release("web.blue", "b3").unwrap();
    let lines_of = |controller: &Controller| -> Vec<String> {
        let line = |canary: &rollout::controller::canary::Canary| {
            let lane = canary.entry().routing.and_then(|routing| routing.scope.lane);
            format!("{} {} {:?} {:?} {lane:?}", canary.plan.id, canary.phase.name(), canary.weight(), canary.promoted)
        };
        controller.canaries().map(line).collect()
    };
    let expected = lines_of(&shop.controller);
    for killed_after in 1..=shop.journal.len() {
        let mut controller = Controller::default();
        let (before, after) = shop.journal.split_at(killed_after);
        before.iter().for_each(|(event, at)| drop(controller.handle(event.clone(), *at)));
        let at = before.last().unwrap().1;
        controller.handle(controller.restarted(at), at);
        controller.handle(Event::Connected(Conn(1), hello(7, vec![])), at);
        after.iter().for_each(|(event, at)| drop(controller.handle(event.clone(), *at)));
        assert_eq!(lines_of(&controller), expected, "killed after event {killed_after}: {:?}", before.last());
    }
}

#[test]
fn a_lane_that_a_newer_release_leaves_is_free() {
    let mut shop = Shop::new(|_| ());
    shop.release("web.blue", "b2").unwrap();
    shop.happen(Event::Withdrawn(id("web.green")));
    shop.declare(version("amber", 0, |_| ()));
    shop.declare(version("blue", 1, |_| ()));
    assert_eq!([shop.lane("web.amber"), shop.lane("web.blue")], [None, Some((0.0, 50.0))]);
    shop.release("web.blue", "b3").unwrap();
    assert_eq!([shop.lane("web.amber"), shop.lane("web.blue")], [Some((0.0, 50.0)), Some((50.0, 100.0))]);
}
