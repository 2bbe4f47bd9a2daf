//! The door through which Canary manifests become plans: YAML in, [`Plan`] or the list of what is wrong out.
//!
//! Reading never stops at the first mistake of a document, never ignores a field it does not know, and never lets a
//! check, hook or gate disappear: what cannot be honoured is in the plan's `unsupported` list and holds its releases.
//! Read in this order: `problem`, `tree` (YAML with places), `reader` (fields), `canary` and what it calls, then
//! `directory`, the only part that touches files.

mod advance;
mod analysis;
mod canary;
mod choices;
mod conflict;
mod directory;
mod duration;
mod gates;
mod hooks;
mod metrics;
mod problem;
mod reader;
mod report;
mod rules;
mod service;
mod templates;
mod tree;

use rollout::names::CanaryId;
use rollout::plan::{Flavour, Plan};

pub use directory::{Directory, Scan};
pub use problem::{Position, Problem, Warning};
pub use report::{Report, report};
pub use tree::{MAX_DEPTH, MAX_DOCUMENTS, MAX_FILE_BYTES};

use canary::Head;
use reader::{Item, Log, Map, did_you_mean};
use tree::{Documents, Node, SyntaxError, Value};

const FLAGGER: &str = "flagger.app/v1beta1";
const SERIN: &str = "serin.dev/v1alpha1";

/// What a file held.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file as it was named by the caller.
    pub file: String,
    /// Its documents, in order; empty ones are left out.
    pub documents: Vec<Document>,
    /// Whether it was read to its end; a syntax error hides whatever follows.
    pub complete: bool,
}

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// Where it begins.
    pub line: usize,
    /// Its `kind`; empty if it has none.
    pub kind: String,
    /// Its name, with the namespace where it is a Canary; empty if it has none.
    pub name: String,
    /// Whose Canary it is, as far as that could be read.
    pub id: Option<CanaryId>,
    /// What it means, or everything that is wrong with it.
    pub result: Result<Content, Vec<Problem>>,
    /// What does not act as its writer may expect.
    pub warnings: Vec<Warning>,
}

/// What an accepted document means.
#[derive(Clone, Debug)]
pub enum Content {
    /// A Canary.
    Canary(Box<Plan>),
    /// A MetricTemplate or AlertProvider: valid, not honoured yet.
    Template,
    /// A kind that is none of our business.
    Skipped,
}

impl Document {
    /// The plan, if it is a valid Canary.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.result {
            Ok(Content::Canary(plan)) => Some(plan),
            _ => None,
        }
    }
}

/// Reads all documents of a file; `file` is only what messages call it. Never fails: what is wrong is in the documents.
pub fn read(file: &str, text: &str) -> Loaded {
    let mut loaded = Loaded { file: file.to_owned(), documents: Vec::new(), complete: true };
    if text.len() > MAX_FILE_BYTES {
        let rule = format!("is {} bytes long; at most {MAX_FILE_BYTES} are read", text.len());
        return unreadable(file, SyntaxError { at: Position { line: 1, column: 1 }, rule });
    }
    for found in Documents::new(text) {
        match found {
            Ok(node) if node.value == Value::Null => {}
            Ok(node) => loaded.documents.push(document(file, &node)),
            Err(error) => {
                loaded.complete = false;
                loaded.documents.append(&mut unreadable(file, error).documents);
            }
        }
    }
    loaded
}

/// A file of which nothing can be said but why.
fn unreadable(file: &str, error: SyntaxError) -> Loaded {
    let mut log = Log::new(file);
    log.problem(error.at, "", "", error.rule);
    let (kind, name) = (String::new(), String::new());
    let document =
        Document { line: error.at.line, kind, name, id: None, result: Err(log.problems), warnings: Vec::new() };
    Loaded { file: file.to_owned(), documents: vec![document], complete: false }
}

fn document(file: &str, node: &Node) -> Document {
    let mut log = Log::new(file);
    let mut document = Document {
        line: node.at.line,
        kind: String::new(),
        name: String::new(),
        id: None,
        result: Ok(Content::Skipped),
        warnings: Vec::new(),
    };
    let content = Item::root(node, &mut log).map(&mut log).and_then(|root| content(root, &mut document, &mut log));
    log.problems.sort_by_key(|problem| problem.at);
    log.warnings.sort_by_key(|warning| warning.at);
    document.result = match content {
        Some(content) if log.problems.is_empty() => Ok(content),
        _ => Err(log.problems),
    };
    document.warnings = log.warnings;
    document
}

