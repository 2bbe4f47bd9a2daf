//! The load tester from outside: real sockets, real programs. Nothing of what it starts may survive.
#![cfg(test)]

use std::net::SocketAddr;
use std::time::Duration;

use loadtester::{LoadTester, Options};
use reqwest::{Client, Method, RequestBuilder, header};
use serde_json::{Value, json};

/// Long enough for the slowest machine; reached only when something is broken.
const DEADLINE: Duration = Duration::from_secs(30);

struct Tester {
    tester: LoadTester,
    client: Client,
}

fn options() -> Options {
    Options {
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        http_token_file: None,
        insecure: false,
        allow: ["true", "false", "echo", "seq", "env", "cat", "sleep", "timeout", "ls"].map(str::to_owned).into(),
        allow_shell: false,
        timeout: DEADLINE * 2,
        max_tasks: 4,
        namespace_regexp: None,
    }
}

impl Tester {
    async fn start(options: Options) -> Self {
        // The client will have one, though nothing here is encrypted; another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { tester: loadtester::start(options).await.unwrap(), client: Client::new() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.tester.http())).timeout(DEADLINE)
    }

    async fn hook(&self, metadata: Value) -> (u16, String) {
        let payload = json!({ "name": "web", "namespace": "prod", "phase": "Progressing", "checksum": "85d557f47b", "metadata": metadata });
        send(self.request(Method::POST, "/").json(&payload)).await
    }

    async fn run(&self, command: &str) -> (u16, String) {
        self.hook(json!({ "cmd": command })).await
    }

    async fn wait(&self, command: &str) -> (u16, String) {
        self.hook(json!({ "cmd": command, "wait": "true", "returnCmdOutput": "true" })).await
    }

    async fn get(&self, path: &str) -> (u16, String) {
        send(self.request(Method::GET, path)).await
    }

    async fn tasks(&self) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.get("/tasks").await.1).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// The task once it has ended.
    async fn ended(&self, id: u64) -> Value {
        until("a task's end", async || {
            let task: Value = serde_json::from_str(&self.get(&format!("/tasks/{id}")).await.1).unwrap();
            if task["state"] == "running" { Err(task.to_string()) } else { Ok(task) }
        })
        .await
    }
}

async fn send(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(last) if tokio::time::Instant::now() > end => panic!("deadline: {what}; last: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// How many processes have this argument.
fn count_running(argument: &str) -> usize {
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = folders.filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())).count()
}

async fn until_running(argument: &str, wanted: usize) {
    until("processes", async || {
        let count = count_running(argument);
        if count == wanted { Ok(()) } else { Err(format!("{count} instead of {wanted} with {argument}")) }
    })
    .await;
}

/// A number of seconds that no other test, and no other run of this one, sleeps.
fn long_sleep(of: &str) -> String {
    format!("1{:07}.{of}", std::process::id())
}

#[track_caller]
fn said(answer: &(u16, String), status: u16, words: &[&str]) {
    assert_eq!(answer.0, status, "{}", answer.1);
    for word in words {
        assert!(answer.1.contains(word), "{word:?} is not in {:?}", answer.1);
    }
}

/// The same of a request that is refused, in the one form of error.
#[track_caller]
fn refused(answer: &(u16, String), status: u16, words: &[&str]) {
    let body: Value = serde_json::from_str(&answer.1).unwrap_or_else(|_| panic!("no JSON: {answer:?}"));
    assert_eq!(body["status"], status, "{body}");
    let error = body["error"].as_str().unwrap().to_owned();
    for word in ["deserialize", "expected", "EOF", "missing field", "length limit", "Method Not Allowed"] {
        assert!(!error.contains(word), "{word:?} is the framework's: {error}");
    }
    said(&(answer.0, error), status, words);
}

