//! report -> fold: the merged, deduplicated sum of what the workers counted.
//!
//! `fold` adds one stratum; its sums do not depend on order, and whether a report is new is for [`Received`] to say.
//! The sliding window, which threshold checks look at, slots and what is known of gone workers depend on when it
//! arrived.
//!
//! [`Received`]: super::received::Received

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::time::Millis;
use crate::judgement::destinations::Destinations;
use crate::judgement::gone_workers::GoneWorkers;
use crate::judgement::guards::{GuardRule, Guards, GuardsVerdict};
use crate::judgement::latency_baseline::{Past, Tracking};
use crate::judgement::primary_watch::{PrimaryNews, PrimaryVerdict, PrimaryWatch};
use crate::judgement::rate::Rate;
use crate::judgement::sample_ratio::Ratio;
use crate::judgement::sequential::{Sequential, SlotKey};
use crate::judgement::slots::Slots;
use crate::judgement::window::{Recent, Window};
use crate::routing::route::Placement;
use crate::routing::table::{Epoch, Version, WeightPpm};
use crate::statistics::boundary::Allocation;
use crate::worker::messages::{Incarnation, Sampled, Watermark};
use crate::worker::tally::{Counts, PerVersion, Stratum};

/// Strata of one release kept apart; past it the oldest merge into epoch 0.
const MAX_STRATA: usize = 1024;
/// Stretches of epochs of another life that one release keeps apart.
const MAX_FOREIGN: usize = 32;

/// What is known of one canary's traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Everything ever counted, exact through crashes.
    totals: PerVersion,
    /// This release, by stratum.
    #[serde(with = "crate::base::serde_pairs")]
    strata: BTreeMap<(Epoch, Version, Placement), Counts>,
    /// Their sum: every look asks for it.
    release: PerVersion,
    /// Requests that started under an earlier epoch began before anybody counted them here…
    counted_from: Epoch,
    /// …and these are theirs, as far as they are in the totals.
    earlier: PerVersion,
    /// The release's first epoch: requests that started before it are not its evidence.
    since: Epoch,
    /// The first epoch after the release: requests that start under it are none of its evidence either.
    until: Option<Epoch>,
    /// Epochs within the release that this agent never issued, first and last: another life of it did, for what this one
    /// has forgotten. What started under them is about whatever was on trial then.
    #[serde(default)]
    foreign: Vec<(Epoch, Epoch)>,
    window: Window,
    /// Requests a second of both versions, smoothed; what a slot's length is fixed by.
    rate: Rate,
    /// The release's slots that are not complete, and the tests over all of them.
    slots: Slots,
    tests: Option<Sequential>,
    /// The tests of the primary, and whether its requests are judged although the release's own are over.
    #[serde(default)]
    watch: Option<PrimaryWatch>,
    #[serde(default)]
    is_watched_on: bool,
    /// What its certificates leave out once a worker is gone.
    #[serde(default)]
    pub(crate) gone_workers: GoneWorkers,
    /// Where its requests went.
    #[serde(default)]
    destinations: Destinations,
    /// What the weights of this release placed.
    ratio: Ratio,
    /// The primary's recent latencies, in and between releases, and what to measure the canary's by.
    past: Past,
    tracking: Option<Tracking>,
}

impl Evidence {
    /// Adds one stratum of a report that has not been folded before.
    pub fn fold<C>(&mut self, stratum: &Stratum<C>, counts: &Counts, now: Millis) {
        self.totals.add(stratum.version, counts);
        if stratum.epoch < self.counted_from || self.is_foreign(stratum.epoch) {
            self.complete_totals(stratum.version, counts);
        }
        if stratum.placement != Placement::Mirrored {
            self.rate.add(counts.started, now);
        }
        if self.is_of_release(stratum.epoch) {
            self.fold_release(stratum, counts, now);
        } else if self.is_watched(stratum.epoch) {
            self.slots.fold(stratum, counts, now, || None);
        }
        if stratum.version == Version::Primary && stratum.placement.is_split() && self.is_watched(stratum.epoch) {
            let key = SlotKey { epoch: stratum.epoch, slot: stratum.slot };
            let is_slotted = self.ratio.weight(stratum.epoch).is_some();
            self.watch.iter_mut().for_each(|watch| watch.fold(key, counts, is_slotted));
        }
        if stratum.version == Version::Primary {
            self.past.add(&counts.latency, now);
        }
    }

    /// Whose a stratum was that has just been folded. Only what the step counts: what is left out is taken from that.
    pub fn of_worker<C>(&mut self, worker: Incarnation, stratum: &Stratum<C>, counts: &Counts, now: Millis) {
        let is_of_step = self.is_of_step(stratum.epoch, stratum.version, stratum.placement);
        if is_of_step && self.is_of_release(stratum.epoch) {
            self.gone_workers.fold(worker, stratum.epoch, stratum.slot, counts, now);
        }
    }

    /// Where some requests went. Those of an earlier release, or of another life of this agent, say nothing: the primary may
    /// have been another.
    pub fn sampled(&mut self, sampled: &Sampled) {
        if sampled.epoch >= self.until.unwrap_or(self.since) && !self.is_foreign(sampled.epoch) {
            self.destinations.fold(sampled);
        }
    }

