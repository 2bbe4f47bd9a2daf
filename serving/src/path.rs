//! The variable parts of a path, and a query where none is taken.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http_error::HttpError;

/// The variable parts of a path by their names in the route, percent-decoded and not yet checked.
#[derive(Clone, Debug)]
pub struct Segments(Vec<(String, String)>);

impl Segments {
    /// The part with this name; empty where the route has no such part.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(rejection) => Err(undecodable(parts.uri.path(), &rejection)),
        }
    }
}

fn undecodable(path: &str, rejection: &PathRejection) -> HttpError {
    let part = match rejection {
        PathRejection::FailedToDeserializePathParams(error) => match error.kind() {
            ErrorKind::InvalidUtf8InPathParam { key } => format!("its part {key}"),
            _ => "a part of it".into(),
        },
        _ => "a part of it".into(),
    };
    HttpError::invalid(format!(
        "path {path}: {part} is not UTF-8 once it is percent-decoded; encode each part as UTF-8 and then percent-encode it"
    ))
}

/// Middleware for paths that take no query: a filter that is silently ignored answers another question than was asked.
pub async fn refuse_query(uri: Uri, request: Request, next: Next) -> Response {
    match uri.query().filter(|query| !query.is_empty()) {
        None => next.run(request).await,
        Some(query) => {
            let query: String = query.chars().take(100).collect();
            HttpError::invalid(format!(
                "query {query:?}: {} takes no query parameters; remove everything from the `?` on{}",
                uri.path(),
                if request.method() == axum::http::Method::POST { " and send fields in the JSON body" } else { "" }
            ))
            .into_response()
        }
    }
}
