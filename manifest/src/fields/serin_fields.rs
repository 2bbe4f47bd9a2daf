//! What our own kind adds to Flagger's: upstreams, promotion, stickiness. Fields in `serin.dev` manifests, annotations
//! in `flagger.app` ones, so that a Flagger user need not change the kind.

use rollout::base::names::Upstream;
use rollout::judgement::guards::GuardAction;
use rollout::release::integrations::Hook;
use rollout::release::plan::Promotion;
use rollout::routing::table::StickyKey;

use crate::fields::guards;
use crate::fields::values::{is_token, parsed, token, upstream, url};
use crate::fields::webhooks;
use crate::reader::{Item, Log, Map, did_you_mean};

/// What our annotations begin with.
pub(crate) const PREFIX: &str = "serin.dev/";
/// The annotations that there are.
pub(crate) const ANNOTATIONS: &[&str] = &[
    "serin.dev/promotion",
    "serin.dev/promotion-hook",
    "serin.dev/upstream-primary",
    "serin.dev/upstream-canary",
    "serin.dev/sticky",
    "serin.dev/guards",
    "serin.dev/request-duration-quantile",
];

/// The choices made, or their defaults.
pub(crate) struct Choices<'a> {
    pub(crate) primary: Option<Upstream>,
    pub(crate) canary: Option<Upstream>,
    /// The field with the canary's upstream in a `serin.dev` document.
    pub(crate) canary_at: Option<Item<'a>>,
    pub(crate) promotion: Promotion,
    pub(crate) sticky: Option<StickyKey>,
    /// What the guards do when they trip, where `analysis` does not say; `None` turns them off.
    pub(crate) guards: Option<GuardAction>,
    /// The quantile of `request-duration` where the metric has none of its own.
    pub(crate) quantile: Option<f64>,
}

impl Default for Choices<'_> {
    fn default() -> Self {
        Self {
            primary: None,
            canary: None,
            canary_at: None,
            promotion: Promotion::Copy { hook: None },
            sticky: None,
            guards: Some(GuardAction::Abort),
            quantile: None,
        }
    }
}

/// From a `flagger.app` document's annotations; those of other owners are none of our business.
pub(crate) fn from_annotations<'a>(annotations: &[(String, Item<'a>)], log: &mut Log) -> Choices<'a> {
    let mut choices = Choices::default();
    let mut swap = None;
    let mut hook = None;
    for (name, item) in annotations.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let Some(text) = item.text(log) else { continue };
        match name.as_str() {
            "serin.dev/promotion" => swap = item.one_of(log, &["copy", "swap"]).filter(|mode| *mode == "swap"),
            "serin.dev/promotion-hook" => hook = url(item, log).map(|url| (item, url)),
            "serin.dev/upstream-primary" => choices.primary = parsed(item, Upstream::parse(&text), log),
            "serin.dev/upstream-canary" => choices.canary = parsed(item, Upstream::parse(&text), log),
            "serin.dev/guards" => choices.guards = guards::action(item, log).unwrap_or(choices.guards),
            "serin.dev/gates" => {
                item.refuse(log, "is an earlier name; write serin.dev/guards: guards judge, gates are approvals");
            }
            "serin.dev/sticky" => choices.sticky = sticky_text(item, &text, log),
            "serin.dev/request-duration-quantile" => choices.quantile = quantile_text(item, &text, log),
            _ => item.refuse(log, format!("belongs to an unknown annotation{}", did_you_mean(name, ANNOTATIONS))),
        }
    }
    let hook = hook.map(|(item, url)| (item, webhooks::promotion_at(url)));
    choices.promotion = promotion(swap.is_some(), hook, log);
    choices
}

/// From a `serin.dev` document's fields.
pub(crate) fn from_spec<'a>(
    spec: &mut Map<'a>,
    annotations: &[(String, Item<'a>)],
    namespace: &str,
    log: &mut Log,
) -> Choices<'a> {
    for (_, item) in annotations.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        item.refuse(log, "belongs to an annotation for flagger.app manifests; this kind has the field in spec");
    }
    let mut choices = Choices::default();
    if let Some(mut fields) = spec.take("upstreams", log).and_then(|item| item.map(log)) {
        choices.primary = fields.take("primary", log).and_then(|item| upstream(&item, log));
        choices.canary_at = fields.take("canary", log);
        choices.canary = choices.canary_at.as_ref().and_then(|item| upstream(item, log));
        fields.finish(log, &[]);
    }
    if let Some(mut fields) = spec.take("promotion", log).and_then(|item| item.map(log)) {
        let mode = fields.take("mode", log).and_then(|item| item.one_of(log, &["copy", "swap"]));
        let item = fields.take("hook", log);
        let hook = item.as_ref().and_then(|item| webhooks::promotion(item, namespace, log).map(|hook| (item, hook)));
        choices.promotion = promotion(mode == Some("swap"), hook, log);
        fields.finish(log, &[]);
    }
    choices.sticky = spec.take("sticky", log).and_then(|item| sticky_fields(&item, log));
    choices
}

fn promotion(swap: bool, hook: Option<(&Item<'_>, Hook)>, log: &mut Log) -> Promotion {
    match (swap, hook) {
        (false, hook) => Promotion::Copy { hook: hook.map(|(_, hook)| hook) },
        (true, None) => Promotion::Swap,
        (true, Some((item, _))) => {
            item.refuse(
                log,
                "has no effect when promotion is swap: the roles change and nothing is deployed; remove one",
            );
            Promotion::Swap
        }
    }
}

fn sticky_text(item: &Item<'_>, text: &str, log: &mut Log) -> Option<StickyKey> {
    match text.split_once(':') {
        Some(("header", name)) if is_token(name) => Some(StickyKey::Header(name.to_owned())),
        Some(("cookie", name)) if is_token(name) => Some(StickyKey::Cookie(name.to_owned())),
        None if text == "clientAddress" => Some(StickyKey::ClientAddress),
        _ => {
            item.refuse(log, "is not a valid sticky key; write header:NAME, cookie:NAME or clientAddress");
            None
        }
    }
}

fn sticky_fields(item: &Item<'_>, log: &mut Log) -> Option<StickyKey> {
    let mut fields = item.map(log)?;
    let header = fields.take("header", log).and_then(|item| token(&item, log)).map(StickyKey::Header);
    let cookie = fields.take("cookie", log).and_then(|item| token(&item, log)).map(StickyKey::Cookie);
    let address = fields.take("clientAddress", log).and_then(|item| item.on(log));
    fields.finish(log, &[]);
    let address = address.map(|()| StickyKey::ClientAddress);
    let mut keys = [header, cookie, address].into_iter().flatten();
    let key = keys.next();
    if key.is_none() || keys.next().is_some() {
        item.refuse(log, "must name exactly one key: header: NAME, cookie: NAME or clientAddress: true");
    }
    key
}

fn quantile_text(item: &Item<'_>, text: &str, log: &mut Log) -> Option<f64> {
    let value = text.parse::<f64>().ok().filter(|value| *value > 0.0 && *value < 1.0);
    if value.is_none() {
        item.refuse(log, "must be a number between 0 and 1, both excluded, such as \"0.99\"");
    }
    value
}
