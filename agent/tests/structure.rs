//! The order in which this crate is read, which no compiler keeps: a module uses only the siblings that its parent declares
//! above it. So the modules form no circle, and each can be understood from the top.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn each_module_uses_only_the_siblings_above_it() {
    let mut wrong = Vec::new();
    let checked = check(&source().join("lib.rs"), &source(), "crate", &mut wrong);
    assert!(checked > 30, "only {checked} modules were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_use_of_a_later_sibling_is_found_in_each_of_its_forms() {
    let siblings = ["first", "second"].map(str::to_owned);
    let forms =
        ["use crate::second;", "crate::second::go()", "use super::second::Go;", "use super::{Here, second::Go};"];
    for form in forms {
        assert_eq!(siblings_used(form, "crate", true, &siblings), ["second"], "{form}");
    }
    assert!(siblings_used("use super::second::Go;", "crate", false, &siblings).is_empty(), "one level further down");
    assert!(siblings_used("use crate::seconds;", "crate", true, &siblings).is_empty());
}

/// Checks the modules that `parent` declares, whose files lie in `folder`; returns how many there are, with all below.
fn check(parent: &Path, folder: &Path, path: &str, wrong: &mut Vec<String>) -> usize {
    let order = declared(parent);
    let mut checked = order.len();
    for (rank, name) in order.iter().enumerate() {
        let later = &order[rank + 1..];
        let (own, below) = (folder.join(name).with_extension("rs"), folder.join(name));
        let deeper = if below.is_dir() { sources(&below) } else { Vec::new() };
        for file in deeper.iter().chain([&own]) {
            for (number, line) in code(file) {
                for used in siblings_used(&line, path, *file == own, later) {
                    wrong.push(format!("{}:{number} uses {used}, which is declared below {name}", file.display()));
                }
            }
        }
        if below.is_dir() {
            checked += check(&own, &below, &format!("{path}::{name}"), wrong);
        }
    }
    checked
}

/// Which of these siblings a line names, by its full path or, in a sibling's own file, by `super`.
fn siblings_used(line: &str, path: &str, is_own_file: bool, siblings: &[String]) -> Vec<String> {
    let full = format!("{path}::");
    let mut rests: Vec<&str> = line.split(&full).skip(1).collect();
    if is_own_file {
        for rest in line.split("super::").skip(1) {
            match rest.strip_prefix('{') {
                Some(list) => rests.extend(list.split([',', '}']).map(str::trim_start)),
                None => rests.push(rest),
            }
        }
    }
    let word = |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_owned();
    rests.into_iter().map(word).filter(|name| siblings.contains(name)).collect()
}

/// The modules that a file declares, in its order, without those for tests.
fn declared(file: &Path) -> Vec<String> {
    let text = read(file);
    let lines: Vec<&str> = text.lines().collect();
    let is_test = |at: usize| at > 0 && lines[at - 1].contains("cfg(test)");
    let name = |line: &str| {
        let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
        line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    };
    lines.iter().enumerate().filter(|(at, _)| !is_test(*at)).filter_map(|(_, line)| name(line)).collect()
}

/// Numbered lines of code: no comments, and nothing of the tests at a file's end.
fn code(file: &Path) -> Vec<(usize, String)> {
    let text = read(file);
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate();
    lines.map(|(at, line)| (at + 1, line.split("//").next().unwrap_or("").to_owned())).collect()
}

/// All source files below a folder but those that only tests compile.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        match path.is_dir() {
            _ if is_test => {}
            true => found.extend(sources(&path)),
            false => found.push(path),
        }
    }
    found
}

fn source() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
