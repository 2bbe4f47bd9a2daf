//! One request, from its headers to its end: gather, ask the engine, edit headers. Never pauses a request.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};
use rollout::routing::request::Request;
use rollout::routing::shared_cache::{SharedCaching, shared_caching};
use rollout::worker::HeaderEdit;
use rollout::worker::in_flight::InFlight;

use crate::answer::{read_body, read_trailers};
use crate::host::{self, Headers, HostError, Pair};
use crate::shell::Shell;

/// Set when the module is built for the tests of what a trap does, and only then: a request can make it panic.
const TEST_TRAP: bool = option_env!("SERIN_TEST_TRAP").is_some();

/// The state of one request.
pub(crate) struct Http {
    shell: Option<Rc<RefCell<Shell>>>,
    in_flight: Option<InFlight>,
    /// Waits for the answer's headers.
    set_cookie: Option<String>,
    is_answer_unreadable: bool,
}

impl Http {
    /// A request that begins; `shell` is its plugin's.
    pub(crate) const fn new(shell: Option<Rc<RefCell<Shell>>>) -> Self {
        Self { shell, in_flight: None, set_cookie: None, is_answer_unreadable: false }
    }

    /// The whole request has come in.
    fn complete(&mut self) {
        if let Some(mut in_flight) = self.in_flight.take() {
            self.with_shell(|shell| shell.complete(&mut in_flight));
            self.in_flight = Some(in_flight);
        }
    }

