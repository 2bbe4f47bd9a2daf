//! The records' files: `NAMESPACE/NAME/RELEASE.jsonl.gz`, with a `RELEASE.json` beside each that says how far it counts.
//!
//! A file grows by whole gzip members, and is valid up to the length that its companion names: a power failure loses what
//! came after that, which the journal still has. All together stay within [`Limits`]: the oldest go first.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rollout::base::names::{CanaryId, Revision};
use rollout::base::time::Millis;
use rollout::record::{Added, Addition, Closing, FORMAT};
use rollout::release::phase::ReleaseId;
use serde::{Deserialize, Serialize};

use super::Record;

/// Bytes of JSON in one gzip member.
const MEMBER_BYTES: usize = 256 << 10;
/// What a record takes on disk besides its file: its companion.
const COMPANION_BYTES: u64 = 8 << 10;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes on disk of all records together.
    pub(crate) bytes: u64,
    /// Releases of one canary.
    pub(crate) per_canary: usize,
}

impl Limits {
    /// Whether nothing is kept.
    pub(crate) const fn is_none(self) -> bool {
        self.bytes == 0 || self.per_canary == 0
    }
}

/// One record, as its companion and the API tell it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Info {
    /// [`FORMAT`]: of this companion, and of the record beside it.
    pub(super) format: u32,
    /// Whose release.
    pub(crate) canary: CanaryId,
    /// Which.
    pub(crate) release: ReleaseId,
    /// What it brings.
    pub(crate) revision: Revision,
    /// When it began.
    pub(crate) began: Millis,
    /// When it ended.
    pub(crate) ended: Option<Millis>,
    /// How.
    pub(crate) closing: Option<Closing>,
    /// Lines in the file after the first.
    pub(crate) lines: u64,
    /// Bytes of the file that count.
    pub(crate) bytes: u64,
    /// Why it ends before the release does, if it does.
    pub(crate) truncated: Option<String>,
    /// The journal's number of its first event; with `began` it tells a release from one of another journal.
    pub(super) first: u64,
    /// Every event up to this number is in it.
    pub(super) through: u64,
}

/// All records.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    limits: Limits,
    records: BTreeMap<(CanaryId, ReleaseId), Held>,
}

#[derive(Debug)]
struct Held {
    info: Info,
    /// While it is written.
    open: Option<OpenFile>,
}

/// The end of a file that is being written.
#[derive(Debug)]
struct OpenFile {
    file: File,
    member: GzEncoder<Vec<u8>>,
    /// Bytes and lines in the member that is not in the file yet.
    bytes: usize,
    lines: u64,
}

impl Store {
    pub(super) fn open(folder: PathBuf, limits: Limits) -> io::Result<Self> {
        let mut store = Self { folder, limits, records: BTreeMap::new() };
        fs::create_dir_all(&store.folder)?;
        for path in files(&store.folder)? {
            let info = fs::read(companion(&path)).ok();
            let info = info.and_then(|bytes| serde_json::from_slice::<Info>(&bytes).ok());
            let whole = info.filter(|info| store.path(info) == path && length(&path) >= info.bytes);
            let Some(info) = whole else {
                // Of a record without a companion nothing counts, and a companion alone is none.
                fs::remove_file(&path)?;
                let _ = fs::remove_file(companion(&path));
                continue;
            };
            store.records.insert((info.canary.clone(), info.release), Held { info, open: None });
        }
        for key in store.records.keys().cloned().collect::<Vec<_>>() {
            store.keep_few(&key.0, limits.per_canary);
        }
        store.make_room(0);
        Ok(store)
    }

    /// Goes on with the records that were being written. The journal has the events between these two numbers: a record
    /// that does not reach the first has a gap, one that goes beyond the last belongs to another journal.
    pub(super) fn resume(&mut self, first: u64, last: u64) {
        let folder = self.folder.clone();
        for held in self.records.values_mut().filter(|held| held.info.ended.is_none() && held.info.truncated.is_none())
        {
            let info = &mut held.info;
            if !(first..=last).contains(&info.through) {
                info.truncated = Some("what followed was not recorded".into());
                continue;
            }
            match reopen(&path_of(&folder, info), info.bytes) {
                Ok(open) => held.open = Some(open),
                Err(error) => info.truncated = Some(error.to_string()),
            }
        }
    }

