//! Two Canaries that claim the same thing: one name, or one scope. Which of them is meant cannot be known, so both are
//! reported.

use std::collections::BTreeMap;
use std::path::Path;

use rollout::base::names::CanaryId;
use rollout::release::plan::Plan;

use crate::documents::document::Loaded;
use crate::yaml::place::Place;
use crate::yaml::problem::Problem;

/// A document that conflicts with another.
pub(crate) struct Conflict {
    /// File and document, as indices.
    pub(crate) whose: (usize, usize),
    pub(crate) problem: Problem,
    /// Whether one agent reads both documents: they are in one file or directory.
    pub(crate) is_certain: bool,
}

/// A document with its indices.
struct Claim<'a> {
    whose: (usize, usize),
    directory: Option<&'a Path>,
    place: Place,
    id: &'a CanaryId,
    plan: Option<&'a Plan>,
}

/// Everything that prevents using these files together.
pub(crate) fn between(files: &[Loaded]) -> Vec<Conflict> {
    let claims = claims(files);
    let mut by_id: BTreeMap<&CanaryId, Vec<&Claim<'_>>> = BTreeMap::new();
    claims.iter().for_each(|claim| by_id.entry(claim.id).or_default().push(claim));
    let mut by_scope: BTreeMap<(&str, &str), Vec<(&Claim<'_>, &Plan)>> = BTreeMap::new();
    for all in by_id.values() {
        if let [claim] = all.as_slice()
            && let Some(plan) = claim.plan
        {
            let scope = &plan.scope;
            let prefixes = |host| scope.path_prefixes.iter().map(move |prefix| (host, prefix.as_str()));
            let keys = scope.hosts.iter().flat_map(|host| prefixes(host.as_str()));
            keys.for_each(|key| by_scope.entry(key).or_default().push((claim, plan)));
        }
    }
    let mut conflicts = Vec::new();
    for (id, all) in &by_id {
        for claim in all {
            let other = nearest(claim, all.iter().copied());
            conflicts.extend(other.map(|other| claim.against(other, twice(id, &claim.place, &other.place))));
        }
    }
    for ((host, _), all) in &by_scope {
        for (claim, plan) in all {
            let rivals = all.iter().filter(|(_, theirs)| !is_short_name(host, plan, theirs));
            let Some(other) = nearest(claim, rivals.map(|(other, _)| *other)) else { continue };
            let theirs = other.plan.map(|theirs| overlap(plan, &claim.place, theirs, &other.place, host));
            conflicts.extend(theirs.map(|problem| claim.against(other, problem)));
        }
    }
    conflicts
}

impl Claim<'_> {
    fn against(&self, other: &Self, problem: Problem) -> Conflict {
        let is_one_directory = self.directory.is_some() && self.directory == other.directory;
        Conflict { whose: self.whose, problem, is_certain: self.whose.0 == other.whose.0 || is_one_directory }
    }
}

/// Another document than this, in the same file if there is one, or in the same directory.
fn nearest<'a>(claim: &Claim<'_>, all: impl Iterator<Item = &'a Claim<'a>>) -> Option<&'a Claim<'a>> {
    let distance = |other: &&Claim<'_>| (other.whose.0 != claim.whose.0, other.directory != claim.directory);
    all.filter(|other| other.whose != claim.whose).min_by_key(distance)
}

fn claims(files: &[Loaded]) -> Vec<Claim<'_>> {
    let mut claims = Vec::new();
    for (file_at, file) in files.iter().enumerate() {
        for (document_at, document) in file.documents.iter().enumerate() {
            let (whose, place, plans) = ((file_at, document_at), file.place_of(document), document.plans());
            let Some(own) = document.canary() else { continue };
            let named = plans.iter().map(|plan| &plan.id).filter(|id| *id != own);
            let directory = file.directory.as_deref();
            claims.extend(named.map(|id| Claim { whose, directory, place: place.clone(), id, plan: None }));
            // All versions have one scope.
            claims.push(Claim { whose, directory, place, id: own, plan: plans.first() });
        }
    }
    claims
}

/// One canary, defined twice.
pub(crate) fn twice(id: &CanaryId, place: &Place, other: &Place) -> Problem {
    place.twice(id.as_str(), other)
}

/// Two canaries with the same traffic.
pub(crate) fn overlap(plan: &Plan, place: &Place, theirs: &Plan, other: &Place, host: &str) -> Problem {
    let shared = plan.scope.path_prefixes.iter().find(|prefix| theirs.scope.path_prefixes.contains(prefix));
    let prefix = shared.map_or("/", String::as_str);
    let rule = format!(
        "with path prefix {prefix} is also in the scope of {}, {other}; a request can belong to one canary only, so \
         change the hosts or the path prefix of {} or of the other",
        theirs.id, plan.id
    );
    place.problem("spec.service.hosts", &format!("{host:?}"), rule)
}

/// A host that both claim under the same path prefix; one that is not merely a short name, if there is such.
pub(crate) fn shared_host(a: &Plan, b: &Plan) -> Option<String> {
    let is_prefix_shared = a.scope.path_prefixes.iter().any(|prefix| b.scope.path_prefixes.contains(prefix));
    if !is_prefix_shared || are_siblings(a, b) {
        return None;
    }
    let shared = || a.scope.hosts.iter().filter(|host| b.scope.hosts.contains(host));
    shared().find(|host| !is_short_name(host, a, b)).or_else(|| shared().next()).cloned()
}

/// Whether they are versions of one service, whose lanes divide its traffic.
pub(crate) fn are_siblings(a: &Plan, b: &Plan) -> bool {
    a.scope.lane.is_some() && b.scope.lane.is_some() && a.scope.service(&a.id) == b.scope.service(&b.id)
}

/// Whether a host is only the name that two services of different namespaces have in common: `web` is in either
/// namespace the service of that namespace, so it identifies neither, and both can do without it.
pub(crate) fn is_short_name(host: &str, a: &Plan, b: &Plan) -> bool {
    let short = |plan: &Plan| plan.scope.hosts.contains(&format!("{host}.{}.svc", plan.id.namespace()));
    a.id.namespace() != b.id.namespace() && !host.contains(['.', '*']) && short(a) && short(b)
}
