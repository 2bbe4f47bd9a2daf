//! What breaks, at moments that the scenario names.

use rollout::base::time::Millis;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// A worker's process dies with all that it had not reported; another begins in its place. Its traffic goes to the
    /// other proxies meanwhile.
    WorkerCrash {
        /// Which, counted from 0.
        proxy: usize,
        /// How long until the next one lives.
        away: Millis,
    },
    /// kill -9 of the agent: events that were not stored are lost. It starts again from its journal.
    AgentCrash {
        /// How long until it runs again.
        away: Millis,
    },
    /// A worker's stream breaks; what was under way on it is gone.
    StreamBreak {
        /// Whose, counted from 0.
        proxy: usize,
    },
    /// Nothing gets through between a worker and the agent; what was sent comes late, if the stream is not given up.
    Partition {
        /// Whose, counted from 0.
        proxy: usize,
        /// For how long.
        lasts: Millis,
    },
}
