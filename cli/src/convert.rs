//! `serin convert`: Flagger's manifests in our own form, with the same meaning; and `serin schema`, what either form is.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use rollout::release::plan::Flavour;

use crate::failure::{self, Failure};
use crate::{output, text, validate};

/// The end of the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  serin convert web-canary.yaml
  serin convert canaries/ -o serin/      each under its name; files that are there already stay
  kubectl get canaries,metrictemplates,alertproviders -o yaml | serin convert -

What the two forms take for granted differently is written out. Documents of other kinds stay as
they are; in those that are converted, comments go, but for those above the first line. Where
anything is refused, nothing is written.

Next: `serin validate` the result.";

pub(crate) const SCHEMA_EXAMPLES: &str = "\
Examples:
  serin schema > serin-canary.schema.json
  serin schema flagger > flagger-canary.schema.json

An editor takes it from the first line of a manifest:
  # yaml-language-server: $schema=serin-canary.schema.json

A schema cannot know every rule; `serin validate` does.";

/// `serin convert`.
#[derive(Args, Debug)]
pub(crate) struct ConvertArgs {
    /// Files, directories, or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) paths: Vec<PathBuf>,
    /// Where to write the files; without it all are printed
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Read the folders in a directory too
    #[arg(short, long)]
    pub(crate) recursive: bool,
}

/// `serin schema`.
#[derive(Args, Debug)]
pub(crate) struct SchemaArgs {
    /// Which form of the kinds
    #[arg(value_enum, default_value_t = SchemaOf::Serin)]
    pub(crate) of: SchemaOf,
}

/// Whose form.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SchemaOf {
    /// serin.dev/v1alpha1
    Serin,
    /// flagger.app/v1beta1, as far as it is read here
    Flagger,
}

/// One file, converted.
struct Converted {
    /// Where it goes below the output directory.
    place: PathBuf,
    text: String,
}

/// `serin convert`; the exit code. Nothing is written when anything is refused.
pub(crate) fn run(args: &ConvertArgs) -> Result<u8, Failure> {
    let sets = validate::sets(&args.paths, args.recursive)?;
    let loaded: Vec<_> = sets.iter().flat_map(validate::Set::read).collect();
    let report = manifest::report(&loaded, true);
    if report.refused > 0 {
        let why: Vec<_> =
            report.lines.iter().filter(|line| line.contains("refused: ")).map(|line| text::clean(line)).collect();
        return Err(Failure::Refused(format!("nothing was converted:\n  {}", why.join("\n  "))));
    }
    if report.accepted + report.warned == 0 {
        let found: Vec<_> = report.lines.iter().map(|line| text::clean(line)).collect();
        return Err(Failure::Refused(format!(
            "nothing to convert: no Canary, MetricTemplate or AlertProvider was found:\n  {}",
            found.join("\n  ")
        )));
    }
    let files = || sets.iter().flat_map(|set| set.files.iter().map(|file| (set.folder.as_deref(), file)));
    let converted: Vec<_> = files().map(|(folder, file)| one(folder, file)).collect::<Result<_, _>>()?;
    match &args.output_dir {
        Some(folder) => converted.iter().try_for_each(|file| write(folder, file))?,
        None => {
            let texts: Vec<&str> = converted.iter().map(|file| file.text.as_str()).collect();
            output::print(&texts.join("---\n"))?;
        }
    }
    Ok(failure::OK)
}

/// `serin schema`; the exit code.
pub(crate) fn schema(args: &SchemaArgs) -> Result<u8, Failure> {
    let flavour = match args.of {
        SchemaOf::Serin => Flavour::Serin,
        SchemaOf::Flagger => Flavour::Flagger,
    };
    output::print(&manifest::schema(flavour))?;
    Ok(failure::OK)
}

fn one(folder: Option<&Path>, (name, text): &(String, String)) -> Result<Converted, Failure> {
    let converted = manifest::convert(text)
        .map_err(|error| Failure::Refused(format!("{}: {}", text::clean(name), text::clean(&error.to_string()))))?;
    let path = Path::new(name);
    let place = match folder {
        Some(folder) => path.strip_prefix(folder).unwrap_or(path).to_owned(),
        None if name == validate::STDIN => PathBuf::from("canary.yaml"),
        None => path.file_name().map_or_else(|| path.to_owned(), PathBuf::from),
    };
    Ok(Converted { place, text: converted })
}

/// A file that is there already stays: it may be the one that is converted.
fn write(folder: &Path, file: &Converted) -> Result<(), Failure> {
    let path = folder.join(&file.place);
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).with_context(|| format!("directory {}", parent.display()))?;
    let mut out = fs::File::create_new(&path).with_context(|| format!("cannot write {}", path.display()))?;
    out.write_all(file.text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    output::remark(&text::clean(&path.display().to_string()));
    Ok(())
}
