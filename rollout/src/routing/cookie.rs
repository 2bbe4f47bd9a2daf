//! The cookie that the filter issues, so that users who carry no key of their own stay on one version.
//!
//! Its value is a random id of which only a hash is looked at; which side it means follows from the release's salt and
//! weight. So one cookie serves both sides and every release, and nothing that a client sends in it does harm.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A day, as in Flagger.
pub const DEFAULT_MAX_AGE_S: u32 = 86_400;
/// As much of a client's value as is hashed, in bytes; ours have 16.
pub const MAX_VALUE_BYTES: usize = 256;
/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Longest domain, in bytes.
const MAX_DOMAIN_BYTES: usize = 253;
/// Longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;

/// What is asked of a cookie, typed but not checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieSpec {
    /// Its name: a token of RFC 9110.
    pub name: String,
    /// For how long browsers keep it, in seconds: 1 to 2^31-1.
    pub max_age_s: u32,
    /// Also sent to hosts below this one; without it only to the host that set it.
    pub domain: Option<String>,
    /// Sent with requests below this path; begins with `/`.
    pub path: String,
    /// Hidden from scripts.
    pub http_only: bool,
    /// Sent over TLS only.
    pub secure: bool,
    /// Kept apart for each site in which ours is embedded.
    pub partitioned: bool,
    /// Whether it is sent along from other sites; without it as the browser likes.
    pub same_site: Option<SameSite>,
}

impl CookieSpec {
    /// The defaults: a day, every path, nothing else.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            max_age_s: DEFAULT_MAX_AGE_S,
            domain: None,
            path: "/".into(),
            http_only: false,
            secure: false,
            partitioned: false,
            same_site: None,
        }
    }
}

/// The cookie's attribute of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SameSite {
    /// Never from other sites.
    Strict,
    /// From other sites when the user follows a link.
    Lax,
    /// Always; browsers then want `secure`.
    None,
}

impl SameSite {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Strict, Self::Lax, Self::None];

    /// As it stands in the header and in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// A cookie was refused: field, value, rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {value:?} {rule}")]
pub struct CookieError {
    /// Which field of [`CookieSpec`].
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it breaks.
    pub rule: &'static str,
}

/// A cookie that can be written into a header as it is: no part of it can end the header or begin another attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CookieSpec", into = "CookieSpec")]
pub struct IssuedCookie(CookieSpec);

