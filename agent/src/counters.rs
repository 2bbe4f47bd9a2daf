//! What the fleet's streams count: the server adds, the metrics page reads, and neither needs the other for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts of streams and of what came on them.
#[derive(Debug, Default)]
pub(crate) struct StreamCounters {
    open: AtomicUsize,
    malformed: AtomicU64,
    refused: AtomicU64,
}

impl StreamCounters {
    /// Streams open now, welcomed or not.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Frames that broke a rule, since the start.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// Streams refused since the start: no token, wrong protocol, no Hello, too many.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A stream was refused.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// One open stream, counted while this lives.
#[derive(Debug)]
pub(crate) struct CountedStream(Arc<StreamCounters>);

impl CountedStream {
    /// Counts a stream as open.
    pub(crate) fn open(counters: &Arc<StreamCounters>) -> Self {
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }

    /// A frame on it broke a rule.
    pub(crate) fn count_malformed(&self) {
        self.0.malformed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
