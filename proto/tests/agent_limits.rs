//! Every limit and rule of what an agent sends: what breaks it is refused, naming field, value and rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod refusal;

use proto::limits::*;
use proto::v1::{self, string_match::Match, to_worker};
use proto::wire::decode_to_worker;
use refusal::{down, refusal, says};

/// The refusal of an entry that was edited.
fn entry(edit: impl FnOnce(&mut v1::Routing, &mut v1::Split)) -> String {
    let measurement = v1::Measurement { latency_end: 1, good_after_ms: 10_000, ..v1::Measurement::default() };
    let mut split =
        v1::Split { canary: "web-canary".into(), slot_ms: 100, measurement: Some(measurement), ..v1::Split::default() };
    let mut routing = v1::Routing {
        scope: Some(v1::Scope { hosts: vec!["web".into()], path_prefixes: vec!["/".into()], lane: None }),
        primary: "web-primary".into(),
        split: None,
    };
    edit(&mut routing, &mut split);
    routing.split = Some(split);
    down(to_worker::Message::Entry(v1::Entry { canary: "prod/web".into(), epoch: 1, routing: Some(routing) }))
}

fn hosts(hosts: &[&str]) -> String {
    entry(|routing, _| {
        routing.scope.as_mut().unwrap().hosts = hosts.iter().map(ToString::to_string).collect();
    })
}

fn rule(edit: impl FnOnce(&mut v1::MatchRule)) -> String {
    let mut rule = v1::MatchRule::default();
    edit(&mut rule);
    entry(|_, split| split.rules = vec![rule])
}

