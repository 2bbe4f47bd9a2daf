//! How a version answers: how often it fails, how fast, and what a failure looks like.

use rollout::base::time::{Micros, Millis};

/// How long a proxy waits for an answer before it answers 504 itself: Envoy's default.
pub(crate) const ROUTE_TIMEOUT: Millis = Millis(15_000);

/// How one version answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// The share of requests that fail, over time.
    pub failure_rate: Course,
    /// What a failure looks like.
    pub failing: Failing,
    /// How long good answers take.
    pub latency: Latency,
    /// From this moment on, another median.
    pub slower: Option<(Millis, Millis)>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            failure_rate: Course::Constant(0.001),
            failing: Failing::Fast,
            latency: Latency { median: Millis(20), sigma: 0.5 },
            slower: None,
        }
    }
}

/// A share of requests, 0 to 1, as a function of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Course {
    /// Always this.
    Constant(f64),
    /// One share, and another from a moment on.
    From {
        /// Until then.
        before: f64,
        /// The moment.
        at: Millis,
        /// From then on.
        after: f64,
    },
    /// A straight line between two moments.
    Ramp {
        /// Until the line begins.
        before: f64,
        /// Where the line begins.
        from: Millis,
        /// Where it ends.
        until: Millis,
        /// Once it has ended.
        after: f64,
    },
}

impl Course {
    /// The share at a moment.
    pub fn at(&self, now: Millis) -> f64 {
        match *self {
            Self::Constant(share) => share,
            Self::From { before, at, after } => {
                if now < at {
                    before
                } else {
                    after
                }
            }
            Self::Ramp { before, from, until, after } => {
                if now >= until {
                    return after;
                }
                let done = now.since(from).0 as f64 / until.since(from).0.max(1) as f64;
                before + (after - before) * done
            }
        }
    }
}

impl From<f64> for Course {
    /// Always this share.
    fn from(share: f64) -> Self {
        Self::Constant(share)
    }
}

/// What a failure looks like to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Status 500 after a millisecond.
    Fast,
    /// Status 500 after as long as a good answer takes.
    LikeSuccess,
    /// No answer; the proxy gives up after this long.
    TimesOut(Millis),
    /// No answer, and a proxy that waits without a limit.
    Hangs,
}

/// Lognormal latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Half the answers take longer.
    pub median: Millis,
    /// Standard deviation of the logarithm: 0.5 puts the p95 at 2.3 times the median.
    pub sigma: f64,
}

/// How one request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A good answer after this long.
    Good(Micros),
    /// Status 500 after this long.
    Error(Micros),
    /// The proxy gives up after this long.
    TimedOut(Micros),
    /// Never.
    Never,
}

impl Fate {
    /// How long until the end is known; for a hang, until the default timeout of a proxy.
    pub(crate) const fn known_after(self) -> Micros {
        match self {
            Self::Good(after) | Self::Error(after) | Self::TimedOut(after) => after,
            Self::Never => Micros(ROUTE_TIMEOUT.0 * 1000),
        }
    }

    /// Whether the user got a bad answer, or none.
    pub(crate) const fn is_bad(self) -> bool {
        !matches!(self, Self::Good(_))
    }
}

impl Behaviour {
    /// How a request ends that starts now. It fails when its `luck` (0 to 1) lies below the failure rate joined with
    /// `others`' share; `pace` is standard normal.
    pub(crate) fn fate(&self, now: Millis, others: f64, luck: f64, pace: f64) -> Fate {
        if luck >= either(self.failure_rate.at(now), others) {
            return Fate::Good(self.duration(now, pace));
        }
        match self.failing {
            Failing::Fast => Fate::Error(Micros(1000)),
            Failing::LikeSuccess => Fate::Error(self.duration(now, pace)),
            Failing::TimesOut(after) => Fate::TimedOut(Micros(after.0.saturating_mul(1000))),
            Failing::Hangs => Fate::Never,
        }
    }

    fn duration(&self, now: Millis, pace: f64) -> Micros {
        let median = self.slower.filter(|(from, _)| now >= *from).map_or(self.latency.median, |(_, median)| median);
        Micros((median.0 as f64 * 1000.0 * libm::exp(self.latency.sigma * pace)) as u64)
    }
}

/// The share of requests that meet at least one of two independent faults.
pub(crate) fn either(a: f64, b: f64) -> f64 {
    1.0 - (1.0 - a) * (1.0 - b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn courses_go_where_they_say() {
        let ramp = Course::Ramp { before: 0.0, from: Millis(100), until: Millis(300), after: 0.4 };
        let at = |course: Course, times: [u64; 4]| times.map(|at| course.at(Millis(at)));
        assert_eq!(at(ramp, [0, 100, 200, 300]), [0.0, 0.0, 0.2, 0.4]);
        assert_eq!(at(Course::From { before: 0.1, at: Millis(5), after: 0.2 }, [0, 4, 5, 9]), [0.1, 0.1, 0.2, 0.2]);
    }

    #[test]
    fn luck_decides_and_failures_look_as_configured() {
        let behaviour = Behaviour { failure_rate: 0.5.into(), ..Behaviour::default() };
        assert_eq!(behaviour.fate(Millis(0), 0.0, 0.5, 0.0), Fate::Good(Micros(20_000)));
        assert_eq!(behaviour.fate(Millis(0), 0.0, 0.49, 0.0), Fate::Error(Micros(1000)));
        assert!(
            behaviour.fate(Millis(0), 0.5, 0.74, 0.0).is_bad() && !behaviour.fate(Millis(0), 0.5, 0.75, 0.0).is_bad()
        );
        let hangs = Behaviour { failing: Failing::Hangs, ..behaviour };
        assert_eq!(hangs.fate(Millis(0), 0.0, 0.0, 0.0).known_after(), Micros(15_000_000));
        let slower = Behaviour { slower: Some((Millis(10), Millis(900))), ..behaviour };
        assert_eq!(slower.fate(Millis(9), 0.0, 1.0, 0.0), Fate::Good(Micros(20_000)));
        assert_eq!(slower.fate(Millis(10), 0.0, 1.0, 0.0), Fate::Good(Micros(900_000)));
    }
}
