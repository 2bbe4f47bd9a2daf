//! The sequential guards on a real Envoy: what they abort, how few users notice, and whom they leave alone.
//!
//! The checks are an hour away in all of these, so whatever is aborted is aborted by a guard.

use anyhow::{Context, Result, ensure};
use rollout::record::replay::Replayed;
use rollout::view::explanation::Explanation;
use rollout::view::status::CanaryStatus;
use std::time::Duration;
use tests::case::Case;
use tests::manifest::Manifest;
use tests::stage::{Stage, WITHIN};
use tests::upstream::Behaviour;
use tests::wait::until;

const RPS: f64 = 300.0;
/// Answers and, for hangs, requests that a bad version may get at most: far more than expected, far fewer than a check
/// of one minute would let through.
const MANY: u64 = 200;

/// Releases a bad version and returns how many bad answers the client got of it, and what the agent says.
async fn aborted(case: &Case, weight: &str, bad: Behaviour) -> Result<(u64, String)> {
    let stage = Stage::start(case, &Manifest::steady(weight)?.guarded()?).await?;
    stage.versions.canary.restart_as(bad);
    let load = stage.load().connections(64).start(RPS).await?;
    stage.release("v2").await?;
    let status = stage.phase("Failed").await?;
    explains(&stage, &status).await?;
    stage.all_on_primary(50).await?;
    let samples = load.stop().await?;
    let bad = samples.by_version().get("v2").map_or(0, |count| count.bad);
    Ok((bad, status.message))
}

/// `serin explain` names the guard that aborted, first, and counts what `serin get` counts.
async fn explains(stage: &Stage, status: &CanaryStatus) -> Result<()> {
    let page = stage.agent.cli(&["explain", "web"]).await?.ok()?;
    let shown: Explanation = serde_json::from_str(&stage.agent.cli(&["explain", "web", "-o", "json"]).await?.ok()?)?;
    ensure!(page.starts_with(&format!("{}\n", shown.summary)), "{page}");
    let forced = shown.guards.iter().find(|guard| guard.verdict == "bad").context("no guard is said to be bad")?;
    ensure!(shown.summary.starts_with(&format!("web v2 was aborted by guard {}:", forced.guard)), "{page}");
    ensure!(status.message.contains(&format!("guard {}", forced.guard)), "{}: {page}", status.message);
    let got: Vec<_> = status.guards.iter().map(|guard| (guard.canary_events, guard.canary_trials)).collect();
    let counts: Vec<_> = shown.guards.iter().map(|guard| (guard.canary.events, guard.canary.trials)).collect();
    ensure!(counts == got && shown.toward_abort == 1.0, "{got:?}: {page}");
    Ok(())
}

