//! The watch: one canary's status and events as they happen, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt};
use rollout::view::status;
use serving::{HttpError, Segments};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Api;
use super::ids::canary_id;
use super::reads::status_of;

/// How often a watcher gets the status even if nothing was announced.
const STATUS_EVERY: Duration = Duration::from_millis(500);

/// `GET …/watch`.
pub(super) async fn watch(
    State(api): State<Api>,
    path: Segments,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, HttpError> {
    let id = canary_id(&path)?;
    // Subscribed before the status is taken, so that nothing falls between the two.
    let announcements = api.handle.watch();
    let first = frame("status", &status_of(&api.handle, id.clone()).await?);
    let mut ticks = interval_at(Instant::now() + STATUS_EVERY, STATUS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let changes = futures::stream::unfold((api.handle, id, announcements, ticks), async |mut state| {
        let (handle, id, announcements, ticks) = &mut state;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let status = status_of(handle, id.clone()).await.ok()?;
                    return Some((Ok(frame("status", &status)), state));
                }
                announced = announcements.recv() => match announced {
                    Ok((canary, event)) if canary == *id => {
                        return Some((Ok(frame("event", &status::event(&event))), state));
                    }
                    // Another canary's, or the watcher lagged: the next status shows where things stand.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    });
    let stream = futures::stream::iter([Ok(first)]).chain(changes);
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

fn frame(kind: &str, data: &impl serde::Serialize) -> Event {
    // Status types always serialise; if one ever fails to, the watcher sees an empty event instead of a broken stream.
    Event::default().event(kind).json_data(data).unwrap_or_default()
}
