//! `serin convert`: Flagger's form of a document in our own, with the same meaning. Where their defaults differ,
//! the default is written out; documents of other kinds stay as they are, byte for byte.
//!
//! A document that is converted is written anew from its tree, so its comments go, but for those above its first line.

use thiserror::Error;

use crate::fields::analysis::metrics::QUANTILE;
use crate::fields::named::templates::FLAGGERS_USERNAME;
use crate::fields::serin_fields::PREFIX;
use crate::kinds::{ALERT_PROVIDER, CANARY, FLAGGER, LISTS, METRIC_TEMPLATE, SERIN};
use crate::yaml::emit::emit;
use crate::yaml::tree::{Documents, Entry, Node, Value};

/// `match`, of providers that read it in their own way.
mod matched;

/// A document has no form of ours.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ConvertError(String);

/// A file's text with its Flagger documents in our own form. The text must be one that [`read`](crate::read) accepts.
///
/// # Errors
/// When a metric checks nothing, which our form refuses.
pub fn convert(text: &str) -> Result<String, ConvertError> {
    let mut converted = String::with_capacity(text.len());
    for (n, chunk) in chunks(text).into_iter().enumerate() {
        if n > 0 {
            converted.push_str("---\n");
        }
        match only(chunk).map(|node| changed(&node)).transpose()?.flatten() {
            Some(node) => {
                chunk.lines().take_while(|line| line.trim().is_empty() || line.starts_with('#')).for_each(|line| {
                    converted.push_str(line);
                    converted.push('\n');
                });
                converted.push_str(&emit(&node));
            }
            None => converted.push_str(chunk),
        }
        if !converted.is_empty() && !converted.ends_with('\n') {
            converted.push('\n');
        }
    }
    Ok(converted)
}

/// The text between lines that begin with `---`, which nothing but a document's beginning may be.
fn chunks(text: &str) -> Vec<&str> {
    let mut chunks = Vec::new();
    let (mut begin, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---");
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            let before = text.get(begin..at).unwrap_or_default();
            // What precedes the first line of this kind is a document only if it is not empty.
            if begin > 0 || !before.trim().is_empty() {
                chunks.push(before);
            }
            begin = at + if rest.trim().is_empty() { line.len() } else { 3 };
        }
        at += line.len();
    }
    chunks.push(text.get(begin..).unwrap_or_default());
    chunks
}

/// The one document of a chunk.
fn only(chunk: &str) -> Option<Node> {
    let mut documents = Documents::new(chunk);
    let first = documents.next()?.ok()?;
    documents.next().is_none().then_some(first)
}

/// The document in our form; `None` when it is to stay as it is.
fn changed(node: &Node) -> Result<Option<Node>, ConvertError> {
    let Value::Map(entries) = &node.value else { return Ok(None) };
    let mut entries = entries.clone();
    let word = |key: &str| get(&entries, key).and_then(text).unwrap_or_default().to_owned();
    let (version, kind) = (word("apiVersion"), word("kind"));
    if LISTS.contains(&kind.as_str()) {
        return listed(entries);
    }
    if version != FLAGGER || ![CANARY, METRIC_TEMPLATE, ALERT_PROVIDER].contains(&kind.as_str()) {
        return Ok(None);
    }
    put(&mut entries, "apiVersion", word_of(SERIN));
    remove(&mut entries, "status");
    match kind.as_str() {
        CANARY => canary(&mut entries)?,
        ALERT_PROVIDER => {
            if let Some(spec) = fields(&mut entries, "spec")
                && get(spec, "username").is_none()
            {
                put(spec, "username", word_of(FLAGGERS_USERNAME));
            }
        }
        _ => {}
    }
    Ok(Some(Node::made(Value::Map(entries))))
}

fn listed(mut entries: Vec<Entry>) -> Result<Option<Node>, ConvertError> {
    let mut is_any = false;
    if let Some(items) = items(&mut entries, "items") {
        for item in items {
            if let Some(new) = changed(item)? {
                (*item, is_any) = (new, true);
            }
        }
    }
    Ok(is_any.then(|| Node::made(Value::Map(entries))))
}