fn content(mut root: Map<'_>, document: &mut Document, log: &mut Log) -> Option<Content> {
    if !["apiVersion", "kind", "metadata", "spec"].into_iter().any(|key| root.has(key)) {
        // People keep a proxy's configuration or a kustomization beside their canaries: no object, so none of ours.
        log.warning(
            root.at,
            "",
            "is no Kubernetes object (it has neither apiVersion nor kind); the document is skipped",
        );
        return Some(Content::Skipped);
    }
    let version_item = root.need("apiVersion", log);
    let kind_item = root.need("kind", log);
    let version = version_item.as_ref().and_then(|item| item.text(log));
    let kind = kind_item.as_ref().and_then(|item| item.text(log));
    document.kind = plain(kind.as_deref().unwrap_or_default());
    let (version, kind, version_item, kind_item) = (version?, kind?, version_item?, kind_item?);
    match (version.as_str(), kind.as_str()) {
        (FLAGGER, "Canary") => canary(root, Flavour::Flagger, document, log),
        (SERIN, "Canary") => canary(root, Flavour::Serin, document, log),
        (FLAGGER, "MetricTemplate") => template(root, document, templates::metric_template, log),
        (FLAGGER, "AlertProvider") => template(root, document, templates::alert_provider, log),
        (FLAGGER | SERIN, _) => {
            let near = did_you_mean(&kind, &["Canary", "MetricTemplate", "AlertProvider"]);
            kind_item.refuse(log, format!("is not a kind of {version} that is read here{near}"));
            None
        }
        (_, "Canary" | "MetricTemplate" | "AlertProvider") => {
            version_item
                .refuse(log, format!("has no {kind} that is read here; use {FLAGGER} or, for a Canary, {SERIN}"));
            None
        }
        (_, "List" | "CanaryList") => {
            kind_item.refuse(log, "is not read; write each item as a document of its own, parted by ---");
            None
        }
        _ => {
            document.name = plain(&foreign_name(&mut root));
            let at = kind_item.at;
            log.warning(at, "", format!("{} is none of our kinds; the document is skipped", document.kind));
            Some(Content::Skipped)
        }
    }
}

fn canary(mut root: Map<'_>, flavour: Flavour, document: &mut Document, log: &mut Log) -> Option<Content> {
    let (id, name, annotations) = identity(&mut root, log);
    document.name = id.as_ref().map_or_else(|| plain(&name), ToString::to_string);
    document.id.clone_from(&id);
    root.take("status", log);
    let spec = root.need("spec", log);
    root.finish(log, &[]);
    let head = Head { flavour, id, annotations };
    canary::plan(&spec?, &head, log).map(|plan| Content::Canary(Box::new(plan)))
}

fn template(
    mut root: Map<'_>,
    document: &mut Document,
    read: fn(&Item<'_>, &mut Log),
    log: &mut Log,
) -> Option<Content> {
    let (id, name, _) = identity(&mut root, log);
    document.name = id.map_or_else(|| plain(&name), |id| id.to_string());
    root.take("status", log);
    let spec = root.need("spec", log);
    root.finish(log, &[]);
    read(&spec?, log);
    Some(Content::Template)
}

/// Namespace and name as a canary's id, the bare name, and the annotations. The rest of `metadata` is Kubernetes' own.
fn identity<'a>(root: &mut Map<'a>, log: &mut Log) -> (Option<CanaryId>, String, Vec<(String, Item<'a>)>) {
    let Some(mut metadata) = root.need("metadata", log).and_then(|item| item.map(log)) else {
        return (None, String::new(), Vec::new());
    };
    let name_item = metadata.need("name", log);
    let namespace_item = metadata.take("namespace", log);
    let annotations = metadata.take("annotations", log).and_then(|item| item.map(log)).map(|map| map.rest(log));
    let name = name_item.as_ref().and_then(|item| item.text(log));
    let namespace = match &namespace_item {
        Some(item) => item.text(log),
        None => Some("default".to_owned()),
    };
    let mut id = None;
    if let (Some(name), Some(namespace), Some(item)) = (&name, &namespace, &name_item) {
        let wrong_namespace = CanaryId::new(namespace, "x").is_err();
        let blamed = namespace_item.as_ref().filter(|_| wrong_namespace).unwrap_or(item);
        id = CanaryId::new(namespace, name).map_err(|error| blamed.refuse(log, error.to_string())).ok();
    }
    (id, name.unwrap_or_default(), annotations.unwrap_or_default())
}

/// A name as a report can bear it: short, and without what a terminal would obey.
fn plain(name: &str) -> String {
    name.chars().take(253).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The name of a foreign document, for its line in a report; nothing in it is our business, so nothing is refused.
fn foreign_name(root: &mut Map<'_>) -> String {
    let mut unread = Log::new("");
    let metadata = root.take("metadata", &mut unread).and_then(|item| item.map(&mut unread));
    let name = metadata.and_then(|mut fields| fields.take("name", &mut unread));
    name.and_then(|item| item.text(&mut unread)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
