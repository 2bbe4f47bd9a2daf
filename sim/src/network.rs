//! The streams between workers and agent: in order, late, sometimes broken.

use std::collections::BTreeMap;

use rollout::base::time::{Micros, Millis};
use rollout::controller::fleet::Conn;

use crate::draws::Draws;

/// How well messages travel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Every message takes at least this long.
    pub delay: Millis,
    /// And this long more on average, exponentially distributed.
    pub jitter: Millis,
    /// The share of reports that arrive twice.
    pub repeats: f64,
    /// How long a stream lives on average, exponentially distributed; `None` for one that never breaks.
    pub streams_live: Option<Millis>,
}

impl Default for Network {
    fn default() -> Self {
        Self { delay: Millis(1), jitter: Millis(1), repeats: 0.0, streams_live: None }
    }
}

/// One stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Whose it is: the proxy's place in the fleet.
    pub(crate) proxy: usize,
    /// When the last message to the agent arrives.
    up: Micros,
    /// When the last message to the worker arrives.
    down: Micros,
}

/// Every stream that at least one end considers alive.
#[derive(Debug)]
pub(crate) struct Streams {
    network: Network,
    draws: Draws,
    streams: BTreeMap<Conn, Stream>,
    opened: u64,
    /// Until when nothing gets through, per proxy.
    blocked: Vec<Micros>,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

impl Streams {
    pub(crate) fn new(network: Network, proxies: usize, draws: Draws) -> Self {
        Self { network, draws, streams: BTreeMap::new(), opened: 0, blocked: vec![Micros(0); proxies] }
    }

    /// A new stream of a proxy, and when it breaks unless it is ended before.
    pub(crate) fn open(&mut self, proxy: usize, now: Micros) -> (Conn, Option<Micros>) {
        self.opened += 1;
        let conn = Conn(self.opened);
        self.streams.insert(conn, Stream { proxy, up: now, down: now });
        let lives = self.network.streams_live.map(|mean| self.draws.exponential(mean.0 as f64 * 1000.0) as u64);
        (conn, lives.map(|lives| Micros(now.0 + lives)))
    }

    /// Ends a stream; `None` if it has ended.
    pub(crate) fn end(&mut self, conn: Conn) -> Option<Stream> {
        self.streams.remove(&conn)
    }

    /// Ends all streams: the agent died.
    pub(crate) fn end_all(&mut self) -> Vec<(Conn, Stream)> {
        std::mem::take(&mut self.streams).into_iter().collect()
    }

    /// Whose stream it is, while it lives.
    pub(crate) fn proxy(&self, conn: Conn) -> Option<usize> {
        self.streams.get(&conn).map(|stream| stream.proxy)
    }

    /// When a message sent now arrives; never before one that was sent earlier on the same stream.
    pub(crate) fn arrival(&mut self, conn: Conn, direction: Direction, now: Micros) -> Option<Micros> {
        let delay = self.delay();
        let stream = self.streams.get_mut(&conn)?;
        let blocked = self.blocked.get(stream.proxy).copied().unwrap_or_default();
        let last = match direction {
            Direction::Up => &mut stream.up,
            Direction::Down => &mut stream.down,
        };
        *last = Micros(now.0.max(blocked.0) + delay).max(*last);
        Some(*last)
    }

    /// When the other end notices that a stream has ended now.
    pub(crate) fn notice(&mut self, proxy: usize, now: Micros) -> Micros {
        let blocked = self.blocked.get(proxy).copied().unwrap_or_default();
        Micros(now.0.max(blocked.0) + self.delay())
    }

    /// Nothing gets through to or from a proxy until then.
    pub(crate) fn block(&mut self, proxy: usize, until: Micros) {
        if let Some(blocked) = self.blocked.get_mut(proxy) {
            *blocked = until.max(*blocked);
        }
        for stream in self.streams.values_mut().filter(|stream| stream.proxy == proxy) {
            stream.up = stream.up.max(until);
            stream.down = stream.down.max(until);
        }
    }

    /// Whether this report arrives twice.
    pub(crate) fn repeats(&mut self) -> bool {
        self.draws.chance(self.network.repeats)
    }

    /// Ends all disturbances.
    pub(crate) fn heal(&mut self) {
        self.network = Network { repeats: 0.0, streams_live: None, ..self.network };
    }

    fn delay(&mut self) -> u64 {
        let jitter = match self.network.jitter {
            Millis(0) => 0,
            Millis(mean) => self.draws.exponential(mean as f64 * 1000.0) as u64,
        };
        self.network.delay.0 * 1000 + jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Purpose;

    #[test]
    fn messages_keep_their_order_and_wait_for_the_end_of_a_partition() {
        let network = Network { delay: Millis(1), jitter: Millis(50), ..Network::default() };
        let mut streams = Streams::new(network, 1, Draws::new(1, Purpose::Network));
        let (conn, breaks) = streams.open(0, Micros(0));
        assert_eq!(breaks, None);
        let mut last = Micros(0);
        for sent in 0..200 {
            let arrival = streams.arrival(conn, Direction::Up, Micros(sent * 10)).unwrap();
            assert!(arrival >= last && arrival.0 >= sent * 10 + 1000);
            last = arrival;
        }
        streams.block(0, Micros(9_000_000));
        assert!(streams.arrival(conn, Direction::Down, Micros(0)).unwrap() > Micros(9_000_000));
        assert!(streams.end(conn).is_some() && streams.arrival(conn, Direction::Up, Micros(0)).is_none());
    }
}
