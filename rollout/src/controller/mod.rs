//! Engine 2, all that the agent thinks: many releases, many workers, one fold over events. It never waits and never sends.

/// Where one worker's requests went.
pub mod reached;

/// The workers: who they are, what they have in force, which of their reports were folded.
pub mod fleet;

/// What happens to the agent, and what it must do about it.
pub mod events;

/// When tripped fuses are armed again.
pub mod rearm;

/// When rollback hooks are asked beside everything else.
pub mod rollback_watch;

/// One managed canary with all its state; step -> entry.
pub mod canary;

/// Who is called and notified, with what payload.
pub mod notify;

/// The engine.
mod engine;

pub use engine::*;
