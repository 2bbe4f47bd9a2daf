//! Arbitrary messages within the limits.
#![allow(unreachable_pub, reason = "a module shared by test binaries")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use rollout::base::names::{CanaryId, Upstream};
use rollout::base::time::{Micros, Millis};
use rollout::routing::cookie::{CookieSpec, IssuedCookie, SameSite};
use rollout::routing::destination::Destination;
use rollout::routing::failure_codes::FailureCodes;
use rollout::routing::lane::Lane;
use rollout::routing::measurement::{LatencyEnd, Measurement, WarmUp};
use rollout::routing::outcome::{FailureClass, Outcome};
use rollout::routing::request::{MatchRule, Pattern, StringMatch};
use rollout::routing::route::Placement;
use rollout::routing::table::{Entry, Epoch, Routing, Scope, Split, StickyKey, Version, WHOLE_PPM, WeightPpm};
use rollout::worker::fuse::{FusePlan, FuseTest, MAX_CLUSTER, Ppb};
use rollout::worker::messages::{Hello, Incarnation, Protocol, Report, Sampled, ToAgent, ToWorker, Trip, Watermark};
use rollout::worker::tally::{Counts, Repeated, Slot, Stratum, Timed, TimedEnd};

pub fn to_agent() -> impl Strategy<Value = ToAgent> {
    prop_oneof![
        hello().prop_map(ToAgent::Hello),
        report().prop_map(ToAgent::Report),
        (canary(), epoch()).prop_map(|(canary, epoch)| ToAgent::Adopted(canary, epoch)),
        Just(ToAgent::Beat),
    ]
}

pub fn to_worker() -> impl Strategy<Value = ToWorker> {
    prop_oneof![
        1 => protocol().prop_map(ToWorker::Welcome),
        1 => (1u64..).prop_map(ToWorker::Received),
        1 => (1u64..).prop_map(ToWorker::Stored),
        6 => entry().prop_map(|entry| ToWorker::Entry(Box::new(entry))),
        1 => Just(ToWorker::Beat),
    ]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    any::<(u32, u32)>().prop_map(|(major, minor)| Protocol { major, minor })
}

fn canary() -> impl Strategy<Value = CanaryId> {
    "[a-zA-Z0-9._-]{1,20}/[a-zA-Z0-9._-]{1,20}".prop_map(|text| CanaryId::parse(&text).unwrap())
}

fn upstream() -> impl Strategy<Value = Upstream> {
    "[a-z0-9|:/~._-]{1,30}".prop_map(|text| Upstream::parse(&text).unwrap())
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (1u64..).prop_map(Epoch)
}

fn hello() -> impl Strategy<Value = Hello> {
    (
        protocol(),
        any::<u64>(),
        (".{0,40}", ".{0,40}", ".{0,40}"),
        vec((canary(), epoch()), 0..5),
        vec((canary(), upstream()), 0..5),
        vec(trip(), 0..3),
    )
        .prop_map(|(protocol, incarnation, texts, adopted, default_upstreams, trips)| Hello {
            protocol,
            incarnation: Incarnation(incarnation),
            node: texts.0,
            cluster: texts.1,
            filter_version: texts.2,
            adopted,
            default_upstreams,
            trips,
        })
}

fn report() -> impl Strategy<Value = Report> {
    let strata = vec((stratum(), counts()), 0..6);
    (1u64.., strata, vec(watermark(), 0..4), vec(trip(), 0..3), vec(sampled(), 0..3)).prop_map(
        |(number, strata, watermarks, trips, destinations)| Report { number, strata, watermarks, trips, destinations },
    )
}

fn sampled() -> impl Strategy<Value = Sampled> {
    let destination =
        (".{1,40}", ".{1,20}").prop_map(|(cluster, address)| Destination::parse(cluster, address).unwrap());
    (canary(), epoch(), select(&Version::ALL[..]), destination, any::<bool>(), 1u64..1 << 48).prop_map(
        |(canary, epoch, version, destination, is_shared, requests)| Sampled {
            canary,
            epoch,
            version,
            destination,
            is_shared,
            requests,
        },
    )
}

fn trip() -> impl Strategy<Value = Trip> {
    (canary(), epoch(), select(&FuseTest::ALL[..]), 1u64..1 << 48, 0u64..1 << 47).prop_map(
        |(canary, epoch, test, events, more)| Trip {
            canary,
            epoch,
            test,
            events,
            trials: (events + more).min(1 << 48),
        },
    )
}

fn fuse() -> impl Strategy<Value = FusePlan> {
    let ppb = || (1u32..1_000_000_000).prop_map(|ppb| Ppb::new(ppb).unwrap());
    (option::of(ppb()), option::of(ppb()), ppb(), 1..=MAX_CLUSTER, any::<[bool; 2]>())
        .prop_filter("a fuse has a limit", |(failed, slow, ..)| failed.is_some() || slow.is_some())
        .prop_map(|(failed, slow, alpha, max_cluster, unless_primary_also)| FusePlan {
            failed,
            slow,
            alpha,
            max_cluster,
            unless_primary_also,
        })
}

fn stratum() -> impl Strategy<Value = Stratum<CanaryId>> {
    let placements =
        [Placement::Drawn, Placement::Sticky, Placement::Matched, Placement::FailSafe, Placement::Mirrored];
    (canary(), any::<u64>(), select(&Version::ALL[..]), select(placements.to_vec()), any::<u32>()).prop_map(
        |(canary, epoch, version, placement, slot)| Stratum {
            canary,
            epoch: Epoch(epoch),
            version,
            placement,
            slot: Slot(slot),
        },
    )
}

fn watermark() -> impl Strategy<Value = Watermark> {
    (canary(), any::<u64>(), any::<u32>()).prop_map(|(canary, epoch, slot)| Watermark {
        canary,
        epoch: Epoch(epoch),
        slot: Slot(slot),
    })
}