impl IssuedCookie {
    /// Checks every part.
    ///
    /// # Errors
    /// The first part that cannot stand in a header.
    pub fn new(spec: CookieSpec) -> Result<Self, CookieError> {
        let refuse = |field, value: &str, rule| Err(CookieError { field, value: value.into(), rule });
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if !(1..=MAX_NAME_BYTES).contains(&spec.name.len()) || !spec.name.bytes().all(is_token) {
            return refuse("name", &spec.name, "cannot be the name of a cookie; give 1 to 128 letters, digits, - or _");
        }
        if spec.max_age_s == 0 || i32::try_from(spec.max_age_s).is_err() {
            return refuse("maxAge", &spec.max_age_s.to_string(), "is outside 1 to 2147483647 seconds");
        }
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-".contains(&b);
        if let Some(domain) = &spec.domain
            && (!(1..=MAX_DOMAIN_BYTES).contains(&domain.len()) || !domain.bytes().all(is_host))
        {
            return refuse("domain", domain, "is no domain; give 1 to 253 letters, digits, dots or hyphens");
        }
        // RFC 6265's path-value: no control characters and no semicolon.
        let is_path = |b: u8| (b' '..=b'~').contains(&b) && b != b';';
        if !spec.path.starts_with('/') || spec.path.len() > MAX_PATH_BYTES || !spec.path.bytes().all(is_path) {
            let rule = "is no path; begin with /, with at most 1024 printable characters and no semicolon";
            return refuse("path", &spec.path, rule);
        }
        Ok(Self(spec))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// All that was asked for.
    pub const fn spec(&self) -> &CookieSpec {
        &self.0
    }

    /// The value of `set-cookie` that gives a user this id.
    pub fn set_cookie(&self, id: CookieId) -> String {
        let CookieSpec { name, max_age_s, domain, path, http_only, secure, partitioned, same_site } = &self.0;
        let mut text = format!("{name}={id}; Max-Age={max_age_s}; Path={path}");
        let mut add = |parts: &[&str]| parts.iter().for_each(|part| text.push_str(part));
        if let Some(domain) = domain {
            add(&["; Domain=", domain]);
        }
        if let Some(same_site) = same_site {
            add(&["; SameSite=", same_site.name()]);
        }
        for (is_on, word) in [(http_only, "HttpOnly"), (secure, "Secure"), (partitioned, "Partitioned")] {
            if *is_on {
                add(&["; ", word]);
            }
        }
        text
    }
}

impl TryFrom<CookieSpec> for IssuedCookie {
    type Error = CookieError;
    fn try_from(spec: CookieSpec) -> Result<Self, CookieError> {
        Self::new(spec)
    }
}

impl From<IssuedCookie> for CookieSpec {
    fn from(cookie: IssuedCookie) -> Self {
        cookie.0
    }
}

/// A user without a key: a random number, written as 16 hexadecimal digits. It is no secret and grants nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieId(pub u64);

impl CookieId {
    /// The value as the client will send it back.
    pub fn bytes(self) -> [u8; 16] {
        let mut text = [b'0'; 16];
        for (place, digit) in text.iter_mut().rev().enumerate() {
            let value = (self.0 >> (4 * place)) as u8 & 15;
            *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        }
        text
    }
}

impl fmt::Display for CookieId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_with_everything_and_one_with_nothing() {
        let plain = IssuedCookie::new(CookieSpec::named("serin")).unwrap();
        assert_eq!(plain.set_cookie(CookieId(0xab)), "serin=00000000000000ab; Max-Age=86400; Path=/");
        let full = IssuedCookie::new(CookieSpec {
            max_age_s: 60,
            domain: Some("example.com".into()),
            path: "/shop".into(),
            http_only: true,
            secure: true,
            partitioned: true,
            same_site: Some(SameSite::None),
            ..CookieSpec::named("a.b")
        });
        assert_eq!(
            full.unwrap().set_cookie(CookieId(u64::MAX)),
            "a.b=ffffffffffffffff; Max-Age=60; Path=/shop; Domain=example.com; SameSite=None; HttpOnly; Secure; Partitioned"
        );
    }

    #[test]
    fn what_would_say_more_than_it_should_is_refused() {
        let with = |edit: fn(&mut CookieSpec)| {
            let mut spec = CookieSpec::named("id");
            edit(&mut spec);
            IssuedCookie::new(spec).map(|_| ()).map_err(|error| error.field)
        };
        assert_eq!(with(|_| ()), Ok(()));
        for (edit, field) in [
            ((|spec| spec.name = String::new()) as fn(&mut CookieSpec), "name"),
            (|spec| spec.name = "a=b".into(), "name"),
            (|spec| spec.name = "a b".into(), "name"),
            (|spec| spec.name = "é".into(), "name"),
            (|spec| spec.name = "x".repeat(129), "name"),
            (|spec| spec.max_age_s = 0, "maxAge"),
            (|spec| spec.max_age_s = 1 << 31, "maxAge"),
            (|spec| spec.domain = Some(String::new()), "domain"),
            (|spec| spec.domain = Some("a;Secure".into()), "domain"),
            (|spec| spec.domain = Some("a\r\nx: y".into()), "domain"),
            (|spec| spec.path = String::new(), "path"),
            (|spec| spec.path = "shop".into(), "path"),
            (|spec| spec.path = "/; Domain=evil".into(), "path"),
            (|spec| spec.path = "/\nset-cookie: x".into(), "path"),
            (|spec| spec.path = "/é".into(), "path"),
        ] {
            assert_eq!(with(edit), Err(field));
        }
    }

    proptest! {
        #[test]
        fn no_accepted_cookie_can_break_out_of_its_header(
            name in ".{0,8}", domain in prop::option::of(".{0,8}"), path in "/?.{0,8}", id: u64,
        ) {
            let spec = CookieSpec { domain, path, ..CookieSpec::named(name) };
            if let Ok(cookie) = IssuedCookie::new(spec) {
                let text = cookie.set_cookie(CookieId(id));
                prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", text);
                let domain = usize::from(cookie.spec().domain.is_some());
                prop_assert_eq!(text.matches(';').count(), 2 + domain, "{}", text);
            }
        }

        #[test]
        fn an_id_comes_back_as_it_was_given(id: u64) {
            let given = CookieId(id).to_string();
            prop_assert_eq!(given.into_bytes(), CookieId(id).bytes());
        }
    }
}
