//! `serin release`: begins one, and with `--wait` follows it to its end, for people and pipelines.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use rollout::base::names::{CanaryId, Revision};
use rollout::view::status::{CanaryStatus, is_over};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::args::ReleaseArgs;
use crate::client::{Client, Done, Items};
use crate::failure::{self, Failure};
use crate::text::{self, percent, span};
use crate::wait::{Event, FollowedRelease, WaitEnd};
use crate::{actions, canary_table, columns, output, target};

/// Pause before an agent that went away is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Longest silence where no terminal shows a live line; many build servers end jobs that say nothing.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// `serin release`; the exit code.
pub(crate) async fn run(args: ReleaseArgs) -> Result<u8, Failure> {
    let revision = Revision::parse(&args.revision).map_err(|error| {
        let given = text::quoted(&args.revision);
        Failure::Usage(format!("--revision {given}: the revision {error}"))
    })?;
    let actor = actions::actor(args.by.verb.actor.as_deref())?;
    let client = Client::new(&args.by.verb.agent)?;
    let id = target::resolve(&client, &args.by.verb.canary).await?;
    let body = json!({
        "revision": revision.as_str(), "actor": actor, "reason": args.by.reason, "acceptUnsupported": args.accept_unsupported,
    });
    let asked = client.ask(&id, &["releases"], &body).await;
    let done = target::explain(&client, &id, asked).await?;
    let status: CanaryStatus = client.canary(&id).await?.shown()?;
    let report = Report { id, revision, done, is_json: args.by.verb.output.is_json() };
    if report.is_promoted(&status) {
        return report.promoted_already(&status);
    }
    if !args.wait {
        return report.begun();
    }
    if !report.is_json {
        report.print_phase()?;
    }
    let mut waiter = Waiter::new(client, &report, status.started_at_ms);
    let end = timeout(args.timeout, waiter.wait()).await;
    waiter.line.clear();
    let last = waiter.last.take();
    match end {
        Ok(end) => report.ended(end?),
        Err(_) => report.timed_out(args.timeout, last.as_ref()),
    }
}

/// What is said of a release, to people or programs.
struct Report {
    id: CanaryId,
    revision: Revision,
    done: Done,
    is_json: bool,
}

impl Report {
    /// Whether the primary runs the revision already, so that nothing began.
    fn is_promoted(&self, status: &CanaryStatus) -> bool {
        is_over(&status.phase) && status.promoted_revision.as_deref() == Some(self.revision.as_str())
    }

    fn promoted_already(&self, status: &CanaryStatus) -> Result<u8, Failure> {
        let revision = &self.revision;
        // Asked for during another release it takes that one back.
        let other = match (&status.revision, status.phase.as_str()) {
            (Some(other), "Failed") if other != revision.as_str() => format!("; {}", status.message),
            _ => String::new(),
        };
        self.say("promotedAlready", &format!("{revision} is promoted already{other}"))?;
        Ok(failure::OK)
    }

    fn begun(&self) -> Result<u8, Failure> {
        let Self { id, revision, done, .. } = self;
        if self.is_json {
            let said = json!({
                "canary": id.as_str(), "release": done.release, "revision": revision.as_str(), "phase": done.phase,
            });
            output::print(&output::json(&said, true)?)?;
            return Ok(failure::OK);
        }
        self.print_phase()?;
        output::remark(&format!("`serin get {id} -w` follows it; `serin abort {id} --reason TEXT` aborts it at once"));
        Ok(failure::OK)
    }

    fn print_phase(&self) -> Result<(), Failure> {
        let Self { id, revision, done, .. } = self;
        output::print(&format!("{id}: release {} of {revision} is {}\n", done.release, done.phase))
    }

    fn timed_out(&self, after: Duration, last: Option<&CanaryStatus>) -> Result<u8, Failure> {
        let last = last.map_or("the agent has sent no status", |status| &status.message);
        let id = &self.id;
        if self.is_json {
            self.say("timedOut", last)?;
            return Ok(failure::HELD);
        }
        output::print(&format!(
            "{id}: not ended after {}: {last}\nthe release goes on; `serin get {id} -w` follows it\n",
            span(after)
        ))?;
        Ok(failure::HELD)
    }

    fn ended(&self, end: WaitEnd) -> Result<u8, Failure> {
        let (word, why, next, code) = match end {
            WaitEnd::Promoted(why) => ("promoted", why, None, failure::OK),
            WaitEnd::Aborted(why) => ("aborted", why, None, failure::REFUSED),
            WaitEnd::Held { why, next } => ("held", why, Some(next), failure::HELD),
        };
        let id = &self.id;
        if self.is_json {
            self.say(word, &next.map_or_else(|| why.clone(), |next| format!("{why}; next: {next}")))?;
            return Ok(code);
        }
        output::print(&format!("{id}: {word}: {why}\n"))?;
        if let Some(next) = next {
            output::remark(&format!("  next: {next}; the same command goes on waiting"));
        }
        if code != failure::OK {
            output::remark(&format!("`serin describe {id}` shows what happened"));
        }
        Ok(code)
    }

    /// How it ended, in one line or document.
    fn say(&self, outcome: &str, message: &str) -> Result<(), Failure> {
        let Self { id, revision, done, is_json } = self;
        if *is_json {
            let said = json!({
                "canary": id.as_str(), "release": done.release, "revision": revision.as_str(), "outcome": outcome,
                "message": message,
            });
            return output::print(&output::json(&said, true)?);
        }
        output::print(&format!("{id}: {message}\n"))
    }
}

