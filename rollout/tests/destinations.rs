//! Where requests went: a canary whose requests the routes send to the primary proves nothing, and says why.

#![cfg(test)]

mod fixture;

use fixture::net::Net;
use fixture::scene::Scene;
use fixture::{call, cases, id, on_certificate, percent, plan, released};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use rollout::base::time::{Micros, Millis};
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Event};
use rollout::judgement::certificate::Otherwise;
use rollout::judgement::destinations::Destinations;
use rollout::release::integrations::HookKind;
use rollout::release::phase::{Hold, Note};
use rollout::release::plan::{Advance, Strategy};
use rollout::routing::destination::Destination;
use rollout::routing::request::Request;
use rollout::routing::table::{Epoch, Version};
use rollout::worker::HeaderEdit;
use rollout::worker::messages::{Report, Sampled};

fn sampled(version: Version, cluster: &str, address: &str, requests: u64) -> Sampled {
    let destination = Destination::parse(cluster.into(), address.into()).unwrap();
    Sampled { canary: id("web"), epoch: Epoch(1), version, destination, is_shared: false, requests }
}

/// (cluster, address, requests) of the primary and of the canary.
type Reached<'a> = &'a [(&'a str, &'a str, u64)];

fn of(primary: Reached<'_>, canary: Reached<'_>) -> Destinations {
    let mut all = Destinations::default();
    for (version, reached) in [(Version::Primary, primary), (Version::Canary, canary)] {
        reached.iter().for_each(|(cluster, address, n)| all.fold(&sampled(version, cluster, address, *n)));
    }
    all
}

#[test]
fn evidence_is_void_where_more_than_a_fiftieth_goes_where_the_primarys_go() {
    let primary = [("web-primary", "10.0.0.1:80", 60), ("web-primary", "10.0.0.2:80", 40)];
    for (canary, expected) in [
        (&[("web-canary", "10.0.1.1:80", 64)][..], None),
        (&[("web-primary", "10.0.0.1:80", 64)], Some((64, 64))),
        // One of two hosts is enough.
        (&[("web-primary", "10.0.0.2:80", 2)], Some((2, 2))),
        (&[("web-canary", "10.0.1.1:80", 98), ("web-primary", "10.0.0.1:80", 2)], None),
        (&[("web-canary", "10.0.1.1:80", 97), ("web-primary", "10.0.0.1:80", 3)], Some((3, 100))),
        // One alone may be of a route that was just being changed.
        (&[("web-canary", "10.0.1.1:80", 31), ("web-primary", "10.0.0.1:80", 1)], None),
        // Subsets of one cluster: the same name and other hosts.
        (&[("web-primary", "10.0.1.1:80", 64)], None),
        // Another cluster with the same host, as in a test on one machine.
        (&[("web-canary", "10.0.0.1:80", 64)], None),
    ] {
        let found = of(&primary, canary).misrouted().cloned();
        let shown = found.as_ref().map(|found| (found.requests, found.of));
        assert_eq!(shown, expected, "{canary:?}");
        assert!(found.is_none_or(|found| found.cluster == "web-primary"));
    }
}

#[test]
fn a_cluster_that_is_declared_as_shared_says_nothing_whoever_declares_it() {
    for sharing in [Version::Primary, Version::Canary] {
        let mut all = Destinations::default();
        for version in Version::ALL {
            all.fold(&Sampled { is_shared: version == sharing, ..sampled(version, "any", "10.0.0.1:80", 64) });
        }
        assert_eq!(all.misrouted(), None, "{sharing:?}");
    }
}

/// The primary has more hosts than are remembered, and of each version only some were asked.
#[test]
fn a_primary_with_a_thousand_hosts_is_recognised() {
    let host = |n: u64| format!("10.0.{}.{}:80", n / 250, n % 250);
    let mut all = Destinations::default();
    for n in 0..2_000u64 {
        all.fold(&sampled(Version::Primary, "web-primary", &host(n * 7_919 % 1_000), 1));
    }
    (0..64u64).for_each(|n| all.fold(&sampled(Version::Canary, "web-primary", &host(n * 104_729 % 1_000), 1)));
    let misrouted = all.misrouted().expect("the same cluster and hosts");
    assert!(misrouted.requests > 32, "{misrouted:?}");
}

