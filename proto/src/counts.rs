//! Reports: strata, failures by class, and latency as runs of buckets.
//!
//! Why not HdrHistogram's V2 encoding: ours is the same run-length code without its 40-byte header, so it is always
//! smaller, and it has one form only. V2 deflated is smaller from about 100 requests on, but a report leaves every 100 ms:
//! a few hundred bytes saved are not worth an inflater that hostile bytes reach, nor its code in the filter. (Bucket
//! index and count as two lists were tried first: twice the size on dense histograms.) Bytes for one stratum, measured
//! by tests/histogram_size.rs:
//!
//! | latencies | requests | ours | V2 | V2 deflated |
//! |---|--:|--:|--:|--:|
//! | cache, 0.2 to 2 ms | 1 | 5 | 43 | 40 |
//! | | 100 | 189 | 226 | 115 |
//! | | 10,000 | 506 | 543 | 332 |
//! | web, 5 to 300 ms | 1 | 5 | 43 | 41 |
//! | | 100 | 204 | 241 | 129 |
//! | | 10,000 | 842 | 879 | 385 |
//! | mixed, 1 ms to 20 s | 1 | 5 | 43 | 41 |
//! | | 100 | 205 | 242 | 158 |
//! | | 10,000 | 1,668 | 1,705 | 572 |

use rollout::base::histogram::{Latency, Packed, max_index};
use rollout::base::names::CanaryId;
use rollout::routing::outcome::FailureClass;
use rollout::routing::route::Placement;
use rollout::routing::table::Epoch;
use rollout::worker::messages::{Report, Watermark};
use rollout::worker::tally::{Counts, Failures, Repeated, Slot, Stratum, Timed};

use crate::destinations::{decode_destinations, encode_destinations};
use crate::error::{WireError, at_most, each};
use crate::fuse::{decode_trips, encode_trips};
use crate::limits::{MAX_CANARIES, MAX_COUNT, MAX_STRATA, MAX_TRIPS};
use crate::names::{decode_canary, decode_version, encode_version, unknown};
use crate::v1;

pub(crate) fn encode_report(report: &Report) -> v1::Report {
    let strata = report.strata.iter();
    v1::Report {
        number: report.number,
        strata: strata.map(|(stratum, counts)| encode_stratum(stratum, counts)).collect(),
        watermarks: report.watermarks.iter().map(encode_watermark).collect(),
        trips: encode_trips(&report.trips),
        destinations: encode_destinations(&report.destinations),
    }
}

pub(crate) fn decode_report(report: v1::Report) -> Result<Report, WireError> {
    if report.number == 0 {
        return Err(WireError::number("number", 0, "is not a valid report number; they count from 1"));
    }
    at_most("strata", report.strata.len(), MAX_STRATA)?;
    at_most("watermarks", report.watermarks.len(), MAX_CANARIES)?;
    Ok(Report {
        number: report.number,
        strata: each("strata", report.strata, decode_stratum)?,
        watermarks: each("watermarks", report.watermarks, |watermark| decode_watermark(&watermark))?,
        trips: decode_trips(report.trips, MAX_TRIPS)?,
        destinations: decode_destinations(report.destinations)?,
    })
}

fn encode_watermark(watermark: &Watermark) -> v1::Watermark {
    v1::Watermark { canary: watermark.canary.as_str().into(), epoch: watermark.epoch.0, slot: watermark.slot.0 }
}

fn decode_watermark(watermark: &v1::Watermark) -> Result<Watermark, WireError> {
    Ok(Watermark {
        canary: decode_canary(&watermark.canary)?,
        epoch: Epoch(watermark.epoch),
        slot: Slot(watermark.slot),
    })
}

fn encode_stratum(stratum: &Stratum<CanaryId>, counts: &Counts) -> v1::Stratum {
    let classes = FailureClass::ALL.into_iter().filter_map(|class| {
        let count = counts.failed.of(class);
        (count > 0).then(|| v1::Failed { class: encode_class(class).into(), count: count.min(MAX_COUNT) })
    });
    v1::Stratum {
        canary: stratum.canary.as_str().into(),
        epoch: stratum.epoch.0,
        version: encode_version(stratum.version).into(),
        placement: encode_placement(stratum.placement).into(),
        started: counts.started.min(MAX_COUNT),
        succeeded: counts.succeeded.min(MAX_COUNT),
        failed: classes.collect(),
        void: counts.void.min(MAX_COUNT),
        latency: encode_latency(&counts.latency),
        slot: stratum.slot.0,
        slow: counts.timed.slow.min(MAX_COUNT),
        abandoned: counts.abandoned.min(MAX_COUNT),
        received: counts.received.min(MAX_COUNT),
        client_errors: counts.client_errors.min(MAX_COUNT),
        unserved: counts.unserved.min(MAX_COUNT),
        repeated_failed: counts.repeated.failed.min(MAX_COUNT),
        repeated_slow: counts.repeated.slow.min(MAX_COUNT),
        timed: counts.timed.begun.min(MAX_COUNT),
        timed_ended: counts.timed.ended.min(MAX_COUNT),
        timed_void: counts.timed.void.min(MAX_COUNT),
        timed_left: counts.timed.left.min(MAX_COUNT),
    }
}

