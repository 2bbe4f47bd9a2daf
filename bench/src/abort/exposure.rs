//! What users got of one release: from the client's samples and the agent's verdict to figures. Pure.

use std::time::Instant;

use ::tests::samples::{Sample, Samples};
use serde::Serialize;

/// What the client counted of one release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Received {
    /// Responses of both versions.
    pub requests: u64,
    /// Responses of the canary.
    pub canary_responses: u64,
    /// The bad ones among them.
    pub bad_responses: u64,
    /// Bad ones that are no version's fault: nothing came, or Envoy answered by itself.
    pub bad_of_nobody: u64,
    /// Bad ones of the primary.
    pub bad_of_primary: u64,
    /// Requests per second that the client sent, from the first to the last.
    pub rps: f64,
    /// How late a request in a hundred left at least, in milliseconds: the client's own stalls.
    pub late_p99_ms: f64,
}

/// How long users were exposed to a bad version, in milliseconds. `exposure_ms` is always `detect_ms + push_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Exposure {
    /// From the first bad response that a user received to the last request that a user sent and the canary got.
    pub exposure_ms: f64,
    /// From the first bad response to the agent's verdict.
    pub detect_ms: f64,
    /// From the verdict to the last request that the canary got. Below 0 when it got none after the verdict: the canary
    /// gets one only every now and then.
    pub push_ms: f64,
    /// From the verdict until the agent knew that every worker had weight 0 in force: an upper bound of what the push took,
    /// however rare requests are.
    pub in_force_ms: f64,
}

/// Counts a release's samples.
#[must_use]
pub fn received(samples: &Samples, revision: &str) -> Received {
    let counts = samples.by_version();
    let canary = counts.get(revision).copied().unwrap_or_default();
    let bad_of_nobody = counts.get("none").map_or(0, |count| count.bad);
    Received {
        requests: samples.count(),
        canary_responses: canary.responses,
        bad_responses: canary.bad,
        bad_of_nobody,
        bad_of_primary: samples.bad().saturating_sub(canary.bad + bad_of_nobody),
        rps: rps(samples),
        late_p99_ms: late_p99_ms(samples),
    }
}

/// Splits the time of a release that was aborted; `None` without a bad response.
#[must_use]
pub fn exposure(samples: &Samples, revision: &str, verdict: Instant, in_force: Instant) -> Option<Exposure> {
    let first_bad = samples.of(revision).filter(|sample| sample.is_bad()).map(|sample| sample.done).min()?;
    let last = samples.last_sent_to(revision)?;
    let detect_ms = ms_between(first_bad, verdict);
    let push_ms = ms_between(verdict, last);
    let in_force_ms = ms_between(verdict, in_force);
    Some(Exposure { exposure_ms: detect_ms + push_ms, detect_ms, push_ms, in_force_ms })
}

/// Milliseconds from one instant to another; negative when the other was earlier.
fn ms_between(from: Instant, to: Instant) -> f64 {
    let ahead = to.saturating_duration_since(from).as_secs_f64();
    let behind = from.saturating_duration_since(to).as_secs_f64();
    (ahead - behind) * 1e3
}

fn rps(samples: &Samples) -> f64 {
    let sent = || samples.0.iter().map(|sample| sample.sent);
    let Some((first, last)) = sent().min().zip(sent().max()) else { return 0.0 };
    let gaps = samples.count().saturating_sub(1) as f64;
    if last > first { gaps / last.duration_since(first).as_secs_f64() } else { 0.0 }
}

fn late_p99_ms(samples: &Samples) -> f64 {
    let late = |sample: &Sample| ms_between(sample.due, sample.sent);
    let mut late_ms: Vec<f64> = samples.0.iter().map(late).collect();
    late_ms.sort_by(f64::total_cmp);
    late_ms.get(late_ms.len() * 99 / 100).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sent, done (in ms), status, version.
    type Notification = (u64, u64, u16, Option<&'static str>);

    fn samples(start: Instant, notifications: &[Notification]) -> Samples {
        let at = |ms| start + Duration::from_millis(ms);
        let sample = |(index, &(sent, done, status, version)): (usize, &Notification)| Sample {
            index: index as u64,
            due: at(sent.saturating_sub(3)),
            sent: at(sent),
            done: at(done),
            status: Some(status),
            version: version.map(str::to_owned),
        };
        Samples(notifications.iter().enumerate().map(sample).collect())
    }

    #[test]
    fn each_bad_response_is_counted_where_it_belongs() {
        let notifications = [
            (10, 12, 200, Some("v1")),
            (20, 22, 500, Some("r7")),
            (30, 32, 200, Some("r7")),
            (40, 42, 503, None),
            (50, 52, 500, Some("v1")),
            (60, 62, 500, Some("r6")),
        ];
        let received = received(&samples(Instant::now(), &notifications), "r7");
        assert_eq!((received.requests, received.canary_responses, received.bad_responses), (6, 2, 1));
        // A response of an earlier release would be a fault of the benchmark; it must not vanish.
        assert_eq!((received.bad_of_nobody, received.bad_of_primary), (1, 2));
        assert!((received.rps - 100.0).abs() < 1e-9 && (received.late_p99_ms - 3.0).abs() < 1e-9, "{received:?}");
    }

    #[test]
    fn exposure_is_split_at_the_verdict() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let notifications = [
            (100, 105, 200, Some("r7")),
            // Sent first, answered last: what counts is when users saw something, and when the last one was sent there.
            (110, 400, 500, Some("r7")),
            (150, 160, 500, Some("r7")),
            (290, 295, 200, Some("r7")),
            (500, 501, 500, Some("v1")),
        ];
        let samples = samples(start, &notifications);
        let near = |a: Exposure, b: [f64; 4]| {
            let a = [a.exposure_ms, a.detect_ms, a.push_ms, a.in_force_ms];
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
        };
        near(exposure(&samples, "r7", at(280), at(284)).unwrap(), [130.0, 120.0, 10.0, 4.0]);
        // No request reached the canary after this verdict.
        near(exposure(&samples, "r7", at(300), at(304)).unwrap(), [130.0, 140.0, -10.0, 4.0]);
        assert_eq!(exposure(&samples, "r8", at(300), at(304)), None);
        assert_eq!(exposure(&Samples::default(), "r7", at(300), at(304)), None);
    }

    #[test]
    fn nothing_sent_is_no_rate() {
        assert_eq!(received(&Samples::default(), "r7"), Received::default());
    }
}
