//! What one worker says to the agent: who it is, and what it has counted since it said so last.

use super::Worker;
use crate::base::names::CanaryId;
use crate::base::time::{Micros, Millis};
use crate::routing::table::{Epoch, Version};
use crate::worker::api::{IDLE_EVERY, Identity, WorkerAction};
use crate::worker::messages::{Hello, MAX_STRATA, PROTOCOL, ToAgent, Watermark};
use crate::worker::sender::Delta;
use crate::worker::tally::{Counts, Stratum};

impl Worker {
    pub(super) fn hello(&self) -> Hello {
        let Identity { node, cluster, filter_version, incarnation } = self.identity.clone();
        let adopted = self.table.entries().map(|(_, entry)| entry).filter(|entry| entry.epoch > Epoch(0));
        Hello {
            protocol: PROTOCOL,
            incarnation,
            node,
            cluster,
            filter_version,
            adopted: adopted.map(|entry| (entry.canary.clone(), entry.epoch)).collect(),
            default_upstreams: self.settings.default_upstreams.clone().into_iter().collect(),
            trips: self.fuses.tripped().filter(|trip| trip.epoch > Epoch(0)).cloned().collect(),
        }
    }

    /// The next report, or a sign of life when there is nothing to say.
    pub(super) fn report(&mut self, now: Millis) -> Option<WorkerAction> {
        let has_news = self.sender.is_free() && self.has_news();
        if !has_news && now.since(self.sent_at) < IDLE_EVERY {
            return None;
        }
        self.sent_at = now;
        Some(if has_news { self.next_report(now) } else { WorkerAction::Send(ToAgent::Beat) })
    }

    /// This life ends: what is counted leaves at once, whether or not the report before is stored. It may not arrive, and
    /// nothing rests on it.
    pub fn last_report(&mut self, now: Millis) -> Vec<WorkerAction> {
        self.pass_deadlines(Micros(now.0.saturating_mul(1000)));
        let has_news = self.connection.is_up() && self.has_news();
        if has_news { vec![self.next_report(now)] } else { Vec::new() }
    }

    fn has_news(&self) -> bool {
        !self.tally.is_empty() || self.fuses.has_unreported()
    }

    /// Beside the pace: what leaves before a tick does not put that tick's report off.
    pub(super) fn next_report(&mut self, now: Millis) -> WorkerAction {
        self.early.sent(|canary| self.watches.is_open((canary, Version::Primary)));
        let (strata, is_drained) = self.named_strata();
        // What is left for the next report would belong to slots that this one's watermarks call complete.
        let watermarks = if is_drained { self.watermarks(now) } else { Vec::new() };
        let (trips, destinations) = (self.fuses.take_unreported(), self.take_sampled());
        let delta = Delta { strata, watermarks, trips, destinations };
        WorkerAction::Send(ToAgent::Report(self.sender.next(delta, now)))
    }

    /// As many strata as a report holds, and whether those are all.
    fn named_strata(&mut self) -> (Vec<(Stratum<CanaryId>, Counts)>, bool) {
        let taken = self.tally.take(MAX_STRATA).into_iter();
        let named = taken.filter_map(|(Stratum { canary, epoch, version, placement, slot }, counts)| {
            let canary = self.canary(canary)?.clone();
            Some((Stratum { canary, epoch, version, placement, slot }, counts))
        });
        (named.collect(), self.tally.is_empty())
    }

    /// Where this worker is in each canary's slots: all that started before them has been handed over.
    fn watermarks(&self, now: Millis) -> Vec<Watermark> {
        let now = Micros(now.0.saturating_mul(1000));
        let splits = self.table.entries().filter_map(|(index, entry)| {
            let split = entry.routing.as_ref()?.split.as_ref().filter(|_| entry.epoch > Epoch(0))?;
            let slot = self.slot_of(index, split, now);
            Some(Watermark { canary: entry.canary.clone(), epoch: entry.epoch, slot })
        });
        splits.collect()
    }
}
