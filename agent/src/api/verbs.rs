//! What people and pipelines ask of a release: begin, abort, promote and the other verbs.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{Method, Uri};
use rollout::base::names::{Actor, CanaryId};
use rollout::controller::{Refused, Verb};
use rollout::release::request_limits::check_reason;
use rollout::routing::table::WeightPpm;
use serde_json::{Value, json};
use serving::{Body, Fields, Form, HttpError, Segments, did_you_mean};

use super::ids::{canary_id, parse_name, refusal};
use super::reads::unwritable;
use super::{Api, REFERENCE};
use crate::handle::{Carried, NotCarried};
use crate::manifests::Manifests;

const VERBS: &[&str] = &["abort", "promote", "confirm", "pause", "resume", "retry", "skip", "set-weight", "forget"];
/// What else stands behind a canary's name.
const READS: &[&str] = &["events", "explain", "watch", "releases", "gates"];

/// The body of a release.
#[derive(Debug)]
pub(super) struct ReleaseForm {
    revision: String,
    actor: String,
    reason: String,
    accept_unsupported: bool,
}

impl Form for ReleaseForm {
    const FIELDS: &'static [&'static str] = &["revision", "actor", "reason", "acceptUnsupported"];
    const EXAMPLE: &'static str = r#"{"revision": "v2", "actor": "ann"}"#;

    fn read(fields: &mut Fields) -> Result<Self, HttpError> {
        Ok(Self {
            revision: fields.text("revision")?,
            actor: fields.text("actor")?,
            reason: fields.optional_text("reason")?.unwrap_or_default(),
            accept_unsupported: fields.flag("acceptUnsupported")?,
        })
    }
}

/// `POST …/releases`.
pub(super) async fn release(
    State(api): State<Api>,
    path: Segments,
    body: Result<Body<ReleaseForm>, HttpError>,
) -> Result<Json<Value>, HttpError> {
    let id = canary_id(&path)?;
    let Body(form) = body?;
    let revision = parse_name("revision", &form.revision)?;
    let (actor, reason) = by(&form.actor, form.reason)?;
    ask(&api, id, Verb::Release { revision, actor, reason, accept_unsupported: form.accept_unsupported }).await
}

/// The body of every other verb.
#[derive(Debug)]
pub(super) struct VerbForm {
    actor: String,
    reason: String,
    /// For `set-weight` only.
    weight_percent: Option<f64>,
    /// For `confirm` only.
    force: bool,
}

impl Form for VerbForm {
    const FIELDS: &'static [&'static str] = &["actor", "reason", "weightPercent", "force"];
    const EXAMPLE: &'static str = r#"{"actor": "ann", "reason": "INC-42"}"#;

    fn read(fields: &mut Fields) -> Result<Self, HttpError> {
        Ok(Self {
            actor: fields.text("actor")?,
            reason: fields.optional_text("reason")?.unwrap_or_default(),
            weight_percent: fields.number("weightPercent")?,
            force: fields.flag("force")?,
        })
    }
}

/// `POST …/{verb}`.
pub(super) async fn verb(
    State(api): State<Api>,
    path: Segments,
    body: Result<Body<VerbForm>, HttpError>,
) -> Result<Json<Value>, HttpError> {
    let (id, verb) = (canary_id(&path)?, path.get("verb"));
    if !VERBS.contains(&verb) {
        return Err(unknown(verb));
    }
    let Body(VerbForm { actor, reason, weight_percent, force }) = body?;
    let (actor, reason) = by(&actor, reason)?;
    if let Some(percent) = weight_percent.filter(|_| verb != "set-weight") {
        let error =
            format!("field weightPercent is {percent}, but {verb} takes none; leave it out or POST to set-weight");
        return Err(HttpError::invalid(error));
    }
    if force && verb != "confirm" {
        let error = format!("field force is true, but {verb} takes none; leave it out or POST to confirm");
        return Err(HttpError::invalid(error));
    }
    let verb = match verb {
        "abort" => Verb::Abort { actor, reason },
        "promote" => Verb::Promote { actor, reason },
        "confirm" if force => Verb::ForceConfirm { actor, reason },
        "confirm" => Verb::Confirm { actor, reason },
        "pause" => Verb::Pause { actor, reason },
        "resume" => Verb::Resume { actor, reason },
        "retry" => Verb::Retry { actor, reason },
        "skip" => Verb::Skip { actor, reason },
        "forget" => Verb::Forget { actor, reason },
        _ => Verb::SetWeight { weight: weight(weight_percent)?, actor, reason },
    };
    ask(&api, id, verb).await
}

