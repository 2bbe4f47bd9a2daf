//! A proxy in one file: the ABI's imports as plain functions, and the SDK's real dispatcher called as Envoy calls it.
//!
//! Each test thread has its own host. A test says what the host holds, fires events and looks at what was done to it.
#![allow(
    dead_code,
    unreachable_pub,
    unsafe_code,
    reason = "foreign functions, in a module shared by test binaries of which each uses a part"
)]

mod imports;

pub mod agent;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Mutex;

use filter as _;
use proto::wire::{decode_from_worker, encode_to_worker};
use rollout::worker::messages::{ToAgent, ToWorker};

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Runs on this thread's host.
pub fn host<R>(act: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with_borrow_mut(act)
}

pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// What the proxy holds and what was done to it.
#[derive(Default)]
pub struct Host {
    /// Contexts and tokens count from here: the SDK's dispatcher lives as long as the thread and wants them unique.
    pub base: u32,
    pub config: Vec<u8>,
    pub request: Pairs,
    pub response: Pairs,
    pub trailers: Pairs,
    /// Answered instead of well-formed header pairs.
    pub raw_pairs: Option<Vec<u8>>,
    pub properties: BTreeMap<String, Vec<u8>>,
    pub now_us: u64,
    pub message: Vec<u8>,
    /// The part of an answer's body that passes now.
    pub response_body: Vec<u8>,
    /// Status answered by a call instead of doing it.
    pub failing: BTreeMap<&'static str, u32>,
    pub calls: Vec<&'static str>,
    pub logs: Vec<(u32, String)>,
    pub metrics: Vec<(u32, String, i64)>,
    pub tick_ms: Option<u32>,
    pub streams: Vec<Stream>,
    /// Whether an event of a request is being handled, and for which context it asked to act.
    pub is_in_request: bool,
    pub effective: Option<u32>,
}

/// One gRPC stream; its token is the host's base and its place in the list.
#[derive(Clone, Default)]
pub struct Stream {
    pub upstream: Vec<u8>,
    pub path: String,
    pub metadata: Pairs,
    pub sent: Vec<Vec<u8>>,
    pub is_cancelled: bool,
    pub is_closed: bool,
}

impl Host {
    /// A metric's value; a histogram's is its last.
    pub fn metric(&self, name: &str) -> i64 {
        let found = self.metrics.iter().find(|(_, known, _)| known == name);
        found.map_or(0, |(_, _, value)| *value)
    }

    pub fn called(&self, call: &str) -> usize {
        self.calls.iter().filter(|known| **known == call).count()
    }

    pub fn logged(&self, text: &str) -> usize {
        self.logs.iter().filter(|(_, line)| line.contains(text)).count()
    }
}

unsafe extern "C" {
    safe fn _initialize();
    safe fn proxy_on_context_create(id: u32, root: u32);
    safe fn proxy_on_vm_start(id: u32, size: usize) -> bool;
    safe fn proxy_on_configure(id: u32, size: usize) -> bool;
    safe fn proxy_on_tick(id: u32);
    safe fn proxy_on_request_headers(id: u32, count: usize, end: bool) -> u32;
    safe fn proxy_on_request_body(id: u32, size: usize, end: bool) -> u32;
    safe fn proxy_on_request_trailers(id: u32, count: usize) -> u32;
    safe fn proxy_on_response_body(id: u32, size: usize, end: bool) -> u32;
    safe fn proxy_on_response_headers(id: u32, count: usize, end: bool) -> u32;
    safe fn proxy_on_response_trailers(id: u32, count: usize) -> u32;
    safe fn proxy_on_log(id: u32);
    safe fn proxy_on_done(id: u32) -> bool;
    safe fn proxy_on_delete(id: u32);
    safe fn proxy_on_grpc_receive(context: u32, token: u32, size: usize);
    safe fn proxy_on_grpc_close(context: u32, token: u32, status: u32);
}

const CONTINUE: u32 = 0;

/// One worker thread's VM.
pub struct Proxy {
    root: u32,
    last_context: u32,
}

impl Proxy {
    /// Starts the VM and configures it, as Envoy does; the clock stands at one second.
    pub fn start(config: &str) -> Self {
        Self::start_failing(config, &[])
    }

