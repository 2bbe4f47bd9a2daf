//! One test's folder: configurations, data and logs, removed when the test passes and kept, and named, when it fails.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// The folder of one test or demo run.
pub struct Case {
    folder: Option<TempDir>,
}

impl Case {
    /// Makes a fresh folder whose name starts with `name`. It is kept unless [`Case::remove`] is called.
    pub fn new(name: &str) -> Result<Self> {
        let prefix = format!("serin-{name}-");
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().context("cannot make a temporary folder")?;
        Ok(Self { folder: Some(folder) })
    }

    /// Runs a test in a folder of its own. This is the frame of every end-to-end test:
    /// `Case::run("name", async |case| { ... Ok(()) }).await`.
    ///
    /// # Errors
    /// The test's, with the path of the folder added.
    pub async fn run(name: &str, test: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        let case = Self::new(name)?;
        let kept_in = case.dir().to_path_buf();
        test(&case).await.with_context(|| format!("logs are kept in {}", kept_in.display()))?;
        case.remove();
        Ok(())
    }

    /// The folder; everything in it vanishes after success.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new("."), TempDir::path)
    }

    /// Makes a folder inside and returns its path.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir().join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Writes a file inside, making the folders on the way, and returns its path.
    pub fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir().join(name);
        let folder = path.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(folder)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Everything went well: nobody will want the logs.
    pub fn remove(mut self) {
        drop(self.folder.take());
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            eprintln!("kept: {}", folder.keep().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_case_keeps_its_folder_and_names_it_and_a_passed_one_does_not() {
        let mut seen = PathBuf::new();
        let failed = Case::run("fails", async |case| {
            seen = case.file("sub/log.txt", "why")?.parent().unwrap().to_path_buf();
            anyhow::bail!("on purpose")
        });
        let message = format!("{:#}", failed.await.unwrap_err());
        let kept = seen.parent().unwrap().to_path_buf();
        assert!(message.contains(kept.to_str().unwrap()) && message.contains("on purpose"), "{message}");
        assert_eq!(std::fs::read_to_string(seen.join("log.txt")).unwrap(), "why");
        std::fs::remove_dir_all(&kept).unwrap();

        Case::run("passes", async |case| {
            seen = case.dir().to_path_buf();
            Ok(())
        })
        .await
        .unwrap();
        assert!(!seen.exists());
    }
}