/// Any other method on `…/{verb}`: a verb needs a POST, and what is none does not exist whatever the method.
pub(super) async fn not_post(method: Method, uri: Uri, path: Segments) -> HttpError {
    let verb = path.get("verb");
    if !VERBS.contains(&verb) {
        return unknown(verb);
    }
    HttpError::only_post(&method, &uri, REFERENCE)
}

fn unknown(verb: &str) -> HttpError {
    let (verbs, reads) = (VERBS.join(", "), READS.join(", "));
    let near = did_you_mean(verb, &[VERBS, READS].concat());
    HttpError::not_found(format!(
        "a canary has no {verb:?}; POST goes to releases, {verbs}; GET to {reads}; {REFERENCE}{near}"
    ))
}

/// Who asks and why, within limits.
pub(super) fn by(actor: &str, reason: String) -> Result<(Actor, String), HttpError> {
    let actor = parse_name("actor", actor)?;
    check_reason(&reason).map_err(|error| HttpError::invalid(format!("field reason {error}")))?;
    Ok((actor, reason))
}

fn weight(percent: Option<f64>) -> Result<WeightPpm, HttpError> {
    let rule = || {
        let found = percent.map_or_else(|| "is missing".into(), |percent| format!("is {percent}"));
        HttpError::invalid(format!(
            "field weightPercent {found}; it must be a number from 0 to 100 with at most four decimals, \
             for example {{\"actor\": \"ann\", \"weightPercent\": 25}}"
        ))
    };
    let share = percent.map(|percent| percent * 10_000.0).filter(|share| (0.0..=1_000_000.0).contains(share));
    let share = share.filter(|share| (share - share.round()).abs() < 1e-6).ok_or_else(rule)?;
    WeightPpm::new(share.round() as u32).map_err(|_| rule())
}

/// Asks the engine; while nothing can be stored, only for what reduces traffic.
pub(super) async fn ask(api: &Api, id: CanaryId, verb: Verb) -> Result<Json<Value>, HttpError> {
    if let Some(error) = api.handle.stored().failing
        && !matches!(verb, Verb::Abort { .. })
    {
        // If it were queued, it would be carried out some time later, when it is not expected any more.
        return Err(HttpError::unavailable(format!("{}; until then only abort is carried out", unwritable(&error))));
    }
    follow_manifests(api, &id, &verb).await?;
    let problem = api.manifests.stale(&id);
    let (name, begins) = (verb.name(), matches!(verb, Verb::Release { .. } | Verb::Retry { .. }));
    match api.handle.ask(id, verb).await? {
        Ok(carried) => Ok(Json(done_json(carried, begins))),
        Err(NotCarried::Refused(refused @ Refused::Unknown(_))) if let Some(problem) = problem => {
            Err(HttpError::not_found(format!("{refused}; its manifest may be the one with a mistake: {problem}")))
        }
        Err(NotCarried::Refused(refused)) => {
            Err(api.handle.read(move |controller, _| refusal(controller, &refused)).await?)
        }
        Err(NotCarried::Unstored(why)) => {
            let error = format!("cannot {name}: {}; it is not carried out: ask again then", unwritable(&why));
            Err(HttpError::unavailable(error))
        }
        Err(NotCarried::Overtaken) => {
            let error = format!("cannot {name}: an abort came before it was stored; it is not carried out: ask again");
            Err(HttpError::unavailable(error))
        }
    }
}

/// What an abort means that is not stored. Before the first traffic no proxy knows of it.
fn unstored_abort(has_left: bool, why: &str) -> String {
    let (what, after) = if has_left {
        ("is in force", "knows of it only from the proxies")
    } else {
        ("ends a release without traffic", "goes on with the release: abort it again then")
    };
    format!(
        "the abort {what} but is not stored: {}. It is stored by itself then; an agent that is started again before that \
         {after}",
        unwritable(why)
    )
}

fn done_json(Carried { done, unstored }: Carried, begins: bool) -> Value {
    let mut json = json!({ "release": done.release.0, "phase": done.phase, "stored": unstored.is_none() });
    if let Value::Object(fields) = &mut json {
        if begins {
            fields.insert("manifest".into(), done.manifest.into());
        }
        if let Some(why) = unstored {
            fields.insert("warning".into(), unstored_abort(done.has_left, &why).into());
        }
    }
    json
}

