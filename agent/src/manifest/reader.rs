//! Takes a document apart field by field and remembers what was taken, so that every problem is found in one reading
//! and a field that nobody asked for is named rather than ignored.

use std::collections::BTreeMap;

use rollout::plan::{PlanError, Unsupported};
use rollout::time::Millis;

use super::alike::alike;
use super::duration;
use super::problem::{Position, Problem, Warning, quoted};
use super::shape::{Field, check};
use super::tree::{Entry, Node, Value};

/// Most items of one list or map that is read.
pub(super) const MAX_ITEMS: usize = 256;
/// Longest text that is read, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// What was found while reading one document.
pub(super) struct Log {
    file: String,
    places: BTreeMap<String, Position>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
    pub(super) unsupported: Vec<Unsupported>,
}

impl Log {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            places: BTreeMap::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            unsupported: Vec::new(),
        }
    }

    pub(super) fn problem(&mut self, at: Position, field: &str, value: impl Into<String>, rule: impl Into<String>) {
        let (field, value, rule) = (field.to_owned(), value.into(), rule.into());
        self.problems.push(Problem { file: self.file.clone(), at, field, value, rule, value_in_rule: false });
    }

    pub(super) fn warning(&mut self, at: Position, field: &str, reason: impl Into<String>) {
        let (field, reason) = (field.to_owned(), reason.into());
        self.warnings.push(Warning { file: self.file.clone(), at, field, reason, holds: false });
    }

    /// A rule of the plan, brought back to the line that broke it. Left out where the reading itself failed already.
    pub(super) fn plan_error(&mut self, error: PlanError) {
        let within = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let told = |problem: &Problem| within(&error.field, &problem.field) || within(&problem.field, &error.field);
        if !self.problems.iter().any(told) {
            self.problem(self.place_of(&error.field), &error.field, error.value, error.rule);
        }
    }

    /// Where a field stands, or the nearest one around it.
    fn place_of(&self, field: &str) -> Position {
        let mut path = field;
        loop {
            if let Some(at) = self.places.get(path) {
                return *at;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return Position { line: 1, column: 1 },
            }
        }
    }
}

/// One value with its path.
#[derive(Clone)]
pub(super) struct Item<'a> {
    node: &'a Node,
    pub(super) at: Position,
    pub(super) path: String,
}

impl<'a> Item<'a> {
    fn new(node: &'a Node, key_at: Position, path: String, log: &mut Log) -> Self {
        let at = match node.value {
            Value::List(_) | Value::Map(_) | Value::Null => key_at,
            _ => node.at,
        };
        log.places.insert(path.clone(), at);
        Self { node, at, path }
    }

    /// The document itself.
    pub(super) fn root(node: &'a Node, log: &mut Log) -> Self {
        Self::new(node, node.at, String::new(), log)
    }

    pub(super) fn refuse(&self, log: &mut Log, rule: impl Into<String>) {
        log.problem(self.at, &self.path, self.node.shown(), rule);
    }

    pub(super) fn warn(&self, log: &mut Log, reason: impl Into<String>) {
        log.warning(self.at, &self.path, reason);
    }

    /// A check, hook or gate that cannot be honoured: the document loads, its releases hold.
    pub(super) fn hold(&self, log: &mut Log, what: impl Into<String>) {
        let what = what.into();
        self.warn(log, what.clone());
        if let Some(warning) = log.warnings.last_mut() {
            warning.holds = true;
        }
        log.unsupported.push(Unsupported { field: self.path.clone(), what });
    }

    fn expected<T>(&self, log: &mut Log, what: &str) -> Option<T> {
        let hint = if matches!(self.node.value, Value::Number(..) | Value::Boolean(_)) && what == "a text" {
            "; put it in quotes"
        } else {
            ""
        };
        self.refuse(log, format!("expected {what}, found {}{hint}", self.node.described()));
        if let Some(problem) = log.problems.last_mut() {
            problem.value_in_rule = true;
        }
        None
    }

