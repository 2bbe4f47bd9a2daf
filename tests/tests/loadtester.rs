//! `serin loadtester` with a real load tool: traffic arrives, the result is reported, a stop leaves nothing running.
#![cfg(test)]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tests::case::Case;
use tests::http;
use tests::loadtester::LoadTester;
use tests::upstream::{Behaviour, Upstream};
use tests::wait::until;

const WITHIN: Duration = Duration::from_secs(30);

/// What the agent's webhook sends.
async fn hook(tester: SocketAddr, command: &str) -> Result<http::Answer> {
    let payload = json!({
        "name": "web", "namespace": "default", "phase": "Progressing", "checksum": "1",
        "metadata": { "type": "cmd", "cmd": command, "logCmdOutput": "true" },
    });
    http::request(tester, Method::POST, "/", &[("content-type", "application/json")], &payload.to_string()).await
}

async fn only_task(tester: SocketAddr) -> Result<Value> {
    let mut list: Value = serde_json::from_str(&http::get(tester, "/tasks").await?.body)?;
    let items = list["items"].as_array_mut().context("a list")?;
    ensure!(items.len() == 1, "{items:?}");
    items.pop().context("one task")
}

#[tokio::test]
async fn hey_makes_the_load_that_was_asked_for_and_its_result_is_reported() -> Result<()> {
    Case::run("loadtester", async |case| {
        let upstream = Upstream::start(Behaviour::healthy("v1"), 1).await?;
        let LoadTester { process, addr: tester } = LoadTester::start(case).await?;
        let command = format!("hey -z 2s -q 50 -c 2 http://{}/", upstream.addr());
        for what in ["started", "is running already"] {
            let answer = hook(tester, &command).await?;
            assert!(answer.status == 202 && answer.body.contains(what), "{answer:?}");
        }
        let task = until("its end", WITHIN, async || {
            let task = only_task(tester).await?;
            ensure!(task["state"] != "running", "{task}");
            Ok(task)
        });
        let task = task.await?;
        assert_eq!((&task["state"], &task["exitCode"]), (&json!("succeeded"), &json!(0)), "{task}");
        assert_eq!((&task["canary"], &task["command"]), (&json!("default/web"), &json!(command)));
        // Two connections, each 50 a second at most.
        let requests = upstream.counts().requests;
        assert!((2..=220).contains(&requests), "{requests} requests");
        let output = task["output"].as_str().context("output")?;
        assert!(output.contains("Status code distribution") && output.contains("[200]"), "{output}");
        assert!(process.log()?.contains("task ended with exit code 0"), "{}", process.log()?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stop_in_the_middle_leaves_no_load_behind() -> Result<()> {
    Case::run("loadtester-stop", async |case| {
        let upstream = Upstream::start(Behaviour::healthy("v1"), 1).await?;
        let LoadTester { mut process, addr: tester } = LoadTester::start(case).await?;
        // The port makes the argument unlike any other on this machine.
        let url = format!("http://{}/", upstream.addr());
        assert_eq!(hook(tester, &format!("hey -z 10m -q 50 -c 2 {url}")).await?.status, 202);
        until("load", WITHIN, async || {
            ensure!(upstream.counts().requests > 0, "no request yet");
            Ok(())
        })
        .await?;
        assert!(count_running(&url)? > 0);
        process.terminate()?;
        until("the load tester's end", WITHIN, async || {
            ensure!(process.has_ended()?, "it runs");
            Ok(())
        })
        .await?;
        // It buries its children before it ends.
        assert_eq!(count_running(&url)?, 0);
        assert!(process.log()?.contains("killed because the load tester stopped"), "{}", process.log()?);
        Ok(())
    })
    .await
}

/// How many processes have this argument.
fn count_running(argument: &str) -> Result<usize> {
    let folders = std::fs::read_dir("/proc")?.flatten();
    let lines = folders.filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok());
    Ok(lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())).count())
}
