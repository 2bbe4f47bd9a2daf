//! One document: its kind and name, and what it means or everything that is wrong with it.

use std::path::PathBuf;

use rollout::base::names::CanaryId;
use rollout::release::integrations::Receiver;
use rollout::release::plan::{Flavour, Plan};

use crate::fields::canary::{self, Head};
use crate::fields::named::catalogue::{Catalogue, Template};
use crate::fields::named::templates;
use crate::kinds::{ALERT_PROVIDER, ARGO, CANARY, FLAGGER, KINDS, METRIC_TEMPLATE, SERIN, is_of_our_group};
use crate::reader::{Item, Log, Map, did_you_mean};
use crate::yaml::place::Place;
use crate::yaml::problem::{Position, Problem, Warning};
use crate::yaml::tree::{Node, Value};

/// What a file held.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file as it was named by the caller.
    pub file: String,
    /// Its documents, in order; empty ones are left out.
    pub documents: Vec<Document>,
    /// Whether it was read to its end; a syntax error hides whatever follows.
    pub complete: bool,
    /// Why the file is probably not a manifest, where something in it cannot be read: a Helm template, or none of our
    /// kinds; or why it has no documents.
    pub aside: Option<&'static str>,
    /// The directory from which one agent would read it together with its other files; `None` where files stand alone.
    pub directory: Option<PathBuf>,
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
    /// Namespace and name of a Canary, MetricTemplate or AlertProvider, as far as they could be read.
    pub id: Option<CanaryId>,
    /// What it means, or everything that is wrong with it.
    pub result: Result<Content, Vec<Problem>>,
    /// What does not act as its writer may expect.
    pub warnings: Vec<Warning>,
}

/// What an accepted document means.
#[derive(Clone, Debug)]
pub enum Content {
    /// A Canary: one plan, or one for each of several versions.
    Canary(Vec<Plan>),
    /// A MetricTemplate, which metrics can name.
    MetricTemplate(Box<Template>),
    /// An AlertProvider, which alerts can name.
    AlertProvider(Box<Receiver>),
    /// A kind that is not read here.
    Skipped,
}

impl Loaded {
    /// Where one of its documents begins.
    pub(crate) fn place_of(&self, document: &Document) -> Place {
        Place { file: self.file.clone(), line: document.line }
    }

    /// What is said of a file in which there is nothing.
    pub(crate) fn without_documents(&self) -> Option<Warning> {
        let reason = self.aside.filter(|_| self.documents.is_empty())?;
        let reason = format!("{reason}; it is skipped, and canaries that came from it stay");
        Some(Warning { file: self.file.clone(), at: Position::default(), field: String::new(), reason, holds: false })
    }
}

impl Document {
    /// Whose Canary it is, whether or not it is a valid one.
    pub fn canary(&self) -> Option<&CanaryId> {
        self.id.as_ref().filter(|_| self.kind == CANARY)
    }

    /// The plans of a valid Canary: one, or one for each of its versions.
    pub fn plans(&self) -> &[Plan] {
        match &self.result {
            Ok(Content::Canary(plans)) => plans,
            _ => &[],
        }
    }

    /// The plan, if it is a valid Canary without several versions.
    pub fn plan(&self) -> Option<&Plan> {
        match self.plans() {
            [plan] => Some(plan),
            _ => None,
        }
    }
}

/// Reads one document; `catalogue` is what a Canary may name.
pub(crate) fn document(file: &str, node: &Node, catalogue: &Catalogue) -> Document {
    let mut log = Log::new(file);
    let mut document = Document {
        line: node.at.line,
        kind: String::new(),
        name: String::new(),
        id: None,
        result: Ok(Content::Skipped),
        warnings: Vec::new(),
    };
    if is_list(node) {
        log.warning(node.at, "", "is a list, not a Kubernetes object; the document is skipped");
        document.warnings = log.warnings;
        return document;
    }
    let content =
        Item::root(node, &mut log).map(&mut log).and_then(|root| content(root, &mut document, catalogue, &mut log));
    log.problems.sort_by_key(|problem| problem.at);
    log.warnings.sort_by_key(|warning| warning.at);
    document.result = match content {
        Some(content) if log.problems.is_empty() => Ok(content),
        _ => Err(log.problems),
    };
    document.warnings = log.warnings;
    document
}

