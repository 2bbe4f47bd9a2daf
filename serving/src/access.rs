//! The rule for addresses: a server outside loopback asks for a token, or its operator says that the network is trusted.

use std::net::SocketAddr;
use std::path::Path;

use thiserror::Error;

use crate::token::{Token, TokenError};

/// An address or a token that a server cannot start with.
#[derive(Debug, Error)]
pub enum AccessError {
    /// Anybody on the network could release and abort, or start load.
    #[error(
        "--http {0} is outside loopback and open to anybody: give --http-token-file, or --insecure if the network is \
         trusted"
    )]
    OpenHttp(SocketAddr),
    /// A token that cannot be used.
    #[error("{flag}: {source}")]
    Token {
        /// Which flag names its file.
        flag: &'static str,
        /// Why.
        source: TokenError,
    },
}

/// The token that callers of an HTTP server at `address` must show; none if anybody who reaches it may use it.
///
/// # Errors
/// When the address is outside loopback and neither a token nor `insecure` covers it, or when the token cannot be used.
pub fn http_token(address: SocketAddr, file: Option<&Path>, insecure: bool) -> Result<Option<Token>, AccessError> {
    let token = bearer_token("--http-token-file", file)?;
    if is_open(address, insecure) && token.is_none() {
        return Err(AccessError::OpenHttp(address));
    }
    Ok(token)
}

/// The token in the file that `flag` names, if it names one.
///
/// # Errors
/// When the file cannot be read or its token is too short.
pub fn bearer_token(flag: &'static str, file: Option<&Path>) -> Result<Option<Token>, AccessError> {
    file.map(Token::from_file).transpose().map_err(|source| AccessError::Token { flag, source })
}

/// Whether others than this machine reach the address, and that was not accepted.
#[must_use]
pub fn is_open(address: SocketAddr, insecure: bool) -> bool {
    !address.ip().is_loopback() && !insecure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn outside_loopback_a_token_or_a_word_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        for loopback in ["127.0.0.1:1", "[::1]:1"] {
            assert!(matches!(http_token(address(loopback), None, false), Ok(None)));
        }
        for outside in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1"] {
            let refused = http_token(address(outside), None, false).unwrap_err().to_string();
            assert!(refused.contains(outside) && refused.contains("--http-token-file"), "{refused}");
            assert!(refused.contains("--insecure"), "{refused}");
            assert!(matches!(http_token(address(outside), None, true), Ok(None)));
            assert!(matches!(http_token(address(outside), Some(&file), false), Ok(Some(_))));
        }
    }

    #[test]
    fn a_token_that_cannot_be_used_is_named_with_its_flag_on_any_address() {
        let missing = Path::new("/nowhere");
        let refused = http_token(address("127.0.0.1:1"), Some(missing), true).unwrap_err().to_string();
        assert!(refused.starts_with("--http-token-file: token file /nowhere"), "{refused}");
        let refused = bearer_token("--grpc-token-file", Some(missing)).unwrap_err().to_string();
        assert!(refused.starts_with("--grpc-token-file: token file /nowhere"), "{refused}");
        assert!(matches!(bearer_token("--grpc-token-file", None), Ok(None)));
    }
}
