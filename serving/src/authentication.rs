//! A request's bearer token, compared with the server's.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::http_error::HttpError;
use crate::token::Token;

/// Lets a request pass that carries the token, or any where there is none. `server` names whose token it is; `clients` says
/// how Serin's own client sends it, or nothing.
///
/// # Errors
/// 401, with what to send.
pub fn authenticate(token: Option<&Token>, headers: &HeaderMap, server: &str, clients: &str) -> Result<(), HttpError> {
    let sent = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    match (token, sent) {
        (Some(token), sent) if token.fits(sent) => Ok(()),
        (None, _) => Ok(()),
        (Some(_), None) => Err(HttpError::unauthenticated(format!(
            "missing bearer token: send the header `authorization: Bearer TOKEN`{clients}"
        ))),
        (Some(_), Some(_)) => Err(HttpError::unauthenticated(format!(
            "authentication failed: the header authorization does not carry this {server}'s bearer token; send the \
             content of the {server}'s --http-token-file"
        ))),
    }
}