/// Follows one release through whatever the agent and the network do.
struct Waiter {
    client: Client,
    id: CanaryId,
    followed: FollowedRelease,
    /// When the release began by the agent's clock, Unix time in milliseconds.
    began_at_ms: Option<u64>,
    said: Instant,
    has_workers: bool,
    /// Programs read the end alone.
    is_quiet: bool,
    last: Option<CanaryStatus>,
    line: LiveLine,
}

impl Waiter {
    fn new(client: Client, report: &Report, began_at_ms: Option<u64>) -> Self {
        let (id, followed) = (report.id.clone(), FollowedRelease::new(report.done.release));
        let is_quiet = report.is_json;
        let line = LiveLine { on: std::io::stderr().is_terminal() && !is_quiet, shown: false };
        let said = Instant::now();
        Self { client, id, followed, began_at_ms, said, has_workers: true, is_quiet, last: None, line }
    }

    async fn wait(&mut self) -> Result<WaitEnd, Failure> {
        let mut outage = false;
        loop {
            match self.follow(&mut outage).await {
                Ok(Some(end)) => return Ok(end),
                Ok(None) => {}
                Err(Failure::NotFound(_)) => {
                    return Ok(WaitEnd::Aborted("the canary is gone: its manifest was removed".into()));
                }
                Err(failure) if failure.is_transient() => {
                    if !outage {
                        self.line.clear();
                        output::remark(&format!("{failure}; trying again"));
                    }
                    outage = true;
                }
                Err(failure) => return Err(failure),
            }
            sleep(RETRY).await;
        }
    }

    /// One connection's worth. The watch is opened before the past is read, so nothing falls between the two.
    async fn follow(&mut self, outage: &mut bool) -> Result<Option<WaitEnd>, Failure> {
        let mut watch = self.client.watch(&self.id).await?;
        let past: Items<Event> = self.client.events(&self.id).await?.shown()?;
        *outage = false;
        for event in &past.items {
            self.take(event)?;
        }
        while let Some(frame) = watch.next().await? {
            match frame.event.as_str() {
                "event" => self.take(&watch.body(&frame)?.shown()?)?,
                "status" => {
                    let status: CanaryStatus = watch.body(&frame)?.shown()?;
                    if let Some(end) = self.followed.end(&status) {
                        return Ok(Some(end));
                    }
                    self.pass(status)?;
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn take(&mut self, event: &Event) -> Result<(), Failure> {
        if self.followed.take(event) {
            let began_at_ms = *self.began_at_ms.get_or_insert(event.at_ms);
            self.say(Duration::from_millis(event.at_ms.saturating_sub(began_at_ms)), &event.message)?;
        }
        Ok(())
    }

    /// Time goes by: a live line on a terminal, else a line now and then.
    fn pass(&mut self, status: CanaryStatus) -> Result<(), Failure> {
        let line = progress(&status);
        let ran = Duration::from_millis(status.ran_ms.unwrap_or_default());
        let had_workers = std::mem::replace(&mut self.has_workers, status.workers_live > 0);
        if had_workers && !self.has_workers {
            self.say(ran, "no worker is connected: no proxy routes by this release until one is (`serin proxies`)")?;
        }
        self.last = Some(status);
        if self.line.on {
            self.line.show(&line);
        } else if self.said.elapsed() >= HEARTBEAT {
            self.say(ran, &line)?;
        }
        Ok(())
    }

    /// A line with the time since the release began.
    fn say(&mut self, since: Duration, what: &str) -> Result<(), Failure> {
        self.line.clear();
        self.said = Instant::now();
        if self.is_quiet { Ok(()) } else { output::print(&format!("{:>7}  {what}\n", span(since))) }
    }
}

fn progress(status: &CanaryStatus) -> String {
    let mut parts =
        vec![format!("{}: {}", status.phase, status.message), format!("weight {}", percent(status.weight_percent))];
    parts.extend(status.observed_percent.map(|seen| format!("observed {}", percent(seen))));
    let next = status.next_check_ms.map(|ms| span(Duration::from_millis(ms)));
    parts.extend(next.map(|next| format!("next check in {next}")));
    parts.extend(status.step_remaining_ms.map(canary_table::remaining));
    parts.join(", ")
}

/// The last line of a terminal, written over again and again.
struct LiveLine {
    on: bool,
    shown: bool,
}

impl LiveLine {
    /// Where the terminal does not tell its width; a wrapped line could not be taken back.
    const DEFAULT_WIDTH: usize = 80;

    fn show(&mut self, text: &str) {
        let width = terminal_size::terminal_size_of(std::io::stderr());
        let width = width.map_or(Self::DEFAULT_WIDTH, |(width, _)| width.0.into());
        let short = columns::wrapped(text, width.saturating_sub(2)).into_iter().next().unwrap_or_default();
        let _ = write!(std::io::stderr(), "\r\x1b[K{short}");
        self.shown = true;
    }

    fn clear(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            self.shown = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_progress_line_says_where_it_stands_and_what_comes() {
        let mut status = fixture::canary("prod", "web", "Progressing");
        assert_eq!(progress(&status), "Progressing: step 2 of 5, weight 12.5%, observed 12.41%, next check in 4s");
        (status.observed_percent, status.next_check_ms) = (None, None);
        assert_eq!(progress(&status), "Progressing: step 2 of 5, weight 12.5%");
    }
}
