//! Fuses: the limits at which a worker stops the canary's traffic by itself, and its report that it did.

use rollout::worker::fuse::{FusePlan, FuseTest, MAX_CLUSTER, Ppb};
use rollout::worker::messages::Trip;

use crate::error::{WireError, at_most, each};
use crate::limits::MAX_COUNT;
use crate::names::{decode_canary, decode_epoch};
use crate::v1;

pub(crate) fn encode_fuse(fuse: &FusePlan) -> v1::Fuse {
    let [failed_forgiven, slow_forgiven] = fuse.unless_primary_also;
    v1::Fuse {
        failed_ppb: fuse.failed.map(Ppb::ppb),
        slow_ppb: fuse.slow.map(Ppb::ppb),
        alpha_ppb: fuse.alpha.ppb(),
        max_cluster: fuse.max_cluster,
        failed_unless_primary_also: failed_forgiven,
        slow_unless_primary_also: slow_forgiven,
    }
}

pub(crate) fn decode_fuse(fuse: &v1::Fuse) -> Result<FusePlan, WireError> {
    if fuse.failed_ppb.is_none() && fuse.slow_ppb.is_none() {
        return Err(WireError::missing("failed_ppb"));
    }
    if !(1..=MAX_CLUSTER).contains(&fuse.max_cluster) {
        return Err(WireError::number("max_cluster", fuse.max_cluster, format_args!("is outside 1 to {MAX_CLUSTER}")));
    }
    Ok(FusePlan {
        failed: fuse.failed_ppb.map(|ppb| decode_ppb("failed_ppb", ppb)).transpose()?,
        slow: fuse.slow_ppb.map(|ppb| decode_ppb("slow_ppb", ppb)).transpose()?,
        alpha: decode_ppb("alpha_ppb", fuse.alpha_ppb)?,
        max_cluster: fuse.max_cluster,
        unless_primary_also: [fuse.failed_unless_primary_also, fuse.slow_unless_primary_also],
    })
}

fn decode_ppb(field: &str, ppb: u32) -> Result<Ppb, WireError> {
    Ppb::new(ppb).map_err(|_| WireError::number(field, ppb, "is outside 1 to 999999999"))
}

pub(crate) fn encode_trips(trips: &[Trip]) -> Vec<v1::Trip> {
    let encoded = trips.iter().map(|trip| v1::Trip {
        canary: trip.canary.as_str().into(),
        epoch: trip.epoch.0,
        test: encode_test(trip.test).into(),
        events: trip.events.min(MAX_COUNT),
        trials: trip.trials.min(MAX_COUNT),
    });
    encoded.collect()
}

pub(crate) fn decode_trips(trips: Vec<v1::Trip>, limit: usize) -> Result<Vec<Trip>, WireError> {
    at_most("trips", trips.len(), limit)?;
    each("trips", trips, |trip| decode_trip(&trip))
}

fn decode_trip(trip: &v1::Trip) -> Result<Trip, WireError> {
    if trip.events == 0 || trip.events > MAX_COUNT {
        return Err(WireError::number("events", trip.events, "is outside 1 to 2^48"));
    }
    if trip.trials < trip.events || trip.trials > MAX_COUNT {
        return Err(WireError::number("trials", trip.trials, "is less than events, or above 2^48"));
    }
    Ok(Trip {
        canary: decode_canary(&trip.canary)?,
        epoch: decode_epoch(trip.epoch)?,
        test: decode_test(trip.test)?,
        events: trip.events,
        trials: trip.trials,
    })
}

const fn encode_test(test: FuseTest) -> v1::FuseTest {
    match test {
        FuseTest::Failed => v1::FuseTest::Failed,
        FuseTest::Slow => v1::FuseTest::Slow,
    }
}

fn decode_test(test: i32) -> Result<FuseTest, WireError> {
    match v1::FuseTest::try_from(test) {
        Ok(v1::FuseTest::Failed) => Ok(FuseTest::Failed),
        Ok(v1::FuseTest::Slow) => Ok(FuseTest::Slow),
        Ok(v1::FuseTest::Unspecified) | Err(_) => {
            Err(WireError::number("test", test, "is not a value this build knows"))
        }
    }
}
