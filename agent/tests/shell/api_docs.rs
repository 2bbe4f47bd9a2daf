//! docs/api.md is true: each of its commands is run with a real curl against a real agent, in the page's order, and answers
//! what the page shows. `...` in the page stands for what varies or is left out.
//! `UPDATE=1 cargo test -p agent --test shell api_docs` rewrites the answers after a change that is meant.

use std::path::{Path, PathBuf};

use rollout::routing::table::{Epoch, Version};
use rollout::worker::messages::{ToAgent, ToWorker};
use serde_json::{Map, Value};
use tokio::process::Command;

use crate::support::agent::TestAgent;
use crate::support::within;
use crate::support::worker::{Worker, report, web};

const TOKEN: &str = "fedcba9876543210fedcba9876543210";
/// What varies or is left out.
const ELIDED: &str = "...";
/// Fields whose values are of the moment.
const VARYING: &[&str] = &[
    "atMs",
    "beganAtMs",
    "bytes",
    "endedAtMs",
    "expiresAtMs",
    "lines",
    "manifest",
    "onStepMs",
    "openedAtMs",
    "silentMs",
];
const START: &str = "```console";
const END: &str = "```";
/// Longest line of an answer, in characters.
const WIDTH: usize = 110;

/// A command of the page with the status and the body that it shows.
#[derive(Debug)]
struct Example {
    command: String,
    status: String,
    body: String,
}

/// The page in pieces: text as it is, and examples.
#[derive(Debug)]
enum Piece {
    Text(String),
    Example(Example),
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md")
}

fn pieces(page: &str) -> Vec<Piece> {
    let mut pieces = vec![];
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line != START {
            pieces.push(Piece::Text(format!("{line}\n")));
            continue;
        }
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != END).collect();
        let commands = block.iter().take_while(|line| !line.starts_with("HTTP ")).count();
        let command = block[..commands].join("\n");
        let command = command.strip_prefix("$ ").unwrap_or_else(|| panic!("no `$ ` before {command:?}")).to_owned();
        let status = block.get(commands).copied().unwrap_or_default().to_owned();
        let body = block.get(commands + 1..).unwrap_or_default().join("\n");
        pieces.push(Piece::Example(Example { command, status, body }));
    }
    pieces
}

impl Example {
    fn render(&self) -> String {
        let lines = ["$ ".to_owned() + &self.command, self.status.clone(), self.body.clone()];
        let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        format!("{START}\n{}\n{END}\n", lines.join("\n"))
    }

    /// What the command answers now; what the page leaves out is left out.
    async fn run(&self, directory: &Path, agent: &str) -> Self {
        // The status is printed behind the body, and progress is not.
        let script = format!("curl() {{ command curl -sS -w '\\nHTTP %{{http_code}}' \"$@\"; }}\n{}", self.command);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).current_dir(directory).env("SERIN_AGENT", agent);
        for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            shell.env_remove(proxy);
        }
        let output = within(&self.command, shell.output()).await.unwrap();
        let (said, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(!errors.contains("not found"), "{errors}; curl is needed: apt-get install curl");
        let (body, status) = said.rsplit_once('\n').unwrap_or(("", &said));
        assert!(status.is_empty() || status.starts_with("HTTP "), "{}: {said}{errors}", self.command);
        Self { command: self.command.clone(), status: status.into(), body: body_like(&self.body, body.trim_end()) }
    }
}

/// A body as the page shows it.
fn body_like(shown: &str, body: &str) -> String {
    if let Ok(mut found) = serde_json::from_str(body) {
        elide_varying(&mut found);
        let found = match serde_json::from_str(shown) {
            Ok(shown) => value_like(&shown, found),
            Err(_) => found,
        };
        return render(&found, 0);
    }
    let (mut lines, mut like) = (body.lines(), vec![]);
    for (at, line) in shown.lines().enumerate() {
        if line == ELIDED {
            // Up to the line that the page goes on with.
            let next = shown.lines().nth(at + 1);
            lines = match next {
                Some(next) => rest_from(lines, next),
                None => "".lines(),
            };
            like.push(ELIDED.to_owned());
        } else if let Some(found) = lines.next() {
            like.push(line_like(line, found));
        }
    }
    like.extend(lines.map(str::to_owned));
    like.join("\n")
}

fn rest_from<'a>(mut lines: std::str::Lines<'a>, next: &str) -> std::str::Lines<'a> {
    let mut rest = lines.clone();
    while let Some(found) = lines.next() {
        if line_like(next, found) == next {
            return rest;
        }
        rest = lines.clone();
    }
    rest
}