    pub(super) fn add(&mut self, number: u64, addition: Addition) {
        let key = (addition.canary, addition.release);
        let result = match addition.what {
            Added::Opening(opening) => {
                let is_known = |held: &Held| held.info.first == number && held.info.began == opening.began;
                if self.records.get(&key).is_some_and(is_known) {
                    return;
                }
                self.remove(&key);
                self.keep_few(&key.0, self.limits.per_canary.saturating_sub(1));
                let info = Info {
                    format: FORMAT,
                    canary: key.0.clone(),
                    release: key.1,
                    revision: opening.revision.clone(),
                    began: opening.began,
                    ended: None,
                    closing: None,
                    lines: 0,
                    bytes: 0,
                    truncated: None,
                    first: number,
                    through: number - 1,
                };
                self.begin(info, &*opening)
            }
            Added::Line(line) => {
                let Some(held) = self.records.get_mut(&key).filter(|held| held.info.through < number) else { return };
                if let Some(closing) = line.ended.clone() {
                    (held.info.ended, held.info.closing) = (Some(line.at), Some(closing));
                }
                let written = held.write(&*line);
                let is_full = held.open.as_ref().is_some_and(|open| open.bytes >= MEMBER_BYTES);
                if held.info.ended.is_some() {
                    written.and_then(|()| self.end(&key, number))
                } else if is_full {
                    written.and_then(|()| self.finish_member(&key))
                } else {
                    written
                }
            }
        };
        if let Err(error) = result {
            self.give_up(&key, &error.to_string());
        }
    }

    /// Puts all that was added up to this number on disk.
    pub(super) fn sync(&mut self, number: u64) {
        let open: Vec<_> =
            self.records.iter().filter(|(_, held)| held.open.is_some()).map(|(key, _)| key.clone()).collect();
        for key in open {
            if let Err(error) = self.store(&key, number) {
                self.give_up(&key, &error.to_string());
            }
        }
    }

    /// Ends every record that is being written: something is missing from now on.
    pub(super) fn truncate(&mut self, why: &str) {
        let open: Vec<_> =
            self.records.iter().filter(|(_, held)| held.open.is_some()).map(|(key, _)| key.clone()).collect();
        open.iter().for_each(|key| self.give_up(key, why));
    }

    pub(super) fn list(&self, canary: &CanaryId) -> Vec<Info> {
        let own = self.records.values().filter(|held| held.info.canary == *canary);
        own.map(|held| Info {
            lines: held.info.lines + held.open.as_ref().map_or(0, |open| open.lines),
            ..held.info.clone()
        })
        .collect()
    }

    pub(super) fn read(&mut self, canary: &CanaryId, release: ReleaseId) -> io::Result<Option<Record>> {
        let key = (canary.clone(), release);
        if let Err(error) = self.finish_member(&key) {
            self.give_up(&key, &error.to_string());
        }
        let Some(held) = self.records.get(&key) else { return Ok(None) };
        Ok(Some(Record { file: File::open(self.path(&held.info))?, bytes: held.info.bytes }))
    }

    fn begin(&mut self, info: Info, opening: &impl Serialize) -> io::Result<()> {
        let (key, path) = ((info.canary.clone(), info.release), self.path(&info));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create(path)?;
        let mut held = Held { info, open: Some(OpenFile::new(file)) };
        let written = held.write(opening);
        // The first line is no event.
        held.open.iter_mut().for_each(|open| open.lines = 0);
        self.records.insert(key, held);
        written
    }

    fn end(&mut self, key: &(CanaryId, ReleaseId), number: u64) -> io::Result<()> {
        let stored = self.store(key, number);
        if let Some(held) = self.records.get_mut(key) {
            held.open = None;
        }
        stored
    }

    fn store(&mut self, key: &(CanaryId, ReleaseId), number: u64) -> io::Result<()> {
        self.finish_member(key)?;
        let folder = self.folder.clone();
        let Some(held) = self.records.get_mut(key) else { return Ok(()) };
        if let Some(open) = &held.open {
            open.file.sync_data()?;
            held.info.through = number;
        }
        write_companion(&path_of(&folder, &held.info), &held.info)
    }

    /// Moves what is compressed into the file, if there is room.
    fn finish_member(&mut self, key: &(CanaryId, ReleaseId)) -> io::Result<()> {
        let Some(open) = self.records.get_mut(key).and_then(|held| held.open.as_mut()) else { return Ok(()) };
        let (member, lines) = open.take_member()?;
        let length = member.len() as u64;
        if length > 0 && !self.make_room(length) {
            return Err(io::Error::other(format!("no room within {} bytes of records", self.limits.bytes)));
        }
        if let Some(Held { info, open: Some(open) }) = self.records.get_mut(key) {
            open.file.write_all(&member)?;
            info.bytes += length;
            info.lines += lines;
        }
        Ok(())
    }

