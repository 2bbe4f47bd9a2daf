//! The published JSON Schemas are the generated ones, and agree with the reader: on every fixture, and on every fixture
//! with one place changed.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value as Json, json};

use super::super::schema;
use super::*;
use crate::kinds::FLAGGER;
use crate::reader::KNOWN;
use crate::yaml::tree::{Documents, Node, Value};

fn published(flavour: Flavour) -> (&'static str, Json) {
    let name = match flavour {
        Flavour::Flagger => "flagger.app-v1beta1.json",
        Flavour::Serin => "serin.dev-v1alpha1.json",
    };
    (name, serde_json::from_str(&schema(flavour)).unwrap())
}

/// `UPDATE=1 cargo test -p manifest schema` writes them after a change that is meant.
#[test]
fn the_published_schemas_are_the_generated_ones() {
    for flavour in [Flavour::Flagger, Flavour::Serin] {
        let (name, generated) = published(flavour);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema").join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, schema(flavour)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let found: Json = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(found, generated, "docs/schema/{name} is old; UPDATE=1 cargo test -p manifest schema writes it");
    }
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Boolean(value) => json!(value),
        Value::Number(value, _) if value.fract() == 0.0 => json!(*value as i64),
        Value::Number(value, _) => json!(value),
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.value))).collect(),
    }
}

/// Every document of ours in every fixture.
fn documents() -> Vec<Json> {
    let documents = [WEIGHTED, AB, OWN, EXAMPLE, FULL, FULL_OWN, VERSIONS].into_iter().flat_map(Documents::new);
    let ours = |document: &Json| {
        let version = document["apiVersion"].as_str().unwrap_or_default();
        version.starts_with("flagger.app/") || version.starts_with("serin.dev/")
    };
    documents.map(|node| json_of(&node.unwrap())).filter(ours).collect()
}

struct Judges {
    flaggers: Validator,
    own: Validator,
}

impl Judges {
    fn new() -> Self {
        let of = |flavour| jsonschema::validator_for(&published(flavour).1).unwrap();
        Self { flaggers: of(Flavour::Flagger), own: of(Flavour::Serin) }
    }

    fn schema_takes(&self, document: &Json) -> bool {
        match document["apiVersion"].as_str() {
            Some(FLAGGER) => self.flaggers.is_valid(document),
            _ => self.own.is_valid(document),
        }
    }
}

/// What the reader says of a document by itself; JSON is YAML.
fn problems(document: &Json) -> Vec<Problem> {
    read("f.yaml", &document.to_string()).documents.remove(0).result.err().unwrap_or_default()
}

#[test]
fn every_fixture_is_taken_by_both() {
    let judges = Judges::new();
    let documents = documents();
    assert_eq!(documents.len(), 15);
    for document in &documents {
        assert_eq!(problems(document), [], "{document:#}");
        assert!(judges.schema_takes(document), "{document:#}");
    }
}

/// Paths of every value, the document itself first.
fn places(value: &Json, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| places(item, &format!("{path}/{n}"), found));
        }
        Json::Object(fields) => {
            fields.iter().for_each(|(key, item)| places(item, &format!("{path}/{}", escaped(key)), found));
        }
        _ => {}
    }
}

/// One place changed in every way that is tried.
fn changes(document: &Json, place: &str) -> Vec<Json> {
    let with = |new: Json| {
        let mut changed = document.clone();
        *changed.pointer_mut(place).unwrap() = new;
        changed
    };
    let mut changed = [json!("zzz"), json!(""), json!(-7), json!(101), json!({})].map(with).to_vec();
    if document.pointer(place).unwrap().is_object() {
        let mut more = document.clone();
        more.pointer_mut(place).unwrap()["zzz"] = json!("zzz");
        changed.push(more);
    }
    if let Some((parent, key)) = place.rsplit_once('/') {
        let key = key.replace("~1", "/").replace("~0", "~");
        let mut less = document.clone();
        if let Some(Json::Object(fields)) = less.pointer_mut(parent) {
            fields.remove(&key);
            changed.push(less);
        }
    }
    changed
}

