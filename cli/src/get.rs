//! `serin get` and `serin proxies`: what is, once or live.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use rollout::names::CanaryId;
use rollout::status::{CanaryStatus, WorkerStatus};
use tokio::time::sleep;

use crate::args::{CanaryArgs, Format, GetArgs, ProxiesArgs};
use crate::client::{Body, Client, Items, Watch};
use crate::failure::Failure;
use crate::{output, table, target};

/// How often a list is asked for while it is watched; one canary is pushed instead.
const POLL: Duration = Duration::from_secs(1);
/// Clears the screen and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// What `get` was asked to show.
enum Subject {
    One(CanaryId),
    Some { namespace: Option<String>, name: Option<String> },
}

/// `serin get`.
pub(crate) async fn get(args: GetArgs) -> Result<(), Failure> {
    let client = Client::new(&args.agent)?;
    let subject = subject(&client, &args).await?;
    let printer = Printer::new(args.output, args.watch);
    if args.watch {
        return watch(&client, &subject, printer).await;
    }
    let items = fetch(&client, &subject, args.output).await?;
    if items.is_empty() {
        output::remark("no canaries here: put a Canary manifest into the agent's --canaries directory");
    }
    output::print(&printer.once(&subject, &items)?)
}

/// `serin proxies`.
pub(crate) async fn proxies(args: ProxiesArgs) -> Result<(), Failure> {
    let client = Client::new(&args.agent)?;
    let workers: Items<WorkerStatus> = client.workers().await?.shown()?;
    if workers.items.is_empty() {
        output::remark(
            "no proxy has connected: its filter's configuration must name this agent's gRPC address (`agent: HOST:PORT`)",
        );
        return Ok(());
    }
    output::print(&table::workers(&workers.items))
}

async fn subject(client: &Client, args: &GetArgs) -> Result<Subject, Failure> {
    let Some(canary) = args.canary.clone() else {
        let namespace = args.namespace.clone();
        return Ok(Subject::Some { namespace, name: None });
    };
    if args.all_namespaces {
        return Ok(Subject::Some { namespace: None, name: Some(canary) });
    }
    let namespace = args.namespace.clone();
    let one = target::resolve(client, &CanaryArgs { canary, namespace }).await?;
    Ok(Subject::One(one))
}

async fn fetch(client: &Client, subject: &Subject, format: Format) -> Result<Vec<CanaryStatus>, Failure> {
    match subject {
        Subject::One(id) => {
            let found = client.canary(id).await;
            let body = target::explain(client, id, found).await?;
            Ok(vec![decode(body, format)?])
        }
        Subject::Some { namespace, name } => {
            let list: Items<CanaryStatus> = decode(client.canaries().await?, format)?;
            let is_asked = |canary: &CanaryStatus| {
                namespace.as_ref().is_none_or(|n| *n == canary.namespace)
                    && name.as_ref().is_none_or(|n| *n == canary.name)
            };
            Ok(list.items.into_iter().filter(is_asked).collect())
        }
    }
}

/// Programs get what the agent said, people what a terminal can bear.
fn decode<T: serde::de::DeserializeOwned>(body: Body, format: Format) -> Result<T, Failure> {
    match format {
        Format::Json | Format::Yaml => body.exact(),
        Format::Table | Format::Wide | Format::Name => body.shown(),
    }
}

/// Shows every change until interrupted. An agent that goes away is waited for.
async fn watch(client: &Client, subject: &Subject, mut printer: Printer) -> Result<(), Failure> {
    let mut outage = false;
    loop {
        let failure = match subject {
            Subject::One(id) => follow(client, id, &mut printer, &mut outage).await,
            Subject::Some { .. } => poll(client, subject, &mut printer, &mut outage).await,
        };
        match failure {
            Err(failure) if failure.is_transient() && printer.has_shown => {
                if !outage {
                    output::remark(&format!("{failure}; trying again"));
                }
                outage = true;
            }
            Err(failure) => return Err(failure),
            Ok(()) => {}
        }
        sleep(POLL).await;
    }
}