proptest! {
    #![proptest_config(cases(64))]
    /// Whatever workers say, what is kept stays small, and who meets nobody is never accused.
    #[test]
    fn anything_said_is_bounded(said in prop::collection::vec((any::<bool>(), 0u32..400, 0u32..4_000, 1u64..9), 0..3_000)) {
        let mut all = Destinations::default();
        for (is_canary, cluster, address, requests) in said {
            let version = if is_canary { Version::Canary } else { Version::Primary };
            let cluster = format!("{}-{cluster}", version.name());
            all.fold(&sampled(version, &cluster, &address.to_string(), requests));
        }
        prop_assert!(all.clusters().count() <= 32);
        let kept = serde_json::to_value(&all).unwrap();
        let clusters = ["primary", "canary"].map(|version| kept[version]["clusters"].as_object().unwrap());
        let mut addresses = clusters.iter().flat_map(|of| of.values()).map(|cluster| &cluster["addresses"]);
        let is_bounded = addresses.all(|of| of.as_object().unwrap().len() <= 64);
        prop_assert!(is_bounded);
        prop_assert_eq!(all.misrouted(), None);
    }
}

/// The canary's answers are all good: they are the primary's.
fn misrouted_scene(advance: Option<Advance>) -> Scene {
    Scene::new(|spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        spec.guards.sample_ratio = None;
        if let Some(advance) = advance {
            spec.advance = advance;
        }
    })
}

fn say(scene: &mut Scene, version: Version, cluster: &str, requests: u64) {
    scene.number += 1;
    let epoch = scene.canary().epoch;
    let destinations = vec![Sampled { epoch, ..sampled(version, cluster, "10.0.0.1:80", requests) }];
    let (strata, watermarks, trips) = (vec![], vec![], vec![]);
    scene.happen(Event::reported(Conn(1), Report { number: scene.number, strata, watermarks, trips, destinations }));
}

#[test]
fn a_canary_that_never_gets_a_request_is_never_certified() {
    for advance in [None, Some(Advance::Interval)] {
        let mut scene = misrouted_scene(advance);
        say(&mut scene, Version::Primary, "web-primary", 40);
        say(&mut scene, Version::Canary, "web-primary", 40);
        for _ in 0..400 {
            scene.serve([90, 10], 0, Micros(9_000));
            if scene.controller.deadline().is_some_and(|due| due.0 <= 1_000 + scene.number * 100) {
                scene.happen(Event::Timer);
            }
        }
        let canary = scene.canary();
        assert_eq!((canary.phase.name(), canary.phase.steps()), ("Progressing", 1));
        assert_eq!(canary.phase.hold(), Some(&Hold::Misrouted { cluster: "web-primary".into() }));
        assert!(
            canary.certificate.as_ref().is_none_or(|verdict| !verdict.is_certified() && verdict.progress(1) == 0.0)
        );
        let held = canary.history.iter().filter(|event| matches!(event.note, Note::Held(_))).count();
        assert_eq!(held, 1, "it says so once");
    }
}

#[test]
fn a_step_begins_anew_once_its_requests_arrive_and_none_before_counts() {
    let mut scene = misrouted_scene(None);
    say(&mut scene, Version::Primary, "web-primary", 40);
    say(&mut scene, Version::Canary, "web-primary", 40);
    (0..300).for_each(|_| drop(scene.serve([9, 1], 0, Micros(9_000))));
    let before = scene.canary().epoch;
    (0..20).for_each(|_| say(&mut scene, Version::Canary, "web-canary", 1));
    assert_eq!(scene.canary().epoch, before, "it must last");
    let due = scene.controller.deadline().unwrap();
    scene.number += 50;
    say(&mut scene, Version::Canary, "web-canary", 1);
    assert_eq!(scene.canary().epoch, before, "the timer begins it, whatever is reported");
    assert!(due <= Millis(1_000 + scene.number * 100), "which is set for it");
    scene.happen(Event::Timer);
    let canary = scene.canary();
    assert!(canary.epoch > before && canary.phase.hold().is_some_and(|hold| matches!(hold, Hold::Misrouted { .. })));
    assert!(canary.history.iter().any(|event| event.note == Note::BegunAnew));
    let on_step = canary.phase.on_step().unwrap();
    let now = Millis(1_000 + scene.number * 100);
    assert_eq!(on_step.step.at, now);
    assert_eq!((on_step.pending.check_at, on_step.round_at), (now.plus(Millis(10_000)), now.plus(Millis(10_000))));
    let left = (1..1_000).find(|_| {
        scene.serve([9, 1], 0, Micros(9_000));
        scene.canary().phase.steps() == 2
    });
    assert_eq!(left, Some(372), "as many as ever, and none of those that went astray");
}

