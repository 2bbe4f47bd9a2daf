//! What a proxy sees of one request, and when: its end, the answer's headers, the end of both, or a client that leaves.

use rollout::base::time::{Micros, Millis};

use crate::attacker::Client;
use crate::behaviour::{Fate, ROUTE_TIMEOUT};

/// Envoy's response flag for an upstream that did not answer in time (`UpstreamRequestTimeout`).
const TIMED_OUT: u64 = 1 << 2;
/// And for a client that closed its connection (`DownstreamConnectionTermination`).
const CLIENT_GONE: u64 = 1 << 14;

/// The moments of one request that are still to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    /// Whether the headers are all there is of the request.
    pub(crate) is_whole: bool,
    /// When the rest of it has come in, if it ever does.
    whole_at: Option<Micros>,
    /// Where they are earlier than its end.
    answered_at: Option<Micros>,
    /// Never, where a version hangs and nobody gives up.
    over_at: Option<Micros>,
    /// The answer's status, if one comes.
    pub(crate) status: Option<&'static [u8]>,
    /// Envoy's response flags at the end.
    pub(crate) flags: u64,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The request has come in whole.
    Whole,
    /// The answer's headers came.
    Answered,
    /// All is over; an answer that was not seen before came at this moment.
    Over,
}

impl Exchange {
    /// A request whose headers come now, from such a client, and that ends like this on its version.
    pub(crate) fn new(now: Micros, client: Client, fate: Fate) -> Self {
        let later = |from: Micros, by: Millis| Micros(from.0.saturating_add(by.0.saturating_mul(1000)));
        let whole = later(now, client.sends_for);
        let answer = |after: Micros| Micros(whole.0.saturating_add(after.0));
        let (status, answered, flags): (Option<&[u8]>, _, _) = match fate {
            Fate::Good(after) => (Some(b"200"), Some(answer(after)), 0),
            Fate::Error(after) => (Some(b"500"), Some(answer(after)), 0),
            Fate::TimedOut(after) => (Some(b"504"), Some(answer(after)), TIMED_OUT),
            Fate::Never => (None, None, 0),
        };
        let read = answered.map(|answered| later(answered, client.reads_for));
        let is_whole = whole == now;
        let whole_at = (!is_whole).then_some(whole);
        let mut exchange = Self { is_whole, whole_at, answered_at: answered, over_at: read, status, flags };
        if client.reads_for > Millis(0) {
            exchange.ends_by(later(whole, ROUTE_TIMEOUT), TIMED_OUT);
        }
        if let Some(after) = client.leaves_after {
            exchange.ends_by(later(now, after), CLIENT_GONE);
        }
        exchange.answered_at = exchange.answered_at.filter(|answered| Some(*answered) != exchange.over_at);
        exchange
    }

    /// It is over at this moment at the latest, and what would have come behind it never comes.
    fn ends_by(&mut self, at: Micros, flags: u64) {
        if self.over_at.is_some_and(|over| over <= at) {
            return;
        }
        let is_before = |moment: &Micros| *moment < at;
        (self.over_at, self.flags) = (Some(at), flags);
        self.whole_at = self.whole_at.filter(is_before);
        self.answered_at = self.answered_at.filter(is_before);
        self.status = self.status.filter(|_| self.answered_at.is_some());
    }

    /// The next moment; each is given once.
    pub(crate) fn next(&mut self) -> Option<(Micros, Moment)> {
        let whole = self.whole_at.take().map(|at| (at, Moment::Whole));
        let next = whole.or_else(|| self.answered_at.take().map(|at| (at, Moment::Answered)));
        next.or_else(|| self.over_at.take().map(|at| (at, Moment::Over)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_000_000);

    /// The moments in milliseconds from the request's headers on, with the status and the flags.
    type Seen = (Vec<(u64, Moment)>, Option<&'static [u8]>, u64);

    fn seen(client: Client, fate: Fate) -> Seen {
        let mut exchange = Exchange::new(NOW, client, fate);
        let moments = std::iter::from_fn(|| exchange.next()).map(|(at, moment)| ((at.0 - NOW.0) / 1000, moment));
        (moments.collect(), exchange.status, exchange.flags)
    }

    const GOOD: Fate = Fate::Good(Micros(20_000));

    #[test]
    fn a_well_behaved_client_is_one_moment() {
        assert_eq!(seen(Client::default(), GOOD), (vec![(20, Moment::Over)], Some(&b"200"[..]), 0));
        assert!(Exchange::new(NOW, Client::default(), GOOD).is_whole);
        assert_eq!(seen(Client::default(), Fate::Never), (vec![], None, 0));
        let timed_out = Fate::TimedOut(Micros(5_000_000));
        assert_eq!(seen(Client::default(), timed_out), (vec![(5_000, Moment::Over)], Some(&b"504"[..]), TIMED_OUT));
    }

    #[test]
    fn a_slow_one_is_seen_sending_and_reading() {
        let slow = Client { sends_for: Millis(800), reads_for: Millis(300), leaves_after: None };
        let moments = vec![(800, Moment::Whole), (820, Moment::Answered), (1_120, Moment::Over)];
        assert_eq!(seen(slow, GOOD), (moments, Some(&b"200"[..]), 0));
        let idle = Client { reads_for: Millis(60_000), ..Client::default() };
        let moments = vec![(20, Moment::Answered), (15_000, Moment::Over)];
        assert_eq!(seen(idle, GOOD), (moments, Some(&b"200"[..]), TIMED_OUT), "the route's time-out");
    }

    #[test]
    fn what_comes_behind_a_client_that_left_never_comes() {
        let leaves = |after, sends_for| Client { sends_for, leaves_after: Some(Millis(after)), ..Client::default() };
        assert!(!Exchange::new(NOW, leaves(700, Millis(3_600_000)), GOOD).is_whole);
        assert_eq!(seen(leaves(700, Millis(3_600_000)), GOOD), (vec![(700, Moment::Over)], None, CLIENT_GONE));
        assert_eq!(seen(leaves(10, Millis(0)), GOOD), (vec![(10, Moment::Over)], None, CLIENT_GONE));
        assert_eq!(seen(leaves(30, Millis(0)), GOOD).2, 0, "it was served before");
        assert_eq!(seen(leaves(900, Millis(0)), Fate::Never), (vec![(900, Moment::Over)], None, CLIENT_GONE));
    }
}
