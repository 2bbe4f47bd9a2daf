//! Session affinity as Flagger writes it: what becomes of each field, and what is said of the rest.

use rollout::routing::cookie::{CookieSpec, DEFAULT_MAX_AGE_S, SameSite};
use rollout::routing::table::StickyKey;

use super::{EXAMPLE, OWN, plan_of, warnings};

/// Our own example without its sticky key.
fn with(affinity: &str) -> String {
    let text = OWN.replace("  sticky: { cookie: session }\n", "");
    assert!(!text.contains("sticky:"), "{text}");
    text.replace("    interval: 5s\n", &format!("    interval: 5s\n    sessionAffinity: {affinity}\n"))
}

fn cookie(affinity: &str) -> CookieSpec {
    match plan_of(&with(affinity)).sticky.clone() {
        Some(StickyKey::IssuedCookie(cookie)) => cookie.spec().clone(),
        other => panic!("{other:?}"),
    }
}

fn refused(affinity: &str) -> String {
    let refused = super::read("f.yaml", &with(affinity)).documents.remove(0).result.unwrap_err();
    refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_field_becomes_an_attribute() {
    assert_eq!(cookie("{ cookieName: a }"), CookieSpec::named("a"));
    let full = "{ cookieName: a, maxAge: 60, domain: example.com, path: /x, httpOnly: true, secure: true, \
                partitioned: true, sameSite: None }";
    let expected = CookieSpec {
        max_age_s: 60,
        domain: Some("example.com".into()),
        path: "/x".into(),
        http_only: true,
        secure: true,
        partitioned: true,
        same_site: Some(SameSite::None),
        ..CookieSpec::named("a")
    };
    assert_eq!(cookie(full), expected);
    assert_eq!(warnings(&with(full)), [""; 0]);
    assert_eq!(cookie("{ cookieName: a, maxAge: 0 }").max_age_s, DEFAULT_MAX_AGE_S);
}

#[test]
fn it_is_honoured_and_its_users_are_clusters() {
    let plan = plan_of(&EXAMPLE.replace("    metrics:\n", "    sessionAffinity: { cookieName: a }\n    metrics:\n"));
    assert_eq!(plan.unsupported, []);
    let drawn = plan_of(EXAMPLE);
    assert!(plan.guards.max_cluster > drawn.guards.max_cluster, "one user's failures may be one event");
    assert_eq!(plan.guards.sample_ratio, None, "users are given by weight, not requests");
}

#[test]
fn what_has_no_use_or_does_harm_is_told() {
    for (affinity, expected) in [
        ("{ cookieName: a, primaryCookieName: b }", "primaryCookieName: is not needed"),
        (
            "{ cookieName: a, sameSite: None }",
            "sameSite: makes browsers drop the cookie unless it is also secure: true",
        ),
        ("{ cookieName: a, partitioned: true }", "partitioned: makes browsers drop the cookie"),
    ] {
        let warnings = warnings(&with(affinity)).join("\n");
        assert!(warnings.contains(expected), "{expected:?} is not in {warnings:?}");
    }
}

#[test]
fn what_no_cookie_can_be_is_refused() {
    for (affinity, expected) in [
        ("{}", "spec.analysis.sessionAffinity.cookieName: is missing"),
        ("{ cookieName: \"a=b\" }", "cannot be the name of a header or cookie"),
        ("{ cookieName: a, primaryCookieName: a }", "must have different names"),
        ("{ cookieName: a, path: \"/;Secure\" }", "cannot be a cookie: path"),
        ("{ cookieName: a, domain: \"a b\" }", "cannot be a cookie: domain"),
        ("{ cookieName: a, maxAge: -1 }", "must be a whole number from 0"),
        ("{ cookieName: a, sameSite: lax }", "use Strict, Lax, None"),
        ("{ cookieName: a, maxage: 1 }", "did you mean maxAge"),
    ] {
        let found = refused(affinity);
        assert!(found.contains(expected), "{affinity}: {expected:?} is not in {found:?}");
    }
    let both = OWN.replace("    interval: 5s\n", "    interval: 5s\n    sessionAffinity: { cookieName: a }\n");
    let refused = super::read("f.yaml", &both).documents.remove(0).result.unwrap_err();
    assert!(refused[0].to_string().contains("keep one of the two"), "{refused:?}");
}
