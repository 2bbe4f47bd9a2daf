//! Time spans as they are written in manifests: Go's form, in the units that a rollout needs.

use rollout::base::time::Millis;
use thiserror::Error;

/// Longest span that can be written; no field allows nearly as much.
const MAX_MILLIS: f64 = 1e12;

/// A text is no time span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not a time span; write numbers with units (ms, s, m, h), such as 30s, 1m30s or 500ms")]
pub(crate) struct DurationError;

/// Parses `30s`, `1m`, `1h`, `1m30s`, `500ms`, `1.5s`.
pub(crate) fn parse(text: &str) -> Result<Millis, DurationError> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(DurationError)?;
        let (number, tail) = rest.split_at_checked(digits).ok_or(DurationError)?;
        let length = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(length).ok_or(DurationError)?;
        let millis = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            // Graphite's; its queries get the text as it was written.
            "m" | "min" => 60_000.0,
            "h" => 3_600_000.0,
            _ => return Err(DurationError),
        };
        total += number.parse::<f64>().map_err(|_| DurationError)? * millis;
        rest = next;
    }
    if text.is_empty() || total > MAX_MILLIS { Err(DurationError) } else { Ok(Millis(total.round() as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_gos() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1m", 60_000),
            ("1min", 60_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "1d", "-5s", "1m 30s", "1..5s", "9999999999999h", "1µs", "٣s"] {
            assert_eq!(parse(text), Err(DurationError), "{text}");
        }
    }
}
