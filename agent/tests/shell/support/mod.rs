//! What every test of the shell needs: an agent on free ports, a worker, a hook's server, and waiting with a deadline.

pub(crate) mod agent;
pub(crate) mod child;
pub(crate) mod hook;
pub(crate) mod relay;
pub(crate) mod worker;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Long enough for the slowest machine; reached only when something is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The future's result, unless the deadline comes first.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("deadline: {what}"))
}

/// Asks again and again until there is an answer; the last word is shown when there is none by the deadline.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(last) if Instant::now() > end => panic!("deadline: {what}; last: {last}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}
