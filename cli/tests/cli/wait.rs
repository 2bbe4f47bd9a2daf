//! `serin release --wait`: the exit code is the verdict, whatever agent and network do on the way.

use rollout::base::names::Revision;
use rollout::release::phase::{Hold, Note};
use rollout::routing::table::WeightPpm;
use rollout::view::status::CanaryStatus;

use crate::fake::{Fake, Frame, Script, event};
use crate::fixture;
use crate::run::{Ran, run};

const RELEASE: [&str; 6] = ["release", "prod/web", "--revision", "v2", "--wait", "--timeout=40s"];

fn status(release: u64, phase: &str, message: &str) -> CanaryStatus {
    CanaryStatus { release, message: message.into(), ..fixture::canary("prod", "web", phase) }
}

fn frame(release: u64, phase: &str, message: &str) -> Frame {
    Frame::Status(Box::new(status(release, phase, message)))
}

fn noted(at_ms: u64, note: Note) -> Frame {
    Frame::Event(Box::new(event(at_ms, note)))
}

fn stepped(from: u32, to: u32) -> Note {
    let ppm = |percent| WeightPpm::new(percent * 10_000).unwrap();
    Note::Stepped { from: ppm(from), to: ppm(to), proof: None }
}

fn script(watches: impl IntoIterator<Item = Vec<Frame>>) -> Script {
    let canaries = vec![status(3, "Progressing", "step 0 of 5")];
    Script { canaries, watches: watches.into_iter().collect(), ..Script::default() }
}

async fn wait(script: Script) -> Ran {
    let fake = Fake::start(script).await;
    run(&fake.url, &RELEASE).await
}

#[tokio::test]
async fn a_promoted_release_exits_0_and_tells_its_way() {
    let ran = wait(script([vec![
        // Left over from the release before; no verdict on this one.
        frame(2, "Failed", "v1 was aborted"),
        noted(1, stepped(0, 5)),
        frame(3, "Progressing", "step 1 of 5"),
        noted(2, stepped(5, 10)),
        frame(3, "Succeeded", "v2 was promoted"),
    ]]))
    .await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "prod/web: release 3 of v2 is Progressing");
    assert!(lines[1].ends_with("  weight 0 -> 5 %: first step"), "{}", ran.out);
    assert!(lines[2].ends_with("  weight 5 -> 10 %: without proof"), "{}", ran.out);
    assert_eq!(lines[3..], ["prod/web: promoted: v2 was promoted"]);
}

#[tokio::test]
async fn an_aborted_release_exits_1_and_says_why() {
    let ran = wait(script([vec![frame(3, "Failed", "v2 was aborted: too many errors")]])).await;
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.ends_with("prod/web: aborted: v2 was aborted: too many errors\n"), "{}", ran.out);
    assert!(ran.err.contains("serin describe prod/web"), "{}", ran.err);
}

#[tokio::test]
async fn a_release_that_gave_way_to_a_newer_one_exits_1() {
    let ran = wait(script([vec![frame(4, "Progressing", "step 1 of 5")]])).await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("aborted: release 3 gave way to release 4"), "{}", ran.out);
}

#[tokio::test]
async fn what_needs_a_person_exits_2_at_once_and_says_what_to_do() {
    let mut held = status(3, "Waiting", "holds: waiting for confirm-rollout: gate owner is closed");
    held.hold = Some("waiting for confirm-rollout: gate owner is closed".into());
    held.needs_person = Some("`serin gate open prod/web owner` approves".into());
    let ran = wait(script([vec![frame(3, "Progressing", "step 0 of 5"), Frame::Status(Box::new(held))]])).await;
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    let end = "prod/web: held: waiting for confirm-rollout: gate owner is closed\n";
    assert!(ran.out.ends_with(end), "{}", ran.out);
    let next = "next: `serin gate open prod/web owner` approves; the same command goes on waiting\n";
    assert!(ran.err.contains(next), "{}", ran.err);
}

#[tokio::test]
async fn a_hold_that_was_lifted_is_no_end() {
    let actor = Revision::parse("ann").unwrap();
    let events = vec![event(1, Note::Held(Hold::Unsupported)), event(2, Note::Accepted { actor, items: 2 })];
    let ran = wait(Script { events, ..script([vec![frame(3, "Succeeded", "v2 was promoted")]]) }).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[tokio::test]
async fn no_traffic_holds_until_the_time_is_over_and_exits_2() {
    let fake = Fake::start(script([vec![
        noted(1, Note::Held(Hold::NoTraffic)),
        frame(3, "Progressing", "holds: no canary traffic"),
    ]]))
    .await;
    let ran = run(&fake.url, &["release", "web", "--revision", "v2", "--wait", "--timeout", "2s"]).await;
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("prod/web: not ended after 2s: holds: no canary traffic\n"), "{}", ran.out);
}

