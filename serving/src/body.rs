//! A request's JSON body: its announcement, its length, its syntax and its fields, each with an error of its own.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};

use crate::fields::Fields;
use crate::http_error::HttpError;

/// Longest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// What a body means.
pub trait Form: Sized {
    /// Every field that it may have; empty where others are ignored.
    const FIELDS: &'static [&'static str];
    /// A body that would be accepted, shown where there is none to speak of.
    const EXAMPLE: &'static str;

    /// Takes the fields.
    ///
    /// # Errors
    /// When one is missing or of the wrong type.
    fn read(fields: &mut Fields) -> Result<Self, HttpError>;
}

/// Extracts a [`Form`] from a body that is announced as JSON.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: Form> FromRequest<S> for Body<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        announced(request.headers(), T::EXAMPLE)?;
        let bytes = read_bytes(request, state).await?;
        let mut fields = Fields::parse(&bytes, T::EXAMPLE)?;
        if !T::FIELDS.is_empty() {
            fields.allow_only(T::FIELDS)?;
        }
        T::read(&mut fields).map(Self)
    }
}

/// Reads a body to its end, within the limit that the route sets by `DefaultBodyLimit`.
///
/// # Errors
/// When it is too long, or breaks off.
pub async fn read_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, HttpError> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than the limit of {MAX_BODY_BYTES} bytes; shorten it"),
        ),
        _ => HttpError::invalid("the body broke off before its end; send the request again"),
    })
}

fn announced(headers: &HeaderMap, example: &str) -> Result<(), HttpError> {
    let sent = headers.get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let essence = sent.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json =
        essence.strip_prefix("application/").is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"));
    if is_json {
        return Ok(());
    }
    let found =
        sent.map_or_else(|| "is missing".into(), |sent| format!("is {:?}", sent.chars().take(100).collect::<String>()));
    Err(HttpError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!(
            "header content-type {found}; a body must be sent as content-type: application/json, \
             for example curl -H 'content-type: application/json' -d '{example}'"
        ),
    ))
}
