//! Changes to the shipped Envoy configuration: exact replacements, so that what is tested is what a user copies.

use anyhow::{Context, Result, ensure};

/// Replaces `from`, which must occur exactly once.
///
/// # Errors
/// When it occurs never or more often: the shipped file and its users have drifted apart.
pub fn replace_once(text: &str, from: &str, to: &str) -> Result<String> {
    let found = text.matches(from).count();
    ensure!(found == 1, "{from:?} must occur once in the configuration, and occurs {found} times");
    Ok(text.replacen(from, to, 1))
}

/// The last key of the filter's own configuration in the shipped file.
const LAST_KEY: &str = "\"defaultUpstreams\": { \"default/web\": \"web-primary\" }";

/// Adds keys to the filter's own configuration.
///
/// # Errors
/// As for [`replace_once`].
pub fn with_keys(text: &str, keys: &str) -> Result<String> {
    replace_once(text, LAST_KEY, &format!("{LAST_KEY}, {keys}"))
}

/// Removes the part from `start` up to, and without, `end`; `start` must occur exactly once.
///
/// # Errors
/// When `start` does not occur exactly once, or `end` does not follow it.
pub fn remove_between(text: &str, start: &str, end: &str) -> Result<String> {
    let found = text.matches(start).count();
    ensure!(found == 1, "{start:?} must occur once in the configuration, and occurs {found} times");
    let (before, rest) = text.split_once(start).context("it occurs once")?;
    let end_at = rest.find(end).with_context(|| format!("no {end:?} follows {start:?}"))?;
    let (_removed, after) = rest.split_at(end_at);
    Ok(format!("{before}{after}"))
}

/// The configuration without Serin's filters: what is left is a plain proxy to the default upstream.
pub fn without_filter(text: &str) -> Result<String> {
    let text = remove_between(text, "- name: serin\n", "- name: envoy.filters.http.router")?;
    without_copies_filter(&text)
}

/// The configuration without the filter that measures copies.
pub fn without_copies_filter(text: &str) -> Result<String> {
    remove_between(text, "typed_extension_protocol_options:\n", "load_assignment:\n        cluster_name: web-canary\n")
}

/// The configuration without the native removal of the client's own copies of our headers, so that only the filter guards it.
pub fn without_header_guard(text: &str) -> Result<String> {
    remove_between(text, "early_header_mutation_extensions:\n", "http_filters:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_that_is_absent_or_ambiguous_is_refused() {
        assert_eq!(replace_once("port: 1", "1", "2").unwrap(), "port: 2");
        assert!(replace_once("port: 1", "3", "2").is_err());
        assert!(replace_once("port: 11", "1", "2").is_err());
        assert_eq!(remove_between("a [x] b", "[", " b").unwrap(), "a  b");
        assert!(remove_between("a [x] b", "[", "c").is_err());
    }
}
