//! Bearer tokens, compared in constant time and never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;
use thiserror::Error;

/// A secret that a caller must show.
#[derive(Clone)]
pub struct Token(Vec<u8>);

/// A token that cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("token file {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Too easy to guess.
    #[error("token has {0} characters; give at least 16 (for example from `openssl rand -hex 32`)")]
    Short(usize),
}

impl Token {
    /// From a file's content, white space around it left out.
    ///
    /// # Errors
    /// When the file cannot be read or the token is shorter than 16 characters.
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read_to_string(path).map_err(|source| TokenError::File { path: path.into(), source })?;
        Self::new(&text)
    }

    /// From text.
    ///
    /// # Errors
    /// When it is shorter than 16 characters.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() < 16 {
            return Err(TokenError::Short(text.len()));
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// Whether an `authorization` header carries it.
    #[must_use]
    pub fn fits(&self, authorization: Option<&[u8]>) -> bool {
        let shown = authorization.and_then(|value| value.strip_prefix(b"Bearer "));
        shown.is_some_and(|shown| shown.ct_eq(&self.0).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_as_bearer_fits() {
        let token = Token::new(" 0123456789abcdef\n").unwrap();
        assert!(token.fits(Some(b"Bearer 0123456789abcdef")));
        for wrong in [
            &b"Bearer 0123456789abcde"[..],
            b"Bearer 0123456789abcdef0",
            b"Bearer ",
            b"0123456789abcdef",
            b"Basic 0123456789abcdef",
        ] {
            assert!(!token.fits(Some(wrong)));
        }
        assert!(!token.fits(None));
        assert!(!format!("{token:?}").contains("0123"));
        assert!(matches!(Token::new("short"), Err(TokenError::Short(5))));
    }
}
