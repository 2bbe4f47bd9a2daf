//! What holds for every vendor: size, time, redirects, certificates, and that no reason tells a secret.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rollout::release::integrations::ProviderKind;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::usual::{ALL, SECRET, good, usual};
use super::{Asked, Providers, Reply, Scene, Server, providers, reason};
use crate::secrets::stuck::Stuck;

/// Makes something else of a good answer.
type Spoil = fn(String) -> String;

#[tokio::test]
async fn every_kind_is_asked_and_answers_its_number() {
    for kind in ALL {
        let server = Server::answering(move |asked| good(kind, asked)).await;
        let (scene, query) = usual(kind, &server.url());
        assert_eq!(scene.ask(query).await, Ok(2.5), "{kind:?}");
    }
}

#[tokio::test]
async fn a_refusal_names_its_status_and_tells_no_secret() {
    for kind in ALL {
        for status in [401, 403, 429, 500, 503] {
            // The worst of servers: it repeats what it was sent.
            let repeat = |asked: &Asked| format!("no: {} {:?} {}", asked.raw_query, asked.headers, asked.body);
            let server = Server::answering(move |asked| Reply::status(status, &repeat(asked))).await;
            let (mut scene, query) = usual(kind, &format!("{}/?apikey=hidden-in-url", server.url()));
            scene.provider.headers.insert("X-Key".into(), vec!["hidden-in-header".into()]);
            let reason = reason(scene.ask(query).await);
            assert!(reason.contains(&format!("answered {status} no: ")), "{kind:?} {reason}");
            for secret in [SECRET, "hidden-in-url", "hidden-in-header"] {
                assert!(!reason.contains(secret), "{kind:?} {reason}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_huge_cut_off_or_for_people_is_named() {
    for kind in ALL {
        let cases: [(Spoil, _); 4] = [
            (|_| format!("[{}]", "1,".repeat(1 << 20)), "answered more than 1 MiB"),
            (|_| "<html>log in</html>".into(), "expected"),
            (|_| String::new(), "its answer is not what was expected: EOF"),
            (|good| good[..good.len() - 2].to_owned(), "its answer is not what was expected: EOF"),
        ];
        // A CSV may be empty, and nothing in it shows that it is cut: the transfer's own length does.
        let cases = if kind == ProviderKind::InfluxDb { &cases[..2] } else { &cases[..] };
        for &(spoil, part) in cases {
            let server = Server::answering(move |asked| {
                let Reply { body, .. } = good(kind, asked);
                Reply::ok(&if asked.path == "/token" { body } else { spoil(body) })
            });
            let server = server.await;
            let (scene, query) = usual(kind, &server.url());
            let reason = reason(scene.ask(query).await);
            assert!(reason.contains(part), "{kind:?} {reason}");
        }
    }
}

#[tokio::test]
async fn whatever_a_server_says_a_reason_is_one_short_line() {
    let long = format!("{}\\u001b[31m\\u202e\\n{}", "a".repeat(300), "x".repeat(900_000));
    let bodies = [
        (ProviderKind::Datadog, format!(r#"{{"error":"{long}"}}"#)),
        (
            ProviderKind::InfluxDb,
            format!("#datatype,string,string\r\n,error,reference\r\n,{},897\r\n", "\u{202e}".repeat(9)),
        ),
        (ProviderKind::Stackdriver, format!(r#"{{"partialErrors":[{{"message":"{long}"}}]}}"#)),
        // serde_json repeats the word that it does not know.
        (ProviderKind::Prometheus, format!(r#"{{"status":"success","data":{{"resultType":"{long}","result":[]}}}}"#)),
    ];
    for (kind, body) in bodies {
        let server =
            Server::answering(move |asked| if asked.path == "/token" { good(kind, asked) } else { Reply::ok(&body) });
        let server = server.await;
        let (scene, query) = usual(kind, &server.url());
        let reason = reason(scene.ask(query).await);
        assert!(reason.len() < 600, "{kind:?} {} bytes", reason.len());
        assert!(!reason.chars().any(|c| c.is_control() || c == '\u{202e}'), "{kind:?} {reason:?}");
    }
}

#[tokio::test]
async fn the_address_password_and_the_last_word_of_a_header_are_secrets_too() {
    let repeat =
        |asked: &Asked| format!("no: {:?} {}", asked.headers, asked.header("x-key").replace("Bearer ", "bearer="));
    let server = Server::answering(move |asked| Reply::status(401, &repeat(asked))).await;
    let address = server.url().replace("http://", "http://bot:pass%21word@");
    let mut scene = Scene::new(ProviderKind::Http, &address, &[]);
    scene.provider.headers.insert("X-Key".into(), vec!["Bearer abc-123".into()]);
    let reason = reason(scene.ask("/x").await);
    for secret in ["abc-123", "pass!word", "pass%21word", "Ym90OnBhc3Mhd29yZA=="] {
        assert!(!reason.contains(secret), "{reason}");
    }
    assert!(reason.contains("bearer=…") && reason.contains("Basic …"), "{reason}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(Reply::ok("{}")).await;
    let to = elsewhere.url();
    let redirect = move |_: &_| Reply { headers: vec![("location", to.clone())], ..Reply::status(302, "") };
    let server = Server::answering(redirect).await;
    let (scene, query) = usual(ProviderKind::Prometheus, &server.url());
    assert!(reason(scene.ask(query).await).contains("redirects (302), which is not followed"));
    assert!(elsewhere.was_not_asked().await);
}

#[tokio::test]
async fn who_does_not_listen_breaks_off_or_says_nothing_is_named_without_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:{SECRET}@{}/?key={SECRET}", listener.local_addr().unwrap());
    let (mut scene, query) = usual(ProviderKind::Prometheus, &url);
    let address = listener.local_addr().unwrap();

    // It accepts (the kernel does) and never answers.
    scene.providers.timeout = Duration::from_millis(200);
    let silent = reason(scene.ask(query).await);
    assert_eq!(silent, "prometheus: no answer within 0.2 s");
    scene.providers.timeout = Duration::from_secs(10);

    // It promises more than it sends.
    let server = tokio::spawn(async move {
        // The connection that was given up on comes first.
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\"").await;
        }
        drop(listener);
    });
    let cut = reason(scene.ask(query).await);
    assert!(cut.contains("error") && !cut.contains(SECRET) && !cut.contains("http://"), "{cut}");
    server.await.unwrap();

    let nobody = reason(scene.ask(query).await);
    assert!(nobody.contains("onnection refused") && !nobody.contains(SECRET), "{nobody}");
    assert!(!nobody.contains(&format!("http://{address}")), "{nobody}");
}

#[tokio::test]
async fn a_secret_that_hangs_delays_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let _stuck = Stuck::at(folder.path().join("prod/metrics/token"));
    let (mut scene, query) = usual(ProviderKind::Prometheus, "http://127.0.0.1:1");
    scene.providers = Providers { timeout: Duration::from_millis(100), ..providers(folder.path()) };
    assert_eq!(reason(scene.ask(query).await), "prometheus: no answer within 0.1 s");
}

#[tokio::test]
async fn a_key_that_is_missing_is_named() {
    let scene = Scene::new(ProviderKind::Dynatrace, "http://127.0.0.1:1", &[("token", "x")]);
    let missing = reason(scene.ask("x").await);
    assert_eq!(missing, "dynatrace: secret prod/metrics has no key \"dynatrace_token\"");
}

#[tokio::test]
async fn addresses_and_secrets_that_cannot_be_used_are_named() {
    let ask = async |address: Option<&str>, keys: &[(&str, &str)]| {
        let mut scene = Scene::new(ProviderKind::Prometheus, "", keys);
        scene.provider.address = address.map(str::to_owned);
        reason(scene.ask("x").await)
    };
    assert_eq!(ask(None, &[]).await, "prometheus: needs spec.provider.address");
    assert_eq!(ask(Some(" "), &[]).await, "prometheus: needs spec.provider.address");
    assert!(ask(Some("prom:9090"), &[]).await.contains("must begin with http:// or https://"));
    assert!(ask(Some("/prom"), &[]).await.contains("spec.provider.address: relative URL"));
    let mut scene = Scene::new(ProviderKind::Prometheus, "http://127.0.0.1:1", &[("token", "x")]);
    scene.provider.secret.as_mut().unwrap().name = "../x".into();
    assert!(reason(scene.ask("x").await).contains("secret prod/../x: a name must be"));
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_taken_only_when_told_so() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![issued.cert.der().clone()], key);
    let config = Arc::new(config.unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    // Twice: who refuses the certificate, and who takes it.
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, listener.accept().unwrap().0);
            if stream.read(&mut [0; 4096]).is_ok() {
                let body = r#"{"data":{"resultType":"scalar","result":[1,"7"]}}"#;
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        }
    });
    let mut scene = Scene::new(ProviderKind::Prometheus, &address, &[]);
    let refused = reason(scene.ask("x").await);
    assert!(refused.contains("certificate"), "{refused}");
    scene.provider.insecure_skip_verify = true;
    assert_eq!(scene.ask("x").await, Ok(7.0));
    server.join().unwrap();
}
