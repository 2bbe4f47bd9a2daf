//! The names that travel: parsed once, bounded, so that nothing downstream has to ask whether one is sane.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest name accepted, in bytes; Kubernetes allows 253 for a name and 63 for a label.
pub const MAX_NAME_BYTES: usize = 253;

/// A name was refused when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// The name is empty.
    #[error("is empty; give a name of 1 to 253 characters")]
    Empty,
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error("is {0} bytes long; at most 253 are allowed")]
    TooLong(usize),
    /// A character that names of this kind do not have.
    #[error("contains {found:?}; allowed are {allowed}")]
    Character {
        /// Which one.
        found: char,
        /// What names of this kind have.
        allowed: &'static str,
    },
    /// A canary's id is not `namespace/name`.
    #[error("is not of the form NAMESPACE/NAME")]
    NotQualified,
}

/// A canary object's identity, `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CanaryId(Arc<str>);

impl CanaryId {
    /// From its two parts.
    ///
    /// # Errors
    /// When a part is empty, too long, or has a character that a Kubernetes name could not have.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        check(namespace, NAME_CHARS, is_name_char)?;
        check(name, NAME_CHARS, is_name_char)?;
        Ok(Self(format!("{namespace}/{name}").into()))
    }

    /// From `namespace/name`, as it stands on the wire and in URLs.
    ///
    /// # Errors
    /// As [`CanaryId::new`], and when there is not exactly one slash.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let parts = text.split_once('/').filter(|(_, name)| !name.contains('/'));
        let (namespace, name) = parts.ok_or(NameError::NotQualified)?;
        Self::new(namespace, name)
    }

    /// `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The canary of one of several versions that share this name: `prod/web` gives `prod/web.green`.
    ///
    /// # Errors
    /// As [`CanaryId::new`].
    pub fn version(&self, version: &str) -> Result<Self, NameError> {
        Self::new(self.namespace(), &format!("{}.{version}", self.name()))
    }

    /// Whether it is `other`, or has the name of a version of it.
    pub fn is_under(&self, other: &Self) -> bool {
        self.as_str().strip_prefix(other.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The part before the slash.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }
}

/// A fixed name that the routes know (`web-primary`); which version stands behind it is a role.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Upstream(Arc<str>);

impl Upstream {
    /// Parses an upstream's name: also what control planes generate, `outbound|80|canary|web.prod.svc`.
    ///
    /// # Errors
    /// When it is empty, too long, or could not stand in a header's value.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let allowed = "letters, digits and . _ - | : / ~";
        check(text, allowed, |c| is_name_char(c) || matches!(c, '|' | ':' | '/' | '~'))?;
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a release brings: an image tag, a digest, a commit; opaque to Serin.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(Arc<str>);

impl Revision {
    /// Parses a revision: 1 to 253 printable characters without spaces.
    ///
    /// # Errors
    /// When it is empty, too long, or has a space or control character.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text, "printable ASCII characters without spaces", |c| c.is_ascii_graphic())?;
        Ok(Self(text.into()))
    }

    /// The revision's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What [`is_name_char`] allows, in words.
const NAME_CHARS: &str = "letters, digits and . _ -";

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn check(text: &str, allowed: &'static str, is_allowed: impl Fn(char) -> bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(text.len()));
    }
    match text.chars().find(|c| !is_allowed(*c)) {
        Some(found) => Err(NameError::Character { found, allowed }),
        None => Ok(()),
    }
}

macro_rules! text_type {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.to_string()
            }
        }
    };
}
text_type!(CanaryId);
text_type!(Upstream);
text_type!(Revision);

/// A release's number within its canary: 1, 2, 3, …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseId(pub u64);

/// Who asked: a user name, or what spoke for one. Bounded and printable, like every name.
pub type Actor = Revision;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_plain() {
        assert_eq!(CanaryId::new("prod", "web").unwrap().as_str(), "prod/web");
        assert_eq!(CanaryId::parse("prod/web").unwrap().name(), "web");
        assert_eq!(CanaryId::parse("web"), Err(NameError::NotQualified));
        assert_eq!(CanaryId::parse("prod/web/x"), Err(NameError::NotQualified));
        assert_eq!(CanaryId::new("", "web"), Err(NameError::Empty));
        assert_eq!(Upstream::parse("outbound|80|canary|web.prod").unwrap().as_str(), "outbound|80|canary|web.prod");
        assert_eq!(Revision::parse(&"x".repeat(254)), Err(NameError::TooLong(254)));
    }

    #[test]
    fn each_kind_of_name_says_what_it_allows() {
        let words = |error: Result<(), NameError>| error.unwrap_err().to_string();
        assert_eq!(
            words(CanaryId::new("prod", "a/b").map(drop)),
            "contains '/'; allowed are letters, digits and . _ -"
        );
        assert_eq!(
            words(Upstream::parse("a\r\nb").map(drop)),
            "contains '\\r'; allowed are letters, digits and . _ - | : / ~"
        );
        assert_eq!(
            words(Revision::parse("v 2").map(drop)),
            "contains ' '; allowed are printable ASCII characters without spaces"
        );
    }
}
