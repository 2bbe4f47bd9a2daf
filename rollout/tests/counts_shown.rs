//! The counts that people see belong to what they stand beside: a release, the table in force, a life of the canary.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::canary::Canary;
use rollout::controller::fleet::Conn;
use rollout::controller::{Controller, Event, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::release::integrations::HookKind;
use rollout::release::plan::{Promotion, Spec, Strategy};
use rollout::routing::table::{Epoch, Version};
use rollout::view::explanation::explain;
use rollout::view::status::{self, CanaryStatus, WorkerCanary};
use rollout::worker::messages::Report;
use rollout::worker::tally::Counts;

use fixture::{counts, gate, hello, id, on_certificate, percent, plan, released, report, stratum, word};

struct Scene {
    controller: Controller,
    now: Millis,
    number: u64,
}

impl Scene {
    fn new(edit: impl FnOnce(&mut Spec)) -> Self {
        let mut scene = Self { controller: Controller::default(), now: Millis(1_000), number: 0 };
        scene.happen(Event::Declared(Box::new(plan("web", edit))));
        scene.happen(Event::Connected(Conn(1), hello(7, vec![])));
        scene
    }

    fn happen(&mut self, event: Event) {
        self.now = self.now.plus(Millis(100));
        self.controller.handle(event, self.now);
    }

    fn canary(&self) -> &Canary {
        self.controller.canary(&id("web")).unwrap()
    }

    fn epoch(&self) -> Epoch {
        self.canary().epoch
    }

    fn adopt(&mut self) {
        self.happen(Event::adopted(Conn(1), id("web"), self.epoch()));
    }

    fn serve(&mut self, epoch: Epoch, sides: [Counts; 2]) {
        self.number += 1;
        let report = report(self.number, &id("web"), epoch, sides);
        self.happen(Event::reported(Conn(1), report));
    }

    fn ask(&mut self, verb: Verb) {
        self.happen(Event::Requested(id("web"), verb));
    }

    fn check(&mut self) {
        self.now = self.controller.deadline().unwrap().max(self.now);
        self.controller.handle(Event::Timer, self.now);
    }

    fn status(&self) -> CanaryStatus {
        status::canary(&self.controller, self.canary(), self.now)
    }

    /// Requests that began in this release: the primary's and the canary's.
    fn started(&self) -> [u64; 2] {
        let versions = self.status().versions;
        [versions[0].started, versions[1].started]
    }

    fn worker(&self) -> WorkerCanary {
        status::workers(&self.controller, self.now)[0].canaries[0].clone()
    }
}

fn abort() -> Verb {
    Verb::Abort { actor: word("ana"), reason: String::new() }
}

fn promote() -> Verb {
    Verb::Promote { actor: word("ana"), reason: String::new() }
}

fn confirm() -> Verb {
    Verb::Confirm { actor: word("ana"), reason: String::new() }
}

/// Requests that began in an earlier report and ended in this one.
fn only_ended(succeeded: u64) -> Counts {
    Counts { started: 0, ..counts(succeeded, 0, 0) }
}

#[test]
fn no_version_has_more_answers_than_requests_after_its_manifest_came_back() {
    for is_released in [false, true] {
        let mut scene = Scene::new(|_| ());
        if is_released {
            scene.ask(released("v2"));
        }
        let before = scene.epoch();
        scene.serve(before, [Counts { started: 20, ..Counts::default() }, Counts { started: 5, ..Counts::default() }]);
        scene.happen(Event::Withdrawn(id("web")));
        scene.happen(Event::Declared(Box::new(plan("web", |_| ()))));
        scene.serve(before, [only_ended(20), only_ended(5)]);
        scene.serve(scene.epoch(), [counts(45, 0, 0), Counts::default()]);
        let CanaryStatus { versions, totals, .. } = scene.status();
        for counted in versions.iter().chain(&totals) {
            assert!(counted.succeeded <= counted.started, "{counted:?}");
        }
        // A tombstone keeps the versions of its release, which ended with it; without a release nothing was kept.
        let shown = if is_released { 20 } else { 45 };
        assert_eq!((versions[0].started, versions[0].succeeded), (shown, shown));
        assert_eq!((totals[0].started, totals[0].succeeded), (65, 65), "what ended had begun");
    }
}

#[test]
fn an_agent_without_its_memory_counts_no_ends_without_beginnings_either() {
    let mut scene = Scene::new(|_| ());
    let foreign = Epoch(40);
    scene.happen(Event::Connected(Conn(2), hello(8, vec![(id("web"), foreign)])));
    assert!(scene.epoch() > foreign);
    let strata = vec![(stratum(&id("web"), foreign, Version::Primary), only_ended(30))];
    scene.happen(Event::reported(
        Conn(2),
        Report { number: 90, strata, watermarks: vec![], trips: vec![], destinations: vec![] },
    ));
    let CanaryStatus { versions, totals, .. } = scene.status();
    assert!(versions.iter().all(|counted| counted.succeeded == 0), "{versions:?}");
    assert!(totals.iter().all(|counted| counted.succeeded <= counted.started), "{totals:?}");
    // One that began and ended with it, in whatever order that comes.
    for counts in [only_ended(2), Counts { started: 3, ..Counts::default() }, counts(5, 0, 0)] {
        let strata = vec![(stratum(&id("web"), foreign, Version::Primary), counts)];
        let number = 91 + scene.number;
        scene.number += 1;
        scene.happen(Event::reported(
            Conn(2),
            Report { number, strata, watermarks: vec![], trips: vec![], destinations: vec![] },
        ));
    }
    assert_eq!((scene.status().totals[0].started, scene.status().totals[0].succeeded), (37, 37));
}

#[test]
fn the_versions_of_a_release_end_with_it() {
    let ends: [fn(&mut Scene); 3] = [
        |scene| scene.ask(abort()),
        |scene| {
            scene.ask(promote());
            scene.ask(confirm());
            scene.adopt();
            assert_eq!(scene.canary().phase.name(), "Succeeded");
        },
        // Not yet: its traffic is all the primary's, though workers have not said so.
        |scene| {
            scene.ask(promote());
            scene.ask(confirm());
            assert_eq!(scene.canary().phase.name(), "Finalising");
        },
    ];
    for end in ends {
        let mut scene = Scene::new(|_| ());
        scene.ask(released("v2"));
        let during = scene.epoch();
        scene.serve(during, [counts(90, 0, 0), counts(10, 0, 0)]);
        end(&mut scene);
        let after = scene.epoch();
        assert!(after > during);
        for _ in 0..50 {
            scene.serve(after, [counts(100, 0, 0), Counts::default()]);
        }
        assert_eq!(scene.started(), [90, 10]);
        // What it began with, a worker that learns late included, still ends in it.
        scene.serve(during, [counts(9, 0, 0), counts(1, 0, 0)]);
        assert_eq!(scene.started(), [99, 11]);
        scene.happen(Event::Declared(Box::new(plan("web", |spec| spec.threshold = 9))));
        scene.serve(scene.epoch(), [counts(100, 0, 0), Counts::default()]);
        assert_eq!(scene.started(), [99, 11], "a manifest that changes opens nothing again");
        assert_eq!(scene.status().totals[0].started, 99 + 5_100);
    }
}

#[test]
fn the_next_release_counts_afresh_also_one_that_takes_anothers_place_and_waits() {
    let mut scene = Scene::new(|spec| spec.promotion = Promotion::Swap);
    scene.ask(released("v2"));
    scene.serve(scene.epoch(), [counts(90, 0, 0), counts(10, 0, 0)]);
    scene.ask(abort());
    scene.ask(released("v3"));
    assert_eq!(scene.started(), [0, 0]);
    scene.serve(scene.epoch(), [counts(9, 0, 0), counts(1, 0, 0)]);
    assert_eq!(scene.started(), [9, 1]);

    let mut scene = Scene::new(|spec| spec.outside.hooks = vec![gate("owner", HookKind::ConfirmRollout)]);
    let (gate, actor) = ("owner".to_owned(), word("ana"));
    scene.ask(Verb::OpenGate { gate, revision: Some(word("v2")), expires_after: None, actor, reason: String::new() });
    scene.ask(released("v2"));
    assert_eq!(scene.canary().phase.steps(), 1);
    scene.serve(scene.epoch(), [counts(90, 0, 0), counts(10, 0, 0)]);
    scene.ask(released("v3"));
    assert_eq!(scene.canary().phase.name(), "Waiting");
    scene.ask(Verb::Skip { actor: word("ana"), reason: String::new() });
    scene.serve(scene.epoch(), [counts(9, 0, 0), counts(1, 0, 0)]);
    assert_eq!(scene.started()[1], 1);
}

#[test]
fn a_workers_split_is_that_of_the_table_it_has_in_force() {
    let mut scene = Scene::new(|_| ());
    scene.adopt();
    scene.serve(scene.epoch(), [counts(1_000, 0, 0), Counts::default()]);
    assert_eq!((scene.worker().requests, scene.worker().observed_percent), (1_000, Some(0.0)));
    scene.ask(released("v2"));
    let first = scene.epoch();
    scene.adopt();
    assert_eq!((scene.worker().requests, scene.worker().observed_percent), (0, None), "none under it yet");
    scene.serve(first, [counts(90, 0, 0), counts(10, 0, 0)]);
    assert_eq!((scene.worker().requests, scene.worker().observed_percent), (100, Some(10.0)));
    scene.ask(Verb::Skip { actor: word("ana"), reason: String::new() });
    assert_eq!(scene.worker().requests, 100, "it has the table before still");
    scene.adopt();
    scene.serve(scene.epoch(), [counts(80, 0, 0), counts(20, 0, 0)]);
    scene.serve(first, [counts(10, 0, 0), counts(0, 0, 0)]);
    assert_eq!(
        (scene.worker().requests, scene.worker().observed_percent),
        (100, Some(20.0)),
        "late ones are of another"
    );
    scene.ask(abort());
    scene.adopt();
    assert_eq!(scene.worker().observed_percent, None);
    let lost = scene.controller.fleet().workers().next().unwrap().1.placed[&id("web")];
    assert_eq!(lost.total(), 1_210, "none is forgotten");
}

#[test]
fn what_is_proven_stays_so_while_the_release_waits_to_be_promoted() {
    type Edit = fn(&mut Spec);
    let gated: Edit = |spec| spec.outside.hooks = vec![gate("owner", HookKind::ConfirmPromotion)];
    let free: Edit = |_| ();
    let waits = [("WaitingPromotion", gated), ("Promoting", free)];
    for (phase, edit) in waits {
        let mut scene = Scene::new(|spec| {
            on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
            spec.strategy = Strategy::Steps(vec![percent(10)]);
            edit(spec);
        });
        scene.ask(released("v2"));
        for _ in 0..3 {
            scene.serve(scene.epoch(), [counts(1_800, 0, 0), counts(200, 0, 0)]);
            scene.check();
        }
        assert_eq!((scene.canary().phase.name(), scene.status().toward_step), (phase, Some(1.0)));
        // Failures, and requests in flight: they are the guards' business now.
        let open = Counts { started: 30, ..Counts::default() };
        scene.serve(scene.epoch(), [counts(900, 0, 0), counts(100, 3, 0)]);
        scene.serve(scene.epoch(), [counts(300, 0, 0), open]);
        assert_eq!(scene.status().toward_step, Some(1.0), "{phase}");
        assert_eq!(explain(scene.canary(), scene.now).certificate.unwrap().progress, 1.0, "{phase}");
    }
    // A person who promotes it early has proven nothing.
    let mut scene = Scene::new(|spec| on_certificate(spec, Otherwise::Hold, Otherwise::Hold));
    scene.ask(released("v2"));
    scene.serve(scene.epoch(), [counts(90, 0, 0), counts(10, 0, 0)]);
    scene.ask(promote());
    scene.serve(scene.epoch(), [counts(90, 0, 0), counts(10, 0, 0)]);
    assert!(scene.status().toward_step.is_some_and(|progress| progress < 0.5), "{:?}", scene.status().toward_step);
}

#[test]
fn a_manifest_that_waits_is_seen_until_it_is_followed() {
    let mut scene = Scene::new(|_| ());
    let waits = |scene: &Scene| {
        let (status, summary) = (scene.status(), explain(scene.canary(), scene.now).summary);
        let said = "; a newer manifest waits for the next release";
        assert_eq!((status.message.contains(said), summary.contains(said)), [status.next_manifest.is_some(); 2].into());
        status.next_manifest.is_some()
    };
    let looser = |spec: &mut Spec| spec.checks[0].range.min = Some(1.0);
    scene.ask(released("v2"));
    assert!(!waits(&scene));
    for edit in [looser, |spec: &mut Spec| spec.course.skip_analysis = true] {
        scene.happen(Event::Declared(Box::new(plan("web", edit))));
        assert!(waits(&scene));
        assert_eq!(scene.canary().plan, plan("web", |_| ()), "the release keeps its plan");
    }
    scene.happen(Event::Declared(Box::new(plan("web", |_| ()))));
    assert!(!waits(&scene), "back to what the release follows");
    scene.happen(Event::Declared(Box::new(plan("web", looser))));
    scene.ask(abort());
    assert!(!waits(&scene));
    assert_eq!(scene.canary().plan, plan("web", looser));
}