#[tokio::test]
async fn one_failure_in_five_is_cut_after_a_handful() -> Result<()> {
    Case::run("guard-fault", async |case| {
        let bad = Behaviour { fail_ratio: 0.2, ..Behaviour::healthy("v2") };
        let (bad, message) = aborted(case, "10", bad).await?;
        ensure!(message.contains("guard slo") || message.contains("guard regression"), "{message}");
        ensure!((1..MANY).contains(&bad), "{bad} bad answers: {message}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_slow_version_is_cut_although_every_answer_is_good() -> Result<()> {
    Case::run("guard-slow", async |case| {
        let latency = Duration::from_millis(700);
        let slow = Behaviour { slow_ratio: 0.5, slow_latency: latency, ..Behaviour::healthy("v2") };
        let (bad, message) = aborted(case, "20", slow).await?;
        ensure!(message.contains("guard latency"), "{message}");
        ensure!(bad == 0, "{bad} answers failed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_version_that_never_answers_is_cut_while_its_requests_hang() -> Result<()> {
    Case::run("guard-hang", async |case| {
        let stage = Stage::start(case, &Manifest::steady("10")?.guarded()?).await?;
        stage.versions.canary.restart_as(Behaviour { hang_ratio: 1.0, ..Behaviour::healthy("v2") });
        let load = stage.load().connections(64).start(RPS).await?;
        stage.release("v2").await?;
        let status = stage.phase("Failed").await?;
        ensure!(status.message.contains("guard latency"), "{}", status.message);
        let canary = &status.versions[1];
        ensure!(canary.pending > 0 && canary.started < MANY, "{canary:?}");
        drop(load);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_healthy_version_is_left_alone_and_the_evidence_is_shown() -> Result<()> {
    Case::run("guard-health", async |case| {
        let stage = Stage::start(case, &Manifest::steady("50")?.guarded()?).await?;
        // Half of the objective.
        stage.versions.canary.restart_as(Behaviour { fail_ratio: 0.005, ..Behaviour::healthy("v2") });
        stage.versions.primary.set(|it| it.fail_ratio = 0.005);
        let load = stage.load().start(RPS).await?;
        stage.release("v2").await?;
        until("a thousand canary requests", WITHIN, async || {
            let status = stage.status().await?;
            assert_eq!(status.phase, "Progressing", "{}", status.message);
            ensure!(status.versions[1].started >= 1_000, "{} requests", status.versions[1].started);
            let guards: Vec<&str> = status.guards.iter().map(|guard| guard.guard.as_str()).collect();
            assert_eq!(guards, ["slo", "regression", "clientErrors", "abandonment", "latency", "latencyRegression"]);
            assert!(status.guards.iter().all(|guard| guard.ln_e < guard.ln_needed && guard.canary_trials > 0));
            Ok(())
        })
        .await?;
        drop(load);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_cut_release_is_replayed_as_it_was_and_as_it_would_have_been() -> Result<()> {
    Case::run("guard-replay", async |case| {
        let manifest = Manifest::steady("10")?.guarded()?;
        let stage = Stage::start(case, &manifest).await?;
        stage.versions.canary.restart_as(Behaviour { fail_ratio: 0.2, ..Behaviour::healthy("v2") });
        let load = stage.load().connections(64).start(RPS).await?;
        stage.release("v2").await?;
        stage.phase("Failed").await?;
        drop(load);
        let events = stage.events().await?;
        let at = |word: &str| {
            let event = events.iter().find(|event| event.message.starts_with(word));
            event.map(|event| event.at_ms).with_context(|| format!("no event begins with {word}"))
        };
        let took = at("aborted")? - at("release of v2 started")?;
        let lax = manifest.edit("thresholdRange: { min: 99 }", "thresholdRange: { min: 50 }")?;
        let lax = case.file("lax.yaml", lax.text())?.display().to_string();
        let saved = case.dir().join("record.jsonl").display().to_string();
        let live = stage.agent.cli(&["replay", "web", "-f", &lax, "--save", &saved, "-o", "json"]).await?.ok()?;
        let offline = stage.agent.cli(&["replay", "--record", &saved, "-f", &lax, "-o", "json"]).await?.ok()?;
        ensure!(live == offline, "{live}\n{offline}");
        let replayed: Replayed = serde_json::from_str(&live)?;
        let abort = replayed.recorded.abort.context("the record ends with an abort")?;
        ensure!(abort.since_ms == took && replayed.until_ms == took, "{abort:?} after {took} ms");
        let guard = abort.guard.context("by a guard")?.name();
        let message = &replayed.ended.context("it ended")?.message;
        ensure!(replayed.aborted_by_guards && message.contains(&format!("guard {guard}")), "{guard}: {message}");
        ensure!(replayed.ended_otherwise.is_none(), "{:?}", replayed.ended_otherwise);
        let other = replayed.other.context("other settings were given")?;
        ensure!(other.abort.is_none() && other.guards.iter().all(|guard| guard.percent() < 100.0), "{other:?}");
        let page = stage.agent.cli(&["replay", "web", "-f", &lax]).await?.ok()?;
        ensure!(page.contains("never aborted, as far as the record goes"), "{page}");
        let list = stage.agent.cli(&["replay", "web", "--list"]).await?.ok()?;
        ensure!(list.contains("aborted") && list.contains(&format!("guard {guard}")), "{list}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_good_release_climbs_as_fast_as_its_own_requests_prove_it() -> Result<()> {
    Case::run("guard-certificate", async |case| {
        let usual = "    # certificate: { minDwell: 10s, undecided: { after: 10m, then: hold }, noData: { after: 10m, then: hold } }\n";
        let manifest = Manifest::certified("20, 50")?.edit(usual, "    certificate: { minDwell: 1s }\n")?;
        let stage = Stage::start(case, &manifest).await?;
        let load = stage.load().connections(64).start(2.0 * RPS).await?;
        stage.release("v2").await?;
        stage.phase("Promoting").await?;
        let samples = load.stop().await?;
        assert_eq!(samples.bad(), 0, "{:?}", samples.by_version());
        let proven: Vec<String> = stage.events().await?.into_iter().map(|event| event.message).collect();
        let proven: Vec<&String> = proven.iter().filter(|line| line.contains("slo certified")).collect();
        assert_eq!(proven.len(), 2, "one certificate for each step: {proven:?}");
        // 99 % at alpha 5 % takes 372 requests without a failure, on each step's own.
        assert!(samples.count_of("v2") >= 2 * 372, "{:?}", samples.by_version());
        Ok(())
    })
    .await
}
