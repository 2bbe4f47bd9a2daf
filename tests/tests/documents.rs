//! Files that the documents name are there, or a command above them makes them.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Names that stand for the reader's own file.
const THE_READERS: &[&str] = &["canary.yaml"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a page asks to read with `-f` and nobody has.
fn missing(page: &str) -> Vec<String> {
    let mut made: BTreeSet<&str> = BTreeSet::new();
    let mut missing = Vec::new();
    for line in page.lines() {
        let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(['`', ',', ':', '.'])).collect();
        for pair in words.windows(2) {
            let [option, file] = pair else { continue };
            let is_there = || THE_READERS.contains(file) || made.contains(file) || root().join(file).exists();
            if *option == "-f" && file.ends_with(".yaml") && !is_there() {
                missing.push((*file).to_owned());
            }
            if *option == ">" {
                made.insert(file);
            }
        }
    }
    missing
}

#[test]
fn every_manifest_that_a_page_reads_is_there() {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    for path in pages.chain([root().join("README.md")]) {
        let found = missing(&fs::read_to_string(&path).unwrap());
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
}

#[test]
fn a_file_that_nobody_makes_is_found() {
    assert_eq!(missing("$ serin replay web -f lax.yaml"), ["lax.yaml"]);
    assert_eq!(missing("a `serin simulate -f canary.yaml --fault 5%`\n$ serin replay -f other.yaml,"), ["other.yaml"]);
    assert!(missing("$ sed s/a/b/ x > lax.yaml\n$ serin replay web -f lax.yaml").is_empty());
    assert!(missing("serin simulate -f envoy-config/standalone/web.yaml").is_empty());
}
