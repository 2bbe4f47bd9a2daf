//! The proxy's binary interface (proxy-wasm ABI 0.2.1): only this file and its `abi` call the host.
//!
//! Why not the SDK's own calls: they panic on statuses they do not expect and on header names that are not UTF-8, and a
//! panic kills the VM. Here every status is a value. Two things stay the SDK's: its dispatcher, which calls us, and
//! opening a stream, because only the SDK's call makes the dispatcher deliver that stream's messages.
//!
//! Time and random bytes come from WASI's two functions, which the host serves as well: the ABI's own clock is wall time,
//! and a step of it would age every open request.

mod abi;

use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType};
use rollout::base::time::Micros;
use thiserror::Error;

/// The host refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum HostError {
    /// What was asked for does not exist.
    #[error("status 1 (not found)")]
    NotFound,
    /// Any other status of the ABI.
    #[error("status {0}")]
    Status(u32),
    /// The answer does not hold what it announces.
    #[error("malformed answer")]
    Malformed,
}

/// Name and value, as they stand in the host's answer.
pub(crate) type Pair<'a> = (&'a [u8], &'a [u8]);

/// All headers of one direction, in the host's serialized form.
pub(crate) struct Headers(Vec<u8>);

impl Headers {
    /// The pairs in order.
    ///
    /// # Errors
    /// [`HostError::Malformed`] when the lengths do not fit the bytes.
    pub(crate) fn pairs(&self) -> Result<Vec<Pair<'_>>, HostError> {
        parse_pairs(&self.0).ok_or(HostError::Malformed)
    }
}

/// Reads all headers in one call: reading a single one costs as much.
pub(crate) fn headers(map: MapType) -> Result<Headers, HostError> {
    answer(abi::headers(map as u32)).map(Headers)
}

/// Sets a request header to one value, replacing every copy.
pub(crate) fn replace_request_header(name: &str, value: &str) -> Result<(), HostError> {
    check(abi::replace_header(MapType::HttpRequestHeaders as u32, name, value))
}

/// Removes every copy of a request header.
pub(crate) fn remove_request_header(name: &str) -> Result<(), HostError> {
    check(abi::remove_header(MapType::HttpRequestHeaders as u32, name))
}

/// Adds a response header beside those of the same name.
pub(crate) fn add_response_header(name: &str, value: &str) -> Result<(), HostError> {
    check(abi::add_header(MapType::HttpResponseHeaders as u32, name, value))
}

/// A property's raw bytes; the parts of its path are separated by zero bytes.
pub(crate) fn property(path: &str) -> Result<Vec<u8>, HostError> {
    answer(abi::property(path))
}

/// A property that is an integer, `None` when it is absent. The host hands over eight bytes, little-endian.
pub(crate) fn number_property(path: &str) -> Result<Option<u64>, HostError> {
    let bytes = match property(path) {
        Ok(bytes) => bytes,
        Err(HostError::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| HostError::Malformed)?;
    Ok(Some(u64::from_le_bytes(bytes)))
}

/// At most `max_bytes` of the plugin's configuration or of a stream's message.
pub(crate) fn buffer(buffer: BufferType, max_bytes: usize) -> Result<Vec<u8>, HostError> {
    answer(abi::buffer(buffer as u32, max_bytes))
}

/// Monotonic time since an origin that only the host knows.
pub(crate) fn now() -> Result<Micros, HostError> {
    const MONOTONIC: u32 = 1;
    answer(abi::clock_nanos(MONOTONIC)).map(|nanos| Micros(nanos / 1000))
}

/// Two random numbers.
pub(crate) fn random() -> Result<[u64; 2], HostError> {
    answer(abi::random()).map(|bytes| bytes.map(u64::from_le_bytes))
}

/// Calls the root context's tick this often; 0 stops it.
pub(crate) fn tick_every(period_ms: u32) -> Result<(), HostError> {
    check(abi::tick_every(period_ms))
}

/// Opens a stream; its messages and its end arrive at the root context under the token returned.
///
/// # Errors
/// The host's status.
pub(crate) fn open_stream(
    upstream: &[u8],
    service: &str,
    method: &str,
    metadata: &[(&str, &str)],
) -> Result<u32, HostError> {
    // Opened and cancelled first as a probe: the SDK's own call panics on most statuses, for instance on the one that is
    // the answer while a certificate file is missing. What the host has just accepted, it accepts again.
    let serialized = serialize_pairs(metadata);
    let probe = answer(abi::open_unheard_stream(upstream, service, method, &serialized))?;
    cancel_stream(probe)?;
    let metadata = metadata.iter().map(|(name, value)| (*name, value.as_bytes()));
    abi::open_stream(upstream, service, method, metadata.collect()).map_err(|status| HostError::Status(status as u32))
}

/// Acts for another context until the present callback returns: a stream can be used by the context that opened it only.
pub(crate) fn act_for(context: u32) -> Result<(), HostError> {
    check(abi::act_for(context))
}

/// Sends one message on an open stream.
pub(crate) fn send(token: u32, message: &[u8]) -> Result<(), HostError> {
    check(abi::send(token, message))
}

/// Forgets a stream that its other end has closed: until then the host keeps it.
pub(crate) fn close_stream(token: u32) -> Result<(), HostError> {
    check(abi::close_stream(token))
}

/// Gives up a stream; nothing more arrives on it.
pub(crate) fn cancel_stream(token: u32) -> Result<(), HostError> {
    check(abi::cancel_stream(token))
}

/// Writes one line to the proxy's log. There is nothing useful to do when the host refuses.
pub(crate) fn log(level: LogLevel, line: &str) {
    let _ = abi::log(level as u32, line);
}

/// Registers one of the proxy's statistics, or finds it again.
pub(crate) fn define_metric(kind: MetricType, name: &str) -> Result<u32, HostError> {
    answer(abi::define_metric(kind as u32, name))
}

/// Adds to a counter or gauge; a counter takes 1 and more.
pub(crate) fn add_metric(id: u32, offset: i64) -> Result<(), HostError> {
    check(abi::add_metric(id, offset))
}

/// Sets a gauge, or records a value in a histogram.
pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), HostError> {
    check(abi::record_metric(id, value))
}

fn answer<T>((status, value): abi::Answer<T>) -> Result<T, HostError> {
    check(status).map(|()| value)
}

const fn check(status: u32) -> Result<(), HostError> {
    match status {
        0 => Ok(()),
        1 => Err(HostError::NotFound),
        other => Err(HostError::Status(other)),
    }
}

/// Their number, the lengths of each name and value, then each of these with a zero byte behind it.
fn parse_pairs(bytes: &[u8]) -> Option<Vec<Pair<'_>>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (count, rest) = length(bytes)?;
    let (lengths, mut texts) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut next = |size: usize| {
        let text = texts.get(..size)?;
        texts = texts.get(size.checked_add(1)?..)?;
        Some(text)
    };
    let mut pairs = Vec::with_capacity(count);
    for sizes in lengths.chunks_exact(8) {
        let (name_size, rest) = length(sizes)?;
        let (value_size, _) = length(rest)?;
        pairs.push((next(name_size)?, next(value_size)?));
    }
    Some(pairs)
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*head)).ok()?, rest))
}

/// Inverse of [`parse_pairs`], for a stream's metadata: a few short texts.
fn serialize_pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let length = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = length(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend(length(name.len()));
        bytes.extend(length(value.len()));
    }
    for (name, value) in pairs {
        bytes.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
    }
    bytes
}
