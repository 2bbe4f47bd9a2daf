//! A copy of a request, from the moment it reaches the canary's cluster to its end: measured here, because no filter of a
//! listener ever sees the answer to a copy. The counts go to the engine that routes: both plugins live in one VM.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};
use rollout::base::names::Upstream;
use rollout::routing::request::Request;
use rollout::worker::CopyEnd;
use rollout::worker::in_flight::InFlight;

use crate::answer::{read_body, read_trailers};
use crate::host;
use crate::http::pairs;
use crate::shell::Shell;

thread_local! {
    /// The routing plugins of this VM; each worker thread has a VM of its own.
    static ROUTERS: RefCell<Vec<Weak<RefCell<Shell>>>> = const { RefCell::new(Vec::new()) };
}

/// Makes a routing plugin's engine known to the plugins that measure copies.
pub(crate) fn announce(shell: &Rc<RefCell<Shell>>) {
    ROUTERS.with_borrow_mut(|routers| {
        routers.retain(|router| router.strong_count() > 0);
        routers.push(Rc::downgrade(shell));
    });
}

/// The newest first: after a change of configuration the one before may live on until its last request has ended.
fn routers() -> Vec<Rc<RefCell<Shell>>> {
    ROUTERS.with_borrow(|routers| routers.iter().rev().filter_map(Weak::upgrade).collect())
}

/// The state of one request in a cluster; a request that is not a copy has none.
pub(crate) struct Copy {
    upstream: Upstream,
    open: Option<(Rc<RefCell<Shell>>, InFlight)>,
    /// Whether the user's request has come to its end, and whether its answer has.
    is_sent: bool,
    is_answered: bool,
    is_answer_unreadable: bool,
}

impl Copy {
    /// A request that sets off for an upstream.
    pub(crate) const fn new(upstream: Upstream) -> Self {
        Self { upstream, open: None, is_sent: false, is_answered: false, is_answer_unreadable: false }
    }

    /// The whole request has come in.
    fn complete(&mut self) {
        self.is_sent = true;
        if let Some((router, in_flight)) = &mut self.open
            && let Ok(mut shell) = router.try_borrow_mut()
        {
            shell.complete(in_flight);
        }
    }
}

impl HttpContext for Copy {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.is_sent = end_of_stream;
        self.open = routers().into_iter().find_map(|router| {
            let in_flight = start(&mut *router.try_borrow_mut().ok()?, &self.upstream, end_of_stream)?;
            Some((router, in_flight))
        });
        Action::Continue
    }

    fn on_http_request_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        if end_of_stream {
            self.complete();
        }
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.complete();
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.is_answered = end_of_stream;
        let Some((router, in_flight)) = &mut self.open else { return Action::Continue };
        let read = host::headers(MapType::HttpResponseHeaders);
        match (pairs(&read), router.try_borrow_mut()) {
            (Ok(headers), Ok(mut shell)) => {
                let now = shell.now();
                shell.worker.answered(in_flight, &headers, now);
            }
            _ => self.is_answer_unreadable = true,
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.is_answered |= end_of_stream;
        if let Some((_, in_flight)) = &mut self.open {
            self.is_answer_unreadable |= read_body(in_flight, size).is_err();
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.is_answered = true;
        if let Some((_, in_flight)) = &mut self.open {
            self.is_answer_unreadable |= read_trailers(in_flight).is_err();
        }
        Action::Continue
    }
}

impl Context for Copy {
    /// In a cluster's chain of filters the proxy logs nothing, so this is the end.
    fn on_done(&mut self) -> bool {
        let end = match (self.is_answered, self.is_sent) {
            (true, _) => CopyEnd::Whole,
            (false, true) => CopyEnd::Broken,
            (false, false) => CopyEnd::Unsent,
        };
        if let Some((router, mut in_flight)) = self.open.take()
            && let Ok(mut shell) = router.try_borrow_mut()
        {
            let end = (!self.is_answer_unreadable).then_some(end);
            finish(&mut shell, &mut in_flight, end);
        }
        true
    }
}

/// A copy is known by the header that made it: it names this cluster, and users' own requests to it never carry it.
fn start(shell: &mut Shell, upstream: &Upstream, is_whole: bool) -> Option<InFlight> {
    if !shell.worker.is_mirroring() {
        return None;
    }
    let read = host::headers(MapType::HttpRequestHeaders);
    let headers = pairs(&read).ok()?;
    let is_copy = |(name, value): &host::Pair<'_>| {
        *name == shell.mirror_header.as_bytes() && *value == upstream.as_str().as_bytes()
    };
    if !headers.iter().any(is_copy) {
        return None;
    }
    let now = shell.now();
    let request = Request { headers: &headers, client_address: None };
    shell.worker.start_copy(upstream, request, is_whole, now)
}

/// How it ended, or `None` when its answer could not be read.
fn finish(shell: &mut Shell, in_flight: &mut InFlight, end: Option<CopyEnd>) {
    let now = shell.now();
    let Some(end) = end else {
        return shell.worker.lose(in_flight, now);
    };
    let finished = shell.worker.finish_copy(in_flight, end, now);
    let canary = shell.worker.canary(finished.canary);
    shell.stats.finished(&finished, canary);
    shell.flush(now);
}
