//! The recorded releases: their list, and one of them as JSON lines.

use std::io::Read;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use rollout::base::names::CanaryId;
use rollout::release::phase::ReleaseId;
use serde_json::{Value, json};
use serving::{HttpError, Segments};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Api;
use super::ids::{self, canary_id};
use crate::archive::{Info, Record};

/// Bytes read at a time, and how many such chunks are read ahead of the client.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS_AHEAD: usize = 4;

/// `GET …/releases`.
pub(super) async fn list(State(api): State<Api>, path: Segments) -> Result<Json<Value>, HttpError> {
    let id = canary_id(&path)?;
    let items: Vec<Value> = known(&api, &id).await?.iter().map(shown).collect();
    Ok(Json(json!({ "items": items })))
}

/// `GET …/releases/{release}/record`.
pub(super) async fn read(State(api): State<Api>, path: Segments) -> Result<Response, HttpError> {
    let (id, release) = (canary_id(&path)?, path.get("release"));
    let release: u64 = release.parse().map_err(|_| {
        let list = format!("GET /api/v1/canaries/{id}/releases lists the recorded ones");
        HttpError::invalid(format!("release {release:?} is not a number; it must be a whole number from 1: {list}"))
    })?;
    api.handle.handed_on().await?;
    let unreadable = |error| HttpError::unavailable(format!("the record of release {release} cannot be read: {error}"));
    let Some(record) = api.archive.read(id.clone(), ReleaseId(release)).await.map_err(unreadable)? else {
        let recorded: Vec<String> = known(&api, &id).await?.iter().map(|info| info.release.0.to_string()).collect();
        let recorded = if recorded.is_empty() { "none".into() } else { recorded.join(", ") };
        let error = format!("release {release} of canary {id} is not recorded; recorded: {recorded}");
        return Err(HttpError::not_found(error));
    };
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || send(record, &sender));
    let body = Body::from_stream(ReceiverStream::new(chunks));
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], body).into_response())
}

/// A canary's records; a canary of which nothing is known, not even records, is refused.
async fn known(api: &Api, id: &CanaryId) -> Result<Vec<Info>, HttpError> {
    api.handle.handed_on().await?;
    let items = api.archive.list(id.clone()).await;
    if items.is_empty() {
        let asked = id.clone();
        api.handle.read(move |controller, _| ids::known(controller, &asked).map(drop)).await??;
    }
    Ok(items)
}

fn shown(info: &Info) -> Value {
    json!({
        "release": info.release.0,
        "revision": info.revision,
        "beganAtMs": info.began.0,
        "endedAtMs": info.ended.map(|at| at.0),
        "outcome": info.closing.as_ref().map(|closing| closing.outcome.name()),
        "message": info.closing.as_ref().map(|closing| &closing.message),
        "lines": info.lines,
        "bytes": info.bytes,
        "truncated": info.truncated,
    })
}

/// Sends a record until its end, or until the client is gone.
fn send(record: Record, chunks: &mpsc::Sender<std::io::Result<Bytes>>) {
    let mut lines = MultiGzDecoder::new(record.file.take(record.bytes));
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = match lines.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => {
                chunk.truncate(length);
                Ok(Bytes::from(chunk))
            }
            Err(error) => Err(error),
        };
        let has_failed = read.is_err();
        if chunks.blocking_send(read).is_err() || has_failed {
            return;
        }
    }
}
