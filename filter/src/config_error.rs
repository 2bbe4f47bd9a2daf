//! The one error of the configuration: which field, and which rule its value breaks.

use thiserror::Error;

/// A configuration was refused: field, value, rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {rule}")]
pub(crate) struct ConfigError {
    field: String,
    rule: String,
}

impl ConfigError {
    pub(crate) fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

/// A number within its range, both ends included.
///
/// # Errors
/// When it lies outside, or is not a number.
pub(crate) fn bounded(field: &str, value: f64, min: f64, max: f64) -> Result<f64, ConfigError> {
    if !(min..=max).contains(&value) {
        return Err(ConfigError::new(field, format!("{value} is outside {min} to {max}")));
    }
    Ok(value)
}
