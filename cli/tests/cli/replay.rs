//! `replay`: a record from the agent or from a file, under its own settings and under others.

use std::fs;

use rollout::base::names::{CanaryId, Revision};
use rollout::base::time::{Micros, Millis};
use rollout::controller::fleet::Conn;
use rollout::controller::{Controller, Event, Verb};
use rollout::record::replay::Replayed;
use rollout::record::{Added, Recorder};
use rollout::routing::outcome::{FailureClass, Outcome};
use rollout::routing::route::Placement;
use rollout::routing::table::Version;
use rollout::worker::messages::{Hello, Incarnation, PROTOCOL, Report};
use rollout::worker::tally::{Counts, Slot, Stratum};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{Fake, Script};
use crate::fixture;
use crate::run::{Ran, ran, run, serin};

const MANIFEST: &str = "apiVersion: serin.dev/v1alpha1
kind: Canary
metadata: { name: web, namespace: prod }
spec:
  analysis:
    interval: 1h
    threshold: 2
    stepWeights: [10]
    metrics: [{ name: request-success-rate, interval: 60s, thresholdRange: { min: 99 } }]
";

/// The record of a release that fails every second request and is aborted by the second report, after 1.2 s.
fn record() -> String {
    let (mut controller, mut recorder, mut text) = (Controller::default(), Recorder::default(), String::new());
    let word = |text| Revision::parse(text).unwrap();
    let id = CanaryId::new("prod", "web").unwrap();
    let mut happen = |controller: &mut Controller, at: u64, event| {
        let (_, additions) = recorder.handle(controller, event, Millis(1_700_000_000_000 + at));
        for addition in additions {
            text += &match addition.what {
                Added::Opening(opening) => serde_json::to_string(&opening).unwrap(),
                Added::Line(line) => serde_json::to_string(&line).unwrap(),
            };
            text += "\n";
        }
    };
    let loaded = manifest::read("web.yaml", MANIFEST);
    happen(&mut controller, 0, Event::Declared(Box::new(loaded.documents[0].plan().unwrap().clone())));
    let hello = Hello {
        protocol: PROTOCOL,
        incarnation: Incarnation(1),
        node: "proxy".into(),
        cluster: "front".into(),
        filter_version: "1".into(),
        adopted: vec![],
        default_upstreams: vec![],
        trips: vec![],
    };
    happen(&mut controller, 0, Event::Connected(Conn(1), hello));
    let verb =
        Verb::Release { revision: word("v2"), actor: word("ann"), reason: String::new(), accept_unsupported: false };
    happen(&mut controller, 0, Event::Requested(id.clone(), verb));
    for (number, requests, failed) in [(1, 10, 0), (2, 10, 5)] {
        let epoch = controller.canary(&id).unwrap().epoch;
        let version = Version::Canary;
        let stratum =
            Stratum { canary: id.clone(), epoch, version, placement: Placement::Drawn, slot: Slot(number as u32) };
        let mut counts = Counts::begun(requests);
        (0..failed).for_each(|_| counts.end_both(Outcome::Failure(FailureClass::Status5xx), Micros(900), true));
        (failed..requests).for_each(|_| counts.end_both(Outcome::Success, Micros(900), false));
        let report =
            Report { number, strata: vec![(stratum, counts)], watermarks: vec![], trips: vec![], destinations: vec![] };
        happen(&mut controller, number * 600, Event::reported(Conn(1), report));
    }
    text
}

fn recorded(release: u64) -> Value {
    json!({
        "release": release, "revision": "v2", "beganAtMs": 1_700_000_000_000u64, "endedAtMs": 1_700_000_001_200u64,
        "outcome": "aborted", "message": "guard slo", "lines": 4, "bytes": 1234, "truncated": null,
    })
}

async fn agent() -> Fake {
    let canaries = vec![fixture::canary("prod", "web", "Failed"), fixture::canary("shop", "api", "Paused")];
    let releases = vec![recorded(2), recorded(3)];
    Fake::start(Script { canaries, releases, record: record(), ..Script::default() }).await
}

