//! A page with every family on it. What a live agent serves is in `tests/shell/metrics.rs`.

mod published;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollout::base::names::{CanaryId, Revision};
use rollout::base::time::Micros;
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Event, Verb};
use rollout::release::integrations::{Hook, HookKind, HookTarget, MetricError, Provider, ProviderKind};
use rollout::release::plan::{ExternalMetric, Plan, Spec, ThresholdRange};
use rollout::routing::outcome::Outcome;
use rollout::routing::route::Placement;
use rollout::routing::table::{Epoch, Version};
use rollout::worker::messages::{Report, ToWorker};
use rollout::worker::tally::{Counts as Tally, Slot, Stratum};

use super::*;
use crate::journal::tests::{hello, web};
use crate::secrets::Secrets;

const MANIFEST: &str = "apiVersion: serin.dev/v1alpha1
kind: Canary
metadata: { name: web, namespace: prod }
spec:
  analysis:
    stepWeights: [10]
    metrics:
      - { name: request-success-rate, thresholdRange: { min: 99 } }
      - { name: request-duration, thresholdRange: { max: 500 } }
";

/// One canary's life: aborted, promoted, and a third release in progress.
struct Life {
    controller: Controller,
    sources: Sources,
    begun: BTreeMap<CanaryId, events::StartedRelease>,
    at: Millis,
    epoch: Epoch,
}

impl Life {
    fn begin(flagger: bool) -> Self {
        let sources = Sources {
            streams: Arc::default(),
            alerts: Alerts::new(Secrets::default()),
            calls: Calls::default(),
            events: EventCounts::default(),
            flagger,
        };
        let (controller, begun) = (Controller::default(), BTreeMap::new());
        let mut life = Self { controller, sources, begun, at: Millis(1_000_000), epoch: Epoch::default() };
        life.happen(Event::Declared(Box::new(plan())));
        life.happen(Event::Connected(Conn(1), hello(1)));
        life
    }

    fn happen(&mut self, event: Event) {
        self.at = self.at.plus(Millis::from_secs(60));
        let output = self.controller.handle(event, self.at);
        for command in output.urgent.into_iter().chain(output.stored) {
            match command {
                Command::Announce(canary, event) => {
                    if matches!(event.note, rollout::release::phase::Note::Started { .. }) {
                        self.begun.extend(started_releases(&self.controller));
                    }
                    self.sources.events.count(&canary, &event, &mut self.begun);
                }
                Command::Push(entry) | Command::Send(_, ToWorker::Entry(entry)) => self.epoch = entry.epoch,
                _ => {}
            }
        }
    }

    fn ask(&mut self, verb: impl FnOnce(Revision, String) -> Verb) {
        self.happen(Event::Requested(web(), verb(word("ann"), String::new())));
    }

    fn release(&mut self, revision: &str) {
        self.ask(|actor, _| Verb::Release {
            revision: word(revision),
            actor,
            reason: String::new(),
            accept_unsupported: false,
        });
    }

    fn page(&self) -> String {
        let moment = Moment { now: self.at, is_journal_failing: false, manifest_problems: 0 };
        render(&self.controller, &self.sources, moment)
    }
}

/// With a gate and a metric of another server, which a test need not read from a manifest.
fn plan() -> Plan {
    let loaded = manifest::read("web.yaml", MANIFEST);
    let mut spec = Spec::from(loaded.documents[0].plan().unwrap().clone());
    let target = HookTarget::Gate;
    spec.outside.hooks.push(Hook { name: "owner".into(), kind: HookKind::ConfirmPromotion, target, mute_alert: false });
    let provider = Provider {
        kind: ProviderKind::Prometheus,
        address: Some("http://127.0.0.1:1".into()),
        headers: BTreeMap::new(),
        secret: None,
        region: None,
        insecure_skip_verify: false,
    };
    let range = ThresholdRange { min: None, max: Some(1.0) };
    let (name, query, window) = ("errors".into(), "up".into(), Millis::from_secs(60));
    spec.outside.metrics.push(ExternalMetric { name, provider, query, window, range });
    Plan::new(spec).unwrap()
}

