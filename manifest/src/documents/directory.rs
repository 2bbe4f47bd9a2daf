//! A directory of manifests that may change at any moment, also halfway through being written.
//!
//! While a file is wrong, the last good plan of its canaries stays. What disappears must be gone in two scans running,
//! because many editors remove a file before they write the new one. No file takes the traffic of a canary that is
//! already there: of two that claim the same scope, the one that came or changed is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rollout::base::names::CanaryId;
use rollout::release::plan::{Plan, Spec};

use crate::documents::conflict::{are_siblings, is_short_name, overlap, shared_host, twice};
use crate::documents::document::Loaded;
use crate::documents::set::{Source, read_set, unreadable};
use crate::yaml::place::Place;
use crate::yaml::problem::{Position, Problem, Warning};
use crate::yaml::tree::MAX_FILE_BYTES;
use crate::yaml::tree::SyntaxError;

/// Most manifest files in one directory.
const MAX_FILES: usize = 1_024;

/// What a scan found.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Plans that are new, or differ from what earlier scans gave.
    pub changed: Vec<Plan>,
    /// Canaries that are no longer defined.
    pub removed: Vec<CanaryId>,
    /// All that is wrong at present, whether or not an earlier scan said so.
    pub problems: Vec<Problem>,
    /// All that is worth saying at present.
    pub warnings: Vec<Warning>,
    /// Canaries whose plan in force is not what their file says now, each with the problem that prevents it.
    pub stale: BTreeMap<CanaryId, String>,
    /// Canaries whose file was not there in this reading: gone if it is not in the next scan either.
    pub missing: BTreeSet<CanaryId>,
    /// Why the directory says nothing at all; then every plan may be stale.
    pub blind: Option<String>,
    /// Whether files, problems or warnings differ from the last scan's. Without news a canary that stays away may still
    /// be removed by this scan.
    pub news: bool,
}

/// A watched directory and the plans that hold from it. Scan it once a second or so; a scan without news costs a read
/// of each file.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    held: BTreeMap<CanaryId, Held>,
    absent: BTreeSet<CanaryId>,
    files: Option<Files>,
    reported: Scan,
    /// Whether a [`refresh`](Self::refresh) has missed a canary that no scan has missed yet.
    is_unsettled: bool,
}

/// Every manifest's name with its text or why it cannot be had; or why the directory cannot be read.
type Files = Result<Vec<(String, Result<String, String>)>, String>;

#[derive(Clone, Debug)]
struct Held {
    plan: Plan,
    place: Place,
}

/// A plan that would hold after this scan.
#[derive(Clone)]
struct Candidate {
    plan: Plan,
    place: Place,
    fresh: bool,
    absent: bool,
}

