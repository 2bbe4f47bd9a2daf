//! route -> outcome -> tally: a request from its start to its end, and what time alone does to it meanwhile.

use super::{Finished, Worker};
use crate::base::time::Micros;
use crate::routing::measurement::LONGEST_WAIT;
use crate::routing::outcome::Outcome;
use crate::routing::route::Placement;
use crate::routing::table::{CanaryIndex, Version};
use crate::worker::api::Decision;
use crate::worker::fuse::FuseTest;
use crate::worker::in_flight::{Counting, FuseTrial, InFlight, TimedTrial, Watched};
use crate::worker::tally::{Slot, Stratum, TimedEnd};
use crate::worker::watch::{Side, Watch};

/// The open requests, by what may happen to them next.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// From their start on.
    open: Watch<Open>,
    /// While their version's time runs.
    slow: Watch<Numbered>,
    /// From their answer's headers on.
    good: Watch<Answered>,
}

#[derive(Clone, Copy, Debug)]
struct Numbered {
    stratum: Stratum<CanaryIndex>,
    trial: FuseTrial,
    user: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    stratum: Stratum<CanaryIndex>,
    /// What has not ended must not pass for health.
    trial: FuseTrial,
    /// Whether the client is still sending.
    is_partial: bool,
}

/// An answer that will be good if nothing happens.
#[derive(Clone, Copy, Debug)]
struct Answered {
    stratum: Stratum<CanaryIndex>,
    is_client_error: bool,
    /// Its trial of latency, with how that ends, and the fuse's, if it is not settled. It is not slow, or counted so already.
    timed: Option<(Stratum<CanaryIndex>, TimedEnd, Option<FuseTrial>)>,
}

impl Watches {
    /// Whether a version has requests open.
    pub(super) fn is_open(&self, side: Side) -> bool {
        self.open.oldest(side).is_some()
    }
}

impl Worker {
    /// The decision was carried out (`applied`) or could not be: counts the request that starts. One whose header could
    /// not be set goes wherever the routes send it, so it belongs to no version. `is_whole` says that its headers are all
    /// there is of it.
    pub fn start(&mut self, decision: &Decision, applied: bool, is_whole: bool, now: Micros) -> Option<InFlight> {
        if !applied {
            self.faults.requests += 1;
            return None;
        }
        let counting = decision.counted?;
        Some(self.begin(counting, is_whole, now))
    }

    pub(super) fn begin(&mut self, counting: Counting, is_whole: bool, now: Micros) -> InFlight {
        let Stratum { canary, version, .. } = counting.stratum;
        self.tally.start(counting.stratum);
        let oldest = self.watches.open.oldest((canary, Version::Canary)).map(|open| open.trial.before);
        let trial = self.fuses.start(FuseTest::Failed, counting.stratum, oldest);
        // One that has not come in whole by then says something about who should read it; and no longer than this does the
        // fuse wait for an end before it calls a run of good requests over.
        let deadline = Micros(now.0.saturating_add(LONGEST_WAIT.to_micros().0));
        let serial = self.watches.open.start(
            (canary, version),
            deadline,
            Open { stratum: counting.stratum, trial, is_partial: true },
        );
        let is_warming = version == Version::Canary && self.warms_up(canary, now);
        let is_sampled = self.sampling.asks(counting.stratum);
        let mut request = InFlight::new(counting, is_warming, is_sampled, Watched { serial, trial });
        if is_whole || counting.is_upgrade {
            self.complete(&mut request, now);
        }
        request
    }

    /// A request's headers could not be read: it passes untouched and uncounted.
    pub const fn unreadable_request(&mut self) {
        self.faults.requests += 1;
    }

    /// The request has come in whole: from now on the version's time runs. Said twice, it counts once.
    pub fn complete(&mut self, request: &mut InFlight, now: Micros) {
        if !request.is_partial() {
            return;
        }
        if !request.is_answered() {
            self.tally.received(request.stratum());
        }
        let was_late = match self.watches.open.get_mut(request.side(), request.open().serial) {
            Some(open) => !std::mem::replace(&mut open.is_partial, false),
            None => request.open().serial != u64::MAX,
        };
        let timed = request.can_be_timed().then(|| self.begin_timed(request, now));
        request.complete(was_late, timed);
    }

