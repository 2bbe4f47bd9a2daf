//! The agent's end of the stream: opens with a proxy, gives it an entry, and reads what it reports.

use rollout::base::names::{CanaryId, Upstream};
use rollout::base::time::{Micros, Millis};
use rollout::routing::measurement::{Measurement, WarmUp};
use rollout::routing::table::{Entry, Epoch, Routing, Scope, Split, WeightPpm};
use rollout::worker::fuse::{FusePlan, Ppb};
use rollout::worker::messages::{PROTOCOL, Report, ToAgent, ToWorker};

use super::{Proxy, open_stream, sent};

/// A configuration that names an agent and nothing else.
pub const WITH_AGENT: &str = r#"{"agent":"127.0.0.1:7070"}"#;
/// Above it an answer is slow, where a test limits latency.
pub const LIMIT: Micros = Micros(500_000);

pub fn web() -> CanaryId {
    CanaryId::new("prod", "web").unwrap()
}

/// An entry that gives the canary all of `web`, without a limit, a warm-up or a fuse, but for what `edit` changes.
pub fn entry(epoch: u64, edit: impl FnOnce(&mut Split)) -> ToWorker {
    let mut split = Split {
        canary: Upstream::parse("web-canary").unwrap(),
        weight: WeightPpm::WHOLE,
        mirror: WeightPpm::ZERO,
        rules: vec![],
        sticky: None,
        salt: "prod/web#1".into(),
        slot: Millis(100),
        latency_limit: None,
        measurement: Measurement { warm_up: WarmUp::NONE, ..Measurement::USUAL },
        fuse: None,
    };
    edit(&mut split);
    let (scope, primary) = (Scope::of_service(&web()), Upstream::parse("web-primary").unwrap());
    let routing = Some(Routing { scope, primary, split: Some(split) });
    ToWorker::Entry(Box::new(Entry { canary: web(), epoch: Epoch(epoch), routing }))
}

/// A fuse for 1 % of failures and 5 % of slow answers, which forgives nothing.
pub fn fuse() -> FusePlan {
    FusePlan {
        failed: Some(Ppb::nearest(0.01)),
        slow: Some(Ppb::nearest(0.05)),
        alpha: Ppb::nearest(0.01 / 16.0),
        max_cluster: 1,
        unless_primary_also: [false; 2],
    }
}

/// A proxy whose stream is open and welcomed.
pub fn connected(config: &str) -> (Proxy, u32) {
    let proxy = Proxy::start(config);
    proxy.tick();
    let (token, _) = open_stream().expect("the first tick opens a stream");
    proxy.receive(token, &ToWorker::Welcome(PROTOCOL));
    (proxy, token)
}

/// What was reported on a stream.
pub fn reports(token: u32) -> Vec<Report> {
    let reports = sent(token).into_iter().filter_map(|message| match message {
        ToAgent::Report(report) => Some(report),
        _ => None,
    });
    reports.collect()
}
