//! What a canary has become outlives its manifest: whatever happens to files, the same version serves users.

#![cfg(test)]

mod fixture;

use std::collections::BTreeMap;

use rollout::base::names::{CanaryId, Upstream};
use rollout::base::time::Millis;
use rollout::controller::Verb;
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Event, MAX_TOMBSTONES, Refused};
use rollout::release::phase::Note;
use rollout::release::plan::{Flavour, Promotion, Spec};
use rollout::routing::table::{Epoch, Scope, Table};

use fixture::life::{Life, forget, swapping};
use fixture::{by, id, in_lane, plan, released, upstream, word};

#[test]
fn a_manifest_that_is_gone_and_back_changes_nothing() {
    for default in ["web-primary", "web-canary", "elsewhere"] {
        let mut life = Life::promoted_by_swap(default);
        let before = life.controller.canary(&id("web")).unwrap().clone();
        life.remove("web");
        assert_eq!(life.serves().as_deref(), Some("web-canary"), "gone, and the proxy's default is {default}");
        life.connect(default);
        assert_eq!(life.serves().as_deref(), Some("web-canary"), "a worker that comes meanwhile");
        life.declare(swapping(|_| ()));
        assert_eq!(life.serves().as_deref(), Some("web-canary"), "back");
        let after = life.controller.canary(&id("web")).unwrap();
        assert!(after.swapped && after.releases == before.releases && after.promoted == before.promoted);
        assert_eq!(after.history.len(), before.history.len() + 2, "history goes on: removed, back");
        assert!(after.epoch >= before.epoch);
    }
}

#[test]
fn the_agent_may_restart_meanwhile_with_a_snapshot_or_its_journal() {
    let mut life = Life::promoted_by_swap("web-primary");
    life.remove("web");
    life.restart();
    life.table = Table::default();
    life.connect("web-primary");
    assert_eq!(life.serves().as_deref(), Some("web-canary"), "a worker without a memory gets it from the tombstone");
    life.restart();
    life.declare(swapping(|_| ()));
    assert_eq!((life.primary("web").as_str(), life.serves().as_deref()), ("web-canary", Some("web-canary")));
}

#[test]
fn another_kind_or_mode_of_the_returning_manifest_moves_no_user() {
    let variants: [fn(&mut Spec); 4] = [
        |spec| spec.flavour = Flavour::Serin,
        |spec| spec.promotion = Promotion::Copy { hook: None },
        |spec| std::mem::swap(&mut spec.primary, &mut spec.canary),
        |spec| spec.course.suspend = true,
    ];
    for variant in variants {
        let mut life = Life::promoted_by_swap("web-primary");
        life.remove("web");
        life.declare(swapping(variant));
        assert_eq!(life.serves().as_deref(), Some("web-canary"));
        assert_eq!(life.primary("web"), "web-canary");
    }
}

/// With names that the present primary is not among, returned or only changed.
#[test]
fn other_upstreams_wait_until_the_proxies_agree() {
    for is_removed in [true, false] {
        let mut life = Life::promoted_by_swap("web-canary");
        if is_removed {
            life.remove("web");
        }
        let other = || swapping(|spec| (spec.primary, spec.canary) = (upstream("blue"), upstream("green")));
        life.declare(other());
        assert_eq!(life.serves().as_deref(), Some("web-canary"));
        assert!(matches!(life.notes("web").last(), Some(Note::RolesWait(_))), "{:?}", life.notes("web").last());
        let refused = life.ask("web", released("v3")).unwrap_err().to_string();
        assert!(refused.contains("makes blue the primary, but web-canary serves"), "{refused}");
        let retried = life.ask("web", by(|actor, reason| Verb::Retry { actor, reason })).unwrap_err().to_string();
        assert!(retried.contains("makes blue the primary"), "{retried}");
        life.happen(Event::Disconnected(Conn(1)));
        life.declare(other());
        assert_eq!(life.primary("web"), "web-canary", "nobody is there to agree");
        life.connect("green");
        assert_eq!(life.serves().as_deref(), Some("web-canary"), "the new canary by default is no agreement");
        life.connect("blue");
        assert_eq!(life.serves().as_deref(), Some("blue"), "the proxies' own routes have moved");
        life.ask("web", released("v3")).unwrap();
    }
}