    /// What ended had begun, although that was counted elsewhere, or in another life of the canary.
    fn complete_totals(&mut self, version: Version, counts: &Counts) {
        let unseen = |counts: &Counts| {
            let ended = counts.judged().saturating_add(counts.void).saturating_add(counts.abandoned);
            ended.saturating_sub(counts.started)
        };
        let before = unseen(self.earlier.of(version));
        self.earlier.add(version, counts);
        let more = unseen(self.earlier.of(version));
        let total = match version {
            Version::Primary => &mut self.totals.primary,
            Version::Canary => &mut self.totals.canary,
        };
        total.started = total.started.saturating_add(more).saturating_sub(before);
    }

    fn fold_release<C>(&mut self, stratum: &Stratum<C>, counts: &Counts, now: Millis) {
        let key = (stratum.epoch, stratum.version, stratum.placement);
        self.strata.entry(key).or_default().merge(counts);
        self.release.add(stratum.version, counts);
        self.slots.fold(stratum, counts, now, || self.past.thresholds(self.tracking?));
        if stratum.placement == Placement::Drawn {
            self.ratio.place(stratum.epoch, stratum.version == Version::Canary, counts.started);
        }
        if self.strata.len() > MAX_STRATA
            && let Some(key) = self.strata.keys().find(|(epoch, ..)| *epoch > Epoch(0)).copied()
            && let Some(oldest) = self.strata.remove(&key)
        {
            let (_, version, placement) = key;
            self.strata.entry((Epoch(0), version, placement)).or_default().merge(&oldest);
        }
        if !self.is_chosen(stratum.epoch, stratum.placement) {
            self.window.add(stratum.epoch, stratum.version, counts, now);
        }
    }

    /// Whether a certificate is about such requests: the canary's users', but for those who chose it.
    fn is_of_step(&self, epoch: Epoch, version: Version, placement: Placement) -> bool {
        version == Version::Canary && placement != Placement::Mirrored && !self.is_chosen(epoch, placement)
    }

    /// Whether a client chose its version, by a rule, beside a split: a few such clients must not decide for everybody.
    fn is_chosen(&self, epoch: Epoch, placement: Placement) -> bool {
        placement == Placement::Matched && self.ratio.split(epoch).is_some()
    }

    /// A release begins: what counts from now on is what starts under `first` or a later epoch.
    pub fn begin_release(&mut self, first: Epoch, longest_window: Millis, guards: &Guards) {
        self.slots = Slots::default();
        self.tests = Some(guards.begin());
        (self.watch, self.is_watched_on) = (Some(PrimaryWatch::new(guards)), false);
        self.ratio = Ratio::default();
        self.gone_workers = GoneWorkers::new(guards.latency_limit());
        self.destinations.begin_release(first);
        self.tracking = guards.tracking();
        (self.since, self.until) = (first, None);
        self.foreign.clear();
        self.strata.clear();
        self.release = PerVersion::default();
        self.window = Window::new(longest_window, first);
    }

    /// A step begins, or gets another share: its own requests are those that start under `first` or a later epoch.
    pub fn begin_step(&mut self, first: Epoch) {
        self.window.begin_step(first);
        self.gone_workers.begin_step(first);
        self.destinations.begin_step(first);
    }

    /// What started before `first` belongs to no release here: its beginnings were counted elsewhere, or in another life.
    pub fn count_from(&mut self, first: Epoch) {
        self.counted_from = self.counted_from.max(first);
        self.since = self.since.max(first);
    }

    /// These epochs, first and last, were issued by another life of this agent.
    pub fn exclude(&mut self, first: Epoch, last: Epoch) {
        self.foreign.push((first, last));
        if self.foreign.len() > MAX_FOREIGN {
            // More than that is no accident. What the two enclose is given up with them: of the late ends of its requests,
            // not of what is counted.
            let (_, last) = self.foreign.remove(1);
            self.foreign.iter_mut().take(1).for_each(|oldest| oldest.1 = last);
        }
    }

    /// Whether an epoch is of another life of this agent.
    pub fn is_foreign(&self, epoch: Epoch) -> bool {
        self.foreign.iter().any(|(first, last)| (*first..=*last).contains(&epoch))
    }

    /// The release has ended, with the entry of this epoch: what starts under it is none of its evidence.
    pub fn end_release(&mut self, first_after: Epoch) {
        if self.until.is_none() {
            self.until = Some(first_after);
            self.destinations.end_release();
        }
    }

    fn is_of_release(&self, epoch: Epoch) -> bool {
        epoch >= self.since && self.until.is_none_or(|until| epoch < until) && !self.is_foreign(epoch)
    }

    /// As [`Evidence::end_release`], but the primary, which has all traffic now, is watched on until [`Evidence::end_watch`].
    pub fn finalise_release(&mut self, first_after: Epoch) {
        self.end_release(first_after);
        self.is_watched_on = true;
    }