/// A line of a text, of server-sent events or of JSON lines.
fn line_like(shown: &str, found: &str) -> String {
    const DATA: &str = "data: ";
    let json = |line: &str| serde_json::from_str::<Value>(line.strip_prefix(DATA).unwrap_or(line)).ok();
    if let (Some(expected), Some(value)) = (json(shown), json(found)) {
        let prefix = if found.starts_with(DATA) { DATA } else { "" };
        return format!("{prefix}{}", one_line(&value_like(&expected, value)));
    }
    match shown.strip_suffix(ELIDED) {
        Some(start) if found.starts_with(start) => shown.into(),
        _ => found.into(),
    }
}

/// The value, with what `shown` leaves out left out.
fn value_like(shown: &Value, found: Value) -> Value {
    match (shown, found) {
        (Value::String(elided), _) if elided == ELIDED => ELIDED.into(),
        (Value::String(text), Value::String(found)) => match text.strip_suffix(ELIDED) {
            Some(start) if found.starts_with(start) => text.as_str().into(),
            _ => found.into(),
        },
        (Value::Array(shown), Value::Array(found)) => {
            let is_elided = shown.last().is_some_and(|last| last == ELIDED);
            let most = if is_elided { shown.len() - 1 } else { found.len() };
            let like =
                |(at, item)| shown.get(at).map_or_else(|| Value::clone(&item), |shown| value_like(shown, item.clone()));
            let mut items: Vec<Value> = found.into_iter().take(most).enumerate().map(like).collect();
            items.extend(is_elided.then(|| ELIDED.into()));
            Value::Array(items)
        }
        (Value::Object(shown), Value::Object(found)) => {
            let is_elided = shown.contains_key(ELIDED);
            let kept = found.into_iter().filter(|(key, _)| !is_elided || shown.contains_key(key));
            let like = |(key, value)| match shown.get(&key) {
                Some(shown) => (key, value_like(shown, value)),
                None => (key, value),
            };
            let mut fields: Map<String, Value> = kept.map(like).collect();
            if is_elided {
                fields.insert(ELIDED.into(), ELIDED.into());
            }
            Value::Object(fields)
        }
        (_, found) => found,
    }
}

/// A number of the moment is left out wherever it stands; whether there is one is not.
fn elide_varying(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(elide_varying),
        Value::Object(fields) => {
            for (key, value) in fields {
                if VARYING.contains(&key.as_str()) && value.is_number() {
                    *value = ELIDED.into();
                }
                elide_varying(value);
            }
        }
        _ => {}
    }
}

