//! Takes a document apart field by field and remembers what was taken, so that every problem is found in one reading
//! and a field that the reader does not know is named rather than ignored.

use std::collections::BTreeMap;

use rollout::base::time::Millis;
use rollout::release::plan::Unsupported;

use crate::reader::alike::alike;
use crate::reader::duration;
use crate::reader::log::Log;
use crate::yaml::problem::{Position, quoted};
use crate::yaml::tree::{Entry, Node, Value};

/// Most items of one list or map that is read.
pub(crate) const MAX_ITEMS: usize = 256;
/// Longest text that is read, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// One value with its path.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    node: &'a Node,
    pub(crate) at: Position,
    pub(crate) path: String,
}

impl<'a> Item<'a> {
    fn new(node: &'a Node, key_at: Position, path: String, log: &mut Log) -> Self {
        let at = match node.value {
            Value::List(_) | Value::Map(_) | Value::Null => key_at,
            _ => node.at,
        };
        log.place(&path, at);
        Self { node, at, path }
    }

    /// The document itself.
    pub(crate) fn root(node: &'a Node, log: &mut Log) -> Self {
        Self::new(node, node.at, String::new(), log)
    }

    pub(crate) fn refuse(&self, log: &mut Log, rule: impl Into<String>) {
        log.problem(self.at, &self.path, self.node.shown(), rule);
    }

    pub(crate) fn warn(&self, log: &mut Log, reason: impl Into<String>) {
        log.warning(self.at, &self.path, reason);
    }

    /// A check, hook or gate that cannot be honoured: the document loads, its releases hold.
    pub(crate) fn hold(&self, log: &mut Log, what: impl Into<String>) {
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
    pub(crate) fn on(&self, log: &mut Log) -> Option<()> {
        if self.boolean(log)? {
            return Some(());
        }
        self.refuse(log, "has no meaning here; write true, or leave the field out");
        None
    }

    /// Whether it is a text: for fields that are a word or a map.
    pub(crate) const fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    pub(crate) fn text(&self, log: &mut Log) -> Option<String> {
        match &self.node.value {
            Value::Text(text) if text.len() <= MAX_TEXT_BYTES => Some(text.clone()),
            Value::Text(text) => {
                self.refuse(log, format!("is {} bytes long; at most {MAX_TEXT_BYTES} are allowed", text.len()));
                None
            }
            _ => self.expected(log, "a text"),
        }
    }

    pub(crate) fn number(&self, log: &mut Log) -> Option<f64> {
        match &self.node.value {
            Value::Number(value, _) => Some(*value),
            Value::Text(text) if is_infinite(text) => {
                self.refuse(log, "must be a finite number, and one below 1.8e308");
                None
            }
            _ => self.expected(log, "a number"),
        }
    }

    /// A whole number within bounds, both included.
    pub(crate) fn whole(&self, log: &mut Log, least: i64, most: i64) -> Option<i64> {
        let value = self.number(log)?;
        if value.fract() != 0.0 || value < least as f64 || value > most as f64 {
            self.refuse(log, format!("must be a whole number from {least} to {most}"));
            return None;
        }
        Some(value as i64)
    }

    pub(crate) fn boolean(&self, log: &mut Log) -> Option<bool> {
        match &self.node.value {
            Value::Boolean(value) => Some(*value),
            _ => self.expected(log, "true or false"),
        }
    }

    pub(crate) fn span(&self, log: &mut Log) -> Option<Millis> {
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
    pub(crate) fn one_of(&self, log: &mut Log, allowed: &[&'static str]) -> Option<&'static str> {
        let text = self.text(log)?;
        let found = allowed.iter().find(|name| **name == text);
        if found.is_none() {
            let named: Vec<_> = allowed.iter().filter(|name| !name.is_empty()).copied().collect();
            let rule = format!("is not supported; use {}{}", named.join(", "), did_you_mean(&text, &named));
            self.refuse(log, rule);
        }
        found.copied()
    }

    pub(crate) fn list(&self, log: &mut Log) -> Vec<Item<'a>> {
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

    pub(crate) fn texts(&self, log: &mut Log) -> Vec<(Item<'a>, String)> {
        let items = self.list(log);
        items.into_iter().filter_map(|item| item.text(log).map(|text| (item, text))).collect()
    }

    pub(crate) fn map(&self, log: &mut Log) -> Option<Map<'a>> {
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

/// Whether a text means a number that is infinite or too large to be one: `.inf`, `1e999`, 309 digits.
fn is_infinite(text: &str) -> bool {
    let plain = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain =
        plain.strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic())).unwrap_or(plain);
    plain.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// A key may be given once; the parser's last-one-wins would silently drop a line.
fn first_of_each<'a>(entries: &'a [Entry], path: &str, log: &mut Log) -> BTreeMap<&'a str, &'a Entry> {
    let mut first: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries.iter().take(MAX_ITEMS) {
        match first.get(entry.key.as_str()) {
            Some(before) => {
                let rule = format!("is given twice, first on line {}; remove one", before.at.line);
                log.problem(entry.at, &joined(path, &entry.key), "", rule);
            }
            None => drop(first.insert(&entry.key, entry)),
        }
    }
    first
}

/// A map of which fields are taken one by one.
pub(crate) struct Map<'a> {
    pub(crate) at: Position,
    pub(crate) path: String,
    entries: BTreeMap<&'a str, &'a Entry>,
    asked: Vec<&'static str>,
}

impl<'a> Map<'a> {
    /// A field, if it is there and not null. What is asked for is thereby known.
    pub(crate) fn take(&mut self, key: &'static str, log: &mut Log) -> Option<Item<'a>> {
        self.asked.push(key);
        let entry = self.entries.remove(key)?;
        let item = Item::new(&entry.value, entry.at, joined(&self.path, key), log);
        if entry.value.value == Value::Null { None } else { Some(item) }
    }

    /// Whether a field is there, without taking it.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A field that must be there.
    pub(crate) fn need(&mut self, key: &'static str, log: &mut Log) -> Option<Item<'a>> {
        let item = self.take(key, log);
        if item.is_none() {
            log.problem(self.at, &joined(&self.path, key), "", "is missing; it is required");
        }
        item
    }

    /// All that is left, for maps whose keys are the user's own.
    pub(crate) fn rest(self, log: &mut Log) -> Vec<(String, Item<'a>)> {
        let path = self.path;
        let item =
            |entry: &&'a Entry| (entry.key.clone(), Item::new(&entry.value, entry.at, joined(&path, &entry.key), log));
        self.entries.values().map(item).collect()
    }

    /// Names every field that was never asked for; `advice` knows fields that belong elsewhere.
    pub(crate) fn finish(self, log: &mut Log, advice: &[(&str, &str)]) {
        #[cfg(test)]
        KNOWN.with_borrow_mut(|known| known.push((self.path.clone(), self.asked.clone())));
        for (key, entry) in &self.entries {
            let known = advice.iter().find(|(field, _)| field == key);
            let rule = match known {
                Some((_, advice)) => (*advice).to_owned(),
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
pub(crate) fn did_you_mean(text: &str, known: &[&str]) -> String {
    alike(text, known.iter().map(|name| (*name, *name)))
        .first()
        .map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

#[cfg(test)]
thread_local! {
    /// The fields that the reader asked for in each map, for the test that compares them with the schema's.
    pub(crate) static KNOWN: std::cell::RefCell<Vec<(String, Vec<&'static str>)>> = const { std::cell::RefCell::new(Vec::new()) };
}
