//! A/B/n on a real Envoy: two candidates at once beside the primary, each with its own users, numbers and end.
#![cfg(test)]

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rollout::view::status::{CanaryStatus, VersionStatus};
use tests::agent::Agent;
use tests::case::Case;
use tests::chance::two_sided;
use tests::edit::replace_once;
use tests::envoy::{Envoy, EnvoySetup};
use tests::load::Load;
use tests::samples::Samples;
use tests::stage::{WITHIN, WORKERS, ensure_all_from};
use tests::upstream::{Behaviour, Upstream};
use tests::wait::until;

/// The manifest that users copy.
const WEB: &str = include_str!("../../envoy-config/versions/web.yaml");
/// A bound that a right split breaks once in a million runs.
const RARE: f64 = 1e-6;

/// Blue and green, the primary, an agent and an Envoy.
struct Contest {
    blue: Upstream,
    green: Arc<Upstream>,
    _primary: Upstream,
    agent: Agent,
    envoy: Envoy,
}

/// The shipped configuration with web-canary named web-blue, and its route and cluster once more for web-green.
fn with_green(text: &str, port: u16) -> Result<String> {
    let text = text.replace("web-canary", "web-blue");
    let route = between(&text, "                        - match:\n", "                        - match:\n")?;
    ensure!(route.contains("exact: web-blue"), "{route}");
    let text = replace_once(&text, &route, &format!("{route}{}", route.replace("web-blue", "web-green")))?;
    let start = text.find("    - name: web-blue\n").context("no cluster web-blue")?;
    let (before, cluster) = text.split_at(start);
    // Copies are not measured here; an alias of the one VM would do it.
    let end = cluster.find("      # No filter").context("no end")?;
    let load = cluster.find("      load_assignment:").context("no addresses")?;
    let own = [&cluster[..end], &cluster[load..]].concat().replace("web-blue", "web-green");
    let own = own.replace("port_value: 8082", &format!("port_value: {port}"));
    Ok(format!("{before}{cluster}{own}"))
}

fn between(text: &str, start: &str, end: &str) -> Result<String> {
    let at = text.find(start).context("no start")?;
    let length = text[at + start.len()..].find(end).context("no end")?;
    Ok(text[at..at + start.len() + length].to_owned())
}

impl Contest {
    /// With these changes to the shipped manifest.
    async fn start(case: &Case, changes: &[(&str, &str)]) -> Result<Self> {
        let [primary, blue, green] =
            [("v1", 7), ("blue", 8), ("green", 9)].map(|(v, seed)| (Behaviour::healthy(v), seed));
        let primary = Upstream::start(primary.0, primary.1).await?;
        let blue = Upstream::start(blue.0, blue.1).await?;
        let green = Arc::new(Upstream::start(green.0, green.1).await?);
        let mut manifest = WEB.to_owned();
        for (from, to) in changes {
            manifest = replace_once(&manifest, from, to)?;
        }
        case.file("canaries/web.yaml", &manifest)?;
        let agent = Agent::start(case.dir(), &case.dir().join("canaries")).await?;
        let port = green.addr().port();
        let setup = EnvoySetup::new(primary.addr(), blue.addr()).agent(agent.grpc());
        let envoy = Envoy::start(case.dir(), setup.edit(move |text| with_green(text, port))).await?;
        let contest = Self { blue, green, _primary: primary, agent, envoy };
        contest.in_sync().await?;
        Ok(contest)
    }

    fn load(&self) -> Load {
        Load::new(self.envoy.addr())
    }

    async fn status(&self, version: &str) -> Result<CanaryStatus> {
        let page = self.agent.api(&format!("/api/v1/canaries/default/web.{version}")).await?;
        Ok(serde_json::from_value(page)?)
    }

    async fn in_sync(&self) -> Result<()> {
        until("all workers in sync", WITHIN, async || {
            for version in ["blue", "green"] {
                let CanaryStatus { workers_live, workers_in_sync, .. } = self.status(version).await?;
                ensure!((workers_live, workers_in_sync) == (WORKERS, WORKERS), "{workers_in_sync} of {workers_live}");
            }
            Ok(())
        })
        .await
    }