fn folder(files: &[(&str, &str)]) -> (TempDir, impl Fn(&str) -> String + use<>) {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    let path = folder.path().to_path_buf();
    (folder, move |name| path.join(name).display().to_string())
}

/// A saved record, replayed.
async fn from(text: &[u8]) -> Ran {
    let (folder, path) = folder(&[]);
    fs::write(folder.path().join("record.jsonl"), text).unwrap();
    ran(serin(&["replay", "--record", &path("record.jsonl")])).await
}

#[tokio::test]
async fn a_release_is_told_as_it_was() {
    let fake = agent().await;
    let ran = run(&fake.url, &["replay", "web"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    let first = "Release 1 of prod/web, revision v2, with 20 canary requests (5 failed): aborted after 1.2s: guard slo";
    assert!(lines[0].starts_with(first), "{}", ran.out);
    assert!(lines[2].trim().starts_with("AS RECORDED"), "{}", ran.out);
    assert!(lines[3].starts_with("aborted") && lines[3].ends_with("1.2s by guard slo"), "{}", ran.out);
    assert!(ran.out.contains("step 1 (10 %), 0s - 1.2s, 20 canary requests (5 failed)   not certified"), "{}", ran.out);
    let checks = ran.out.lines().find(|line| line.starts_with("checks ")).unwrap();
    assert!(checks.ends_with("  none was made"), "the interval is longer than the release: {}", ran.out);
    assert!(!ran.out.contains("history sent them"), "there is nothing to be misled by: {}", ran.out);
}

#[tokio::test]
async fn other_settings_are_told_beside_with_what_they_cannot_know() {
    let fake = agent().await;
    let other = MANIFEST.replace("min: 99", "min: 40").replace("name: web", "name: other");
    let (folder, path) = folder(&[("lax.yaml", &other), ("same.yaml", MANIFEST), ("off.yaml", "")]);
    let off = MANIFEST.replacen("analysis:\n", "analysis:\n    guards: off\n", 1);
    fs::write(folder.path().join("off.yaml"), off).unwrap();
    let said = async |file: &str| run(&fake.url, &["replay", "web", "--release", "3", "-f", &path(file)]).await;
    let lax = said("lax.yaml").await;
    assert_eq!(lax.code, 0, "{}", lax.err);
    assert_eq!(lax.out.lines().nth(1), Some("Under lax.yaml: never aborted, as far as the record goes"));
    assert!(lax.out.contains("lax.yaml") && lax.out.contains("Requests went where history sent them"), "{}", lax.out);
    let line = said("same.yaml").await.out.lines().nth(1).unwrap().to_owned();
    let same =
        "Under same.yaml: aborted after 1.2s (at the same moment) by guard slo, with 20 canary requests (5 failed)";
    assert_eq!(line, same);
    assert!(said("off.yaml").await.out.contains("never"));
}

#[tokio::test]
async fn a_saved_record_needs_no_agent_and_says_the_same() {
    let fake = agent().await;
    let (_folder, path) = folder(&[("lax.yaml", &MANIFEST.replace("min: 99", "min: 40"))]);
    let saved = path("saved.jsonl");
    let args = ["replay", "prod/web", "--save", &saved, "-f", &path("lax.yaml"), "-o", "json"];
    let live = run(&fake.url, &args).await;
    assert_eq!(live.code, 0, "{}", live.err);
    assert_eq!(fs::read_to_string(&saved).unwrap(), record());
    fake.stop();
    let offline = ran(serin(&["replay", "--record", &saved, "-f", &path("lax.yaml"), "-o", "json"])).await;
    assert_eq!(offline.out, live.out);
    let replayed: Replayed = serde_json::from_str(&offline.out).unwrap();
    assert_eq!(replayed.recorded.abort.unwrap().since_ms, 1_200);
    assert_eq!(replayed.other.unwrap().abort, None);
}

#[tokio::test]
async fn recorded_releases_are_listed_also_where_the_wanted_one_is_not_among_them() {
    let fake = agent().await;
    let list = run(&fake.url, &["replay", "web", "--list"]).await;
    assert!(list.out.starts_with("RELEASE   REVISION   BEGAN"), "{}", list.out);
    assert!(list.out.contains("2023-11-14 22:13:20Z     1s   aborted"), "{}", list.out);
    let missing = run(&fake.url, &["replay", "web", "--release", "9"]).await;
    assert_eq!(missing.code, 1);
    let said = "release 9 of canary prod/web is not recorded; recorded are 2 (v2), 3 (v2)";
    assert!(missing.err.contains(said), "{}", missing.err);
    let unknown = run(&fake.url, &["replay", "prod/webb"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("did you mean prod/web?"), "{}", unknown.err);
    fake.script().releases.clear();
    let none = run(&fake.url, &["replay", "web"]).await;
    assert!(none.code == 1 && none.err.contains("--records-mib"), "{}", none.err);
    assert_eq!(run(&fake.url, &["replay", "web", "--list"]).await.code, 0);
}

#[tokio::test]
async fn a_file_that_is_no_whole_record_is_refused_by_what_is_wrong_with_it() {
    let good = record();
    let wrong = async |text: &[u8], words: &str| {
        let ran = from(text).await;
        assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains(words), "{words}: {}{}", ran.out, ran.err);
    };
    assert_eq!(from(good.as_bytes()).await.code, 0);
    wrong(b"", "is empty").await;
    wrong(b"apiVersion: serin.dev/v1alpha1\nkind: Canary\n", "is no record of a release").await;
    wrong(b"\x1f\x8b\x08\0\n", "gunzip it first").await;
    wrong(good.replacen("\"format\":5", "\"format\":7", 1).as_bytes(), "its format is 7, this program reads format 5")
        .await;
    wrong(good.replacen("serin release record", "diary\u{1b}[2J", 1).as_bytes(), "is no record").await;
    wrong(&good.as_bytes()[..good.len() - 9], "line 5 breaks off").await;
    let lines: Vec<&str> = good.lines().collect();
    wrong(format!("{}\n{}\n", lines[0], lines[2]).as_bytes(), "lines are missing").await;
    wrong(format!("{}\n", lines[0]).as_bytes(), "lines are missing").await;
    wrong(
        format!("{}\n{}\n{{\"at\":1,\"event\":\"dream\"}}\n", lines[0], lines[1]).as_bytes(),
        "line 3 cannot be read",
    )
    .await;
    let missing = ran(serin(&["replay", "--record", "/nowhere/record"])).await;
    assert!(missing.code == 1 && missing.err.contains("cannot read /nowhere/record"), "{}", missing.err);
}

#[tokio::test]
async fn every_truncation_is_refused_or_a_shorter_record() {
    let good = record();
    let ends: Vec<usize> = good.match_indices('\n').map(|(at, _)| at + 1).collect();
    for cut in (1..good.len()).step_by(good.len() / 12) {
        let ran = from(&good.as_bytes()[..cut]).await;
        assert!(ran.code == 1 || ends.contains(&cut), "cut at {cut}: {}", ran.out);
    }
    let shorter = from(&good.as_bytes()[..ends[2]]).await;
    assert!(shorter.code == 0 && shorter.out.contains("its end is not in the record"), "{}", shorter.out);
}

#[tokio::test]
async fn other_settings_that_cannot_be_meant_are_refused() {
    let fake = agent().await;
    let two = format!("{}---\n{}", MANIFEST.replace("name: web", "name: a"), MANIFEST.replace("name: web", "name: b"));
    let (_folder, path) = folder(&[("bad.yaml", "kind: Canary\n"), ("two.yaml", &two)]);
    for (file, words) in [("bad.yaml", "`serin validate"), ("two.yaml", "prod/a, prod/b"), ("none.yaml", "cannot read")]
    {
        let ran = run(&fake.url, &["replay", "web", "-f", &path(file)]).await;
        assert!(ran.code == 1 && ran.err.contains(words), "{file}: {}", ran.err);
    }
    for args in [&["replay"][..], &["replay", "web", "--record", "x"], &["replay", "web", "--list", "--save", "x"]] {
        assert_eq!(run(&fake.url, args).await.code, 64, "{args:?}");
    }
}