#[test]
fn a_rename_takes_roles_and_revision_along() {
    let mut life = Life::promoted_by_swap("web-primary");
    let renamed = || {
        plan("shop", |spec| {
            spec.promotion = Promotion::Swap;
            spec.scope = Scope::of_service(&id("web"));
            (spec.primary, spec.canary) = (upstream("web-primary"), upstream("web-canary"));
        })
    };
    life.remove("web");
    life.declare(renamed());
    assert_eq!(life.serves().as_deref(), Some("web-canary"));
    assert_eq!(life.primary("shop"), "web-canary");
    assert_eq!(life.controller.canary(&id("shop")).unwrap().promoted, Some(word("v2")));
    assert!(life.controller.canary(&id("web")).is_none(), "its place is taken");
    // And back again.
    life.remove("shop");
    life.declare(swapping(|_| ()));
    assert_eq!(life.serves().as_deref(), Some("web-canary"), "{:?}", life.notes("web"));
}

#[test]
fn another_canary_of_the_same_traffic_waits_until_a_person_forgets() {
    let mut life = Life::promoted_by_swap("web-canary");
    life.remove("web");
    let foreign = || {
        plan("shop", |spec| {
            spec.scope = Scope::of_service(&id("web"));
        })
    };
    life.declare(foreign());
    assert_eq!(life.serves().as_deref(), Some("web-canary"));
    let refused = life.ask("shop", released("v1")).unwrap_err();
    assert!(matches!(refused, Refused::Tombstone { .. }), "{refused}");
    life.ask("web", forget()).unwrap();
    assert_eq!(life.serves().as_deref(), Some("shop-primary"), "nothing declares it again");
}

#[test]
fn forget_is_refused_while_it_would_move_users_or_a_manifest_is_there() {
    let mut life = Life::promoted_by_swap("web-primary");
    let refused = life.ask("web", forget()).unwrap_err().to_string();
    assert!(refused.contains("prod/web has a manifest"), "{refused}");
    life.remove("web");
    let refused = life.ask("web", forget()).unwrap_err().to_string();
    assert!(refused.contains("sends requests to web-primary by default"), "{refused}");
    let verbs = [
        released("v3"),
        by(|actor, reason| Verb::Retry { actor, reason }),
        by(|actor, reason| Verb::Pause { actor, reason }),
    ];
    for verb in verbs {
        let refused = life.ask("web", verb).unwrap_err().to_string();
        assert!(refused.contains("manifest of prod/web is gone") && refused.contains("serin forget"), "{refused}");
    }
    life.connect("web-canary");
    let out = life.controller.clone().handle(Event::Requested(id("web"), forget()), Millis(life.now));
    let audited = out.stored.iter().any(|command| {
        matches!(command, Command::Announce(_, event) if matches!(&event.note, Note::Forgotten { actor, reason }
            if *actor == word("ana") && reason == "so"))
    });
    assert!(audited, "{:?}", out.stored);
    life.ask("web", forget()).unwrap();
    assert_eq!((life.serves(), life.controller.canaries().count()), (None, 0));
    let epoch = life.table.get(&id("web")).unwrap().epoch;
    life.declare(swapping(|_| ()));
    assert_eq!(life.serves(), None, "the proxies' default is what was promoted: the manifest's names move nobody");
    life.connect("web-primary");
    assert_eq!(life.serves().as_deref(), Some("web-primary"));
    assert!(life.table.get(&id("web")).unwrap().epoch > epoch, "epochs go on");
}

#[test]
fn a_removal_during_a_release_aborts_it_and_the_primary_serves() {
    let mut life = Life::promoted_by_swap("web-canary");
    life.ask("web", released("v3")).unwrap();
    life.remove("web");
    let canary = life.controller.canary(&id("web")).unwrap();
    assert_eq!((canary.phase.name(), canary.is_splitting()), ("Failed", false));
    assert_eq!(life.serves().as_deref(), Some("web-canary"));
    life.declare(swapping(|_| ()));
    assert_eq!(life.serves().as_deref(), Some("web-canary"));
    life.ask("web", by(|actor, reason| Verb::Retry { actor, reason })).unwrap();
    assert_eq!(life.controller.canary(&id("web")).unwrap().releases, 3);
}

