//! The one form of error that the agent's API and the load tester answer with.
//!
//! A web framework has error texts of its own: they name Rust types and parser states, and some are not JSON. Requests are
//! therefore read by the modules below, and [`answer_errors`](crate::answer_errors) replaces whatever is left.

use axum::Json;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request was not carried out: a status, and a sentence that names the field, its value, the rule and what to do.
/// As an answer it is JSON: `{"status": 404, "error": "..."}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpError {
    status: StatusCode,
    error: String,
}

impl HttpError {
    /// An error with any status.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    /// 400: a value breaks a rule.
    pub fn invalid(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// 405: the path takes another method; `reference` says where all requests are described.
    pub(crate) fn not_allowed(method: &Method, path: &str, allow: &str, reference: &str) -> Self {
        let allowed = allow.replace(',', ", ").replace("  ", " ");
        let how = if allow == "POST" { ": send a POST with a JSON body" } else { "" };
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("method {method} is not allowed on {path}, which takes {allowed}{how}; {reference}"),
        )
    }

    /// 405 on a path that takes only a POST.
    pub fn only_post(method: &Method, uri: &Uri, reference: &str) -> Self {
        Self::not_allowed(method, uri.path(), "POST", reference)
    }

    /// 401: the token is missing or wrong.
    pub fn unauthenticated(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error)
    }

    /// 404: what the request is about does not exist.
    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    /// 409: not possible in the present state.
    pub fn conflict(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error)
    }

    /// 422: a field is missing, unknown or of the wrong type.
    pub fn unprocessable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error)
    }

    /// 503: not possible now, but later.
    pub fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// The same sentence with another status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence.
    #[must_use]
    pub fn error(&self) -> &str {
        &self.error
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "status": self.status.as_u16(), "error": self.error }));
        if self.status == StatusCode::UNAUTHORIZED {
            return (self.status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response();
        }
        (self.status, body).into_response()
    }
}

/// `; did you mean x?` when a known word is near, else nothing.
#[must_use]
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    match known.iter().min_by_key(|other| distance(word, other)) {
        Some(nearest) if is_near(word, nearest) => format!("; did you mean {nearest}?"),
        _ => String::new(),
    }
}

/// Whether a word is likely a slip for a known one.
#[must_use]
pub fn is_near(word: &str, known: &str) -> bool {
    distance(word, known) <= 1 + known.len() / 4
}

fn distance(word: &str, known: &str) -> usize {
    let short: String = word.chars().take(64).collect();
    strsim::damerau_levenshtein(&short.to_lowercase(), &known.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn only_a_near_word_is_suggested() {
        assert_eq!(did_you_mean("abrot", &["promote", "abort"]), "; did you mean abort?");
        assert_eq!(did_you_mean("Actor", &["actor", "reason"]), "; did you mean actor?");
        assert_eq!(did_you_mean("delete", &["promote", "abort"]), "");
        assert_eq!(did_you_mean("anything", &[]), "");
    }
}
