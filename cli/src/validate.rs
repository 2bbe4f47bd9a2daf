//! `serin validate`: the agent's own reading of manifests, without an agent.

use std::io::Read;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use manifest::{self, Loaded, MAX_FILE_BYTES};
use serde_json::json;

use crate::args::ValidateArgs;
use crate::failure::{self, Failure};
use crate::{output, text};

/// What standard input is called in messages.
pub(crate) const STDIN: &str = "standard input";
/// Most of one file that is read: one byte above what is accepted, so that too long is seen as such.
const READ_LIMIT: u64 = MAX_FILE_BYTES as u64 + 1;

/// `serin validate`; the exit code.
pub(crate) fn run(args: &ValidateArgs) -> Result<u8, Failure> {
    let loaded: Vec<Loaded> = sets(&args.paths, args.recursive)?.iter().flat_map(Set::read).collect();
    let report = manifest::report(&loaded, true);
    let mut page: String = report.lines.iter().map(|line| paint(line)).collect();
    let manifest::Report { accepted, warned, refused, skipped, lines, .. } = report;
    page += &format!("{accepted} accepted, {warned} accepted with warnings, {refused} refused, {skipped} skipped\n");
    if args.output.is_json() {
        let counts = json!({
            "accepted": accepted, "warned": warned, "refused": refused, "skipped": skipped, "lines": lines,
        });
        page = output::json(&counts, true)?;
    }
    output::print(&page)?;
    if accepted + warned + refused == 0 {
        return Err(Failure::Refused(nothing(args, skipped)));
    }
    Ok(if refused == 0 { failure::OK } else { failure::REFUSED })
}

/// Why nothing was found, and where it may be.
fn nothing(args: &ValidateArgs, skipped: usize) -> String {
    let count = |path: &Path, recursive| files(path, recursive).map_or(0, |found| found.len());
    let is_deeper = |path: &&PathBuf| path.is_dir() && count(path, true) > count(path, false);
    let deeper = args.paths.iter().filter(|_| !args.recursive).find(is_deeper);
    let hint = deeper.map_or_else(String::new, |path| {
        format!("; its folders hold manifests: `serin validate -r {}` reads them too", path.display())
    });
    let found = match skipped {
        0 => "no document was found there",
        _ => "no Canary, MetricTemplate or AlertProvider was found there",
    };
    format!("nothing to validate: {found}{hint}")
}

/// Files whose documents can name each other.
pub(crate) struct Set {
    /// The directory they are in, if one was named.
    pub(crate) folder: Option<PathBuf>,
    /// Names in messages, and texts.
    pub(crate) files: Vec<(String, String)>,
}

impl Set {
    /// A file that stands alone may name what is in files that are not here.
    pub(crate) fn read(&self) -> Vec<Loaded> {
        match self.files.as_slice() {
            [(name, text)] if self.folder.is_none() && name != STDIN => vec![manifest::read(name, text)],
            files => {
                let mut loaded = manifest::read_together(files);
                let parent = |file: &str| Path::new(file).parent().map(Path::to_owned);
                // Of the folders in a directory each may be another agent's.
                loaded
                    .iter_mut()
                    .filter(|_| self.folder.is_some())
                    .for_each(|file| file.directory = parent(&file.file));
                loaded
            }
        }
    }
}

/// Reads what paths stand for: each directory is a set, and all files that are named are one.
pub(crate) fn sets(paths: &[PathBuf], recursive: bool) -> Result<Vec<Set>, Failure> {
    let (folders, named): (Vec<&PathBuf>, Vec<&PathBuf>) =
        paths.iter().partition(|path| *path != Path::new("-") && path.is_dir());
    let texts = |paths: &[&PathBuf]| paths.iter().map(|path| text_of(path)).collect::<Result<Vec<_>, _>>();
    let mut sets = Vec::new();
    if !named.is_empty() {
        sets.push(Set { folder: None, files: texts(&named)? });
    }
    for folder in folders {
        let files = files(folder, recursive)?;
        let files = texts(&files.iter().collect::<Vec<_>>())?;
        sets.push(Set { folder: Some(folder.clone()), files });
    }
    Ok(sets)
}

/// The files of a directory as the agent reads it: .yaml and .yml, not those in folders unless `recursive`.
fn files(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("directory {}", folder.display()))? {
        let entry = entry.with_context(|| format!("directory {}", folder.display()))?;
        let (path, kind) = (entry.path(), entry.file_type().with_context(|| format!("{}", entry.path().display()))?);
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // A link to a directory may lead in a circle.
        if recursive && kind.is_dir() {
            files.append(&mut self::files(&path, recursive)?);
        }
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads one file's manifests by themselves.
pub(crate) fn load(path: &Path) -> Result<Loaded, Failure> {
    let (name, text) = text_of(path)?;
    Ok(manifest::read(&name, &text))
}

/// A file's name in messages, and its text.
fn text_of(path: &Path) -> Result<(String, String), Failure> {
    let mut bytes = Vec::new();
    let name = if path == Path::new("-") { STDIN.into() } else { path.display().to_string() };
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(READ_LIMIT).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(READ_LIMIT).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {}", text::clean(&name)))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", text::clean(&name)))?;
    Ok((name, text))
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