    /// A person gave the canary traffic again: what starts from now on is the release's evidence once more.
    pub fn resume_release(&mut self) {
        (self.until, self.is_watched_on) = (None, false);
    }

    /// The release is over.
    pub fn end_watch(&mut self) {
        self.is_watched_on = false;
    }

    /// Primary and canary exchange roles with the entry of this epoch: the new primary is watched from there on.
    pub fn exchange_roles(&mut self, first: Epoch) {
        self.watch.iter_mut().for_each(|watch| watch.exchange_roles(first));
    }

    fn is_watched(&self, epoch: Epoch) -> bool {
        self.is_of_release(epoch) || (self.is_watched_on && epoch >= self.since)
    }

    /// The limit that the primary was found to break.
    pub fn primary_fails(&self) -> Option<&GuardRule> {
        self.watch.as_ref()?.failing()
    }

    /// The first epoch of the release that [`Evidence::release`] sums up.
    pub const fn since(&self) -> Epoch {
        self.since
    }

    /// A worker says how far it has come in its slots.
    pub fn watermark(&mut self, worker: Incarnation, watermark: &Watermark, now: Millis) {
        if self.is_of_release(watermark.epoch) {
            self.slots.watermark(worker, watermark, now);
            self.gone_workers.reported(worker, now);
        }
    }

    /// What is known of the primary, `first` being the first epoch of the step; to be asked before [`Evidence::look`], which
    /// drops what it has seen of complete slots. `None` before the first release.
    pub fn look_at_primary(&mut self, first: Epoch, now: Millis) -> Option<(PrimaryVerdict, Option<PrimaryNews>)> {
        let seen = self.split_since(first);
        let watch = self.watch.as_mut()?;
        for (key, observed, is_closed) in self.slots.known(|epoch| self.ratio.split(epoch), now) {
            watch.observe(key, &observed, is_closed);
        }
        Some(watch.look(&seen))
    }

    /// What the guards say of all that is known now; `None` before the first release.
    pub fn look(&mut self, guards: &Guards, now: Millis) -> Option<GuardsVerdict> {
        let tests = self.tests.as_mut()?;
        self.slots.feed(tests, |epoch| self.ratio.split(epoch), now);
        Some(guards.look(tests, &self.release, &self.ratio))
    }

    /// Where its requests went.
    pub const fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    /// An entry with a split was issued; with `is_sticky` it draws users.
    pub fn weigh(&mut self, epoch: Epoch, weight: WeightPpm, is_sticky: bool) {
        self.ratio.weigh(epoch, weight, is_sticky);
    }

    /// How the requests under an epoch of this release are divided; `None` where no draw gives the canary any.
    pub fn split(&self, epoch: Epoch) -> Option<Allocation> {
        self.ratio.split(epoch)
    }

    /// The weight under an epoch of this release, if it had one.
    pub fn weight(&self, epoch: Epoch) -> Option<WeightPpm> {
        self.ratio.weight(epoch)
    }

    /// Users' requests to the canary that started under `first` or a later epoch; beside a split only what it placed.
    pub fn canary_since(&self, first: Epoch) -> Counts {
        let mut sum = Counts::default();
        let of_canary = self.strata.range((first, Version::Primary, Placement::Drawn)..);
        of_canary
            .filter(|((epoch, version, placement), _)| self.is_of_step(*epoch, *version, *placement))
            .for_each(|(_, counts)| sum.merge(counts));
        sum
    }

    /// Requests a second of both versions together, smoothed over ten seconds.
    pub fn per_second(&self, now: Millis) -> f64 {
        self.rate.per_second(now)
    }

    /// Everything ever counted.
    pub const fn totals(&self) -> &PerVersion {
        &self.totals
    }

    /// This release so far.
    pub const fn release(&self) -> &PerVersion {
        &self.release
    }

    /// This release, each stratum apart: what started under one epoch on one version, by one kind of placement.
    pub fn strata(&self) -> impl Iterator<Item = (Epoch, Version, Placement, &Counts)> {
        self.strata.iter().map(|((epoch, version, placement), counts)| (*epoch, *version, *placement, counts))
    }

    /// This release, requests that the split placed (not the match rules, and no copies), under one epoch.
    pub fn split_under(&self, epoch: Epoch) -> PerVersion {
        let mut sum = PerVersion::default();
        let placed = self.strata.iter().filter(|((e, _, placement), _)| *e == epoch && placement.is_split());
        placed.for_each(|((_, version, _), counts)| sum.add(*version, counts));
        sum
    }

    /// Requests that the split placed and that started under `first` or a later epoch, without latencies.
    fn split_since(&self, first: Epoch) -> PerVersion {
        let mut sum = PerVersion::default();
        let since = self.strata.range((first, Version::Primary, Placement::Drawn)..);
        let placed = since.filter(|((.., placement), _)| placement.is_split());
        placed.for_each(|((_, version, _), counts)| sum.add_without_latency(*version, counts));
        sum
    }

    /// What arrived in the last `span`, since the step was taken.
    pub fn last(&self, span: Millis, now: Millis) -> Recent {
        self.window.last(span, now)
    }
}

#[cfg(test)]
mod tests;
