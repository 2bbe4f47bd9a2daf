//! The plugin's JSON: what is refused, in which words, and what holds instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails so")]

mod host;

use host::{Proxy, host};

/// The line logged for a refused configuration; empty when it is accepted.
fn refusal(config: &str) -> String {
    let _proxy = Proxy::start(config);
    let is_bad = host(|host| host.metric("serin.bad_config"));
    let lines: Vec<_> = host(|host| host.logs.iter().map(|(_, line)| line.clone()).collect());
    assert_eq!(is_bad == 1, !lines.is_empty(), "the gauge and the log agree on {config}");
    assert!(lines.len() <= 1, "one line: {lines:?}");
    lines.concat()
}

#[track_caller]
fn refused(config: &str, field: &str, rule: &str) {
    let line = refusal(config);
    let expected = format!("serin: configuration refused, every request goes to the primary: {field}: ");
    assert!(line.starts_with(&expected) && line.contains(rule), "{line:?} should name {field} and say {rule:?}");
}

fn canary(part: &str) -> String {
    format!(r#"{{"canaries":[{{"namespace":"prod","name":"web"{part}}}]}}"#)
}

#[test]
fn good_ones_are_taken() {
    for config in [
        "",
        " \n",
        "{}",
        r#"{"agent":"agent.serin:7070","decisionHeader":"x-to","leaseSeconds":1.5,"limits":{"strata":1024}}"#,
        r#"{"agent":{"address":"[::1]:7070","tls":{},"token":"t"}}"#,
        r#"{"agent":{"cluster":"agent"},"defaultUpstreams":{"prod/web":"outbound|80||web.prod"}}"#,
        &canary(""),
        &canary(
            r#","hosts":["Web.example.com","*"],"pathPrefix":"/x","primary":"a","canary":"b","weight":0.0001,
            "match":[{"withoutHeaders":{"x":{"present":true}},"path":{"regex":"/a.*"}}],"sticky":{"cookie":"id"},"salt":"s""#,
        ),
    ] {
        assert_eq!(refusal(config), "", "{config}");
    }
}

#[test]
fn bad_ones_are_refused_by_field_and_rule() {
    refused("{", "configuration", "EOF");
    refused("[]", "configuration", "not a JSON object");
    refused("\u{0}", "configuration", "not a JSON object");
    refused(r#"{"agnet":"a:1"}"#, "configuration", "unknown field `agnet`");
    refused(r#"{"leaseSeconds":0}"#, "leaseSeconds", "0 is outside 1 to 86400");
    refused(r#"{"leaseSeconds":1e9}"#, "leaseSeconds", "outside");
    refused(r#"{"limits":{"strata":0}}"#, "limits.strata", "outside 1 to 1024");
    refused(r#"{"limits":{"strata":5000}}"#, "limits.strata", "outside 1 to 1024");
    refused(r#"{"decisionHeader":"X-To"}"#, "decisionHeader", "lower case");
    refused(r#"{"decisionHeader":":path"}"#, "decisionHeader", "lower case");
    refused(r#"{"sharedClusters":["a",""]}"#, "sharedClusters[1]", "1 to 256 bytes");
    refused(r#"{"sharedClusters":"a"}"#, "configuration", "expected a sequence");
    refused(&format!(r#"{{"sharedClusters":[{}"a"]}}"#, r#""a","#.repeat(256)), "sharedClusters", "at most 256");
    refused(r#"{"defaultUpstreams":{"web":"a"}}"#, r#"defaultUpstreams["web"]"#, "NAMESPACE/NAME");
    refused(r#"{"defaultUpstreams":{"p/web":"a b"}}"#, r#"defaultUpstreams["p/web"]"#, "' '");
    refused(&" ".repeat((1 << 20) + 1), "configuration", "at most 1048576");
}

#[test]
fn a_bad_agent_is_refused_and_its_token_not_repeated() {
    for address in ["", "agent", "agent:", ":7070", "agent:0", "agent:70000", "a b:1", "::1:7070", "http://a:1/"] {
        refused(&format!(r#"{{"agent":"{address}"}}"#), "agent", "host:port");
    }
    refused(r#"{"agent":7070}"#, "agent", "invalid type");
    refused(r#"{"agent":{}}"#, "agent", "exactly one");
    refused(r#"{"agent":{"address":"a:1","cluster":"c"}}"#, "agent", "exactly one");
    refused(r#"{"agent":{"cluster":"c","tls":{}}}"#, "agent.tls", "leave it out");
    refused(r#"{"agent":{"address":"a:1","tls":{"certFile":"/c"}}}"#, "agent.tls", "both or neither");
    refused(r#"{"agent":{"address":"a:1","tls":{"caFile":""}}}"#, "agent.tls.caFile", "printable");
    refused(r#"{"agent":{"address":"a:1","ca":"/c"}}"#, "agent", "unknown field `ca`");
    let secret = refusal(r#"{"agent":{"address":"a:1","token":"s3cret\n"}}"#);
    assert!(secret.contains("agent.token: is not 1 to 4096 printable") && !secret.contains("s3cret"), "{secret}");
}

#[test]
fn a_bad_canary_is_refused() {
    refused(r#"{"canaries":[{"name":"web"}]}"#, "configuration", "missing field `namespace`");
    refused(r#"{"canaries":[{"namespace":"a/b","name":"web"}]}"#, "canaries[0].namespace", "'/'");
    refused(&canary(r#","weight":100.1"#), "canaries[0].weight", "100.1 is outside 0 to 100");
    refused(&canary(r#","weight":-1"#), "canaries[0].weight", "outside");
    refused(&canary(r#","primary":"a b""#), "canaries[0].primary", "' '");
    refused(&canary(r#","hosts":[]"#), "canaries[0]", "hosts");
    refused(&canary(r#","pathPrefix":"x""#), "canaries[0]", "begin with /");
    refused(&canary(r#","match":[{}]"#), "canaries[0]", "every request");
    refused(&canary(r#","match":[{"headers":{"a":{"prefix":""}}}]"#), "canaries[0]", "every value");
    refused(&canary(r#","match":[{"headers":{"a":{"regex":"("}}}]"#), "canaries[0].match[0].headers.a", "regular");
    refused(&canary(r#","match":[{"headers":{"a":{"present":false}}}]"#), "canaries[0].match[0].headers.a", "false");
    refused(&canary(r#","match":[{"headers":{"a":{"exact":"x","prefix":"y"}}}]"#), "configuration", "line 1");
    refused(&canary(r#","sticky":{"clientAddress":false}"#), "canaries[0].sticky.clientAddress", "leave");
    let twice = r#"{"canaries":[{"namespace":"p","name":"w"},{"namespace":"p","name":"w"}]}"#;
    refused(twice, "canaries[1].name", "p/w is listed twice");
}

#[test]
fn the_last_good_one_stays() {
    let mut proxy = Proxy::start(&canary(r#","weight":100"#));
    assert_eq!(proxy.decision(&[]), ["web-canary"]);
    proxy.configure(r#"{"leaseSeconds":"soon"}"#);
    assert_eq!(proxy.decision(&[]), ["web-canary"]);
    assert_eq!(host(|host| host.logged("keeping the last valid one: configuration: invalid type")), 1);
    assert_eq!(host(|host| host.metric("serin.bad_config")), 1);
    proxy.configure(&canary(r#","weight":0"#));
    assert_eq!(proxy.decision(&[]), [""; 0]);
    assert_eq!(host(|host| host.metric("serin.bad_config")), 0);
}

#[test]
fn the_module_that_is_shipped_has_no_trap() {
    let mut proxy = Proxy::start(&canary(r#","weight":100"#));
    assert_eq!(proxy.decision(&[("x-serin-test-trap", "1")]), ["web-canary"]);
}

/// The page for operators, whose examples and keys are the reader's own.
const PAGE: &str = include_str!("../../docs/filter-config.md");

#[test]
fn the_documented_examples_are_taken() {
    let examples: Vec<&str> = PAGE.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        assert_eq!(refusal(example), "", "{example}");
    }
}

/// Asked for a key that there is none of, the reader names those that there are.
#[test]
fn every_key_is_documented() {
    let rule = |part: &str| canary(&format!(r#","match":[{part}]"#));
    for asked in [
        r#"{"?":1}"#,
        r#"{"limits":{"?":1}}"#,
        r#"{"agent":{"?":1}}"#,
        r#"{"agent":{"address":"a:1","tls":{"?":1}}}"#,
        r#"{"copiesTo":"a","?":1}"#,
        &canary(r#","?":1"#),
        &canary(r#","fuse":{"?":1}"#),
        &canary(r#","sticky":{"?":1}"#),
        &canary(r#","sticky":{"issuedCookie":{"?":1}}"#),
        &canary(r#","sticky":{"issuedCookie":{"cookieName":"a","sameSite":"?"}}"#),
        &rule(r#"{"?":1}"#),
        &rule(r#"{"path":{"?":1}}"#),
    ] {
        let line = refusal(asked);
        let (_, expected) = line.split_once("expected ").unwrap_or_else(|| panic!("{asked}: {line}"));
        let keys: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        assert!(!keys.is_empty(), "{line}");
        for key in keys {
            let forms = [format!("`{key}`"), format!(".{key}`"), format!("`{key}.")];
            let is_told = forms.iter().any(|form| PAGE.contains(form));
            assert!(is_told, "{key} of {asked} is not in docs/filter-config.md");
        }
    }
}
