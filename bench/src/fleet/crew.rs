//! The workers of one thread: the filter's own engines, and the least of a proxy round each of them.
//!
//! A request is an event when it comes and one when it ends; both are given to the engine at the moment for which they were
//! drawn, so that a client that falls behind makes no version look slow. That it falls behind is counted.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rollout::base::time::{Micros, Millis};
use rollout::routing::request::Request;
use rollout::routing::table::Epoch;
use rollout::worker::in_flight::InFlight;
use rollout::worker::messages::{Incarnation, ToAgent, ToWorker};
use rollout::worker::{HeaderEdit, Identity, Settings, Worker, WorkerAction};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::fleet::seen::Seen;
use crate::fleet::traffic::Users;
use crate::fleet::wheel::Wheel;

/// A tick that comes later than this says more about the client than about the agent.
pub(super) const LATE: Micros = Micros(20_000);
/// Workers that connect in one second.
const CONNECT_RATE: u64 = 2_000;
/// The filter's defaults.
const LEASE: Millis = Millis(60_000);
const MAX_STRATA: usize = 4096;

const REQUEST: Request<'_> =
    Request { headers: &[(b":method", b"GET"), (b":authority", b"web"), (b":path", b"/")], client_address: None };
const PRIMARY: (&[u8], &[u8]) = (b"web-primary", b"10.0.0.1:80");
const CANARY: (&[u8], &[u8]) = (b"web-canary", b"10.0.0.2:80");

/// What can be changed while the workers run.
#[derive(Debug, Default)]
pub(super) struct Knobs {
    /// Whether requests come.
    pub(super) traffic: AtomicBool,
    /// The share of its requests that the canary fails, as the bits of a number from 0 to 1.
    pub(super) fault: AtomicU64,
    /// Whether all is over.
    pub(super) stop: AtomicBool,
}

/// A stream that is to be opened.
pub(super) struct Opening {
    pub(super) worker: usize,
    pub(super) life: u64,
    pub(super) outgoing: mpsc::UnboundedReceiver<ToAgent>,
}

/// What happens to a worker by itself.
enum Due {
    Tick { pace: u64 },
    Request,
    Answer { request: Box<InFlight>, is_canary: bool, is_bad: bool },
}

/// One worker with what its proxy knows.
struct Member {
    worker: Worker,
    /// Where its messages go; none without a stream.
    outgoing: Option<mpsc::UnboundedSender<ToAgent>>,
    /// What reads its stream.
    reader: Option<AbortHandle>,
    /// How many streams were opened: what comes on an earlier one is out of date.
    life: u64,
    tick_every: Micros,
    /// How often the engine asked for another pace: ticks of an earlier one are out of date.
    pace: u64,
    /// Whether anything was counted since the last tick.
    has_news: bool,
    /// When the reports left that are not acknowledged, by number.
    waiting: VecDeque<(u64, Instant)>,
    is_connected: bool,
    /// The newest entry that it got.
    epoch: Epoch,
}

/// All workers of one thread.
pub(super) struct Crew {
    members: Vec<Member>,
    wheel: Wheel<(usize, Due)>,
    users: Users,
    has_traffic: bool,
    in_step: bool,
    origin: Instant,
    seen: Seen,
    openings: Vec<Opening>,
    events: Vec<(Micros, (usize, Due))>,
}

