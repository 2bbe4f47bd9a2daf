//! The layout that a reader relies on, for every crate: modules use only those declared above them, files can be read at
//! one sitting and say why they exist, and one name means one type.
//!
//! `mod` lines are in reading order. Siblings at every level may use only those above them, so no circle can come back; a
//! module and its children count as one, because a parent's file is where its children's shared words stand.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 400;
/// Crates whose modules are checked; `bench/noop` and `tests/parity` are single files or nearly.
const CRATES: [&str; 12] = [
    "rollout",
    "manifest",
    "proto",
    "filter",
    "serving",
    "agent",
    "loadtester",
    "sim",
    "cli",
    "tests",
    "bench",
    "xtask",
];

#[test]
fn modules_use_only_those_declared_above_them() {
    let mut broken = Vec::new();
    for krate in CRATES {
        let tree = Tree::read(krate);
        assert!(tree.modules.len() > 3, "{krate} was not understood");
        for module in &tree.modules {
            for (line, target) in tree.uses(module) {
                if let Some((ours, theirs)) = tree.siblings(&module.path, &target)
                    && tree.rank(theirs) > tree.rank(ours)
                {
                    broken.push(format!(
                        "{}:{line} uses {}, which is declared after {}",
                        module.file.display(),
                        target.join("::"),
                        ours.join("::")
                    ));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "read from the top, each module must be clear without those below:\n{}",
        broken.join("\n")
    );
}

#[test]
fn each_form_of_a_path_is_understood() {
    let paths = |text: &str| -> Vec<String> { expand(text).iter().map(|path| path.join("::")).collect() };
    assert_eq!(paths("crate::second::go()"), ["crate::second::go"]);
    assert_eq!(
        paths("super::{Here, second::{Go, self}};"),
        ["super::Here", "super::second::Go", "super::second::self"]
    );
    assert_eq!(paths("crate::seconds;"), ["crate::seconds"]);
}

#[test]
fn each_file_says_why_it_exists_and_can_be_read_at_one_sitting() {
    let mut broken = Vec::new();
    for file in CRATES.iter().flat_map(|krate| ["src", "tests"].map(|folder| root().join(krate).join(folder))) {
        for file in sources(&file) {
            let text = read(&file);
            let lines = text.lines().count();
            if !text.starts_with("//! ") {
                broken.push(format!("{} has no //! header", file.display()));
            }
            if lines > MAX_LINES {
                broken.push(format!("{} has {lines} lines, at most {MAX_LINES} are allowed", file.display()));
            }
            let is_room = file.ends_with("mod.rs") && file.starts_with(root().join("rollout/src"));
            if let Some(code) = text.lines().find(|line| is_room && !is_contents(line)) {
                broken.push(format!("{} has {code:?}: a mod.rs is a table of contents", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn one_public_name_means_one_type() {
    let mut broken = Vec::new();
    for krate in CRATES {
        let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
        for module in &Tree::read(krate).modules {
            for (_, line) in code(&module.file) {
                let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
                if let ["pub", "struct" | "enum" | "trait" | "type", name, ..] = words[..]
                    && !line.starts_with(' ')
                    && let Some(other) = seen.insert(name.to_owned(), module.file.clone())
                {
                    broken.push(format!(
                        "{name} is a public type of {} and of {}",
                        other.display(),
                        module.file.display()
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn is_contents(line: &str) -> bool {
    let line = line.trim();
    ["//", "mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod ", "pub use "]
        .iter()
        .any(|start| line.starts_with(start))
        || line.is_empty()
}

/// `a::b` as its parts.
type ModulePath = Vec<String>;
/// A name that a module hands on from one of its children.
type LentName = (ModulePath, String);

/// One crate's modules in the order of their `mod` lines, depth first.
struct Tree {
    modules: Vec<Module>,
    /// Names that a module takes from its children into its own: `pub use child::Name`.
    lent: BTreeMap<LentName, ModulePath>,
}

struct Module {
    path: Vec<String>,
    file: PathBuf,
}

impl Tree {
    fn read(krate: &str) -> Self {
        let src = root().join(krate).join("src");
        let top = [src.join("lib.rs"), src.join("main.rs")].into_iter().find(|file| file.exists()).unwrap();
        let mut modules = Vec::new();
        visit(Module { path: Vec::new(), file: top }, &mut modules);
        let mut tree = Self { modules, lent: BTreeMap::new() };
        tree.lent = tree.modules.iter().flat_map(|module| tree.lends(module)).collect();
        tree
    }

    fn is_module(&self, path: &[String]) -> bool {
        self.modules.iter().any(|module| module.path == path)
    }

    fn rank(&self, path: &[String]) -> usize {
        self.modules.iter().position(|module| module.path == path).unwrap()
    }

    /// What `pub use` hands on from children, by name; a `*` by the names that the child defines.
    fn lends(&self, module: &Module) -> Vec<(LentName, ModulePath)> {
        let mut lent = Vec::new();
        for (_, line) in statements(&module.file) {
            let Some(rest) = line.strip_prefix("pub").and_then(|rest| rest.split_once("use ")).map(|(_, rest)| rest)
            else {
                continue;
            };
            for path in expand(rest.trim_end_matches(';')) {
                let Some((name, origin)) = path.split_last() else { continue };
                let child: Vec<String> =
                    module.path.iter().chain(origin.iter().filter(|part| *part != "self")).cloned().collect();
                if !self.is_module(&child) || child == module.path {
                    continue;
                }
                let names = if name == "*" { self.defines(&child) } else { vec![name.clone()] };
                lent.extend(names.into_iter().map(|name| ((module.path.clone(), name), child.clone())));
            }
        }
        lent
    }

    fn defines(&self, path: &[String]) -> Vec<String> {
        let module = self.modules.iter().find(|module| module.path == path).unwrap();
        let lines = code(&module.file);
        let of_line = |line: &str| {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
            let item = words.find(|word| ["struct", "enum", "trait", "type", "fn", "const", "static"].contains(word));
            item.and_then(|_| words.next()).map(str::to_owned)
        };
        lines.iter().filter(|(_, line)| line.starts_with("pub")).filter_map(|(_, line)| of_line(line)).collect()
    }

    /// The modules that a file's code names, with the line.
    fn uses(&self, module: &Module) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        for (line, text) in statements(&module.file) {
            for start in ["crate::", "super::", "self::"] {
                let mut rest = text.as_str();
                while let Some(at) = rest.find(start) {
                    let is_whole = !rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
                    let path = &rest[at..];
                    rest = &rest[at + start.len()..];
                    if is_whole {
                        found.extend(
                            expand(path)
                                .into_iter()
                                .filter_map(|path| self.resolve(module, &path))
                                .map(|it| (line, it)),
                        );
                    }
                }
            }
        }
        found
    }

    /// The module that a path leads to, through what parents hand on from their children.
    fn resolve(&self, from: &Module, path: &[String]) -> Option<Vec<String>> {
        let mut at = from.path.clone();
        let mut parts = path.iter().peekable();
        while let Some(part) = parts.peek() {
            match part.as_str() {
                "crate" => at.clear(),
                "super" => drop(at.pop()?),
                "self" => {}
                _ => break,
            }
            parts.next();
        }
        for part in parts {
            let next: Vec<String> = at.iter().chain([part]).cloned().collect();
            if self.is_module(&next) {
                at = next;
            } else if let Some(child) = self.lent.get(&(at.clone(), part.clone())) {
                at.clone_from(child);
                while let Some(child) = self.lent.get(&(at.clone(), part.clone())) {
                    at.clone_from(child);
                }
                break;
            } else {
                break;
            }
        }
        Some(at)
    }

    /// The two siblings through which one module uses another; `None` within one line of parents and children.
    fn siblings<'a>(&self, ours: &'a [String], theirs: &'a [String]) -> Option<(&'a [String], &'a [String])> {
        let shared = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
        (ours.len() > shared && theirs.len() > shared).then(|| (&ours[..=shared], &theirs[..=shared]))
    }
}

fn visit(module: Module, modules: &mut Vec<Module>) {
    let folder = match module.file.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") => module.file.parent().unwrap().to_path_buf(),
        _ => module.file.with_extension(""),
    };
    let names: Vec<String> = code(&module.file)
        .iter()
        .filter_map(|(_, line)| {
            let line = line.trim();
            let line = line
                .strip_prefix("pub(crate) ")
                .or(line.strip_prefix("pub(super) "))
                .or(line.strip_prefix("pub "))
                .unwrap_or(line);
            Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
        })
        .collect();
    let path = module.path.clone();
    modules.push(module);
    for name in names {
        let file = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")]
            .into_iter()
            .find(|file| file.exists());
        let Some(file) = file else { continue };
        visit(Module { path: path.iter().chain([&name]).cloned().collect(), file }, modules);
    }
}

/// `a::{b::C, d}` as the paths `a::b::C` and `a::d`.
fn expand(text: &str) -> Vec<Vec<String>> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let end = group.find(|c| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                depth == 0
            });
            let parts = split_top(&group[..end.unwrap_or(group.len())]);
            let tails = parts.into_iter().flat_map(expand);
            return tails.map(|tail| path.iter().cloned().chain(tail).collect()).collect();
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(rest.len());
        if end == 0 {
            break;
        }
        path.push(rest[..end].to_owned());
        let Some(next) = rest[end..].strip_prefix("::") else { break };
        rest = next;
    }
    if path.is_empty() { Vec::new() } else { vec![path] }
}

fn split_top(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts
}

/// Lines of code with the number of each, `use` trees that span lines joined into one.
fn statements(file: &Path) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in code(file) {
        let begins = line.trim_start();
        if is_open {
            found.last_mut().unwrap().1.push_str(begins);
        } else {
            found.push((number, begins.to_owned()));
        }
        let last = &found.last().unwrap().1;
        is_open = (last.starts_with("use ") || last.starts_with("pub use ") || last.starts_with("pub(crate) use "))
            && !last.contains(';');
    }
    found
}

/// Numbered lines before the tests, without comments.
fn code(file: &Path) -> Vec<(usize, String)> {
    let text = read(file);
    let mut lines = Vec::new();
    let mut skips_next = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            if line.starts_with("#[cfg(test)]") && text.lines().nth(number + 1).is_some_and(|next| next.ends_with('{'))
            {
                break;
            }
            skips_next = true;
        } else if skips_next {
            skips_next = line.trim_start().starts_with("#[");
        } else {
            lines.push((number + 1, line.split("//").next().unwrap_or(line).to_owned()));
        }
    }
    lines
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
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
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}
