//! The core's promises that a compiler cannot keep: its closed list of dependencies, and that it touches nothing outside.
//!
//! The order of its modules is checked with that of all crates: see `tests/tests/rooms.rs`.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "this test reads the core's own source; the core itself may not")]

use std::fs;
use std::path::{Path, PathBuf};

const DEPENDENCIES: [&str; 6] = ["hdrhistogram", "libm", "regex", "serde", "siphasher", "thiserror"];
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
