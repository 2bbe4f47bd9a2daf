//! The licences of the packages whose code is in the two binaries: most of them ask that their text goes along.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::module::Folders;
use crate::shell::{cargo, output_of};

const HEAD: &str = "\
The binaries in this package hold code of the packages below, from crates.io, and of Rust's standard library
(MIT OR Apache-2.0, The Rust Project Developers). The licences' texts follow, each once.

";

/// Beginnings of the names of files with licences and notices, in capitals.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// The list of packages and the texts that are in them.
pub(super) fn text() -> Result<String> {
    let sources = registry_folders()?;
    let mut list = String::new();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (package, license) in packages()? {
        list += &format!("{package}: {license}\n");
        let folder = sources.iter().map(|source| source.join(&package)).find(|folder| folder.is_dir());
        let folder = folder.with_context(|| format!("cargo has no sources of {package}: run `cargo fetch`"))?;
        for (name, text) in files(&folder)? {
            texts.entry(text).or_default().push(format!("{package}/{name}"));
        }
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, of)| (of, text)).collect();
    texts.sort();
    let texts = texts.into_iter().map(|(of, text)| format!("\n{}\n{}\n\n{text}\n", "-".repeat(80), of.join("\n")));
    Ok(format!("{HEAD}{list}{}", texts.collect::<String>()))
}

/// `NAME-VERSION` and licence of each package that is not ours, sorted; macros stay on the machine that compiles.
fn packages() -> Result<Vec<(String, String)>> {
    let mut tree = cargo();
    tree.args(["tree", "--package", "cli", "--package", "filter", "--edges", "normal,no-proc-macro"]);
    tree.args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"]);
    let said = output_of(&mut tree).context("`cargo tree` failed")?;
    let mut packages: Vec<_> = said.lines().filter_map(package).collect();
    packages.sort();
    packages.dedup();
    ensure!(!packages.is_empty(), "`cargo tree` names no package of others");
    Ok(packages)
}

/// `bytes v1.10.0|MIT` as `bytes-1.10.0` and `MIT`; ours, which have a path, are none.
fn package(line: &str) -> Option<(String, String)> {
    let (package, license) = line.split_once('|')?;
    let (name, version) = package.split_once(" v")?;
    let is_ours = version.contains('(');
    (!is_ours).then(|| (format!("{name}-{version}"), license.to_owned()))
}

/// Where cargo unpacks what it downloads, one folder for each registry.
fn registry_folders() -> Result<Vec<PathBuf>> {
    let folder = Folders::here()?.cargo_home.join("registry/src");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Name and text of each licence in a package's top folder.
fn files(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut files = vec![];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_license = NAMES.iter().any(|start| name.to_uppercase().starts_with(start));
        if is_license && path.is_file() {
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            // Line ends and blanks at the end are no difference worth a second copy.
            let lines: Vec<_> = String::from_utf8_lossy(&text).lines().map(|line| line.trim_end().to_owned()).collect();
            files.push((name, lines.join("\n").trim_matches('\n').to_owned()));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_others_are_told_from_ours() {
        let bytes = ("bytes-1.10.0".to_owned(), "MIT".to_owned());
        assert_eq!(package("bytes v1.10.0|MIT"), Some(bytes));
        assert_eq!(package("cli v0.1.0 (/home/ann/serin/cli)|Apache-2.0"), None);
        assert_eq!(package(""), None);
    }
}
