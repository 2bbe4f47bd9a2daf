//! The imports themselves, each behind a safe function; nothing here judges a status.
//!
//! Declared by hand because the SDK keeps its own declarations private. Signatures: proxy-wasm ABI 0.2.1, and WASI
//! preview 1 for time and random bytes.
#![allow(
    unsafe_code,
    reason = "foreign functions: each gets pointers to live memory of the length that stands beside them, and memory \
              it hands over was allocated by the SDK's allocator for it and is ours afterwards"
)]

use std::ptr::null_mut;

use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, data: *const u8, size: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, max_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    safe fn proxy_set_tick_period_milliseconds(period_ms: u32) -> u32;
    fn proxy_grpc_stream(
        upstream: *const u8,
        upstream_size: usize,
        service: *const u8,
        service_size: usize,
        method: *const u8,
        method_size: usize,
        metadata: *const u8,
        metadata_size: usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_send(token: u32, message: *const u8, size: usize, end_stream: u32) -> u32;
    safe fn proxy_set_effective_context(context: u32) -> u32;
    safe fn proxy_grpc_close(token: u32) -> u32;
    safe fn proxy_grpc_cancel(token: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    safe fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    safe fn proxy_record_metric(id: u32, value: u64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, nanos: *mut u64) -> u32;
    fn random_get(data: *mut u8, size: usize) -> u32;
}

/// Statuses are returned as they come; 0 is success in both ABIs.
pub(super) type Answer<T> = (u32, T);

pub(super) fn log(level: u32, line: &str) -> u32 {
    unsafe { proxy_log(level, line.as_ptr(), line.len()) }
}

pub(super) fn headers(map: u32) -> Answer<Vec<u8>> {
    take(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) })
}

pub(super) fn replace_header(map: u32, name: &str, value: &str) -> u32 {
    unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub(super) fn add_header(map: u32, name: &str, value: &str) -> u32 {
    unsafe { proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub(super) fn remove_header(map: u32, name: &str) -> u32 {
    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) }
}

pub(super) fn property(path: &str) -> Answer<Vec<u8>> {
    take(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

pub(super) fn buffer(buffer: u32, max_bytes: usize) -> Answer<Vec<u8>> {
    take(|data, size| unsafe { proxy_get_buffer_bytes(buffer, 0, max_bytes, data, size) })
}

pub(super) fn clock_nanos(clock: u32) -> Answer<u64> {
    let mut nanos = 0;
    let status = unsafe { clock_time_get(clock, 0, &raw mut nanos) };
    (status, nanos)
}

pub(super) fn random() -> Answer<[[u8; 8]; 2]> {
    let mut bytes = [[0; 8]; 2];
    let status = unsafe { random_get((&raw mut bytes).cast(), size_of_val(&bytes)) };
    (status, bytes)
}

pub(super) fn tick_every(period_ms: u32) -> u32 {
    proxy_set_tick_period_milliseconds(period_ms)
}

/// Opens a stream that the SDK knows nothing of: no message of it is ever delivered.
pub(super) fn open_unheard_stream(upstream: &[u8], service: &str, method: &str, metadata: &[u8]) -> Answer<u32> {
    let mut token = 0;
    let status = unsafe {
        proxy_grpc_stream(
            upstream.as_ptr(),
            upstream.len(),
            service.as_ptr(),
            service.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            &raw mut token,
        )
    };
    (status, token)
}

/// Opens a stream whose messages the SDK's dispatcher delivers. Panics where the SDK does: on every status but 0, 4, 10.
pub(super) fn open_stream(
    upstream: &[u8],
    service: &str,
    method: &str,
    metadata: Vec<(&str, &[u8])>,
) -> Result<u32, Status> {
    // The SDK asks for a string although the ABI wants bytes, and only passes pointer and length on: it never looks at
    // the characters, so that these are none does no harm.
    let upstream = unsafe { str::from_utf8_unchecked(upstream) };
    hostcalls::open_grpc_stream(upstream, service, method, metadata)
}

pub(super) fn act_for(context: u32) -> u32 {
    proxy_set_effective_context(context)
}

pub(super) fn send(token: u32, message: &[u8]) -> u32 {
    unsafe { proxy_grpc_send(token, message.as_ptr(), message.len(), 0) }
}

pub(super) fn close_stream(token: u32) -> u32 {
    proxy_grpc_close(token)
}

pub(super) fn cancel_stream(token: u32) -> u32 {
    proxy_grpc_cancel(token)
}

pub(super) fn define_metric(kind: u32, name: &str) -> Answer<u32> {
    let mut id = 0;
    let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) };
    (status, id)
}

pub(super) fn add_metric(id: u32, offset: i64) -> u32 {
    proxy_increment_metric(id, offset)
}

pub(super) fn record_metric(id: u32, value: u64) -> u32 {
    proxy_record_metric(id, value)
}

/// Runs a call that answers with bytes, in memory which the host had allocated by our own `malloc`.
fn take(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Answer<Vec<u8>> {
    let mut data = null_mut();
    let mut size = 0;
    let status = call(&raw mut data, &raw mut size);
    if data.is_null() {
        return (status, Vec::new());
    }
    // The SDK's allocator made it as a boxed slice of exactly this size.
    (status, unsafe { Vec::from_raw_parts(data, size, size) })
}