    /// Runs one event on the plugin's shell; events do not nest, so it is free.
    fn with_shell<R>(&self, act: impl FnOnce(&mut Shell) -> R) -> Option<R> {
        let mut shell = self.shell.as_ref()?.try_borrow_mut().ok()?;
        Some(act(&mut shell))
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        if let Some((in_flight, set_cookie)) = self.with_shell(|shell| start(shell, end_of_stream)).flatten() {
            (self.in_flight, self.set_cookie) = (Some(in_flight), set_cookie);
        }
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

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let set_cookie = self.set_cookie.take();
        let Some(mut in_flight) = self.in_flight.take() else {
            return Action::Continue;
        };
        let read = host::headers(MapType::HttpResponseHeaders);
        match pairs(&read) {
            Ok(headers) => {
                if set_cookie.is_some_and(|cookie| give_cookie(&cookie, &headers).is_err()) {
                    self.with_shell(|shell| shell.stats.host_fault());
                }
                self.with_shell(|shell| {
                    let now = shell.now();
                    shell.worker.answered(&mut in_flight, &headers, now);
                    ask_destination(shell, &in_flight);
                    shell.flush(now);
                });
            }
            // Who may keep it is not known either, so it gets no cookie.
            Err(_) => self.is_answer_unreadable = true,
        }
        self.in_flight = Some(in_flight);
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        if let Some(in_flight) = &mut self.in_flight {
            self.is_answer_unreadable |= read_body(in_flight, size).is_err();
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        if let Some(in_flight) = &mut self.in_flight {
            self.is_answer_unreadable |= read_trailers(in_flight).is_err();
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if let Some(mut in_flight) = self.in_flight.take() {
            let is_readable = !self.is_answer_unreadable;
            self.with_shell(|shell| finish(shell, &mut in_flight, is_readable));
        }
    }
}

impl Context for Http {}

/// request -> route -> header edit, and the cookie for the answer. `None` when the request is outside every scope, or
/// could not be placed.
fn start(shell: &mut Shell, is_whole: bool) -> Option<(InFlight, Option<String>)> {
    let now = shell.now();
    let read = host::headers(MapType::HttpRequestHeaders);
    let Ok(headers) = pairs(&read) else {
        shell.worker.unreadable_request();
        // The client's copies must not choose; whether there are any cannot be known.
        let _ = host::remove_request_header(&shell.decision_header);
        let _ = host::remove_request_header(&shell.mirror_header);
        return None;
    };
    trap_if_asked(&headers);
    let address = client_address(shell);
    let request = Request { headers: &headers, client_address: address.as_deref() };
    let decision = shell.worker.route(request, now);
    let is_applied = edit(&decision.header, &shell.decision_header).is_ok();
    if !is_applied {
        let _ = host::remove_request_header(&shell.decision_header);
    }
    if edit(&decision.mirror, &shell.mirror_header).is_err() {
        shell.stats.host_fault();
        let _ = host::remove_request_header(&shell.mirror_header);
    }
    let in_flight = shell.worker.start(&decision, is_applied, is_whole, now)?;
    Some((in_flight, decision.set_cookie))
}

/// Gives the answer its cookie, unless a cache would hand that to others as well. Its user gets one with another answer: it
/// costs nobody anything but to be drawn anew until then.
fn give_cookie(cookie: &str, answer: &[Pair<'_>]) -> Result<(), HostError> {
    match shared_caching(answer) {
        SharedCaching::Invited => return Ok(()),
        // First, for without it there must be no cookie.
        SharedCaching::Unstated => host::add_response_header("cache-control", "private")?,
        SharedCaching::Forbidden => {}
    }
    host::add_response_header("set-cookie", cookie)
}

fn client_address(shell: &mut Shell) -> Option<Vec<u8>> {
    if !shell.worker.needs_client_address() {
        return None;
    }
    let address = host::property("source\0address");
    if address.is_err() {
        shell.stats.host_fault();
    }
    address.ok()
}

/// No call to the foreign function `clear_route_cache`: under the ABI we export (0.2.1) Envoy clears it by itself whenever
/// a request header is edited (seen on 1.40), and the call would be paid for by every request.
fn edit(edit: &HeaderEdit, name: &str) -> Result<(), HostError> {
    match edit {
        HeaderEdit::Leave => Ok(()),
        HeaderEdit::Remove => host::remove_request_header(name),
        HeaderEdit::Set(upstream) => host::replace_request_header(name, upstream.as_str()),
    }
}

/// outcome -> tally, and Envoy's own statistics.
fn finish(shell: &mut Shell, in_flight: &mut InFlight, is_readable: bool) {
    let now = shell.now();
    let flags = host::number_property("response\0flags");
    let attempts = host::number_property("upstream\0request_attempt_count");
    match (flags, attempts) {
        (Ok(flags), Ok(attempts)) if is_readable => {
            let finished = shell.worker.finish(in_flight, flags.unwrap_or(0), attempts, now);
            let canary = shell.worker.canary(finished.canary);
            shell.stats.finished(&finished, canary);
            shell.flush(now);
        }
        _ => shell.worker.lose(in_flight, now),
    }
}

/// Where the routes took it: three calls more, so few requests are asked. Here and not at its end, because a stream may not
/// end for hours.
fn ask_destination(shell: &mut Shell, in_flight: &InFlight) {
    if !in_flight.is_sampled() {
        return;
    }
    // A proxy that does not say all says nothing.
    if let (Ok(attempts), Ok(cluster), Ok(address)) = (
        host::number_property("upstream\0request_attempt_count"),
        host::property("xds\0cluster_name"),
        host::property("upstream\0address"),
    ) {
        shell.worker.arrived(in_flight, attempts, &cluster, &address);
    }
}

/// What was read, as pairs.
///
/// # Errors
/// The host's, or that its answer is malformed.
pub(crate) fn pairs(read: &Result<Headers, HostError>) -> Result<Vec<Pair<'_>>, HostError> {
    match read {
        Ok(headers) => headers.pairs(),
        Err(error) => Err(*error),
    }
}

#[expect(clippy::panic, reason = "compiled only where a test wants to see what a trap does")]
fn trap_if_asked(headers: &[Pair<'_>]) {
    if TEST_TRAP && headers.contains(&(b"x-serin-test-trap", b"1")) {
        panic!("trapped on purpose, as the test build was asked to");
    }
}