impl Directory {
    /// A directory of `*.yaml` and `*.yml` files; links are followed, names that begin with a dot are left out (so a
    /// Kubernetes ConfigMap mount is read once). Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            held: BTreeMap::new(),
            absent: BTreeSet::new(),
            files: None,
            reported: Scan::default(),
            is_unsettled: false,
        }
    }

    /// Begins with plans that an earlier process held, so that a restart while a file is wrong loses none of them.
    #[must_use]
    pub fn holding(mut self, plans: impl IntoIterator<Item = Plan>) -> Self {
        let place = Place { file: "the plan in force before this start".into(), line: 0 };
        self.held.extend(plans.into_iter().map(|plan| (plan.id.clone(), Held { plan, place: place.clone() })));
        self
    }

    /// The plans that hold now.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.held.values().map(|held| &held.plan)
    }

    /// Reads the directory and says what changed. Blocking I/O; a failure of it is a problem in the answer.
    pub fn scan(&mut self) -> Scan {
        self.read(true)
    }

    /// The same between two scans, for one who must know what is there now: what is missing is not gone by that, since
    /// nothing says how long it has been.
    pub fn refresh(&mut self) -> Scan {
        self.read(false)
    }

    fn read(&mut self, is_scan: bool) -> Scan {
        let files = files(&self.path);
        let news = self.files.as_ref() != Some(&files);
        if !news && (!is_scan || (self.absent.is_empty() && !self.is_unsettled)) {
            return self.reported.clone();
        }
        let mut scan = match &files {
            Ok(files) => self.adopt(files, is_scan),
            Err(reason) => self.blind(reason),
        };
        self.files = Some(files);
        scan.news = news || scan.problems != self.reported.problems || scan.warnings != self.reported.warnings;
        self.reported = Scan { changed: Vec::new(), removed: Vec::new(), news: false, ..scan.clone() };
        scan
    }

    /// A directory that cannot be read says nothing about its canaries: all stay.
    fn blind(&self, reason: &str) -> Scan {
        let error = SyntaxError { at: Position::default(), rule: reason.to_owned() };
        let problems =
            unreadable(&self.path.display().to_string(), &error).documents.into_iter().filter_map(|d| d.result.err());
        let problems: Vec<Problem> = problems.flatten().collect();
        let blind = problems.first().map(ToString::to_string);
        Scan { problems, blind, ..Scan::default() }
    }

    fn adopt(&mut self, files: &[(String, Result<String, String>)], is_scan: bool) -> Scan {
        let loaded = self.load(files);
        let mut scan = Scan::default();
        let mut stale = BTreeMap::new();
        let mut candidates = self.candidates(&loaded, is_scan, &mut stale, &mut scan);
        loaded.iter().for_each(|file| report(file, &candidates, &mut scan));
        self.resolve_overlaps(&mut candidates, &mut stale, &mut scan);
        let absent = candidates.iter().filter(|(_, candidate)| candidate.absent).map(|(id, _)| id.clone());
        let absent: BTreeSet<CanaryId> = absent.collect();
        scan.missing.clone_from(&absent);
        self.is_unsettled = !is_scan && !absent.is_empty();
        self.absent = if is_scan { absent } else { self.absent.intersection(&absent).cloned().collect() };
        scan.removed = self.held.keys().filter(|id| !candidates.contains_key(*id)).cloned().collect();
        let differs =
            |candidate: &&Candidate| self.held.get(&candidate.plan.id).is_none_or(|held| held.plan != candidate.plan);
        scan.changed = candidates.values().filter(differs).map(|candidate| candidate.plan.clone()).collect();
        let hold = |(id, Candidate { plan, place, .. })| (id, Held { plan, place });
        self.held = candidates.into_iter().map(hold).collect();
        scan.problems.sort();
        scan.problems.dedup();
        scan.stale =
            stale.into_iter().filter_map(|(id, place)| Some((id, problem_at(&place, &scan.problems)?))).collect();
        scan
    }

    fn load(&self, files: &[(String, Result<String, String>)]) -> Vec<Loaded> {
        let sources: Vec<_> = files.iter().map(|(name, text)| self.source(name, text)).collect();
        let mut loaded = read_set(&sources, true);
        for file in &mut loaded {
            // A file is empty for a moment while it is written; that is no order to remove its canaries.
            file.complete &= !file.documents.is_empty();
        }
        loaded
    }

    fn source<'a>(&self, name: &str, text: &'a Result<String, String>) -> Source<'a> {
        let text = text.as_ref().map(String::as_str).map_err(Clone::clone);
        (self.path.join(name).display().to_string(), text)
    }

    /// Each canary's new plan if it has a good one, otherwise the one that holds.
    fn candidates(
        &self,
        loaded: &[Loaded],
        is_scan: bool,
        stale: &mut BTreeMap<CanaryId, Place>,
        scan: &mut Scan,
    ) -> BTreeMap<CanaryId, Candidate> {
        let claims = self.claims(loaded, scan);
        let mut candidates = BTreeMap::new();
        for (id, all) in &claims {
            for (n, (place, _)) in all.iter().enumerate() {
                let other = all.iter().enumerate().find(|(m, _)| *m != n);
                scan.problems.extend(other.map(|(_, (other, _))| twice(id, place, other)));
            }
            let held = self.held.get(id);
            let candidate = match all.as_slice() {
                [(place, Some(plan))] => {
                    let fresh = held.is_none_or(|held| held.plan != **plan);
                    Some(Candidate { plan: (*plan).clone(), place: place.clone(), fresh, absent: false })
                }
                [(place, _), ..] => {
                    stale.insert(id.clone(), place.clone());
                    held.map(|held| held.stays(place.clone(), false))
                }
                [] => None,
            };
            candidates.extend(candidate.map(|candidate| (id.clone(), candidate)));
        }
        let broken = broken(loaded);
        for (id, held) in self.held.iter().filter(|(id, _)| !claims.contains_key(id)) {
            let somewhere = held.place.line == 0 && !broken.is_empty();
            let hidden = somewhere || broken.contains(held.place.file.as_str());
            if hidden {
                stale.insert(id.clone(), held.place.clone());
            }
            if hidden || !is_scan || !self.absent.contains(id) {
                candidates.insert(id.clone(), held.stays(held.place.clone(), !hidden));
            }
        }
        candidates
    }

    /// Who is defined where, with a plan if it is a good one. A document that is not speaks for the versions that it had.
    fn claims<'a>(&self, loaded: &'a [Loaded], scan: &mut Scan) -> BTreeMap<CanaryId, Vec<(Place, Option<&'a Plan>)>> {
        let mut named: BTreeMap<&CanaryId, Vec<(Place, &'a [Plan])>> = BTreeMap::new();
        for file in loaded {
            for document in &file.documents {
                let own = document.canary().map(|id| (id, file.place_of(document)));
                own.into_iter().for_each(|(id, place)| named.entry(id).or_default().push((place, document.plans())));
            }
        }
        let mut claims: BTreeMap<CanaryId, Vec<(Place, Option<&Plan>)>> = BTreeMap::new();
        for (own, all) in named {
            let is_single = all.len() == 1;
            for (n, (place, plans)) in all.iter().enumerate() {
                let other = all.iter().enumerate().find(|(m, _)| *m != n);
                scan.problems.extend(other.map(|(_, (other, _))| twice(own, place, other)));
                if let (true, false) = (is_single, plans.is_empty()) {
                    let good = plans.iter().map(|plan| (plan.id.clone(), (place.clone(), Some(plan))));
                    good.for_each(|(id, claim)| claims.entry(id).or_default().push(claim));
                    continue;
                }
                let of = |held: &&Held| held.plan.scope.service(&held.plan.id) == own;
                let held = self.held.values().filter(of).map(|held| held.plan.id.clone());
                let ids: BTreeSet<CanaryId> = held.chain([own.clone()]).collect();
                ids.into_iter().for_each(|id| claims.entry(id).or_default().push((place.clone(), None)));
            }
        }
        claims
    }

    /// Lets no two canaries share a scope. The one that came or changed gives way; each round makes one candidate less
    /// fresh, shorter or gone, so it ends.
    fn resolve_overlaps(
        &self,
        candidates: &mut BTreeMap<CanaryId, Candidate>,
        stale: &mut BTreeMap<CanaryId, Place>,
        scan: &mut Scan,
    ) {
        while let Some((one, other)) = first_overlap(candidates) {
            let (Some(a), Some(b)) = (candidates.get(&one), candidates.get(&other)) else { return };
            let Some(host) = shared_host(&a.plan, &b.plan) else { return };
            let neither = !a.fresh && !b.fresh;
            let short = is_short_name(&host, &a.plan, &b.plan);
            for (mine, theirs, id) in
                [(a, b, &one), (b, a, &other)].map(|(a, b, id)| (a.clone(), b.clone(), id.clone()))
            {
                let yields = mine.fresh || (neither && id == other);
                if !yields {
                    continue;
                }
                let alone = if short { without_host(&mine.plan, &host) } else { None };
                if let Some(plan) = alone {
                    scan.warnings.push(ambiguous(&mine, &theirs.plan.id, &host));
                    let fresh = self.held.get(&id).is_none_or(|held| held.plan != plan);
                    candidates.insert(id, Candidate { plan, fresh, ..mine });
                    continue;
                }
                // One that is just leaving makes room with the next scan; there is nothing to report.
                if !theirs.absent {
                    stale.insert(id.clone(), mine.place.clone());
                    scan.problems.push(overlap(&mine.plan, &mine.place, &theirs.plan, &theirs.place, &host));
                }
                match self.held.get(&id).filter(|_| mine.fresh) {
                    Some(held) => drop(candidates.insert(id, held.stays(mine.place, false))),
                    None => drop(candidates.remove(&id)),
                }
            }
        }
    }
}

