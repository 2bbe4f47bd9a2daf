//! The requests that come in, from users and attackers: when, by which proxy, from whom, and with what luck.
//!
//! They are the same for every judge: our fleet and the rivals see one stream. A request's luck says at which
//! failure rate it fails, so what a version does to it depends on the version alone.

use std::iter::Peekable;

use rollout::base::time::{Micros, Millis};

use crate::attacker::{Attacker, Keys};
use crate::draws::{Draws, Purpose, mix, unit};
use crate::request::Sender;
use crate::scenario::{self, Proxy, Scenario, Traffic, Users};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// When, counted from the beginning of the warm-up.
    pub(crate) at: Micros,
    /// By which proxy.
    pub(crate) proxy: usize,
    /// Whose it is.
    pub(crate) sender: Sender,
    /// Which attacker's, if it is no user's.
    pub(crate) attacker: Option<usize>,
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
    users: Peekable<OfUsers>,
    attackers: Vec<Peekable<OfAttacker>>,
}

impl Arrivals {
    pub(crate) fn new(scenario: &Scenario, seed: u64) -> Self {
        let attackers = (0..scenario.attackers.len()).filter_map(|number| OfAttacker::new(scenario, number, seed));
        Self { users: OfUsers::new(scenario, seed).peekable(), attackers: attackers.map(Iterator::peekable).collect() }
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let of_user = self.users.peek().map_or(Micros(u64::MAX), |arrival| arrival.at);
        let heads = self.attackers.iter_mut().filter_map(|attacker| Some((attacker.peek()?.at, attacker)));
        match heads.min_by_key(|(at, _)| *at).filter(|(at, _)| *at < of_user) {
            Some((_, attacker)) => attacker.next(),
            None => self.users.next(),
        }
    }
}

/// For each proxy, the share of the traffic that comes by it or one before it.
fn shares(proxies: &[Proxy]) -> Vec<f64> {
    let total: f64 = proxies.iter().map(|proxy| proxy.part).sum();
    let mut sum = 0.0;
    let up_to = proxies.iter().map(|proxy| {
        sum += proxy.part;
        sum / total
    });
    up_to.collect()
}

fn proxy_at(up_to: &[f64], place: f64) -> usize {
    up_to.iter().position(|up_to| place < *up_to).unwrap_or(0)
}

/// What users send.
#[derive(Debug)]
struct OfUsers {
    traffic: Traffic,
    up_to: Vec<f64>,
    seed: u64,
    draws: Draws,
    at_us: f64,
}

impl OfUsers {
    fn new(scenario: &Scenario, seed: u64) -> Self {
        let draws = Draws::new(seed, Purpose::Traffic);
        Self { traffic: scenario.traffic, up_to: shares(&scenario.proxies), seed, draws, at_us: 0.0 }
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

impl Iterator for OfUsers {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let distance_us = 1e6 / self.traffic.per_second;
        self.at_us += match self.traffic.arrivals {
            scenario::Arrivals::Poisson => self.draws.exponential(distance_us),
            scenario::Arrivals::Even => distance_us,
        };
        let at = Micros(self.at_us as u64);
        let place = self.draws.unit();
        let proxy = proxy_at(&self.up_to, place);
        let user = self.traffic.users.map_or(0, |users| self.user(users));
        let (luck, pace) = (self.luck(user, at), self.draws.normal());
        let sender = Sender { user, has_key: true, chooses: false };
        Some(Arrival { at, proxy, sender, attacker: None, luck, pace, retries: self.traffic.client_retries })
    }
}

/// Set in the names that attackers invent, and in no user's.
const INVENTED: u32 = 1 << 31;

/// What one attacker sends.
#[derive(Debug)]
struct OfAttacker {
    attacker: Attacker,
    number: usize,
    seed: u64,
    up_to: Vec<f64>,
    draws: Draws,
    sent: u32,
    at_us: f64,
    until_us: f64,
}

impl OfAttacker {
    fn new(scenario: &Scenario, number: usize, seed: u64) -> Option<Self> {
        let attacker = *scenario.attackers.get(number)?;
        let us = |since_begin: Millis| scenario.warm_up.plus(since_begin).0 as f64 * 1e3;
        Some(Self {
            number,
            seed,
            up_to: shares(&scenario.proxies),
            draws: Draws::new(seed, Purpose::Attacker(number)),
            sent: 0,
            at_us: us(attacker.from),
            until_us: us(attacker.until),
            attacker,
        })
    }

    /// A name, another one with each seed: a release's salt never changes, so a name would be on the same version in every run.
    fn invent(&self, number: u32) -> u32 {
        INVENTED | mix(&[self.seed, self.number as u64, u64::from(number)]) as u32
    }
}

impl Iterator for OfAttacker {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.at_us += self.draws.exponential(1e6 / self.attacker.per_second);
        if self.at_us >= self.until_us {
            return None;
        }
        let place = self.draws.unit();
        let proxy = self.attacker.proxy.unwrap_or_else(|| proxy_at(&self.up_to, place));
        let name = match self.attacker.keys {
            Keys::Absent | Keys::Fresh => self.sent,
            Keys::Few(count) => self.sent % count.max(1),
        };
        self.sent = self.sent.wrapping_add(1);
        let sender = Sender {
            user: self.invent(name),
            has_key: self.attacker.keys != Keys::Absent,
            chooses: self.attacker.chooses,
        };
        let (luck, pace) = (self.draws.unit(), self.draws.normal());
        Some(Arrival {
            at: Micros(self.at_us as u64),
            proxy,
            sender,
            attacker: Some(self.number),
            luck,
            pace,
            retries: 0,
        })
    }
}

#[cfg(test)]
mod tests {
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
        let heavy: Vec<_> = arrivals.iter().filter(|arrival| arrival.sender.user < 3).collect();
        assert!((0.48..0.52).contains(&(heavy.len() as f64 / arrivals.len() as f64)), "{}", heavy.len());
        assert!(
            heavy.iter().all(|one| heavy.iter().find(|other| other.sender == one.sender).unwrap().luck == one.luck)
        );
    }

    #[test]
    fn attackers_come_in_between_and_move_no_user() {
        let alone = first(20, |_| ());
        let burst = Attacker { keys: Keys::Fresh, proxy: Some(2), ..Attacker::burst(300, Millis(5_000)) };
        let mixed = first(20, |scenario| scenario.attackers = vec![Attacker::steady(100.0), burst]);
        assert!(mixed.is_sorted_by_key(|arrival| arrival.at));
        let of = |attacker| mixed.iter().filter(move |arrival| arrival.attacker == attacker);
        assert_eq!(of(None).copied().collect::<Vec<_>>(), alone);
        // The release begins after 10 s of warm-up.
        assert!((900..1_100).contains(&of(Some(0)).count()) && (250..350).contains(&of(Some(1)).count()));
        assert!(of(Some(1)).all(|arrival| arrival.proxy == 2 && (15_000..15_100).contains(&arrival.at.to_millis().0)));
        let names: std::collections::BTreeSet<u32> = of(Some(1)).map(|arrival| arrival.sender.user).collect();
        assert_eq!(names.len(), of(Some(1)).count());
    }
}
