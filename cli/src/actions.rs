//! What a person asks of a canary, and who that person is: abort, promote, confirm, pause, resume,
//! retry, skip, set-weight, forget.

use clap::Args;
use rollout::base::names::{CanaryId, MAX_NAME_BYTES, Revision};
use serde_json::{Value, json};

use crate::args::{ReasonArgs, variable};
use crate::client::{Client, Done};
use crate::failure::Failure;
use crate::{output, target, text};

/// A verb: its name in the API, and what to tell of it.
type Verb = (&'static str, &'static str);

pub(crate) const ABORT: Verb = ("abort", "all traffic goes to the primary; `serin describe` shows what happened");
pub(crate) const PROMOTE: Verb =
    ("promote", "`serin get` shows whether it waits for something (`serin confirm` ends a wait for a person)");
const CONFIRM: Verb = ("confirm", "traffic returns to the primary");
pub(crate) const PAUSE: Verb = ("pause", "it keeps its weight and is still judged; `serin resume` goes on");
pub(crate) const RESUME: Verb = ("resume", "`serin get -w` follows it");
pub(crate) const RETRY: Verb = ("retry", "the same revision once more, from the first step; `serin get -w` follows it");
pub(crate) const SKIP: Verb = ("skip", "skipped to the next step; `serin get -w` follows it");

pub(crate) const FORGET: Verb = ("forget", "forgotten: its requests take the proxies' default routes");

/// Asks for a verb that takes a reason.
pub(crate) async fn run((verb, next): Verb, args: ReasonArgs) -> Result<(), Failure> {
    ask(&args, &[verb], &[]).await?.tell(next)
}

/// `serin confirm`.
#[derive(Args, Debug)]
pub(crate) struct ConfirmArgs {
    #[command(flatten)]
    pub(crate) reason: ReasonArgs,
    /// Send users to the primary although it fails; takes a --reason
    #[arg(long)]
    pub(crate) force: bool,
}

/// `serin confirm`.
pub(crate) async fn confirm(args: ConfirmArgs) -> Result<(), Failure> {
    let (verb, next) = CONFIRM;
    let more: &[(&str, Value)] = if args.force { &[("force", Value::Bool(true))] } else { &[] };
    ask(&args.reason, &[verb], more).await?.tell(next)
}

/// `serin set-weight`.
#[derive(Args, Debug)]
pub(crate) struct WeightArgs {
    #[command(flatten)]
    pub(crate) reason: ReasonArgs,
    /// The canary's share in percent, 0 to 100; four decimals count
    #[arg(long, value_name = "PERCENT", value_parser = share, allow_negative_numbers = true)]
    pub(crate) weight: f64,
}

/// `serin set-weight`.
pub(crate) async fn set_weight(args: WeightArgs) -> Result<(), Failure> {
    let said = ask(&args.reason, &["set-weight"], &[("weightPercent", args.weight.into())]).await?;
    said.tell("it stays at that weight, judged; `serin resume` goes on to the first step above it")
}

/// Who asks: what was given, what SERIN_ACTOR says, or user@host.
///
/// # Errors
/// When a given name is none that the history can hold.
pub(crate) fn actor(given: Option<&str>) -> Result<String, Failure> {
    let (given, source) = match (given, variable("SERIN_ACTOR")) {
        (Some(given), _) => (given.to_owned(), "--as "),
        (None, Some(set)) => (set, "SERIN_ACTOR="),
        (None, None) => return Ok(from_environment()),
    };
    match Revision::parse(&given) {
        Ok(actor) => Ok(actor.to_string()),
        Err(error) => Err(Failure::Usage(format!("{source}{given:?}: the name {error}"))),
    }
}

/// Tells how a request ended.
pub(crate) struct Said {
    /// About which canary.
    pub(crate) id: CanaryId,
    /// The answer.
    pub(crate) done: Done,
    is_json: bool,
}

impl Said {
    pub(crate) fn tell(&self, next: &str) -> Result<(), Failure> {
        let Self { id, done, is_json } = self;
        if *is_json {
            let (release, phase, is_stored) = (done.release, &done.phase, done.warning.is_none());
            let mut said = json!({"canary": id.as_str(), "release": release, "phase": phase, "stored": is_stored});
            if let Value::Object(said) = &mut said {
                let more = [("manifest", &done.manifest), ("warning", &done.warning)];
                said.extend(more.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.as_deref()?.into()))));
            }
            return output::print(&output::json(&said, true)?);
        }
        output::print(&format!("{id}: release {} is {}; {next}\n", done.release, done.phase))?;
        if let Some(warning) = &done.warning {
            output::remark(&format!("warning: {}", text::clean(warning)));
        }
        Ok(())
    }
}

/// Asks something of a canary, with who and why.
pub(crate) async fn ask(args: &ReasonArgs, what: &[&str], more: &[(&str, Value)]) -> Result<Said, Failure> {
    let ReasonArgs { verb: args, reason } = args;
    let mut body = json!({"actor": actor(args.actor.as_deref())?, "reason": reason});
    if let Value::Object(fields) = &mut body {
        fields.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    }
    let client = Client::new(&args.agent)?;
    let id = target::resolve(&client, &args.canary).await?;
    let asked = client.ask(&id, what, &body).await;
    let done = target::explain(&client, &id, asked).await?;
    Ok(Said { id, done, is_json: args.output.is_json() })
}

/// A share of the traffic; with `%` or without, as elsewhere.
fn share(given: &str) -> Result<f64, String> {
    const RULE: &str = "write a share in percent from 0 to 100 with at most four decimals, such as 2.5";
    let number = given.strip_suffix('%').unwrap_or(given).trim();
    let percent: f64 = number.parse().map_err(|_| RULE.to_owned())?;
    let parts = percent * 10_000.0;
    let is_share = (0.0..=100.0).contains(&percent) && (parts - parts.round()).abs() < 1e-6;
    if is_share { Ok(percent) } else { Err(RULE.into()) }
}

fn from_environment() -> String {
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".into());
    let host = gethostname::gethostname();
    sanitised(&format!("{user}@{}", host.to_string_lossy()))
}

/// A name that the history takes: what it does not allow becomes `_`.
fn sanitised(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    name.chars().map(allowed).take(MAX_NAME_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_always_one_that_the_history_takes() {
        assert_eq!(actor(Some("ci-bot/42@runner")).unwrap(), "ci-bot/42@runner");
        for wrong in ["", "two words", "a\nb", "ü"] {
            assert!(matches!(actor(Some(wrong)), Err(Failure::Usage(_))), "{wrong:?}");
        }
        assert_eq!(
            [share("0"), share("2.5%"), share("33.3333"), share("100")],
            [Ok(0.0), Ok(2.5), Ok(33.3333), Ok(100.0)]
        );
        assert!(["-1", "101", "NaN", "half", "2.55555"].iter().all(|wrong| share(wrong).is_err()));
        assert_eq!(sanitised("jörg k\u{1b}@höst"), "j_rg_k_@h_st");
        assert_eq!(sanitised(&"x".repeat(999)).len(), MAX_NAME_BYTES);
        assert!(Revision::parse(&from_environment()).is_ok());
    }
}
