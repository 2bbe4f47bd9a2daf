//! A static canary's cookie for users without a key; Flagger's names for its attributes.

use rollout::routing::cookie::{CookieSpec, DEFAULT_MAX_AGE_S, IssuedCookie, SameSite};
use serde::Deserialize;

use crate::config_error::ConfigError;

/// The cookie as written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawCookie {
    cookie_name: String,
    max_age: Option<u32>,
    domain: Option<String>,
    path: Option<String>,
    #[serde(default)]
    http_only: bool,
    #[serde(default)]
    secure: bool,
    #[serde(default)]
    partitioned: bool,
    same_site: Option<RawSameSite>,
}

/// Written with a capital, as in the header.
#[derive(Deserialize)]
enum RawSameSite {
    Strict,
    Lax,
    None,
}

/// The cookie to issue.
///
/// # Errors
/// When a part cannot stand in a header.
pub(crate) fn parse_cookie(at: &str, raw: RawCookie) -> Result<IssuedCookie, ConfigError> {
    let same_site = raw.same_site.map(|value| match value {
        RawSameSite::Strict => SameSite::Strict,
        RawSameSite::Lax => SameSite::Lax,
        RawSameSite::None => SameSite::None,
    });
    let spec = CookieSpec {
        name: raw.cookie_name,
        max_age_s: raw.max_age.unwrap_or(DEFAULT_MAX_AGE_S),
        domain: raw.domain,
        path: raw.path.unwrap_or_else(|| "/".into()),
        http_only: raw.http_only,
        secure: raw.secure,
        partitioned: raw.partitioned,
        same_site,
    };
    IssuedCookie::new(spec).map_err(|error| ConfigError::new(at, error.to_string()))
}
