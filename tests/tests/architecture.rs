//! ARCHITECTURE.md's call trees are true: each function stands in the file that the tree names, and calls those indented
//! below it by those names.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

/// One line of a tree: `  Type::name  path/to/file.rs  what it does`.
struct Row {
    /// Line in ARCHITECTURE.md.
    line: usize,
    depth: usize,
    /// The type whose method it is, if it is one.
    owner: Option<String>,
    name: String,
    file: String,
}

impl Row {
    /// The module by which its caller names it, where that is no type.
    fn module(&self) -> Option<&str> {
        self.owner.as_deref().filter(|owner| owner.starts_with(|c: char| c.is_lowercase()))
    }
}

#[test]
fn each_function_of_the_call_trees_calls_those_below_it() {
    let rows = rows();
    assert!(rows.len() > 40, "the trees were not found: {} lines", rows.len());
    let mut broken = Vec::new();
    // The callers of the row at hand, each with how far into its body the rows so far have come.
    let mut callers: Vec<(&Row, usize)> = Vec::new();
    for row in &rows {
        let body = match body_of(row) {
            Ok(body) => body,
            Err(reason) => {
                broken.push(format!("ARCHITECTURE.md:{}: {reason}", row.line));
                continue;
            }
        };
        assert!(!body.is_empty());
        callers.truncate(row.depth);
        if let Some((caller, reached)) = callers.last_mut()
            && let Ok(text) = body_of(caller)
        {
            match call_after(&text, row, *reached) {
                Some(at) => *reached = at,
                None => broken.push(format!(
                    "ARCHITECTURE.md:{}: {} in {} does not call {} there, or calls it before the line above",
                    row.line, caller.name, caller.file, row.name
                )),
            }
        }
        callers.push((row, 0));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_path_in_the_documents_exists() {
    let mut broken = Vec::new();
    for page in ["ARCHITECTURE.md", "README.md"] {
        for (number, line) in read(&root().join(page)).lines().enumerate() {
            // An item of the code map begins with its crate's folder, and its paths are relative to that.
            let folder =
                line.strip_prefix("- `").and_then(|rest| rest.split_once("/`")).map_or("", |(folder, _)| folder);
            let is_path =
                |text: &&str| text.ends_with(".rs") && text.contains('/') && !text.contains(['{', '*', ' ', '<']);
            for path in line.split('`').skip(1).step_by(2).filter(is_path) {
                if !root().join(path).exists() && !root().join(folder).join(path).exists() {
                    broken.push(format!("{page}:{}: {path} does not exist", number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The lines of all blocks fenced as `calls`.
fn rows() -> Vec<Row> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let mut rows = Vec::new();
    let mut is_inside = false;
    for (number, line) in text.lines().enumerate() {
        match line.trim() {
            "```calls" => is_inside = true,
            "```" => is_inside = false,
            "" => {}
            words if is_inside => {
                let mut words = words.split_whitespace();
                let (Some(function), Some(file)) = (words.next(), words.next()) else { continue };
                let (owner, name) = match function.rsplit_once("::") {
                    Some((owner, name)) => (Some(owner.to_owned()), name.to_owned()),
                    None => (None, function.to_owned()),
                };
                let depth = (line.len() - line.trim_start().len()) / 2;
                rows.push(Row { line: number + 1, depth, owner, name, file: file.to_owned() });
            }
            _ => {}
        }
    }
    rows
}

/// The text of a function from its signature to its closing brace, without comments.
fn body_of(row: &Row) -> Result<String, String> {
    let path = root().join(&row.file);
    if !path.exists() {
        return Err(format!("{} does not exist", row.file));
    }
    let text: String =
        read(&path).lines().map(|line| format!("{}\n", line.split("//").next().unwrap_or(line))).collect();
    let inside = match row.owner.as_ref().filter(|_| row.module().is_none()) {
        Some(owner) => blocks(&text, |line| line.starts_with("impl") && has_word(line, owner)),
        None => vec![text],
    };
    let is_it = |line: &str| {
        let line = line.trim_start();
        line.contains("fn ")
            && line.split("fn ").nth(1).is_some_and(|rest| {
                rest.strip_prefix(row.name.as_str()).is_some_and(|after| after.starts_with(['(', '<']))
            })
    };
    let found: Vec<String> = inside.iter().flat_map(|text| blocks(text, is_it)).collect();
    match found.as_slice() {
        [body] => Ok(body.clone()),
        [] => Err(format!(
            "{} has no function {}{}",
            row.file,
            row.owner.as_ref().map_or(String::new(), |owner| format!("{owner}::")),
            row.name
        )),
        more => Err(format!("{} has {} functions {}: name its type", row.file, more.len(), row.name)),
    }
}

/// Each block that begins at a line which `begins` knows, to the end of its braces.
fn blocks(text: &str, begins: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if !begins(line) {
            continue;
        }
        let (mut block, mut depth, mut is_open) = (String::new(), 0i64, false);
        let mut next = Some(line);
        while let Some(line) = next {
            block.push_str(line);
            block.push('\n');
            depth += line.matches('{').count() as i64 - line.matches('}').count() as i64;
            is_open |= line.contains('{');
            if is_open && depth <= 0 {
                break;
            }
            next = lines.next();
        }
        found.push(block);
    }
    found
}

/// Where a body calls a row's function, at `reached` or behind it: `name(`, or `name` that is handed on as the only
/// argument, or by its path.
fn call_after(body: &str, row: &Row, reached: usize) -> Option<usize> {
    let start = body.find('{')?.max(reached);
    let name = row.name.as_str();
    let wanted = row.module().map_or_else(|| name.to_owned(), |module| format!("{module}::{name}"));
    body[start..].match_indices(&wanted).map(|(at, _)| start + at).find(|at| {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let before = body[..*at].chars().next_back();
        let after = &body[at + wanted.len()..];
        let is_handed_on = matches!(before, Some(':' | '(')) && after.starts_with([')', ',']);
        !before.is_some_and(is_word) && (after.starts_with('(') || after.starts_with("::<") || is_handed_on)
    })
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}