#[tokio::test]
async fn a_task_is_accepted_at_once_and_its_result_can_be_read() {
    let tester = Tester::start(options()).await;
    said(&tester.run("echo 'a  b' c").await, 202, &["task 1 started", "/tasks/1"]);
    let task = tester.ended(1).await;
    assert_eq!(
        (&task["state"], &task["exitCode"], &task["output"]),
        (&json!("succeeded"), &json!(0), &json!("a  b c\n"))
    );
    assert_eq!((&task["canary"], &task["command"]), (&json!("prod/web"), &json!("echo 'a  b' c")));
    assert!(task["started"].as_str().unwrap().ends_with('Z') && task["seconds"].is_f64(), "{task}");
    said(&tester.run("false").await, 202, &["task 2"]);
    let task = tester.ended(2).await;
    assert_eq!((&task["state"], &task["exitCode"]), (&json!("failed"), &json!(1)));
    // On whatever path, as with Flagger's.
    let payload = json!({ "name": "web", "namespace": "prod", "metadata": { "cmd": "ls /nowhere/at/all" } });
    said(&send(tester.request(Method::POST, "/some/path").json(&payload)).await, 202, &["task 3"]);
    assert!(tester.ended(3).await["output"].as_str().unwrap().contains("/nowhere/at/all"));
    let ids: Vec<Value> = tester.tasks().await.iter().map(|task| task["id"].clone()).collect();
    assert_eq!(ids, [json!(3), json!(2), json!(1)]);
    let (_, metrics) = tester.get("/metrics").await;
    for line in ["started_total 3", "succeeded_total 1", "failed_total 2", "running 0"] {
        assert!(metrics.contains(&format!("serin_loadtester_tasks_{line}\n")), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn a_caller_that_waits_gets_the_result() {
    let tester = Tester::start(options()).await;
    said(&tester.wait("echo hello").await, 200, &["hello\n"]);
    let quiet = tester.hook(json!({ "cmd": "echo hello", "wait": "true" })).await;
    assert_eq!(quiet, (200, "task 2 ended with exit code 0\n".into()));
    let failed = tester.hook(json!({ "cmd": "ls /nowhere/at/all", "wait": "true" })).await;
    said(&failed, 500, &["task 3 ended with exit code 2: ", "/nowhere/at/all"]);
}

#[tokio::test]
async fn children_see_three_variables_and_no_input() {
    let tester = Tester::start(options()).await;
    let (_, environment) = tester.wait("env").await;
    let mut names: Vec<&str> = environment.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "PATH", "SERIN_TASK"]);
    assert_eq!(tester.wait("cat").await, (200, String::new()));
}

#[tokio::test]
async fn of_long_output_the_end_is_kept() {
    let tester = Tester::start(options()).await;
    let (status, output) = tester.wait("seq 100000").await;
    assert_eq!((status, output.len()), (200, 64 << 10));
    assert!(output.ends_with("\n99999\n100000\n"));
    let listed = &tester.tasks().await[0];
    assert_eq!(listed["output"].as_str().unwrap().len(), 4 << 10);
}

#[tokio::test]
async fn the_same_command_of_a_canary_runs_once_at_a_time() {
    let tester = Tester::start(Options { max_tasks: 2, ..options() }).await;
    let time = long_sleep("1");
    let sleep = format!("sleep {time}");
    said(&tester.run(&sleep).await, 202, &["task 1 started"]);
    said(&tester.run(&sleep).await, 202, &["task 1 is running already"]);
    let other = json!({ "name": "shop", "namespace": "prod", "metadata": { "cmd": sleep } });
    let other = || send(tester.request(Method::POST, "/").json(&other));
    said(&other().await, 202, &["task 2 started"]);
    until_running(&time, 2).await;
    refused(&tester.run("true").await, 429, &["2 tasks", "--max-tasks"]);
    said(&other().await, 202, &["task 2 is running already"]);
    tester.tester.stop().await;
    assert_eq!(count_running(&time), 0);
}

#[tokio::test]
async fn a_task_that_has_ended_may_run_again() {
    let tester = Tester::start(options()).await;
    said(&tester.wait("echo 1").await, 200, &["1"]);
    said(&tester.wait("echo 1").await, 200, &["1"]);
    assert_eq!(tester.tasks().await.len(), 2);
    // And of all that have ended, only so many are remembered.
    for n in 0..110 {
        said(&tester.wait(&format!("echo {n}")).await, 200, &[]);
    }
    let tasks = tester.tasks().await;
    assert_eq!((tasks.len(), &tasks[0]["id"]), (100, &json!(112)));
    refused(&tester.get("/tasks/1").await, 404, &["GET /tasks"]);
    refused(&tester.get("/tasks/x").await, 404, &["no such task"]);
}

#[tokio::test]
async fn too_long_a_task_is_killed_with_all_that_it_started() {
    let tester = Tester::start(Options { timeout: Duration::from_secs(2), allow_shell: true, ..options() }).await;
    let time = long_sleep("2");
    // The shell's own child, and one that leaves the group: `timeout` makes one of its own.
    let command = format!("sleep {time} & timeout 1000 sleep {time} & echo both; wait");
    said(&tester.run(&command).await, 202, &["task 1"]);
    let task = tester.ended(1).await;
    assert_eq!(
        (&task["state"], &task["exitCode"], &task["output"]),
        (&json!("timed out"), &Value::Null, &json!("both\n"))
    );
    assert_eq!(task["message"], "was killed after 2s, the --timeout");
    // Reaping them is up to the process that inherited them.
    until_running(&time, 0).await;
}

#[tokio::test]
async fn what_a_task_leaves_behind_is_killed_when_it_ends() {
    let tester = Tester::start(Options { allow_shell: true, ..options() }).await;
    let time = long_sleep("3");
    // One in its group, and one in a session of its own by the time that the task ends.
    let command = format!("sleep {time} & setsid bash -c 'sleep {time} & echo $((6 * 7))'; true");
    let bash = json!({ "type": "bash", "cmd": command, "returnCmdOutput": "true" });
    assert_eq!(tester.hook(bash).await, (200, "42\n".into()));
    until_running(&time, 0).await;
    let failing = json!({ "type": "bash", "cmd": "echo why; exit 3" });
    said(&tester.hook(failing).await, 500, &["exit code 3", "why"]);
    let by_signal = json!({ "type": "bash", "cmd": "kill -9 $$" });
    said(&tester.hook(by_signal).await, 500, &["ended by signal 9"]);
    said(&tester.run("echo a | cat").await, 202, &["task 4"]);
    assert_eq!(tester.ended(4).await["output"], "a\n");
}

#[tokio::test]
async fn a_stop_kills_what_runs_and_answers_who_waits() {
    let tester = Tester::start(options()).await;
    let time = long_sleep("4");
    let payload = json!({ "name": "web", "namespace": "prod", "metadata": { "cmd": format!("timeout 1000 sleep {time}"), "wait": "true" } });
    let waiting = tokio::spawn(send(tester.request(Method::POST, "/").json(&payload)));
    until_running(&time, 2).await;
    let address = tester.tester.http();
    tester.tester.stop().await;
    until_running(&time, 0).await;
    said(&waiting.await.unwrap(), 503, &["load tester stopped"]);
    // The port is free, so another test may have it already: what answers knows nothing of this task.
    if let Ok(answer) = reqwest::get(format!("http://{address}/tasks")).await {
        let tasks = answer.text().await.unwrap_or_default();
        assert!(!tasks.contains(&time), "{tasks}");
    }
}

#[tokio::test]
async fn the_token_is_wanted_for_all_that_tells_or_does_something() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let tester = Tester::start(Options { http_token_file: Some(file), ..options() }).await;
    let payload = json!({ "name": "web", "namespace": "prod", "metadata": { "cmd": "true" } });
    let post = || tester.request(Method::POST, "/").json(&payload);
    refused(&send(post()).await, 401, &["authorization: Bearer"]);
    refused(
        &send(post().header(header::AUTHORIZATION, "Bearer 0123456789abcdeg")).await,
        401,
        &["authentication failed", "--http-token-file"],
    );
    for path in ["/tasks", "/tasks/1", "/metrics", "/any"] {
        assert_eq!(tester.get(path).await.0, 401, "{path}");
    }
    assert_eq!(tester.get("/healthz").await, (200, "ok\n".into()));
    said(&send(post().header(header::AUTHORIZATION, "Bearer 0123456789abcdef")).await, 202, &["task 1"]);
}

