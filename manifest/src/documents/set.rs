//! Documents that belong together: a Canary may name MetricTemplates and AlertProviders of other files, so those are
//! read first.

use crate::documents::document::Content;
use crate::documents::document::Document;
use crate::documents::document::Loaded;
use crate::documents::document::document;
use crate::fields::named::catalogue::Catalogue;
use crate::kinds::is_canary;
use crate::kinds::listed;
use crate::reader::Log;
use crate::yaml::place::Place;
use crate::yaml::problem::{Position, Problem};
use crate::yaml::tree::{Documents, MAX_FILE_BYTES, Node, SyntaxError, Value};

/// One file: its name, and its text or why it cannot be had.
pub(crate) type Source<'a> = (String, Result<&'a str, String>);

/// Reads all documents of one file; `file` is only what messages call it. Never fails: what is wrong is in the documents.
/// What a Canary names and is not there may be in another file: its releases hold.
pub fn read(file: &str, text: &str) -> Loaded {
    let nothing = Loaded { file: file.to_owned(), documents: Vec::new(), complete: true, aside: None, directory: None };
    read_set(&[(file.to_owned(), Ok(text))], false).pop().unwrap_or(nothing)
}

/// Reads files, each a name and its text, that are a set of their own: a Canary that names what is not there is refused.
pub fn read_together(files: &[(String, String)]) -> Vec<Loaded> {
    let sources: Vec<Source<'_>> = files.iter().map(|(name, text)| (name.clone(), Ok(text.as_str()))).collect();
    read_set(&sources, true)
}

