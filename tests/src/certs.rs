//! Certificates for a test: one authority, a server's for 127.0.0.1 and a client's, as PEM files.

use std::path::PathBuf;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use crate::case::Case;

/// A certificate and its key.
pub struct Pair {
    /// The certificate's file.
    pub cert: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

/// Everything that mutual TLS needs.
pub struct Certs {
    /// Who signed the other two.
    pub ca: PathBuf,
    /// The agent's.
    pub server: Pair,
    /// The proxy's.
    pub client: Pair,
}

impl Certs {
    /// Makes and writes them.
    pub fn new(case: &Case) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        // A subject of its own: what has its issuer's subject counts as self-signed.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let ca = case.file("tls/ca.pem", &params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);
        let pair = |name: &str, usage| -> Result<Pair> {
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate()?;
            let cert = case.file(&format!("tls/{name}.pem"), &params.signed_by(&key, &issuer)?.pem())?;
            Ok(Pair { cert, key: case.file(&format!("tls/{name}-key.pem"), &key.serialize_pem())? })
        };
        let server = pair("server", ExtendedKeyUsagePurpose::ServerAuth)?;
        let client = pair("client", ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(Self { ca, server, client })
    }
}