/// Copying cannot be taken back, so it goes on without its manifest; only then may it be forgotten.
#[test]
fn a_promotion_that_cannot_be_aborted_ends_without_its_manifest() {
    let mut life = Life::default();
    life.declare(plan("web", |spec| spec.course.promotion_step = Some(fixture::percent(1))));
    life.connect("web-primary");
    life.ask("web", released("v2")).unwrap();
    life.ask("web", by(|actor, reason| Verb::Promote { actor, reason })).unwrap();
    life.ask("web", by(|actor, reason| Verb::Confirm { actor, reason })).unwrap();
    life.remove("web");
    assert_eq!(life.controller.canary(&id("web")).unwrap().phase.name(), "Promoting");
    let refused = life.ask("web", forget()).unwrap_err().to_string();
    assert!(refused.contains("release 1 of prod/web is Promoting"), "{refused}");
    for _ in 0..40 {
        life.now += 10_000;
        life.happen(Event::Timer);
    }
    assert_eq!(life.controller.canary(&id("web")).unwrap().phase.name(), "Succeeded");
    life.ask("web", forget()).unwrap();
}

#[test]
fn what_never_had_a_release_leaves_nothing() {
    let mut life = Life::default();
    life.declare(swapping(|_| ()));
    life.connect("web-primary");
    life.remove("web");
    assert_eq!((life.serves(), life.controller.canaries().count()), (None, 0));
}

/// An agent that lost its data, after a swap that the proxies' default routes have followed.
#[test]
fn roles_that_contradict_the_proxies_are_not_adopted() {
    for is_connected_first in [true, false] {
        let mut life = Life::default();
        if is_connected_first {
            life.connect("web-canary");
        }
        life.declare(swapping(|_| ()));
        life.connect("web-canary");
        assert_eq!(life.serves(), None, "the default route serves on");
        let refused = life.ask("web", released("v3")).unwrap_err();
        assert!(matches!(refused, Refused::DefaultUpstream { .. }), "{refused}");
        life.connect("web-primary");
        assert_eq!(life.serves().as_deref(), Some("web-primary"), "the proxy agrees");
    }
}

#[test]
fn versions_of_one_service_leave_their_lanes_to_those_that_stay() {
    let mut life = Life::default();
    let version = |nth| plan(["web.blue", "web.green"][nth], |spec| in_lane(spec, nth));
    (0..2).for_each(|nth| life.declare(version(nth)));
    life.connect("shop-primary");
    for name in ["web.blue", "web.green"] {
        life.ask(name, released("v2")).unwrap();
        life.ask(name, by(|actor, reason| Verb::Abort { actor, reason })).unwrap();
    }
    life.remove("web.green");
    let routes = |life: &Life, name: &str| life.controller.canary(&id(name)).unwrap().is_routing();
    assert_eq!(life.controller.canaries().count(), 2);
    assert_eq!((routes(&life, "web.blue"), routes(&life, "web.green")), (true, false), "its lane is the others'");
    life.remove("web.blue");
    (0..2).for_each(|nth| life.declare(version(nth)));
    assert_eq!((routes(&life, "web.blue"), routes(&life, "web.green")), (true, true));
    let released = |life: &Life, name: &str| life.controller.canary(&id(name)).unwrap().releases;
    assert_eq!((released(&life, "web.blue"), released(&life, "web.green")), (1, 1));
}

#[test]
fn tombstones_are_bounded_and_swapped_ones_go_last() {
    let mut life = Life::promoted_by_swap("web-canary");
    life.remove("web");
    for n in 0..=MAX_TOMBSTONES {
        let name = format!("c{n}");
        life.declare(plan(&name, |_| ()));
        life.ask(&name, released("v1")).unwrap();
        life.remove(&name);
    }
    let kept: BTreeMap<&CanaryId, &Upstream> =
        life.controller.canaries().map(|canary| (&canary.plan.id, canary.primary())).collect();
    assert_eq!(kept.len(), MAX_TOMBSTONES);
    assert!(kept.contains_key(&id("web")) && !kept.contains_key(&id("c0")) && !kept.contains_key(&id("c1")));
    assert_eq!(life.controller.managed().count(), 0);
    assert!(life.table.get(&id("c0")).is_some_and(|entry| entry.routing.is_none() && entry.epoch > Epoch(0)));
}