impl Crew {
    /// So many workers, who connect one after the other once time passes.
    pub(super) fn new(workers: usize, mut users: Users, in_step: bool) -> Self {
        let mut wheel = Wheel::new();
        let connecting = Micros((workers as u64 * 1_000_000).div_ceil(CONNECT_RATE));
        let members = (0..workers)
            .map(|worker| {
                wheel.at(users.within(connecting), (worker, Due::Tick { pace: 0 }));
                Member::new(users.bits(), users.bits())
            })
            .collect();
        Self {
            members,
            wheel,
            users,
            has_traffic: false,
            in_step,
            origin: Instant::now(),
            seen: Seen::default(),
            openings: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Everything that is due by now; returns what was seen since the last turn, and the streams to open.
    pub(super) fn turn(&mut self, knobs: &Knobs) -> (Seen, Vec<Opening>) {
        let now = self.now();
        if !self.has_traffic && knobs.traffic.load(Ordering::Relaxed) {
            self.has_traffic = true;
            for worker in 0..self.members.len() {
                self.wheel.at(self.users.next(now), (worker, Due::Request));
            }
        }
        let fault = f64::from_bits(knobs.fault.load(Ordering::Relaxed));
        let mut events = mem::take(&mut self.events);
        while self.wheel.turn(now, &mut events) {
            for (due, (worker, what)) in events.drain(..) {
                match what {
                    Due::Tick { pace } => self.tick(worker, pace, due, now),
                    Due::Request => self.request(worker, fault, due),
                    Due::Answer { request, is_canary, is_bad } => self.answer(worker, *request, is_canary, is_bad, due),
                }
            }
        }
        self.events = events;
        (mem::take(&mut self.seen), mem::take(&mut self.openings))
    }

    fn tick(&mut self, index: usize, pace: u64, due: Micros, now: Micros) {
        let Some(member) = self.members.get_mut(index).filter(|member| member.pace == pace) else { return };
        self.seen.counts.ticks += 1;
        self.seen.counts.ticks_late += u64::from(now.since(due) > LATE);
        self.seen.counts.reports_wanted += u64::from(mem::take(&mut member.has_news));
        let actions = member.worker.tick(due.to_millis());
        self.perform(index, actions, due);
        if let Some(member) = self.members.get(index).filter(|member| member.pace == pace) {
            // A proxy's timer that is late skips what it has missed.
            let next = Micros(due.0 + member.tick_every.0).max(now);
            self.wheel.at(next, (index, Due::Tick { pace }));
        }
    }

    fn request(&mut self, index: usize, fault: f64, due: Micros) {
        self.wheel.at(self.users.next(due), (index, Due::Request));
        let Some(member) = self.members.get_mut(index) else { return };
        let decision = member.worker.route(REQUEST, due);
        let is_canary =
            matches!(&decision.header, HeaderEdit::Set(upstream) if upstream.as_str().as_bytes() == CANARY.0);
        // Before the agent has said anything, the worker knows of no canary.
        let Some(request) = member.worker.start(&decision, true, true, due) else { return };
        member.has_news = true;
        let is_bad = is_canary && self.users.happens(fault);
        let ends = Micros(due.0 + self.users.latency().0);
        self.wheel.at(ends, (index, Due::Answer { request: Box::new(request), is_canary, is_bad }));
    }

    /// The whole answer is there.
    fn answer(&mut self, index: usize, mut request: InFlight, is_canary: bool, is_bad: bool, due: Micros) {
        let Some(member) = self.members.get_mut(index) else { return };
        member.has_news = true;
        let status: &[u8] = if is_bad { b"500" } else { b"200" };
        member.worker.answered(&mut request, &[(b":status", status)], due);
        if request.is_sampled() {
            let (cluster, address) = if is_canary { CANARY } else { PRIMARY };
            member.worker.arrived(&request, Some(1), cluster, address);
        }
        member.worker.finish(&mut request, 0, Some(1), due);
        self.seen.counts.responses += 1;
        self.seen.counts.canary_responses += u64::from(is_canary);
        self.seen.counts.bad_responses += u64::from(is_bad);
        let actions = member.worker.flush(due.to_millis());
        self.perform(index, actions, due);
    }

    /// The agent says something on a stream. Here alone is known which message is an acknowledgement.
    pub(super) fn message(&mut self, index: usize, life: u64, message: ToWorker) {
        let now = self.now();
        let Some(member) = self.members.get_mut(index).filter(|member| member.life == life) else { return };
        let mut entry = None;
        match &message {
            ToWorker::Stored(number) => {
                let at = Instant::now();
                while let Some((_, sent)) = member.waiting.pop_front_if(|(waiting, _)| *waiting <= *number) {
                    self.seen.counts.ack_ms.push(at.duration_since(sent).as_secs_f64() * 1e3);
                }
            }
            ToWorker::Entry(new) => entry = Some(new.epoch),
            ToWorker::Welcome(_) | ToWorker::Received(_) | ToWorker::Beat => {}
        }
        let actions = member.worker.message(message, now.to_millis());
        if let Some(epoch) = entry.filter(|epoch| *epoch > member.epoch) {
            member.epoch = epoch;
            self.seen.adopted(epoch, Instant::now());
        }
        self.perform(index, actions, now);
    }

    /// A stream is being read by a task of its own.
    pub(super) fn reads(&mut self, index: usize, reader: AbortHandle) {
        if let Some(member) = self.members.get_mut(index) {
            member.reader = Some(reader);
        }
    }

    /// A stream has ended.
    pub(super) fn lost(&mut self, index: usize, life: u64, why: String) {
        let now = self.now().to_millis();
        let Some(member) = self.members.get_mut(index).filter(|member| member.life == life) else { return };
        (member.outgoing, member.reader) = (None, None);
        member.life += 1;
        member.worker.stream_lost(now);
        self.count_loss(why);
        self.count_connected(index);
    }

    fn perform(&mut self, index: usize, actions: Vec<WorkerAction>, at: Micros) {
        for action in actions {
            let Some(member) = self.members.get_mut(index) else { return };
            match action {
                WorkerAction::OpenStream => {
                    let (outgoing, taken) = mpsc::unbounded_channel();
                    member.outgoing = Some(outgoing);
                    member.life += 1;
                    self.openings.push(Opening { worker: index, life: member.life, outgoing: taken });
                }
                WorkerAction::Send(message) => {
                    if let ToAgent::Report(report) = &message
                        && member.waiting.back().is_none_or(|(last, _)| *last < report.number)
                    {
                        member.waiting.push_back((report.number, Instant::now()));
                        self.seen.counts.reports_sent += 1;
                    }
                    // Without a stream nothing is sent: a report stays with the engine until it is acknowledged.
                    if let Some(outgoing) = &member.outgoing {
                        let _ = outgoing.send(message);
                    }
                }
                WorkerAction::CloseStream => {
                    member.outgoing = None;
                    member.life += 1;
                    if let Some(reader) = member.reader.take() {
                        reader.abort();
                    }
                    self.count_loss("the worker gave it up: the agent was silent for too long".to_owned());
                }
                WorkerAction::TickEvery(period) => {
                    member.tick_every = period.to_micros();
                    member.pace += 1;
                    let (pace, wait) = (member.pace, member.tick_every);
                    // Each proxy has a clock of its own: after a while their ticks are spread evenly.
                    let wait = if self.in_step { wait } else { self.users.within(wait) };
                    self.wheel.at(Micros(at.0 + wait.0), (index, Due::Tick { pace }));
                }
            }
        }
        self.count_connected(index);
    }

    fn count_loss(&mut self, why: String) {
        self.seen.counts.streams_lost += 1;
        self.seen.counts.last_loss = Some(why);
    }

    fn count_connected(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        let is_connected = member.worker.is_connected();
        if mem::replace(&mut member.is_connected, is_connected) != is_connected {
            self.seen.connected += if is_connected { 1 } else { -1 };
        }
    }

    fn now(&self) -> Micros {
        Micros(self.origin.elapsed().as_micros() as u64)
    }
}

impl Member {
    fn new(incarnation: u64, seed: u64) -> Self {
        let identity = Identity {
            node: format!("proxy-{incarnation:016x}"),
            cluster: "simulated".into(),
            filter_version: env!("CARGO_PKG_VERSION").into(),
            incarnation: Incarnation(incarnation),
        };
        let settings = Settings {
            has_agent: true,
            decision_header: "x-serin-upstream".into(),
            mirror_header: "x-serin-mirror".into(),
            lease: LEASE,
            default_upstreams: [].into(),
            shared_clusters: [].into(),
            fixed: Vec::new(),
            max_strata: MAX_STRATA,
        };
        Self {
            worker: Worker::new(identity, settings, seed),
            outgoing: None,
            reader: None,
            life: 0,
            tick_every: Micros(0),
            pace: 0,
            has_news: false,
            waiting: VecDeque::new(),
            is_connected: false,
            epoch: Epoch(0),
        }
    }
}

/// How long a thread sleeps between two turns.
pub(super) const TURN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// A turn as far from the start as `at`, without waiting.
    fn turn_at(crew: &mut Crew, knobs: &Knobs, at: Duration) -> (Seen, Vec<Opening>) {
        crew.origin = Instant::now().checked_sub(at).unwrap();
        crew.turn(knobs)
    }

    #[test]
    fn every_worker_opens_a_stream_and_says_hello_first() {
        let mut crew = Crew::new(5, Users::new(1, 10.0), false);
        let (_, mut openings) = turn_at(&mut crew, &Knobs::default(), Duration::from_millis(50));
        assert_eq!(openings.len(), 5);
        for opening in &mut openings {
            assert!(matches!(opening.outgoing.try_recv(), Ok(ToAgent::Hello(_))));
        }
    }

    #[test]
    fn a_stream_that_is_lost_is_counted_and_opened_again() {
        let mut crew = Crew::new(1, Users::new(1, 10.0), false);
        let knobs = Knobs::default();
        let (_, openings) = turn_at(&mut crew, &knobs, Duration::from_millis(50));
        let life = openings.first().unwrap().life;
        crew.message(0, life, ToWorker::Welcome(rollout::worker::messages::PROTOCOL));
        crew.lost(0, life, "gone".into());
        crew.message(0, life, ToWorker::Beat);
        let (seen, soon) = turn_at(&mut crew, &knobs, Duration::from_millis(1_000));
        let (_, later) = turn_at(&mut crew, &knobs, Duration::from_millis(2_000));
        assert_eq!((seen.connected, seen.counts.streams_lost, soon.len() + later.len()), (0, 1, 1));
    }

    #[test]
    fn requests_before_any_entry_are_no_news() {
        let mut crew = Crew::new(3, Users::new(1, 100.0), false);
        let knobs = Knobs::default();
        knobs.traffic.store(true, Ordering::Relaxed);
        turn_at(&mut crew, &knobs, Duration::from_millis(1));
        let (seen, _) = turn_at(&mut crew, &knobs, Duration::from_millis(1_500));
        assert_eq!((seen.counts.responses, seen.counts.reports_wanted), (0, 0));
        assert!(seen.counts.ticks > 0 && seen.counts.ticks_late > 0, "those turns were late");
    }
}
