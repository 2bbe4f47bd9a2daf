//! Answers as upstreams write them, and as nobody should: which of them a shared cache may keep.

use proptest::prelude::*;

use super::SharedCaching::{Forbidden, Invited, Unstated};
use super::*;

fn of(status: &str, headers: &[(&str, &str)]) -> SharedCaching {
    let mut all: Vec<(&[u8], &[u8])> = vec![(b":status", status.as_bytes())];
    all.extend(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    shared_caching(&all)
}

fn said(cache_control: &str) -> SharedCaching {
    of("200", &[("cache-control", cache_control)])
}

#[test]
fn what_is_meant_to_be_kept_is() {
    for value in [
        "public",
        "PUBLIC",
        "public, no-cache",
        "s-maxage=0",
        "s-maxage=60",
        "max-age=60",
        "max-age=\"60\"",
        "max-age=0, Max-Age = 60",
        "no-cache, max-age=1",
        "immutable",
        "\t public ,",
        ",,public",
        "max-age=99999999999999999999999999",
        "no-store, must-understand, max-age=60",
    ] {
        assert_eq!(said(value), Invited, "{value:?}");
    }
    for status in ["204", "302", "404", "503"] {
        assert_eq!(of(status, &[("cache-control", "max-age=60")]), Invited, "{status}");
    }
    let lines = [("cache-control", "no-cache"), ("etag", "x"), ("cache-control", "s-maxage=5")];
    assert_eq!(of("200", &lines), Invited, "in any line");
}

#[test]
fn what_is_forbidden_to_them_is_not() {
    for value in [
        "private",
        "no-store",
        "private, max-age=3600",
        "max-age=3600, NO-STORE",
        "no-cache, no-store",
        "a=\"b\\\",c\", private",
    ] {
        assert_eq!(said(value), Forbidden, "{value:?}");
    }
    let lines =
        [("cache-control", "max-age=60"), ("cache-control", "private"), ("expires", "Fri, 01 Jan 2100 00:00:00 GMT")];
    assert_eq!(of("200", &lines), Forbidden);
    for status in ["302", "307", "401", "429", "500", "502", "503", "101"] {
        assert_eq!(of(status, &[]), Forbidden, "{status} is kept by nobody unasked");
    }
}

#[test]
fn what_nobody_spoke_of_may_be_kept_all_the_same() {
    for status in ["200", "203", "204", "206", "300", "301", "308", "404", "405", "410", "414", "501"] {
        assert_eq!(of(status, &[]), Unstated, "{status}");
    }
    for value in ["no-cache", "max-age=0, must-revalidate", "max-age=", "max-age", "max-age=-0", "no-transform", ""] {
        assert_eq!(said(value), Unstated, "{value:?}");
    }
    assert_eq!(of("302", &[("cache-control", "max-age=0")]), Unstated, "an age makes any status one that may be kept");
    assert_eq!(of("200", &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"), ("etag", "x")]), Unstated);
    assert_eq!(shared_caching(&[]), Unstated, "without a status it may be any");
}

#[test]
fn contradictions_and_what_caches_read_differently_count_as_an_invitation() {
    for value in [
        "public, private",
        "s-maxage=9, no-store",
        "private=\"set-cookie\"",
        "private=\"x\", max-age=0",
        "x=\"no-store",
        "x=\"a\\",
        "no-store, must-understand, private=",
    ] {
        assert_eq!(said(value), Invited, "{value:?}");
    }
    assert_eq!(said("x=\"private, no-store\""), Unstated, "it stands in quotes");
    assert_eq!(said("xprivate, no-storey"), Unstated);
}

#[test]
fn an_expiry_counts_from_the_answers_own_date() {
    let expires = |expires, date: Option<&str>| {
        let mut headers = vec![("expires", expires)];
        headers.extend(date.map(|date| ("date", date)));
        of("200", &headers)
    };
    let (early, late) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 30 Nov 2026 13:00:00 GMT");
    assert_eq!(expires(late, Some(early)), Invited);
    assert_eq!(expires(early, Some(late)), Unstated);
    assert_eq!(expires(late, Some(late)), Unstated, "over at once");
    assert_eq!(expires("Mon, 30 Nov 2026 13:00:01 GMT", Some(late)), Invited);
    assert_eq!(expires("Tue, 01 Dec 2026 00:00:00 GMT", Some("Mon, 30 Nov 2026 23:59:59 GMT")), Invited);
    assert_eq!(expires(late, None), Invited, "there is no clock here");
    assert_eq!(expires("Thu, 01 Jan 1970 00:00:00 GMT", None), Unstated);
    for over in ["0", "-1", "", "0, x"] {
        assert_eq!(expires(over, None), Unstated, "{over:?}");
    }
    for strange in
        ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 19x4 08:49:37 GMT", "never"]
    {
        assert_eq!(expires(strange, Some(late)), Invited, "{strange:?} cannot be compared");
    }
    let ruled = |age| of("200", &[("expires", late), ("date", early), ("cache-control", age)]);
    assert_eq!((ruled("max-age=0"), ruled("no-cache")), (Unstated, Invited), "an age rules over it, nothing else does");
}

#[test]
fn a_cache_that_is_spoken_to_by_name_does_not_hear_the_others() {
    for (name, value) in [
        ("cdn-cache-control", "max-age=60"),
        ("cdn-cache-control", "max-age=0"),
        ("cloudflare-cdn-cache-control", "public"),
        ("surrogate-control", "max-age=60"),
        ("x-accel-expires", "60"),
    ] {
        assert_eq!(of("200", &[("cache-control", "private"), (name, value)]), Invited, "{name}: {value}");
    }
    let lines = [("cdn-cache-control", "no-store"), ("cache-control", "no-store")];
    assert_eq!(of("200", &lines), Forbidden);
    let lines = [("cdn-cache-control", "no-store"), ("cache-control", "max-age=60")];
    assert_eq!(of("200", &lines), Invited, "other caches hear the other line");
}

proptest! {
    #[test]
    fn whatever_is_written_one_word_forbids_and_one_invites(
        lines in prop::collection::vec((0..6_usize, "[a-z=\", 0-9\\\\-]{0,40}|[\\PC]{0,20}"), 0..5),
        status in prop::option::of("[1-5][0-9]{2}"),
    ) {
        const NAMES: [&str; 6] = ["cache-control", "expires", "date", "cdn-cache-control", "pragma", "vary"];
        let mut headers: Vec<(&[u8], &[u8])> = lines.iter().map(|(name, value)| (NAMES[*name].as_bytes(), value.as_bytes())).collect();
        headers.extend(status.as_ref().map(|status| (b":status".as_slice(), status.as_bytes())));
        let before = shared_caching(&headers);
        headers.push((b"cache-control", b"private"));
        let marked = shared_caching(&headers);
        prop_assert!(before != Unstated || marked == Forbidden, "{before:?} {marked:?}: the mark must be heard");
        headers.push((b"cache-control", b"public"));
        prop_assert_eq!(shared_caching(&headers), Invited);
    }

    #[test]
    fn no_bytes_do_harm(value in prop::collection::vec(any::<u8>(), 0..200)) {
        for name in ["cache-control", "expires", "date", ":status", "surrogate-control"] {
            let _ = shared_caching(&[(name.as_bytes(), &value), (b"expires", &value)]);
        }
    }
}
