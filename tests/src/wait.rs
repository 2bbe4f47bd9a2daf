//! Waiting for a condition, with a deadline: the only way a test may let time pass.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL_EVERY: Duration = Duration::from_millis(20);

/// Asks `probe` every 20 ms until it succeeds.
///
/// An error of the probe means "not yet" and should say what was seen (`ensure!(weight == 20, "weight is {weight}")`).
///
/// # Errors
/// After `within`: names `what` was awaited and the last thing seen. A probe that never returns counts as well.
pub async fn until<T>(what: &str, within: Duration, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut seen = "nothing".to_owned();
    loop {
        match tokio::time::timeout_at(deadline.into(), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(not_yet)) => seen = format!("{not_yet:#}"),
            Err(_elapsed) => {}
        }
        if Instant::now() + POLL_EVERY >= deadline {
            bail!("waited {within:?} for {what}; last seen: {seen}");
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_as_soon_as_the_probe_succeeds() {
        let mut asked = 0;
        let value = until("the third time", Duration::from_secs(10), async || {
            asked += 1;
            anyhow::ensure!(asked == 3, "asked {asked} times");
            Ok(asked)
        });
        assert_eq!(value.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn says_what_was_awaited_and_what_was_seen() {
        let never = until("the sky to fall", Duration::from_millis(60), async || -> Result<()> { bail!("it is up") });
        assert_eq!(never.await.unwrap_err().to_string(), "waited 60ms for the sky to fall; last seen: it is up");
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_no_excuse() {
        let hung =
            until("an answer", Duration::from_millis(60), async || -> Result<()> { std::future::pending().await });
        assert!(hung.await.unwrap_err().to_string().contains("waited 60ms for an answer"));
    }
}
