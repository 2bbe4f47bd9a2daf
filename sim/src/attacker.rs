//! Clients beside the users who mean ill, or have a bad line: how they send, read and leave, and for whom they speak.

use rollout::base::time::Millis;

/// The header by which a client has itself sent to the canary, where the plan has a rule for it.
pub const CHOICE: (&str, &str) = ("x-canary", "always");

/// Clients of one kind. What they get is no user's experience: outcomes do not count it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attacker {
    /// Requests a second, independent of each other.
    pub per_second: f64,
    /// From when on.
    pub from: Millis,
    /// Until when.
    pub until: Millis,
    /// All through this proxy, as over one connection, or through any.
    pub proxy: Option<usize>,
    /// Whom they say they are.
    pub keys: Keys,
    /// Whether they carry [`CHOICE`].
    pub chooses: bool,
    /// How they send and read.
    pub client: Client,
    /// The share of their requests that fail on either version.
    pub failure_rate: f64,
}

/// Whom requests say they come from, where users stay on their version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// They carry no key.
    Absent,
    /// So many keys, in turn.
    Few(u32),
    /// Another for each request.
    Fresh,
}

/// How a client sends its request and takes its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// How much later than the headers the whole request has passed the proxy.
    pub sends_for: Millis,
    /// How much later than its headers the whole answer has passed the proxy.
    pub reads_for: Millis,
    /// When it leaves, counted from its headers, unless all is over before.
    pub leaves_after: Option<Millis>,
}

impl Attacker {
    /// So many requests a second for the whole release, well behaved.
    pub const fn steady(per_second: f64) -> Self {
        Self {
            per_second,
            from: Millis(0),
            until: Millis(u64::MAX),
            proxy: None,
            keys: Keys::Absent,
            chooses: false,
            client: Client { sends_for: Millis(0), reads_for: Millis(0), leaves_after: None },
            failure_rate: 0.0,
        }
    }

    /// So many requests within a tenth of a second.
    pub const fn burst(requests: u32, from: Millis) -> Self {
        Self { from, until: from.plus(Millis(100)), ..Self::steady(requests as f64 * 10.0) }
    }
}
