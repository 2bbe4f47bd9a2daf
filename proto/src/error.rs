//! The one error of the wire: which field, which value, which rule.

use std::fmt;

use thiserror::Error;

/// Longest piece of a refused value that an error repeats, in characters.
const MAX_SHOWN: usize = 80;

/// A message was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {value} {rule}")]
pub struct WireError {
    /// The path of the field, as in `report.strata[2].canary`.
    pub field: String,
    /// Its value, shortened.
    pub value: String,
    /// What is wrong with it and what would be right.
    pub rule: String,
}

impl WireError {
    /// A text that breaks a rule.
    pub(crate) fn text(field: &str, value: &str, rule: impl fmt::Display) -> Self {
        let shown: String = value.chars().take(MAX_SHOWN).collect();
        let tail = if shown.len() < value.len() { "..." } else { "" };
        Self { field: field.into(), value: format!("{shown:?}{tail}"), rule: rule.to_string() }
    }

    /// A number that breaks a rule.
    pub(crate) fn number(field: &str, value: impl fmt::Display, rule: impl fmt::Display) -> Self {
        Self { field: field.into(), value: value.to_string(), rule: rule.to_string() }
    }

    /// A required part that is not there.
    pub(crate) fn missing(field: &str) -> Self {
        Self::number(field, "nothing", "is set, and it is required")
    }

    /// The same error, seen from the message that holds the field.
    pub(crate) fn within(mut self, parent: impl fmt::Display) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

/// Refuses more than `limit` of something.
pub(crate) fn at_most(field: &str, count: usize, limit: usize) -> Result<(), WireError> {
    if count > limit {
        return Err(WireError::number(
            field,
            format_args!("{count} items"),
            format_args!("are too many; at most {limit} are allowed"),
        ));
    }
    Ok(())
}

/// Refuses a text that is too long.
pub(crate) fn bounded(field: &str, text: String, limit: usize) -> Result<String, WireError> {
    if text.len() > limit {
        return Err(WireError::text(
            field,
            &text,
            format_args!("is {} bytes long; at most {limit} are allowed", text.len()),
        ));
    }
    Ok(text)
}

/// Converts each item of a list; an error names the item's place.
pub(crate) fn each<A, B>(
    field: &str,
    items: Vec<A>,
    convert: impl Fn(A) -> Result<B, WireError>,
) -> Result<Vec<B>, WireError> {
    let converted = items.into_iter().enumerate();
    converted.map(|(at, item)| convert(item).map_err(|error| error.within(format_args!("{field}[{at}]")))).collect()
}
