//! The service file, read by systemd itself where it is installed: a setting that systemd does not understand is
//! ignored when the service starts, and protects nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell::{announce, command};

const UNIT: &str = "serin-agent.service";

/// The prefix that the file is written for; the program that it starts must be there while systemd looks.
const PREFIX: &str = "/usr/local/";

/// Fails if systemd has anything to say about the service in the package folder `top`.
pub(super) fn verify(top: &Path) -> Result<()> {
    let path = top.join("lib/systemd/system").join(UNIT);
    let unit = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let scratch = top.with_file_name("unit");
    fs::create_dir_all(&scratch)?;
    let copy = scratch.join(UNIT);
    fs::write(&copy, unit.replace(PREFIX, &format!("{}/", top.display())))?;
    let output = command("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output();
    fs::remove_dir_all(&scratch)?;
    let Ok(output) = output else {
        announce("systemd-analyze is not installed here: the service file is packed without its check");
        return Ok(());
    };
    // Bad values are reported on standard error, with success as exit code; so are faults of this machine's other units.
    let said = String::from_utf8_lossy(&output.stderr);
    let about: Vec<&str> = said.lines().filter(|line| line.contains(UNIT)).collect();
    if !about.is_empty() {
        bail!("systemd does not understand packaging/{UNIT}:\n  {}", about.join("\n  "));
    }
    Ok(())
}
