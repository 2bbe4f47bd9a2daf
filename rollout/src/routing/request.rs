//! Which requests a rule means: headers, cookies, query and path, on raw bytes, in linear time.
//!
//! Grammar (Flagger's): a list of rules is OR, the conditions inside one rule are AND. Regexes match the whole value
//! with RE2's semantics (ASCII classes, no back-references); a header sent twice matches when any of its values does.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::routing::grpc_web::GrpcWebCoding;

/// Longest pattern accepted, in bytes.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// Upper bound of one compiled regex, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 18;

/// How a call asks for a gRPC answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcKind {
    /// Over HTTP/2: its status is a trailer.
    Native,
    /// As browsers do: its status stands in the body.
    Web(GrpcWebCoding),
}

/// One request's facts, as the proxy hands them over; nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// All request headers in order, names in lower case, pseudo headers (`:path`, `:authority`) included.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The client's address as the proxy trusts it, with or without a port.
    pub client_address: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// All values of a header, in order.
    pub fn header<'n>(self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.headers.iter().filter(move |(n, _)| *n == name.as_bytes()).map(|(_, value)| *value)
    }

    /// The first value of a header.
    pub fn first(self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| *value)
    }

    /// The first value of a cookie, over all `cookie` headers.
    pub fn cookie(self, name: &str) -> Option<&'a [u8]> {
        let cookies = self.headers.iter().filter(|(n, _)| *n == b"cookie").map(|(_, value)| *value);
        cookies.flat_map(|line| line.split(|b| *b == b';')).find_map(|pair| value_of(pair.trim_ascii(), name))
    }

    /// How it asks for a gRPC answer, if it does. The request says so, whatever the answer is.
    pub fn grpc(self) -> Option<GrpcKind> {
        let rest = self.first("content-type")?.strip_prefix(b"application/grpc")?;
        Some(match rest.strip_prefix(b"-web") {
            None => GrpcKind::Native,
            Some(rest) if rest.starts_with(b"-text") => GrpcKind::Web(GrpcWebCoding::Text),
            Some(_) => GrpcKind::Web(GrpcWebCoding::Binary),
        })
    }

    /// Whether it asks to become something else (a WebSocket, a tunnel): its headers are all there is of the request, unless
    /// they announce a body, which its client may take its time for.
    pub fn is_upgrade(self) -> bool {
        let has_body = || {
            self.first("transfer-encoding").is_some()
                || self.first("content-length").is_some_and(|length| length != b"0")
        };
        self.first(":method") == Some(b"CONNECT") || (self.first("upgrade").is_some() && !has_body())
    }

    /// The path without its query.
    pub fn path(self) -> &'a [u8] {
        let full = self.first(":path").unwrap_or(b"/");
        full.split(|b| *b == b'?').next().unwrap_or(full)
    }

    /// The first value of a query parameter, not percent-decoded (as Envoy's own matcher).
    pub fn query(self, name: &str) -> Option<&'a [u8]> {
        let full = self.first(":path")?;
        let start = full.iter().position(|b| *b == b'?')?;
        full.get(start + 1..)?.split(|b| *b == b'&').find_map(|pair| value_of(pair, name))
    }
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// A pattern was refused when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Longer than [`MAX_PATTERN_BYTES`].
    #[error("is {0} bytes long; at most 4096 are allowed")]
    TooLong(usize),
    /// Not a regular expression that runs in linear time and bounded memory.
    #[error("is not a usable regular expression (RE2 syntax): {0}")]
    Regex(String),
    /// An empty prefix or suffix would match everything.
    #[error("is empty and would match every value; use `present` if that is meant")]
    MatchesAll,
}

/// What a value must look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    /// Equal.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// Ends with.
    Suffix(String),
    /// The whole value matches.
    Regex(Pattern),
    /// The key is there, whatever its value.
    Present,
}

impl StringMatch {
    /// Whether a value fits.
    pub fn fits(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
            Self::Regex(pattern) => pattern.0.is_match(value),
            Self::Present => true,
        }
    }

    /// Refuses what would match by accident or cost too much.
    ///
    /// # Errors
    /// When a text is too long, or an empty prefix or suffix would match everything.
    pub fn checked(self) -> Result<Self, PatternError> {
        match &self {
            Self::Exact(text) | Self::Prefix(text) | Self::Suffix(text) if text.len() > MAX_PATTERN_BYTES => {
                Err(PatternError::TooLong(text.len()))
            }
            Self::Prefix(text) | Self::Suffix(text) if text.is_empty() => Err(PatternError::MatchesAll),
            _ => Ok(self),
        }
    }
}

/// A compiled regular expression that remembers its source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(regex::bytes::Regex, String);