fn decode_stratum(stratum: v1::Stratum) -> Result<(Stratum<CanaryId>, Counts), WireError> {
    let at = Stratum {
        canary: decode_canary(&stratum.canary)?,
        epoch: Epoch(stratum.epoch),
        version: decode_version(stratum.version)?,
        placement: decode_placement(stratum.placement)?,
        slot: Slot(stratum.slot),
    };
    let counts = Counts {
        started: decode_count("started", stratum.started)?,
        received: decode_count("received", stratum.received)?,
        succeeded: decode_count("succeeded", stratum.succeeded)?,
        client_errors: decode_count("client_errors", stratum.client_errors)?,
        failed: decode_failed(&stratum.failed)?,
        void: decode_count("void", stratum.void)?,
        abandoned: decode_count("abandoned", stratum.abandoned)?,
        unserved: decode_count("unserved", stratum.unserved)?,
        repeated: Repeated {
            failed: decode_count("repeated_failed", stratum.repeated_failed)?,
            slow: decode_count("repeated_slow", stratum.repeated_slow)?,
        },
        timed: Timed {
            begun: decode_count("timed", stratum.timed)?,
            ended: decode_count("timed_ended", stratum.timed_ended)?,
            void: decode_count("timed_void", stratum.timed_void)?,
            left: decode_count("timed_left", stratum.timed_left)?,
            slow: decode_count("slow", stratum.slow)?,
        },
        latency: decode_latency(&stratum.latency.unwrap_or_default()).map_err(|error| error.within("latency"))?,
    };
    Ok((at, counts))
}

fn decode_count(field: &str, count: u64) -> Result<u64, WireError> {
    if count > MAX_COUNT {
        return Err(WireError::number(field, count, "is not a plausible count; at most 2^48 is allowed"));
    }
    Ok(count)
}

fn decode_failed(failed: &[v1::Failed]) -> Result<Failures, WireError> {
    at_most("failed", failed.len(), FailureClass::ALL.len())?;
    let mut failures = Failures::default();
    let mut last = 0;
    for item in failed {
        let class = decode_class(item.class)?;
        if item.class <= last {
            return Err(WireError::number(
                "failed.class",
                item.class,
                "does not increase; name each class once, in order",
            ));
        }
        last = item.class;
        if item.count == 0 {
            return Err(WireError::number("failed.count", 0, "is an empty count; leave the class out"));
        }
        if let Some(held) = failures.0.get_mut(class as usize) {
            *held = decode_count("failed.count", item.count)?;
        }
    }
    Ok(failures)
}

fn encode_latency(latency: &Latency) -> Option<v1::Latency> {
    let Packed(filled) = latency.pack();
    if filled.is_empty() {
        return None;
    }
    let mut next = 0;
    let mut buckets = Vec::with_capacity(filled.len());
    for (index, count) in filled {
        if index > next {
            buckets.push(-i64::from(index - next));
        }
        buckets.push(count.min(MAX_COUNT).cast_signed());
        next = index + 1;
    }
    Some(v1::Latency { buckets })
}

fn decode_latency(latency: &v1::Latency) -> Result<Latency, WireError> {
    let refuse = |value: i64, rule: &str| Err(WireError::number("buckets", value, rule));
    let mut index = 0u64;
    let mut after_run = false;
    let mut packed = Packed::default();
    for &value in &latency.buckets {
        match value {
            0 => return refuse(value, "is neither a count nor a run"),
            ..0 if after_run => return refuse(value, "is a run behind a run; send one"),
            ..0 => index = index.saturating_add(value.unsigned_abs()),
            1.. => {
                // Checked for each filled bucket, so the list can hold no more of them than the histogram has.
                let bucket = u32::try_from(index).ok().filter(|bucket| *bucket <= max_index());
                let Some(bucket) = bucket else {
                    let rule = format!("stands in bucket {index}; the last one is {}", max_index());
                    return refuse(value, &rule);
                };
                packed.0.push((bucket, decode_count("buckets", value.unsigned_abs())?));
                index = index.saturating_add(1);
            }
        }
        after_run = value < 0;
    }
    if after_run {
        return refuse(-1, "ends the list with a run; leave it out");
    }
    Ok(Latency::unpack(&packed))
}

const fn encode_placement(placement: Placement) -> v1::Placement {
    match placement {
        Placement::Drawn => v1::Placement::Drawn,
        Placement::Sticky => v1::Placement::Sticky,
        Placement::Matched => v1::Placement::Matched,
        Placement::FailSafe => v1::Placement::FailSafe,
        Placement::Mirrored => v1::Placement::Mirrored,
    }
}

fn decode_placement(placement: i32) -> Result<Placement, WireError> {
    match v1::Placement::try_from(placement) {
        Ok(v1::Placement::Drawn) => Ok(Placement::Drawn),
        Ok(v1::Placement::Sticky) => Ok(Placement::Sticky),
        Ok(v1::Placement::Matched) => Ok(Placement::Matched),
        Ok(v1::Placement::FailSafe) => Ok(Placement::FailSafe),
        Ok(v1::Placement::Mirrored) => Ok(Placement::Mirrored),
        Ok(v1::Placement::Unspecified) | Err(_) => Err(unknown("placement", placement)),
    }
}

const fn encode_class(class: FailureClass) -> v1::FailureClass {
    match class {
        FailureClass::Status5xx => v1::FailureClass::Status5xx,
        FailureClass::Grpc => v1::FailureClass::Grpc,
        FailureClass::Reset => v1::FailureClass::Reset,
        FailureClass::Timeout => v1::FailureClass::Timeout,
        FailureClass::Unavailable => v1::FailureClass::Unavailable,
        FailureClass::Retried => v1::FailureClass::Retried,
    }
}

fn decode_class(class: i32) -> Result<FailureClass, WireError> {
    let known = FailureClass::ALL.into_iter();
    known
        .into_iter()
        .find(|known| i32::from(encode_class(*known)) == class)
        .ok_or_else(|| unknown("failed.class", class))
}
