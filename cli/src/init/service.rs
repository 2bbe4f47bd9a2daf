//! What a folder is made for: a service whose names, addresses and paths have passed the door.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

use super::address::Endpoint;
use super::module::{self, Module};
use super::name::{Hosts, Label};
use super::options::InitArgs;

/// One service in two versions, its proxy and its agent.
pub(super) struct Service {
    pub(super) name: Label,
    pub(super) namespace: Label,
    /// At least one, each once.
    pub(super) hosts: Vec<Hosts>,
    pub(super) primary: Endpoint,
    pub(super) canary: Endpoint,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) module: Module,
    /// This program, for the script to fall back on.
    pub(super) program: Option<PathBuf>,
}

impl Service {
    /// What was typed, made whole.
    ///
    /// # Errors
    /// When values are wrong together.
    pub(super) fn new(args: &InitArgs, program: Option<&Path>) -> Result<Self, Failure> {
        args.check()?;
        let mut hosts: Vec<Hosts> = Vec::new();
        for host in &args.host {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        Ok(Self {
            name: args.name.clone(),
            namespace: args.namespace.clone(),
            hosts,
            primary: args.primary.clone(),
            canary: args.canary.clone(),
            listen: args.listen,
            admin: args.admin,
            grpc: args.grpc,
            http: args.http,
            module: args.module.clone().unwrap_or_else(|| module::default(program)),
            program: program.map(Path::to_path_buf),
        })
    }

    /// `NAMESPACE/NAME`.
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether every request is the canary's business.
    pub(super) fn has_every_host(&self) -> bool {
        self.hosts.iter().any(Hosts::is_every)
    }

    /// A host to ask for where not every one will do.
    pub(super) fn example_host(&self) -> Option<String> {
        self.hosts.first().filter(|_| !self.has_every_host()).map(Hosts::example)
    }
}

/// The service that the unit tests write: nothing in it is as shipped.
#[cfg(test)]
pub(super) mod fixture {
    use clap::Parser;

    use super::*;
    use crate::commands::{Cli, Command};

    /// A service of that name; options given here take the place of the usual ones.
    pub(in crate::init) fn service(name: &str, more: &[&str]) -> Service {
        const USUAL: [[&str; 2]; 6] = [
            ["--primary", "10.0.0.5:3000"],
            ["--canary", "[2001:db8::6]:3001"],
            ["--listen", "0.0.0.0:8443"],
            ["--admin", "127.0.0.1:9000"],
            ["--grpc", "127.0.0.1:6060"],
            ["--http", "127.0.0.1:6061"],
        ];
        let usual = USUAL.iter().filter(|[option, _]| !more.contains(option)).flatten();
        let typed = ["serin", "init", name].into_iter().chain(usual.copied()).chain(more.iter().copied());
        let Command::Init(args) = Cli::try_parse_from(typed).unwrap().command else { panic!("another command") };
        Service::new(&args, Some(Path::new("/opt/serin/bin/serin"))).unwrap()
    }
}
