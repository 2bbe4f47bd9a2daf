//! The whole fleet: proxies, streams and the agent, driven by incoming requests and by what is due.

mod agent_side;

use rollout::base::time::{Micros, Millis};
use rollout::controller::fleet::Conn;
use rollout::controller::{Event, WorkerEvent};
use rollout::release::phase::Phase;
use rollout::worker::WorkerAction;
use rollout::worker::in_flight::InFlight;
use rollout::worker::messages::{ToAgent, ToWorker};
use slab::Slab;

use crate::agent::Agent;
use crate::draws::{Draws, Purpose};
use crate::exchange::{Exchange, Moment};
use crate::laws::Laws;
use crate::mishaps::Mishap;
use crate::network::{Direction, Streams};
use crate::proxy::Proxy;
use crate::request::Form;
use crate::scenario::Scenario;
use crate::schedule::{Happening, Schedule};
use crate::traffic::Arrival;
use crate::users::Users;

/// The state at one moment.
#[derive(Debug)]
pub(crate) struct Fleet<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) now: Micros,
    pub(crate) agent: Agent,
    pub(crate) users: Users,
    pub(crate) schedule: Schedule,
    pub(crate) laws: Option<Laws>,
    proxies: Vec<Proxy>,
    streams: Streams,
    form: Form,
    open: Slab<Open>,
    worker_draws: Draws,
    timer: Option<Millis>,
    /// What workers have said to an agent whose loop is busy.
    waiting: Vec<(Conn, WorkerEvent)>,
    /// Whether users have stopped sending, and nothing breaks any more.
    is_calm: bool,
}

/// A request that has not ended.
#[derive(Debug)]
struct Open {
    in_flight: InFlight,
    proxy: usize,
    life: u64,
    exchange: Exchange,
    is_bad: bool,
    arrival: Arrival,
}

impl<'a> Fleet<'a> {
    /// At time 0: workers that connect to the agent, an agent that has read the manifest, and a release to come.
    pub(crate) fn new(scenario: &'a Scenario, seed: u64, laws: Option<Laws>) -> Self {
        let crashes = scenario.mishaps.iter().any(|(_, what)| matches!(what, Mishap::AgentCrash { .. }));
        let mut fleet = Self {
            scenario,
            now: Micros(0),
            agent: Agent::new(crashes),
            users: Users::new(scenario),
            schedule: Schedule::default(),
            laws,
            proxies: scenario.proxies.iter().map(Proxy::new).collect(),
            streams: Streams::new(scenario.network, scenario.proxies.len(), Draws::new(seed, Purpose::Network)),
            form: Form::new(&scenario.plan),
            open: Slab::new(),
            worker_draws: Draws::new(seed, Purpose::Workers),
            timer: None,
            waiting: Vec::new(),
            is_calm: false,
        };
        fleet.agent_hears(Event::Declared(Box::new(scenario.plan.clone())));
        (0..fleet.proxies.len()).for_each(|proxy| fleet.begin_worker(proxy));
        fleet.schedule.plan(fleet.micros(Millis(0)), Happening::PersonActs);
        for (at, mishap) in &scenario.mishaps {
            fleet.schedule.plan(fleet.micros(*at), Happening::Breaks(*mishap));
        }
        fleet
    }

    /// The time since the release began.
    pub(crate) const fn since_begin(&self) -> Millis {
        self.now.to_millis().since(self.scenario.warm_up)
    }

    /// Whether the release has ended and every worker knows.
    pub(crate) fn is_over(&self) -> bool {
        let Some(canary) = self.agent.canary().filter(|_| self.agent.is_up()) else { return false };
        let in_force = |proxy: &Proxy| {
            let held = proxy.worker.as_ref().and_then(|worker| worker.weights(self.now.to_millis()).next());
            held.is_some_and(|(_, epoch, _)| epoch == canary.epoch)
        };
        matches!(canary.phase, Phase::Succeeded(_) | Phase::Failed(..)) && self.proxies.iter().all(in_force)
    }

    /// From now on nothing new breaks, and no client repeats a failed request.
    pub(crate) fn calm_down(&mut self) {
        self.is_calm = true;
        self.schedule.forget_mishaps();
        self.streams.heal();
    }

    /// A request comes in. Its own proxy takes it, or the next one that lives.
    pub(crate) fn request(&mut self, arrival: Arrival) {
        self.now = arrival.at;
        let (now, plan) = (self.now, &self.scenario.plan);
        let count = self.proxies.len();
        let routed = (0..count).find_map(|step| {
            let place = (arrival.proxy + step) % count;
            let proxy = self.proxies.get_mut(place)?;
            let routed = proxy.route(&mut self.form, arrival.sender, plan, now)?;
            Some((place, proxy.life, proxy.incarnation, routed))
        });
        // Without any worker the default route serves, and nothing counts.
        let Some((place, life, worker, routed)) = routed else { return };
        if let Some(laws) = &mut self.laws {
            laws.routed(worker, &routed.upstream, routed.placement, now.to_millis());
        }
        let fate = self.users.send(self.scenario, &arrival, place, &routed.upstream);
        let exchange = Exchange::new(now, self.scenario.client(arrival.attacker), fate);
        let started = self.proxies.get_mut(place).and_then(|proxy| proxy.start(&routed, exchange.is_whole, now));
        if let Some(in_flight) = started {
            let is_bad = fate.is_bad();
            let open = self.open.insert(Open { in_flight, proxy: place, life, exchange, is_bad, arrival });
            self.plan_moment(open);
        }
    }

