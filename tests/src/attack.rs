//! What clients have done to healthy releases behind a real Envoy: the attacks of `sim::attacks`, with sockets.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::load::{Load, Running};
use crate::manifest::Manifest;
use crate::slow_client::SlowClient;
use crate::stage::Stage;
use crate::streams::headers_alone;

/// Beyond the latency limit of the shipped manifest, 500 ms.
const TOO_LONG: Duration = Duration::from_millis(800);
/// Slow clients a second.
const SLOW_RPS: u64 = 40;
/// Large bodies a second: each takes buffers of megabytes.
const LARGE_RPS: u64 = 4;
/// Requests a second that fail on both versions.
const POISON_RPS: f64 = 40.0;
/// Streams of one connection; a new one each second.
const STREAMS: usize = 100;

/// One attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveAttack {
    /// Bodies that come late.
    SlowUploads,
    /// Answers that are read late.
    SlowDownloads,
    /// The same where the version's time is measured to the last byte.
    SlowDownloadsLastByte,
    /// Clients that leave while they send, wait or read.
    Leavers,
    /// Requests that fail on both versions.
    Poison,
    /// The same from a few users who stay on their version.
    StickyPoison,
    /// HTTP/2 streams of which only the headers come, a hundred on one connection.
    HeaderStreams,
    /// Bodies that neither version reads.
    UnreadUploads,
    /// Another cookie for each request, all failing on both versions.
    InventedCookies,
    /// Requests that a rule sends to the canary because their header asks for it, all failing.
    Chosen,
}

/// Clients that attack until they are dropped.
pub struct Attackers {
    _tasks: Vec<JoinSet<()>>,
    _loads: Vec<Running>,
}

impl LiveAttack {
    /// All, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::SlowUploads,
        Self::SlowDownloads,
        Self::SlowDownloadsLastByte,
        Self::Leavers,
        Self::Poison,
        Self::StickyPoison,
        Self::HeaderStreams,
        Self::UnreadUploads,
        Self::InventedCookies,
        Self::Chosen,
    ];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowUploads => "slow uploads",
            Self::SlowDownloads => "slow downloads, responseHeaders",
            Self::SlowDownloadsLastByte => "slow downloads, lastByte",
            Self::Leavers => "clients that leave early",
            Self::Poison => "poison, steady",
            Self::StickyPoison => "poison, 200 sticky users",
            Self::HeaderStreams => "header-only, one connection",
            Self::UnreadUploads => "unread uploads",
            Self::InventedCookies => "invented cookies, failing",
            Self::Chosen => "chosen by header, failing",
        }
    }

    /// A release that stands at this weight, in percent, and can be attacked so.
    ///
    /// # Errors
    /// When the shipped manifest no longer has the text to replace.
    pub fn manifest(self, weight: &str) -> Result<Manifest> {
        let manifest = Manifest::steady(weight)?.guarded()?;
        match self {
            Self::SlowDownloadsLastByte => {
                manifest.edit("    warmUp: off\n", "    warmUp: off\n    measure: lastByte\n")
            }
            Self::StickyPoison | Self::InventedCookies => manifest.sticky("{ cookie: session }"),
            Self::Chosen => manifest.matching("[{ headers: { x-canary: { exact: always } } }]"),
            _ => Ok(manifest),
        }
    }

    /// Requests of users as this release expects them.
    #[must_use]
    pub fn users(self, stage: &Stage) -> Load {
        let load = stage.load().connections(64);
        match self {
            Self::StickyPoison | Self::InventedCookies => load.headers(|n| session(&format!("user-{}", n % 500))),
            _ => load,
        }
    }

    /// The attack begins.
    ///
    /// # Errors
    /// When Envoy cannot be reached.
    pub async fn start(self, stage: &Stage) -> Result<Attackers> {
        let envoy = stage.envoy.addr();
        let slow = |client: SlowClient, per_second| client.steadily(envoy, per_second, |_| String::new());
        let poison = |load: Load| load.path("/?status=500").connections(32);
        let (mut tasks, mut loads) = (Vec::new(), Vec::new());
        match self {
            Self::SlowUploads => tasks.push(slow(SlowClient::Upload(TOO_LONG), SLOW_RPS)),
            Self::SlowDownloads | Self::SlowDownloadsLastByte => {
                tasks.push(slow(SlowClient::Download(TOO_LONG), LARGE_RPS));
            }
            Self::Leavers => tasks.extend([
                slow(SlowClient::LeavesUpload(TOO_LONG), SLOW_RPS),
                slow(SlowClient::LeavesWaiting(Duration::ZERO), SLOW_RPS),
                slow(SlowClient::LeavesDownload(TOO_LONG), LARGE_RPS),
            ]),
            Self::Poison => loads.push(poison(stage.load()).start(POISON_RPS).await?),
            Self::StickyPoison => {
                let load = stage.load().headers(|n| session(&format!("bad-{}", n % 200)));
                loads.push(poison(load).start(POISON_RPS).await?);
            }
            Self::HeaderStreams => tasks.push(stream_after_stream(envoy)),
            Self::UnreadUploads => {
                for version in [&stage.versions.primary, &stage.versions.canary] {
                    version.set(|it| it.leaves_uploads = true);
                }
                tasks.push(slow(SlowClient::LeavesLargeUpload(TOO_LONG), LARGE_RPS));
                tasks.push(slow(SlowClient::LeavesUpload(TOO_LONG), SLOW_RPS));
            }
            Self::InventedCookies => {
                let load = stage.load().headers(|n| session(&format!("invented-{n}")));
                loads.push(poison(load).start(POISON_RPS).await?);
            }
            Self::Chosen => {
                let load = stage.load().headers(|_| vec![("x-canary".to_owned(), "always".to_owned())]);
                loads.push(poison(load).start(POISON_RPS).await?);
            }
        }
        Ok(Attackers { _tasks: tasks, _loads: loads })
    }
}

fn session(user: &str) -> Vec<(String, String)> {
    vec![("cookie".to_owned(), format!("session={user}"))]
}

/// A new connection each second, whose streams are given up after 800 ms.
fn stream_after_stream(envoy: SocketAddr) -> JoinSet<()> {
    let mut all = JoinSet::new();
    all.spawn(async move {
        let mut clients = JoinSet::new();
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            clients.spawn(headers_alone(envoy, STREAMS, TOO_LONG));
            while clients.try_join_next().is_some() {}
        }
    });
    all
}
