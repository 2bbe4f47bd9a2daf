//! What the repository publishes about metrics is true of the page: promtool has nothing against its names, the tables of the
//! docs are its families, dashboard and alert rules ask for nothing else, and each alert is seen firing and silent.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};

use serde_json::Value;

use super::{Read, classic, families, full};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn promtool(arguments: &[&str], folder: &Path, input: &str) -> (bool, String) {
    let spawned = Program::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut running = spawned.expect(
        "the program promtool must be on PATH: run `cargo xtask test`, which installs Debian's package prometheus, or \
         install it yourself",
    );
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let ended = running.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn promtool_has_nothing_against_our_names() {
    let (is_good, said) = promtool(&["check", "metrics"], &folder(), &classic(&full(false)));
    assert!(is_good && said.is_empty(), "{said}");
    // A name of Flagger's that breaks the convention, and is kept since it is Flagger's.
    let (_, said) = promtool(&["check", "metrics"], &folder(), &classic(&full(true)));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("flagger_canary_total non-counter metrics should not have \"_total\" suffix"), "{said}");
}

/// Names of our own and of Flagger's in a text, without the parts of a histogram.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let ours = words.filter(|word| word.starts_with("serin_") || word.starts_with("flagger_"));
    let family = |word: &str| {
        let parts = ["_bucket", "_sum", "_count"].iter().find_map(|part| word.strip_suffix(part));
        parts.unwrap_or(word).to_owned()
    };
    ours.map(family).collect()
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let text = std::fs::read_to_string(folder().join("observability/serin-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let there: BTreeSet<String> = families(&full(false)).into_keys().collect();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut rules = String::from("groups:\n  - name: panels\n    rules:\n");
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            let names = named(query);
            assert!(!names.is_empty() && names.is_subset(&there), "{}: {query}", panel["title"]);
            // Variables stand for what Grafana puts there.
            let query = query.replace("$__rate_interval", "5m").replace("$namespace", ".*").replace("$name", ".*");
            rules.push_str(&format!("      - {{ record: a, expr: '{query}' }}\n"));
        }
    }
    let scratch = tempfile::TempDir::new().unwrap();
    std::fs::write(scratch.path().join("panels.yaml"), rules).unwrap();
    let (is_good, said) = promtool(&["check", "rules", "--lint=none", "panels.yaml"], scratch.path(), "");
    assert!(is_good, "{said}");
    for (variable, label) in [(1, "namespace"), (2, "name")] {
        let query = dashboard["templating"]["list"][variable]["query"]["query"].as_str().unwrap();
        assert!(query.ends_with(&format!(", {label})")) && named(query).is_subset(&there), "{query}");
    }
}

#[test]
fn the_alert_rules_ask_for_what_there_is_and_fire_when_they_should() {
    let observability = folder().join("observability");
    let text = std::fs::read_to_string(observability.join("serin-rules.yaml")).unwrap();
    let there: BTreeSet<String> = families(&full(false)).into_keys().collect();
    assert!(named(&text).is_subset(&there), "{:?}", named(&text).difference(&there));
    let (is_good, said) = promtool(&["check", "rules", "serin-rules.yaml"], &observability, "");
    assert!(is_good, "{said}");
    let (is_good, said) = promtool(&["test", "rules", "serin-rules.test.yaml"], &observability, "");
    assert!(is_good, "{said}");
    let tests = std::fs::read_to_string(observability.join("serin-rules.test.yaml")).unwrap();
    let page = std::fs::read_to_string(folder().join("observability.md")).unwrap();
    let alerts: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 6, "{alerts:?}");
    for alert in alerts {
        let tried = format!("alertname: {alert}\n");
        assert!(tests.matches(&tried).count() >= 2, "{alert} is not tried both ways");
        assert!(tests.contains(&format!("exp_alerts: []  # {alert}\n")), "{alert} is never seen silent");
        assert!(page.contains(&format!("`{alert}`")), "{alert} is not in observability.md");
    }
}

/// `UPDATE=1 cargo test -p agent metrics` writes them.
#[test]
fn the_tables_of_the_docs_are_those_of_the_page() {
    let path = folder().join("observability.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let all = families(&full(true));
    let mut expected = page.clone();
    for prefix in ["serin", "flagger"] {
        let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
        for (name, Read { kind, labels, help }) in all.iter().filter(|(name, _)| name.starts_with(prefix)) {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            table.push_str(&format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", ")));
        }
        let (begin, end) = (format!("<!-- {prefix} metrics -->\n"), format!("<!-- end of {prefix} metrics -->"));
        let (before, rest) = expected.split_once(&begin).expect("where the table begins");
        let (_, after) = rest.split_once(&end).expect("where the table ends");
        expected = format!("{before}{begin}{table}{end}{after}");
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert_eq!(page, expected, "run UPDATE=1 cargo test -p agent metrics");
    }
}
