//! `analysis.match` of a provider that does not read it as Istio does, in our own words.

use rollout::release::plan::Flavour;
use rollout::routing::request::{MatchRule, StringMatch};

use super::{entry, word_of};
use crate::fields::traffic::providers::NOT_AS_ISTIO;
use crate::fields::traffic::rules;
use crate::reader::{Item, Log};
use crate::yaml::tree::{Node, Value};

/// The list anew; `None` where it already says what is meant. What cannot be said was named when the document was read.
pub(super) fn rules(provider: &str, list: &Node) -> Option<Value> {
    let provider = NOT_AS_ISTIO.iter().find(|known| **known == provider)?;
    let mut log = Log::new("");
    let read = rules::read(&Item::root(list, &mut log), Flavour::Flagger, Some(provider), &mut log);
    Some(Value::List(read.iter().map(|rule| Node::made(one(rule))).collect()))
}

fn one(rule: &MatchRule) -> Value {
    let named = [
        ("headers", &rule.headers),
        ("withoutHeaders", &rule.without_headers),
        ("cookies", &rule.cookies),
        ("queryParams", &rule.query),
    ];
    let named = named.into_iter().filter(|(_, conditions)| !conditions.is_empty()).map(|(key, conditions)| {
        entry(key, Value::Map(conditions.iter().map(|(name, value)| entry(name, form(value))).collect()))
    });
    Value::Map(named.chain(rule.path.iter().map(|path| entry("path", form(path)))).collect())
}

fn form(value: &StringMatch) -> Value {
    let (key, value) = match value {
        StringMatch::Exact(text) => ("exact", word_of(text)),
        StringMatch::Prefix(text) => ("prefix", word_of(text)),
        StringMatch::Suffix(text) => ("suffix", word_of(text)),
        StringMatch::Regex(pattern) => ("regex", word_of(pattern.source())),
        StringMatch::Present => ("present", Value::Boolean(true)),
    };
    Value::Map(vec![entry(key, value)])
}