/// Ten good requests of 5 ms.
fn report(number: u64, version: Version, epoch: Epoch) -> Report {
    let stratum = Stratum { canary: web(), epoch, version, placement: Placement::Drawn, slot: Slot(0) };
    let mut counts = Tally { started: 10, ..Tally::default() };
    (0..10).for_each(|_| counts.end_both(Outcome::Success, Micros(5000), false));
    Report { number, strata: vec![(stratum, counts)], watermarks: vec![], trips: vec![], destinations: vec![] }
}

fn word(text: &str) -> Revision {
    Revision::parse(text).unwrap()
}

/// All that there is to see.
fn full(flagger: bool) -> String {
    let mut life = Life::begin(flagger);
    life.release("v1");
    life.ask(|actor, reason| Verb::Abort { actor, reason });
    life.release("v2");
    life.ask(|actor, reason| Verb::Promote { actor, reason });
    life.ask(|actor, reason| Verb::Confirm { actor, reason });
    life.happen(Event::adopted(Conn(1), web(), life.epoch));
    life.happen(Event::Timer);
    life.release("v3");
    for (number, version) in [(1, Version::Primary), (2, Version::Canary)] {
        life.happen(Event::reported(Conn(1), report(number, version, life.epoch)));
    }
    let (calls, took) = (&life.sources.calls, Duration::from_millis(20));
    calls.hook(&web(), "owner", true, took);
    calls.query(&web(), "errors", "prometheus", &Ok(0.5), took);
    life.page()
}

/// A family of a page: its type, its labels, its help.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    kind: String,
    labels: BTreeSet<String>,
    help: String,
}

/// Families by the names that queries use.
fn families(page: &str) -> BTreeMap<String, Read> {
    let mut helps = BTreeMap::new();
    let mut read: BTreeMap<String, Read> = BTreeMap::new();
    for line in classic(page).lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name.to_owned(), help.trim_end_matches('.').to_owned());
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let help = helps.remove(name).unwrap();
            read.insert(name.to_owned(), Read { kind: kind.into(), labels: BTreeSet::new(), help });
        } else if !line.starts_with('#') {
            let sample = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
            let family = parts.chain([name]).find(|name| read.contains_key(*name)).unwrap();
            let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
            let labels = labels.map(|label| label.split_once('=').unwrap().0.to_owned());
            read.get_mut(family).unwrap().labels.extend(labels.filter(|label| label != "le"));
        }
    }
    read
}

/// The page as readers of Prometheus' older format want it, with the counters' suffix in TYPE and HELP too.
fn classic(page: &str) -> String {
    let counters: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let line = |line: &str| {
        for head in ["# TYPE ", "# HELP "] {
            if let Some((name, rest)) = line.strip_prefix(head).and_then(|rest| rest.split_once(' '))
                && counters.contains(name)
            {
                return format!("{head}{name}_total {rest}\n");
            }
        }
        format!("{line}\n")
    };
    page.lines().filter(|text| *text != "# EOF").map(line).collect()
}

#[test]
fn labels_are_names_of_the_configuration() {
    let configured = [
        "namespace",
        "name",
        "version",
        "outcome",
        "phase",
        "reason",
        "state",
        "gate",
        "hook",
        "metric",
        "provider",
        "kind",
        "cause",
        "workload",
        "mesh_provider",
        "deployment_strategy",
        "analysis_status",
    ];
    let page = full(true);
    for (name, family) in families(&page) {
        assert!(family.labels.iter().all(|label| configured.contains(&label.as_str())), "{name}: {family:?}");
    }
    // What releases, people and answers say is on no page.
    for said in ["v1", "v2", "v3", "ann", "proxy"] {
        assert!(!page.contains(&format!("\"{said}\"")), "{said}");
    }
}

