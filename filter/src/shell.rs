//! The engine with its host: performs what the `Worker` returns, and reports the results back to it.

use proto::limits::{MAX_TEXT_BYTES, MAX_TO_WORKER_BYTES};
use proto::wire::{decode_to_worker, encode_from_worker};
use proxy_wasm::types::{BufferType, LogLevel};
use rollout::base::time::Micros;
use rollout::worker::in_flight::InFlight;
use rollout::worker::messages::{Incarnation, ToAgent, Trip};
use rollout::worker::{Identity, Worker, WorkerAction};

use crate::agent_address::grpc_service;
use crate::config::{Agent, Config};
use crate::host;
use crate::stats::Stats;

const SERVICE: &str = "serin.fleet.v1.Fleet";
const METHOD: &str = "Connect";

/// Everything one worker VM holds.
pub(crate) struct Shell {
    /// Decides.
    pub(crate) worker: Worker,
    /// What Envoy shows.
    pub(crate) stats: Stats,
    /// The decision header's name.
    pub(crate) decision_header: String,
    /// The mirror header's name.
    pub(crate) mirror_header: String,
    /// The plugin's own context, which owns the stream.
    root: u32,
    agent: Option<Agent>,
    stream: Option<u32>,
    last_now: Micros,
    /// Logged once, then not again until the agent was reached: it would repeat for as long as the agent is away.
    is_failure_logged: bool,
    is_malformed_logged: bool,
}

impl Shell {
    /// A new life: a new incarnation. Nothing is sent before the first tick.
    pub(crate) fn new(root: u32, mut config: Config) -> Self {
        let [incarnation, seed] = host::random().unwrap_or_else(|error| {
            // Without a number of its own, its reports could be taken for another worker's: better to send none.
            host::log(
                LogLevel::Error,
                &format!("serin: host random source unavailable ({error}): the filter runs without the agent"),
            );
            config.agent = None;
            config.settings.has_agent = false;
            [0, host::now().map_or(0, |now| now.0)]
        });
        let identity = Identity {
            node: text_property("xds\0node\0id"),
            cluster: text_property("xds\0node\0cluster"),
            filter_version: env!("CARGO_PKG_VERSION").into(),
            incarnation: Incarnation(incarnation),
        };
        Self {
            decision_header: config.settings.decision_header.clone(),
            mirror_header: config.settings.mirror_header.clone(),
            worker: Worker::new(identity, config.settings, seed),
            stats: Stats::default(),
            root,
            agent: config.agent,
            stream: None,
            last_now: Micros(0),
            is_failure_logged: false,
            is_malformed_logged: false,
        }
    }

    /// New settings for the same life. A stream to another agent than the configured one is given up.
    pub(crate) fn reconfigure(&mut self, config: Config) {
        if self.agent != config.agent {
            if self.stream.is_some() {
                self.give_up();
                let now = self.now().to_millis();
                self.worker.stream_lost(now);
            }
            self.agent = config.agent;
            self.is_failure_logged = false;
        }
        self.decision_header = config.settings.decision_header.clone();
        self.mirror_header = config.settings.mirror_header.clone();
        self.worker.reconfigure(config.settings);
    }

    /// The periodic tick.
    pub(crate) fn tick(&mut self) {
        let now = self.now();
        let actions = self.worker.tick(now.to_millis());
        self.perform(actions, now);
        self.show(now);
    }

    /// Sends what cannot wait for the next tick, from within a request's event. Where the host does not allow that, the tick
    /// sends it.
    pub(crate) fn flush(&mut self, now: Micros) {
        if self.worker.must_flush() && host::act_for(self.root).is_ok() {
            let actions = self.worker.flush(now.to_millis());
            self.perform(actions, now);
        }
    }

    /// A message of `size` bytes waits in the host's buffer.
    pub(crate) fn message(&mut self, token: u32, size: usize) {
        if self.stream != Some(token) {
            return;
        }
        let now = self.now();
        match read_message(size) {
            Ok(message) => {
                let actions = self.worker.message(message, now.to_millis());
                self.perform(actions, now);
            }
            Err(reason) => {
                self.worker.malformed_message();
                if !self.is_malformed_logged {
                    self.is_malformed_logged = true;
                    let agent = self.agent_name();
                    let line =
                        format!("serin: invalid message from the agent {agent}; keeping the current routing: {reason}");
                    host::log(LogLevel::Warn, &line);
                }
            }
        }
        self.show(now);
    }

    /// A stream has ended.
    pub(crate) fn closed(&mut self, token: u32, grpc_status: u32) {
        if self.stream != Some(token) {
            return;
        }
        self.stream = None;
        // The host keeps what is not closed on this end too; that it has forgotten it already is as well.
        let _ = host::close_stream(token);
        let now = self.now();
        self.lost(now, &format!("the stream closed with gRPC status {grpc_status}"));
        self.show(now);
    }

