//! `spec.analysis.webhooks` and `spec.promotion.hook`: programs that are called, and gates that people open.

use std::collections::BTreeMap;

use rollout::base::time::Millis;
use rollout::release::integrations::{Hook, HookCall, HookKind, HookTarget, SecretRef};
use rollout::release::plan::Flavour;

use crate::fields::values::url;
use crate::reader::{Item, Log, Map};

/// Flagger's.
const TIMEOUT: Millis = Millis::from_secs(10);
/// Most retries; the plan's own bound.
pub(crate) const MAX_RETRIES: i64 = 100;
/// Flagger's types; the empty one is `rollout`.
pub(crate) const TYPES: &[&str] = &[
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
/// The fields of a call that only our own kind has.
const ADVICE: &[(&str, &str)] = &[
    ("gate", "is a field of serin.dev/v1alpha1; here give the url of a gate"),
    ("headersFrom", "is a field of serin.dev/v1alpha1; a flagger.app hook has no headers"),
    ("signWith", "is a field of serin.dev/v1alpha1; a flagger.app hook is not signed"),
];

/// Reads the list. `namespace` is the canary's.
pub(crate) fn read(item: &Item<'_>, flavour: Flavour, namespace: &str, log: &mut Log) -> Vec<Hook> {
    let items = item.list(log);
    let mut hooks: Vec<Hook> = Vec::new();
    for item in &items {
        let Some(hook) = webhook(item, flavour, namespace, log) else { continue };
        let is_call = |hook: &Hook| hook.target != HookTarget::Gate;
        // Where either is a gate the plan refuses it.
        if hooks.iter().any(|other| other.name == hook.name && is_call(other) && is_call(&hook)) {
            let same = format!("has the name {:?}, which a hook above it has too", hook.name);
            item.warn(log, format!("{same}; rename it, so that the history can tell them apart"));
        }
        hooks.push(hook);
    }
    hooks
}

fn webhook(item: &Item<'_>, flavour: Flavour, namespace: &str, log: &mut Log) -> Option<Hook> {
    let mut fields = item.map(log)?;
    let name = fields.need("name", log).and_then(|item| named(&item, log));
    let kind_item = fields.take("type", log);
    let word = kind_item.as_ref().map_or(Some("rollout"), |item| kind_word(item, log));
    let mute = fields.take("muteAlert", log).and_then(|item| item.boolean(log)) == Some(true);
    let kind = word.and_then(|word| HookKind::ALL.into_iter().find(|kind| kind.name() == word));
    let switch = if flavour == Flavour::Serin { fields.take("gate", log) } else { None };
    let target = match switch {
        Some(switch) => gate(item, &switch, kind, &mut fields, log),
        None => call(&mut fields, flavour, namespace, log).map(HookTarget::Call),
    };
    fields.finish(log, if flavour == Flavour::Flagger { ADVICE } else { &[] });
    let (name, kind, target) = (name?, kind?, target?);
    if mute && !kind.is_approval() {
        item.warn(log, "has muteAlert, which only affects hooks that approve");
    }
    Some(Hook { name, kind, target, mute_alert: mute })
}

fn kind_word(item: &Item<'_>, log: &mut Log) -> Option<&'static str> {
    if item.is_text() && item.text(log).as_deref() == Some("promotion") {
        item.refuse(
            log,
            "is not a type of webhook; the hook that brings the primary to the new version is promotion.hook",
        );
        return None;
    }
    item.one_of(log, TYPES).map(|word| if word.is_empty() { "rollout" } else { word })
}

/// A stored gate has nothing of a call.
fn gate(
    hook: &Item<'_>,
    switch: &Item<'_>,
    kind: Option<HookKind>,
    fields: &mut Map<'_>,
    log: &mut Log,
) -> Option<HookTarget> {
    switch.on(log)?;
    for key in ["url", "timeout", "retries", "disableTLS", "metadata", "headersFrom", "signWith"] {
        if let Some(item) = fields.take(key, log) {
            item.refuse(log, "has no effect beside gate: true; the agent keeps a gate itself and calls no one");
        }
    }
    if kind.is_some_and(|kind| !kind.is_approval()) {
        hook.refuse(
            log,
            "cannot be a gate; gates are for the types confirm-rollout, confirm-traffic-increase, confirm-promotion \
             and rollback",
        );
    }
    Some(HookTarget::Gate)
}

/// The fields of a call.
fn call(fields: &mut Map<'_>, flavour: Flavour, namespace: &str, log: &mut Log) -> Option<HookCall> {
    let url = fields.need("url", log).and_then(|item| url(&item, log));
    let timeout = fields.take("timeout", log).and_then(|item| item.span(log));
    let retries = fields.take("retries", log).and_then(|item| item.whole(log, 0, MAX_RETRIES));
    let insecure_skip_verify = fields.take("disableTLS", log).and_then(|item| item.boolean(log)) == Some(true);
    let metadata = fields.take("metadata", log).map(|item| texts(&item, log)).unwrap_or_default();
    let mut of_secret = |key, log: &mut Log| match flavour {
        Flavour::Serin => fields.take(key, log).and_then(|item| from_secret(&item, namespace, log)),
        Flavour::Flagger => None,
    };
    let (headers, signature) = (of_secret("headersFrom", log), of_secret("signWith", log));
    Some(HookCall {
        url: url?,
        timeout: timeout.unwrap_or(TIMEOUT),
        retries: retries.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
        insecure_skip_verify,
        metadata,
        headers,
        signature,
    })
}

/// `{secretRef: {name, namespace}}`; the namespace is the canary's unless another is named.
fn from_secret(item: &Item<'_>, namespace: &str, log: &mut Log) -> Option<SecretRef> {
    let mut fields = item.map(log)?;
    let reference = fields.need("secretRef", log);
    fields.finish(log, &[]);
    let mut fields = reference?.map(log)?;
    let name = fields.need("name", log).and_then(|item| named(&item, log));
    let other = fields.take("namespace", log).and_then(|item| named(&item, log));
    fields.finish(log, &[]);
    Some(SecretRef { namespace: other.unwrap_or_else(|| namespace.to_owned()), name: name? })
}

/// A name that is not empty.
pub(crate) fn named(item: &Item<'_>, log: &mut Log) -> Option<String> {
    let text = item.text(log)?;
    if text.trim().is_empty() {
        item.refuse(log, "is empty; give a name");
        return None;
    }
    Some(text)
}

/// A map of texts, its keys the user's own.
pub(crate) fn texts(item: &Item<'_>, log: &mut Log) -> BTreeMap<String, String> {
    let entries = item.map(log).map(|map| map.rest(log)).unwrap_or_default();
    entries.into_iter().filter_map(|(key, item)| Some((key, item.text(log)?))).collect()
}

/// `spec.promotion.hook` of our own kind.
pub(crate) fn promotion(item: &Item<'_>, namespace: &str, log: &mut Log) -> Option<Hook> {
    let mut fields = item.map(log)?;
    let name = fields.take("name", log).and_then(|item| named(&item, log));
    let call = call(&mut fields, Flavour::Serin, namespace, log);
    fields.finish(log, &[]);
    Some(promotion_hook(name, call?))
}

/// The hook that an annotation's address means.
pub(crate) fn promotion_at(url: String) -> Hook {
    let metadata = BTreeMap::new();
    let call = HookCall {
        url,
        timeout: TIMEOUT,
        retries: 0,
        insecure_skip_verify: false,
        metadata,
        headers: None,
        signature: None,
    };
    promotion_hook(None, call)
}

fn promotion_hook(name: Option<String>, call: HookCall) -> Hook {
    let name = name.unwrap_or_else(|| "promotion-hook".into());
    Hook { name, kind: HookKind::Promotion, target: HookTarget::Call(call), mute_alert: false }
}
