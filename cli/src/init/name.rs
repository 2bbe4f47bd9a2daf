//! Names as they are typed: of a service, of its namespace, of the hosts that it serves; and how one stands in YAML.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// Longest label and longest name of the DNS, in bytes (RFC 1035).
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

/// A DNS label: the name of a service or namespace, from which names of upstreams and hosts are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label(String);

/// Which hosts are meant: a name or address, `*.suffix`, or `*` for all; in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts(String);

impl Label {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Hosts {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_every(&self) -> bool {
        self.0 == "*"
    }

    /// A host that is among them, to ask for.
    pub(super) fn example(&self) -> String {
        match self.0.strip_prefix("*.") {
            Some(suffix) => format!("www.{suffix}"),
            None if self.0.contains(':') => format!("[{}]", self.0),
            None => self.0.clone(),
        }
    }
}

/// The name of a service or namespace.
pub(super) fn label(text: &str) -> Result<Label, String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = !text.is_empty() && text.len() <= MAX_LABEL && text.chars().all(is_plain);
    if fits && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(Label(text.into()));
    }
    Err("must be a DNS label: 1 to 63 of a-z, 0-9 and -, without - at either end".into())
}

/// Hosts that are served.
pub(super) fn hosts(text: &str) -> Result<Hosts, String> {
    const FORM: &str = "must be a host without scheme and port, as in shop.example.com, *.example.com, or * for all";
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&lower);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(Hosts(ip.to_string()));
    }
    if lower.contains(['/', ':']) {
        return Err(FORM.into());
    }
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    if lower != "*" && name.contains('*') {
        return Err(format!("{FORM}; * stands alone, or in place of all the labels at the beginning"));
    }
    if lower != "*" {
        check(name)?;
    }
    Ok(Hosts(lower))
}

/// Whether a name can be a host's. Underscores are none of the DNS's, but container networks have them.
pub(super) fn check(name: &str) -> Result<(), String> {
    if name.len() > MAX_NAME {
        return Err(format!("the name is {} characters long; at most {MAX_NAME} are allowed", name.len()));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err("the name has an empty label".into());
        }
        if label.len() > MAX_LABEL {
            return Err(format!("a label of the name is {} characters long; at most {MAX_LABEL} are", label.len()));
        }
        if let Some(c) = label.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
            return Err(format!("the name holds {c:?}; it may hold letters, digits and . - _"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a label must not begin or end with -".into());
        }
    }
    // A last label of digits alone is an address that was typed wrong; resolvers take it for one, too.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is neither a name nor an address: the last label of a name has a letter".into());
    }
    Ok(())
}

/// A value as YAML has it: plain where no reader takes it for anything but text, else in quotes.
pub(super) fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && !WORDS.contains(&text);
    if (is_word && text.chars().all(is_plain)) || text.parse::<Ipv4Addr>().is_ok() {
        return text.into();
    }
    quoted(text)
}

/// In double quotes, as JSON and YAML have them in common.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_dns_label_for_its_name() {
        let longest = "a".repeat(63);
        for good in ["shop", "a", "shop-2", "2nd", "a--b", &longest] {
            assert_eq!(label(good).as_ref().map(Label::as_str), Ok(good));
        }
        for bad in ["", "Shop", "shop.web", "shop_web", "-shop", "shop-", "shöp", "a b", "a/b", &"a".repeat(64)] {
            assert!(label(bad).unwrap_err().contains("DNS label"), "{bad}");
        }
    }

    #[test]
    fn hosts_are_names_addresses_suffixes_or_all() {
        for (typed, meant, example) in [
            ("Shop.Example.com", "shop.example.com", "shop.example.com"),
            ("*.example.com", "*.example.com", "www.example.com"),
            ("*", "*", "*"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
            ("[2001:DB8::1]", "2001:db8::1", "[2001:db8::1]"),
        ] {
            let hosts = hosts(typed).unwrap();
            assert_eq!((hosts.as_str(), hosts.example().as_str()), (meant, example));
            assert_eq!(hosts.is_every(), typed == "*");
        }
        for (typed, rule) in [
            ("https://shop.example.com", "without scheme and port"),
            ("shop.example.com:443", "without scheme and port"),
            ("shop.example.com/cart", "without scheme and port"),
            ("shop.*.com", "* stands alone"),
            ("*shop.com", "* stands alone"),
            ("**", "* stands alone"),
            ("*.", "empty label"),
            ("", "empty label"),
            ("shop..com", "empty label"),
            ("shop.com.", "empty label"),
            ("shop,com", "may hold"),
            ("10.0.0.256", "neither a name nor an address"),
            (&"a".repeat(64), "64 characters long"),
            (&"a.".repeat(130), "260 characters long"),
        ] {
            let said = hosts(typed).unwrap_err();
            assert!(said.contains(rule), "{typed}: {said}");
        }
    }

    #[test]
    fn what_yaml_would_read_as_something_else_is_quoted() {
        for plain in ["shop", "shop-2", "127.0.0.1", "a.b_c"] {
            assert_eq!(scalar(plain), plain);
        }
        for other in ["123", "1e3", "0x10", "true", "no", "null", "::1", "2nd", "*.example.com"] {
            assert_eq!(scalar(other), format!("\"{other}\""));
        }
    }
}
