//! What a canary has become outlives its manifest: whatever happens to files, the same version serves users.

#![cfg(test)]

mod fixture;

use std::collections::BTreeMap;

use rollout::base::names::{CanaryId, Upstream};
use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Controller, Event, MAX_TOMBSTONES, Output, Refused, Verb};
use rollout::release::phase::Note;
use rollout::release::plan::{Flavour, Plan, Promotion, Spec};
use rollout::routing::table::{Entry, Epoch, Scope, Table};
use rollout::worker::messages::ToWorker;

use fixture::{hello, id, in_lane, plan, released, upstream, word};

/// An agent and what one worker's table makes of all it sends.
#[derive(Default)]
struct Life {
    controller: Controller,
    table: Table,
    now: u64,
}

fn swapping(edit: impl FnOnce(&mut Spec)) -> Plan {
    plan("web", |spec| {
        spec.promotion = Promotion::Swap;
        edit(spec);
    })
}

fn by(verb: impl FnOnce(rollout::base::names::Actor, String) -> Verb) -> Verb {
    verb(word("ana"), "so".into())
}

fn forget() -> Verb {
    by(|actor, reason| Verb::Forget { actor, reason })
}

impl Life {
    fn happen(&mut self, event: Event) -> Output {
        self.now += 1;
        let mut out = self.controller.handle(event, Millis(self.now));
        for command in out.urgent.drain(..).chain(out.stored.drain(..)) {
            if let Command::Push(entry) | Command::Send(_, ToWorker::Entry(entry)) = command {
                self.adopt(&entry);
            }
        }
        out
    }

    fn adopt(&mut self, entry: &Entry) {
        self.table.adopt(entry.clone());
        self.now += 1;
        self.controller.handle(Event::Adopted(Conn(1), entry.canary.clone(), entry.epoch), Millis(self.now));
    }

    /// A worker whose proxy serves `default` where the filter says nothing.
    fn connect(&mut self, default: &str) {
        let mut said = hello(1, self.table.entries().map(|(_, entry)| (entry.canary.clone(), entry.epoch)).collect());
        said.default_upstreams = vec![(id("web"), upstream(default)), (id("shop"), upstream(default))];
        self.happen(Event::Connected(Conn(1), said));
    }

    fn declare(&mut self, plan: Plan) {
        self.happen(Event::Declared(Box::new(plan)));
    }

    fn remove(&mut self, name: &str) {
        self.happen(Event::Withdrawn(id(name)));
    }

    fn ask(&mut self, name: &str, verb: Verb) -> Result<(), Refused> {
        self.happen(Event::Requested(id(name), verb)).reply.unwrap().map(drop)
    }

    /// Where a request without any rule goes; none: the proxy's default route.
    fn serves(&self) -> Option<String> {
        let found = self.table.find(b"web", b"/");
        found.map(|found| found.routing.primary.to_string())
    }

    fn promoted_by_swap(default: &str) -> Self {
        let mut life = Self::default();
        life.declare(swapping(|_| ()));
        life.connect("web-primary");
        life.ask("web", released("v2")).unwrap();
        life.ask("web", by(|actor, reason| Verb::Promote { actor, reason })).unwrap();
        life.happen(Event::Timer);
        assert_eq!(life.controller.canary(&id("web")).unwrap().phase.name(), "Succeeded");
        life.connect(default);
        assert_eq!(life.serves().as_deref(), Some("web-canary"));
        life
    }

    fn primary(&self, name: &str) -> String {
        self.controller.canary(&id(name)).unwrap().primary().to_string()
    }

    fn notes(&self, name: &str) -> Vec<Note> {
        self.controller.canary(&id(name)).unwrap().history.iter().map(|event| event.note.clone()).collect()
    }

    fn restart(&mut self) {
        let stored = serde_json::to_string(&self.controller).unwrap();
        self.controller = serde_json::from_str(&stored).unwrap();
        let event = self.controller.restarted(Millis(self.now));
        self.happen(event);
    }
}

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