    /// What is due next happens; `false` when nothing is.
    pub(crate) fn next(&mut self) -> bool {
        let Some((at, what)) = self.schedule.next() else { return false };
        self.now = at;
        match what {
            Happening::RequestMoves(open, moment) => self.request_moves(open, moment),
            Happening::Tick { proxy, pace } => self.tick(proxy, pace),
            Happening::ToAgent(conn, message) => self.agent_gets(conn, *message),
            Happening::AgentTakes => self.agent_takes(),
            Happening::ToWorker(conn, message) => self.worker_gets(conn, *message),
            Happening::StreamBreaks(conn) => self.stream_breaks(conn),
            Happening::WorkerLoses(proxy, conn) => self.worker_loses(proxy, conn),
            Happening::AgentLoses(conn) => self.agent_hears(Event::Disconnected(conn)),
            Happening::Stored { life, number } => {
                let commands = self.agent.stored(life, number);
                self.perform(commands);
            }
            Happening::Timer(at) if self.timer == Some(at) => {
                self.timer = None;
                self.agent_hears(Event::Timer);
            }
            Happening::Timer(_) => {}
            Happening::HookAnswers(answer) => self.agent_hears(*answer),
            Happening::PersonActs => self.person_acts(),
            Happening::Breaks(mishap) => self.breaks(mishap),
            Happening::WorkerBack(proxy) => self.begin_worker(proxy),
            Happening::AgentBack => {
                self.agent.restart();
                self.agent_hears(self.agent.controller().restarted(self.now.to_millis()));
                self.schedule.plan(self.now, Happening::PersonActs);
            }
        }
        true
    }

    fn micros(&self, since_begin: Millis) -> Micros {
        Micros(self.scenario.warm_up.plus(since_begin).0.saturating_mul(1000))
    }

    fn plan_moment(&mut self, open: usize) {
        if let Some((at, moment)) = self.open.get_mut(open).and_then(|open| open.exchange.next()) {
            self.schedule.plan(at, Happening::RequestMoves(open, moment));
        }
    }

    fn request_moves(&mut self, open: usize, moment: Moment) {
        let Some(held) = self.open.get_mut(open) else { return };
        let (place, life) = (held.proxy, held.life);
        if let Some(proxy) = self.proxies.get_mut(place).filter(|proxy| proxy.life == life) {
            let actions = proxy.moves(&mut held.in_flight, &held.exchange, moment, self.now);
            self.worker_acts(place, actions);
        }
        if moment != Moment::Over {
            return self.plan_moment(open);
        }
        let Some(Open { is_bad, arrival, .. }) = self.open.try_remove(open) else { return };
        if is_bad && arrival.retries > 0 && !self.is_calm {
            self.request(Arrival { at: self.now, retries: arrival.retries - 1, ..arrival });
        }
    }

    fn tick(&mut self, place: usize, pace: u64) {
        let now = self.now;
        let Some(proxy) = self.proxies.get_mut(place).filter(|proxy| proxy.paces == pace) else { return };
        let Some(worker) = proxy.worker.as_mut() else { return };
        let actions = worker.tick(now.to_millis());
        self.worker_acts(place, actions);
        self.plan_tick(place, pace);
    }

    /// The tick after this one, unless the pace has changed meanwhile.
    fn plan_tick(&mut self, place: usize, pace: u64) {
        if let Some(proxy) = self.proxies.get(place).filter(|proxy| proxy.paces == pace) {
            self.schedule.plan(proxy.next_tick(self.now), Happening::Tick { proxy: place, pace });
        }
    }

    fn worker_acts(&mut self, place: usize, actions: Vec<WorkerAction>) {
        for action in actions {
            let Some(proxy) = self.proxies.get_mut(place) else { return };
            match action {
                WorkerAction::OpenStream => self.open_stream(place),
                WorkerAction::Send(message) => {
                    let conn = proxy.conn;
                    conn.into_iter().for_each(|conn| self.send_up(place, conn, message.clone()));
                }
                WorkerAction::CloseStream => {
                    if let Some(conn) = proxy.conn.take() {
                        self.streams.end(conn);
                        let at = self.streams.notice(place, self.now);
                        self.schedule.plan(at, Happening::AgentLoses(conn));
                    }
                }
                WorkerAction::TickEvery(tick_every) => {
                    proxy.repace(tick_every);
                    let pace = proxy.paces;
                    self.plan_tick(place, pace);
                }
            }
        }
    }

