//! Copies of the primary's requests, as they reach the canary's upstream: counted there, the only place that sees their answers.

use super::{Finished, Worker, counted_as};
use crate::base::names::Upstream;
use crate::base::time::Micros;
use crate::routing::outcome::{DOWNSTREAM_REMOTE_RESET, UPSTREAM_CONNECTION_TERMINATION};
use crate::routing::request::Request;
use crate::routing::route::Placement;
use crate::routing::table::{Entry, Version};
use crate::worker::in_flight::InFlight;
use crate::worker::tally::Stratum;

/// How a copy ended, as far as it is visible in the canary's cluster: the proxy reports neither flags nor attempts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyEnd {
    /// With the last byte of its answer.
    Whole,
    /// Without an answer, or in the middle of it.
    Broken,
    /// Before all of the request was there: the user left.
    Unsent,
}

impl Worker {
    /// Whether any split in force copies requests.
    pub const fn is_mirroring(&self) -> bool {
        self.table.is_mirroring()
    }

    /// A copy sets off for an upstream. `None` when no split copies requests to it (any more).
    /// `is_whole` says that its headers are all there is of it.
    pub fn start_copy(
        &mut self,
        upstream: &Upstream,
        request: Request<'_>,
        is_whole: bool,
        now: Micros,
    ) -> Option<InFlight> {
        let (canary, Entry { epoch, .. }, split) = self.table.mirrored_to(upstream)?;
        let slot = self.slot_of(canary, split, now);
        let (version, placement) = (Version::Canary, Placement::Mirrored);
        let stratum = Stratum { canary, epoch: *epoch, version, placement, slot };
        let counting = counted_as(stratum, Some(split), request);
        Some(self.begin(counting, is_whole, now))
    }

    /// A copy is over. A user who left while the copy was under way says nothing about the canary.
    pub fn finish_copy(&mut self, request: &mut InFlight, end: CopyEnd, now: Micros) -> Finished {
        let flags = match end {
            CopyEnd::Whole => 0,
            CopyEnd::Broken => UPSTREAM_CONNECTION_TERMINATION,
            CopyEnd::Unsent => DOWNSTREAM_REMOTE_RESET,
        };
        // A copy is never tried again.
        self.finish(request, flags, Some(1), now)
    }
}
