//! What people read of checks, of a canary's status and of its workers, word by word. Events are in `every_note.rs`.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::fleet::Conn;
use rollout::controller::{Controller, Event};
use rollout::release::plan::{Metric, Promotion, ThresholdRange};
use rollout::release::text;
use rollout::release::threshold_checks::{CheckFinding, CheckResult, ChecksVerdict};
use rollout::routing::table::Epoch;
use rollout::view::status;

use fixture::{counts, hello, id, plan, released, report, upstream};

const P95: Metric = Metric::Duration { quantile: 0.95 };

fn finding(metric: Metric, value: Option<f64>, range: [Option<f64>; 2], answer: CheckResult) -> CheckFinding {
    let [min, max] = range;
    CheckFinding {
        check: if metric == Metric::SuccessRate { "request-success-rate".into() } else { "request-duration".into() },
        metric,
        value,
        primary_value: None,
        range: ThresholdRange { min, max },
        requests: 1_400,
        window: Millis::from_secs(60),
        answer,
    }
}

#[test]
fn a_finding_says_by_how_much() {
    use CheckResult::{Fail, Pass, Undecided};
    let rate = Metric::SuccessRate;
    let rows = [
        (
            rate,
            Some(97.5),
            [Some(99.0), None],
            Fail,
            "request-success-rate 97.5 % < min 99 % (by 1.5; 1400 requests in 60 s)",
        ),
        (
            rate,
            Some(98.9996),
            [Some(99.0), None],
            Fail,
            "request-success-rate 98.9996 % < min 99 % (by 0.0004; 1400 requests in 60 s)",
        ),
        (
            rate,
            Some(100.0),
            [None, Some(99.5)],
            Fail,
            "request-success-rate 100 % > max 99.5 % (by 0.5; 1400 requests in 60 s)",
        ),
        (
            P95,
            Some(511.999),
            [None, Some(500.0)],
            Fail,
            "request-duration p95 512 ms > max 500 ms (by 12; 1400 requests in 60 s)",
        ),
        (
            P95,
            Some(0.5),
            [Some(1.0), Some(500.0)],
            Fail,
            "request-duration p95 0.5 ms < min 1 ms (by 0.5; 1400 requests in 60 s)",
        ),
        (
            P95,
            Some(501.0),
            [Some(1.0), Some(500.0)],
            Fail,
            "request-duration p95 501 ms > max 500 ms (by 1; 1400 requests in 60 s)",
        ),
        (
            P95,
            Some(20.09),
            [Some(1.0), Some(500.0)],
            Pass,
            "request-duration p95 20.09 ms (min 1 ms, max 500 ms; 1400 requests in 60 s)",
        ),
        (rate, Some(99.0), [None, None], Pass, "request-success-rate 99 % (no limit; 1400 requests in 60 s)"),
        (
            P95,
            None,
            [None, Some(500.0)],
            Pass,
            "request-duration p95: none of the requests of this step has a latency in the last 60 s",
        ),
    ];
    for (metric, value, range, answer, expected) in rows {
        assert_eq!(text::finding(&finding(metric, value, range, answer)), expected);
    }
    let none = CheckFinding { requests: 0, ..finding(P95, None, [None, Some(500.0)], Undecided) };
    assert_eq!(text::finding(&none), "request-duration p95: no requests of this step in the last 60 s");
    let one = CheckFinding { requests: 1, ..finding(rate, Some(0.0), [Some(99.0), None], Fail) };
    assert_eq!(text::finding(&one), "request-success-rate 0 % < min 99 % (by 99; 1 request in 60 s)");
}

#[test]
fn a_verdict_names_what_forced_it() {
    let good = finding(P95, Some(20.0), [None, Some(500.0)], CheckResult::Pass);
    let bad = finding(Metric::SuccessRate, Some(80.0), [Some(99.0), None], CheckResult::Fail);
    let verdict = |answer, findings| text::verdict(&ChecksVerdict { answer, findings });
    let failed = verdict(CheckResult::Fail, vec![good.clone(), bad]);
    assert_eq!(failed, "request-success-rate 80 % < min 99 % (by 19; 1400 requests in 60 s)");
    let passed = verdict(CheckResult::Pass, vec![good.clone(), good]);
    assert_eq!(passed.matches("p95 20 ms").count(), 2, "all that passed: {passed}");
    assert_eq!(verdict(CheckResult::Pass, vec![]), "no checks configured");
}