    /// A trial of latency begins: in the slot of this moment, if the entry is still in force.
    fn begin_timed(&mut self, request: &InFlight, now: Micros) -> TimedTrial {
        let slot = self.slot_now(request.stratum(), now);
        let stratum = Stratum { slot, ..request.stratum() };
        self.tally.start_timed(stratum);
        let watched = request.counting().limit.map(|limit| {
            let oldest =
                self.watches.slow.oldest((stratum.canary, Version::Canary)).map(|numbered| numbered.trial.before);
            // A request of another entry is no trial of the fuse in force: that may be another release's.
            let is_in_force = self.table.at(stratum.canary).is_some_and(|entry| entry.epoch == stratum.epoch);
            let trial = if is_in_force { self.fuses.start(FuseTest::Slow, stratum, oldest) } else { FuseTrial::NONE };
            let deadline = Micros(now.0.saturating_add(limit.0));
            (
                self.watches.slow.start(
                    request.side(),
                    deadline,
                    Numbered { stratum, trial, user: request.counting().user },
                ),
                trial,
            )
        });
        let (serial, trial) = watched.unzip();
        TimedTrial { since: now, slot, serial, trial, is_slow: false }
    }

    /// The slot of this moment for a request that started under some entry; of an entry that is no longer in force none in
    /// particular: comparisons leave it out, and that was decided before its outcome.
    fn slot_now(&self, started: Stratum<CanaryIndex>, now: Micros) -> Slot {
        let entry = self.table.at(started.canary).filter(|entry| entry.epoch == started.epoch);
        match entry.and_then(|entry| entry.routing.as_ref()?.split.as_ref()) {
            _ if started.slot == Slot::MERGED => Slot::MERGED,
            Some(split) => self.slot_of(started.canary, split, now),
            None if entry.is_some() => started.slot,
            None => Slot::MERGED,
        }
    }

    /// The answer's headers came. Its time ends now, unless it is measured to the last byte.
    pub fn answered(&mut self, request: &mut InFlight, headers: &[(&[u8], &[u8])], now: Micros) {
        if request.is_answered() {
            return;
        }
        if request.is_partial() {
            self.tally.received(request.stratum());
        }
        request.answered(headers, now);
        if request.is_timed_at_headers() {
            self.stop_time(request, now);
        }
        if request.is_answered_well() {
            let answered = self.answer_in_hand(request, now);
            let deadline = Micros(now.0.saturating_add(request.counting().good_after.0));
            request.watch_answer(self.watches.good.start(request.side(), deadline, answered));
        }
    }

    fn answer_in_hand(&self, request: &InFlight, now: Micros) -> Answered {
        let timed = request.timed().filter(|_| request.is_timed_at_headers()).zip(request.latency(now));
        let timed = timed.map(|(timed, latency)| {
            let (end, _) = request.timed_end(Outcome::Success, latency);
            let trial = timed.trial.filter(|_| !timed.is_slow);
            (request.timed_stratum(&timed), end, trial)
        });
        Answered { stratum: request.stratum(), is_client_error: request.is_client_error(), timed }
    }

    /// The version's time is over: slow or not, as its clock says, and counted at once.
    fn stop_time(&mut self, request: &mut InFlight, now: Micros) {
        let (Some(timed), Some(latency)) = (request.timed(), request.latency(now)) else { return };
        let (Some(serial), Some(trial)) = (timed.serial, timed.trial) else { return };
        let was_counted = self.watches.slow.end(request.side(), serial);
        let is_late = request.counting().limit.is_some_and(|limit| latency > limit);
        if is_late && !was_counted {
            let stratum = request.timed_stratum(&timed);
            self.tally.aged(stratum);
            self.slow(stratum, trial, request.counting().user);
            self.fuses.settled(FuseTest::Slow, stratum, trial);
        }
        request.stop_time(was_counted || is_late);
    }

    /// A request is over; `flags` are Envoy's response flags, `attempts` the router's tries upstream.
    pub fn finish(&mut self, request: &mut InFlight, flags: u64, attempts: Option<u64>, now: Micros) -> Finished {
        let Stratum { canary, version, placement, .. } = request.stratum();
        if version == Version::Primary && request.has_grpc_status() {
            self.note_grpc(canary);
        }
        let ended = request.end(flags, attempts, self.speaks_grpc(canary), now);
        let is_copy = placement == Placement::Mirrored;
        let was_good = self.has_passed_as_good(request);
        let outcome = if was_good { Outcome::Success } else { ended.outcome };
        self.count(request, outcome, ended.is_client_error, was_good, now);
        Finished { canary, version, is_copy, outcome, latency: ended.latency }
    }

