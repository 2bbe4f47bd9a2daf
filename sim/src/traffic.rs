//! The requests that come in: when, by which proxy, from whom, and with what luck.
//!
//! They are the same for every judge: our fleet and the rivals see one stream. A request's luck says at which
//! failure rate it fails, so what a version does to it depends on the version alone.

use rollout::base::time::Micros;

use crate::draws::{Draws, Purpose, mix, unit};
use crate::scenario::{self, Scenario, Traffic, Users};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// When, counted from the beginning of the warm-up.
    pub(crate) at: Micros,
    /// By which proxy.
    pub(crate) proxy: usize,
    /// Whose it is.
    pub(crate) user: u32,
    /// It fails at failure rates above this; uniform from 0 to 1.
    pub(crate) luck: f64,
    /// How fast it is answered; standard normal.
    pub(crate) pace: f64,
    /// How often its client repeats it if it fails.
    pub(crate) retries: u32,
}

/// All requests in order, without end.
#[derive(Debug)]
pub(crate) struct Arrivals {
    traffic: Traffic,
    /// For each proxy, the share of the traffic that comes by it or one before it.
    up_to: Vec<f64>,
    seed: u64,
    draws: Draws,
    at_us: f64,
}

impl Arrivals {
    pub(crate) fn new(scenario: &Scenario, seed: u64) -> Self {
        let total: f64 = scenario.proxies.iter().map(|proxy| proxy.part).sum();
        let mut sum = 0.0;
        let up_to = scenario.proxies.iter().map(|proxy| {
            sum += proxy.part;
            sum / total
        });
        let up_to = up_to.collect();
        Self { traffic: scenario.traffic, up_to, seed, draws: Draws::new(seed, Purpose::Traffic), at_us: 0.0 }
    }

    fn user(&mut self, users: Users) -> u32 {
        let below = |draws: &mut Draws, count: u32| (draws.unit() * f64::from(count)) as u32;
        if users.heavy > 0 && self.draws.chance(users.heavy_share) {
            return below(&mut self.draws, users.heavy);
        }
        below(&mut self.draws, users.count.max(1))
    }

    fn luck(&mut self, user: u32, at: Micros) -> f64 {
        match self.traffic.users {
            Some(Users { spell, .. }) if spell.0 > 0 => {
                unit(mix(&[self.seed, u64::from(user), at.to_millis().0 / spell.0]))
            }
            _ => self.draws.unit(),
        }
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let distance_us = 1e6 / self.traffic.per_second;
        self.at_us += match self.traffic.arrivals {
            scenario::Arrivals::Poisson => self.draws.exponential(distance_us),
            scenario::Arrivals::Even => distance_us,
        };
        let at = Micros(self.at_us as u64);
        let place = self.draws.unit();
        let proxy = self.up_to.iter().position(|up_to| place < *up_to).unwrap_or(0);
        let user = self.traffic.users.map_or(0, |users| self.user(users));
        let (luck, pace) = (self.luck(user, at), self.draws.normal());
        Some(Arrival { at, proxy, user, luck, pace, retries: self.traffic.client_retries })
    }
}

#[cfg(test)]
mod tests {
    use rollout::base::time::Millis;

    use super::*;
    use crate::fixture;

    fn first(seconds: u64, edit: impl FnOnce(&mut Scenario)) -> Vec<Arrival> {
        let mut scenario = Scenario::healthy(fixture::plan());
        edit(&mut scenario);
        Arrivals::new(&scenario, 5).take_while(|arrival| arrival.at < Micros(seconds * 1_000_000)).collect()
    }

    #[test]
    fn as_many_come_as_are_asked_for_and_where() {
        let arrivals = first(20, |scenario| scenario.proxies[1].part = 5.0);
        assert!((19_500..20_500).contains(&arrivals.len()), "{}", arrivals.len());
        let by_second = arrivals.iter().filter(|arrival| arrival.proxy == 1).count();
        assert!((0.6..0.65).contains(&(by_second as f64 / arrivals.len() as f64)), "{by_second}");
        let even = first(20, |scenario| scenario.traffic.arrivals = scenario::Arrivals::Even);
        assert_eq!(even.len(), 19_999);
    }

    #[test]
    fn heavy_users_send_their_share_and_share_their_luck() {
        let users = Users { count: 1000, heavy: 3, heavy_share: 0.5, spell: Millis(1_000_000) };
        let arrivals = first(20, |scenario| scenario.traffic.users = Some(users));
        let heavy: Vec<_> = arrivals.iter().filter(|arrival| arrival.user < 3).collect();
        assert!((0.48..0.52).contains(&(heavy.len() as f64 / arrivals.len() as f64)), "{}", heavy.len());
        assert!(heavy.iter().all(|one| heavy.iter().find(|other| other.user == one.user).unwrap().luck == one.luck));
    }
}