/// Reads a set.
pub(crate) fn read_set(files: &[Source<'_>], is_whole: bool) -> Vec<Loaded> {
    let nodes: Vec<Vec<Result<Node, SyntaxError>>> = files.iter().map(|(_, text)| nodes(text)).collect();
    let nothing = Catalogue::new(is_whole);
    let mut loaded: Vec<Loaded> = Vec::new();
    for ((file, text), nodes) in files.iter().zip(&nodes) {
        let read = |node: &Result<Node, SyntaxError>| match node {
            Ok(node) if is_canary(node) => awaited(node),
            Ok(node) => document(file, node, &nothing),
            Err(error) => unreadable_document(file, error),
        };
        let documents: Vec<Document> = nodes.iter().map(read).collect();
        let complete = nodes.iter().all(Result::is_ok);
        let aside = text.as_ref().ok().and_then(|text| match documents.as_slice() {
            [] => Some(if text.trim().is_empty() { "the file is empty" } else { "the file holds no document" }),
            _ => aside(text, complete),
        });
        loaded.push(Loaded { file: file.clone(), documents, complete, aside, directory: None });
    }
    let catalogue = catalogue(&mut loaded, is_whole);
    for (file, nodes) in loaded.iter_mut().zip(&nodes) {
        for (read, node) in file.documents.iter_mut().zip(nodes) {
            if let Ok(node) = node
                && is_canary(node)
            {
                *read = document(&file.file, node, &catalogue);
            }
        }
    }
    loaded
}

/// The documents of a text; empty ones are left out.
fn nodes(text: &Result<&str, String>) -> Vec<Result<Node, SyntaxError>> {
    let unreadable = |rule: String, at| vec![Err(SyntaxError { at, rule })];
    match text {
        Err(reason) => unreadable(reason.clone(), Position::default()),
        Ok(text) if text.len() > MAX_FILE_BYTES => {
            let rule = format!("is {} bytes long; at most {MAX_FILE_BYTES} are read", text.len());
            unreadable(rule, Position { line: 1, column: 1 })
        }
        Ok(text) => {
            let is_empty = |node: &Result<Node, SyntaxError>| matches!(node, Ok(Node { value: Value::Null, .. }));
            let documents = Documents::new(text).filter(|node| !is_empty(node));
            let each = |node: Result<Node, SyntaxError>| match node {
                Ok(node) => listed(node).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            documents.flat_map(each).collect()
        }
    }
}

fn aside(text: &str, complete: bool) -> Option<&'static str> {
    if is_helms(text) {
        return Some("a Helm template; render it first: helm template . | serin validate -");
    }
    (!complete && !text.lines().any(is_ours)).then_some("not YAML, and none of our kinds in it")
}

/// Whether a line says `apiVersion` or `kind` of ours. Within a document other kinds name ours, such as their definitions.
fn is_ours(line: &str) -> bool {
    let is_any =
        |value: &str, words: &[&str]| words.iter().any(|word| value.trim().trim_matches(['"', '\'']).starts_with(word));
    // In JSON the key is in quotes, and a map may begin on its line.
    let key = line.trim_start_matches([' ', '\t', '-', '{', '"']).strip_prefix("apiVersion");
    let version = key.and_then(|rest| rest.trim_start_matches('"').trim_start().strip_prefix(':'));
    let kind = line.strip_prefix("kind:");
    version.is_some_and(|value| is_any(value, &[crate::kinds::FLAGGER, crate::kinds::SERIN]))
        || kind.is_some_and(|value| {
            is_any(value, &[crate::kinds::CANARY, crate::kinds::METRIC_TEMPLATE, crate::kinds::ALERT_PROVIDER])
        })
}

/// Whether there are actions that Helm has and queries of MetricTemplates have not.
fn is_helms(text: &str) -> bool {
    const BEGIN: &[&str] =
        &[".", "$", "/*", "if ", "else", "end", "range ", "with ", "include ", "template ", "define ", "toYaml "];
    text.split("{{").skip(1).any(|action| {
        let action = action.strip_prefix('-').unwrap_or(action).trim_start();
        BEGIN.iter().any(|begin| action.starts_with(begin))
    })
}

/// A Canary's place, until what it may name is known.
fn awaited(node: &Node) -> Document {
    let (kind, name) = (String::new(), String::new());
    Document { line: node.at.line, kind, name, id: None, result: Ok(Content::Skipped), warnings: Vec::new() }
}

/// All that Canaries may name. Of two with one name neither is used.
fn catalogue(loaded: &mut [Loaded], is_whole: bool) -> Catalogue {
    let mut catalogue = Catalogue::new(is_whole);
    for file in &*loaded {
        for document in &file.documents {
            let Some(id) = document.id.clone() else { continue };
            let place = file.place_of(document);
            match (document.kind.as_str(), &document.result) {
                (crate::kinds::METRIC_TEMPLATE, Ok(Content::MetricTemplate(read))) => {
                    catalogue.templates.put(id, place, Some((**read).clone()));
                }
                (crate::kinds::METRIC_TEMPLATE, _) => catalogue.templates.put(id, place, None),
                (crate::kinds::ALERT_PROVIDER, Ok(Content::AlertProvider(read))) => {
                    catalogue.receivers.put(id, place, Some((**read).clone()));
                }
                (crate::kinds::ALERT_PROVIDER, _) => catalogue.receivers.put(id, place, None),
                _ => {}
            }
        }
    }
    for file in loaded {
        let name = file.file.clone();
        for document in &mut file.documents {
            let Some(id) = document.id.clone() else { continue };
            let place = Place { file: name.clone(), line: document.line };
            let other = match document.kind.as_str() {
                crate::kinds::METRIC_TEMPLATE => catalogue.templates.other(&id, &place),
                crate::kinds::ALERT_PROVIDER => catalogue.receivers.other(&id, &place),
                _ => None,
            };
            if let Some(other) = other {
                refuse(document, place.twice(id.as_str(), other));
            }
        }
    }
    catalogue
}

fn refuse(document: &mut Document, problem: Problem) {
    match &mut document.result {
        Err(problems) => problems.push(problem),
        Ok(_) => document.result = Err(vec![problem]),
    }
}

/// A file of which nothing can be said but why.
pub(crate) fn unreadable(file: &str, error: &SyntaxError) -> Loaded {
    let documents = vec![unreadable_document(file, error)];
    Loaded { file: file.to_owned(), documents, complete: false, aside: None, directory: None }
}

fn unreadable_document(file: &str, error: &SyntaxError) -> Document {
    let mut log = Log::new(file);
    log.problem(error.at, "", "", error.rule.clone());
    let (kind, name) = (String::new(), String::new());
    Document { line: error.at.line, kind, name, id: None, result: Err(log.problems), warnings: Vec::new() }
}