    /// A switch that is on or not there; `false` beside another choice would read as a third.
    pub(super) fn on(&self, log: &mut Log) -> Option<()> {
        if self.boolean(log)? {
            return Some(());
        }
        self.refuse(log, "has no meaning here; write true, or leave the field out");
        None
    }

    /// Whether it is a text: for fields that are a word or a map.
    pub(super) const fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    pub(super) fn text(&self, log: &mut Log) -> Option<String> {
        match &self.node.value {
            Value::Text(text) if text.len() <= MAX_TEXT_BYTES => Some(text.clone()),
            Value::Text(text) => {
                self.refuse(log, format!("is {} bytes long; at most {MAX_TEXT_BYTES} are allowed", text.len()));
                None
            }
            _ => self.expected(log, "a text"),
        }
    }

    pub(super) fn number(&self, log: &mut Log) -> Option<f64> {
        match &self.node.value {
            Value::Number(value, _) => Some(*value),
            _ => self.expected(log, "a number"),
        }
    }

    /// A whole number within bounds, both included.
    pub(super) fn whole(&self, log: &mut Log, least: i64, most: i64) -> Option<i64> {
        let value = self.number(log)?;
        if value.fract() != 0.0 || value < least as f64 || value > most as f64 {
            self.refuse(log, format!("must be a whole number from {least} to {most}"));
            return None;
        }
        Some(value as i64)
    }

    pub(super) fn boolean(&self, log: &mut Log) -> Option<bool> {
        match &self.node.value {
            Value::Boolean(value) => Some(*value),
            _ => self.expected(log, "true or false"),
        }
    }

    pub(super) fn span(&self, log: &mut Log) -> Option<Millis> {
        match &self.node.value {
            Value::Text(text) => match duration::parse(text) {
                Ok(span) => Some(span),
                Err(error) => {
                    self.refuse(log, error.to_string());
                    None
                }
            },
            Value::Number(..) => self.expected(log, "a time span with its unit, such as 30s or 1m30s"),
            _ => self.expected(log, "a time span"),
        }
    }

    /// A text out of a closed list.
    pub(super) fn one_of(&self, log: &mut Log, allowed: &[&'static str]) -> Option<&'static str> {
        let text = self.text(log)?;
        let found = allowed.iter().find(|name| **name == text);
        if found.is_none() {
            let named: Vec<_> = allowed.iter().filter(|name| !name.is_empty()).copied().collect();
            let rule = format!("is not known here; use {}{}", named.join(", "), did_you_mean(&text, &named));
            self.refuse(log, rule);
        }
        found.copied()
    }

    pub(super) fn list(&self, log: &mut Log) -> Vec<Item<'a>> {
        let Value::List(items) = &self.node.value else {
            return self.expected(log, "a list").unwrap_or_default();
        };
        if items.len() > MAX_ITEMS {
            log.problem(
                self.at,
                &self.path,
                items.len().to_string(),
                format!("items are too many; at most {MAX_ITEMS}"),
            );
        }
        let item = |(n, node): (usize, &'a Node)| Item::new(node, node.at, format!("{}[{n}]", self.path), log);
        items.iter().take(MAX_ITEMS).enumerate().map(item).collect()
    }

    pub(super) fn texts(&self, log: &mut Log) -> Vec<(Item<'a>, String)> {
        let items = self.list(log);
        items.into_iter().filter_map(|item| item.text(log).map(|text| (item, text))).collect()
    }

    pub(super) fn map(&self, log: &mut Log) -> Option<Map<'a>> {
        let Value::Map(entries) = &self.node.value else { return self.expected(log, "a map") };
        if entries.len() > MAX_ITEMS {
            log.problem(
                self.at,
                &self.path,
                entries.len().to_string(),
                format!("fields are too many; at most {MAX_ITEMS}"),
            );
        }
        let map = Map {
            at: self.at,
            path: self.path.clone(),
            entries: first_of_each(entries, &self.path, log),
            asked: Vec::new(),
        };
        Some(map)
    }
}

/// A key may stand once; the parser's last-one-wins would hide a line that its writer believes in.
fn first_of_each<'a>(entries: &'a [Entry], path: &str, log: &mut Log) -> BTreeMap<&'a str, &'a Entry> {
    let mut first: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries.iter().take(MAX_ITEMS) {
        match first.get(entry.key.as_str()) {
            Some(before) => {
                let rule = format!("stands twice, first in line {}; remove one", before.at.line);
                log.problem(entry.at, &joined(path, &entry.key), "", rule);
            }
            None => drop(first.insert(&entry.key, entry)),
        }
    }
    first
}

