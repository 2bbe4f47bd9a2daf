//! `start.sh`: a script that runs as it stands in this folder, with a user's own values at its head.

use anyhow::Result;

use super::edits::{Edit, apply};
use super::service::Service;

/// The script; its values are those of the shipped configuration.
const SCRIPT: &str = include_str!("start.sh");

/// A service's script.
///
/// # Errors
/// When the script no longer has a place that must change.
pub(super) fn render(service: &Service) -> Result<String> {
    let program = service.program.as_deref().and_then(|path| path.to_str()).unwrap_or("serin");
    let values = [
        ("canary=default/web\n", "canary", service.id()),
        ("cluster=web\n", "cluster", service.name.to_string()),
        ("listen=127.0.0.1:8080\n", "listen", service.listen.to_string()),
        ("grpc=127.0.0.1:7070\n", "grpc", service.grpc.to_string()),
        ("http=127.0.0.1:7071\n", "http", service.http.to_string()),
        ("program=/usr/bin/serin\n", "program", program.to_owned()),
    ];
    let edit = |(from, variable, value): (&str, &str, String)| {
        Edit::once(from, format!("{variable}={}\n", shell_words::quote(&value)))
    };
    apply(SCRIPT, &values.map(edit))
}

#[cfg(test)]
mod tests {
    use super::super::service::fixture::service;
    use super::*;

    #[test]
    fn the_values_stand_at_the_head() {
        let script = render(&service("shop", &["-n", "prod"])).unwrap();
        for line in [
            "canary=prod/shop",
            "cluster=shop",
            "listen=0.0.0.0:8443",
            "grpc=127.0.0.1:6060",
            "http=127.0.0.1:6061",
            "program=/opt/serin/bin/serin",
        ] {
            assert_eq!(script.lines().filter(|it| *it == line).count(), 1, "{line} in {script}");
        }
        let (said, begun) = (script.find("say \"starting: "), script.find("\n\"$serin\" agent "));
        assert!(said.is_some() && said < begun, "a slow start is announced: {script}");
        assert!(!script.contains("7070") && !script.contains("web"), "{script}");
    }

    #[test]
    fn an_ipv6_address_is_no_pattern_of_the_shell() {
        let script = render(&service("shop", &["--listen", "[::1]:80"])).unwrap();
        assert!(script.contains("\nlisten='[::1]:80'\n"), "{script}");
    }
}
