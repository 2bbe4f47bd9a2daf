//! Steps that take long: a person who waits reads what is being done, for whom it waits, and how long it took.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::shell::{announce, run};

/// Steps below this do not print how long they took.
const WORTH_TELLING: Duration = Duration::from_secs(5);

/// Runs cargo for `what`, which ends up in `folder` (`target/release`, say). Cargo's own progress stays visible.
pub(crate) fn cargo_step(what: &str, folder: &Path, cargo: &mut Command) -> Result<()> {
    announce(what);
    if is_locked(folder) {
        // Cargo says that it is blocked, not where; with CARGO_TARGET_DIR that may be another checkout's doing.
        announce(&format!("waiting for cargo's lock on {}, held by another cargo command", folder.display()));
    }
    let began = Instant::now();
    run(cargo)?;
    let took = began.elapsed();
    if took >= WORTH_TELLING {
        announce(&format!("done in {}", in_words(took)));
    }
    Ok(())
}

/// Whether another cargo is building into this folder. It may have ended, or begun, by the time ours asks: this is for
/// a message only.
fn is_locked(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join(".cargo-lock")) else { return false };
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// `47 s`, `3 min 20 s`.
fn in_words(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_lock_is_seen_while_somebody_holds_it() {
        let folder = std::env::temp_dir().join(format!("xtask-lock-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert!(!is_locked(&folder), "nothing was ever built there");
        let lock = File::create(folder.join(".cargo-lock")).unwrap();
        assert!(!is_locked(&folder));
        lock.lock().unwrap();
        assert!(is_locked(&folder));
        lock.unlock().unwrap();
        assert!(!is_locked(&folder));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn times_are_told_in_minutes_and_seconds() {
        assert_eq!(in_words(Duration::from_millis(47_900)), "47 s");
        assert_eq!(in_words(Duration::from_secs(200)), "3 min 20 s");
    }
}