    /// A request is over and how it ended cannot be known, by the shell's fault: it says nothing about the version.
    pub fn lose(&mut self, request: &mut InFlight, now: Micros) {
        self.faults.requests += 1;
        let was_good = self.has_passed_as_good(request);
        self.count(request, Outcome::Void, false, was_good, now);
    }

    /// Whether its answer has been open for so long that it was counted as good; it is watched no more.
    fn has_passed_as_good(&mut self, request: &InFlight) -> bool {
        request.answer_watched().is_some_and(|serial| self.watches.good.end(request.side(), serial))
    }

    fn count(&mut self, request: &mut InFlight, outcome: Outcome, is_client_error: bool, was_good: bool, now: Micros) {
        let stratum = request.stratum();
        let is_late = self.watches.open.end(request.side(), request.open().serial);
        self.stop_time(request, now);
        if !was_good {
            if request.is_partial() && !request.is_answered() {
                self.tally.received(stratum);
            }
            if outcome == Outcome::Abandoned && !request.was_late(is_late) {
                self.tally.unserved(stratum);
            }
            self.tally.end(stratum, outcome, is_client_error);
            let is_failure = matches!(outcome, Outcome::Failure(_));
            let user = request.counting().user;
            let is_repeat = is_failure && self.repeats.is_repeat(FuseTest::Failed, stratum, user);
            if is_repeat {
                self.tally.repeated_failure(stratum);
            }
            match outcome {
                Outcome::Void => self.fuses.void(FuseTest::Failed, stratum, request.open().trial),
                Outcome::Failure(_) if !is_repeat => self.event(FuseTest::Failed, stratum, request.open().trial),
                // A client that left removes no trial.
                Outcome::Failure(_) | Outcome::Success | Outcome::Abandoned => {}
            }
        }
        if !is_late {
            self.fuses.settled(FuseTest::Failed, stratum, request.open().trial);
        }
        if !(was_good && request.is_timed_at_headers()) {
            self.end_timed(request, outcome, now);
        }
    }

    fn end_timed(&mut self, request: &InFlight, outcome: Outcome, now: Micros) {
        let (Some(timed), Some(latency)) = (request.timed(), request.latency(now)) else { return };
        let (end, is_slow) = request.timed_end(outcome, latency);
        let is_slow = is_slow && !timed.is_slow;
        let stratum = request.timed_stratum(&timed);
        self.tally.end_timed(stratum, end, is_slow);
        match timed.trial {
            Some(trial) if is_slow => self.slow(stratum, trial, request.counting().user),
            Some(trial) if end == TimedEnd::Void => self.fuses.void(FuseTest::Slow, stratum, trial),
            _ => {}
        }
        // One that was counted as slow while it was open was settled then.
        if let Some(trial) = timed.trial.filter(|_| !timed.is_slow) {
            self.fuses.settled(FuseTest::Slow, stratum, trial);
        }
    }

    /// A trial of latency speaks against its version.
    fn slow(&mut self, stratum: Stratum<CanaryIndex>, trial: FuseTrial, user: Option<u64>) {
        if self.repeats.is_repeat(FuseTest::Slow, stratum, user) {
            self.tally.repeated_slow(stratum);
        } else {
            self.event(FuseTest::Slow, stratum, trial);
        }
    }

    /// A trial speaks against its version, as the first of its user's in the slot.
    fn event(&mut self, test: FuseTest, stratum: Stratum<CanaryIndex>, trial: FuseTrial) {
        self.fuses.event(test, stratum, trial);
        if stratum.version == Version::Canary && trial.own.is_some() {
            self.early.against(stratum.canary);
        }
    }

    /// What time has done since the last tick.
    pub(super) fn pass_deadlines(&mut self, now: Micros) {
        for Open { stratum, trial, is_partial } in self.watches.open.passed(now) {
            if is_partial {
                self.tally.unserved(stratum);
            }
            // A trip waits no longer for it: what stays open for so long is no incident that both share.
            self.fuses.settled(FuseTest::Failed, stratum, trial);
        }
        for Numbered { stratum, trial, user } in self.watches.slow.passed(now) {
            self.tally.aged(stratum);
            self.slow(stratum, trial, user);
            self.fuses.settled(FuseTest::Slow, stratum, trial);
        }
        for Answered { stratum, is_client_error, timed } in self.watches.good.passed(now) {
            self.tally.end(stratum, Outcome::Success, is_client_error);
            let Some((stratum, end, trial)) = timed else { continue };
            self.tally.end_timed(stratum, end, false);
            if let Some(trial) = trial {
                self.fuses.settled(FuseTest::Slow, stratum, trial);
            }
        }
    }
}
