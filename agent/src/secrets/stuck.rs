//! A secret on a file system that hangs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A file whose reader hangs, until this is dropped or the test has gone on for far too long.
pub(crate) struct Stuck {
    end: Option<mpsc::Sender<()>>,
    ending: Option<JoinHandle<()>>,
}

impl Stuck {
    /// One at this place, in whose folders others may be.
    pub(crate) fn at(path: PathBuf) -> Self {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (end, ended) = mpsc::channel();
        let ending = std::thread::spawn(move || {
            let _ = ended.recv_timeout(Duration::from_secs(20));
            let_go(&path);
        });
        Self { end: Some(end), ending: Some(ending) }
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.ending.take().map(JoinHandle::join);
    }
}

/// A reader that waits for a writer has one, which is gone at once.
fn let_go(path: &Path) {
    drop(std::fs::File::options().read(true).write(true).open(path));
}