impl Held {
    fn stays(&self, place: Place, absent: bool) -> Candidate {
        Candidate { plan: self.plan.clone(), place, fresh: false, absent }
    }
}

/// The problems and warnings of a file. Some files are not meant as manifests, as `serin validate` says too; but where a
/// canary came from one, or may have before this start, a mistake in it is one in a manifest.
fn report(file: &Loaded, candidates: &BTreeMap<CanaryId, Candidate>, scan: &mut Scan) {
    let is_source = |place: &Place| place.file == file.file || place.line == 0;
    let aside = file.aside.filter(|_| !candidates.values().any(|candidate| is_source(&candidate.place)));
    let problems = file.documents.iter().filter_map(|document| document.result.as_ref().err()).flatten();
    match aside {
        Some(reason) => scan.warnings.extend(problems.map(|problem| problem.aside(reason))),
        None => scan.problems.extend(problems.cloned()),
    }
    scan.warnings.extend(file.documents.iter().flat_map(|document| document.warnings.clone()));
    scan.warnings.extend(file.without_documents());
}

/// The first problem of a document, or of its file, or of any.
fn problem_at(place: &Place, problems: &[Problem]) -> Option<String> {
    let in_file = || problems.iter().filter(|problem| problem.file == place.file);
    let found = in_file().find(|problem| problem.at.line >= place.line).or_else(|| in_file().next());
    found.or(problems.first()).map(ToString::to_string)
}