    async fn release(&self) -> Result<()> {
        for version in ["blue", "green"] {
            self.agent.cli(&["release", &format!("web.{version}"), "--revision", version]).await?.ok()?;
        }
        self.in_sync().await
    }

    async fn phase(&self, version: &str, phase: &str) -> Result<CanaryStatus> {
        until(&format!("{version} {phase}"), WITHIN, async || {
            let status = self.status(version).await?;
            ensure!(status.phase == phase, "{}: {}", status.phase, status.message);
            Ok(status)
        })
        .await
    }

    async fn confirm(&self, version: &str) -> Result<()> {
        self.agent.cli(&["confirm", &format!("web.{version}")]).await?.ok()?;
        self.phase(version, "Succeeded").await?;
        ensure_all_from(&self.load().exactly(300).await?, "v1")
    }

    /// What both versions' totals add up to, once so many requests have ended: primary, blue, green, each with what failed.
    async fn totals(&self, requests: u64) -> Result<[(u64, u64); 3]> {
        until("all requests counted", WITHIN, async || {
            let (blue, green) = (self.status("blue").await?.totals, self.status("green").await?.totals);
            let of = |totals: &[VersionStatus], name: &str| {
                let found = totals.iter().find(|total| total.version == name);
                found.map_or((0, 0), |total| (total.started, total.failed))
            };
            let (one, other) = (of(&blue, "primary"), of(&green, "primary"));
            let all = [(one.0 + other.0, one.1 + other.1), of(&blue, "canary"), of(&green, "canary")];
            let pending: u64 = blue.iter().chain(&green).map(|total| total.pending).sum();
            let started: u64 = all.iter().map(|(started, _)| started).sum();
            ensure!((started, pending) == (requests, 0), "{started} of {requests}, {pending} pending");
            Ok(all)
        })
        .await
    }

    async fn by_envoy(&self, cluster: &str) -> Result<(u64, u64)> {
        let counters = self.envoy.stats(&format!("cluster.{cluster}.upstream_rq_")).await?;
        let read = |name: &str| counters.get(&format!("cluster.{cluster}.upstream_rq_{name}")).copied().unwrap_or(0);
        Ok((read("total"), read("5xx")))
    }
}

fn near(samples: &Samples, version: &str, share: f64) {
    let (all, count) = (samples.count(), samples.count_of(version));
    let chance = two_sided(all, count, share);
    assert!(chance >= RARE, "{version} got {count} of {all} at {share}: chance {chance:e}");
}

/// Checks that nobody leaves a weight by, in place of the certificate.
const STEADY: &[(&str, &str)] = &[
    ("[1, 5, 10, 20]", "[20]"),
    ("    advance: certificate\n", "    advance: interval\n    interval: 1h\n    threshold: 3\n"),
];

