//! The cookie that a worker issues. The core's own type refuses what no header may hold.

use rollout::routing::cookie::{CookieSpec, IssuedCookie, SameSite};

use crate::error::WireError;
use crate::v1;

pub(crate) fn encode_cookie(cookie: &IssuedCookie) -> v1::IssuedCookie {
    let CookieSpec { name, max_age_s, domain, path, http_only, secure, partitioned, same_site } = cookie.spec().clone();
    let same_site = match same_site {
        None => v1::SameSite::Unspecified,
        Some(SameSite::Strict) => v1::SameSite::Strict,
        Some(SameSite::Lax) => v1::SameSite::Lax,
        Some(SameSite::None) => v1::SameSite::None,
    };
    let same_site = same_site.into();
    v1::IssuedCookie { name, max_age_s, domain, path, http_only, secure, partitioned, same_site }
}

pub(crate) fn decode_cookie(cookie: v1::IssuedCookie) -> Result<IssuedCookie, WireError> {
    let same_site = match v1::SameSite::try_from(cookie.same_site) {
        Ok(v1::SameSite::Unspecified) => None,
        Ok(v1::SameSite::Strict) => Some(SameSite::Strict),
        Ok(v1::SameSite::Lax) => Some(SameSite::Lax),
        Ok(v1::SameSite::None) => Some(SameSite::None),
        Err(_) => return Err(WireError::number("same_site", cookie.same_site, "is outside 0 to 3")),
    };
    let v1::IssuedCookie { name, max_age_s, domain, path, http_only, secure, partitioned, .. } = cookie;
    IssuedCookie::new(CookieSpec { name, max_age_s, domain, path, http_only, secure, partitioned, same_site })
        .map_err(|error| WireError::text(error.field, &error.value, error.rule))
}