/// How long a verb waits to hear what the manifests say now.
fn patience(verb: &Verb) -> Duration {
    match verb {
        // What takes traffic from a version, or stops it from getting more, waits for no disk; which of the two a weight
        // does, only the person knows: after a bad promotion it is the greater one that helps.
        Verb::Abort { .. } | Verb::Pause { .. } | Verb::CloseGate { .. } | Verb::SetWeight { .. } => Duration::ZERO,
        // A release that runs follows the plan that it began with. What the directory can still say, that it is suspended
        // or gone, is a second old at most.
        Verb::Promote { .. }
        | Verb::Confirm { .. }
        | Verb::ForceConfirm { .. }
        | Verb::Resume { .. }
        | Verb::Skip { .. } => Duration::from_secs(1),
        Verb::Release { .. } | Verb::Retry { .. } | Verb::OpenGate { .. } | Verb::Forget { .. } => {
            Duration::from_secs(5)
        }
    }
}

/// Has the directory of manifests read for a verb, for as long as that may wait; whether it was.
async fn read_for(manifests: &Manifests, verb: &Verb) -> bool {
    let patience = patience(verb);
    !patience.is_zero() && manifests.refresh(patience).await
}

/// Has the directory of manifests read before anything that depends on one, so that no verb follows yesterday's plan. What
/// begins a release is refused while its manifest cannot be followed.
async fn follow_manifests(api: &Api, id: &CanaryId, verb: &Verb) -> Result<(), HttpError> {
    let is_read = read_for(&api.manifests, verb).await;
    if matches!(verb, Verb::Forget { .. }) {
        // A file that was just removed is gone a moment later; if it is not, the engine says what is in the way.
        api.manifests.settle(id).await;
        return Ok(());
    }
    if !matches!(verb, Verb::Release { .. } | Verb::Retry { .. }) {
        return Ok(());
    }
    let name = verb.name();
    if !is_read {
        let error =
            format!("cannot {name}: the directory of manifests (--canaries) could not be read in time; try again");
        return Err(HttpError::unavailable(error));
    }
    if api.manifests.is_missing(id) {
        return Err(HttpError::conflict(format!(
            "cannot {name}: the manifest of {id} was there a moment ago and is missing from the directory (--canaries); put \
             it back first"
        )));
    }
    let asked = id.clone();
    let is_known = api.handle.read(move |controller, _| controller.known(&asked).is_ok()).await?;
    match api.manifests.stale(id).filter(|_| is_known) {
        Some(problem) => Err(HttpError::conflict(format!(
            "cannot {name}: the manifest of {id} has a mistake, and the plan in force is an earlier one; correct it first: \
             {problem}"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rollout::base::names::Actor;
    use rollout::routing::table::WeightPpm;
    use tokio::time::Instant;

    use super::*;

    /// A directory that hangs: nobody ever answers.
    #[tokio::test(start_paused = true)]
    async fn what_reduces_risk_waits_for_no_directory() {
        let (manifests, _asked) = Manifests::unread();
        let (actor, reason) = (|| Actor::parse("ann").unwrap(), String::new);
        let verbs = [
            (Verb::Abort { actor: actor(), reason: reason() }, 0),
            (Verb::Pause { actor: actor(), reason: reason() }, 0),
            (Verb::SetWeight { weight: WeightPpm::ZERO, actor: actor(), reason: reason() }, 0),
            (Verb::SetWeight { weight: WeightPpm::WHOLE, actor: actor(), reason: reason() }, 0),
            (Verb::Promote { actor: actor(), reason: reason() }, 1),
            (Verb::Confirm { actor: actor(), reason: reason() }, 1),
            (Verb::Resume { actor: actor(), reason: reason() }, 1),
            (Verb::Skip { actor: actor(), reason: reason() }, 1),
            (Verb::Retry { actor: actor(), reason: reason() }, 5),
        ];
        for (verb, waits_s) in verbs {
            let asked_at = Instant::now();
            assert!(!read_for(&manifests, &verb).await, "{verb:?}");
            assert_eq!(asked_at.elapsed().as_secs(), waits_s, "{verb:?}");
        }
    }
}
