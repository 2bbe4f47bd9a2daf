//! Around all routes: whatever the framework answers by itself gets the one form of error.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::http_error::HttpError;

/// Marks an error that is meant as it is, such as the plain `Forbidden` that Flagger's scripts know.
#[derive(Clone, Copy, Debug)]
pub struct Deliberate;

/// A server's routes, of which no error is anything but [`HttpError`]'s JSON or [`Deliberate`]. `reference` says where all
/// requests are described.
pub fn answer_errors(routes: Router, reference: &'static str) -> Router {
    // Around the routes as a service: the header `allow` is set outside of what is layered onto them.
    Router::new().fallback_service(routes).layer(from_fn_with_state(reference, answer))
}

async fn answer(State(reference): State<&'static str>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let status = response.status();
    if status != StatusCode::METHOD_NOT_ALLOWED {
        // The framework adds it to every answer of a route's fallback, to a 404 too.
        response.headers_mut().remove(header::ALLOW);
    }
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || is_ours(&response) {
        return response;
    }
    let allow = response.headers_mut().remove(header::ALLOW);
    let mut answer = explained(status, &method, &path, allow.as_ref(), reference).into_response();
    if let Some(allow) = allow {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}

fn is_ours(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    response.extensions().get::<Deliberate>().is_some() || kind.is_some_and(|kind| kind == b"application/json")
}

fn explained(
    status: StatusCode,
    method: &Method,
    path: &str,
    allow: Option<&HeaderValue>,
    reference: &str,
) -> HttpError {
    match (status, allow.and_then(|allow| allow.to_str().ok())) {
        (StatusCode::METHOD_NOT_ALLOWED, Some(allow)) => HttpError::not_allowed(method, path, allow, reference),
        _ => {
            let reason = status.canonical_reason().unwrap_or("an error").to_ascii_lowercase();
            HttpError::new(status, format!("{method} {path}: {reason}; {reference}"))
        }
    }
}