async fn follow(client: &Client, id: &CanaryId, printer: &mut Printer, outage: &mut bool) -> Result<(), Failure> {
    let opened = client.watch(id).await;
    let mut watch: Watch = target::explain(client, id, opened).await?;
    while let Some(frame) = watch.next().await? {
        *outage = false;
        if frame.event == "status" {
            let status = decode(watch.body(&frame)?, printer.format)?;
            printer.show(&[status])?;
        }
    }
    Ok(())
}

async fn poll(client: &Client, subject: &Subject, printer: &mut Printer, outage: &mut bool) -> Result<(), Failure> {
    let items = fetch(client, subject, printer.format).await?;
    *outage = false;
    printer.show(&items)
}

/// Prints what changed: a table in place on a terminal, else a row or document for each canary that is not as it was.
struct Printer {
    format: Format,
    in_place: bool,
    has_shown: bool,
    last: BTreeMap<String, CanaryStatus>,
}

impl Printer {
    fn new(format: Format, watch: bool) -> Self {
        let is_table = matches!(format, Format::Table | Format::Wide);
        Self {
            format,
            in_place: watch && is_table && std::io::stdout().is_terminal(),
            has_shown: false,
            last: BTreeMap::new(),
        }
    }

    fn once(&self, subject: &Subject, items: &[CanaryStatus]) -> Result<String, Failure> {
        let one = match subject {
            Subject::One(_) => items.first(),
            Subject::Some { .. } => None,
        };
        match (self.format, one) {
            (Format::Json, Some(one)) => output::json(one, true),
            (Format::Yaml, Some(one)) => output::yaml(one),
            (Format::Json, None) => output::json(&Items { items: items.to_vec() }, true),
            (Format::Yaml, None) => output::yaml(&Items { items: items.to_vec() }),
            (Format::Name, _) => Ok(items.iter().map(name).collect()),
            (Format::Table | Format::Wide, _) if items.is_empty() => Ok(String::new()),
            (Format::Table | Format::Wide, _) => Ok(self.table(items)),
        }
    }

    fn show(&mut self, items: &[CanaryStatus]) -> Result<(), Failure> {
        let changed: Vec<CanaryStatus> = items
            .iter()
            .filter(|canary| self.last.get(&name(canary)).is_none_or(|last| is_news(last, canary)))
            .cloned()
            .collect();
        let gone = self.last.len() > items.len();
        if changed.is_empty() && !gone && self.has_shown {
            return Ok(());
        }
        let text = match self.format {
            Format::Table | Format::Wide if self.in_place => {
                // Standard output strips the sequence when colour is off; then rows are appended.
                format!("{CLEAR}{}", self.table(items))
            }
            Format::Table | Format::Wide => self.rows(&changed),
            Format::Json => changed.iter().map(|one| output::json(one, false)).collect::<Result<_, _>>()?,
            Format::Yaml => {
                let documents = changed.iter().map(|one| Ok(format!("---\n{}", output::yaml(one)?)));
                documents.collect::<Result<_, Failure>>()?
            }
            Format::Name => changed.iter().map(name).collect(),
        };
        output::print(&text)?;
        self.has_shown = true;
        self.last = items.iter().map(|canary| (name(canary), canary.clone())).collect();
        Ok(())
    }

    fn table(&self, items: &[CanaryStatus]) -> String {
        table::canaries(items, self.format == Format::Wide) + &table::notes(items)
    }

    /// Rows with a heading the first time only.
    fn rows(&self, changed: &[CanaryStatus]) -> String {
        let text = table::canaries(changed, self.format == Format::Wide);
        let skipped = usize::from(self.has_shown);
        text.lines().skip(skipped).map(|line| format!("{line}\n")).collect()
    }
}

fn name(canary: &CanaryStatus) -> String {
    format!("{}/{}\n", canary.namespace, canary.name)
}

/// A countdown alone is no news.
fn is_news(last: &CanaryStatus, now: &CanaryStatus) -> bool {
    let mut last = last.clone();
    last.next_check_ms = now.next_check_ms;
    last != *now
}
