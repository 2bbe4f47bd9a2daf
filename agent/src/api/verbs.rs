//! What people and pipelines ask of a release.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use rollout::base::names::{Actor, CanaryId};
use rollout::controller::Verb;
use rollout::routing::table::WeightPpm;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, CanaryPath, Failure, name, parse_id, unwritable};

/// Longest reason, in characters.
const MAX_REASON_CHARS: usize = 1024;
const VERBS: &[&str] = &["abort", "promote", "confirm", "pause", "resume", "retry", "skip", "weight"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReleaseBody {
    revision: String,
    actor: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    accept_unsupported: bool,
}

/// `POST …/releases`.
pub(super) async fn release(
    State(api): State<Api>,
    path: CanaryPath,
    body: Result<Json<ReleaseBody>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let id = parse_id(path)?;
    let Json(body) = body?;
    let revision = name("revision", &body.revision)?;
    let (actor, reason) = by(&body.actor, body.reason)?;
    ask(&api, id, Verb::Release { revision, actor, reason, accept_unsupported: body.accept_unsupported }).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct VerbBody {
    actor: String,
    #[serde(default)]
    reason: String,
    /// For `weight` only.
    weight_percent: Option<f64>,
}

/// `POST …/{verb}`.
pub(super) async fn verb(
    State(api): State<Api>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    body: Result<Json<VerbBody>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Path((namespace, canary, verb)) = path?;
    let id = parse_id(Ok(Path((namespace, canary))))?;
    if !VERBS.contains(&verb.as_str()) {
        return Err(Failure::NotFound(format!("verb {verb:?} is not one of releases, {}", VERBS.join(", "))));
    }
    let Json(VerbBody { actor, reason, weight_percent }) = body?;
    let (actor, reason) = by(&actor, reason)?;
    if weight_percent.is_some() && verb != "weight" {
        return Err(Failure::Invalid(format!("weightPercent has no meaning for {verb}; only weight takes one")));
    }
    let verb = match verb.as_str() {
        "abort" => Verb::Abort { actor, reason },
        "promote" => Verb::Promote { actor, reason },
        "confirm" => Verb::Confirm { actor, reason },
        "pause" => Verb::Pause { actor, reason },
        "resume" => Verb::Resume { actor, reason },
        "retry" => Verb::Retry { actor, reason },
        "skip" => Verb::Skip { actor, reason },
        _ => Verb::SetWeight { weight: weight(weight_percent)?, actor, reason },
    };
    ask(&api, id, verb).await
}

/// Who asks and why, within limits.
pub(super) fn by(actor: &str, reason: String) -> Result<(Actor, String), Failure> {
    let actor = name("actor", actor)?;
    if reason.chars().count() > MAX_REASON_CHARS || reason.chars().any(char::is_control) {
        return Err(Failure::Invalid(format!("reason must be one line of at most {MAX_REASON_CHARS} characters")));
    }
    Ok((actor, reason))
}

fn weight(percent: Option<f64>) -> Result<WeightPpm, Failure> {
    let rule = || Failure::Invalid("weightPercent must be a number from 0 to 100, with at most four decimals".into());
    let share = percent.map(|percent| percent * 10_000.0).filter(|share| (0.0..=1_000_000.0).contains(share));
    let share = share.filter(|share| (share - share.round()).abs() < 1e-6).ok_or_else(rule)?;
    WeightPpm::new(share.round() as u32).map_err(|_| rule())
}

/// Asks the engine; while nothing can be stored, only for what reduces traffic.
pub(super) async fn ask(api: &Api, id: CanaryId, verb: Verb) -> Result<Json<Value>, Failure> {
    if let Some(error) = api.handle.stored().failing
        && !matches!(verb, Verb::Abort { .. })
    {
        // Queued, it would be carried out some time later, when nobody expects it any more.
        return Err(Failure::Unavailable(format!("{}; until then only abort is carried out", unwritable(&error))));
    }
    let done = api.handle.ask(id, verb).await??;
    Ok(Json(json!({ "release": done.release.0, "phase": done.phase })))
}
