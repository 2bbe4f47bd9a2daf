//! Programs of Debian's packages that the tests run beside Serin.

use anyhow::{Result, bail};

use crate::shell::{announce, command, output_of, run};

/// Program and package.
const PROGRAMS: [(&str, &str); 3] = [
    // docs/api.md is a page of curl commands; a test runs them.
    ("curl", "curl"),
    // The load tester is tried with a real load tool.
    ("hey", "hey"),
    // The metric provider of that name is tried with the real server. The tests start their own; the one that Debian
    // starts on installation, where it may, is not used.
    ("prometheus", "prometheus"),
];

/// Makes sure that the tests find the programs that they run.
pub(crate) fn ensure() -> Result<()> {
    let is_missing = |program: &str| output_of(command("which").arg(program)).is_none();
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| is_missing(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// Installs packages, or says what a person must type to do so.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if output_of(command("apt-get").arg("--version")).is_none() {
        bail!("missing: {list}, Debian's packages of these names; this machine has no apt-get: install what they hold");
    }
    if output_of(command("id").arg("-u")).as_deref() != Some("0") {
        bail!("missing: {list}, and installing needs root: sudo apt-get install -y {list}, then run again");
    }
    announce(&format!("missing: {list}: apt-get install -y {list}"));
    run(command("apt-get").args(["update", "-qq"]))?;
    run(command("apt-get").args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
}
