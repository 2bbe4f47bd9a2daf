//! The directory of manifests while the agent runs: what changes is taken, what is wrong is shown, what goes is gone.

use serde_json::{Value, json};

use crate::support::agent::{Api, TestAgent, WEB, WEB_PATH, refused};
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
    let events = format!("{WEB_PATH}/events");
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
async fn a_removed_canary_goes_on_routing_to_its_primary_until_a_person_forgets_it() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    let known = worker.entry().await.epoch;
    api.ask("releases").await;
    let during = worker.entry_above(known).await;
    assert!(during.routing.unwrap().split.is_some());
    std::fs::remove_file(agent.manifest()).unwrap();
    let aborted = worker.entry_above(during.epoch).await;
    assert_eq!(aborted.routing.unwrap().split, None);
    let gone = api.until_web("the manifest to be gone", |canary| canary["manifestGone"] == true).await;
    crate::openapi::fits("CanaryStatus", &gone);
    assert!(gone["message"].as_str().unwrap().contains("serin forget prod/web"), "{gone}");
    for verb in ["retry", "promote", "skip"] {
        let answer = api.post(&format!("{WEB_PATH}/{verb}"), &json!({ "actor": "ann" })).await;
        refused(&answer, 409, &["manifest of prod/web is gone"]);
    }
    std::fs::write(agent.manifest(), WEB).unwrap();
    let body = json!({ "actor": "ann", "reason": "shut down" });
    // The verb reads the directory: the file is there again.
    refused(&api.post(&format!("{WEB_PATH}/forget"), &body).await, 409, &["prod/web has a manifest"]);
    let back = api.web().await;
    assert_eq!((&back["manifestGone"], &back["phase"], &back["release"]), (&json!(false), &json!("Failed"), &json!(1)));
    std::fs::remove_file(agent.manifest()).unwrap();
    api.until_web("the manifest to be gone again", |canary| canary["manifestGone"] == true).await;
    let (status, done) = api.post(&format!("{WEB_PATH}/forget"), &body).await;
    assert_eq!((status, &done), (200, &json!({ "release": 1, "phase": "Failed", "stored": true })));
    let forgotten = worker.entry_above(aborted.epoch).await;
    assert_eq!(forgotten.routing, None);
    assert_eq!(api.get(WEB_PATH).await.0, 404);
    // One that comes back continues above the epochs that workers know.
    std::fs::write(agent.manifest(), WEB).unwrap();
    let begun = api.ask("releases").await;
    assert_eq!(begun["release"], 2, "{begun}");
    assert!(worker.entry_above(forgotten.epoch).await.routing.is_some());
}

/// The file is not there, and no two readings have said so yet.
#[tokio::test]
async fn verbs_right_after_a_file_was_removed_know_that_it_is() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    api.ask("releases").await;
    api.ask("abort").await;
    let body = json!({ "actor": "ann", "revision": "v3" });
    for verb in ["releases", "retry"] {
        std::fs::remove_file(agent.manifest()).unwrap();
        let body = if verb == "retry" { json!({ "actor": "ann" }) } else { body.clone() };
        refused(&api.post(&format!("{WEB_PATH}/{verb}"), &body).await, 409, &["manifest of prod/web", "put it back"]);
        assert_eq!(api.web().await["release"], 1, "nothing has begun");
        std::fs::write(agent.manifest(), WEB).unwrap();
        api.until_web("the file to be there", |canary| canary["manifestGone"] == false).await;
    }
    std::fs::remove_file(agent.manifest()).unwrap();
    let (status, done) = api.post(&format!("{WEB_PATH}/forget"), &json!({ "actor": "ann" })).await;
    assert_eq!(
        (status, &done),
        (200, &json!({ "release": 1, "phase": "Failed", "stored": true })),
        "it waits until the file is gone"
    );
    assert_eq!(api.get(WEB_PATH).await.0, 404);
}

#[tokio::test]
async fn a_tombstone_outlives_the_agent_and_the_file_may_return_meanwhile() {
    for is_back_before_start in [true, false] {
        let mut agent = TestAgent::start().await;
        agent.api().ask("releases").await;
        agent.api().ask("abort").await;
        std::fs::remove_file(agent.manifest()).unwrap();
        agent.api().until_web("the manifest to be gone", |canary| canary["manifestGone"] == true).await;
        agent.stop().await;
        if is_back_before_start {
            std::fs::write(agent.manifest(), WEB).unwrap();
        }
        agent.start_again().await;
        let api = agent.api();
        assert_eq!(api.web().await["manifestGone"], !is_back_before_start);
        std::fs::write(agent.manifest(), WEB).unwrap();
        let back = api.until_web("the manifest to be back", |canary| canary["manifestGone"] == false).await;
        assert_eq!((&back["release"], &back["phase"]), (&json!(1), &json!("Failed")));
        assert!(api.get(&format!("{WEB_PATH}/events")).await.1.to_string().contains("manifest is back"));
    }
}

