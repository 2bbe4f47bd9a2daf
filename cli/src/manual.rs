//! `serin man`: manual pages, made of the very command tree that `--help` prints, so that the two cannot differ.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::builder::Resettable;
use clap::{Args, Command};
use clap_mangen::Man;
use roff::{Roff, roman};

use crate::failure::{self, Failure};
use crate::{output, text};

/// The end of the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  serin man /usr/local/share/man/man1
  serin man pages && man -l pages/serin.1

One page for each command: serin-release.1, serin-gate-open.1 and so on. Pages that are there
already are written anew.

Next: `man serin-release`.";

/// `serin man`.
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Directory for the pages; made if missing
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// `serin man`; the exit code.
///
/// # Errors
/// When the directory or a page cannot be written.
pub(crate) fn run(args: &ManArgs, tree: Command) -> Result<u8, Failure> {
    fs::create_dir_all(&args.dir).with_context(|| format!("directory {}", args.dir.display()))?;
    // Every command has its own page: one about `help` would only list them again.
    let mut tree = tree.disable_help_subcommand(true);
    tree.build();
    let pages = write(&tree, &args.dir)?;
    let dir = args.dir.display();
    output::remark(&text::clean(&format!("{pages} pages in {dir}; `man -l {dir}/serin.1` shows the first")));
    Ok(failure::OK)
}

/// The pages of a command and of those below it; how many.
fn write(command: &Command, dir: &Path) -> Result<usize, Failure> {
    let (name, text) = page(command)?;
    let path = dir.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    below.map(|below| write(below, dir)).try_fold(1, |pages, below| Ok(pages + below?))
}

/// File name and text of one page. What comes after the options in `--help` is set line by line: filled like prose,
/// as the generator does it, its examples could not be copied and its columns would be lost.
fn page(command: &Command) -> Result<(String, Vec<u8>), Failure> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let source = concat!("serin ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone().after_help(Resettable::Reset)).source(source).manual("Serin");
    let name = man.get_filename();
    let mut text = Vec::new();
    man.render(&mut text)?;
    if !after.is_empty() {
        let mut notes = Roff::new();
        notes.control("SH", ["EXAMPLES AND NOTES"]).control("nf", []);
        for line in after.lines() {
            notes.text([roman(line)]);
        }
        notes.control("fi", []).to_writer(&mut text)?;
    }
    Ok((name, text))
}
