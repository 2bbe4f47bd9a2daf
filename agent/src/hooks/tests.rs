//! Hooks over real sockets: what is sent, what approves, what is repeated, and what is said of a refusal.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use rollout::base::names::{CanaryId, ReleaseId, Revision};
use rollout::base::time::Millis;
use rollout::controller::Payload as Said;
use rollout::release::integrations::{HookCall, SecretRef};
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::http_delivery::Pace;
use crate::http_delivery::listener::{Listener, Received, Reply, nobody};
use crate::secrets::Secrets;
use crate::secrets::stuck::Stuck;

const PACE: Pace = Pace { first: Duration::from_millis(20), most: Duration::from_millis(200) };
const DEADLINE: Duration = Duration::from_secs(20);

fn hook(url: String) -> HookCall {
    HookCall {
        url,
        timeout: Millis(10_000),
        retries: 0,
        insecure_skip_verify: false,
        metadata: BTreeMap::from([("cmd".into(), "hey -z 1m".into()), ("timestamp".into(), "mine".into())]),
        headers: None,
        signature: None,
    }
}

fn canary() -> CanaryId {
    CanaryId::new("prod", "web").unwrap()
}

fn payload(call: &HookCall) -> Payload {
    let revision = Some(Revision::parse("v2").unwrap());
    let said = Said { phase: "Progressing", release: ReleaseId(1), revision, metadata: call.metadata.clone() };
    Payload::new(&canary(), said)
}

fn caller() -> Caller {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Caller::with_pace(Secrets::default(), PACE).unwrap()
}

async fn call(caller: &Caller, call: &HookCall) -> Result<(), String> {
    timeout(DEADLINE, caller.call("check", call, &payload(call))).await.expect("deadline: the call")
}

/// A caller with one secret, `prod/hook`.
fn with_secret(values: &[(&str, &str)]) -> (tempfile::TempDir, Caller, Option<SecretRef>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("prod/hook")).unwrap();
    for (key, value) in values {
        std::fs::write(folder.path().join("prod/hook").join(key), value).unwrap();
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let caller = Caller::with_pace(Secrets::new(Some(folder.path().into())), PACE).unwrap();
    (folder, caller, Some(SecretRef { namespace: "prod".into(), name: "hook".into() }))
}

#[tokio::test]
async fn what_is_sent_is_flaggers_payload() {
    let server = Listener::start([Reply::status(200)]).await;
    let hook = hook(server.url("/gate?x=1"));
    call(&caller(), &hook).await.unwrap();
    let bare = HookCall { metadata: BTreeMap::new(), ..hook };
    caller().call("bare", &bare, &payload(&bare)).await.unwrap();

    let received = server.received(2).await;
    let expected = json!({
        "name": "web", "namespace": "prod", "phase": "Progressing", "checksum": "v2",
        "metadata": { "cmd": "hey -z 1m", "timestamp": "mine" },
    });
    assert_eq!(received[0].json(), expected);
    assert_eq!((received[0].method.as_str(), received[0].uri.to_string().as_str()), ("POST", "/gate?x=1"));
    assert_eq!(received[0].header("content-type"), "application/json");
    assert_eq!(received[0].header("content-length"), received[0].body.len().to_string());
    assert_eq!(received[1].json().get("metadata"), None, "as Flagger: nothing where there is none");
}

#[tokio::test]
async fn any_2xx_approves_whatever_its_body_does() {
    for status in [200, 201, 202, 203, 204, 206, 299] {
        let server = Listener::start([Reply::status(status)]).await;
        assert_eq!(call(&caller(), &hook(server.url("/"))).await, Ok(()), "{status}");
    }
    for reply in [Reply::StalledBody(200), Reply::EndlessBody(202)] {
        let server = Listener::start([reply.clone()]).await;
        assert_eq!(call(&caller(), &hook(server.url("/"))).await, Ok(()), "{reply:?}");
    }
}

