//! The directory of manifests while the agent runs: what changes is taken, what is wrong is shown, what goes is gone.

use serde_json::Value;

use crate::support::agent::{Api, TestAgent, WEB};
use crate::support::until;
use crate::support::worker::Worker;

async fn problems(api: &Api) -> Vec<Value> {
    api.get("/api/v1/canaries").await.1["problems"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_change_is_taken_and_a_mistake_is_not() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    std::fs::write(agent.manifest(), WEB.replace("threshold: 2", "threshold: 5")).unwrap();
    api.until_web("the new threshold", |canary| canary["threshold"] == 5).await;
    std::fs::write(agent.manifest(), WEB.replace("threshold: 2", "threshold: none")).unwrap();
    let listed = until("the mistake to be listed", async || {
        let problems = problems(&api).await;
        if problems.is_empty() { Err(String::new()) } else { Ok(problems) }
    })
    .await;
    let problem = listed[0].as_str().unwrap();
    let line = WEB.lines().position(|line| line.contains("threshold: 2")).unwrap() + 1;
    assert!(problem.contains(&format!("web.yaml:{line}")) && problem.contains("spec.analysis.threshold"), "{problem}");
    assert_eq!(api.metric("serin_manifest_problems").await, Some(1.0));
    assert_eq!(api.web().await["threshold"], 5);
    std::fs::write(agent.manifest(), WEB).unwrap();
    api.until_web("the corrected file", |canary| canary["threshold"] == 2).await;
    assert!(problems(&api).await.is_empty());
}

#[tokio::test]
async fn a_mistake_made_while_the_agent_was_away_keeps_the_last_good_plan() {
    let mut agent = TestAgent::start().await;
    agent.api().ask("releases").await;
    agent.stop().await;
    std::fs::write(agent.manifest(), WEB.replace("threshold: 2", "threshold: none")).unwrap();
    agent.start_again().await;
    let canary = agent.api().web().await;
    assert_eq!((&canary["phase"], &canary["threshold"]), (&"Progressing".into(), &2.into()));
    assert_eq!(problems(&agent.api()).await.len(), 1);
}

#[tokio::test]
async fn a_change_during_a_release_waits_for_the_next() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    api.ask("releases").await;
    std::fs::write(agent.manifest(), WEB.replace("[10, 50]", "[1, 2, 3]")).unwrap();
    let events = format!("{}/events", crate::support::agent::WEB_PATH);
    until("the change to be listed", async || {
        let (_, events) = api.get(&events).await;
        if events.to_string().contains("keeps its plan") { Ok(()) } else { Err(events.to_string()) }
    })
    .await;
    assert_eq!(api.web().await["steps"], 2);
    api.ask("abort").await;
    assert_eq!(api.web().await["steps"], 3);
}

#[tokio::test]
async fn a_removed_canary_is_withdrawn_from_the_workers() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    let known = worker.entry().await.epoch;
    api.ask("releases").await;
    let during = worker.entry_above(known).await.epoch;
    std::fs::remove_file(agent.manifest()).unwrap();
    let mut last = worker.entry_above(during).await;
    while last.routing.is_some() {
        assert_eq!(last.routing.unwrap().split, None);
        last = worker.entry_above(last.epoch).await;
    }
    let gone = last.epoch;
    until("the canary to be gone", async || match api.get(crate::support::agent::WEB_PATH).await {
        (404, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // One that comes back continues above the epochs that workers know.
    std::fs::write(agent.manifest(), WEB).unwrap();
    let back = worker.entry_above(gone).await;
    assert!(back.routing.is_some());
    assert_eq!(api.web().await["phase"], "Initialized");
}
