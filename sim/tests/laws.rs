//! Random situations: whatever breaks at whatever time, every law holds.

#![cfg(test)]

mod fixture;

use fixture::{plan, scenario};
use proptest::prelude::*;
use rollout::base::time::Millis;
use rollout::judgement::certificate::Certificate;
use rollout::release::plan::{Advance, Promotion};
use rollout::routing::table::StickyKey;
use sim::behaviour::{Behaviour, Course, Failing, Latency};
use sim::mishaps::Mishap;
use sim::network::Network;
use sim::scenario::{Arrivals, Incident, Proxy, Scenario, Traffic, Users};

/// The longest that a mishap or fault waits, in milliseconds; releases take 6 s where nothing holds them.
const SPAN_MS: u64 = 8_000;

fn span(most: u64) -> impl Strategy<Value = Millis> {
    (0..most).prop_map(Millis)
}

fn course() -> impl Strategy<Value = Course> {
    let rate = || prop_oneof![3 => 0.0..0.005f64, 1 => 0.0..1.0f64];
    prop_oneof![
        3 => rate().prop_map(Course::Constant),
        1 => (rate(), span(SPAN_MS), rate()).prop_map(|(before, at, after)| Course::From { before, at, after }),
        1 => (rate(), span(SPAN_MS), span(SPAN_MS), rate()).prop_map(|(before, from, lasts, after)| {
            Course::Ramp { before, from, until: from.plus(lasts), after }
        }),
    ]
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    let failing = prop_oneof![
        Just(Failing::Fast),
        Just(Failing::LikeSuccess),
        span(2_000).prop_map(Failing::TimesOut),
        Just(Failing::Hangs),
    ];
    let latency = (1u64..300, 0.0..1.5f64).prop_map(|(median, sigma)| Latency { median: Millis(median), sigma });
    let slower = prop::option::weighted(0.2, (span(SPAN_MS), span(1_000)));
    (course(), failing, latency, slower).prop_map(|(failure_rate, failing, latency, slower)| Behaviour {
        failure_rate,
        failing,
        latency,
        slower,
    })
}

fn mishap() -> impl Strategy<Value = (Millis, Mishap)> {
    let proxy = || 0usize..3;
    let what = prop_oneof![
        (proxy(), span(2_000)).prop_map(|(proxy, away)| Mishap::WorkerCrash { proxy, away }),
        span(3_000).prop_map(|away| Mishap::AgentCrash { away }),
        proxy().prop_map(|proxy| Mishap::StreamBreak { proxy }),
        (proxy(), span(12_000)).prop_map(|(proxy, lasts)| Mishap::Partition { proxy, lasts }),
    ];
    (span(SPAN_MS), what)
}

fn network() -> impl Strategy<Value = Network> {
    let lives = prop::option::weighted(0.3, (500u64..10_000).prop_map(Millis));
    (span(20), span(60), prop_oneof![Just(0.0), 0.0..0.5f64], lives)
        .prop_map(|(delay, jitter, repeats, streams_live)| Network { delay, jitter, repeats, streams_live })
}

fn traffic() -> impl Strategy<Value = Traffic> {
    let arrivals = prop_oneof![Just(Arrivals::Poisson), Just(Arrivals::Even)];
    let users = (1u32..500, 0u32..5, 0.0..0.5f64, span(2_000)).prop_map(|(count, heavy, heavy_share, spell)| Users {
        count,
        heavy,
        heavy_share,
        spell,
    });
    (5.0..150.0f64, arrivals, prop::option::of(users), 0u32..3).prop_map(
        |(per_second, arrivals, users, client_retries)| Traffic { per_second, arrivals, users, client_retries },
    )
}

fn proxies() -> impl Strategy<Value = Vec<Proxy>> {
    let proxy = (0.1..5.0f64, 0.0..0.01f64, prop_oneof![3 => Just(Millis(0)), 1 => span(1_500)])
        .prop_map(|(part, failure_rate, slow_by)| Proxy { part, failure_rate, slow_by });
    prop::collection::vec(proxy, 1..4)
}

/// Mostly a disk; now and then a store that takes seconds.
fn storage_delay() -> impl Strategy<Value = Millis> {
    prop_oneof![4 => span(300), 1 => span(6_000)]
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let incident = (span(SPAN_MS), span(3_000), 0.0..1.0f64).prop_map(|(from, lasts, failure_rate)| Incident {
        from,
        until: from.plus(lasts),
        failure_rate,
    });
    let world = (proxies(), traffic(), network(), behaviour(), behaviour());
    let troubles =
        (prop::collection::vec(incident, 0..2), prop::collection::vec(mishap(), 0..6), storage_delay(), span(2_000));
    // Batches of every size, cut at every place.
    let busy = prop_oneof![1 => Just(Millis(0)), 2 => span(250)];
    (world, troubles, busy, any::<[bool; 3]>()).prop_map(|(world, troubles, busy, [is_sticky, is_swap, certifies])| {
        scenario(|scenario| {
            (scenario.proxies, scenario.traffic, scenario.network, scenario.primary, scenario.canary) = world;
            (scenario.incidents, scenario.mishaps, scenario.storage_delay, scenario.promotion_takes) = troubles;
            scenario.agent_busy = busy;
            scenario.watched_for = Millis(20_000);
            scenario.warm_up = Millis(3_000);
            scenario.plan = plan(|spec| {
                spec.interval = Millis(2_000);
                spec.sticky = is_sticky.then(|| StickyKey::Header("x-user".into()));
                if certifies {
                    spec.advance =
                        Advance::Certificate(Certificate { min_dwell: Millis::SECOND, ..Certificate::USUAL });
                }
                if is_swap {
                    spec.promotion = Promotion::Swap;
                }
            });
        })
    })
}

/// Cases of a random test; `cargo xtask soak` multiplies them.
fn cases(cases: u32) -> ProptestConfig {
    let times = std::env::var("SERIN_SOAK").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases.saturating_mul(times)) }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn no_law_breaks_whatever_else_does(scenario in scenarios(), seed: u64) {
        if let Err(broken) = sim::run_checked(&scenario, seed) {
            return Err(TestCaseError::fail(format!("seed {seed}: {broken}")));
        }
    }
}