#[tokio::test]
async fn each_version_gets_its_share_and_its_lane_is_counted_as_envoy_counts() -> Result<()> {
    Case::run("versions-share", async |case| {
        let contest = Contest::start(case, STEADY).await?;
        ensure_all_from(&contest.load().exactly(100).await?, "v1")?;
        contest.release().await?;
        let samples = contest.load().exactly(4_000).await?;
        for version in ["blue", "green"] {
            near(&samples, version, 0.2);
        }
        near(&samples, "v1", 0.6);
        assert_eq!(samples.bad(), 0);
        // By header whatever the weight, and only that version.
        let asked = contest.load().headers(|_| vec![("x-version".into(), "green".into())]).exactly(200).await?;
        ensure_all_from(&asked, "green")?;
        let [primary, blue, green] = contest.totals(4_300).await?;
        for (counted, cluster) in [(primary, "web-primary"), (blue, "web-blue"), (green, "web-green")] {
            assert_eq!(counted, contest.by_envoy(cluster).await?, "{cluster}");
        }
        let observed = contest.status("blue").await?.observed_percent.context("nothing observed")?;
        assert!((15.0..25.0).contains(&observed), "{observed} % of all traffic");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_bad_version_is_cut_and_the_other_is_proven_chosen_and_promoted() -> Result<()> {
    Case::run("versions-abort", async |case| {
        let certified = [
            ("[1, 5, 10, 20]", "[30, 40]"),
            ("advance: certificate\n", "advance: certificate\n    certificate: { minDwell: 1s }\n"),
        ];
        let mut contest = Contest::start(case, &certified).await?;
        contest.green.set(|it| it.fail_ratio = 0.5);
        let load = contest.load().start(400.0).await?;
        contest.release().await?;
        let aborted = contest.phase("green", "Failed").await?;
        assert!(aborted.message.contains("guard"), "{}", aborted.message);
        let waiting = contest.phase("blue", "WaitingPromotion").await?;
        assert_eq!(
            (waiting.weight_percent, waiting.message.contains("gate winner is closed")),
            (40.0, true),
            "{waiting:?}"
        );
        let bad = contest.green.counts().failures;
        assert!((1..60).contains(&bad), "{bad} requests failed before green was aborted");
        // Killed while it waits, it waits on, and nothing of green's comes back.
        contest.agent.kill9()?;
        contest.agent.start_again().await?;
        contest.in_sync().await?;
        assert_eq!(
            [contest.status("blue").await?.phase, contest.status("green").await?.phase],
            ["WaitingPromotion", "Failed"]
        );
        contest.agent.cli(&["gate", "open", "web.blue", "winner", "--reason", "it sells more"]).await?.ok()?;
        contest.phase("blue", "Promoting").await?;
        assert!(contest.blue.counts().requests > 100);
        assert_eq!(contest.green.counts().failures, bad);
        drop(load);
        contest.confirm("blue").await
    })
    .await
}

#[tokio::test]
async fn users_stay_where_they_are_and_the_chosen_version_ends_the_other() -> Result<()> {
    Case::run("versions-choice", async |case| {
        let sticky = ("  # sticky: { cookie: session }\n", "  sticky: { cookie: session }\n");
        let contest = Contest::start(case, &[STEADY, &[sticky]].concat()).await?;
        contest.release().await?;
        let users = |n: u64| vec![("cookie".to_owned(), format!("session=user-{}", n % 500))];
        let seen = async |contest: &Contest| -> Result<Vec<String>> {
            let mut samples = contest.load().headers(users).exactly(1_000).await?;
            samples.0.sort_by_key(|sample| sample.index);
            samples.0.into_iter().map(|sample| sample.version.context("no version")).collect()
        };
        let first = seen(&contest).await?;
        assert_eq!(first[..500], first[500..], "everyone twice");
        let on = |version: &str| first.iter().filter(|seen| *seen == version).count() as u64 / 2;
        for version in ["blue", "green"] {
            let chance = two_sided(500, on(version), 0.2);
            assert!(chance >= RARE, "{version} has {} of 500 users: chance {chance:e}", on(version));
        }
        let refused = contest.agent.cli(&["promote", "web", "--reason", "which?"]).await?;
        assert!(
            refused.stderr.contains("has several versions; name one: default/web.blue, default/web.green"),
            "{refused:?}"
        );
        contest.agent.cli(&["promote", "web.green", "--reason", "it sells more"]).await?.ok()?;
        let ended = contest.phase("blue", "Failed").await?;
        assert!(ended.message.contains("web.green is promoted instead, with green"), "{}", ended.message);
        contest.in_sync().await?;
        let then = seen(&contest).await?;
        for (before, after) in first.iter().zip(&then) {
            let expected = if before == "blue" { "v1" } else { before.as_str() };
            assert_eq!(after, expected, "blue's users are the primary's, all others stay");
        }
        let refused = contest.agent.cli(&["release", "web.blue", "--revision", "again"]).await?;
        assert!(refused.stderr.contains("default/web.green is Promoting"), "{refused:?}");
        let table = contest.agent.cli(&["get", "web"]).await?.ok()?;
        assert!(table.contains("web.blue") && table.contains("web.green"), "{table}");
        contest.confirm("green").await
    })
    .await
}