/// Rules about what fields mean, alone or together, which the schema does not know.
const MEANING: &[&str] = &[
    "must be greater than the step before it",
    "must be greater than 0",
    "items; there must be 1 to 256",
    "has no bounds",
    "is not a valid host",
    "must be from 1s to 24h",
    "must be from 0 to 100",
    "must be from 0 to 86400000",
    "is greater than max",
    "has no condition",
    "is empty and would match every value",
    "must have exactly one of exact",
    "cannot be the name of a header",
    "is not a valid URL",
    "cannot be a gate",
    "has no effect beside gate: true",
    "a gate is opened by its name",
    "is also cookieName",
    "belongs to request-duration alone",
    "must lie between",
    "must be from 1 to 100 times",
    "counts intervals",
    "has nothing to certify",
    "has no effect when promotion is swap",
    "has no effect without versions",
    "is more than 50 %, an equal part",
    "is not a valid version name",
    "twice; each needs its own",
    "the same match",
    "is also the primary",
    "must begin with /",
    "is not a valid sticky key",
    "must be a number between 0 and 1",
    "needs more than 256 steps",
    "has more than four decimals",
    "is missing; cloudwatch needs it",
    "is missing; this type has no default address",
    "cannot be rendered",
    "must be from 1 to 1000",
    "must be from 1ms to 24h",
    "are too many",
    "at most 64",
];

#[test]
fn the_schema_and_the_reader_agree_on_every_change() {
    let judges = Judges::new();
    let (mut tried, mut refused, mut wrong) = (0, 0, Vec::new());
    for document in documents() {
        let mut found = Vec::new();
        places(&document, "", &mut found);
        // A document of another kind is not read.
        for place in found.iter().filter(|place| !["", "/apiVersion", "/kind"].contains(&place.as_str())) {
            for changed in changes(&document, place) {
                tried += 1;
                let problems = problems(&changed);
                let taken = judges.schema_takes(&changed);
                let is_meaning = |problem: &Problem| MEANING.iter().any(|rule| problem.rule.contains(rule));
                let is_right = if taken { problems.iter().all(is_meaning) } else { !problems.is_empty() };
                if !is_right {
                    wrong.push(format!("schema takes: {taken}; {place} is {:?}: {problems:?}", changed.pointer(place)));
                }
                refused += usize::from(!problems.is_empty());
            }
        }
    }
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 3_000 && refused > tried / 2, "{refused} of {tried}");
}

/// A schema and its alternatives.
fn either(schema: &Json) -> impl Iterator<Item = &Json> {
    std::iter::once(schema).chain(schema["anyOf"].as_array().into_iter().flatten())
}

/// The schemas of the value at a path of a document of this kind.
fn schemas_at<'a>(kinds: &'a Json, kind: &str, path: &str) -> Vec<&'a Json> {
    let of_kind = |schema: &&Json| schema["properties"]["kind"]["const"] == kind;
    let mut found: Vec<&Json> = kinds["oneOf"].as_array().unwrap().iter().filter(of_kind).collect();
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        let below = |schema: &'a Json| match part.strip_suffix(']') {
            Some(number) if number.parse::<usize>().is_ok() => &schema["items"],
            None if schema["properties"][part].is_object() => &schema["properties"][part],
            _ => &schema["additionalProperties"],
        };
        found = found.into_iter().flat_map(either).map(below).filter(|schema| schema.is_object()).collect();
    }
    found.into_iter().flat_map(either).collect()
}

#[test]
fn the_schema_has_the_fields_that_the_reader_asks_for() {
    let mut compared = BTreeSet::new();
    for document in documents() {
        let kind = document["kind"].as_str().unwrap();
        let flavour = if document["apiVersion"] == FLAGGER { Flavour::Flagger } else { Flavour::Serin };
        let (name, schema) = published(flavour);
        KNOWN.take();
        assert!(problems(&document).is_empty());
        for (path, asked) in KNOWN.take() {
            let asked: BTreeSet<&str> = asked.into_iter().collect();
            let fields =
                schemas_at(&schema, kind, &path).into_iter().filter_map(|schema| schema["properties"].as_object());
            let fields: BTreeSet<&str> = fields.flat_map(|fields| fields.keys().map(String::as_str)).collect();
            let differ: Vec<&&str> = asked.symmetric_difference(&fields).collect();
            assert!(differ.is_empty(), "{name}: {kind}: {path:?}: only the reader or only the schema has {differ:?}");
            compared.insert((name, path.split('[').next().unwrap_or_default().to_owned()));
        }
    }
    assert!(compared.len() > 30, "{compared:?}");
}
