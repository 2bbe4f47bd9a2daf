//! Which events the archive's thread did not get, because its queue was full.

use std::sync::{Mutex, PoisonError};

/// The numbers of the first and the last event that is missing, since the thread was there.
#[derive(Debug, Default)]
pub(super) struct Gap(Mutex<Option<(u64, u64)>>);

impl Gap {
    /// Events from this number to that one are missing.
    pub(super) fn note(&self, from: u64, to: u64) {
        let mut gap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *gap = Some(gap.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
    }

    /// The thread has come to where all before this number has been added: whether what is being recorded lacks something
    /// by now. A release that begins within the gap is asked for again, and one that begins behind it lacks nothing.
    pub(super) fn reaches(&self, number: u64) -> bool {
        let mut gap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((first, last)) = *gap else { return false };
        gap.take_if(|_| number > last);
        number > first
    }
}

#[cfg(test)]
mod tests {
    use super::Gap;

    #[test]
    fn it_reaches_from_its_first_event_until_its_last_has_gone_by() {
        let gap = Gap::default();
        assert!(!gap.reaches(9));
        gap.note(5, 5);
        gap.note(7, 8);
        let reached: Vec<u64> = (4..=11).filter(|number| gap.reaches(*number)).collect();
        assert_eq!(reached, [6, 7, 8, 9]);
    }
}
