//! `spec.versions`: several versions of one service at once (A/B/n). Each becomes a canary of its own in its own lane.

use rollout::base::names::{CanaryId, NameError, Upstream};
use rollout::release::integrations::{Hook, HookKind, HookTarget};
use rollout::release::plan::{ExternalMetric, Flavour, Spec};
use rollout::routing::lane::{Lane, MAX_VERSIONS};
use rollout::routing::request::MatchRule;

use crate::fields::traffic::rules;
use crate::fields::values::upstream;
use crate::reader::{Item, Log, Map};

/// The gate behind which proven versions wait for a person's choice.
const GATE: &str = "winner";
/// What `winner` may say.
pub(crate) const WINNERS: &[&str] = &["gate", "first"];
const SHARED: &str = "is given beside versions, each of which has one of its own; write it in spec.versions";

/// What was read.
pub(crate) struct Versions {
    each: Vec<Version>,
    /// Whether a person chooses among the proven ones; otherwise the first is promoted.
    is_chosen: bool,
}

struct Version {
    name: String,
    upstream: Option<Upstream>,
    rules: Vec<MatchRule>,
    /// Metrics whose queries may name the version.
    metrics: Vec<ExternalMetric>,
}

/// Takes `versions` and `winner`.
pub(crate) fn read(spec: &mut Map<'_>, log: &mut Log) -> Option<Versions> {
    let winner = spec.take("winner", log);
    let Some(item) = spec.take("versions", log) else {
        if let Some(winner) = winner {
            winner.refuse(
                log,
                "has no effect without versions: there is one canary, and it is promoted when it is proven",
            );
        }
        return None;
    };
    let items = item.list(log);
    if !(2..=MAX_VERSIONS).contains(&items.len()) {
        let rule = format!("has {} items; there must be 2 to {MAX_VERSIONS} versions", items.len());
        log.problem(item.at, &item.path, "", rule);
        return None;
    }
    let mut each: Vec<Version> = Vec::new();
    for item in &items {
        let Some(version) = version(item, log) else { continue };
        if each.iter().any(|other| other.name == version.name) {
            log.problem(item.at, &format!("{}.name", item.path), version.name.as_str(), "is the name of one above it");
        }
        each.push(version);
    }
    // Another order in the manifest moves no lane.
    each.sort_by(|a, b| a.name.cmp(&b.name));
    let is_chosen = winner.and_then(|item| item.one_of(log, WINNERS)) != Some("first");
    (each.len() == items.len()).then_some(Versions { each, is_chosen })
}

/// A field that only a Canary without versions has.
pub(crate) fn refuse_shared(item: &Item<'_>, log: &mut Log) {
    item.refuse(log, SHARED);
}

fn version(item: &Item<'_>, log: &mut Log) -> Option<Version> {
    let mut fields = item.map(log)?;
    let name = fields.need("name", log).and_then(|item| name(&item, log));
    let upstream = fields.take("upstream", log).and_then(|item| upstream(&item, log));
    let matched = fields.take("match", log);
    let rules = matched.map(|item| rules::read(&item, Flavour::Serin, None, log)).unwrap_or_default();
    fields.finish(log, &[]);
    Some(Version { name: name?, upstream, rules, metrics: Vec::new() })
}

fn name(item: &Item<'_>, log: &mut Log) -> Option<String> {
    let text = item.text(log)?;
    let is_name = (1..=63).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if !is_name || text == "primary" {
        item.refuse(log, "is not a valid version name; give 1 to 63 letters, digits, - or _, and not primary");
        return None;
    }
    Some(text)
}

impl Versions {
    /// Adds what each version, by its name, asks of metric servers.
    pub(crate) fn with_metrics(mut self, metrics: impl Fn(&str) -> Vec<ExternalMetric>) -> Self {
        self.each.iter_mut().for_each(|version| version.metrics = metrics(&version.name));
        self
    }

    /// Each version's specification, made from what all have in common.
    ///
    /// # Errors
    /// When a name becomes too long, or a hook has the gate's name: the field and the rule.
    pub(crate) fn specs(self, common: &Spec, service: &str) -> Result<Vec<Spec>, (&'static str, String)> {
        if self.is_chosen && common.outside.hooks.iter().any(|hook| hook.name == GATE) {
            let rule = format!(
                "makes a stored gate {GATE:?} for each version, and a webhook has that name; rename it, or write winner: first"
            );
            return Err(("spec.versions", rule));
        }
        let lanes = Lane::equal(&common.id, self.each.len());
        let is_chosen = self.is_chosen;
        let spec = |(version, lane): (Version, Lane)| -> Result<Spec, NameError> {
            let mut spec = common.clone();
            spec.id = CanaryId::version(&common.id, &version.name)?;
            spec.canary = match version.upstream {
                Some(upstream) => upstream,
                None => Upstream::parse(&format!("{service}-{}", version.name))?,
            };
            spec.scope.lane = Some(lane);
            spec.rules = version.rules;
            spec.outside.metrics = version.metrics;
            if is_chosen {
                spec.outside.hooks.push(winner());
            }
            Ok(spec)
        };
        let specs: Result<Vec<Spec>, NameError> = self.each.into_iter().zip(lanes).map(spec).collect();
        let specs = specs.map_err(|error| ("spec.versions", error.to_string()))?;
        for (n, spec) in specs.iter().enumerate() {
            let others = || specs.iter().take(n);
            if others().any(|other| other.canary == spec.canary) {
                return Err(("spec.versions", format!("name the upstream {} twice; each needs its own", spec.canary)));
            }
            if let Some(other) = others().find(|other| !spec.rules.is_empty() && other.rules == spec.rules) {
                let (one, two) = (other.id.name(), spec.id.name());
                return Err((
                    "spec.versions",
                    format!("give {one} and {two} the same match; {two} would never get a request"),
                ));
            }
        }
        Ok(specs)
    }
}

fn winner() -> Hook {
    Hook { name: GATE.into(), kind: HookKind::ConfirmPromotion, target: HookTarget::Gate, mute_alert: false }
}
