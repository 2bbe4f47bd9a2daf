//! Calls hooks: a POST in the shape that Flagger's webhooks have; any 2xx approves.

/// The body that is sent.
mod payload;

/// Headers from secrets, and the signature.
mod request;

/// How many calls may be in progress.
mod concurrency_limits;

/// Calls a hook, with repetitions, and reports its answer.
mod caller;

#[cfg(test)]
mod tests;

pub(crate) use caller::Caller;
pub(crate) use payload::Payload;
