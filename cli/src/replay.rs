//! `serin replay`: where the record comes from and what it is judged by; what it says is in `replayed`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::Context;
use manifest::Document;
use rollout::base::names::CanaryId;
use rollout::record::replay::Replayed;
use rollout::release::plan::Plan;

use crate::args::{CanaryArgs, ReplayArgs};
use crate::client::{Client, Items, Recorded};
use crate::failure::Failure;
use crate::record::Reader;
use crate::{output, replayed, table, target, text, validate};

/// Bytes read of a file at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// `serin replay`.
pub(crate) async fn run(args: ReplayArgs) -> Result<(), Failure> {
    if let Some(path) = &args.record {
        // Which canary's settings are meant is known only to the record.
        let other = args.file.as_deref().map(|file| plan_of(file, None)).transpose()?;
        return print(&args, &from_file(path, other)?);
    }
    let client = Client::new(&args.agent)?;
    let (canary, namespace) = (args.canary.clone().unwrap_or_default(), args.namespace.clone());
    let id = target::resolve(&client, &CanaryArgs { canary, namespace }).await?;
    let listed = client.releases(&id).await;
    let listed = target::explain(&client, &id, listed).await?;
    if args.list {
        return list(&id, &args, listed);
    }
    let recorded: Items<Recorded> = listed.shown()?;
    let release = choose(&id, &recorded.items, args.release)?;
    let other = args.file.as_deref().map(|file| plan_of(file, Some(&id))).transpose()?;
    let mut reader = Reader::new(&format!("the record of release {release}"), other);
    let mut copy = args.save.as_deref().map(Copy::begin).transpose()?;
    client
        .record(&id, release, |bytes| {
            copy.iter_mut().try_for_each(|copy| copy.add(bytes))?;
            reader.push(bytes)
        })
        .await?;
    let replayed = reader.finish()?;
    copy.map(Copy::finish).transpose()?;
    print(&args, &replayed)
}

fn print(args: &ReplayArgs, replayed: &Replayed) -> Result<(), Failure> {
    if args.output.is_json() {
        return output::print(&output::json(replayed, true)?);
    }
    let name = args.file.as_deref().map(|file| file.file_name().unwrap_or(file.as_os_str()).to_string_lossy());
    let name = name.map(|name| text::clean(&name));
    output::print(&replayed::page(replayed, name.as_deref())?)
}

fn list(id: &CanaryId, args: &ReplayArgs, listed: crate::client::Body) -> Result<(), Failure> {
    if args.output.is_json() {
        let exact: serde_json::Value = listed.exact()?;
        return output::print(&output::json(&exact, true)?);
    }
    let recorded: Items<Recorded> = listed.shown()?;
    if recorded.items.is_empty() {
        output::remark(&none_of(id));
        return Ok(());
    }
    output::print(&table::releases(&recorded.items, text::now_ms(), output::width()))
}

fn choose(id: &CanaryId, recorded: &[Recorded], wanted: Option<u64>) -> Result<u64, Failure> {
    let Some(last) = recorded.last() else { return Err(Failure::NotFound(none_of(id))) };
    let Some(wanted) = wanted else { return Ok(last.release) };
    if recorded.iter().any(|item| item.release == wanted) {
        return Ok(wanted);
    }
    let known: Vec<String> = recorded.iter().map(|item| format!("{} ({})", item.release, item.revision)).collect();
    Err(Failure::NotFound(format!(
        "release {wanted} of canary {id} is not recorded; recorded are {}",
        known.join(", ")
    )))
}

fn none_of(id: &CanaryId) -> String {
    format!(
        "no release of canary {id} is recorded: there was none, or the agent has no room for records (--records-mib)"
    )
}

/// The settings of a manifest; in a file with several, those of this canary.
fn plan_of(file: &Path, id: Option<&CanaryId>) -> Result<Plan, Failure> {
    let loaded = validate::load(file)?;
    let shown = text::clean(&file.display().to_string());
    let plans: Vec<&Plan> = loaded.documents.iter().flat_map(Document::plans).collect();
    let own = plans.iter().find(|plan| Some(&plan.id) == id);
    match (own, plans.as_slice()) {
        (Some(plan), _) | (None, [plan]) => Ok((*plan).clone()),
        (None, []) => {
            Err(Failure::Refused(format!("{shown}: no Canary in it can be used; `serin validate {shown}` says why")))
        }
        (None, several) => {
            let ids: Vec<String> = several.iter().map(|plan| plan.id.to_string()).collect();
            Err(Failure::Refused(format!(
                "{shown} has several canaries and none is the recorded one: {}; give a file with one",
                ids.join(", ")
            )))
        }
    }
}

fn from_file(path: &Path, other: Option<Plan>) -> Result<Replayed, Failure> {
    let shown = path.display().to_string();
    let unreadable = || format!("cannot read {}", text::clean(&shown));
    let mut file = File::open(path).with_context(unreadable)?;
    let mut reader = Reader::new(&shown, other);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = file.read(&mut chunk).with_context(unreadable)?;
        if length == 0 {
            return reader.finish();
        }
        reader.push(chunk.get(..length).unwrap_or_default())?;
    }
}

/// A file that appears under its name only when it is whole.
struct Copy<'a> {
    path: &'a Path,
    file: tempfile::NamedTempFile,
}

impl<'a> Copy<'a> {
    fn begin(path: &'a Path) -> Result<Self, Failure> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(folder)
            .with_context(|| format!("cannot write into {}", folder.display()))?;
        Ok(Self { path, file })
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.path.display()))?)
    }

    fn finish(self) -> Result<(), Failure> {
        let path = self.path;
        self.file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }
}