    /// This life ends: what it has counted is said, and what it added to the proxy's shared gauges is taken back.
    pub(crate) fn end(&mut self) {
        let now = self.now();
        let actions = self.worker.last_report(now.to_millis());
        let has_news = !actions.is_empty();
        self.perform(actions, now);
        if let Some(token) = self.stream.take() {
            // Ended rather than cancelled where something was said: that might overtake it.
            let _ = if has_news { host::close_stream(token) } else { host::cancel_stream(token) };
        }
        self.stats.connected(false);
        self.stats.tripped(std::iter::empty());
    }

    /// A whole request has come in.
    pub(crate) fn complete(&mut self, in_flight: &mut InFlight) {
        let now = self.now();
        self.worker.complete(in_flight, now);
    }

    /// The host's monotonic time; without it, what it last was.
    pub(crate) fn now(&mut self) -> Micros {
        match host::now() {
            Ok(now) => self.last_now = now,
            Err(_) => self.stats.host_fault(),
        }
        self.last_now
    }

    fn perform(&mut self, actions: Vec<WorkerAction>, now: Micros) {
        for action in actions {
            match action {
                WorkerAction::OpenStream => self.open(now),
                WorkerAction::Send(message) => self.send(&message, now),
                WorkerAction::CloseStream => {
                    self.log_failure("it sent nothing for too long");
                    self.give_up();
                }
                WorkerAction::TickEvery(period) => {
                    let period_ms = u32::try_from(period.0).unwrap_or(u32::MAX);
                    if host::tick_every(period_ms).is_err() {
                        self.stats.host_fault();
                    }
                }
            }
        }
    }

    fn open(&mut self, now: Micros) {
        let Some(agent) = &self.agent else {
            return;
        };
        let bearer = agent.token().map(|token| format!("Bearer {token}"));
        let metadata: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        match host::open_stream(&grpc_service(agent), SERVICE, METHOD, &metadata) {
            Ok(token) => {
                self.stream = Some(token);
                self.is_malformed_logged = false;
            }
            Err(error) => self.lost(
                now,
                &format!("the proxy refused to open a stream ({error}); check the cluster's name or the TLS files"),
            ),
        }
    }

    /// Without a stream nothing is sent: a report stays with the engine until it is acknowledged.
    fn send(&mut self, message: &ToAgent, now: Micros) {
        let Some(token) = self.stream else {
            return;
        };
        if let Err(error) = host::send(token, &encode_from_worker(message)) {
            self.give_up();
            self.lost(now, &format!("the proxy refused to send ({error})"));
        }
    }

    fn give_up(&mut self) {
        if let Some(token) = self.stream.take() {
            // A stream the host no longer knows is given up already.
            let _ = host::cancel_stream(token);
        }
    }

    fn lost(&mut self, now: Micros, reason: &str) {
        self.log_failure(reason);
        self.worker.stream_lost(now.to_millis());
    }

    fn log_failure(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_failure_logged, true) {
            let agent = self.agent_name();
            let line = format!(
                "serin: no connection to agent {agent}: {reason}; retrying, the current routing holds until its lease ends"
            );
            host::log(LogLevel::Warn, &line);
        }
    }

    fn show(&mut self, now: Micros) {
        let is_connected = self.worker.is_connected();
        if self.stats.connected(is_connected) && is_connected {
            self.is_failure_logged = false;
            let line = format!("serin: connected to agent {}", self.agent_name());
            host::log(LogLevel::Info, &line);
        }
        let weights = self.worker.weights(now.to_millis());
        self.stats.weights(weights.map(|(canary, _, weight)| (canary, weight)));
        self.stats.faults(self.worker.faults());
        for trip in self.stats.tripped(self.worker.tripped()) {
            let Trip { canary, test, events, trials, .. } = trip;
            let line = format!(
                "serin: the fuse of {canary} has tripped: {events} of {trials} ({}); this worker sends the canary no more \
                 traffic until an agent rearms the fuse or the configuration changes",
                test.name()
            );
            host::log(LogLevel::Warn, &line);
        }
    }

    fn agent_name(&self) -> &str {
        self.agent.as_ref().map_or("(none)", Agent::name)
    }
}

fn read_message(size: usize) -> Result<rollout::worker::messages::ToWorker, String> {
    if size > MAX_TO_WORKER_BYTES {
        return Err(format!("frame: {size} bytes are too many; at most {MAX_TO_WORKER_BYTES} are allowed"));
    }
    let frame = host::buffer(BufferType::GrpcReceiveBuffer, size).map_err(|error| error.to_string())?;
    decode_to_worker(&frame).map_err(|error| error.to_string())
}

/// A property that names something; empty when there is none, and never longer than a Hello may say.
fn text_property(path: &str) -> String {
    let bytes = host::property(path).unwrap_or_default();
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    text
}
