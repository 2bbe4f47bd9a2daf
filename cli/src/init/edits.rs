//! Changes to a shipped text: what is written for a user comes from what is tested, and a change that no longer finds
//! its place is an error and never a silent omission.

use anyhow::{Result, ensure};

/// One replacement.
pub(super) struct Edit {
    from: String,
    to: String,
    /// Whether `from` stands in the text exactly once; else at least once.
    once: bool,
}

impl Edit {
    /// Of a text that stands there exactly once.
    pub(super) fn once(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into(), once: true }
    }

    /// Of a text that stands there, everywhere.
    pub(super) fn all(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into(), once: false }
    }
}

/// Applies all in one pass, the longer first where two begin at one place: what a user typed is never searched.
///
/// # Errors
/// When an edit does not find its place.
pub(super) fn apply(text: &str, edits: &[Edit]) -> Result<String> {
    let mut found = vec![0_usize; edits.len()];
    let mut edited = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, which, edit)) = next(rest, edits) {
        let (before, matched) = rest.split_at(at);
        edited += before;
        edited += &edit.to;
        rest = matched.strip_prefix(edit.from.as_str()).unwrap_or_default();
        if let Some(count) = found.get_mut(which) {
            *count += 1;
        }
    }
    for (Edit { from, once, .. }, found) in edits.iter().zip(found) {
        let fits = if *once { found == 1 } else { found > 0 };
        ensure!(fits, "{from:?} occurs {found} times in the text that this program ships; that is a mistake in it");
    }
    Ok(edited + rest)
}

/// The first place at which an edit applies, and which.
fn next<'a>(text: &str, edits: &'a [Edit]) -> Option<(usize, usize, &'a Edit)> {
    let places = edits.iter().enumerate().filter_map(|(which, edit)| Some((text.find(&edit.from)?, which, edit)));
    places.min_by_key(|(at, _, edit)| (*at, std::cmp::Reverse(edit.from.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_not_searched_and_the_longer_goes_first() {
        let edits = [Edit::all("web", "web-web"), Edit::once("web: 1", "b: 2"), Edit::once("b", "c")];
        assert_eq!(apply("web: 1, web, b", &edits).unwrap(), "b: 2, web-web, c");
    }

    #[test]
    fn an_edit_that_finds_too_few_or_too_many_places_is_an_error() {
        for (text, edit) in [("a", Edit::once("b", "")), ("a a", Edit::once("a", "")), ("a", Edit::all("b", ""))] {
            assert!(apply(text, &[edit]).unwrap_err().to_string().contains("occurs"));
        }
    }
}