/// What a symlink swap, a failed mount or a slow copy leave for a moment.
#[tokio::test]
async fn a_directory_that_is_away_or_whose_files_cannot_be_read_removes_nothing() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    api.ask("releases").await;
    let folder = agent.manifest().parent().unwrap().to_path_buf();
    let away = folder.with_file_name("away");
    std::fs::rename(&folder, &away).unwrap();
    let told = until("the directory to be missed", async || {
        let problems = problems(&api).await;
        if problems.is_empty() { Err(String::new()) } else { Ok(problems) }
    })
    .await;
    assert!(told[0].as_str().unwrap().contains("cannot be read"), "{told:?}");
    let answer = api.post(&format!("{WEB_PATH}/releases"), &json!({ "actor": "ann", "revision": "v3" })).await;
    refused(&answer, 409, &["cannot release", "cannot be read"]);
    std::fs::rename(&away, &folder).unwrap();
    std::fs::remove_file(agent.manifest()).unwrap();
    std::os::unix::fs::symlink("nowhere", agent.manifest()).unwrap();
    until("the link to be read", async || {
        let problems = problems(&api).await;
        if problems.iter().any(|it| it.to_string().contains("web.yaml")) {
            Ok(())
        } else {
            Err(format!("{problems:?}"))
        }
    })
    .await;
    assert_eq!(api.web().await["phase"], "Progressing");
}

/// Many times, since luck hides this fault: the agent reads the directory once a second by itself.
#[tokio::test]
async fn a_verb_right_after_the_file_was_written_follows_that_file() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let mut hashes = std::collections::BTreeSet::new();
    for n in 1..=30 {
        let weights = format!("[{n}, {}]", n + 50);
        std::fs::write(agent.manifest(), WEB.replace("[10, 50]", &weights)).unwrap();
        let verb = if n % 3 == 0 { "retry" } else { "releases" };
        let done = api.ask(verb).await;
        let web = api.web().await;
        assert_eq!(web["weightPercent"], f64::from(n), "try {n}, {verb}");
        assert_eq!((&done["manifest"], web["phase"].as_str()), (&web["manifest"], Some("Progressing")));
        hashes.insert(done["manifest"].to_string());
        api.ask("abort").await;
    }
    assert_eq!(hashes.len(), 30, "each plan has a name of its own");
}

#[tokio::test]
async fn a_release_is_refused_while_its_own_manifest_has_a_mistake() {
    let agent = TestAgent::start().await;
    let api = agent.api();
    let line = WEB.lines().position(|line| line.contains("stepWeights")).unwrap() + 1;
    let release = async |name: &str| {
        let body = json!({ "actor": "ann", "revision": "v2" });
        api.post(&format!("/api/v1/canaries/prod/{name}/releases"), &body).await
    };
    std::fs::write(agent.manifest(), WEB.replace("[10, 50]", "[50, 10]")).unwrap();
    refused(&release("web").await, 409, &[&format!("web.yaml:{line}:"), "stepWeights[1]", "correct it first"]);
    // Of no concern to others, and no reason to keep a bad release.
    let cart = WEB.replace("name: web", "name: cart");
    std::fs::write(agent.manifest().with_file_name("cart.yaml"), &cart).unwrap();
    assert_eq!(release("cart").await.0, 200);
    assert_eq!(api.post("/api/v1/canaries/prod/cart/abort", &json!({ "actor": "ann" })).await.0, 200);
    // One that never was read has a mistake: it is not known, and why may be this.
    std::fs::write(
        agent.manifest().with_file_name("new.yaml"),
        cart.replace("cart", "new").replace("[10, 50]", "[50, 10]"),
    )
    .unwrap();
    refused(&release("new").await, 404, &["prod/new is not known", "new.yaml:"]);
    std::fs::write(agent.manifest(), WEB).unwrap();
    assert_eq!(release("web").await.0, 200);
    // A newer manifest that waits for the end of the release is shown.
    std::fs::write(agent.manifest(), WEB.replace("[10, 50]", "[20, 50]")).unwrap();
    let waits = api.until_web("the newer manifest", |canary| !canary["nextManifest"].is_null()).await;
    assert!(waits["nextManifest"].as_str().unwrap().contains("with the next release"), "{waits}");
}