#[test]
fn quantiles_and_spans_as_people_write_them() {
    for (quantile, expected) in [(0.5, "d p50"), (0.95, "d p95"), (0.999, "d p99.9"), (0.99999, "d p99.999")] {
        assert_eq!(text::label("d", Metric::Duration { quantile }), expected);
    }
    for (ms, expected) in [
        (0, "0 ms"),
        (1_500, "1500 ms"),
        (10_000, "10 s"),
        (119_000, "119 s"),
        (120_000, "2 min"),
        (130_000, "2 min 10 s"),
        (3_600_000, "60 min"),
    ] {
        assert_eq!(text::span(Millis(ms)), expected);
    }
}

/// A release at 10 % with one worker that reported 90 primary and 10 canary requests, 2 of them bad.
fn after_release() -> Controller {
    let (web, conn, mut controller) = (id("web"), Conn(1), Controller::default());
    let swapping = plan("web", |spec| spec.promotion = Promotion::Swap);
    let verb = released("v2");
    let mut happen = |event, at| controller.handle(event, Millis(at));
    happen(Event::Declared(Box::new(swapping)), 0);
    happen(Event::Connected(conn, hello(1, vec![])), 0);
    happen(Event::Requested(web.clone(), verb), 1_000);
    let epoch = Epoch(4);
    happen(Event::adopted(conn, web.clone(), epoch), 1_000);
    happen(Event::reported(conn, report(1, &web, epoch, [counts(90, 0, 0), counts(8, 2, 0)])), 2_000);
    controller
}

#[test]
fn a_status_has_the_numbers_of_the_release() {
    let controller = after_release();
    let canary = controller.canary(&id("web")).unwrap();
    let status = status::canary(&controller, canary, Millis(4_000));
    assert_eq!((status.phase.as_str(), status.message.as_str()), ("Progressing", "step 1 of 3"));
    assert_eq!((status.weight_percent, status.observed_percent), (10.0, Some(10.0)));
    assert_eq!((status.next_check_ms, status.epoch), (Some(7_000), 4));
    assert_eq!((status.workers_live, status.workers_in_sync, status.workers_lost), (1, 1, 0));
    let [primary, on_canary] = status.versions.as_slice() else { panic!("two versions") };
    assert_eq!((primary.upstream.as_str(), on_canary.upstream.as_str()), ("web-primary", "web-canary"));
    assert_eq!((on_canary.started, on_canary.failed, on_canary.pending), (10, 2, 0));
    assert_eq!((on_canary.success_rate_percent, on_canary.failed_by_class.get("5xx")), (Some(80.0), Some(&2)));
    let [worker] = status::workers(&controller, Millis(4_000)).try_into().unwrap();
    assert_eq!((worker.connected, worker.silent_ms, worker.missing_reports), (true, 2_000, 0));
    let [held] = worker.canaries.try_into().unwrap();
    assert_eq!((held.in_sync, held.requests, held.observed_percent), (true, 100, Some(10.0)));
}

#[test]
fn what_a_proxy_serves_without_an_agent_is_said_truthfully() {
    let mut controller = after_release();
    let says = |controller: &Controller| {
        let status = status::canary(controller, controller.canary(&id("web")).unwrap(), Millis(4_000));
        let served = &status.without_agent;
        let is_wrong = served.contains("differ") || served.contains("canary's") || served.contains("former");
        assert_eq!(status.default_route_wrong, is_wrong, "{served}");
        status.without_agent
    };
    assert_eq!(says(&controller), "web-primary (the primary)");
    let mut say = |conn: u64, default: &str| {
        let mut said = hello(conn, vec![]);
        said.default_upstreams.push((id("web"), upstream(default)));
        controller.handle(Event::Connected(Conn(conn), said), Millis(4_000));
        says(&controller)
    };
    assert_eq!(say(2, "web-canary"), "web-canary, web-primary (the proxies differ)");
    controller.handle(Event::Disconnected(Conn(1)), Millis(4_000));
    let unproven =
        "web-canary (the canary's upstream: move the default route and defaultUpstreams before the next release)";
    assert_eq!(says(&controller), unproven);
    controller.handle(Event::Disconnected(Conn(2)), Millis(4_000));
    assert_eq!(says(&controller), "not known: no live worker");
    let mut said = hello(3, vec![]);
    said.default_upstreams.push((id("web"), upstream("outbound|80||shop")));
    controller.handle(Event::Connected(Conn(3), said), Millis(4_000));
    let neither = "outbound|80||shop (neither primary nor canary: check the default route and defaultUpstreams)";
    assert_eq!(says(&controller), neither);
}
