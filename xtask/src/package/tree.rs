//! What is in the package. `bin`, `lib`, `share` and `etc` are laid out as they are installed below a prefix; manual
//! pages and completions come from the binary itself, so no list of commands is kept here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::licenses;
use crate::parts::{Dist, place};
use crate::shell::{command, output_of, root};

/// The folder whose files may be executed.
pub(super) const PROGRAMS: &str = "bin";

/// Files of the repository, and where they are in the package.
const FILES: [(&str, &str); 7] = [
    ("LICENSE", "LICENSE"),
    ("README.md", "README.md"),
    ("ARCHITECTURE.md", "ARCHITECTURE.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("packaging/agent.env", "etc/serin/agent.env"),
    ("packaging/serin-agent.service", "lib/systemd/system/serin-agent.service"),
    ("packaging/sysusers.conf", "lib/sysusers.d/serin.conf"),
];

/// Folders that the package has as they are.
const FOLDERS: [&str; 2] = ["docs", "envoy-config"];

/// Transcripts of trials, for those who develop Serin.
const TRANSCRIPTS: &str = "docs/runs";

/// Shells, and where each looks for the completions of a command.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/serin"),
    ("zsh", "share/zsh/site-functions/_serin"),
    ("fish", "share/fish/vendor_completions.d/serin.fish"),
];

const MANUAL: &str = "share/man/man1";

/// Fills the folder `top`, which may have an older package's files in it: they go.
pub(super) fn assemble(top: &Path, dist: &Dist) -> Result<()> {
    if top.exists() {
        fs::remove_dir_all(top).with_context(|| format!("cannot remove the older {}", top.display()))?;
    }
    place(&dist.binary, &top.join(PROGRAMS).join("serin"))?;
    place(&dist.module, &top.join("lib/serin/serin.wasm"))?;
    for (from, to) in FILES {
        place(&root().join(from), &top.join(to))?;
    }
    for folder in FOLDERS {
        for file in files(&root().join(folder))? {
            let path = Path::new(folder).join(file);
            if path.starts_with(TRANSCRIPTS) {
                continue;
            }
            place(&root().join(&path), &top.join(&path))?;
        }
    }
    for (shell, to) in COMPLETIONS {
        let script = output_of(command(&dist.binary).args(["completion", shell]));
        let script = script.with_context(|| format!("`serin completion {shell}` failed"))?;
        let to = top.join(to);
        fs::create_dir_all(to.parent().context("a completion lies in a folder")?)?;
        fs::write(to, script + "\n")?;
    }
    fs::write(top.join("LICENSES-OF-DEPENDENCIES"), licenses::text()?)?;
    let pages = output_of(command(&dist.binary).arg("man").arg(top.join(MANUAL)));
    pages.map(|_| ()).with_context(|| format!("`serin man {MANUAL}` failed"))
}

/// The files below a folder, as paths from there, sorted by name.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder)?.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}
