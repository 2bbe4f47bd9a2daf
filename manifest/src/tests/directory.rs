//! A directory of manifests while people edit it.

use std::fs;
use std::path::Path;

use rollout::base::names::CanaryId;

use super::super::{Directory, Scan, Warning};
use super::OWN;

fn canary(namespace: &str, name: &str, host: &str) -> String {
    let analysis = "  analysis: {interval: 10s, threshold: 2, stepWeights: [10, 50]}\n";
    let metadata = format!("metadata: {{name: {name}, namespace: {namespace}}}\n");
    format!(
        "apiVersion: serin.dev/v1alpha1\nkind: Canary\n{metadata}spec:\n  service: {{hosts: [\"{host}\"]}}\n{analysis}"
    )
}

pub(super) fn start() -> (tempfile::TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::new(folder.path());
    (folder, directory)
}

pub(super) fn put(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

/// What a scan means, in a line: `+` for changed, `-` for removed, `!` for problems.
pub(super) fn summary(scan: &Scan) -> String {
    let changed = scan.changed.iter().map(|plan| format!("+{}", plan.id.name()));
    let removed = scan.removed.iter().map(|id| format!("-{}", id.name()));
    let problems = scan.problems.iter().map(|_| "!".to_owned());
    changed.chain(removed).chain(problems).collect::<Vec<_>>().join(" ")
}

#[test]
fn changes_are_found_by_content_and_the_last_good_plan_stays() {
    let (folder, mut directory) = start();
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com"));
    put(folder.path(), "notes.txt", "not: [yaml");
    assert_eq!(summary(&directory.scan()), "+web");
    let again = directory.scan();
    assert_eq!((summary(&again).as_str(), again.news), ("", false));
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com").replace("[10, 50]", "[50, 10]"));
    let wrong = directory.scan();
    assert_eq!((summary(&wrong).as_str(), wrong.news), ("!", true));
    assert!(
        wrong.problems[0].to_string().contains("web.yaml:6:61: spec.analysis.stepWeights[1]: 10 must be"),
        "{}",
        wrong.problems[0]
    );
    assert_eq!(summary(&directory.scan()), "!", "still wrong, and reported again");
    put(folder.path(), "web.yaml", "a: [");
    assert_eq!(summary(&directory.scan()), "!");
    put(folder.path(), "web.yaml", &canary("prod", "we b", "a.com"));
    for _ in 0..3 {
        assert_eq!(summary(&directory.scan()), "!", "a mistake in the name hides the canary, it does not remove it");
    }
    put(folder.path(), "web.yaml", "");
    for _ in 0..3 {
        assert_eq!(summary(&directory.scan()), "", "empty while it is being written");
    }
    put(folder.path(), "web.yaml", &canary("prod", "web", "b.com"));
    assert_eq!(summary(&directory.scan()), "+web");
    assert_eq!(directory.plans().count(), 1);
}

/// The same as `serin validate` says of these files.
#[test]
fn what_nobody_means_for_us_is_set_aside_unless_a_canary_came_from_it() {
    let (folder, mut directory) = start();
    put(folder.path(), "notes.yaml", "a: [");
    put(folder.path(), "chart.yaml", "{{ if .Values.on }}\na: b\n{{ end }}\n");
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com"));
    let scan = directory.scan();
    assert_eq!(summary(&scan), "+web");
    let said: Vec<String> = scan.warnings.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|line| line.contains("chart.yaml") && line.contains("skipped, a Helm template")),
        "{said:?}"
    );
    assert!(said.iter().any(|line| line.contains("notes.yaml:") && line.contains("none of our kinds")), "{said:?}");
    let mut restarted = Directory::new(folder.path()).holding(scan.changed);
    assert_eq!(summary(&restarted.scan()), "", "what held before is all there");
    put(folder.path(), "notes.yaml", "kind: Canary\na: [");
    assert_eq!(summary(&directory.scan()), "!", "half a manifest");
    put(folder.path(), "notes.yaml", "a: b");
    put(folder.path(), "web.yaml", "a: [");
    for _ in 0..3 {
        assert_eq!(summary(&directory.scan()), "!", "a manifest gone wrong");
    }
    assert_eq!(directory.plans().count(), 1);
}

