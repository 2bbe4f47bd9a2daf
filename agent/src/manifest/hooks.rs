//! Webhooks, alerts and session affinity: read and validated in full, honoured by a later build.
//!
//! A hook may be a gate that somebody relies on, so it holds the release; an alert only tells, so it does not.

use super::choices::{token, url};
use super::reader::{Item, Log, Map};

const HOOK_TYPES: &[&str] = &[
    "",
    "confirm-rollout",
    "pre-rollout",
    "rollout",
    "confirm-traffic-increase",
    "confirm-promotion",
    "post-rollout",
    "rollback",
    "event",
];
const SEVERITIES: &[&str] = &["", "info", "warn", "error"];

/// Takes `webhooks`, `alerts` and `sessionAffinity` of the analysis.
pub(super) fn read(analysis: &mut Map<'_>, log: &mut Log) {
    if let Some(item) = analysis.take("webhooks", log) {
        item.list(log).iter().for_each(|item| webhook(item, log));
    }
    if let Some(item) = analysis.take("alerts", log) {
        item.list(log).iter().for_each(|item| alert(item, log));
    }
    if let Some(item) = analysis.take("sessionAffinity", log) {
        session_affinity(&item, log);
    }
}

fn webhook(item: &Item<'_>, log: &mut Log) {
    let Some(mut fields) = item.map(log) else { return };
    let name = fields.need("name", log).and_then(|item| item.text(log)).unwrap_or_default();
    let kind = fields.take("type", log).and_then(|item| item.one_of(log, HOOK_TYPES)).filter(|kind| !kind.is_empty());
    if let Some(item) = fields.need("url", log) {
        url(&item, log);
    }
    if let Some(item) = fields.take("timeout", log) {
        item.span(log);
    }
    if let Some(item) = fields.take("retries", log) {
        item.whole(log, 0, 1_000);
    }
    for key in ["disableTLS", "muteAlert"] {
        if let Some(item) = fields.take(key, log) {
            item.boolean(log);
        }
    }
    if let Some(metadata) = fields.take("metadata", log).and_then(|item| item.map(log)) {
        metadata.rest(log).iter().for_each(|(_, item)| drop(item.text(log)));
    }
    fields.finish(log, &[]);
    item.hold(log, format!("the {} hook {name:?} is not called by this build", kind.unwrap_or("rollout")));
}

fn alert(item: &Item<'_>, log: &mut Log) {
    let Some(mut fields) = item.map(log) else { return };
    let name = fields.need("name", log).and_then(|item| item.text(log)).unwrap_or_default();
    if let Some(item) = fields.take("severity", log) {
        item.one_of(log, SEVERITIES);
    }
    if let Some(mut reference) = fields.need("providerRef", log).and_then(|item| item.map(log)) {
        if let Some(item) = reference.need("name", log) {
            item.text(log);
        }
        if let Some(item) = reference.take("namespace", log) {
            item.text(log);
        }
        reference.finish(log, &[]);
    }
    fields.finish(log, &[]);
    item.warn(
        log,
        format!("the alert {name:?} is not sent by this build; `serin get -w` and the history tell what happens"),
    );
}

fn session_affinity(item: &Item<'_>, log: &mut Log) {
    let Some(mut fields) = item.map(log) else { return };
    let name = fields.need("cookieName", log).and_then(|item| token(&item, log));
    let primary = fields.take("primaryCookieName", log).and_then(|item| Some((token(&item, log)?, item)));
    if let Some((primary, item)) = primary
        && Some(&primary) == name.as_ref()
    {
        item.refuse(log, "is also cookieName; the two cookies must have different names");
    }
    for key in ["domain", "path"] {
        if let Some(item) = fields.take(key, log) {
            item.text(log);
        }
    }
    for key in ["httpOnly", "partitioned", "secure"] {
        if let Some(item) = fields.take(key, log) {
            item.boolean(log);
        }
    }
    if let Some(item) = fields.take("maxAge", log) {
        item.whole(log, 0, i64::from(i32::MAX));
    }
    if let Some(item) = fields.take("sameSite", log) {
        item.one_of(log, &["Strict", "Lax", "None"]);
    }
    fields.finish(log, &[]);
    item.hold(
        log,
        "asks for a cookie that keeps users on their version, and this build does not issue one; \
        stickiness by a header, cookie or address that requests carry already is serin.dev's sticky",
    );
}
