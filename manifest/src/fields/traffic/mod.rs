//! Which requests are meant, and to which version each goes.

// `service`: hosts and path prefix.
pub(crate) mod service;

// What `match` means to Flagger's providers.
pub(crate) mod providers;

// `match`: headers and cookies that choose the canary.
pub(crate) mod rules;

// `versions`: several canaries of one primary.
pub(crate) mod versions;

// `sessionAffinity`: users who stay on their version.
pub(crate) mod affinity;