/// What is asked of the step that is over is asked of nobody: its calls end, and a check that is due at the same time asks
/// none.
#[test]
fn a_step_that_begins_anew_ends_what_was_asked_of_it() {
    for is_asked_before in [true, false] {
        let mut scene = Scene::new(|spec| {
            spec.guards.sample_ratio = None;
            spec.outside.hooks.push(call("smoke", HookKind::Rollout));
        });
        say(&mut scene, Version::Primary, "web-primary", 40);
        say(&mut scene, Version::Canary, "web-primary", 40);
        if is_asked_before {
            scene.number = 100;
            scene.happen(Event::Timer);
        }
        assert_eq!(scene.canary().phase.inquiry().is_some(), is_asked_before);
        (0..20).for_each(|_| say(&mut scene, Version::Canary, "web-canary", 1));
        // Both are due by now, the check and the new beginning.
        scene.number += 110;
        let output = scene.happen(Event::Timer);
        let asks = |command: &Command| matches!(command, Command::CallHook { .. });
        let ends = |command: &Command| matches!(command, Command::EndCalls { .. });
        assert!(!output.stored.iter().any(asks), "{:?}", output.stored);
        assert_eq!(output.urgent.iter().filter(|command| ends(command)).count(), usize::from(is_asked_before));
        assert_eq!(scene.canary().history.back().unwrap().note, Note::BegunAnew);
    }
}

/// One proxy of many with wrong routes: every minute some requests go astray, and then none for a while.
#[test]
fn a_step_begins_anew_less_and_less_often() {
    let mut scene = misrouted_scene(None);
    say(&mut scene, Version::Primary, "web-primary", 40);
    for _ in 0..60 {
        say(&mut scene, Version::Canary, "web-primary", 4);
        say(&mut scene, Version::Canary, "web-canary", 96);
        for _ in 0..59 {
            scene.number += 10;
            scene.happen(Event::Timer);
        }
    }
    let begun = scene.canary().history.iter().filter(|event| event.note == Note::BegunAnew).count();
    assert_eq!(begun, 4, "after 5, 10, 20 and 40 s; never for 80 s");
}

/// What a real worker asks: of each version the first 32 under an entry and about one in 64 of the others.
#[test]
fn a_worker_asks_few_and_says_what_they_answered() {
    let mut net = Net::new(1);
    net.happen(Event::Declared(Box::new(plan("web", |spec| {
        spec.strategy = Strategy::Steps([50].map(percent).to_vec());
    }))));
    net.calm(Millis(1_000));
    net.happen(Event::Requested(id("web"), released("v2")));
    net.calm(Millis(1_000));
    let mut asked = |requests: usize, attempts: Option<u64>| {
        let worker = &mut net.nodes[0].worker;
        let mut asked = [0, 0];
        for n in 0..requests {
            let headers: [(&[u8], &[u8]); 2] = [(b":authority", b"web"), (b":path", b"/")];
            let now = Micros(net.now.0 * 1_000);
            let decision = worker.route(Request { headers: &headers, client_address: None }, now);
            let is_canary = matches!(&decision.header, HeaderEdit::Set(to) if to.as_str() == "web-canary");
            let mut request = worker.start(&decision, true, true, now).unwrap();
            if request.is_sampled() && attempts == Some(1) {
                asked[usize::from(is_canary)] += 1;
                worker.arrived(&request, Some(1), b"web-primary", format!("10.0.0.{}:80", n % 250).as_bytes());
            }
            worker.finish(&mut request, 0, attempts, now);
        }
        net.calm(Millis(300));
        asked
    };
    let first = asked(2_000, Some(1));
    assert!(first.into_iter().all(|count| (36..64).contains(&count)), "32 and about 15 each: {first:?}");
    assert_eq!(asked(50, Some(2)), [0, 0], "a further attempt may go elsewhere");
    let later = asked(64_000, Some(1));
    assert!(later.into_iter().all(|count| (420..580).contains(&count)), "about 500 each: {later:?}");
    assert_eq!(asked(100, None), [0, 0], "the upstream was never tried");

    let canary = net.controller.canary(&id("web")).unwrap();
    assert_eq!(canary.misrouted(), Some(Hold::Misrouted { cluster: "web-primary".into() }));
    let (_, peer) = net.controller.fleet().workers().next().unwrap();
    let reached = peer.reached[&id("web")].clusters();
    assert!(reached.len() == 2 && reached.iter().all(|cluster| cluster.cluster == "web-primary"), "{reached:?}");
}

/// In a step at 100 % the primary gets nothing: where it went before counts.
#[test]
fn the_primarys_destination_is_known_from_before_the_step() {
    let mut all = Destinations::default();
    all.fold(&sampled(Version::Primary, "web-primary", "10.0.0.1:80", 9));
    all.begin_release(Epoch(1));
    all.fold(&sampled(Version::Canary, "web-primary", "10.0.0.1:80", 9));
    assert!(all.misrouted().is_some());
    all.end_release();
    all.begin_release(Epoch(1));
    all.fold(&sampled(Version::Canary, "web-primary", "10.0.0.1:80", 9));
    assert_eq!(all.misrouted(), None, "a release may have exchanged the roles");
}