#[test]
fn a_canary_is_removed_when_two_scans_running_miss_it() {
    let (folder, mut directory) = start();
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com"));
    directory.scan();
    fs::remove_file(folder.path().join("web.yaml")).unwrap();
    assert_eq!(summary(&directory.scan()), "");
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com"));
    assert_eq!(summary(&directory.scan()), "", "an editor's moment without the file is none");
    fs::rename(folder.path().join("web.yaml"), folder.path().join("app.yml")).unwrap();
    assert_eq!(summary(&directory.scan()), "", "another file, the same canary");
    put(folder.path(), "app.yml", &canary("prod", "app", "a.com"));
    assert_eq!(summary(&directory.scan()), "", "the new one waits for the scope without complaint");
    assert_eq!(summary(&directory.scan()), "+app -web");
    assert_eq!(summary(&directory.scan()), "");
}

#[test]
fn a_directory_or_file_that_cannot_be_read_removes_nothing() {
    let (folder, mut directory) = start();
    let (inner, away) = (folder.path().join("inner"), folder.path().join("away"));
    fs::create_dir(&inner).unwrap();
    put(&inner, "web.yaml", &canary("prod", "web", "a.com"));
    let mut directory_inside = Directory::new(&inner);
    directory_inside.scan();
    fs::rename(&inner, &away).unwrap();
    for _ in 0..3 {
        assert_eq!(summary(&directory_inside.scan()), "!");
    }
    fs::rename(&away, &inner).unwrap();
    assert_eq!(summary(&directory_inside.scan()), "");
    fs::write(inner.join("web.yaml"), b"a: \xff").unwrap();
    for _ in 0..3 {
        assert_eq!(summary(&directory_inside.scan()), "!");
    }
    assert_eq!(summary(&directory.scan()), "", "folders are not entered");
}

