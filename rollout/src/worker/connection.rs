//! The worker's end of the stream: when to open it, when to give it up, how long to wait before the next try.

use crate::base::time::Millis;

/// The first wait after a failure; it doubles with each further one.
const FIRST_BACKOFF: Millis = Millis(200);
/// The longest wait; with the second that the proxy's own channel may add (the shell bounds it), an agent that comes back
/// is found within 5 s.
const LAST_BACKOFF: Millis = Millis(3_500);
/// A worker whose stream broke, or whose agent was away, is back by then with what it counted, unless it is gone.
pub const BACK_WITHIN: Millis = Millis(10_000);
/// An agent that does not welcome a stream, or says nothing on it, for this long is given up.
pub const SILENCE: Millis = Millis(10_000);

/// Where the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// No agent is configured.
    Unwanted,
    /// No stream; the next try is due at `retry_at`.
    Down {
        /// When to try again.
        retry_at: Millis,
        /// Failures in a row.
        failures: u32,
    },
    /// A stream was opened and Hello sent; no welcome yet.
    Opening {
        /// When it was opened.
        since: Millis,
        /// Failures in a row before it.
        failures: u32,
    },
    /// Welcomed.
    Up {
        /// When the agent last sent something.
        last_message_at: Millis,
    },
}

impl Connection {
    /// Not yet tried: due at once.
    pub const fn new(wanted: bool) -> Self {
        if wanted { Self::Down { retry_at: Millis(0), failures: 0 } } else { Self::Unwanted }
    }

    /// Whether a new stream is due; if so it counts as opened now.
    pub fn open_if_due(&mut self, now: Millis) -> bool {
        match *self {
            Self::Down { retry_at, failures } if now >= retry_at => {
                *self = Self::Opening { since: now, failures };
                true
            }
            _ => false,
        }
    }

    /// Whether the agent has been silent for too long on an open stream.
    pub fn is_silent(&self, now: Millis) -> bool {
        match *self {
            Self::Opening { since, .. } => now.since(since) >= SILENCE,
            Self::Up { last_message_at } => now.since(last_message_at) >= SILENCE,
            Self::Unwanted | Self::Down { .. } => false,
        }
    }

    /// The agent said something on a welcomed stream.
    pub const fn on_message(&mut self, now: Millis) {
        if let Self::Up { last_message_at } = self {
            *last_message_at = now;
        }
    }

    /// The agent welcomed the stream.
    pub const fn welcomed(&mut self, now: Millis) {
        if matches!(self, Self::Opening { .. }) {
            *self = Self::Up { last_message_at: now };
        }
    }

    /// The stream is gone. `draw` is uniform; it spreads a fleet's retries over half of the wait.
    pub fn lost(&mut self, now: Millis, draw: u64) {
        let failures = match *self {
            Self::Unwanted | Self::Down { .. } => return,
            Self::Opening { failures, .. } => failures.saturating_add(1),
            Self::Up { .. } => 1,
        };
        let wait = FIRST_BACKOFF.doubled(failures - 1, LAST_BACKOFF).0;
        let jittered = wait / 2 + draw % (wait / 2 + 1);
        *self = Self::Down { retry_at: now.plus(Millis(jittered)), failures };
    }

    /// Whether the stream is welcomed.
    pub const fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_grow_stay_bounded_and_are_spread(draws in prop::collection::vec(any::<u64>(), 1..40)) {
            let mut connection = Connection::new(true);
            let mut now = Millis(0);
            for (failures, draw) in (1u32..).zip(draws) {
                prop_assert!(connection.open_if_due(now));
                connection.lost(now, draw);
                let Connection::Down { retry_at, .. } = connection else { unreachable!() };
                let full = (200u64 << (failures - 1).min(16)).min(3500);
                let wait = retry_at.since(now).0;
                prop_assert!(wait >= full / 2 && wait <= full, "{wait} of {full}");
                prop_assert!(!connection.open_if_due(Millis(retry_at.0 - 1)));
                now = retry_at;
            }
        }
    }

    #[test]
    fn silence_is_noticed_before_and_after_the_welcome() {
        let mut connection = Connection::new(true);
        assert!(connection.open_if_due(Millis(0)) && !connection.open_if_due(Millis(0)));
        assert!(!connection.is_silent(Millis(9_999)) && connection.is_silent(SILENCE));
        connection.welcomed(Millis(10));
        connection.on_message(Millis(20));
        assert!(!connection.is_silent(Millis(10_019)) && connection.is_silent(Millis(10_020)));
        let mut unwanted = Connection::new(false);
        assert!(!unwanted.open_if_due(Millis(5)));
        unwanted.lost(Millis(5), 0);
        assert_eq!(unwanted, Connection::Unwanted);
    }
}
