//! Secrets for hooks, metric providers and alerts: files `NAMESPACE/NAME/KEY` below one folder, as Kubernetes mounts them.
//! Read at each use, so that a rotated secret is taken at once; never printed, never journalled.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollout::release::integrations::SecretRef;
use thiserror::Error;
use tokio::sync::Semaphore;

/// Longest value.
const MAX_BYTES: u64 = 64 << 10;
/// Most keys of one secret.
const MAX_KEYS: usize = 64;

/// Most readings under way: a file system that hangs must not take every thread that may wait for a disk.
const MAX_READINGS: usize = 16;

/// Where secrets lie, if anywhere. Clones share the threads that read.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    folder: Option<PathBuf>,
    readings: Arc<Semaphore>,
}

/// One value. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

/// A secret that cannot be had; names it, never what is in it.
#[derive(Debug, Error)]
pub(crate) enum SecretError {
    /// No folder was given.
    #[error("secret {0} is needed, but the agent was started without --secrets DIR")]
    NoFolder(String),
    /// A name that would lead out of the folder.
    #[error("secret {0}: a name must be letters, digits, -, _ and . and not begin with a dot")]
    Name(String),
    /// Not there, or not readable.
    #[error("secret {name}: {path}: {source}")]
    File { name: String, path: PathBuf, source: std::io::Error },
    /// It has no such key.
    #[error("secret {name} has no key {key:?}")]
    Key { name: String, key: String },
    /// The reading was broken off.
    #[error("secrets cannot be read: {0}")]
    Unread(tokio::task::JoinError),
    /// Too much.
    #[error("secret {0}: a value has at most {MAX_BYTES} bytes, a secret at most {MAX_KEYS} keys")]
    Large(String),
}

impl Secrets {
    /// Secrets below a folder.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, readings: Arc::new(Semaphore::new(MAX_READINGS)) }
    }

    /// Reads elsewhere than on the runtime's threads: secrets are files, and a file system may be slow, or hang. The
    /// caller limits how long it waits; dropping this gives up.
    ///
    /// # Errors
    /// When the runtime ends.
    pub(crate) async fn elsewhere<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, SecretError> {
        // Never closed. The reading keeps its place until it ends, even when its result is not awaited any more.
        let place = Arc::clone(&self.readings).acquire_owned().await.ok();
        let secrets = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let value = read(&secrets);
            drop(place);
            value
        });
        reading.await.map_err(SecretError::Unread)
    }

    /// One key's value, white space around it left out.
    pub(crate) fn value(&self, secret: &SecretRef, key: &str) -> Result<Secret, SecretError> {
        let name = format!("{}/{}", secret.namespace, secret.name);
        read(&self.path(secret)?.join(checked(&name, key)?), &name)
    }

    /// One key's value; `None` where the secret does not have it.
    pub(crate) fn optional(&self, secret: &SecretRef, key: &str) -> Result<Option<Secret>, SecretError> {
        match self.value(secret, key) {
            Err(SecretError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Every key with its value.
    pub(crate) fn all(&self, secret: &SecretRef) -> Result<BTreeMap<String, Secret>, SecretError> {
        self.each(secret)?.into_iter().map(|(key, value)| Ok((key, value?))).collect()
    }

    /// Every key with its value, or why that cannot be had.
    pub(crate) fn each(
        &self,
        secret: &SecretRef,
    ) -> Result<BTreeMap<String, Result<Secret, SecretError>>, SecretError> {
        let (folder, name) = (self.path(secret)?, format!("{}/{}", secret.namespace, secret.name));
        let failed = |source| SecretError::File { name: name.clone(), path: folder.clone(), source };
        let mut values = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let key = entry.file_name().to_string_lossy().into_owned();
            // What Kubernetes adds (`..data`) is no key.
            if key.starts_with('.') {
                continue;
            }
            if values.len() >= MAX_KEYS {
                return Err(SecretError::Large(name));
            }
            values.insert(key, read(&entry.path(), &name));
        }
        Ok(values)
    }

    fn path(&self, secret: &SecretRef) -> Result<PathBuf, SecretError> {
        let name = format!("{}/{}", secret.namespace, secret.name);
        let folder = self.folder.as_ref().ok_or_else(|| SecretError::NoFolder(name.clone()))?;
        Ok(folder.join(checked(&name, &secret.namespace)?).join(checked(&name, &secret.name)?))
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Secret {
    /// The value, for the one place that sends it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn checked<'a>(name: &str, part: &'a str) -> Result<&'a str, SecretError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if part.is_empty() || part.starts_with('.') || !part.chars().all(is_plain) {
        return Err(SecretError::Name(name.into()));
    }
    Ok(part)
}

fn read(path: &Path, name: &str) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::File { name: name.into(), path: path.into(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(SecretError::Large(name.into()));
    }
    Ok(Secret(text.trim().to_owned()))
}

#[cfg(test)]
pub(crate) mod stuck;

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str) -> SecretRef {
        SecretRef { namespace: "prod".into(), name: name.into() }
    }

    fn folder() -> (tempfile::TempDir, Secrets) {
        let folder = tempfile::tempdir().unwrap();
        let prom = folder.path().join("prod/prom");
        std::fs::create_dir_all(&prom).unwrap();
        std::fs::write(prom.join("token"), " abc\n").unwrap();
        std::fs::create_dir(prom.join("..data")).unwrap();
        let secrets = Secrets::new(Some(folder.path().into()));
        (folder, secrets)
    }

    #[test]
    fn a_value_is_read_at_each_use_and_never_shown() {
        let (folder, secrets) = folder();
        let token = secrets.value(&secret("prom"), "token").unwrap();
        assert_eq!((token.reveal(), format!("{token:?}").as_str()), ("abc", "Secret(…)"));
        std::fs::write(folder.path().join("prod/prom/token"), "new").unwrap();
        assert_eq!(secrets.value(&secret("prom"), "token").unwrap().reveal(), "new");
        assert_eq!(secrets.optional(&secret("prom"), "username").unwrap(), None);
        assert_eq!(secrets.all(&secret("prom")).unwrap().keys().collect::<Vec<_>>(), ["token"]);
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        let (folder, secrets) = folder();
        let error = |name: &str, key: &str| secrets.value(&secret(name), key).unwrap_err().to_string();
        assert!(error("other", "token").starts_with("secret prod/other: "));
        for name in ["..", "a/b", "", ".hidden"] {
            assert!(error(name, "token").contains("a name must be"), "{name}");
            assert!(error("prom", name).contains("a name must be"), "{name}");
        }
        std::fs::write(folder.path().join("prod/prom/token"), "x".repeat(MAX_BYTES as usize + 1)).unwrap();
        assert!(error("prom", "token").contains("at most"));
        let without = Secrets::default().value(&secret("prom"), "token").unwrap_err().to_string();
        assert!(without.contains("--secrets DIR"), "{without}");
    }
}
