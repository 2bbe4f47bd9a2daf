//! The MetricTemplates and AlertProviders that a set of documents has, for the Canaries that name them.

use std::collections::BTreeMap;

use rollout::base::names::CanaryId;
use rollout::release::integrations::{Provider, Receiver};

use crate::reader::did_you_mean;
use crate::yaml::place::Place;

/// What a MetricTemplate says.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The server, or the provider's type where this build cannot query it.
    pub provider: Result<Provider, String>,
    /// The query, its variables not filled in.
    pub query: String,
}

/// One definition.
#[derive(Clone, Debug)]
struct Entry<T> {
    place: Place,
    /// `None` when its document was refused.
    value: Option<T>,
}

/// One kind of document by namespace and name.
#[derive(Clone, Debug)]
pub(crate) struct Shelf<T> {
    kind: &'static str,
    entries: BTreeMap<CanaryId, Vec<Entry<T>>>,
}

impl<T> Shelf<T> {
    const fn new(kind: &'static str) -> Self {
        Self { kind, entries: BTreeMap::new() }
    }

    pub(crate) fn put(&mut self, id: CanaryId, place: Place, value: Option<T>) {
        self.entries.entry(id).or_default().push(Entry { place, value });
    }

    /// The document of this name, or why it cannot be used. `None` when it may be in a file that was not read.
    pub(crate) fn find(&self, id: &CanaryId, is_whole: bool) -> Option<Result<(&T, &Place), String>> {
        let kind = self.kind;
        Some(match self.entries.get(id).map(Vec::as_slice) {
            Some([Entry { place, value: Some(value) }]) => Ok((value, place)),
            Some([Entry { place, value: None }]) => {
                Err(format!("names the {kind} {id}, which is itself refused: {place}"))
            }
            Some([one, other, ..]) => {
                Err(format!("names the {kind} {id}, which is defined twice: {} and {}", one.place, other.place))
            }
            Some([]) | None if is_whole => {
                Err(format!("names the {kind} {id}, which does not exist{}", self.those(id)))
            }
            Some([]) | None => return None,
        })
    }

    /// The names that there are.
    fn those(&self, wanted: &CanaryId) -> String {
        const SHOWN: usize = 5;
        let names: Vec<&str> = self.entries.keys().map(CanaryId::as_str).collect();
        if names.is_empty() {
            return "; there are none".into();
        }
        let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
        let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
        format!("; there are {shown}{more}{}", did_you_mean(wanted.as_str(), &names))
    }

    /// The other place where a name is defined.
    pub(crate) fn other(&self, id: &CanaryId, place: &Place) -> Option<&Place> {
        self.entries.get(id)?.iter().map(|entry| &entry.place).find(|other| *other != place)
    }
}

/// All of a set.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    pub(crate) templates: Shelf<Template>,
    pub(crate) receivers: Shelf<Receiver>,
    /// Whether the set is complete: a directory or a stream, and not a file by itself.
    pub(crate) is_whole: bool,
}

impl Catalogue {
    pub(crate) const fn new(is_whole: bool) -> Self {
        Self { templates: Shelf::new("MetricTemplate"), receivers: Shelf::new("AlertProvider"), is_whole }
    }
}
