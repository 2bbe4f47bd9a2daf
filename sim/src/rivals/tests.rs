//! The rules against the reference's table, and what each remembers.

use super::*;

const LIMITS: Limits = Limits { failed: 0.01, slow: 1.0 };

fn percent(percent: u32) -> WeightPpm {
    WeightPpm::new(percent * 10_000).unwrap()
}

fn flagger(interval: u64, threshold: u32, failed_checks: FailedChecks) -> RivalRule {
    RivalRule::Flagger { interval: Millis::from_secs(interval), threshold, failed_checks }
}

const fn argo(failure_limit: u32) -> RivalRule {
    RivalRule::Argo { interval: ARGO_INTERVAL, failure_limit }
}

/// When it aborts, in seconds, on 10 requests a tick of which `failed` are bad from `since` seconds on.
fn aborts_at(rival: Rival, failed: u64, since: u64) -> Option<u64> {
    let mut rival = rival;
    (1..=20_000).find_map(|tick| {
        let now = Millis(tick * TICK.0);
        let failed = if now > Millis::from_secs(since) { failed } else { 0 };
        rival.observe(now, Answers { requests: 10, failed, slow: failed }).map(|abort| abort.at.0 / 1000)
    })
}

fn constant(rule: RivalRule) -> Rival {
    Rival::new("", rule, LIMITS, Steps::constant(percent(10)))
}

#[test]
fn a_plain_fault_is_cut_when_the_reference_table_says() {
    // docs/statistics.md, section 10: a fault from the start.
    for (rule, at) in [
        (flagger(10, 2, FailedChecks::Consecutive), 20),
        (flagger(10, 2, FailedChecks::Cumulative), 30),
        (flagger(60, 3, FailedChecks::Consecutive), 180),
        (flagger(60, 3, FailedChecks::Cumulative), 240),
        (argo(0), 30),
        (argo(3), 120),
    ] {
        assert_eq!(aborts_at(constant(rule), 10, 0), Some(at), "{rule:?}");
    }
}

#[test]
fn a_later_fault_must_first_outweigh_the_window() {
    // 10 of 10 bad after 600 s: 6 of the window's 600 are enough, so the first check after it is bad already.
    let rival = constant(flagger(10, 2, FailedChecks::Consecutive)).checking_first_at(Millis(5_000));
    assert_eq!(aborts_at(rival, 10, 600), Some(615));
    assert_eq!(aborts_at(constant(argo(0)), 0, 0), None);
}

#[test]
fn only_the_cumulative_count_remembers_a_failed_check() {
    for (failed_checks, expected) in [(FailedChecks::Cumulative, true), (FailedChecks::Consecutive, false)] {
        let mut rival = constant(flagger(120, 2, failed_checks));
        // Bad in the window of every second check.
        let bad = |tick: u64| u64::from((tick / 1200) % 2 == 1) * 10;
        let aborted = (1..=10_000).any(|tick| {
            rival.observe(Millis(tick * TICK.0), Answers { requests: 10, failed: bad(tick), slow: 0 }).is_some()
        });
        assert_eq!(aborted, expected, "{failed_checks:?}");
    }
}

#[test]
fn a_good_canary_climbs_and_is_promoted() {
    let weights = vec![percent(10), percent(20), percent(50)];
    let steps = Steps { weights, pause: Millis::from_secs(10), promotes: true };
    for rule in [flagger(10, 2, FailedChecks::Cumulative), argo(0)] {
        let mut rival = Rival::new("", rule, LIMITS, steps.clone());
        let mut seen = vec![rival.weight()];
        for tick in 1..=400 {
            rival.observe(Millis(tick * TICK.0), Answers { requests: 10, failed: 0, slow: 0 });
            if seen.last() != Some(&rival.weight()) {
                seen.push(rival.weight());
            }
        }
        assert_eq!(seen, [percent(10), percent(20), percent(50), WeightPpm::ZERO]);
        assert_eq!((rival.promoted(), rival.aborted()), (Some(Millis(30_000)), None));
    }
}

#[test]
fn latency_is_judged_where_it_is_limited_and_no_traffic_never_is() {
    let slow = Answers { requests: 10, failed: 0, slow: 10 };
    for (limit, expected) in [(0.05, true), (1.0, false)] {
        let mut rival = Rival::new("", argo(0), Limits { slow: limit, ..LIMITS }, Steps::constant(percent(10)));
        assert_eq!((1..=300).any(|tick| rival.observe(Millis(tick * TICK.0), slow).is_some()), expected);
    }
    let mut rival = constant(flagger(10, 1, FailedChecks::Consecutive));
    assert!((1..=1000).all(|tick| rival.observe(Millis(tick * TICK.0), Answers::default()).is_none()));
}
