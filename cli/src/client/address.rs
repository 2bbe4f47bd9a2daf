//! The agent's address, checked before anything is sent.

use reqwest::Url;

use crate::args::default_agent;
use crate::failure::Failure;
use crate::text;

pub(super) fn parse_base(given: &str, source: &str) -> Result<Url, Failure> {
    let wrong =
        |why: &str| Failure::Usage(format!("{source}{}: {why}; write it as {}", text::quoted(given), default_agent()));
    let url = Url::parse(given).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(wrong("an http:// or https:// address is needed")),
    }
}

pub(super) fn is_loopback(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_anything_is_sent() {
        for wrong in ["127.0.0.1:7071", "localhost:7071", "ftp://h/", "", "http://"] {
            assert!(matches!(parse_base(wrong, "--agent "), Err(Failure::Usage(_))), "{wrong}");
        }
        for (url, expected) in [
            ("http://127.0.0.1:7071", true),
            ("http://[::1]:7071", true),
            ("http://localhost", true),
            ("https://agent.example", false),
        ] {
            assert_eq!(is_loopback(&parse_base(url, "--agent ").unwrap()), expected, "{url}");
        }
    }
}
