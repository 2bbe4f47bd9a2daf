//! The ABI's imports. Those that the filter uses act on the host; those that only the SDK names must never be called.

use super::{Host, Pairs, Stream, host};

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;

/// Notes a call; its status is the one that the test wants, or else what `act` returns.
fn call(name: &'static str, act: impl FnOnce(&mut Host) -> u32) -> u32 {
    host(|host| {
        host.calls.push(name);
        match host.failing.get(name) {
            Some(status) => *status,
            None => act(host),
        }
    })
}

unsafe fn bytes(data: *const u8, size: usize) -> Vec<u8> {
    if size == 0 {
        return Vec::new();
    }
    unsafe { std::slice::from_raw_parts(data, size) }.to_vec()
}

unsafe fn text(data: *const u8, size: usize) -> String {
    String::from_utf8(unsafe { bytes(data, size) }).unwrap()
}

/// Hands memory over as the SDK's allocator would have made it.
unsafe fn give(value: Vec<u8>, data: *mut *mut u8, size: *mut usize) -> u32 {
    if !value.is_empty() {
        unsafe {
            *size = value.len();
            *data = Box::into_raw(value.into_boxed_slice()).cast();
        }
    }
    OK
}

fn serialize(pairs: &Pairs) -> Vec<u8> {
    let mut bytes = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend(name.iter().chain(&[0]).chain(value).chain(&[0]));
    }
    bytes
}

