//! Whose roles are in force: on whose word they change, and whose place a manifest takes.

#![cfg(test)]

mod fixture;

use rollout::controller::fleet::Conn;
use rollout::controller::{Event, Refused, Verb};
use rollout::release::phase::Note;
use rollout::release::plan::Promotion;
use rollout::routing::table::Scope;

use fixture::life::{Life, forget, swapping};
use fixture::{by, hello, id, plan, released, upstream};

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
