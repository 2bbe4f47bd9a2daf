//! Where and on what it was measured: figures without it cannot be compared with anybody else's.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor as it calls itself.
    pub cpu: String,
    /// Processors that this process may use.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(0, Into::into);
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        Self { cpu: model_name(&cpuinfo).unwrap_or("unknown").to_owned(), cpus, kernel }
    }
}

/// What ran.
#[derive(Clone, Debug, Serialize)]
pub struct Versions {
    /// What `envoy --version` says after the commit, such as `1.40.0/Clean/RELEASE/BoringSSL`.
    pub envoy: String,
    /// Serin's version.
    pub serin: &'static str,
    /// Size of the filter module in bytes.
    pub module_bytes: u64,
}

impl Versions {
    /// Of these files.
    ///
    /// # Errors
    /// When one is missing, or Envoy does not say what it is.
    pub fn of(envoy: &Path, module: &Path) -> Result<Self> {
        let said = Command::new(envoy).arg("--version").output()?.stdout;
        let said = String::from_utf8_lossy(&said);
        let envoy = envoy_version(&said).with_context(|| format!("{} says {said:?}", envoy.display()))?.to_owned();
        let module_bytes = fs::metadata(module).with_context(|| format!("no {}", module.display()))?.len();
        Ok(Self { envoy, serin: env!("CARGO_PKG_VERSION"), module_bytes })
    }
}

/// Processes that ran or waited to run, averaged over the last minute; our own are among them.
#[must_use]
pub fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn model_name(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

fn envoy_version(said: &str) -> Option<&str> {
    let (_commit, version) = said.split_once("version: ")?.1.trim().split_once('/')?;
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_and_versions_are_read_from_what_they_say() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu\n";
        assert_eq!(model_name(cpuinfo), Some("Some CPU @ 2.00GHz"));
        assert_eq!(model_name("processor\t: 0\n"), None);
        let said = "\n/x/envoy  version: 0123abc/1.40.0/Clean/RELEASE/BoringSSL\n\n";
        assert_eq!(envoy_version(said), Some("1.40.0/Clean/RELEASE/BoringSSL"));
        assert_eq!(envoy_version("bash 5.2"), None);
        assert!(Machine::this().cpus > 0 && load_average().is_some());
    }
}