fn counts() -> impl Strategy<Value = Counts> {
    let outcome = prop_oneof![
        Just(Outcome::Success),
        Just(Outcome::Void),
        Just(Outcome::Abandoned),
        select(FailureClass::ALL.to_vec()).prop_map(Outcome::Failure),
    ];
    let end = prop_oneof![
        (0u64..700_000_000).prop_map(|latency_us| TimedEnd::Took(Micros(latency_us))),
        select(vec![TimedEnd::LeftLate, TimedEnd::Left, TimedEnd::Void]),
    ];
    let count = || 0u64..=1 << 48;
    let repeated = (count(), count()).prop_map(|(failed, slow)| Repeated { failed, slow });
    ((count(), count(), count(), count(), count(), repeated), vec((outcome, end, any::<bool>()), 0..60)).prop_map(
        |((started, received, client_errors, unserved, begun, repeated), ends)| {
            let timed = Timed { begun, ..Timed::default() };
            let mut counts =
                Counts { started, received, client_errors, unserved, repeated, timed, ..Counts::default() };
            for (outcome, end, is_slow) in ends {
                counts.end(outcome);
                counts.end_timed(end, is_slow);
            }
            counts
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    (canary(), epoch(), option::weighted(0.9, routing())).prop_map(|(canary, epoch, routing)| Entry {
        canary,
        epoch,
        routing,
    })
}

fn routing() -> impl Strategy<Value = Routing> {
    let host = prop_oneof![Just("*".to_owned()), "(\\*\\.)?[a-z0-9.-]{1,20}"];
    (vec(host, 1..5), vec("/[ -~]{0,20}", 1..4), option::weighted(0.3, lane()), upstream(), option::of(split()))
        .prop_map(|(hosts, path_prefixes, lane, primary, split)| Routing {
            scope: Scope { hosts, path_prefixes, lane },
            primary,
            split,
        })
}

fn lane() -> impl Strategy<Value = Lane> {
    (canary(), 0..WHOLE_PPM, 1..=WHOLE_PPM).prop_map(|(of, from, width)| {
        let ppm = |ppm: u32| WeightPpm::new(ppm.min(WHOLE_PPM)).unwrap();
        Lane::new(of, ppm(from), ppm(from + width)).unwrap()
    })
}

fn split() -> impl Strategy<Value = Split> {
    let key = prop_oneof![
        "[a-z0-9-]{1,20}".prop_map(StickyKey::Header),
        "[a-zA-Z0-9_]{1,20}".prop_map(StickyKey::Cookie),
        cookie().prop_map(StickyKey::IssuedCookie),
        Just(StickyKey::ClientAddress),
    ];
    (
        upstream(),
        (0..=WHOLE_PPM, 0..=WHOLE_PPM),
        vec(rule(), 0..4),
        option::of(key),
        ".{0,40}",
        1u64..86_400_000,
        option::of(any::<u64>()),
        (option::of(fuse()), measurement()),
    )
        .prop_map(
            |(canary, (weight_ppm, mirror_ppm), rules, sticky, salt, slot_ms, limit, (fuse, measurement))| Split {
                canary,
                weight: WeightPpm::new(weight_ppm).unwrap(),
                mirror: WeightPpm::new(mirror_ppm).unwrap(),
                rules,
                sticky,
                salt,
                slot: Millis(slot_ms),
                latency_limit: limit.map(Micros),
                measurement,
                fuse,
            },
        )
}

fn measurement() -> impl Strategy<Value = Measurement> {
    let ends = select(vec![LatencyEnd::ResponseHeaders, LatencyEnd::LastByte]);
    let failures = (vec(500u16..=599, 0..5), vec(1u32..=16, 0..5))
        .prop_map(|(http_except, grpc)| FailureCodes::new(http_except, grpc).unwrap());
    (ends, 0u64..=300_000, any::<u32>(), 1_000u64..=3_600_000, failures).prop_map(
        |(latency_end, time, requests, good_after, failures)| {
            let warm_up = WarmUp { time: Millis(time), requests };
            Measurement { latency_end, warm_up, good_after: Millis(good_after), failures }
        },
    )
}

fn cookie() -> impl Strategy<Value = IssuedCookie> {
    let flags = any::<(bool, bool, bool)>();
    let same_site = option::of(select(SameSite::ALL.to_vec()));
    ("[!#a-zA-Z0-9_-]{1,20}", 1u32..1 << 31, option::of("[a-z0-9.-]{1,20}"), "/[ -:<-~]{0,20}", flags, same_site)
        .prop_map(|(name, max_age_s, domain, path, (http_only, secure, partitioned), same_site)| {
            let spec = CookieSpec { name, max_age_s, domain, path, http_only, secure, partitioned, same_site };
            IssuedCookie::new(spec).unwrap()
        })
}

fn rule() -> impl Strategy<Value = MatchRule> {
    let list = || vec(("[a-z0-9-]{1,20}", string_match()), 0..3);
    (list(), list(), list(), list(), option::of(string_match()))
        .prop_map(|(headers, without_headers, cookies, query, path)| MatchRule {
            headers,
            without_headers,
            cookies,
            query,
            path,
        })
        .prop_filter("a rule has a condition", |rule| !rule.is_empty())
}

fn string_match() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        ".{0,30}".prop_map(StringMatch::Exact),
        ".{1,30}".prop_map(StringMatch::Prefix),
        ".{1,30}".prop_map(StringMatch::Suffix),
        "[a-z]{0,9}(\\.\\*)?".prop_map(|text| StringMatch::Regex(Pattern::parse(&text).unwrap())),
        Just(StringMatch::Present),
    ]
}
