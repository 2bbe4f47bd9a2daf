//! One proxy: a real worker and the host round it.

use rollout::base::names::Upstream;
use rollout::base::time::{Micros, Millis};
use rollout::controller::fleet::Conn;
use rollout::release::plan::Plan;
use rollout::routing::route::Placement;
use rollout::routing::table::Version;
use rollout::worker::messages::Incarnation;
use rollout::worker::{Decision, HeaderEdit, Identity, Settings, Worker, WorkerAction};

use rollout::worker::in_flight::InFlight;

use crate::draws::Draws;
use crate::exchange::{Exchange, Moment};
use crate::request::{Form, Sender};
use crate::scenario;

/// How long entries hold when the agent is silent: the filter's default.
pub(crate) const LEASE: Millis = Millis(60_000);
/// Live strata between two reports: the filter's default.
const MAX_STRATA: usize = 4096;

/// A proxy; between two lives it has no worker.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) worker: Option<Worker>,
    pub(crate) incarnation: Incarnation,
    pub(crate) conn: Option<Conn>,
    /// How many lives began.
    pub(crate) life: u64,
    /// How often the worker asked for another pace; ticks of an earlier pace are out of date.
    pub(crate) paces: u64,
    tick_every: Millis,
    slow_by: Millis,
}

/// One request that was let through.
#[derive(Debug)]
pub(crate) struct Routed {
    /// Where it went.
    pub(crate) upstream: Upstream,
    /// How the worker says it was placed, if it counts.
    pub(crate) placement: Option<Placement>,
    decision: Decision,
}

impl Proxy {
    pub(crate) fn new(config: &scenario::Proxy) -> Self {
        Self {
            worker: None,
            incarnation: Incarnation(0),
            conn: None,
            life: 0,
            paces: 0,
            tick_every: Millis(0),
            slow_by: config.slow_by,
        }
    }

    /// A worker begins.
    pub(crate) fn begin(&mut self, number: usize, plan: &Plan, draws: &mut Draws) {
        self.life += 1;
        self.incarnation = Incarnation(draws.bits());
        let identity = Identity {
            node: format!("proxy-{number}"),
            cluster: "simulated".into(),
            filter_version: env!("CARGO_PKG_VERSION").into(),
            incarnation: self.incarnation,
        };
        let settings = Settings {
            has_agent: true,
            decision_header: "x-serin-upstream".into(),
            mirror_header: "x-serin-mirror".into(),
            lease: LEASE,
            default_upstreams: [(plan.id.clone(), plan.primary.clone())].into(),
            fixed: Vec::new(),
            shared_clusters: std::collections::BTreeSet::new(),
            max_strata: MAX_STRATA,
        };
        self.worker = Some(Worker::new(identity, settings, draws.bits()));
    }

    /// The worker's process dies; returns its stream.
    pub(crate) fn die(&mut self) -> Option<Conn> {
        self.worker = None;
        self.conn.take()
    }

    /// Ticks come this often from now on.
    pub(crate) const fn repace(&mut self, tick_every: Millis) {
        self.tick_every = tick_every;
        self.paces += 1;
    }

    /// When the tick after `now` comes.
    pub(crate) const fn next_tick(&self, now: Micros) -> Micros {
        let wait = self.tick_every.plus(self.slow_by).0;
        // A worker that has not asked for a pace yet gets its first tick at the next millisecond.
        let wait = if wait == 0 { 1 } else { wait };
        Micros(now.0 + wait * 1000)
    }

    /// A request's headers pass; `None` while there is no worker to ask.
    pub(crate) fn route(&mut self, form: &mut Form, sender: Sender, plan: &Plan, now: Micros) -> Option<Routed> {
        let worker = self.worker.as_mut()?;
        let decision = form.with(sender, |request| worker.route(request, now));
        let upstream = match &decision.header {
            HeaderEdit::Set(upstream) => upstream.clone(),
            HeaderEdit::Leave | HeaderEdit::Remove => plan.primary.clone(),
        };
        Some(Routed { upstream, placement: decision.placement(), decision })
    }

    /// It goes where it was sent: what the worker remembers of it, if it counts.
    pub(crate) fn start(&mut self, routed: &Routed, is_whole: bool, now: Micros) -> Option<InFlight> {
        self.worker.as_mut()?.start(&routed.decision, true, is_whole, now)
    }

    /// The next moment of a request has come; what the worker sends about it that cannot wait for its tick.
    pub(crate) fn moves(
        &mut self,
        in_flight: &mut InFlight,
        exchange: &Exchange,
        moment: Moment,
        now: Micros,
    ) -> Vec<WorkerAction> {
        let Some(worker) = self.worker.as_mut() else { return Vec::new() };
        if let (Moment::Answered | Moment::Over, Some(status)) = (moment, exchange.status) {
            worker.answered(in_flight, &[(b":status", status)], now);
        }
        match moment {
            Moment::Whole => worker.complete(in_flight, now),
            Moment::Answered => {}
            Moment::Over => {
                worker.finish(in_flight, exchange.flags, Some(1), now);
            }
        }
        worker.flush(now.to_millis())
    }
}

/// Which version's code an upstream runs: before the primary is brought to the new one, each its own.
pub(crate) fn version_of(upstream: &Upstream, plan: &Plan) -> Version {
    if *upstream == plan.canary { Version::Canary } else { Version::Primary }
}
