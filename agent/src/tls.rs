//! The fleet server's TLS files: read and tried at the start, so that a wrong one is named with its flag and path
//! instead of failing every handshake.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::options::TlsFiles;

/// A TLS file cannot be used.
#[derive(Debug, Error)]
#[error("{flag} {path}: {reason}")]
pub struct TlsFileError {
    /// Which flag.
    pub flag: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// What tonic needs of the files.
///
/// # Errors
/// When one cannot be read or does not hold what it should, or the key is not the certificate's.
pub(crate) fn server(files: &TlsFiles) -> Result<ServerTlsConfig, TlsFileError> {
    let cert = File::read("--grpc-tls-cert", &files.cert)?;
    let key = File::read("--grpc-tls-key", &files.key)?;
    let chain = cert.certificates()?;
    let private = PrivateKeyDer::from_pem_slice(&key.pem)
        // The error would show the line that it does not understand: the whole key where its line breaks are lost.
        .map_err(|_| key.refuse("holds no private key in PEM form; its line breaks may be lost".into()))?;
    CertifiedKey::from_der(chain, private, &default_provider())
        .map_err(|error| key.refuse(format!("does not go with {}: {error}", files.cert.display())))?;
    let config = ServerTlsConfig::new().identity(Identity::from_pem(&cert.pem, &key.pem));
    let Some(path) = &files.client_ca else { return Ok(config) };
    let authority = File::read("--grpc-tls-client-ca", path)?;
    let mut roots = RootCertStore::empty();
    for certificate in authority.certificates()? {
        roots
            .add(certificate)
            .map_err(|error| authority.refuse(format!("is not a valid certificate authority: {error}")))?;
    }
    Ok(config.client_ca_root(Certificate::from_pem(&authority.pem)))
}

struct File {
    flag: &'static str,
    path: PathBuf,
    pem: Vec<u8>,
}

impl File {
    fn read(flag: &'static str, path: &Path) -> Result<Self, TlsFileError> {
        let pem = std::fs::read(path);
        let pem = pem.map_err(|error| TlsFileError { flag, path: path.into(), reason: error.to_string() })?;
        Ok(Self { flag, path: path.into(), pem })
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.pem).collect();
        // As above: a key may stand in the same file.
        let found = found.map_err(|_| self.refuse("is not a valid PEM file; its line breaks may be lost".into()))?;
        if found.is_empty() {
            return Err(self.refuse("holds no certificate in PEM form".into()));
        }
        Ok(found)
    }

    fn refuse(&self, reason: String) -> TlsFileError {
        TlsFileError { flag: self.flag, path: self.path.clone(), reason }
    }
}