/// A map of which fields are taken one by one.
pub(super) struct Map<'a> {
    pub(super) at: Position,
    pub(super) path: String,
    entries: BTreeMap<&'a str, &'a Entry>,
    asked: Vec<&'static str>,
}

impl<'a> Map<'a> {
    /// A field, if it is there and not null. What is asked for is thereby known.
    pub(super) fn take(&mut self, key: &'static str, log: &mut Log) -> Option<Item<'a>> {
        self.asked.push(key);
        let entry = self.entries.remove(key)?;
        let item = Item::new(&entry.value, entry.at, joined(&self.path, key), log);
        if entry.value.value == Value::Null { None } else { Some(item) }
    }

    /// Whether a field is there, without taking it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A field that must be there.
    pub(super) fn need(&mut self, key: &'static str, log: &mut Log) -> Option<Item<'a>> {
        let item = self.take(key, log);
        if item.is_none() {
            log.problem(self.at, &joined(&self.path, key), "", "is missing; it is required");
        }
        item
    }

    /// Fields that are validated and else only need a warning, one for each group of them that is there.
    pub(super) fn warn_groups(&mut self, groups: &[(&'static [Field], &str)], log: &mut Log) {
        for (fields, reason) in groups {
            let there: Vec<_> = fields.iter().filter_map(|field| Some((field, self.take(field.name, log)?))).collect();
            there.iter().for_each(|(field, item)| check(item, field.shape, log));
            let Some(((_, first), others)) = there.split_first() else { continue };
            let others: Vec<_> = others.iter().map(|(field, _)| field.name).collect();
            let also = if others.is_empty() { String::new() } else { format!("(also {}) ", others.join(", ")) };
            first.warn(log, format!("{also}{reason}"));
        }
    }

    /// All that is left, for maps whose keys are the user's own.
    pub(super) fn rest(self, log: &mut Log) -> Vec<(String, Item<'a>)> {
        let path = self.path;
        let item =
            |entry: &&'a Entry| (entry.key.clone(), Item::new(&entry.value, entry.at, joined(&path, &entry.key), log));
        self.entries.values().map(item).collect()
    }

    /// Names every field that was never asked for; `advice` knows fields that belong elsewhere.
    pub(super) fn finish(self, log: &mut Log, advice: &[(&str, &str)]) {
        for (key, entry) in &self.entries {
            let known = advice.iter().find(|(field, _)| field == key);
            let rule = match known {
                Some((_, told)) => (*told).to_owned(),
                None => format!("is not a field of {}{}", self.whose(), did_you_mean(key, &self.asked)),
            };
            log.problem(entry.at, &joined(&self.path, key), "", rule);
        }
    }

    fn whose(&self) -> &str {
        if self.path.is_empty() { "this kind" } else { &self.path }
    }
}

fn joined(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", quoted(key)),
    }
}

/// `; did you mean x?` when a known name is near.
pub(super) fn did_you_mean(text: &str, known: &[&str]) -> String {
    alike(text, known.iter().map(|name| (*name, *name)))
        .first()
        .map_or_else(String::new, |name| format!("; did you mean {name}?"))
}