/// JSON on one line where it fits, else a line for each item.
fn render(value: &Value, indent: usize) -> String {
    let line = one_line(value);
    if indent + line.chars().count() <= WIDTH {
        return line;
    }
    let inner = " ".repeat(indent + 2);
    let (open, close, items): (_, _, Vec<String>) = match value {
        Value::Array(items) => ('[', ']', items.iter().map(|item| render(item, indent + 2)).collect()),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                format!("{}: {}", Value::from(key.as_str()), render(value, indent + 2))
            };
            ('{', '}', in_order(fields).map(field).collect())
        }
        _ => return line,
    };
    format!("{open}\n{inner}{}\n{}{close}", items.join(&format!(",\n{inner}")), " ".repeat(indent))
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) if fields.is_empty() => "{}".into(),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), one_line(value));
            format!("{{ {} }}", in_order(fields).map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// What is left out stands last.
fn in_order(fields: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let (elided, named): (Vec<_>, Vec<_>) = fields.iter().partition(|(key, _)| *key == ELIDED);
    named.into_iter().chain(elided)
}

/// Brings the page's one worker up to date, so that what is shown next does not depend on time: it has adopted every entry,
/// and has reported requests under the first that gave the canary traffic.
async fn adopt(worker: &mut Worker, adopted: &mut Epoch, reports: &mut u64) {
    worker.send(&ToAgent::Beat).await;
    loop {
        let entry = match worker.next().await {
            ToWorker::Beat => return,
            ToWorker::Entry(entry) if entry.epoch > *adopted => entry,
            _ => continue,
        };
        *adopted = entry.epoch;
        worker.send(&ToAgent::Adopted(web(), entry.epoch)).await;
        let has_split = entry.routing.is_some_and(|routing| routing.split.is_some());
        if !has_split || *reports > 0 {
            continue;
        }
        *reports += 1;
        let mut both = report(*reports, Version::Primary, entry.epoch, 360);
        both.strata.extend(report(*reports, Version::Canary, entry.epoch, 40).strata);
        worker.send(&ToAgent::Report(both)).await;
        // A beat is answered in its turn: behind it nothing is under way.
        worker.send(&ToAgent::Beat).await;
        while worker.next().await != ToWorker::Beat {}
    }
}

/// The page's manifest: its first block of YAML.
fn manifest(page: &str) -> String {
    let (_, rest) = page.split_once("```yaml\n").expect("the page has a manifest");
    rest.split_once("```").unwrap().0.to_owned()
}

#[tokio::test]
async fn every_command_of_the_page_answers_what_it_shows() {
    let text = std::fs::read_to_string(page()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token"), TOKEN).unwrap();
    let agent = TestAgent::start_with(|options, _| {
        std::fs::write(options.canaries.join("web.yaml"), manifest(&text)).unwrap();
        options.http_token_file = Some(directory.path().join("token"));
    })
    .await;
    let mut worker = Worker::welcomed(agent.grpc(), 1).await;
    let (mut adopted, mut reports) = (Epoch(0), 0);
    let base = agent.api().request(reqwest::Method::GET, "").build().unwrap().url().to_string();
    let (mut found, mut examples) = (String::new(), 0);
    let is_update = std::env::var_os("UPDATE").is_some();
    for piece in pieces(&text) {
        match piece {
            Piece::Text(text) => found += &text,
            Piece::Example(shown) => {
                let answered = shown.run(directory.path(), base.trim_end_matches('/')).await;
                if !is_update {
                    let (now, then) = (answered.render(), shown.render());
                    assert_eq!(
                        now, then,
                        "\n{now}\nis not what docs/api.md shows:\n{then}\nif that is meant: UPDATE=1"
                    );
                }
                found += &answered.render();
                adopt(&mut worker, &mut adopted, &mut reports).await;
                examples += 1;
            }
        }
    }
    assert!(examples >= 30, "only {examples} examples");
    if is_update {
        std::fs::write(page(), found).unwrap();
    }
}

#[test]
fn every_path_of_the_document_is_on_the_page() {
    let text = std::fs::read_to_string(page()).unwrap();
    let document: Value = serde_json::from_str(include_str!("../../src/openapi.json")).unwrap();
    let commands: String = pieces(&text)
        .iter()
        .filter_map(|piece| match piece {
            Piece::Example(example) => Some(example.command.replace("$SERIN_AGENT", "") + "\n"),
            Piece::Text(_) => None,
        })
        .collect();
    let path = &document["paths"]["/api/v1/canaries/{namespace}/{name}/{verb}"]["post"]["parameters"];
    let verbs = path[2]["schema"]["enum"].as_array().unwrap().iter().map(|verb| verb.as_str().unwrap());
    let one = |path: &str| {
        let path = path.replace("{namespace}", "prod").replace("{name}", "web").replace("{release}", "1");
        path.replace("{gate}/{verb}", "change-board/open").replace("{kind}", "gate")
    };
    let paths = document["paths"].as_object().unwrap().keys().map(|path| one(path));
    let (with_verb, plain): (Vec<String>, Vec<String>) = paths.partition(|path| path.contains("{verb}"));
    let all =
        plain.into_iter().chain(verbs.flat_map(|verb| with_verb.iter().map(move |path| path.replace("{verb}", verb))));
    for path in all {
        let is_there = commands.lines().any(|line| line.split([' ', '"']).any(|word| word == path));
        assert!(is_there, "{path} is not on docs/api.md");
    }
}

#[test]
fn a_changed_answer_is_seen_and_what_is_left_out_is_not() {
    let shown =
        r#"{ "a": 1, "at": "...", "list": [1, "..."], "part": { "x": true, "...": "..." }, "why": "took ..." }"#;
    let same = r#"{"a": 1, "at": 7, "list": [1, 2, 3], "part": {"x": true, "y": 1}, "why": "took 3 s"}"#;
    assert_eq!(body_like(shown, same), shown);
    for changed in [
        same.replace("\"a\": 1", "\"a\": 2"),
        same.replace("\"a\": 1", "\"a\": 1, \"b\": 1"),
        same.replace("\"a\": 1, ", ""),
        same.replace("[1, 2, 3]", "[2, 2, 3]"),
        same.replace("\"x\": true", "\"x\": false"),
        same.replace("\"x\": true, ", ""),
        same.replace("took", "takes"),
    ] {
        assert_ne!(body_like(shown, &changed), shown, "{changed}");
    }
    let text = "event: status\ndata: { \"phase\": \"Failed\", \"...\": \"...\" }\n...\nevent: event\n...";
    let stream = "event: status\ndata: {\"phase\":\"Failed\",\"n\":1}\n\nevent: status\nevent: event\ndata: 1";
    assert_eq!(body_like(text, stream), text);
    assert_ne!(body_like(text, &stream.replace("Failed", "Paused")), text);
    assert_ne!(body_like(text, &stream.replace("event: event", "")), text);
}
