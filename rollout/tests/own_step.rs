//! A check on interval passes only on requests of its own step: what other steps, shares and epochs showed is evidence of
//! another time.

#![cfg(test)]

mod fixture;

use rollout::base::histogram::Latency;
use rollout::base::time::Millis;
use rollout::controller::canary::Canary;
use rollout::controller::fleet::Conn;
use rollout::controller::{Controller, Event, Verb};
use rollout::release::phase::{Hold, Note, Phase};
use rollout::release::plan::{Metric, Spec, Strategy};
use rollout::release::text;
use rollout::routing::request::{MatchRule, StringMatch};
use rollout::routing::table::Epoch;
use rollout::view::explanation::explain;
use rollout::worker::tally::Timed;

use fixture::world::round_trip;
use fixture::{counts, hello, id, percent, plan, released, report, trip, word};

/// 10, 30, 60, 90 %, a check every 2 s over the last minute: the windows of all steps overlap.
fn overlapping(spec: &mut Spec) {
    spec.strategy = Strategy::Steps([10, 30, 60, 90].map(percent).to_vec());
    spec.interval = Millis(2_000);
    spec.checks.iter_mut().for_each(|check| check.window = Millis::from_secs(60));
}

/// One release under one worker, who has every entry at once.
struct Release {
    controller: Controller,
    now: Millis,
    number: u64,
}

impl Release {
    fn new(edit: impl FnOnce(&mut Spec)) -> Self {
        let mut release = Self { controller: Controller::default(), now: Millis(1_000), number: 0 };
        let edited = |spec: &mut Spec| {
            overlapping(spec);
            edit(spec);
        };
        release.happen(Event::Declared(Box::new(plan("web", edited))));
        release.happen(Event::Connected(Conn(1), hello(7, vec![])));
        release.happen(Event::Requested(id("web"), released("v2")));
        release
    }

    fn happen(&mut self, event: Event) {
        self.controller.handle(event, self.now);
    }

    fn canary(&self) -> &Canary {
        self.controller.canary(&id("web")).unwrap()
    }

    fn step(&self) -> usize {
        self.canary().phase.steps()
    }

    fn epoch(&self) -> Epoch {
        self.canary().epoch
    }

    /// Good, bad and slow answers to requests that started under an epoch.
    fn serve(&mut self, epoch: Epoch, [good, bad, slow]: [u64; 3]) {
        self.number += 1;
        let report = report(self.number, &id("web"), epoch, [counts(100, 0, 0), counts(good, bad, slow)]);
        self.happen(Event::reported(Conn(1), report));
    }

    fn serve_now(&mut self, answers: [u64; 3]) {
        self.serve(self.epoch(), answers);
    }

    /// The next check.
    fn check(&mut self) {
        self.now = self.controller.deadline().unwrap().max(self.now);
        self.happen(Event::Timer);
    }

    /// So many checks, of which none may move it.
    fn stays(&mut self, checks: usize, why: &str) {
        let before = self.step();
        for _ in 0..checks {
            self.check();
            assert_eq!((self.step(), self.canary().phase.name()), (before, "Progressing"), "{why}");
        }
        assert_eq!(self.canary().phase.hold(), Some(&Hold::NoTraffic), "{why}");
    }

    fn ask(&mut self, verb: Verb) {
        self.now = self.now.plus(Millis(100));
        self.happen(Event::Requested(id("web"), verb));
    }

    fn failed_checks(&self) -> u32 {
        self.canary().phase.run().unwrap().failed_checks
    }

    fn notes(&self) -> Vec<String> {
        self.canary().history.iter().map(|event| text::note(&event.note)).collect()
    }
}

fn skip() -> Verb {
    Verb::Skip { actor: word("ana"), reason: String::new() }
}

fn set(weight: u32) -> Verb {
    Verb::SetWeight { weight: percent(weight), actor: word("ana"), reason: String::new() }
}

fn resume() -> Verb {
    Verb::Resume { actor: word("ana"), reason: String::new() }
}