/// Files in which something is wrong: what is missing from them may be hidden by the mistake.
fn broken(loaded: &[Loaded]) -> BTreeSet<&str> {
    let wrong = |file: &&Loaded| !file.complete || file.documents.iter().any(|document| document.result.is_err());
    loaded.iter().filter(wrong).map(|file| file.file.as_str()).collect()
}

fn first_overlap(candidates: &BTreeMap<CanaryId, Candidate>) -> Option<(CanaryId, CanaryId)> {
    let mut claimed: BTreeMap<(&str, &str), &CanaryId> = BTreeMap::new();
    for (id, candidate) in candidates {
        let scope = &candidate.plan.scope;
        let keys = scope.hosts.iter().flat_map(|host| scope.path_prefixes.iter().map(move |prefix| (host, prefix)));
        for (host, prefix) in keys {
            let before = claimed.insert((host, prefix), id);
            let is_rival = |before: &&CanaryId| {
                *before != id
                    && !candidates.get(*before).is_some_and(|other| are_siblings(&other.plan, &candidate.plan))
            };
            if let Some(before) = before.filter(is_rival) {
                return Some((before.clone(), id.clone()));
            }
        }
    }
    None
}

fn without_host(plan: &Plan, host: &str) -> Option<Plan> {
    let mut spec = Spec::from(plan.clone());
    spec.scope.hosts.retain(|other| other != host);
    Plan::new(spec).ok()
}

fn ambiguous(mine: &Candidate, other: &CanaryId, host: &str) -> Warning {
    let reason = format!(
        "the host {host} could also mean {other}; it is dropped from the scope of {}, which keeps its longer names",
        mine.plan.id
    );
    let at = Position { line: mine.place.line, column: 1 };
    Warning { file: mine.place.file.clone(), at, field: "spec.service".into(), reason, holds: false }
}

fn files(directory: &Path) -> Files {
    let mut names = Vec::new();
    let cannot =
        |error: io::Error| format!("cannot be read as a directory of manifests: {error}; all canaries stay unchanged");
    for entry in fs::read_dir(directory).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml")) {
            names.push(name);
        }
    }
    if names.len() > MAX_FILES {
        return Err(format!(
            "holds {} manifest files, and at most {MAX_FILES} are read; all canaries stay unchanged",
            names.len()
        ));
    }
    names.sort();
    Ok(names.into_iter().filter_map(|name| text(&directory.join(&name)).transpose().map(|text| (name, text))).collect())
}

/// A file's text; nothing for what is no file, such as a directory.
fn text(path: &Path) -> Result<Option<String>, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    File::open(path).map_err(cannot)?.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(format!("is longer than {MAX_FILE_BYTES} bytes; split it"));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| format!("is not UTF-8 text: {error}"))
}