fn canary(document: &mut [Entry]) -> Result<(), ConvertError> {
    let choices = annotations(document);
    let choice =
        |name: &str| choices.iter().find(|(key, _)| key.strip_prefix(PREFIX) == Some(name)).map(|(_, v)| v.as_str());
    let Some(spec) = fields(document, "spec") else { return Ok(()) };
    let provider = get(spec, "provider").and_then(text).unwrap_or_default().to_owned();
    if let Some(analysis) = fields(spec, "analysis") {
        if let Some(rules) = get(analysis, "match").and_then(|list| matched::rules(&provider, list)) {
            put(analysis, "match", rules);
        }
        self::analysis(analysis, choice("guards").unwrap_or("abort"), choice("request-duration-quantile"))?;
    }
    let mut chosen = Vec::new();
    let upstreams = [("primary", choice("upstream-primary")), ("canary", choice("upstream-canary"))];
    let upstreams: Vec<_> = upstreams.into_iter().filter_map(|(key, name)| Some(entry(key, word_of(name?)))).collect();
    if !upstreams.is_empty() {
        chosen.push(entry("upstreams", Value::Map(upstreams)));
    }
    let mode = choice("promotion").map(|mode| entry("mode", word_of(mode)));
    let hook = choice("promotion-hook").map(|url| entry("hook", Value::Map(vec![entry("url", word_of(url))])));
    let promotion: Vec<_> = mode.into_iter().chain(hook).collect();
    if !promotion.is_empty() {
        chosen.push(entry("promotion", Value::Map(promotion)));
    }
    if let Some(sticky) = choice("sticky") {
        let key = match sticky.split_once(':') {
            Some((kind, name)) => entry(kind, word_of(name)),
            None => entry(sticky, Value::Boolean(true)),
        };
        chosen.push(entry("sticky", Value::Map(vec![key])));
    }
    spec.splice(0..0, chosen);
    Ok(())
}

/// Takes our annotations out of the metadata.
fn annotations(document: &mut [Entry]) -> Vec<(String, String)> {
    let mut ours = Vec::new();
    let Some(metadata) = fields(document, "metadata") else { return ours };
    let Some(annotations) = fields(metadata, "annotations") else { return ours };
    annotations.retain(|entry| {
        let is_ours = entry.key.starts_with(PREFIX);
        ours.extend(text(&entry.value).filter(|_| is_ours).map(|value| (entry.key.clone(), value.to_owned())));
        !is_ours
    });
    if annotations.is_empty() {
        remove(metadata, "annotations");
    }
    ours
}

fn analysis(fields: &mut Vec<Entry>, guards: &str, quantile: Option<&str>) -> Result<(), ConvertError> {
    let number_of = |fields: &[Entry], key: &str| get(fields, key).and_then(number);
    if number_of(fields, "threshold").is_some_and(|threshold| threshold < 1.0) {
        put(fields, "threshold", whole(1));
    }
    let threshold = number_of(fields, "threshold").unwrap_or(1.0);
    let is_ab = get(fields, "iterations").is_some() && items(fields, "match").is_some_and(|rules| !rules.is_empty());
    if is_ab {
        remove(fields, "mirror");
    }
    let is_mirrored = matches!(get(fields, "mirror").map(|node| &node.value), Some(Value::Boolean(true)));
    if !is_mirrored || number_of(fields, "mirrorWeight") == Some(0.0) {
        remove(fields, "mirrorWeight");
    }
    let mut asks = false;
    for (n, metric) in items(fields, "metrics").into_iter().flatten().enumerate() {
        if let Value::Map(metric) = &mut metric.value {
            asks |= self::metric(n, metric, quantile)?;
        }
    }
    if asks {
        put(fields, "metricsBlindLimit", whole(threshold as i64 - 1));
        note(
            fields,
            "metricsBlindLimit",
            "tolerated checks without a value: threshold - 1, since to Flagger each has failed",
        );
    }
    let guards = match guards {
        "notify" | "off" => word_of(guards),
        action => {
            // What Flagger's checks let pass is only reported.
            let softer =
                ["latencyRegression", "clientErrors", "abandonment"].map(|guard| entry(guard, word_of("notify")));
            Value::Map(std::iter::once(entry("action", word_of(action))).chain(softer).collect())
        }
    };
    let explicit = [entry("advance", word_of("interval")), entry("guards", guards)];
    fields.splice(0..0, explicit);
    Ok(())
}

