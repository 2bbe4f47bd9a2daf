//! The order in which `mod` lines stand is the order in which a crate can be read: a module uses only siblings above it. Checked at
//! every level of this crate and of the three beside it that have no test of their own for it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn modules_use_only_siblings_above_them() {
    for name in ["manifest", "filter", "proto", "sim"] {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let mut crate_ = Crate { root, modules: Vec::new() };
        crate_.walk(&[]);
        assert!(crate_.modules.len() > 8, "{name}: lib.rs was not understood");
        let looks_ahead: Vec<String> = crate_.modules.iter().flat_map(|module| crate_.looks_ahead(module)).collect();
        assert!(looks_ahead.is_empty(), "{name}:\n{}", looks_ahead.join("\n"));
    }
}

#[test]
fn a_module_file_of_a_room_is_one_screen() {
    let mut rooms = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(room) = rooms.pop() {
        for path in fs::read_dir(&room).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                rooms.push(path);
            } else if path.ends_with("mod.rs") && !path.ends_with("tests/mod.rs") {
                let lines = fs::read_to_string(&path).unwrap().lines().count();
                assert!(
                    lines <= 45,
                    "{} has {lines} lines; it lists modules and says what they are for",
                    path.display()
                );
            }
        }
    }
}

/// A crate's modules, each with its path, its file and its place among its siblings.
struct Crate {
    root: PathBuf,
    modules: Vec<Module>,
}

struct Module {
    path: Vec<String>,
    file: PathBuf,
    rank: usize,
}

impl Crate {
    fn walk(&mut self, parent: &[String]) {
        let Some(file) = self.file(parent) else { return };
        let text = code(&file);
        let declared = text.lines().filter_map(|line| {
            let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
            line.strip_prefix("mod ")?.strip_suffix(';')
        });
        for (rank, name) in declared.map(str::to_owned).enumerate() {
            let path: Vec<String> = parent.iter().cloned().chain([name]).collect();
            let Some(file) = self.file(&path) else { panic!("no file of {path:?}") };
            self.modules.push(Module { path: path.clone(), file, rank });
            self.walk(&path);
        }
    }

    fn file(&self, path: &[String]) -> Option<PathBuf> {
        let Some((name, above)) = path.split_last() else { return Some(self.root.join("lib.rs")) };
        let folder = above.iter().fold(self.root.clone(), |folder, part| folder.join(part));
        [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")].into_iter().find(|file| file.exists())
    }

    fn looks_ahead(&self, module: &Module) -> Vec<String> {
        let text = code(&module.file);
        let rank = |path: &[String]| self.modules.iter().find(|other| other.path == path).map(|other| other.rank);
        let mut found = Vec::new();
        for used in paths(&text, &module.path) {
            let common = used.iter().zip(&module.path).take_while(|(a, b)| a == b).count();
            let (Some(theirs), Some(ours)) = (used.get(..=common), module.path.get(..=common)) else { continue };
            if let (Some(theirs), Some(ours)) = (rank(theirs), rank(ours))
                && theirs > ours
            {
                found.push(format!("{} uses {}, declared after it", module.file.display(), used.join("::")));
            }
        }
        found
    }
}

/// Every path from the crate's root that a file names, with the modules in the braces at its end one by one.
fn paths(text: &str, own: &[String]) -> Vec<Vec<String>> {
    let parent = own.split_last().map_or(String::new(), |(_, above)| above.join("::") + "::");
    let text = text.replace("use super::", &format!("use crate::{parent}"));
    let mut found = Vec::new();
    for rest in text.split("crate::").skip(1) {
        let end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':')).unwrap_or(rest.len());
        let (path, rest) = rest.split_at(end);
        let parts: Vec<String> = path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        match rest.strip_prefix('{').and_then(|list| list.split_once('}')) {
            Some((list, _)) => {
                found.extend(list.split(',').map(|name| [parts.clone(), vec![name.trim().to_owned()]].concat()));
            }
            None => found.push(parts),
        }
    }
    found
}

/// A file's text before its tests, without comments.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}
