//! Calls hooks: a POST in the shape that Flagger's webhooks have, any 2xx is a yes.
//!
//! [`Caller`] calls any hook and says what came of it. [`Payload`] is what is sent.

mod caller;
mod concurrency_limits;
mod payload;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use caller::Caller;
pub(crate) use payload::Payload;
