//! Every limit of the wire, in one place. They bound the memory and time that a broken or hostile peer can cost.

/// Longest frame a worker may send, in bytes: the greatest report ([`MAX_STRATA`] strata with every bucket filled by
/// counts of [`MAX_COUNT`]) fits. Also tonic's default, so an agent need not raise it.
pub const MAX_FROM_WORKER_BYTES: usize = 4 << 20;
/// Longest frame an agent may send, in bytes: one entry.
pub const MAX_TO_WORKER_BYTES: usize = 256 << 10;
/// Most canaries a Hello may list.
pub use rollout::routing::table::MAX_CANARIES;
/// Most destinations in one report.
pub use rollout::worker::messages::MAX_DESTINATIONS;
/// Most strata in one report.
pub use rollout::worker::messages::MAX_STRATA;
/// Most trips in one report.
pub use rollout::worker::messages::MAX_TRIPS;
/// Greatest count: a worker at 10,000 requests a second reaches it in 890 years, and 2^15 such counts add up in 64 bits.
pub const MAX_COUNT: u64 = 1 << 48;
/// Longest node id, cluster name or filter version, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024;
/// Longest salt of a sticky hash, in bytes.
pub const MAX_SALT_BYTES: usize = 1024;
/// Longest slot in which a worker counts, in milliseconds: a day.
pub const MAX_SLOT_MS: u32 = 86_400_000;
/// Most hosts of one canary.
pub const MAX_HOSTS: usize = 64;
/// Most path prefixes of one canary.
pub const MAX_PATH_PREFIXES: usize = 32;
/// Longest path prefix, in bytes.
pub const MAX_PATH_PREFIX_BYTES: usize = 1024;
/// Most match rules of one canary.
pub const MAX_RULES: usize = 64;
/// Most conditions in one match rule.
pub const MAX_CONDITIONS: usize = 32;
/// Most regexes of one canary; each may need 256 KiB compiled.
pub const MAX_REGEXES: usize = 64;