impl Pattern {
    /// Compiles a pattern; it will match whole values only.
    ///
    /// # Errors
    /// When it is too long, not valid, or would need more than 256 KiB compiled.
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        if source.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong(source.len()));
        }
        let whole = format!(r"\A(?:{source})\z");
        let built = regex::bytes::RegexBuilder::new(&whole).unicode(false).size_limit(MAX_COMPILED_BYTES).build();
        let compiled = built.map_err(|error| PatternError::Regex(last_line(&error.to_string())))?;
        Ok(Self(compiled, source.to_owned()))
    }

    /// The pattern as it was written.
    pub fn source(&self) -> &str {
        &self.1
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

impl Eq for Pattern {}

impl TryFrom<String> for Pattern {
    type Error = PatternError;
    fn try_from(source: String) -> Result<Self, PatternError> {
        Self::parse(&source)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.1
    }
}

/// The regex crate draws a picture of the fault over several lines; its last one says what is wrong.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ").to_owned()
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MatchRule {
    /// Header name (lower case) and what one of its values must be.
    pub headers: Vec<(String, StringMatch)>,
    /// Header name (lower case) and what none of its values may be.
    pub without_headers: Vec<(String, StringMatch)>,
    /// Cookie name and what its value must be.
    pub cookies: Vec<(String, StringMatch)>,
    /// Query parameter and what its value must be.
    pub query: Vec<(String, StringMatch)>,
    /// What the path (without query) must be.
    pub path: Option<StringMatch>,
}

impl MatchRule {
    /// Whether the rule has no condition at all; such a rule would match every request.
    pub const fn is_empty(&self) -> bool {
        self.headers.is_empty()
            && self.without_headers.is_empty()
            && self.cookies.is_empty()
            && self.query.is_empty()
            && self.path.is_none()
    }

    /// Whether the request fulfils every condition.
    pub fn fits(&self, request: Request<'_>) -> bool {
        let any = |name: &str, value: &StringMatch| {
            request.headers.iter().any(|(n, v)| *n == name.as_bytes() && value.fits(v))
        };
        self.headers.iter().all(|(name, value)| any(name, value))
            && !self.without_headers.iter().any(|(name, value)| any(name, value))
            && self.cookies.iter().all(|(name, value)| request.cookie(name).is_some_and(|v| value.fits(v)))
            && self.query.iter().all(|(name, value)| request.query(name).is_some_and(|v| value.fits(v)))
            && self.path.as_ref().is_none_or(|path| path.fits(request.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &[(&[u8], &[u8])] = &[
        (b":authority", b"web:80"),
        (b":path", b"/shop/cart?beta=1&beta=2&empty=&q=a%20b"),
        (b"x-user", b"ana"),
        (b"x-user", b"bob"),
        (b"cookie", b"a=1; type=insider"),
        (b"cookie", b"b=2"),
        (b"x-raw", b"\xff\xfe"),
    ];

    fn fits(rule: &MatchRule) -> bool {
        rule.fits(Request { headers: HEADERS, client_address: None })
    }

    fn header(name: &str, value: StringMatch) -> MatchRule {
        MatchRule { headers: vec![(name.into(), value)], ..MatchRule::default() }
    }

    #[test]
    fn each_kind_of_match() {
        use StringMatch::*;
        assert!(fits(&header("x-user", Exact("ana".into()))));
        assert!(fits(&header("x-user", Exact("bob".into()))), "a duplicate's second value counts too");
        assert!(!fits(&header("x-user", Exact("an".into()))));
        assert!(fits(&header("x-user", Prefix("an".into()))));
        assert!(fits(&header("x-user", Suffix("ob".into()))));
        assert!(fits(&header("x-user", Regex(Pattern::parse("a.a").unwrap()))));
        assert!(!fits(&header("x-user", Regex(Pattern::parse("an").unwrap()))), "a regex means the whole value");
        assert!(fits(&header("x-raw", Present)));
        assert!(!fits(&header("x-none", Present)));
        assert!(fits(&header("cookie", Regex(Pattern::parse("^(.*?;\\s*)?(type=insider)(;.*)?$").unwrap()))));
        assert!(fits(&header("x-raw", Regex(Pattern::parse("(?s-u:.+)").unwrap()))));
    }

    #[test]
    fn cookies_query_path_and_absence() {
        let mut rule =
            MatchRule { cookies: vec![("b".into(), StringMatch::Exact("2".into()))], ..MatchRule::default() };
        assert!(fits(&rule));
        rule.query = vec![("beta".into(), StringMatch::Exact("1".into()))];
        rule.path = Some(StringMatch::Prefix("/shop".into()));
        assert!(fits(&rule));
        rule.without_headers = vec![("x-user".into(), StringMatch::Exact("bob".into()))];
        assert!(!fits(&rule));
        rule.without_headers = vec![("x-user".into(), StringMatch::Exact("eve".into()))];
        assert!(fits(&rule));
        rule.cookies = vec![("typ".into(), StringMatch::Present)];
        assert!(!fits(&rule), "a name is not a prefix of a name");
    }

    #[test]
    fn patterns_are_bounded() {
        assert!(matches!(Pattern::parse("("), Err(PatternError::Regex(_))));
        assert!(matches!(Pattern::parse("(a{1000}){1000}"), Err(PatternError::Regex(_))));
        assert!(matches!(Pattern::parse(&"a".repeat(5000)), Err(PatternError::TooLong(5000))));
        assert!(matches!(Pattern::parse(r"(a)\1"), Err(PatternError::Regex(_))), "no back-references in RE2");
        assert_eq!(StringMatch::Prefix(String::new()).checked(), Err(PatternError::MatchesAll));
    }
}