#[test]
fn four_requests_at_ten_percent_prove_ten_percent() {
    for quiet in [true, false] {
        let mut release = Release::new(|_| ());
        release.serve_now([4, 0, 0]);
        release.check();
        assert_eq!(release.step(), 2);
        release.stays(10, "the requests of step 1 say nothing of step 2");
        let said = release.notes().join("\n");
        assert!(!said.contains("proven"), "{said}");
        let explained = explain(release.canary(), release.now);
        assert!(explained.checks.iter().all(|check| check.verdict == "undecided" && check.requests == 0));
        if !quiet {
            release.serve_now([1, 0, 0]);
            release.check();
            assert_eq!(release.step(), 3, "{:?}", release.canary().phase);
        }
    }
}

#[test]
fn neither_does_any_one_check_alone_nor_a_plan_without_checks() {
    let only = |wanted: fn(&Metric) -> bool| move |spec: &mut Spec| spec.checks.retain(|check| wanted(&check.metric));
    let kept: [fn(&Metric) -> bool; 3] =
        [|metric| *metric == Metric::SuccessRate, |metric| *metric != Metric::SuccessRate, |_| false];
    for kept in kept {
        let mut release = Release::new(only(kept));
        release.serve_now([50, 0, 0]);
        release.check();
        assert_eq!(release.step(), 2);
        release.stays(5, "no request of its own");
    }
}

#[test]
fn what_arrives_late_of_the_step_before_may_fail_a_check_and_never_passes_one() {
    let mut release = Release::new(|spec| spec.threshold = 5);
    let before = release.epoch();
    release.serve_now([40, 0, 0]);
    release.check();
    release.serve(before, [40, 0, 0]);
    release.stays(3, "late answers are another step's");
    release.serve(before, [0, 40, 0]);
    release.check();
    assert_eq!((release.step(), release.failed_checks()), (2, 1), "failures that take longer than a step still count");
    release.serve_now([100, 0, 0]);
    release.check();
    assert_eq!((release.step(), release.failed_checks()), (2, 2), "40 of 180 failed since the step was taken");

    // Good ones dilute nothing: 1 % may fail, of this step's requests.
    let mut release = Release::new(|spec| spec.threshold = 5);
    release.serve_now([10_000, 0, 0]);
    release.check();
    release.serve_now([20, 1, 0]);
    release.check();
    assert_eq!((release.step(), release.failed_checks()), (2, 1));
    let Some(Note::CheckFailed { verdict, .. }) = release.canary().history.back().map(|event| event.note.clone())
    else {
        panic!("{:?}", release.notes())
    };
    assert_eq!(verdict.findings[0].requests, 21);
}

#[test]
fn a_warm_up_shows_no_latency_so_no_duration_check_passes_in_it() {
    let mut release = Release::new(|spec| spec.guards.guards.clear());
    let warming = |release: &mut Release| {
        release.number += 1;
        let mut canary = counts(9, 0, 0);
        (canary.timed, canary.latency) = (Timed::default(), Latency::new());
        let report = report(release.number, &id("web"), release.epoch(), [counts(100, 0, 0), canary]);
        release.happen(Event::reported(Conn(1), report));
        release.check();
    };
    for _ in 0..3 {
        warming(&mut release);
        assert_eq!((release.step(), release.canary().phase.hold()), (1, Some(&Hold::NoLatency)));
    }
    release.serve_now([9, 0, 0]);
    release.check();
    assert_eq!((release.step(), release.canary().phase.hold()), (2, None));
}

#[test]
fn a_step_that_a_person_skips_proves_nothing_for_the_next() {
    let mut release = Release::new(|_| ());
    release.serve_now([90, 0, 0]);
    release.ask(skip());
    assert_eq!(release.step(), 2);
    release.stays(5, "skipped to");

    // What was wrong on it is not held against the next either, which has answers of its own.
    let mut release = Release::new(|_| ());
    release.serve_now([0, 90, 0]);
    release.ask(skip());
    release.serve_now([90, 0, 0]);
    release.check();
    assert_eq!((release.step(), release.failed_checks()), (3, 0));
}

#[test]
fn a_share_that_a_person_sets_is_judged_by_its_own_requests() {
    for (weight, next) in [(50, 3), (5, 1)] {
        let mut release = Release::new(|_| ());
        release.serve_now([90, 0, 0]);
        release.ask(set(weight));
        release.ask(resume());
        release.stays(4, "requests at 10 % say nothing of another share");
        release.serve_now([3, 0, 0]);
        release.check();
        assert_eq!(release.step(), next, "after {weight} %");
    }
}

