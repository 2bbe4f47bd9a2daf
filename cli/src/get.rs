//! `serin get` and `serin proxies`: what is, once or live.

use std::time::Duration;

use rollout::base::names::CanaryId;
use rollout::view::status::{CanaryStatus, WorkerStatus};
use tokio::time::sleep;

use crate::args::{CanaryArgs, Format, GetArgs, ProxiesArgs};
use crate::client::{Body, Client, Items, Listing, Watch};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::{output, table, target, text};

/// How often a list is asked for while it is watched; one canary is pushed instead.
const POLL: Duration = Duration::from_secs(1);

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
    let list = fetch(&client, &subject, args.output).await?;
    if list.items.is_empty() {
        output::remark(&nothing(&client, &subject).await?);
    }
    output::print(&printer.once(&list, matches!(subject, Subject::One(_)) && list.items.len() == 1)?)
}

/// Why a list is empty: there are none, or none of those that were asked for.
async fn nothing(client: &Client, subject: &Subject) -> Result<String, Failure> {
    let all: Listing = client.canaries().await?.shown()?;
    let count = all.items.len();
    Ok(match subject {
        _ if count == 0 => "no canaries here: put a Canary manifest into the agent's --canaries directory".into(),
        Subject::Some { namespace: Some(namespace), .. } => {
            format!("no canaries in namespace {}; `serin get -A` shows {count}", text::quoted(namespace))
        }
        Subject::Some { name: Some(name), .. } => {
            format!("no canary is named {}; `serin get -A` shows {count}", text::quoted(name))
        }
        Subject::One(_) | Subject::Some { .. } => format!("`serin get -A` shows {count}"),
    })
}

/// `serin proxies`.
pub(crate) async fn proxies(args: ProxiesArgs) -> Result<(), Failure> {
    let client = Client::new(&args.agent)?;
    let body = client.workers().await?;
    if args.output.is_json() {
        return output::print(&output::json(&body.exact::<serde_json::Value>()?, true)?);
    }
    let workers: Items<WorkerStatus> = body.shown()?;
    if workers.items.is_empty() {
        output::remark(
            "no proxy has connected: its filter's configuration must name this agent's gRPC address (`agent: HOST:PORT`)",
        );
        return Ok(());
    }
    output::print(&table::workers(&workers.items, output::width()))
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

async fn fetch(client: &Client, subject: &Subject, format: Format) -> Result<Listing, Failure> {
    match subject {
        Subject::One(id) => {
            let found = client.canary(id).await;
            if matches!(found, Err(Failure::NotFound(_))) {
                let mut list: Listing = decode(client.canaries().await?, format)?;
                let is_version = |canary: &CanaryStatus| {
                    canary.namespace == id.namespace() && canary.service.as_deref() == Some(id.name())
                };
                list.items.retain(is_version);
                if !list.items.is_empty() {
                    return Ok(list);
                }
            }
            let body = target::explain(client, id, found).await?;
            Ok(Listing { items: vec![decode(body, format)?], problems: Vec::new() })
        }
        Subject::Some { namespace, name } => {
            let mut list: Listing = decode(client.canaries().await?, format)?;
            let is_asked = |canary: &CanaryStatus| {
                namespace.as_ref().is_none_or(|n| *n == canary.namespace)
                    && name.as_ref().is_none_or(|n| *n == canary.name)
            };
            list.items.retain(is_asked);
            Ok(list)
        }
    }
}

/// Programs get what the agent said, people what a terminal can bear. YAML is read by both, and cannot escape all.
fn decode<T: serde::de::DeserializeOwned>(body: Body, format: Format) -> Result<T, Failure> {
    match format {
        Format::Json => body.exact(),
        Format::Yaml | Format::Table | Format::Wide | Format::Name => body.shown(),
    }
}

/// Shows every change until interrupted. An agent that goes away is waited for.
async fn watch(client: &Client, subject: &Subject, mut printer: Printer) -> Result<(), Failure> {
    loop {
        let failure = match subject {
            Subject::One(id) => follow(client, id, &mut printer).await,
            Subject::Some { .. } => poll(client, subject, &mut printer).await,
        };
        match failure {
            Err(failure) if failure.is_transient() && printer.has_shown() => printer.lose(&failure)?,
            Err(failure) => return Err(failure),
            Ok(()) => {}
        }
        sleep(POLL).await;
    }
}

async fn follow(client: &Client, id: &CanaryId, printer: &mut Printer) -> Result<(), Failure> {
    let opened = client.watch(id).await;
    let mut watch: Watch = target::explain(client, id, opened).await?;
    while let Some(frame) = watch.next().await? {
        if frame.event == "status" {
            let status = decode(watch.body(&frame)?, printer.format())?;
            printer.show(&Listing { items: vec![status], problems: Vec::new() })?;
        }
    }
    Ok(())
}

async fn poll(client: &Client, subject: &Subject, printer: &mut Printer) -> Result<(), Failure> {
    let list = fetch(client, subject, printer.format()).await?;
    printer.show(&list)
}
