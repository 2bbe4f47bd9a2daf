//! A record as it comes, from a file or from the agent: bytes to lines to a replay, each fault with its line.

use rollout::record::replay::{Replay, ReplayError, Replayed};
use rollout::record::{FORMAT, KIND, Line, Opening};
use rollout::release::plan::Plan;
use serde::Deserialize;

use crate::failure::Failure;
use crate::text;

/// Longest line read, in bytes; the first holds the agent's whole state of a canary.
const MAX_LINE_BYTES: usize = 64 << 20;
/// How a gzip file begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What every format of a record says first.
#[derive(Deserialize)]
struct Stamp {
    kind: String,
    format: u32,
}

/// Reads a record.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Where it comes from, for messages.
    source: String,
    other: Option<Plan>,
    replay: Option<Replay>,
    line: u64,
    rest: Vec<u8>,
}

impl Reader {
    /// Begins; `other` are settings to judge under besides the recorded ones.
    pub(crate) fn new(source: &str, other: Option<Plan>) -> Self {
        Self { source: text::clean(source), other, replay: None, line: 0, rest: Vec::new() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are no record's.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut pieces = bytes.split_inclusive(|byte| *byte == b'\n');
        pieces.try_for_each(|piece| {
            self.rest.extend_from_slice(piece);
            if self.rest.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.rest);
                return self.take(&line);
            }
            if self.rest.len() > MAX_LINE_BYTES {
                return Err(self.wrong(&format!("is longer than {MAX_LINE_BYTES} bytes")));
            }
            Ok(())
        })
    }

    /// All has been pushed.
    ///
    /// # Errors
    /// When something is missing.
    pub(crate) fn finish(mut self) -> Result<Replayed, Failure> {
        if !self.rest.is_empty() {
            self.line += 1;
            return Err(self.wrong("breaks off: the end of the record is missing; save it again"));
        }
        let Some(replay) = self.replay.take() else {
            return Err(Failure::Refused(format!("{} is empty, so it is no record of a release", self.source)));
        };
        replay.finish().map_err(|error| self.unfit(&error))
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.line += 1;
        if self.replay.is_none() {
            return self.begin(bytes);
        }
        let line: Line = serde_json::from_slice(bytes).map_err(|error| self.unreadable(&error))?;
        let taken = self.replay.as_mut().map_or(Ok(()), |replay| replay.take(line));
        taken.map_err(|error| self.unfit(&error))
    }

    fn begin(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.starts_with(&GZIP) {
            return Err(Failure::Refused(format!("{} is compressed: gunzip it first", self.source)));
        }
        // Another format may differ in all else.
        let Ok(Stamp { kind, format }) = serde_json::from_slice(bytes) else {
            return Err(Failure::Refused(format!(
                "{} is no record of a release: its first line is not the opening of one; `serin replay CANARY --save FILE` \
                 saves one",
                self.source
            )));
        };
        let stamped = match (kind.as_str(), format) {
            (KIND, FORMAT) => Ok(()),
            (KIND, other) => Err(ReplayError::Format(other)),
            _ => Err(ReplayError::Kind(kind)),
        };
        stamped.map_err(|error| self.unfit(&error))?;
        let opening: Opening = serde_json::from_slice(bytes).map_err(|error| self.unreadable(&error))?;
        self.replay = Some(Replay::new(opening, self.other.take()).map_err(|error| self.unfit(&error))?);
        Ok(())
    }

    fn unfit(&self, error: &ReplayError) -> Failure {
        Failure::Refused(format!("{} cannot be replayed: {}", self.source, text::quoted(&error.to_string())))
    }

    fn unreadable(&self, error: &serde_json::Error) -> Failure {
        self.wrong(&format!("cannot be read: {}", text::quoted(&error.to_string())))
    }

    fn wrong(&self, what: &str) -> Failure {
        Failure::Refused(format!("{}: line {} {what}", self.source, self.line))
    }
}