#[tokio::test]
async fn a_watch_that_breaks_is_opened_again_and_nothing_is_told_twice() {
    let first = vec![noted(1, stepped(0, 5)), frame(3, "Progressing", "step 1 of 5"), Frame::Close];
    let second = vec![noted(2, stepped(5, 10)), frame(3, "Succeeded", "v2 was promoted")];
    let events = vec![event(1, stepped(0, 5)), event(2, stepped(5, 10))];
    let ran = wait(Script { events, ..script([first, second]) }).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(ran.out.matches("weight 0 -> 5 %").count(), 1, "{}", ran.out);
    assert_eq!(ran.out.matches("weight 5 -> 10 %").count(), 1, "{}", ran.out);
}

#[tokio::test]
async fn an_agent_that_goes_away_for_good_is_waited_for_until_the_time_is_over() {
    let fake = Fake::start(script([vec![noted(1, stepped(0, 5))]])).await;
    let mut command = crate::run::serin(&["release", "web", "--revision", "v2", "--wait", "--timeout", "4s"]);
    command.env("SERIN_AGENT", &fake.url);
    let mut child = command.spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    let first_step = async { while !lines.next_line().await.unwrap().unwrap().contains("weight 0 -> 5 %") {} };
    tokio::time::timeout(crate::run::DEADLINE, first_step).await.unwrap();
    fake.stop();
    let output = tokio::time::timeout(crate::run::DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(err.matches("trying again").count(), 1, "{err}");
}

#[tokio::test]
async fn a_withdrawn_canary_ends_the_wait_as_aborted() {
    let fake = Fake::start(script([vec![noted(1, stepped(0, 5)), Frame::Close]])).await;
    let going = tokio::spawn({
        let url = fake.url.clone();
        async move { run(&url, &RELEASE).await }
    });
    let gone = async {
        while !fake.script().watches.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::run::DEADLINE, gone).await.unwrap();
    fake.script().canaries.clear();
    let ran = going.await.unwrap();
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("aborted: the canary is gone"), "{}", ran.out);
}

#[tokio::test]
async fn without_wait_it_returns_at_once_and_says_what_comes_next() {
    let fake = Fake::start(script([])).await;
    let args = ["release", "web", "--revision", "v2", "--as", "ann", "--reason", "SHOP-77", "--accept-unsupported"];
    let ran = run(&fake.url, &args).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "prod/web: release 3 of v2 is Progressing\n"));
    assert!(ran.err.contains("serin get prod/web -w"), "{}", ran.err);
    let posts = fake.script().posts.clone();
    let body = serde_json::json!({"revision": "v2", "actor": "ann", "reason": "SHOP-77", "acceptUnsupported": true});
    assert_eq!(posts, [("prod/web/releases".to_owned(), body)]);
}

#[tokio::test]
async fn times_count_from_the_beginning_of_the_release() {
    let events = vec![event(1_700_000_003_000, stepped(0, 5))];
    let canaries =
        vec![CanaryStatus { started_at_ms: Some(1_700_000_000_000), ..status(3, "Progressing", "step 1 of 5") }];
    let later = noted(1_700_000_065_000, stepped(5, 10));
    let ran =
        wait(Script { events, canaries, ..script([vec![later, frame(3, "Succeeded", "v2 was promoted")]]) }).await;
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines[1..3],
        ["     3s  weight 0 -> 5 %: first step", "   1m5s  weight 5 -> 10 %: without proof"],
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn a_release_that_no_worker_hears_of_says_so_at_once_and_once() {
    let lonely = CanaryStatus { workers_live: 0, ran_ms: Some(2_000), ..status(3, "Progressing", "step 1 of 5") };
    let lonely = || Frame::Status(Box::new(lonely.clone()));
    let ran = wait(script([vec![lonely(), lonely(), frame(3, "Succeeded", "v2 was promoted")]])).await;
    assert_eq!(ran.out.matches("     2s  no worker is connected").count(), 1, "{}", ran.out);
}

#[tokio::test]
async fn what_is_promoted_already_is_no_release_and_no_error() {
    let promoted = CanaryStatus { promoted_revision: Some("v2".into()), ..status(3, "Succeeded", "v2 was promoted") };
    let fake = Fake::start(Script { canaries: vec![promoted], ..script([]) }).await;
    for args in [&RELEASE[..], &RELEASE[..4]] {
        let ran = run(&fake.url, args).await;
        assert_eq!((ran.code, ran.out.as_str()), (0, "prod/web: v2 is promoted already\n"), "{}", ran.err);
    }
    let ran = run(&fake.url, &["release", "web", "--revision", "v2", "-o", "json"]).await;
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["outcome"], "promotedAlready");
}

#[tokio::test]
async fn programs_get_the_end_of_a_wait_as_one_document() {
    let fake = Fake::start(script([vec![noted(1, stepped(0, 5)), frame(3, "Failed", "v2 was aborted: errors")]])).await;
    let args: Vec<&str> = RELEASE.iter().copied().chain(["-o", "json"]).collect();
    let ran = run(&fake.url, &args).await;
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let expected = serde_json::json!({
        "canary": "prod/web", "release": 3, "revision": "v2", "outcome": "aborted", "message": "v2 was aborted: errors",
    });
    assert_eq!((ran.code, said), (1, expected));
}
