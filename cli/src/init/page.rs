//! What `serin init` says when it is done: the files, and the commands to type next, ready to be copied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::args::default_agent;
use crate::failure::Failure;
use crate::{output, text};

use super::files::shown;
use super::service::Service;

/// For programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    /// As it was given or follows from the name.
    directory: String,
    /// Paths of the files written.
    files: Vec<String>,
    /// NAMESPACE/NAME.
    canary: String,
    /// The agent's address, for SERIN_AGENT.
    agent: String,
}

/// The files, as JSON.
///
/// # Errors
/// When that cannot be made.
pub(super) fn json(service: &Service, folder: &Path, files: &[PathBuf]) -> Result<String, Failure> {
    let path = |path: &Path| path.display().to_string();
    let written = Written {
        directory: path(folder),
        files: files.iter().map(|file| path(file)).collect(),
        canary: service.id(),
        agent: agent(service),
    };
    output::json(&written, true)
}

/// The files, and what to do with them; `named` is the agent that the environment names.
pub(super) fn text(service: &Service, folder: &Path, files: &[PathBuf], named: Option<&str>) -> String {
    let Service { name, .. } = service;
    let mut page: String = files.iter().map(|file| format!("wrote {}\n", shown(file))).collect();
    let start = [(shell(&folder.join("start.sh")), "starts the agent and Envoy; Ctrl-C stops both")];
    page += &section("Next", &start);
    let mut commands = Vec::new();
    // Where none is named, the other commands look at the default address.
    if named.map_or_else(default_agent, str::to_owned) != agent(service) {
        commands.push((format!("export SERIN_AGENT={}", agent(service)), "where the agent is"));
    }
    commands.extend([
        (curl(service), "a request through Envoy: the primary answers"),
        (format!("serin release {name} --revision v2"), "begins a release of what the canary upstream runs"),
        (format!("serin get {name} -w"), "shows it climb, or what it waits for"),
        (format!("serin abort {name} --reason 'changed my mind'"), "all traffic to the primary, at once"),
    ]);
    page + &section("In a second terminal", &commands)
}

fn section(title: &str, commands: &[(String, &str)]) -> String {
    let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or_default();
    let line = |(command, what): &(String, &str)| format!("  {command:width$}   # {what}\n");
    let lines: String = commands.iter().map(line).collect();
    format!("\n{title}:\n{lines}")
}

fn agent(service: &Service) -> String {
    format!("http://{}", service.http)
}

/// Asks through Envoy; on this machine where it listens on every address.
fn curl(service: &Service) -> String {
    let ip = match service.listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}/", SocketAddr::new(ip, service.listen.port()));
    // Brackets are a pattern to curl as to the shell.
    let url = if ip.is_ipv6() { format!("-g '{url}'") } else { url };
    match service.example_host() {
        Some(host) => format!("curl -H 'host: {host}' {url}"),
        None => format!("curl {url}"),
    }
}

/// A path as a command: quoted for the shell, and never looked for on PATH.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let text = if text.starts_with('/') || text.starts_with('.') { text } else { format!("./{text}") };
    text::clean(&shell_words::quote(&text))
}

#[cfg(test)]
mod tests {
    use super::super::service::fixture::service;
    use super::*;

    #[test]
    fn the_page_has_commands_that_can_be_copied() {
        let service = service("shop", &["--host", "*.shop.test"]);
        let page = text(&service, Path::new("my shop"), &["my shop/envoy.yaml".into()], None);
        for line in [
            "wrote my shop/envoy.yaml\n",
            "\n  './my shop/start.sh'   # starts",
            "\n  export SERIN_AGENT=http://127.0.0.1:6061 ",
            "\n  curl -H 'host: www.shop.test' http://127.0.0.1:8443/ ",
            "\n  serin release shop --revision v2 ",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
    }

    #[test]
    fn what_is_as_usual_is_not_said() {
        let service = service("shop", &["--http", "127.0.0.1:7071", "--listen", "[::]:80"]);
        let page = text(&service, Path::new("shop"), &[], None);
        assert!(!page.contains("SERIN_AGENT") && page.contains("\n  curl -g 'http://[::1]:80/' "), "{page}");
        assert!(page.contains("\n  ./shop/start.sh "), "{page}");
        // Another agent, whom the environment names, would be asked.
        let page = text(&service, Path::new("shop"), &[], Some("http://127.0.0.1:1"));
        assert!(page.contains("\n  export SERIN_AGENT=http://127.0.0.1:7071 "), "{page}");
    }

    #[test]
    fn programs_get_the_files() {
        let service = service("shop", &[]);
        let json = json(&service, Path::new("d"), &["d/envoy.yaml".into()]).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = serde_json::json!({
            "directory": "d", "files": ["d/envoy.yaml"], "canary": "default/shop", "agent": "http://127.0.0.1:6061"
        });
        assert_eq!(value, expected);
    }
}