#[test]
fn a_pause_and_a_resume_leave_a_step_its_requests() {
    let mut release = Release::new(|_| ());
    release.serve_now([90, 0, 0]);
    release.ask(Verb::Pause { actor: word("ana"), reason: String::new() });
    release.check();
    release.ask(resume());
    release.check();
    assert_eq!(release.step(), 2, "they are of the same step and share");
    release.ask(Verb::Pause { actor: word("ana"), reason: String::new() });
    release.ask(resume());
    release.stays(3, "a resumed step has none yet");
}

#[test]
fn every_iteration_and_the_time_with_all_traffic_need_requests_of_their_own() {
    let mut release = Release::new(|spec| {
        spec.rules = vec![rule()];
        spec.strategy = Strategy::Iterations(3);
        spec.course.bake = Some(Millis::from_secs(4));
    });
    for iteration in 1..=3 {
        assert_eq!(release.step(), iteration);
        release.stays(3, "an iteration");
        release.serve_now([2, 0, 0]);
        release.check();
    }
    assert_eq!(release.step(), 4, "the time with all traffic");
    release.stays(5, "baking");
    release.serve_now([2, 0, 0]);
    release.check();
    assert_eq!(release.canary().phase.name(), "Promoting");
    assert!(release.notes().iter().any(|note| note.starts_with("proven") && note.contains("2 requests")));
}

fn rule() -> MatchRule {
    MatchRule { headers: vec![("x-tester".into(), StringMatch::Present)], ..MatchRule::default() }
}

#[test]
fn a_restart_in_mid_step_neither_adds_nor_loses_requests() {
    let mut release = Release::new(|_| ());
    release.serve_now([90, 0, 0]);
    release.check();
    assert_eq!(release.step(), 2);
    let restart = |release: &mut Release, away: u64| {
        release.controller = round_trip(&release.controller);
        release.now = release.now.plus(Millis(away));
        release.happen(release.controller.restarted(release.now));
        let adopted = vec![(id("web"), release.epoch())];
        release.happen(Event::Connected(Conn(2), hello(7, adopted)));
    };
    restart(&mut release, 3_000);
    release.stays(3, "step 1's requests are in the window still");
    let number = release.number + 1;
    release.number = number;
    let own = report(number, &id("web"), release.epoch(), [counts(9, 0, 0), counts(5, 0, 0)]);
    release.happen(Event::reported(Conn(2), own));
    restart(&mut release, 3_000);
    release.check();
    assert_eq!(release.step(), 3, "the step's own are not forgotten");
}

#[test]
fn an_entry_that_says_the_same_again_leaves_a_step_its_requests() {
    let mut release = Release::new(|_| ());
    let first = release.epoch();
    release.serve_now([90, 0, 0]);
    let mut tripped = report(release.number + 1, &id("web"), first, [counts(0, 0, 0), counts(0, 0, 0)]);
    tripped.trips = vec![trip(&id("web"), first)];
    release.number += 1;
    release.happen(Event::reported(Conn(1), tripped));
    for _ in 0..20 {
        release.check();
        if release.epoch() > first {
            break;
        }
    }
    assert!(release.epoch() > first && release.step() == 1, "armed again");
    let epoch = release.epoch();
    release.happen(Event::adopted(Conn(1), id("web"), epoch));
    release.check();
    release.check();
    assert_eq!(release.step(), 2, "an earlier epoch of the same step: {:?}", release.canary().phase);
}

#[test]
fn a_release_that_is_promoted_is_not_failed_by_what_came_before() {
    let mut release = Release::new(|spec| {
        spec.strategy = Strategy::Steps(vec![percent(10)]);
        spec.course.promotion_step = Some(percent(5));
    });
    release.serve_now([90, 0, 0]);
    release.check();
    release.ask(Verb::Confirm { actor: word("ana"), reason: String::new() });
    release.check();
    assert!(matches!(release.canary().phase, Phase::Finalising(_) | Phase::Succeeded(_)));
}
