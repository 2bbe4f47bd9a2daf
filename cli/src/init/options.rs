//! `serin init`: what may be typed, and which values go together.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::args::DEFAULT_HTTP;
use crate::failure::Failure;

use super::address::{self, Endpoint, is_same_place};
use super::module::{self, Module};
use super::name::{self, Hosts, Label};

/// Shown below `serin init --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  serin init shop --host shop.example.com --primary 10.0.0.5:8080 --canary 10.0.0.6:8080
  serin init shop --host shop.example.com --host '*.shop.example.com' \\
      --primary shop-v1.internal:80 --canary shop-v2.internal:80 --listen 0.0.0.0:80
  serin init shop --primary 127.0.0.1:3000 --canary 127.0.0.1:3001 --dir /srv/shop -o json

Writes three files, and nothing if one of them is there already (--force overwrites them):
  envoy.yaml            Envoy with the filter between the two versions
  canaries/NAME.yaml    the Canary: which requests, which steps, which limits
  start.sh              starts the agent and Envoy, and stops both on Ctrl-C

They are made from the files that Serin ships and tests, comments included: read them, change
them. Upstreams are spoken to in clear, HTTP/1.1; TLS to upstreams is out of init's scope: add a
transport_socket to the clusters in envoy.yaml. So are several addresses of one version: give a
name that resolves to all of them, or add endpoints there.

No address is tried and no port: `start.sh` says what does not work.

Next: the commands that init prints.";

/// `serin init`.
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The service's name, a DNS label; its upstreams are called NAME-primary and NAME-canary
    #[arg(value_parser = name::label)]
    pub(super) name: Label,
    /// Where the version in service runs; a name is resolved by Envoy, again and again
    #[arg(long, value_name = "HOST:PORT", value_parser = address::endpoint)]
    pub(super) primary: Endpoint,
    /// Where new versions run before they are proven
    #[arg(long, value_name = "HOST:PORT", value_parser = address::endpoint)]
    pub(super) canary: Endpoint,
    /// Whose requests a release is about: a host, *.SUFFIX or * for all; may be given several times. Others go to the
    /// primary
    #[arg(long, value_name = "HOST", default_value = "*", value_parser = name::hosts)]
    pub(super) host: Vec<Hosts>,
    /// The canary's namespace, a DNS label
    #[arg(short, long, default_value = "default", value_parser = name::label)]
    pub(super) namespace: Label,
    /// The folder to write [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Where Envoy takes the service's requests
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:10000", value_parser = address::listen)]
    pub(super) listen: SocketAddr,
    /// Envoy's own pages: counters, health
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901", value_parser = address::loopback)]
    pub(super) admin: SocketAddr,
    /// Where the agent takes proxies, as in `serin agent --grpc`
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7070", value_parser = address::loopback)]
    pub(super) grpc: SocketAddr,
    /// Where the agent takes people and programs, as in `serin agent --http`
    #[arg(long, value_name = "IP:PORT", default_value = DEFAULT_HTTP, value_parser = address::loopback)]
    pub(super) http: SocketAddr,
    /// The filter module [default: serin.wasm beside this program, else /etc/envoy/serin.wasm]
    #[arg(long, value_name = "FILE", value_parser = module::given)]
    pub(super) module: Option<Module>,
    /// Overwrite the files that are there already
    #[arg(long)]
    pub(super) force: bool,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(super) output: Form,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people: the files, and what to type next
    Text,
    /// For programs: the files
    Json,
}