    /// Ends a record before its release.
    fn give_up(&mut self, key: &(CanaryId, ReleaseId), why: &str) {
        let folder = self.folder.clone();
        let Some(held) = self.records.get_mut(key) else { return };
        let path = path_of(&folder, &held.info);
        if let Some(open) = held.open.take() {
            tracing::warn!(canary = %key.0, release = key.1.0, why, "the record of a release is truncated");
            held.info.truncated = Some(why.into());
            let _ = open.file.set_len(held.info.bytes);
        }
        if write_companion(&path, &held.info).is_err() {
            self.remove(key); // Without a companion it does not count.
        }
    }

    /// Removes the oldest records until so many more bytes fit; `false` if they cannot.
    fn make_room(&mut self, more: u64) -> bool {
        while self.total() + more > self.limits.bytes {
            let ended = self.records.iter().filter(|(_, held)| held.open.is_none());
            let Some(oldest) = ended.min_by_key(|(_, held)| held.info.began).map(|(key, _)| key.clone()) else {
                return false;
            };
            self.remove(&oldest);
        }
        true
    }

    fn keep_few(&mut self, canary: &CanaryId, few: usize) {
        let own: Vec<_> = self.records.iter().filter(|((id, _), _)| id == canary).collect();
        let ended = own.iter().filter(|(_, held)| held.open.is_none()).map(|(key, _)| (*key).clone());
        let surplus: Vec<_> = ended.take(own.len().saturating_sub(few)).collect();
        surplus.iter().for_each(|key| self.remove(key));
    }

    fn total(&self) -> u64 {
        self.records.values().map(|held| held.info.bytes + COMPANION_BYTES).sum()
    }

    fn remove(&mut self, key: &(CanaryId, ReleaseId)) {
        if let Some(held) = self.records.remove(key) {
            let path = self.path(&held.info);
            // The companion first: a file alone does not count.
            let _ = fs::remove_file(companion(&path));
            let _ = fs::remove_file(&path);
        }
    }

    fn path(&self, info: &Info) -> PathBuf {
        path_of(&self.folder, info)
    }
}

impl Held {
    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let bytes = serde_json::to_vec(line)?;
        open.member.write_all(&bytes)?;
        open.member.write_all(b"\n")?;
        open.bytes += bytes.len() + 1;
        open.lines += 1;
        Ok(())
    }
}

impl OpenFile {
    fn new(file: File) -> Self {
        Self { file, member: empty(), bytes: 0, lines: 0 }
    }

    /// The compressed bytes and the lines in them; empty when nothing was added.
    fn take_member(&mut self) -> io::Result<(Vec<u8>, u64)> {
        if self.bytes == 0 {
            return Ok((Vec::new(), 0));
        }
        let member = std::mem::replace(&mut self.member, empty()).finish()?;
        self.bytes = 0;
        Ok((member, std::mem::take(&mut self.lines)))
    }
}

fn empty() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::fast())
}

fn reopen(path: &Path, bytes: u64) -> io::Result<OpenFile> {
    let file = OpenOptions::new().append(true).open(path)?;
    file.set_len(bytes)?;
    Ok(OpenFile::new(file))
}

/// Every record's file below the folder.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.to_string_lossy().ends_with(".jsonl.gz") {
            found.push(path);
        }
    }
    Ok(found)
}

pub(super) fn path_of(folder: &Path, info: &Info) -> PathBuf {
    // A name may begin with a dot, and must not lead out of the folder.
    let part = |name: &str| if name.starts_with('.') { format!("@{name}") } else { name.to_owned() };
    let (namespace, name) = (part(info.canary.namespace()), part(info.canary.name()));
    folder.join(namespace).join(name).join(format!("{}.jsonl.gz", info.release.0))
}

pub(super) fn companion(path: &Path) -> PathBuf {
    path.with_extension("").with_extension("json")
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn write_companion(path: &Path, info: &Info) -> io::Result<()> {
    let (to, new) = (companion(path), path.with_extension("new"));
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(info)?)?;
    file.sync_data()?;
    fs::rename(&new, &to)?;
    match path.parent() {
        // The new name, too, must be on disk before the journal forgets.
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
