//! The end of what a task printed, however much it prints.

use std::sync::{Arc, Mutex, PoisonError};

/// Most output kept of one task, in bytes.
pub(crate) const MAX_BYTES: usize = 64 << 10;

/// Shared by the task that reads and those who ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    /// Adds what was printed; what lies further back than [`MAX_BYTES`] is forgotten.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        let surplus = kept.len().saturating_sub(MAX_BYTES);
        kept.drain(..surplus);
    }

    /// The last `bytes` of it as text; what is no text is replaced.
    pub(crate) fn text(&self, bytes: usize) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut end = kept.get(kept.len().saturating_sub(bytes)..).unwrap_or_default();
        // Not in the middle of a character, if it begins in one.
        while end.len() < kept.len() && end.first().is_some_and(|byte| byte & 0xc0 == 0x80) {
            end = end.get(1..).unwrap_or_default();
        }
        String::from_utf8_lossy(end).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_never_begins_inside_a_character() {
        let tail = Tail::default();
        assert_eq!(tail.text(10), "");
        tail.push("aé".as_bytes());
        tail.push("b\n".as_bytes());
        assert_eq!((tail.text(10).as_str(), tail.text(4).as_str(), tail.text(3).as_str()), ("aéb\n", "éb\n", "b\n"));
        for _ in 0..100 {
            tail.push(&[b'x'; 1000]);
        }
        tail.push(b"end");
        let text = tail.text(usize::MAX);
        assert_eq!(text.len(), MAX_BYTES);
        assert!(text.starts_with('x') && text.ends_with("xend"));
    }
}