fn deserialize(bytes: &[u8]) -> Pairs {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let count = number(0);
    let mut at = 4 + 8 * count;
    let mut next = |size: usize| {
        at += size + 1;
        bytes[at - size - 1..at - 1].to_vec()
    };
    (0..count).map(|n| (next(number(4 + 8 * n)), next(number(8 + 8 * n)))).collect()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_log(level: u32, data: *const u8, size: usize) -> u32 {
    let line = unsafe { text(data, size) };
    call("log", |host| {
        host.logs.push((level, line));
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32 {
    let name = match map {
        0 => "request_headers",
        2 => "response_headers",
        _ => "response_trailers",
    };
    call(name, |host| {
        let pairs = match map {
            0 => &host.request,
            2 => &host.response,
            _ => &host.trailers,
        };
        let serialized = host.raw_pairs.clone().unwrap_or_else(|| serialize(pairs));
        unsafe { give(serialized, data, size) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_replace_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    assert_eq!(map, 0, "only request headers are edited");
    let (name, value) = unsafe { (bytes(name, name_size), bytes(value, value_size)) };
    call("replace_header", |host| {
        host.request.retain(|(known, _)| *known != name);
        host.request.push((name, value));
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_add_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    assert_eq!(map, 2, "only response headers are added");
    let (name, value) = unsafe { (bytes(name, name_size), bytes(value, value_size)) };
    call("add_header", |host| {
        host.response.push((name, value));
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32 {
    assert_eq!(map, 0, "only request headers are edited");
    let name = unsafe { bytes(name, name_size) };
    call("remove_header", |host| {
        host.request.retain(|(known, _)| *known != name);
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let path = unsafe { text(path, path_size) };
    let name = match path.as_str() {
        "response\0flags" => "flags",
        "upstream\0request_attempt_count" => "attempts",
        "source\0address" => "address",
        "xds\0cluster_name" => "cluster",
        "upstream\0address" => "destination",
        _ => "node",
    };
    call(name, |host| match host.properties.get(&path) {
        Some(value) => unsafe { give(value.clone(), data, size) },
        None => NOT_FOUND,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_buffer_bytes(
    buffer: u32,
    start: usize,
    max_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let name = if buffer == 7 { "config" } else { "message" };
    call(name, |host| {
        let all = match buffer {
            1 => &host.response_body,
            7 => &host.config,
            _ => &host.message,
        };
        let part = all[start..].iter().take(max_size).copied().collect();
        unsafe { give(part, data, size) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(period_ms: u32) -> u32 {
    call("tick_every", |host| {
        host.tick_ms = Some(period_ms);
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_time_get(clock: u32, _precision: u64, nanos: *mut u64) -> u32 {
    assert_eq!(clock, 1, "only the monotonic clock is read");
    call("clock", |host| {
        unsafe { *nanos = host.now_us * 1000 };
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn random_get(data: *mut u8, size: usize) -> u32 {
    call("random", |_| {
        (0..size).for_each(|at| unsafe { *data.add(at) = at as u8 + 1 });
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_grpc_stream(
    upstream: *const u8,
    upstream_size: usize,
    service: *const u8,
    service_size: usize,
    method: *const u8,
    method_size: usize,
    metadata: *const u8,
    metadata_size: usize,
    token: *mut u32,
) -> u32 {
    let stream = unsafe {
        Stream {
            upstream: bytes(upstream, upstream_size),
            path: format!("{}/{}", text(service, service_size), text(method, method_size)),
            metadata: deserialize(&bytes(metadata, metadata_size)),
            ..Stream::default()
        }
    };
    call("open_stream", |host| {
        unsafe { *token = host.base + host.streams.len() as u32 };
        host.streams.push(stream);
        OK
    })
}

fn on_stream(name: &'static str, token: u32, act: impl FnOnce(&mut Stream)) -> u32 {
    call(name, |host| match host.streams.get_mut((token - host.base) as usize) {
        Some(stream) => {
            act(stream);
            OK
        }
        None => NOT_FOUND,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_grpc_send(token: u32, message: *const u8, size: usize, end: u32) -> u32 {
    assert_eq!(end, 0, "the filter never ends a stream by a message");
    let message = unsafe { bytes(message, size) };
    // As Envoy: a stream is known only to the context that opened it.
    if host(|host| host.is_in_request && host.effective != Some(host.base)) {
        return NOT_FOUND;
    }
    on_stream("send", token, |stream| stream.sent.push(message))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_grpc_close(token: u32) -> u32 {
    on_stream("close", token, |stream| stream.is_closed = true)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_grpc_cancel(token: u32) -> u32 {
    on_stream("cancel", token, |stream| stream.is_cancelled = true)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32 {
    let name = unsafe { text(name, size) };
    call("define_metric", |host| {
        host.metrics.push((kind, name, 0));
        unsafe { *id = host.metrics.len() as u32 };
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(id: u32, offset: i64) -> u32 {
    call("add_metric", |host| match host.metrics.get_mut(id as usize - 1) {
        Some((0, _, _)) if offset <= 0 => BAD_ARGUMENT,
        Some((_, _, value)) => {
            *value += offset;
            OK
        }
        None => NOT_FOUND,
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_record_metric(id: u32, value: u64) -> u32 {
    call("record_metric", |host| match host.metrics.get_mut(id as usize - 1) {
        Some((_, _, held)) => {
            *held = value as i64;
            OK
        }
        None => NOT_FOUND,
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_effective_context(context: u32) -> u32 {
    call("act_for", |host| {
        host.effective = Some(context);
        OK
    })
}

/// The linker wants them because the SDK names them. Called, they end the test: the filter has no use for them.
macro_rules! never_called {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> u32 {
            panic!(concat!("the filter called ", stringify!($name)))
        }
    )*};
}

never_called! {
    proxy_call_foreign_function
    proxy_close_stream
    proxy_continue_stream
    proxy_dequeue_shared_queue
    proxy_done
    proxy_enqueue_shared_queue
    proxy_get_current_time_nanoseconds
    proxy_get_header_map_value
    proxy_get_log_level
    proxy_get_metric
    proxy_get_shared_data
    proxy_get_status
    proxy_grpc_call
    proxy_http_call
    proxy_register_shared_queue
    proxy_resolve_shared_queue
    proxy_send_local_response
    proxy_set_buffer_bytes
    proxy_set_header_map_pairs
    proxy_set_property
    proxy_set_shared_data
}
