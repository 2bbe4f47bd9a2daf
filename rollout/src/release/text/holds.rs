//! Why a release does not advance, in words that say what to do.

use super::objections;
use crate::release::phase::Hold;

/// Why a release does not advance.
pub fn hold(hold: &Hold) -> String {
    match hold {
        Hold::NoTraffic => "no canary traffic on this step, so there is nothing to judge".into(),
        Hold::Undecided => {
            "this step's requests do not prove the thresholds yet; `serin explain` shows the progress".into()
        }
        Hold::Approval { purpose, refused } if refused.is_empty() => {
            format!("{} approved; waiting for good requests", purpose.kind().name())
        }
        Hold::Approval { purpose, refused } => {
            format!("waiting for {}: {}", purpose.kind().name(), objections(refused))
        }
        Hold::Stop => "the plan stops at this step; `serin resume` continues".into(),
        Hold::Suspended => "the manifest says suspend: true".into(),
        Hold::Unsupported => {
            "the manifest asks for checks, hooks or settings that this build cannot honour (`serin describe` lists them); \
             continue without them: `serin release … --accept-unsupported`"
                .into()
        }
        Hold::DefaultUpstream { node, upstream } => {
            format!("proxy {node} sends requests to {upstream} by default, so it would serve unproven code without an agent")
        }
        Hold::Misrouted { cluster } => {
            format!(
                "the proxies' routes send the canary's requests to cluster {cluster}, where the primary's go, so this \
                 step's evidence is void: in front of each route in scope there must be one that matches the decision \
                 header (x-serin-upstream); a cluster that both share on purpose belongs in the filter's `sharedClusters`"
            )
        }
        Hold::NoLatency => {
            "no request of this step has a latency that counts: none has during the warm-up (`analysis.warmUp`), nor while \
             it is open"
                .into()
        }
        Hold::WorkersGone => {
            "more than 5 % of this step's requests were with proxy workers that are gone, so how they ended is missing; \
             it goes on once enough others have come (`serin explain`)"
                .into()
        }
        Hold::Fuse { node } => {
            format!("the fuse of proxy {node} has tripped; it is rearmed after a delay unless the guards abort the canary")
        }
    }
}
