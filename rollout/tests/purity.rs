//! The core's promises that a compiler cannot keep: its closed list of dependencies, its order, the size of its files.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "this test reads the core's own source; the core itself may not")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const DEPENDENCIES: [&str; 6] = ["hdrhistogram", "libm", "regex", "serde", "siphasher", "thiserror"];
const MAX_LINES: usize = 400;
/// Modules that touch the world; clippy.toml bans their functions one by one, this bans them whole.
const WORLD: [&str; 8] =
    ["std::env", "std::fs", "std::io", "std::net", "std::os", "std::process", "std::thread", "std::time"];

#[test]
fn the_list_of_dependencies_is_closed() {
    let manifest = read(&root().join("Cargo.toml"));
    let of = |section: &str| -> Vec<String> {
        let lines = manifest.lines().skip_while(|line| *line != section).skip(1);
        let keys = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split(['.', '=']).next());
        keys.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty() && !key.starts_with('#')).collect()
    };
    assert_eq!(
        of("[dependencies]"),
        DEPENDENCIES,
        "the core is pure and builds for wasm32 with the same verdict bit for bit: a new dependency may read a clock, draw \
         a random number or round differently. Do it in a shell, or argue for the crate here"
    );
    let sections: Vec<&str> = manifest.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(
        sections,
        ["[package]", "[dependencies]", "[dev-dependencies]", "[lints]"],
        "no features, build script or target-specific dependency: they would go round the closed list"
    );
}

#[test]
fn each_module_uses_only_those_above_it() {
    let order = modules();
    for (name, rank) in &order {
        for file in files_of(name) {
            for (line, used) in uses(&file) {
                let used_rank = order.get(&used);
                assert!(
                    used_rank.is_some_and(|used_rank| used_rank <= rank),
                    "{}:{line} uses crate::{used}, which lib.rs lists after {name}: read from the top, the core must be \
                     understood without looking ahead",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_core_does_not_touch_the_world() {
    for file in sources(&root().join("src")) {
        for (line, text) in code(&file) {
            let banned = WORLD.iter().find(|module| text.contains(*module));
            assert!(
                banned.is_none(),
                "{}:{line} names {}: time, randomness and messages are arguments",
                file.display(),
                banned.unwrap()
            );
        }
    }
}

#[test]
fn each_file_says_why_it_exists_and_can_be_read_at_one_sitting() {
    let both = ["src", "tests"].map(|folder| sources(&root().join(folder)));
    for file in both.into_iter().flatten() {
        let text = read(&file);
        assert!(text.starts_with("//! "), "{} has no //! header: say why it exists", file.display());
        let lines = text.lines().count();
        assert!(
            lines <= MAX_LINES,
            "{} has {lines} lines, at most {MAX_LINES} are allowed: split it, or move its tests to a file of their own",
            file.display()
        );
    }
}

/// Each module with its place in lib.rs.
fn modules() -> BTreeMap<String, usize> {
    let lib = read(&root().join("src/lib.rs"));
    let names = lib.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    let order: BTreeMap<String, usize> = names.enumerate().map(|(rank, name)| (name.to_owned(), rank)).collect();
    let files = sources(&root().join("src")).len();
    assert!(order.len() > 15 && order.len() < files, "lib.rs was not understood");
    order
}

/// A module's own file and its children's, which count as part of it; tests may look ahead.
fn files_of(module: &str) -> Vec<PathBuf> {
    let folder = root().join("src").join(module);
    let children = if folder.is_dir() { sources(&folder) } else { Vec::new() };
    children.into_iter().filter(|file| !file.ends_with("tests.rs")).chain([folder.with_extension("rs")]).collect()
}

/// The modules that a file's code names, with the line.
fn uses(file: &Path) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in code(file) {
        assert!(!text.contains("crate::{"), "{}:{line}: one `use` per module", file.display());
        for rest in text.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            found.push((line, rest[..end].to_owned()));
        }
    }
    found
}

/// Numbered lines before the tests, without comments.
fn code(file: &Path) -> Vec<(usize, String)> {
    let text = read(file);
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
    lines
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(n, line)| (n, line.split("//").next().unwrap_or(line).to_owned()))
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
