//! `serin validate`: the agent's own reading of manifests, without an agent.

use std::io::Read;
use std::path::{Path, PathBuf};

use agent::manifest::{self, Loaded, MAX_FILE_BYTES};
use anstyle::{AnsiColor, Style};
use anyhow::Context;

use crate::args::ValidateArgs;
use crate::failure::{self, Failure};
use crate::{output, text};

/// Most of one file that is read: one byte above what is accepted, so that too long is seen as such.
const READ_LIMIT: u64 = MAX_FILE_BYTES as u64 + 1;

/// `serin validate`; the exit code.
pub(crate) fn run(args: &ValidateArgs) -> Result<u8, Failure> {
    let mut loaded: Vec<Loaded> = Vec::new();
    for path in &args.paths {
        for file in files(path)? {
            loaded.push(load(&file)?);
        }
    }
    let report = manifest::report(&loaded, true);
    let mut page: String = report.lines.iter().map(|line| paint(line)).collect();
    let manifest::Report { accepted, warned, refused, skipped, .. } = report;
    page += &format!("{accepted} accepted, {warned} accepted with warnings, {refused} refused, {skipped} skipped\n");
    output::print(&page)?;
    if accepted + warned + refused + skipped == 0 {
        return Err(Failure::Refused("nothing to validate: no document was found there".into()));
    }
    Ok(if refused == 0 { failure::OK } else { failure::REFUSED })
}

/// What a path stands for; a directory is read as the agent reads it: its .yaml and .yml files, not those in folders.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if path == Path::new("-") || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir().with_context(|| format!("directory {}", path.display()))? {
        let file = entry.with_context(|| format!("directory {}", path.display()))?.path();
        let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && !hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads one file's manifests.
pub(crate) fn load(path: &Path) -> Result<Loaded, Failure> {
    let mut bytes = Vec::new();
    let name = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(READ_LIMIT).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(READ_LIMIT).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {}", text::clean(&name)))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", text::clean(&name)))?;
    Ok(manifest::read(&name, &text))
}

/// A file's names and values may hold anything; the verdict has its colour.
fn paint(line: &str) -> String {
    let style = if line.contains(": refused: ") || line.starts_with("  refused: ") {
        AnsiColor::Red.on_default()
    } else if line.starts_with("  warning: ") {
        AnsiColor::Yellow.on_default()
    } else {
        Style::new()
    };
    format!("{style}{}{style:#}\n", text::clean(line))
}
