//! TLS for proxies: who may connect with which certificate, and the errors for wrong files.

use std::path::{Path, PathBuf};

use agent::TlsFiles;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rollout::worker::messages::{ToAgent, ToWorker};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::support::agent::{TestAgent, directory, options};
use crate::support::worker::{Worker, endpoint, hello};

/// An authority and a leaf signed by it, as PEM.
pub(crate) struct Signed {
    authority: String,
    cert: String,
    key: String,
}

pub(crate) fn signed() -> Signed {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["agent.test".into(), "127.0.0.1".into()]).unwrap();
    let cert = params.signed_by(&key, &authority).unwrap();
    Signed { authority: authority.pem(), cert: cert.pem(), key: key.serialize_pem() }
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn files(dir: &Path, server: &Signed, client_ca: Option<&Signed>) -> TlsFiles {
    TlsFiles {
        cert: write(dir, "cert.pem", &server.cert),
        key: write(dir, "key.pem", &server.key),
        client_ca: client_ca.map(|ca| write(dir, "clients.pem", &ca.authority)),
    }
}

async fn connect(agent: &TestAgent, tls: ClientTlsConfig) -> Result<Worker, Status> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{}", agent.grpc())).unwrap();
    let endpoint = endpoint.tls_config(tls.domain_name("agent.test")).unwrap();
    let mut worker = Worker::open(&endpoint, None, &[ToAgent::Hello(hello(1))]).await?;
    assert!(matches!(worker.next().await, ToWorker::Welcome(_)));
    Ok(worker)
}

#[tokio::test]
async fn who_trusts_the_authority_connects_and_plain_text_does_not() {
    let server = signed();
    let agent = TestAgent::start_with(|options, dir| options.grpc_tls = Some(files(dir.path(), &server, None))).await;
    let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&server.authority));
    connect(&agent, trusting).await.unwrap();
    let distrusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&signed().authority));
    assert!(connect(&agent, distrusting).await.is_err());
    assert!(Worker::open(&endpoint(agent.grpc()), None, &[ToAgent::Hello(hello(1))]).await.is_err());
}

#[tokio::test]
async fn with_a_client_authority_workers_must_show_its_certificate() {
    let (server, clients) = (signed(), signed());
    let agent =
        TestAgent::start_with(|options, dir| options.grpc_tls = Some(files(dir.path(), &server, Some(&clients)))).await;
    let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&server.authority));
    assert!(connect(&agent, trusting.clone()).await.is_err());
    let strange = signed();
    let stranger = trusting.clone().identity(Identity::from_pem(&strange.cert, &strange.key));
    assert!(connect(&agent, stranger).await.is_err());
    let member = trusting.identity(Identity::from_pem(&clients.cert, &clients.key));
    connect(&agent, member).await.unwrap();
}

#[tokio::test]
async fn a_wrong_file_is_named_with_its_flag() {
    let server = signed();
    refused(|files, _| files.cert = "/nowhere/cert.pem".into(), &["--grpc-tls-cert /nowhere/cert.pem: No such file"])
        .await;
    refused(|files, _| files.key = "/nowhere/key.pem".into(), &["--grpc-tls-key /nowhere/key.pem: No such file"]).await;
    refused(|files, _| files.client_ca = Some("/nowhere/ca".into()), &["--grpc-tls-client-ca /nowhere/ca: No such"])
        .await;
    let key = server.key.clone();
    refused(|files, dir| files.cert = write(dir, "c", &key), &["--grpc-tls-cert", "/c: holds no certificate"]).await;
    refused(|files, dir| files.key = write(dir, "k", "hello"), &["--grpc-tls-key", "/k: holds no private key"]).await;
    refused(|files, dir| files.client_ca = Some(write(dir, "a", "")), &["--grpc-tls-client-ca", "/a: holds no cert"])
        .await;
    let broken = "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n";
    refused(|files, dir| files.cert = write(dir, "b", broken), &["--grpc-tls-cert", "/b: is not a valid PEM file"])
        .await;
    let one_line = |pem: &str| pem.replace('\n', "");
    let key = one_line(&server.key);
    let lost = refused(|files, dir| files.key = write(dir, "l", &key), &["--grpc-tls-key", "/l: holds no private key"]);
    assert_tells_no_line(&lost.await);
    let lost =
        refused(|files, dir| files.cert = write(dir, "m", &key), &["--grpc-tls-cert", "/m: is not a valid PEM file"]);
    assert_tells_no_line(&lost.await);
    refused(|files, dir| files.key = write(dir, "o", &server.key), &["--grpc-tls-key", "does not go with", "cert.pem"])
        .await;
}

/// Starts an agent with files of which one is made wrong.
async fn refused(spoil: impl FnOnce(&mut TlsFiles, &Path), words: &[&str]) -> String {
    let dir: TempDir = directory();
    let mut tls = files(dir.path(), &signed(), None);
    spoil(&mut tls, dir.path());
    let options = agent::Options { grpc_tls: Some(tls), ..options(dir.path()) };
    let error = agent::start(options).await.expect_err("the agent does not start").to_string();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
    error
}

/// A key whose line breaks are lost is one line, which rustls's error shows byte by byte.
fn assert_tells_no_line(error: &str) {
    let bytes = b"PRIVATE".map(|byte| byte.to_string()).join(", ");
    assert!(!error.contains(&bytes) && !error.contains("PRIVATE"), "{error}");
    assert!(error.contains("its line breaks may be lost"), "{error}");
}