/// Whether a metric server is asked.
fn metric(n: usize, metric: &mut Vec<Entry>, quantile: Option<&str>) -> Result<bool, ConvertError> {
    let name = get(metric, "name").and_then(text).unwrap_or_default().to_owned();
    let (is_rate, is_duration) = (name == "request-success-rate", name == "request-duration");
    let asks = get(metric, "templateRef").is_some() || get(metric, "query").is_some();
    if is_duration {
        let chosen: Option<f64> = quantile.and_then(|text| text.parse().ok());
        let value = chosen.unwrap_or(QUANTILE);
        put(metric, "quantile", Value::Number(value, value.to_string()));
        if chosen.is_none() {
            note(metric, "quantile", "Serin's usual one; Flagger takes 0.99");
        }
    }
    let range = fields(metric, "thresholdRange").map(|ends| ends.len());
    let threshold = get(metric, "threshold").map(|node| node.value.clone());
    if range.is_some() || !(is_rate && asks) {
        remove(metric, "threshold");
    }
    let one = |end: &str, value: Value| Value::Map(vec![entry(end, value)]);
    let bounds = match (range, threshold) {
        (Some(0), _) if is_rate && !asks => Some(one("max", whole(100))),
        (Some(0), _) if asks => return Err(unbounded(n, &name)),
        (Some(_), _) => None,
        // One number that is the least of one value and the greatest of another: only the older field can say that.
        (None, Some(_)) if is_rate && asks => None,
        (None, Some(value)) => Some(one(if is_rate { "min" } else { "max" }, value)),
        (None, None) if is_rate && asks => return Err(unbounded(n, &name)),
        (None, None) if is_rate => Some(one("max", whole(100))),
        (None, None) => asks.then(|| one("max", whole(0))),
    };
    if let Some(bounds) = bounds {
        put(metric, "thresholdRange", bounds);
    }
    Ok(asks)
}

fn unbounded(n: usize, name: &str) -> ConvertError {
    let rule = "has no bounds for a value that is queried, which serin.dev/v1alpha1 refuses; give thresholdRange with min, max or both";
    ConvertError(format!("spec.analysis.metrics[{n}]: {name:?} {rule}"))
}

fn entry(key: &str, value: Value) -> Entry {
    Entry { at: crate::yaml::problem::Position::default(), key: key.to_owned(), value: Node::made(value), note: None }
}

/// Writes a comment after a field.
fn note(entries: &mut [Entry], key: &str, text: &'static str) {
    entries.iter_mut().filter(|entry| entry.key == key).for_each(|entry| entry.note = Some(text));
}

fn word_of(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn whole(number: i64) -> Value {
    Value::Number(number as f64, number.to_string())
}

const fn number(node: &Node) -> Option<f64> {
    match node.value {
        Value::Number(value, _) => Some(value),
        _ => None,
    }
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// A field that is there and not null.
fn get<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Node> {
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value).filter(|node| node.value != Value::Null)
}

fn get_mut<'a>(entries: &'a mut [Entry], key: &str) -> Option<&'a mut Value> {
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value.value)
}

fn fields<'a>(entries: &'a mut [Entry], key: &str) -> Option<&'a mut Vec<Entry>> {
    match get_mut(entries, key) {
        Some(Value::Map(entries)) => Some(entries),
        _ => None,
    }
}

fn items<'a>(entries: &'a mut [Entry], key: &str) -> Option<&'a mut Vec<Node>> {
    match get_mut(entries, key) {
        Some(Value::List(items)) => Some(items),
        _ => None,
    }
}

fn put(entries: &mut Vec<Entry>, key: &str, value: Value) {
    match get_mut(entries, key) {
        Some(old) => *old = value,
        None => entries.push(entry(key, value)),
    }
}

fn remove(entries: &mut Vec<Entry>, key: &str) {
    entries.retain(|entry| entry.key != key);
}