#[test]
fn the_numbers_are_those_of_the_life() {
    let page = full(true);
    let value = |sample: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {sample} in\n{page}")).parse::<f64>().unwrap()
    };
    let of = r#"namespace="prod",name="web""#;
    for (sample, expected) in [
        (format!(r#"serin_releases_total{{{of},outcome="succeeded"}}"#), 1.0),
        (format!(r#"serin_releases_total{{{of},outcome="failed"}}"#), 1.0),
        (format!(r#"serin_aborts_total{{{of},cause="requested"}}"#), 1.0),
        (format!(r#"serin_events_total{{{of},kind="started"}}"#), 3.0),
        (format!(r#"serin_events_total{{{of},kind="declared"}}"#), 1.0),
        (format!(r#"serin_release_duration_seconds_sum{{{of},outcome="failed"}}"#), 60.0),
        (format!(r#"serin_hook_calls_total{{{of},hook="owner",outcome="agreed"}}"#), 1.0),
        (format!(r#"serin_provider_value{{{of},metric="errors"}}"#), 0.5),
        (format!(r#"serin_gate_open{{{of},gate="owner"}}"#), 0.0),
        (format!(r#"serin_canary_workers{{{of},state="live"}}"#), 1.0),
        (r#"flagger_canary_total{namespace="prod"}"#.into(), 1.0),
        (r#"flagger_canary_status{name="web",namespace="prod"}"#.into(), 0.0),
        (r#"flagger_canary_weight{workload="web",namespace="prod"}"#.into(), 10.0),
        (r#"flagger_canary_weight{workload="web-primary",namespace="prod"}"#.into(), 90.0),
        (r#"flagger_canary_metric_analysis{name="web",namespace="prod",metric="request-success-rate"}"#.into(), 100.0),
        (r#"flagger_canary_metric_analysis{name="web",namespace="prod",metric="errors"}"#.into(), 0.5),
    ] {
        assert_eq!(value(&sample), expected, "{sample}");
    }
    let p99 = value(r#"flagger_canary_metric_analysis{name="web",namespace="prod",metric="request-duration"}"#);
    assert!((0.004..0.006).contains(&p99), "seconds, as in Flagger: {p99}");
    for count in ["successes", "failures"] {
        let labels = r#"name="web",namespace="prod",deployment_strategy="canary",analysis_status="completed""#;
        assert_eq!(value(&format!("flagger_canary_{count}_total{{{labels}}}")), 1.0);
    }
    assert!(!full(false).contains("flagger_"));
}

#[test]
fn flaggers_status_is_running_failed_or_neither() {
    let status = |life: &Life| {
        let page = life.page();
        let sample = r#"flagger_canary_status{name="web",namespace="prod"} "#;
        page.lines().find_map(|line| line.strip_prefix(sample)).unwrap().to_owned()
    };
    let mut life = Life::begin(true);
    assert_eq!(status(&life), "1", "Initialized");
    life.release("v2");
    assert_eq!(status(&life), "0", "Progressing");
    life.ask(|actor, reason| Verb::Pause { actor, reason });
    assert_eq!(status(&life), "0", "Paused");
    life.ask(|actor, reason| Verb::Promote { actor, reason });
    assert_eq!(status(&life), "1", "Promoting");
    life.ask(|actor, reason| Verb::Abort { actor, reason });
    assert_eq!(status(&life), "2", "Failed");
}

#[test]
fn a_blind_server_has_no_value() {
    let life = Life::begin(false);
    let (calls, took) = (&life.sources.calls, Duration::from_secs(1));
    calls.query(&web(), "errors", "prometheus", &Ok(0.5), took);
    assert!(life.page().contains("serin_provider_value{"));
    for (blind, outcome) in [(MetricError::NoValue, "none"), (MetricError::Failed("503".into()), "failed")] {
        calls.query(&web(), "errors", "prometheus", &Err(blind), took);
        let page = life.page();
        assert!(!page.contains("serin_provider_value{"), "{page}");
        assert!(page.contains(&format!(r#"metric="errors",provider="prometheus",outcome="{outcome}"}} 1"#)), "{page}");
    }
}