impl InitArgs {
    /// Refuses values that are right one by one and wrong together.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.primary.is_same(&self.canary) {
            return Err(Failure::Usage(format!(
                "--canary {} is where --primary {} is: a release would compare a version with itself",
                self.canary, self.primary
            )));
        }
        let places = self.places();
        for (at, (option, address)) in places.iter().enumerate() {
            let mut earlier = places.iter().take(at);
            if let Some((other, taken)) = earlier.find(|(_, taken)| is_same_place(*taken, *address)) {
                return Err(Failure::Usage(format!(
                    "{option} {address} and {other} {taken} are one place: each needs an address or port of its own"
                )));
            }
        }
        Ok(())
    }

    /// What listens, or is reached, on this machine. An upstream elsewhere may have the listener's port.
    fn places(&self) -> Vec<(&'static str, SocketAddr)> {
        let mut places =
            vec![("--listen", self.listen), ("--admin", self.admin), ("--grpc", self.grpc), ("--http", self.http)];
        for (option, upstream) in [("--primary", &self.primary), ("--canary", &self.canary)] {
            let here = |address: &SocketAddr| address.ip().is_loopback() || !self.listen.ip().is_unspecified();
            places.extend(upstream.place().filter(here).map(|address| (option, address)));
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::commands::{Cli, Command};

    fn args(more: &[&str]) -> InitArgs {
        let primary: &[&str] = if more.contains(&"--primary") { &[] } else { &["--primary", "10.0.0.5:80"] };
        let cli = Cli::try_parse_from(["serin", "init", "shop"].iter().chain(primary).chain(more)).unwrap();
        let Command::Init(args) = cli.command else { panic!("another command") };
        args
    }

    fn refused(more: &[&str]) -> String {
        args(more).check().unwrap_err().to_string()
    }

    #[test]
    fn both_versions_at_one_address_are_refused() {
        assert!(args(&["--canary", "10.0.0.6:80"]).check().is_ok());
        for same in ["10.0.0.5:80", "[::ffff:10.0.0.5]:80"] {
            assert!(refused(&["--canary", same]).contains("--canary 10.0.0.5:80 is where --primary 10.0.0.5:80 is"));
        }
        for [primary, canary] in [["a.b:80", "A.B:80"], ["localhost:80", "127.0.0.1:80"]] {
            let said = refused(&["--primary", primary, "--canary", canary]);
            assert!(said.contains("a version with itself"), "{said}");
        }
    }

    #[test]
    fn each_place_is_taken_once() {
        let said = refused(&["--canary", "10.0.0.6:80", "--http", "127.0.0.1:7070"]);
        assert!(said.starts_with("--http 127.0.0.1:7070 and --grpc 127.0.0.1:7070 are one place"), "{said}");
        let said = refused(&["--canary", "127.0.0.1:9000", "--listen", "0.0.0.0:9000"]);
        assert!(said.starts_with("--canary 127.0.0.1:9000 and --listen 0.0.0.0:9000 are one place"), "{said}");
        // Another machine's port is no conflict, a listener on every address of this one or not.
        assert!(args(&["--canary", "10.0.0.6:80", "--listen", "0.0.0.0:80"]).check().is_ok());
        let said = refused(&["--canary", "10.0.0.6:80", "--listen", "10.0.0.6:80"]);
        assert!(said.contains("--canary"), "{said}");
    }

    #[test]
    fn what_is_typed_wrong_is_told_with_option_value_and_rule() {
        for (more, parts) in [
            (["--canary", "here"], ["--canary <HOST:PORT>", "'here'", "must be HOST:PORT"]),
            (["--host", "shop.*.com"], ["--host <HOST>", "'shop.*.com'", "* stands alone"]),
            (["--listen", "localhost:80"], ["--listen <IP:PORT>", "'localhost:80'", "must be IP:PORT"]),
            (["--grpc", "0.0.0.0:7070"], ["--grpc <IP:PORT>", "'0.0.0.0:7070'", "on loopback"]),
            (["--namespace", "Prod"], ["--namespace <NAMESPACE>", "'Prod'", "DNS label"]),
            (["--module", "a\"b"], ["--module <FILE>", "a\"b", "quotes"]),
        ] {
            let typed = ["serin", "init", "shop", "--primary", "10.0.0.5:80"];
            let said = Cli::try_parse_from(typed.iter().chain(&more)).unwrap_err().to_string();
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }
}