/// After a restart the first proxy to come back speaks for itself alone: the others are expected, with the routes they had.
#[test]
fn roles_are_not_adopted_on_the_word_of_the_first_proxy_back() {
    let greet = |life: &mut Life, incarnation: u64, default: &str| {
        let mut said = hello(incarnation, vec![]);
        said.default_upstreams = vec![(id("web"), upstream(default))];
        life.happen(Event::Connected(Conn(incarnation), said));
    };
    let give_up = |life: &mut Life| {
        life.now = life.controller.deadline().expect("somebody is waited for").0;
        life.happen(Event::Timer);
    };
    // A manifest that names others than the one that serves.
    let mut swapped = Life::promoted_by_swap("web-canary");
    greet(&mut swapped, 2, "web-canary");
    swapped.restart();
    greet(&mut swapped, 2, "blue");
    swapped.declare(swapping(|spec| (spec.primary, spec.canary) = (upstream("blue"), upstream("green"))));
    assert_eq!(swapped.serves().as_deref(), Some("web-canary"), "the other proxy still serves it");
    let refused = swapped.ask("web", released("v3")).unwrap_err().to_string();
    assert!(refused.contains("proxy envoy-1 sends requests to web-canary by default"), "{refused}");
    give_up(&mut swapped);
    assert_eq!(swapped.serves().as_deref(), Some("blue"), "nobody waits for a proxy for ever");
    // One that contradicts what the other proxy serves.
    let mut fresh = Life::default();
    greet(&mut fresh, 1, "web-canary");
    fresh.declare(swapping(|_| ()));
    fresh.restart();
    greet(&mut fresh, 2, "web-primary");
    assert_eq!(fresh.serves(), None, "the other proxy is expected back");
    give_up(&mut fresh);
    assert_eq!(fresh.serves().as_deref(), Some("web-primary"));
    // One that is to be forgotten.
    let mut gone = Life::promoted_by_swap("web-primary");
    gone.remove("web");
    gone.restart();
    greet(&mut gone, 2, "web-canary");
    let refused = gone.ask("web", forget()).unwrap_err().to_string();
    assert!(refused.contains("proxy envoy-1 sends requests to web-primary by default"), "{refused}");
    greet(&mut gone, 1, "web-canary");
    gone.ask("web", forget()).unwrap();
}

#[test]
fn naming_a_tombstones_upstream_in_an_edited_manifest_helps_as_the_refusal_says() {
    let other = |primary: &str, canary: &str| {
        plan("shop", |spec| {
            spec.promotion = Promotion::Swap;
            spec.scope = Scope::of_service(&id("web"));
            (spec.primary, spec.canary) = (upstream(primary), upstream(canary));
        })
    };
    for (primary, canary) in [("web-canary", "web-primary"), ("web-primary", "web-canary"), ("web-canary", "blue")] {
        let mut life = Life::promoted_by_swap("web-canary");
        life.remove("web");
        life.declare(other("shop-primary", "shop-canary"));
        let refused = life.ask("shop", released("v3")).unwrap_err();
        assert!(matches!(refused, Refused::Tombstone { .. }), "{refused}");
        life.declare(other(primary, canary));
        assert_eq!(life.serves().as_deref(), Some("web-canary"));
        assert_eq!(life.primary("shop"), "web-canary", "{primary}");
        assert!(matches!(life.notes("shop").last(), Some(Note::TookOver { .. })), "{:?}", life.notes("shop").last());
        life.connect("web-canary");
        life.happen(Event::Requested(id("shop"), released("v3"))).reply.unwrap().unwrap();
        assert_eq!(life.controller.canaries().count(), 1);
    }
}

#[test]
fn a_rename_may_claim_more_paths_than_before() {
    let of = |name: &str, prefixes: &[&str]| {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        plan(name, |spec| {
            spec.promotion = Promotion::Swap;
            spec.scope = Scope { path_prefixes: prefixes, ..Scope::of_service(&id("web")) };
            (spec.primary, spec.canary) = (upstream("web-primary"), upstream("web-canary"));
        })
    };
    let cases: [(&[&str], &[&str], bool); 5] = [
        (&["/a"], &["/a", "/b"], true),
        (&["/a"], &["/"], true),
        (&["/a", "/b"], &["/"], true),
        // A part of its requests would be left to nobody.
        (&["/a", "/b"], &["/a"], false),
        (&["/"], &["/a"], false),
    ];
    for (before, after, is_heir) in cases {
        let mut life = Life::default();
        life.declare(of("web", before));
        life.connect("web-primary");
        life.ask("web", released("v2")).unwrap();
        life.ask("web", by(|actor, reason| Verb::Promote { actor, reason })).unwrap();
        life.connect("web-canary");
        life.remove("web");
        life.declare(of("shop", after));
        assert_eq!(life.controller.canary(&id("web")).is_none(), is_heir, "{before:?} {after:?}");
        let found = life.table.find(b"web", b"/a").unwrap();
        assert_eq!(found.routing.primary.as_str(), "web-canary", "{before:?} {after:?}");
    }
}