#[tokio::test]
async fn a_refusal_says_what_was_answered_and_is_not_repeated() {
    for status in [304, 400, 401, 403, 404, 409, 422] {
        let server = Listener::start([Reply::text(status, "no\r\n\u{1b}[31mway")]).await;
        let hook = HookCall { retries: 3, ..hook(server.url("/")) };
        // A 304 has no body.
        let text = if status == 304 { "" } else { " no[31mway" };
        assert_eq!(call(&caller(), &hook).await, Err(format!("check answered {status}{text}")));
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    let elsewhere = Listener::start([Reply::status(200)]).await;
    for status in [301, 302, 303, 307, 308] {
        let to = Some(("location", elsewhere.url("/")));
        let server = Listener::start([Reply::Full(status, to, String::new())]).await;
        let hook = HookCall { retries: 3, ..hook(server.url("/")) };
        assert_eq!(call(&caller(), &hook).await, Err(format!("check answered {status}")));
        assert_eq!(server.count(), 1);
    }
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn repeats_on_429_and_5xx_until_it_is_approved() {
    let wait = Some(("retry-after", "0.15".to_owned()));
    let too_many = Reply::Full(429, wait, String::new());
    let server = Listener::start([Reply::status(503), too_many, Reply::status(500), Reply::status(200)]).await;
    let hook = HookCall { retries: 3, ..hook(server.url("/")) };
    assert_eq!(call(&caller(), &hook).await, Ok(()));
    let received = server.received(4).await;
    let waited = |n: usize| received[n].at - received[n - 1].at;
    assert!(waited(1) >= PACE.first, "{:?}", waited(1));
    assert!(waited(2) >= Duration::from_millis(150), "Retry-After: {:?}", waited(2));
    assert!(received.iter().all(|one| one.body == received[0].body));
}

#[tokio::test]
async fn repeats_only_as_often_as_it_is_told() {
    let server = Listener::start([Reply::text(502, "one"), Reply::text(503, "two"), Reply::text(500, "three")]).await;
    let hook = HookCall { retries: 2, ..hook(server.url("/")) };
    assert_eq!(call(&caller(), &hook).await, Err("check answered 500 three".into()));
    assert_eq!(server.count(), 3);
    let dead = HookCall { retries: 2, url: format!("http://{}/s3cret", nobody()), ..hook };
    let error = call(&caller(), &dead).await.unwrap_err();
    assert!(error.starts_with("check: ") && error.to_lowercase().contains("connection refused"), "{error}");
    assert!(!error.contains("s3cret") && !error.contains("127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn each_attempt_has_its_own_time() {
    let server = Listener::start([Reply::Stall, Reply::status(204)]).await;
    let hook = HookCall { retries: 1, timeout: Millis(2000), ..hook(server.url("/")) };
    assert_eq!(call(&caller(), &hook).await, Ok(()));
    assert_eq!(server.count(), 2);
    let server = Listener::start([Reply::Stall]).await;
    let error = call(&caller(), &HookCall { retries: 0, url: server.url("/?key=s3cret"), ..hook }).await.unwrap_err();
    assert!(error.contains("timed out") && !error.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_stalled_or_endless_refusal_is_truncated() {
    let server = Listener::start([Reply::StalledBody(403)]).await;
    assert_eq!(call(&caller(), &hook(server.url("/"))).await, Err("check answered 403".into()));
    let server = Listener::start([Reply::EndlessBody(403)]).await;
    assert_eq!(call(&caller(), &hook(server.url("/"))).await, Err(format!("check answered 403 {}", "x".repeat(512))));
}

#[tokio::test]
async fn headers_come_from_the_secret_as_it_is_now() {
    let (folder, caller, secret) = with_secret(&[("authorization", "Bearer first\n"), ("X-Team", "web")]);
    let server = Listener::start([Reply::status(200)]).await;
    let hook = HookCall { headers: secret, ..hook(server.url("/")) };
    call(&caller, &hook).await.unwrap();
    std::fs::write(folder.path().join("prod/hook/authorization"), "Bearer second").unwrap();
    call(&caller, &hook).await.unwrap();
    let received = server.received(2).await;
    assert_eq!((received[0].header("authorization"), received[0].header("x-team")), ("Bearer first", "web"));
    assert_eq!(received[1].header("authorization"), "Bearer second");
}

#[tokio::test]
async fn a_secret_that_is_no_header_is_refused_without_its_value() {
    let server = Listener::start([Reply::status(200)]).await;
    let wrong = [
        ("Content-Type", "names a header that only the agent may set"),
        ("content-length", "names a header that only the agent may set"),
        ("Host", "names a header that only the agent may set"),
        ("x-serin-signature", "names a header that only the agent may set"),
        ("not a name", "is not a valid header name"),
        ("x-team", "has a value that no header can have"),
    ];
    for (key, rule) in wrong {
        let (_folder, caller, secret) = with_secret(&[(key, "s3cret\nx")]);
        let error = call(&caller, &HookCall { headers: secret, ..hook(server.url("/")) }).await.unwrap_err();
        assert!(error.starts_with(&format!("check: headers from secret prod/hook: key {key:?} {rule}")), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    let none = Some(SecretRef { namespace: "prod".into(), name: "none".into() });
    let (_folder, caller, _) = with_secret(&[]);
    for hook in [
        HookCall { headers: none.clone(), ..hook(server.url("/")) },
        HookCall { signature: none, ..hook("http://h/".into()) },
    ] {
        let error = call(&caller, &hook).await.unwrap_err();
        assert!(error.starts_with("check: secret prod/none: "), "{error}");
    }
    assert_eq!(server.count(), 0, "nothing goes out without what it must carry");
}

/// As a receiver would: from the bytes that came, and the key.
fn verified(received: &Received, key: &str) -> bool {
    let mut signed = received.header("x-serin-timestamp").as_bytes().to_vec();
    signed.push(b'.');
    signed.extend_from_slice(&received.body);
    let digits = received.header("x-serin-signature").strip_prefix("sha256=").unwrap();
    let bytes: Vec<u8> =
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(&signed);
    mac.verify_slice(&bytes).is_ok()
}

#[tokio::test]
async fn a_signature_covers_the_body_and_the_time() {
    let (_folder, caller, secret) = with_secret(&[("key", "s3cret-key")]);
    let server = Listener::start([Reply::status(503), Reply::status(200)]).await;
    call(&caller, &HookCall { signature: secret, retries: 1, ..hook(server.url("/")) }).await.unwrap();
    for mut received in server.received(2).await {
        assert!(verified(&received, "s3cret-key") && !verified(&received, "other"));
        let at: u64 = received.header("x-serin-timestamp").parse().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(at) < 60, "{at} at {now}");
        received.headers.insert("x-serin-timestamp", (at + 1).into());
        assert!(!verified(&received, "s3cret-key"), "the time is signed too");
    }
}

#[tokio::test]
async fn what_a_server_repeats_of_our_secrets_is_removed() {
    let (_folder, caller, secret) = with_secret(&[("authorization", "Bearer t0ken")]);
    let text = "Bearer t0ken is wrong (t0ken) for POST /hooks/0123456789abcdef?key=s3cret s3cret";
    let server = Listener::start([Reply::text(401, text)]).await;
    let hook = HookCall { headers: secret, ..hook(server.url("/hooks/0123456789abcdef?key=s3cret")) };
    let expected = "check answered 401 … is wrong (…) for POST /hooks/…?… …";
    assert_eq!(call(&caller, &hook).await, Err(expected.into()));
    let wrong = HookCall { url: "hooks.example/s3cret".into(), headers: None, ..hook };
    let error = call(&caller, &wrong).await.unwrap_err();
    assert!(error.starts_with("check: its address") && !error.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_secret_that_hangs_is_a_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let _stuck = Stuck::at(folder.path().join("prod/hook/authorization"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let caller = Caller::with_pace(Secrets::new(Some(folder.path().into())), PACE).unwrap();
    let headers = Some(SecretRef { namespace: "prod".into(), name: "hook".into() });
    let hook = HookCall { headers, timeout: Millis(100), retries: 1, ..hook(format!("http://{}/", nobody())) };
    let payload = payload(&hook);
    let refused = timeout(Duration::from_secs(10), caller.call("check", &hook, &payload));
    let error = refused.await.expect("deadline: the call").unwrap_err();
    assert_eq!(error, "check: timed out: its secret could not be read within 0.1 s");
}

#[tokio::test]
async fn no_connection_is_kept_for_the_next_call() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = hook(format!("http://{}/", listener.local_addr().unwrap()));
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        // It would go on with the first connection, and hears nothing of a call that did.
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            open.push(stream);
        }
    });
    let caller = caller();
    call(&caller, &hook).await.unwrap();
    call(&caller, &hook).await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn a_dead_hook_delays_nothing_else() {
    let dead = Listener::start([Reply::Stall]).await;
    let alive = Listener::start([Reply::status(200)]).await;
    let caller = caller();
    let dead_hook = hook(dead.url("/"));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..concurrency_limits::PENDING_OF_HOOK {
        let (caller, hook) = (caller.clone(), dead_hook.clone());
        calls.spawn(async move { caller.call("dead", &hook, &payload(&hook)).await });
    }
    dead.received(concurrency_limits::OF_HOOK).await;
    let live_hook = hook(alive.url("/"));
    for _ in 0..20 {
        timeout(DEADLINE, caller.call("alive", &live_hook, &payload(&live_hook))).await.unwrap().unwrap();
    }
    assert_eq!(dead.count(), concurrency_limits::OF_HOOK, "the others wait for its places");
    let more = caller.call("dead", &dead_hook, &payload(&dead_hook)).await.unwrap_err();
    assert!(more.contains("64 earlier calls of it are still pending"), "{more}");
    // A caller that gives up waiting frees its places.
    calls.shutdown().await;
    let short = HookCall { timeout: Millis(200), ..dead_hook };
    let error = timeout(DEADLINE, caller.call("dead", &short, &payload(&short))).await.unwrap().unwrap_err();
    assert!(error.contains("timed out"), "{error}");
}

#[tokio::test]
async fn a_certificate_is_verified_unless_the_hook_says_otherwise() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        // Two handshakes: the first is broken off by the caller.
        for _ in 0..2 {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, socket);
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok_and(|read| read > 0) {
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                stream.flush().unwrap();
            }
        }
    });
    let hook = hook(format!("https://localhost:{port}/"));
    let error = call(&caller(), &hook).await.unwrap_err();
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    call(&caller(), &HookCall { insecure_skip_verify: true, ..hook }).await.unwrap();
    served.join().unwrap();
}