    /// The same, on a host where some calls fail from the first moment.
    pub fn start_failing(config: &str, failing: &[(&'static str, u32)]) -> Self {
        static FIRST: Mutex<()> = Mutex::new(());
        let root = host(|host| {
            *host = Host { base: host.base + 1_000_000, now_us: 1_000_000, ..Host::default() };
            host.failing = failing.iter().copied().collect();
            for (path, value) in [("xds\0node\0id", "edge-1"), ("xds\0node\0cluster", "edge")] {
                host.properties.insert(path.into(), value.into());
            }
            host.base
        });
        set_end(0, Some(1));
        {
            // The SDK sets its logger and panic hook without regard to other threads; tests want the usual hook.
            let _guard = FIRST.lock();
            _initialize();
            drop(std::panic::take_hook());
        }
        proxy_on_context_create(root, 0);
        assert!(proxy_on_vm_start(root, 0));
        let proxy = Self { root, last_context: root };
        proxy.configure(config);
        proxy
    }

    /// Another plugin in the same VM.
    pub fn beside(&self, config: &str) -> Self {
        self.beside_at(500_000, config)
    }

    /// The same, with contexts that begin so far behind the first plugin's.
    pub fn beside_at(&self, distance: u32, config: &str) -> Self {
        let root = self.root + distance;
        proxy_on_context_create(root, 0);
        assert!(proxy_on_vm_start(root, 0));
        let other = Self { root, last_context: root };
        other.configure(config);
        other
    }

    /// Hands over a configuration; whatever it is, it must be taken.
    pub fn configure(&self, config: &str) {
        host(|host| host.config = config.into());
        assert!(proxy_on_configure(self.root, config.len()), "on_configure refuses nothing");
    }

    pub fn tick(&self) {
        proxy_on_tick(self.root);
    }

    /// Moves the clock, then ticks.
    pub fn tick_after(&self, ms: u64) {
        host(|host| host.now_us += ms * 1000);
        self.tick();
    }

    /// A request's headers arrive.
    pub fn request(&mut self, headers: &[(&str, &str)]) -> Exchange {
        self.raw_request(headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    pub fn raw_request(&mut self, headers: Pairs) -> Exchange {
        self.begin(headers, true)
    }

    /// A request of which only the headers are there yet.
    pub fn upload(&mut self, headers: &[(&str, &str)]) -> Exchange {
        self.begin(headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(), false)
    }

    fn begin(&mut self, headers: Pairs, is_whole: bool) -> Exchange {
        self.last_context += 1;
        host(|host| host.request = headers);
        let exchange = Exchange(self.last_context);
        proxy_on_context_create(exchange.0, self.root);
        let count = host(|host| host.request.len());
        assert_eq!(proxy_on_request_headers(exchange.0, count, is_whole), CONTINUE);
        exchange
    }

    /// What the decision header says after the filter has seen a request for `web`; all its values.
    pub fn decision(&mut self, headers: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![(":authority", "web"), (":path", "/")];
        all.extend(headers);
        self.request(&all).end();
        decision_headers()
    }

    /// The agent sends a message on a stream.
    pub fn receive(&self, token: u32, message: &ToWorker) {
        self.receive_bytes(token, encode_to_worker(message));
    }

    pub fn receive_bytes(&self, token: u32, bytes: Vec<u8>) {
        let size = bytes.len();
        host(|host| host.message = bytes);
        proxy_on_grpc_receive(self.root, token, size);
    }

    pub fn close(&self, token: u32, status: u32) {
        proxy_on_grpc_close(self.root, token, status);
    }

    /// The plugin is replaced.
    pub fn finish(self) {
        assert!(proxy_on_done(self.root));
        proxy_on_delete(self.root);
    }
}

/// One request in flight.
pub struct Exchange(u32);

impl Exchange {
    pub fn respond(&self, headers: &[(&str, &str)]) -> &Self {
        host(|host| host.response = headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect());
        assert_eq!(proxy_on_response_headers(self.0, headers.len(), false), CONTINUE);
        self
    }

    /// A part of the request's body.
    pub fn sends(&self, is_last: bool) -> &Self {
        assert_eq!(proxy_on_request_body(self.0, 10, is_last), CONTINUE);
        self
    }

    /// The request ends with trailers.
    pub fn sends_trailers(&self) -> &Self {
        assert_eq!(proxy_on_request_trailers(self.0, 1), CONTINUE);
        self
    }

    /// A part of the answer's body.
    pub fn body(&self, is_last: bool) -> &Self {
        assert_eq!(proxy_on_response_body(self.0, 10, is_last), CONTINUE);
        self
    }

    /// So many bytes of the answer's body.
    pub fn bytes(&self, bytes: &[u8]) -> &Self {
        host(|host| host.response_body = bytes.to_vec());
        assert_eq!(proxy_on_response_body(self.0, bytes.len(), false), CONTINUE);
        self
    }

    /// It is over in a cluster's chain, where nothing is logged.
    pub fn end_unlogged(&self) {
        assert!(proxy_on_done(self.0));
        proxy_on_delete(self.0);
    }

    pub fn trailers(&self, trailers: &[(&str, &str)]) -> &Self {
        host(|host| host.trailers = trailers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect());
        assert_eq!(proxy_on_response_trailers(self.0, trailers.len()), CONTINUE);
        self
    }

    /// The request is over: logged and forgotten.
    pub fn end(&self) {
        host(|host| (host.is_in_request, host.effective) = (true, None));
        proxy_on_log(self.0);
        host(|host| host.is_in_request = false);
        assert!(proxy_on_done(self.0));
        proxy_on_delete(self.0);
    }
}

/// What the proxy will say about ended requests.
pub fn set_end(flags: u64, attempts: Option<u64>) {
    host(|host| {
        host.properties.insert("response\0flags".into(), flags.to_le_bytes().into());
        let path = "upstream\0request_attempt_count";
        match attempts {
            Some(attempts) => host.properties.insert(path.into(), attempts.to_le_bytes().into()),
            None => host.properties.remove(path),
        };
    });
}

/// All values of the decision header in the request at hand.
pub fn decision_headers() -> Vec<String> {
    request_headers("x-serin-upstream")
}

/// All values of a header in the request at hand.
pub fn request_headers(name: &str) -> Vec<String> {
    host(|host| {
        let found = host.request.iter().filter(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    })
}

/// The stream that the agent would see: the last one that was not given up, with its token.
pub fn open_stream() -> Option<(u32, Stream)> {
    host(|host| {
        let streams = (host.base..).zip(&host.streams);
        let open = streams.filter(|(_, stream)| !stream.is_cancelled && !stream.is_closed);
        open.last().map(|(token, stream)| (token, stream.clone()))
    })
}

/// What was said on a stream.
pub fn sent(token: u32) -> Vec<ToAgent> {
    let frames = host(|host| host.streams[(token - host.base) as usize].sent.clone());
    frames.iter().map(|frame| decode_from_worker(frame).expect("the filter speaks its own protocol")).collect()
}
