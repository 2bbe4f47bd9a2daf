//! Series of buckets: the newest one that is over.
//!
//! A server asked up to now answers, as its last point, the bucket that now lies in: it still fills, so a sum in it is too
//! small, and a rate or a quantile rests on a few seconds. It decides nothing. What each vendor's points mean:
//!
//! | kind | time of a point | length of its bucket |
//! |---|---|---|
//! | `datadog` | beginning | `interval` of the series, seconds |
//! | `cloudwatch` | beginning | the longest `Period` of the query; the end of the time asked for is exclusive, not aligned |
//! | `graphite` | beginning | the distance of the points: nulls stand between them |
//! | `influxdb` | beginning or end, as the query says | the distance of the rows; `aggregateWindow` cuts the last window off at the end of the range |
//! | `stackdriver` | both ends are given | as given |
//! | `splunk` | beginning | the resolution that the job names, else the distance of the points |
//!
//! `prometheus`, `newrelic` and `dynatrace` answer one number over a span that ends now, not a series; a query that makes a
//! series of it is refused. What a query of kind `http` points at is for the query's author to choose.

use rollout::base::time::Millis;
use rollout::release::integrations::MetricError;

use super::call::failed;

/// A value and the beginning of its bucket, Unix time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: f64,
    pub(super) value: Option<f64>,
}

/// The value of the newest bucket that is over and has one. Where a vendor names no `length`, it is the least distance of
/// two points, or `window` where there is only one.
pub(super) fn newest_closed(
    mut points: Vec<Point>,
    length: Option<f64>,
    window: Millis,
    now: Millis,
) -> Result<f64, MetricError> {
    points.sort_by(|a, b| a.at.total_cmp(&b.at));
    let length = length.filter(|length| *length > 0.0).or_else(|| spacing(&points)).unwrap_or(window.0 as f64);
    let is_closed = |point: &&Point| point.at + length <= now.0 as f64;
    let with_value = || points.iter().rev().filter(|point| point.value.is_some());
    match with_value().find(is_closed).and_then(|point| point.value) {
        Some(value) => Ok(value),
        None if with_value().next().is_some() => Err(still_open()),
        None => Err(MetricError::NoValue),
    }
}

/// That no bucket can decide yet.
pub(super) fn still_open() -> MetricError {
    failed("the only bucket with a value still fills: ask for shorter ones, or over a longer time")
}

/// The least distance of two points in order.
pub(super) fn spacing(points: &[Point]) -> Option<f64> {
    let distances = points.windows(2).filter_map(|pair| Some(pair.get(1)?.at - pair.first()?.at));
    distances.filter(|distance| *distance > 0.0).min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_000_000);
    const WINDOW: Millis = Millis(60_000);

    fn points(values: &[(f64, f64)]) -> Vec<Point> {
        values.iter().map(|(at, value)| Point { at: *at, value: Some(*value) }).collect()
    }

    #[test]
    fn the_bucket_that_now_lies_in_decides_nothing() {
        let of = |values: &[(f64, f64)], length| newest_closed(points(values), length, WINDOW, NOW);
        // Ends exactly now, and a millisecond later.
        assert_eq!(of(&[(880_000.0, 1.0), (940_000.0, 2.0)], None), Ok(2.0));
        assert_eq!(of(&[(880_001.0, 1.0), (940_001.0, 2.0)], None), Ok(1.0));
        // In any order, and with the length that the vendor names.
        assert_eq!(of(&[(990_000.0, 2.0), (980_000.0, 1.0)], Some(10_000.0)), Ok(2.0));
        assert_eq!(of(&[(990_000.0, 2.0), (980_000.0, 1.0)], Some(20_000.0)), Ok(1.0));
        assert_eq!(of(&[(990_000.0, 2.0), (980_000.0, 1.0)], Some(30_000.0)), Err(still_open()));
        // A gap makes no bucket longer.
        assert_eq!(of(&[(700_000.0, 1.0), (920_000.0, 2.0), (960_000.0, 3.0)], None), Ok(3.0));
        // Alone its bucket is taken to be as long as the window.
        assert_eq!(of(&[(940_000.0, 2.0)], None), Ok(2.0));
        assert_eq!(of(&[(950_000.0, 2.0)], None), Err(still_open()));
    }

    #[test]
    fn what_has_no_value_is_passed_over_and_nothing_is_no_value() {
        let mut some = points(&[(880_000.0, 1.0), (910_000.0, 2.0)]);
        some.push(Point { at: 940_000.0, value: None });
        assert_eq!(newest_closed(some, None, WINDOW, NOW), Ok(2.0));
        assert_eq!(newest_closed(Vec::new(), None, WINDOW, NOW), Err(MetricError::NoValue));
        let none = vec![Point { at: 1.0, value: None }];
        assert_eq!(newest_closed(none, None, WINDOW, NOW), Err(MetricError::NoValue));
    }
}