    fn open_stream(&mut self, place: usize) {
        let (conn, breaks_at) = self.streams.open(place, self.now);
        if let Some(proxy) = self.proxies.get_mut(place) {
            proxy.conn = Some(conn);
        }
        if !self.agent.is_up() {
            self.streams.end(conn);
            let at = self.streams.notice(place, self.now);
            self.schedule.plan(at, Happening::WorkerLoses(place, conn));
        } else if let Some(at) = breaks_at {
            self.schedule.plan(at, Happening::StreamBreaks(conn));
        }
    }

    fn send_up(&mut self, place: usize, conn: Conn, message: ToAgent) {
        let Some(at) = self.streams.arrival(conn, Direction::Up, self.now) else { return };
        if let ToAgent::Report(report) = &message {
            if let (Some(laws), Some(proxy)) = (&mut self.laws, self.proxies.get(place)) {
                laws.reports(proxy.incarnation, report);
            }
            if self.streams.repeats() {
                self.schedule.plan(at, Happening::ToAgent(conn, Box::new(message.clone())));
            }
        }
        self.schedule.plan(at, Happening::ToAgent(conn, Box::new(message)));
    }

    fn send_down(&mut self, conn: Conn, message: ToWorker) {
        if let Some(at) = self.streams.arrival(conn, Direction::Down, self.now) {
            self.schedule.plan(at, Happening::ToWorker(conn, Box::new(message)));
        }
    }

    fn worker_gets(&mut self, conn: Conn, message: ToWorker) {
        let Some(place) = self.streams.proxy(conn) else { return };
        let now = self.now.to_millis();
        let Some(proxy) = self.proxies.get_mut(place) else { return };
        if let Some(laws) = &mut self.laws {
            laws.delivered(proxy.incarnation, &message, now);
        }
        let actions = proxy.worker.as_mut().map(|worker| worker.message(message, now)).unwrap_or_default();
        self.worker_acts(place, actions);
    }

    fn worker_loses(&mut self, place: usize, conn: Conn) {
        let Some(proxy) = self.proxies.get_mut(place).filter(|proxy| proxy.conn == Some(conn)) else { return };
        proxy.conn = None;
        if let Some(worker) = proxy.worker.as_mut() {
            worker.stream_lost(self.now.to_millis());
        }
    }

    fn stream_breaks(&mut self, conn: Conn) {
        let Some(stream) = self.streams.end(conn) else { return };
        let (at_worker, at_agent) =
            (self.streams.notice(stream.proxy, self.now), self.streams.notice(stream.proxy, self.now));
        self.schedule.plan(at_worker, Happening::WorkerLoses(stream.proxy, conn));
        self.schedule.plan(at_agent, Happening::AgentLoses(conn));
    }

    fn begin_worker(&mut self, place: usize) {
        let Some(proxy) = self.proxies.get_mut(place) else { return };
        proxy.begin(place, &self.scenario.plan, &mut self.worker_draws);
        proxy.repace(Millis(0));
        let pace = proxy.paces;
        // Proxies do not begin in step.
        let at = Micros(self.now.0 + self.worker_draws.bits() % 100_000);
        self.schedule.plan(at, Happening::Tick { proxy: place, pace });
    }

    fn breaks(&mut self, mishap: Mishap) {
        match mishap {
            Mishap::WorkerCrash { proxy: place, away } => self.worker_dies(place, away),
            Mishap::AgentCrash { away } if self.agent.is_up() => {
                self.agent.crash();
                self.waiting.clear();
                self.timer = None;
                for (conn, stream) in self.streams.end_all() {
                    let at = self.streams.notice(stream.proxy, self.now);
                    self.schedule.plan(at, Happening::WorkerLoses(stream.proxy, conn));
                }
                self.schedule.plan(Micros(self.now.0 + away.0 * 1000), Happening::AgentBack);
            }
            Mishap::AgentCrash { .. } => {}
            Mishap::StreamBreak { proxy: place } => {
                let conn = self.proxies.get(place).and_then(|proxy| proxy.conn);
                conn.into_iter().for_each(|conn| self.stream_breaks(conn));
            }
            Mishap::Partition { proxy: place, lasts } => {
                self.streams.block(place, Micros(self.now.0 + lasts.0 * 1000));
            }
        }
    }

    fn worker_dies(&mut self, place: usize, away: Millis) {
        let Some(proxy) = self.proxies.get_mut(place).filter(|proxy| proxy.worker.is_some()) else { return };
        let (incarnation, conn) = (proxy.incarnation, proxy.die());
        if let Some(laws) = &mut self.laws {
            laws.died(incarnation);
        }
        if let Some(conn) = conn.filter(|conn| self.streams.end(*conn).is_some()) {
            let at = self.streams.notice(place, self.now);
            self.schedule.plan(at, Happening::AgentLoses(conn));
        }
        self.schedule.plan(Micros(self.now.0 + away.0 * 1000), Happening::WorkerBack(place));
    }
}
