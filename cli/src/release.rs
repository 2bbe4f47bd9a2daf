//! `serin release`: begins one, and with `--wait` follows it to its end, for people and pipelines.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use rollout::base::names::{CanaryId, Revision};
use rollout::view::status::CanaryStatus;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::args::ReleaseArgs;
use crate::client::{Client, Items};
use crate::failure::{self, Failure};
use crate::text::{self, percent, span};
use crate::wait::{End, Event, Story};
use crate::{actions, output, target};

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
    output::print(&format!("{id}: release {} of {revision} is {}\n", done.release, done.phase))?;
    if !args.wait {
        output::remark(&format!("`serin get {id} -w` follows it; `serin abort {id} --reason TEXT` cuts it at once"));
        return Ok(failure::OK);
    }
    let mut waiter = Waiter::new(client, id, done.release);
    let end = timeout(args.timeout, waiter.wait()).await;
    waiter.line.clear();
    match end {
        Ok(end) => tell(&waiter.id, end?),
        Err(_) => {
            let last = waiter.last.as_ref().map_or("nothing was heard of it", |status| &status.message);
            let id = &waiter.id;
            output::print(&format!(
                "{id}: not ended after {}: {last}\nthe release goes on; `serin get {id} -w` follows it\n",
                span(args.timeout)
            ))?;
            Ok(failure::HELD)
        }
    }
}

fn tell(id: &CanaryId, end: End) -> Result<u8, Failure> {
    let (word, why, next, code) = match end {
        End::Promoted(why) => ("promoted", why, None, failure::OK),
        End::Aborted(why) => ("aborted", why, None, failure::REFUSED),
        End::Held { why, next } => ("held", why, Some(next), failure::HELD),
    };
    output::print(&format!("{id}: {word}: {why}\n"))?;
    if let Some(next) = next {
        output::remark(&format!("  next: {next}; the same command goes on waiting"));
    }
    if code != failure::OK {
        output::remark(&format!("`serin describe {id}` tells the whole story"));
    }
    Ok(code)
}

/// Follows one release through whatever the agent and the network do.
struct Waiter {
    client: Client,
    id: CanaryId,
    story: Story,
    began: Instant,
    said: Instant,
    last: Option<CanaryStatus>,
    line: LiveLine,
}

impl Waiter {
    fn new(client: Client, id: CanaryId, release: u64) -> Self {
        let began = Instant::now();
        let line = LiveLine { on: std::io::stderr().is_terminal(), shown: false };
        Self { client, id, story: Story::new(release), began, said: began, last: None, line }
    }

    async fn wait(&mut self) -> Result<End, Failure> {
        let mut outage = false;
        loop {
            match self.follow(&mut outage).await {
                Ok(Some(end)) => return Ok(end),
                Ok(None) => {}
                Err(Failure::NotFound(_)) => {
                    return Ok(End::Aborted("the canary is gone: its manifest was removed".into()));
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
    async fn follow(&mut self, outage: &mut bool) -> Result<Option<End>, Failure> {
        let mut watch = self.client.watch(&self.id).await?;
        let past: Items<Event> = self.client.events(&self.id).await?.shown()?;
        *outage = false;
        for event in &past.items {
            self.hear(event)?;
        }
        while let Some(frame) = watch.next().await? {
            match frame.event.as_str() {
                "event" => self.hear(&watch.body(&frame)?.shown()?)?,
                "status" => {
                    let status: CanaryStatus = watch.body(&frame)?.shown()?;
                    if let Some(end) = self.story.see(&status) {
                        return Ok(Some(end));
                    }
                    self.pass(status)?;
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn hear(&mut self, event: &Event) -> Result<(), Failure> {
        if self.story.hear(event) {
            self.say(&event.message)?;
        }
        Ok(())
    }

    /// Time goes by: a live line on a terminal, else a line now and then.
    fn pass(&mut self, status: CanaryStatus) -> Result<(), Failure> {
        let line = progress(&status);
        self.last = Some(status);
        if self.line.on {
            self.line.show(&line);
        } else if self.said.elapsed() >= HEARTBEAT {
            self.say(&line)?;
        }
        Ok(())
    }

    fn say(&mut self, what: &str) -> Result<(), Failure> {
        self.line.clear();
        self.said = Instant::now();
        output::print(&format!("{:>7}  {what}\n", span(self.began.elapsed())))
    }
}

fn progress(status: &CanaryStatus) -> String {
    let mut parts =
        vec![format!("{}: {}", status.phase, status.message), format!("weight {}", percent(status.weight_percent))];
    parts.extend(status.observed_percent.map(|seen| format!("observed {}", percent(seen))));
    let next = status.next_check_ms.map(|ms| span(Duration::from_millis(ms)));
    parts.extend(next.map(|next| format!("next check in {next}")));
    parts.join(", ")
}

/// The last line of a terminal, written over again and again.
struct LiveLine {
    on: bool,
    shown: bool,
}

impl LiveLine {
    /// Widest line that fits an ordinary terminal; a wrapped line could not be taken back.
    const MAX_CHARS: usize = 79;

    fn show(&mut self, text: &str) {
        let cut: String = text.chars().take(Self::MAX_CHARS).collect();
        let _ = write!(std::io::stderr(), "\r\x1b[K{cut}");
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
