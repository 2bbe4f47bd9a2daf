//! What metric servers answer stands in history and alerts, with value, limit and verdict, also where it is good; and a
//! number that is none decides nothing.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Controller, Event, Output};
use rollout::judgement::certificate::Otherwise;
use rollout::release::inquiry::{CallId, MetricFinding, Reply};
use rollout::release::integrations::{Alert, Receiver, ReceiverKind, Severity};
use rollout::release::phase::{Note, Phase, Proof};
use rollout::release::plan::{Plan, Spec, Strategy, ThresholdRange};
use rollout::release::text;
use rollout::release::threshold_checks::CheckResult;

use fixture::walk::release;
use fixture::{counts, hello, id, metric, on_certificate, percent, plan, report};

struct Scene {
    controller: Controller,
    now: Millis,
    number: u64,
    queries: Vec<CallId>,
    alerts: Vec<String>,
}

impl Scene {
    fn new(edit: impl FnOnce(&mut Spec)) -> Self {
        let plan: Plan = plan("web", |spec| {
            spec.strategy = Strategy::Steps([10, 20].map(percent).to_vec());
            spec.checks.clear();
            spec.outside.metrics = vec![metric("errors")];
            spec.outside.blind_limit = 3;
            edit(spec);
        });
        let (queries, alerts) = Default::default();
        let mut scene = Self { controller: Controller::default(), now: Millis(1_000), number: 0, queries, alerts };
        scene.happen(Event::Declared(Box::new(plan)));
        scene.happen(Event::Connected(Conn(1), hello(7, vec![])));
        scene.happen(Event::Requested(id("web"), release("v2", false)));
        scene
    }

    fn happen(&mut self, event: Event) {
        let Output { stored, .. } = self.controller.handle(event, self.now);
        for command in stored {
            match command {
                Command::Query { call, .. } => self.queries.push(call),
                Command::Alert { notification, .. } => self.alerts.push(notification.message),
                _ => {}
            }
        }
    }

    /// Requests, the next look, and what all metrics answer to it.
    fn check(&mut self, good: u64, answer: f64) {
        self.number += 1;
        let epoch = self.controller.canary(&id("web")).unwrap().epoch;
        let report = report(self.number, &id("web"), epoch, [counts(good * 9, 0, 0), counts(good, 0, 0)]);
        self.now = Millis(self.controller.deadline().unwrap().max(self.now.plus(Millis(100))).0 - 100);
        self.happen(Event::reported(Conn(1), report));
        self.now = self.controller.deadline().unwrap().max(self.now);
        self.happen(Event::Timer);
        for call in std::mem::take(&mut self.queries) {
            self.happen(Event::Reply { canary: id("web"), call, reply: Reply::Metric(Ok(answer)) });
        }
    }

    fn notes(&self) -> Vec<Note> {
        self.controller.canary(&id("web")).unwrap().history.iter().map(|event| event.note.clone()).collect()
    }

    fn said(&self) -> Vec<String> {
        self.notes().iter().map(text::note).collect()
    }

    fn phase(&self) -> &Phase {
        &self.controller.canary(&id("web")).unwrap().phase
    }
}

fn alert(spec: &mut Spec) {
    let receiver = Receiver {
        kind: ReceiverKind::Slack,
        address: Some("http://127.0.0.1:1".into()),
        secret: None,
        channel: String::new(),
        username: String::new(),
        proxy: None,
    };
    spec.outside.alerts = vec![Alert { name: "ops".into(), severity: Severity::Info, receiver }];
}

#[test]
fn a_step_whose_only_check_is_a_metric_template_names_its_value() {
    let mut scene = Scene::new(|_| ());
    scene.check(10, 2.5);
    let last = scene.said().pop().unwrap();
    assert_eq!(last, "weight 10 -> 20 %: metric errors 2.5 (max 10)");
    let Some(Note::Stepped { proof: Some(Proof::WithMetrics { metrics, .. }), .. }) = scene.notes().pop() else {
        panic!("{:?}", scene.notes())
    };
    let range = ThresholdRange { min: None, max: Some(10.0) };
    assert_eq!(metrics, [MetricFinding { metric: "errors".into(), value: 2.5, range, answer: CheckResult::Pass }]);
    scene.check(10, 3.0);
    assert!(scene.said().iter().any(|said| said.starts_with("proven: metric errors 3 (max 10); waits for")));
    assert!(!scene.said().iter().any(|said| said.contains("no checks")), "{:?}", scene.said());
}

#[test]
fn values_stand_beside_checks_and_certificates() {
    let mut checked = Scene::new(|spec| spec.checks = fixture::spec("web").checks);
    checked.check(10, 1.0);
    let last = checked.said().pop().unwrap();
    assert!(last.contains("request-success-rate 100 %") && last.ends_with("; metric errors 1 (max 10)"), "{last}");

    let mut certified = Scene::new(|spec| {
        spec.checks = fixture::spec("web").checks;
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
    });
    for _ in 0..6 {
        certified.check(400, 1.0);
    }
    let stepped = certified.said().into_iter().find(|said| said.starts_with("weight 10")).unwrap();
    assert!(stepped.contains(" certified: ") && stepped.ends_with("; metric errors 1 (max 10)"), "{stepped}");
}

#[test]
fn both_bounds_several_metrics_and_none_are_said() {
    let mut scene = Scene::new(|spec| {
        let range = |min, max| ThresholdRange { min, max };
        let with = |name: &str, range| rollout::release::plan::ExternalMetric { range, ..metric(name) };
        spec.outside.metrics = vec![
            with("a", range(Some(1.0), Some(5.0))),
            with("b", range(Some(-2.0), None)),
            with("c", range(None, None)),
        ];
    });
    scene.check(10, 1.5);
    let last = scene.said().pop().unwrap();
    assert_eq!(last, "weight 10 -> 20 %: metric a 1.5 (min 1, max 5); metric b 1.5 (min -2); metric c 1.5 (no limit)");
}

#[test]
fn a_promotion_is_alerted_with_its_values() {
    let mut scene = Scene::new(alert);
    scene.check(10, 2.5);
    scene.check(10, 0.0);
    assert!(scene.alerts.iter().any(|said| said.contains("metric errors 0 (max 10)")), "{:?}", scene.alerts);
}

#[test]
fn a_number_that_is_none_is_blind_and_never_passes() {
    for (value, range) in [
        (f64::INFINITY, ThresholdRange { min: Some(50.0), max: None }),
        (f64::NEG_INFINITY, ThresholdRange { min: None, max: Some(50.0) }),
        (f64::NAN, ThresholdRange { min: None, max: None }),
    ] {
        let mut scene = Scene::new(|spec| spec.outside.metrics[0].range = range);
        scene.check(10, value);
        let run = scene.phase().run().unwrap();
        assert_eq!((run.blind_checks, run.failed_checks, scene.phase().steps()), (1, 0, 1), "{value}");
        let last = scene.said().pop().unwrap();
        assert!(last.contains("which is no finite number"), "{last}");
    }
    let broken = |value| {
        let mut spec = fixture::spec("web");
        spec.outside.metrics = vec![metric("errors")];
        spec.outside.metrics[0].range.max = Some(value);
        Plan::new(spec).unwrap_err().remove(0).to_string()
    };
    assert_eq!(broken(f64::INFINITY), "spec.analysis.metrics[0].thresholdRange.max: inf must be a finite number");
    assert!(broken(f64::NAN).contains("must be a finite number"));
}