fn condition(name: &str, value: Match) -> v1::Condition {
    v1::Condition { name: name.into(), value: Some(v1::StringMatch { r#match: Some(value) }) }
}

#[test]
fn the_unedited_entry_is_accepted() {
    let text = entry(|_, _| ());
    assert!(text.starts_with("accepted"), "{text}");
}

#[test]
fn frames_are_bounded() {
    let too_long = vec![0; MAX_TO_WORKER_BYTES + 1];
    says(&refusal(decode_to_worker(&too_long)), "frame", "262144");
    let garbage = refusal(decode_to_worker(&[0xff; 9]));
    says(&garbage, "frame", "not a message of this protocol");
}

#[test]
fn an_entry_keeps_its_ranges() {
    let bare = |epoch, canary: &str| {
        down(to_worker::Message::Entry(v1::Entry { canary: canary.into(), epoch, routing: None }))
    };
    says(&bare(0, "prod/web"), "entry.epoch", "from 1");
    says(&bare(1, "web"), "entry.canary", "NAMESPACE/NAME");
    says(&entry(|_, split| split.weight_ppm = 1_000_001), "entry.routing.split.weight_ppm", "1000000");
    says(&entry(|_, split| split.canary = "a b".into()), "entry.routing.split.canary", "' '");
    says(&entry(|routing, _| routing.primary = String::new()), "entry.routing.primary", "empty");
    says(&entry(|_, split| split.slot_ms = 0), "entry.routing.split.slot_ms", "outside 1 to 86400000");
    let measured = |edit: fn(&mut v1::Measurement)| entry(|_, split| split.measurement.iter_mut().for_each(edit));
    says(&entry(|_, split| split.measurement = None), "entry.routing.split.measurement", "required");
    says(&measured(|it| it.latency_end = 0), "entry.routing.split.measurement.latency_end", "knows");
    says(&measured(|it| it.warm_up_ms = 300_001), "entry.routing.split.measurement.warm_up_ms", "outside 0 to 300000");
    says(
        &measured(|it| it.http_except = vec![404]),
        "entry.routing.split.measurement.http_except",
        "outside 500 to 599",
    );
    says(&measured(|it| it.http_except = vec![70_500]), "entry.routing.split.measurement.http_except", "outside 500");
    says(&measured(|it| it.http_except = vec![501; 200]), "entry.routing.split.measurement.http_except", "200");
    says(
        &measured(|it| it.grpc_failures = vec![17]),
        "entry.routing.split.measurement.grpc_failures",
        "outside 1 to 16",
    );
    says(&measured(|it| it.good_after_ms = 999), "entry.routing.split.measurement.good_after_ms", "outside 1000");
    says(&entry(|_, split| split.salt = "x".repeat(1025)), "entry.routing.split.salt", "1025 bytes");
    says(&down(to_worker::Message::Received(v1::Received { number: 0 })), "received.number", "from 1");
    says(&down(to_worker::Message::Stored(v1::Stored { number: 0 })), "stored.number", "from 1");
    says(&down(to_worker::Message::Welcome(v1::Welcome { protocol: None })), "welcome.protocol", "required");
}

#[test]
fn a_lane_keeps_its_ends() {
    let lane = |of: &str, from_ppm, to_ppm| {
        let lane = v1::Lane { of: of.into(), from_ppm, to_ppm };
        entry(|routing, _| routing.scope.as_mut().unwrap().lane = Some(lane))
    };
    assert!(lane("prod/web", 0, 1_000_000).starts_with("accepted"));
    let at = |field: &str| format!("entry.routing.scope.lane.{field}");
    says(&lane("web", 0, 1), &at("of"), "NAMESPACE/NAME");
    says(&lane("prod/web", 1_000_001, 1), &at("from_ppm"), "1000000");
    says(&lane("prod/web", 0, u32::MAX), &at("to_ppm"), "1000000");
    says(&lane("prod/web", 500_000, 500_000), &at("to_ppm"), "behind from_ppm");
}

#[test]
fn a_fuse_keeps_its_ranges() {
    let fuse = |edit: fn(&mut v1::Fuse)| {
        let mut fuse = v1::Fuse {
            failed_ppb: Some(1),
            slow_ppb: Some(999_999_999),
            alpha_ppb: 1,
            max_cluster: 1000,
            ..v1::Fuse::default()
        };
        edit(&mut fuse);
        entry(|_, split| split.fuse = Some(fuse))
    };
    assert!(fuse(|_| ()).starts_with("accepted"));
    let at = |field: &str| format!("entry.routing.split.fuse.{field}");
    for ppb in [0, 1_000_000_000, u32::MAX] {
        let of = |edit: fn(&mut v1::Fuse, u32)| {
            let mut fuse = v1::Fuse {
                failed_ppb: Some(1),
                slow_ppb: Some(1),
                alpha_ppb: 1,
                max_cluster: 1,
                ..v1::Fuse::default()
            };
            edit(&mut fuse, ppb);
            entry(|_, split| split.fuse = Some(fuse))
        };
        says(&of(|f, ppb| f.failed_ppb = Some(ppb)), &at("failed_ppb"), "outside 1 to 999999999");
        says(&of(|f, ppb| f.slow_ppb = Some(ppb)), &at("slow_ppb"), "outside 1 to 999999999");
        says(&of(|f, ppb| f.alpha_ppb = ppb), &at("alpha_ppb"), "outside 1 to 999999999");
    }
    says(&fuse(|f| f.max_cluster = 0), &at("max_cluster"), "outside 1 to 1000");
    says(&fuse(|f| f.max_cluster = 1001), &at("max_cluster"), "outside 1 to 1000");
    says(&fuse(|f| (f.failed_ppb, f.slow_ppb) = (None, None)), &at("failed_ppb"), "required");
}

#[test]
fn a_scope_keeps_its_ranges() {
    says(&entry(|routing, _| routing.scope = None), "entry.routing.scope", "required");
    says(&hosts(&[]), "entry.routing.scope.hosts", "required");
    says(&hosts(&["a"; MAX_HOSTS + 1]), "entry.routing.scope.hosts", "at most 64");
    for host in ["", "Web", "a b", "w\u{e9}b", &"x".repeat(254)] {
        says(&hosts(&[host]), "entry.routing.scope.hosts", "lower case");
    }
    let path =
        |prefix: String| entry(|routing, _| routing.scope.as_mut().unwrap().path_prefixes = vec!["/a".into(), prefix]);
    let prefixes = |prefixes: Vec<String>| entry(|routing, _| routing.scope.as_mut().unwrap().path_prefixes = prefixes);
    says(&prefixes(vec![]), "entry.routing.scope.path_prefixes", "nothing is set");
    says(&prefixes(vec!["/".into(); 33]), "entry.routing.scope.path_prefixes", "33");
    says(&path("shop".into()), "entry.routing.scope.path_prefixes", "begin with /");
    says(&path("/".repeat(1025)), "entry.routing.scope.path_prefixes", "1025 bytes");
}

#[test]
fn rules_are_bounded_and_mean_something() {
    let exact = || Match::Exact("x".into());
    let regex = || Match::Regex("x".into());
    let at = "entry.routing.split.rules[0]";
    let rules = |count| entry(|_, split| split.rules = vec![v1::MatchRule::default(); count]);
    says(&rules(MAX_RULES + 1), "entry.routing.split.rules", "at most 64");
    says(&rules(1), &format!("{at}.conditions"), "every request");
    says(
        &rule(|r| r.query = vec![condition("a", exact()); MAX_CONDITIONS + 1]),
        &format!("{at}.conditions"),
        "at most 32",
    );
    let regexes = v1::MatchRule { headers: vec![condition("a", regex()); 13], ..v1::MatchRule::default() };
    says(&entry(|_, split| split.rules = vec![regexes; 5]), "entry.routing.split.rules.regex", "at most 64");
    says(&rule(|r| r.headers = vec![condition("X-User", exact())]), &format!("{at}.headers[0].name"), "lower case");
    says(
        &rule(|r| r.without_headers = vec![condition("", exact())]),
        &format!("{at}.without_headers[0].name"),
        "not a valid name",
    );
    says(&rule(|r| r.cookies = vec![condition("a b", exact())]), &format!("{at}.cookies[0].name"), "not a valid name");
    says(&rule(|r| r.query = vec![condition(&"x".repeat(254), exact())]), &format!("{at}.query[0].name"), "254 bytes");
    says(
        &rule(|r| r.headers = vec![v1::Condition { name: "a".into(), value: None }]),
        &format!("{at}.headers[0].value"),
        "required",
    );
    says(&rule(|r| r.path = Some(v1::StringMatch { r#match: None })), &format!("{at}.path"), "required");
}

#[test]
fn patterns_are_bounded() {
    let value = |value| rule(|r| r.headers = vec![condition("a", value)]);
    let at = "entry.routing.split.rules[0].headers[0].value";
    says(&value(Match::Regex("(".into())), at, "regular expression");
    says(&value(Match::Regex("(a{1000}){1000}".into())), at, "regular expression");
    says(&value(Match::Regex("a".repeat(4097))), at, "at most 4096");
    says(&value(Match::Exact("a".repeat(4097))), at, "at most 4096");
    says(&value(Match::Prefix(String::new())), at, "every value");
    says(&value(Match::Suffix(String::new())), at, "every value");
}

#[test]
fn sticky_keys_have_names() {
    use v1::sticky_key::Key;
    let sticky = |key| entry(|_, split| split.sticky = Some(v1::StickyKey { key }));
    says(&sticky(None), "entry.routing.split.sticky.key", "required");
    says(&sticky(Some(Key::Header("X".into()))), "entry.routing.split.sticky.header", "lower case");
    says(&sticky(Some(Key::Cookie(String::new()))), "entry.routing.split.sticky.cookie", "not a valid name");
}

fn cookie(edit: impl FnOnce(&mut v1::IssuedCookie)) -> String {
    let mut cookie =
        v1::IssuedCookie { name: "id".into(), max_age_s: 60, path: "/".into(), ..v1::IssuedCookie::default() };
    edit(&mut cookie);
    entry(|_, split| split.sticky = Some(v1::StickyKey { key: Some(v1::sticky_key::Key::IssuedCookie(cookie)) }))
}

#[test]
fn a_cookie_holds_nothing_that_would_end_it() {
    assert!(cookie(|_| ()).starts_with("accepted"));
    let at = "entry.routing.split.sticky.issued_cookie";
    says(&cookie(|cookie| cookie.name = "a;b".into()), &format!("{at}.name"), "cannot be the name");
    says(&cookie(|cookie| cookie.max_age_s = 0), &format!("{at}.maxAge"), "outside 1 to");
    says(&cookie(|cookie| cookie.domain = Some("a\r\nb".into())), &format!("{at}.domain"), "no domain");
    says(&cookie(|cookie| cookie.path = "/;x".into()), &format!("{at}.path"), "no path");
    says(&cookie(|cookie| cookie.same_site = 4), &format!("{at}.same_site"), "outside 0 to 3");
}
