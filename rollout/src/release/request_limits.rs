//! Bounds of what people and pipelines ask, for every shell that takes their requests.

use thiserror::Error;

use crate::base::time::Millis;

/// Longest reason, in characters.
pub const MAX_REASON_CHARS: usize = 1024;
/// Longest time until a gate closes by itself, in days.
pub const MAX_OPEN_DAYS: u64 = 90;
/// The same in seconds.
pub const MAX_OPEN_SECONDS: u64 = MAX_OPEN_DAYS * 86_400;

/// A reason that the history does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReasonError {
    /// It has this many characters.
    #[error("has {0} characters; at most {MAX_REASON_CHARS} are allowed: shorten it")]
    TooLong(usize),
    /// It contains this control character.
    #[error("contains {0:?}; it must be one line without control characters")]
    Control(char),
}

/// Why somebody asks: one line, or nothing.
///
/// # Errors
/// When it is too long or more than a line.
pub fn check_reason(reason: &str) -> Result<(), ReasonError> {
    let length = reason.chars().count();
    if length > MAX_REASON_CHARS {
        return Err(ReasonError::TooLong(length));
    }
    reason.chars().find(|c| c.is_control()).map_or(Ok(()), |control| Err(ReasonError::Control(control)))
}

/// How long a gate stays open, from whole seconds; `None` where it is no time or too long a one.
pub const fn open_for(seconds: u64) -> Option<Millis> {
    match seconds {
        1..=MAX_OPEN_SECONDS => Some(Millis::from_secs(seconds)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        assert_eq!(check_reason(""), Ok(()));
        assert_eq!(check_reason(&"é".repeat(MAX_REASON_CHARS)), Ok(()));
        assert_eq!(check_reason(&"é".repeat(MAX_REASON_CHARS + 1)), Err(ReasonError::TooLong(MAX_REASON_CHARS + 1)));
        assert_eq!(check_reason("a\nb"), Err(ReasonError::Control('\n')));
    }

    #[test]
    fn a_gate_is_open_from_a_second_to_ninety_days() {
        assert_eq!([1, 7_776_000].map(open_for), [1, 7_776_000].map(|seconds| Some(Millis::from_secs(seconds))));
        assert_eq!([0, 7_776_001, u64::MAX].map(open_for), [None; 3]);
    }
}