/// What is no map can be no object: patches are lists. A text may be the beginning of one that is being written.
fn is_list(node: &Node) -> bool {
    matches!(node.value, Value::List(_))
}

fn content(mut root: Map<'_>, document: &mut Document, catalogue: &Catalogue, log: &mut Log) -> Option<Content> {
    if !["apiVersion", "kind", "metadata", "spec"].into_iter().any(|key| root.has(key)) {
        // People keep a proxy's configuration or a kustomization beside their canaries: no object, so none of ours.
        log.warning(
            root.at,
            "",
            "is not a Kubernetes object (it has neither apiVersion nor kind); the document is skipped",
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
        (FLAGGER, CANARY) => canary(root, Flavour::Flagger, document, catalogue, log),
        (SERIN, CANARY) => canary(root, Flavour::Serin, document, catalogue, log),
        (FLAGGER | SERIN, METRIC_TEMPLATE | ALERT_PROVIDER) => {
            let flavour = if version == FLAGGER { Flavour::Flagger } else { Flavour::Serin };
            named(root, &kind, flavour, document, log)
        }
        (FLAGGER | SERIN, _) => {
            let near = did_you_mean(&kind, &KINDS);
            kind_item.refuse(log, format!("is not a supported kind of {version}{near}"));
            None
        }
        (_, CANARY | METRIC_TEMPLATE | ALERT_PROVIDER) => {
            version_item.refuse(log, format!("has no {kind} that is supported; use {FLAGGER} or {SERIN}"));
            None
        }
        _ if is_of_our_group(&version) => {
            let near = did_you_mean(&kind, &KINDS);
            version_item.refuse(log, format!("is not a version that is supported; use {FLAGGER} or {SERIN}"));
            kind_item.refuse(log, format!("is not a supported kind{near}"));
            None
        }
        _ => {
            document.name = plain(&foreign_name(&mut root));
            log.warning(kind_item.at, "", format!("{}; the document is skipped", foreign(&version, &document.kind)));
            Some(Content::Skipped)
        }
    }
}

/// Why a document of another kind is skipped.
fn foreign(version: &str, kind: &str) -> String {
    if version.starts_with(ARGO) {
        return format!(
            "{kind} of {ARGO} is Argo's, an Argo Rollout or part of one; Serin reads {CANARY} of {SERIN} and of {FLAGGER}, \
             and `serin init` writes one"
        );
    }
    format!("{kind} is not one of our kinds{}", did_you_mean(kind, &KINDS))
}

fn canary(
    mut root: Map<'_>,
    flavour: Flavour,
    document: &mut Document,
    catalogue: &Catalogue,
    log: &mut Log,
) -> Option<Content> {
    let (id, name, annotations) = identity(&mut root, log);
    document.name = id.as_ref().map_or_else(|| plain(&name), ToString::to_string);
    document.id.clone_from(&id);
    root.take("status", log);
    let spec = root.need("spec", log);
    root.finish(log, &[]);
    let head = Head { flavour, id, annotations };
    canary::plans(&spec?, &head, catalogue, log).map(Content::Canary)
}

/// What a Canary names.
fn named(mut root: Map<'_>, kind: &str, flavour: Flavour, document: &mut Document, log: &mut Log) -> Option<Content> {
    let (id, name, _) = identity(&mut root, log);
    document.name = id.as_ref().map_or_else(|| plain(&name), ToString::to_string);
    document.id.clone_from(&id);
    root.take("status", log);
    let spec = root.need("spec", log);
    root.finish(log, &[]);
    let namespace = id.as_ref().map_or("default", CanaryId::namespace);
    if kind == METRIC_TEMPLATE {
        templates::metric_template(&spec?, flavour, namespace, log).map(|read| Content::MetricTemplate(Box::new(read)))
    } else {
        templates::alert_provider(&spec?, flavour, namespace, log).map(|read| Content::AlertProvider(Box::new(read)))
    }
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

/// A name as a report can show it: short, and without control characters.
fn plain(name: &str) -> String {
    name.chars().take(253).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The name of a foreign document, for its line in a report; nothing in it is read, so nothing is refused.
fn foreign_name(root: &mut Map<'_>) -> String {
    let mut unread = Log::new("");
    let metadata = root.take("metadata", &mut unread).and_then(|item| item.map(&mut unread));
    let name = metadata.and_then(|mut fields| fields.take("name", &mut unread));
    name.and_then(|item| item.text(&mut unread)).unwrap_or_default()
}