#[test]
fn the_same_canary_twice_is_refused_at_both_places() {
    let (folder, mut directory) = start();
    put(folder.path(), "a.yaml", &canary("prod", "web", "a.com"));
    directory.scan();
    put(folder.path(), "b.yaml", &format!("# first line\n{}", canary("prod", "web", "b.com")));
    let scan = directory.scan();
    assert_eq!(summary(&scan), "! !");
    let lines: Vec<_> = scan.problems.iter().map(ToString::to_string).collect();
    assert!(
        lines[0].contains("a.yaml:1:1: metadata.name: prod/web is also defined in ") && lines[0].contains("b.yaml:2"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("b.yaml:2:1: metadata.name: prod/web is also defined in ") && lines[1].contains("a.yaml:1"),
        "{lines:?}"
    );
    assert_eq!(directory.plans().next().unwrap().scope.hosts.last().unwrap(), "a.com", "the one that held, holds");
}

#[test]
fn a_newcomer_cannot_take_the_scope_of_another() {
    let (folder, mut directory) = start();
    put(folder.path(), "web.yaml", &canary("prod", "web", "x.com"));
    directory.scan();
    put(folder.path(), "app.yaml", &canary("prod", "app", "x.com"));
    let scan = directory.scan();
    assert_eq!(summary(&scan), "!");
    let line = scan.problems[0].to_string();
    assert!(
        line.contains(
            "app.yaml:1:1: spec.service.hosts: \"x.com\" with path prefix / is also in the scope of prod/web, "
        ),
        "{line}"
    );
    put(folder.path(), "app.yaml", &canary("prod", "app", "y.com"));
    assert_eq!(summary(&directory.scan()), "+app");
    put(folder.path(), "web.yaml", &canary("prod", "web", "y.com"));
    put(folder.path(), "app.yaml", &canary("prod", "app", "x.com"));
    assert_eq!(summary(&directory.scan()), "+app +web", "two may trade places at once");
    put(folder.path(), "cart.yaml", &canary("prod", "cart", "x.com").replace("hosts", "pathPrefix: /cart, hosts"));
    assert_eq!(summary(&directory.scan()), "+cart", "another path of the same host");
    let (_, mut fresh) = (0, Directory::new(folder.path()));
    put(folder.path(), "web.yaml", &canary("prod", "web", "x.com"));
    assert_eq!(summary(&fresh.scan()), "+cart ! !", "at first sight neither is older");
}

#[test]
fn a_short_name_shared_by_two_namespaces_belongs_to_neither() {
    let (folder, mut directory) = start();
    put(folder.path(), "a.yaml", &canary("prod", "web", "a.com"));
    put(folder.path(), "b.yaml", &canary("test", "web", "b.com"));
    let scan = directory.scan();
    assert_eq!(summary(&scan), "+web +web");
    assert!(scan.changed.iter().all(|plan| !plan.scope.hosts.contains(&"web".to_owned())));
    let is_named = |warning: &Warning| warning.to_string().contains("the host web could also mean test/web");
    assert!(scan.warnings.iter().any(is_named), "{:?}", scan.warnings);
    put(folder.path(), "c.yaml", OWN);
    assert_eq!(summary(&directory.scan()), "+pay", "and stays so");
}

#[test]
fn a_restart_begins_with_what_held() {
    let (folder, mut directory) = start();
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com"));
    let held = directory.scan().changed;
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com").replace("10s", "soon"));
    let mut restarted = Directory::new(folder.path()).holding(held.clone());
    assert_eq!(summary(&restarted.scan()), "!");
    assert_eq!(restarted.plans().cloned().collect::<Vec<_>>(), held);
    put(folder.path(), "web.yaml", "a: [");
    let mut restarted = Directory::new(folder.path()).holding(held.clone());
    for _ in 0..3 {
        assert_eq!(summary(&restarted.scan()), "!");
    }
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com"));
    assert_eq!(summary(&restarted.scan()), "");
}

/// A ConfigMap mount: each name is a link through `..data` to a folder that is exchanged as a whole.
#[test]
#[cfg(unix)]
fn a_configmap_mount_is_read_once() {
    use std::os::unix::fs::symlink;
    let (folder, mut directory) = start();
    let path = folder.path();
    for (version, host) in [("..1", "a.com"), ("..2", "b.com")] {
        fs::create_dir(path.join(version)).unwrap();
        put(&path.join(version), "web.yaml", &canary("prod", "web", host));
    }
    symlink("..1", path.join("..data")).unwrap();
    symlink("..data/web.yaml", path.join("web.yaml")).unwrap();
    assert_eq!(summary(&directory.scan()), "+web");
    symlink("..2", path.join("..tmp")).unwrap();
    fs::rename(path.join("..tmp"), path.join("..data")).unwrap();
    assert_eq!(summary(&directory.scan()), "+web");
    fs::remove_dir_all(path.join("..2")).unwrap();
    assert_eq!(summary(&directory.scan()), "!", "a link to nowhere");
}

#[test]
fn a_refresh_takes_what_is_new_and_removes_nothing() {
    let (folder, mut directory) = start();
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com"));
    assert_eq!(summary(&directory.refresh()), "+web");
    put(folder.path(), "web.yaml", &canary("prod", "web", "b.com"));
    assert_eq!(summary(&directory.refresh()), "+web", "what was written a moment ago");
    fs::remove_file(folder.path().join("web.yaml")).unwrap();
    for _ in 0..5 {
        assert_eq!(summary(&directory.refresh()), "", "readings that people ask for say nothing of how long");
    }
    assert_eq!(summary(&directory.scan()), "", "the first scan that misses it");
    assert_eq!(summary(&directory.refresh()), "");
    assert_eq!(summary(&directory.scan()), "-web", "the second, though nothing has changed since");
}

#[test]
fn what_is_stale_is_known_with_its_reason() {
    let (folder, mut directory) = start();
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com"));
    put(folder.path(), "cart.yaml", &canary("prod", "cart", "c.com"));
    assert!(directory.scan().stale.is_empty());
    let broken = canary("prod", "web", "a.com").replace("[10, 50]", "[50, 10]");
    // In its own document; a file that is no YAML; one that was renamed by mistake; a scope that is another's.
    for (text, words) in [
        (broken.as_str(), "web.yaml:6:61: spec.analysis.stepWeights[1]"),
        ("a: [", "web.yaml:"),
        (&canary("prod", "we b", "a.com"), "web.yaml:"),
        (&canary("prod", "web", "c.com"), "c.com"),
    ] {
        put(folder.path(), "web.yaml", text);
        let scan = directory.refresh();
        let ids: Vec<&str> = scan.stale.keys().map(CanaryId::name).collect();
        assert_eq!(ids, ["web"], "{text}: {:?}", scan.stale);
        let said = scan.stale.values().next().unwrap();
        assert!(said.contains(words), "{text}: {said}");
        assert_eq!(directory.refresh().stale.len(), 1, "and again, unchanged");
    }
    put(folder.path(), "web.yaml", &canary("prod", "web", "a.com"));
    assert!(directory.refresh().stale.is_empty());
    let gone = folder.path().join("nowhere");
    assert!(Directory::new(gone).refresh().blind.is_some());
}