#[tokio::test]
async fn what_is_no_webhook_is_refused_with_its_reason() {
    let tester = Tester::start(Options { namespace_regexp: Some("^prod$".into()), ..options() }).await;
    refused(&tester.run("echo a | cat").await, 403, &["`|` at character 8", "--allow-shell"]);
    refused(&tester.run("curl http://x/").await, 403, &["\"curl\"", "--allow"]);
    refused(&tester.hook(json!({ "type": "helm", "cmd": "test web" })).await, 400, &["helm", "supported"]);
    refused(&tester.hook(json!({})).await, 400, &["metadata is empty"]);
    let of_others = json!({ "name": "web", "namespace": "test", "metadata": { "cmd": "true" } });
    refused(&send(tester.request(Method::POST, "/").json(&of_others)).await, 403, &["--namespace-regexp"]);
    let typed = |kind: &str, body: String| {
        send(tester.request(Method::POST, "/").header(header::CONTENT_TYPE, kind).body(body))
    };
    refused(&typed("application/json", "{".into()).await, 400, &["ends at line 1, column 1", "metadata"]);
    refused(&typed("application/json", r#"{"name":"web"}"#.into()).await, 422, &["field namespace is missing"]);
    // What a web page could send from somebody's browser.
    refused(&typed("text/plain", r#"{"name":"web"}"#.into()).await, 415, &["application/json"]);
    refused(&typed("application/json", format!("\"{}\"", "x".repeat(65 << 10))).await, 413, &["65536 bytes"]);
    for path in ["/gate/open", "/gate/check", "/rollback/open"] {
        refused(&send(tester.request(Method::POST, path).json(&of_others)).await, 404, &["serin gate --help"]);
    }
    let number = r#"{"name":"web","namespace":"prod","metadata":{"wait":true}}"#;
    refused(&typed("application/json", number.into()).await, 422, &["field metadata.wait is true", "in quotes"]);
    refused(&tester.get("/").await, 405, &["takes POST", "POST a webhook"]);
    refused(&send(tester.request(Method::POST, "/tasks").json(&of_others)).await, 405, &["/tasks", "takes GET"]);
    for (method, path, allowed) in [(Method::GET, "/any", "POST"), (Method::PUT, "/tasks/1", "GET,HEAD")] {
        let answer = tester.request(method, path).send().await.unwrap();
        assert_eq!(
            (&answer.headers()[header::CONTENT_TYPE], &answer.headers()[header::ALLOW]),
            (&"application/json".parse().unwrap(), &allowed.parse().unwrap())
        );
    }
    assert!(tester.tasks().await.is_empty());
}
