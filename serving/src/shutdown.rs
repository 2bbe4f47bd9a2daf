//! The signals by which a terminal or a supervisor ends a server.

/// Returns once SIGINT or SIGTERM asks this process to end.
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping");
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Poll;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn either_signal_ends_a_server_and_none_leaves_it_running() {
        for wanted in [Signal::TERM, Signal::INT] {
            let mut ended = pin!(shutdown_signal());
            // The first poll installs the handlers: before it, the signal would end the test.
            let first = std::future::poll_fn(|context| Poll::Ready(ended.as_mut().poll(context))).await;
            assert!(first.is_pending());
            kill_process(getpid(), wanted).unwrap();
            ended.await;
        }
    }
}
