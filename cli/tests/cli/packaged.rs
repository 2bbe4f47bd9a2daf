//! What a package takes from the binary, or says about it: manual pages and the service's settings.

use std::collections::BTreeSet;
use std::fs;

use tempfile::TempDir;

use crate::run::{ran, serin};

#[tokio::test]
async fn every_command_has_a_manual_page_whose_examples_can_be_copied() {
    let dir = TempDir::new().unwrap();
    let pages = dir.path().join("new/man1");
    let ran = ran(serin(&["man", pages.to_str().unwrap()])).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let overview = page("serin.1");
    for name in ["agent", "release", "gate", "man"] {
        assert!(overview.contains(&format!("serin\\-{name}(1)")), "{name} in {overview}");
    }
    assert!(page("serin-gate-open.1").contains("\\-\\-revision"));
    let (_, notes) = page("serin-release.1").split_once(".nf").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let example = "\n  serin release web \\-\\-revision v2 \\-\\-reason \\*(Aqthe new cart, SHOP\\-77\\*(Aq\n";
    assert!(notes.contains(example), "{notes}");
}

/// The flags that a text names.
fn flags(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.starts_with("--")).collect()
}

#[tokio::test]
async fn the_service_s_settings_name_every_flag_of_the_agent() {
    let settings = include_str!("../../../packaging/agent.env");
    let help = ran(serin(&["agent", "--help"])).await.out;
    let mut known = flags(&help);
    for elsewhere in ["--color", "--help"] {
        known.remove(elsewhere);
    }
    assert_eq!(flags(settings), known);
}
