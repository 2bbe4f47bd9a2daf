//! Golden screens of this program's unit tests: files of `tests/screens`, rewritten with UPDATE=1 after a change that is
//! meant.

use std::path::Path;

/// Without colour.
pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Compares a page with the file of this name.
#[track_caller]
pub(crate) fn compare(name: &str, page: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(format!("{name}.txt"));
    let page = plain(page);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(page, expected, "\n{page}\ndiffers from {}; if that is meant: UPDATE=1", file.display());
}
