//! `spec.analysis.guards`: sequential tests that may abort, pause or notify at any moment. One word for all of them, or
//! each by itself.
//!
//! The limits are the metrics' own `thresholdRange`; here is only what a guard does and how strict a comparison is.

use rollout::base::time::Micros;
use rollout::judgement::guards::GuardAction;
use rollout::judgement::sample_ratio::SampleRatio;
use rollout::release::default_guards::{GuardSettings, RelativeSettings};
use rollout::release::plan::Flavour;

use crate::reader::{Item, Log, Map};

/// Reads `guards`. `default` is what all do where nothing is said; `None` is off.
pub(crate) fn read(
    fields: &mut Map<'_>,
    flavour: Flavour,
    default: Option<GuardAction>,
    log: &mut Log,
) -> GuardSettings {
    // Beside Flagger's checks guards may abort earlier than those would; what those let pass is only reported.
    let comparison = match flavour {
        Flavour::Flagger => GuardAction::Notify,
        Flavour::Serin => GuardAction::Pause,
    };
    let item = if flavour == Flavour::Serin { fields.take("guards", log) } else { None };
    let Some(item) = item else { return GuardSettings::all(default, comparison) };
    if item.is_text() {
        return GuardSettings::all(action(&item, log).unwrap_or(default), comparison);
    }
    let Some(mut each) = item.map(log) else { return GuardSettings::all(default, comparison) };
    let word = each.take("action", log).and_then(|item| action(&item, log));
    let mut settings = GuardSettings::all(word.unwrap_or(default), comparison);
    settings.alpha = number(&mut each, "alpha", log).unwrap_or(settings.alpha);
    settings.max_cluster = each
        .take("maxCluster", log)
        .and_then(|item| item.whole(log, 1, i64::from(u32::MAX)))
        .and_then(|count| u32::try_from(count).ok());
    slo(&mut each, &mut settings, log);
    regression(&mut each, &mut settings, log);
    latency(&mut each, &mut settings, log);
    latency_regression(&mut each, &mut settings, log);
    relative(&mut each, "clientErrors", &mut settings.client_errors, &mut settings.client_errors_beyond, log);
    relative(&mut each, "abandonment", &mut settings.abandonment, &mut settings.abandonment_beyond, log);
    sample_ratio(&mut each, &mut settings, log);
    each.finish(log, &[]);
    settings
}

/// `abort`, `pause`, `notify` or `off`, which is `Some(None)`; `None` after a mistake.
#[expect(clippy::option_option, reason = "nothing read, and read as off, are two things")]
pub(crate) fn action(item: &Item<'_>, log: &mut Log) -> Option<Option<GuardAction>> {
    Some(match item.one_of(log, &["abort", "pause", "notify", "off"])? {
        "abort" => Some(GuardAction::Abort),
        "pause" => Some(GuardAction::Pause),
        "notify" => Some(GuardAction::Notify),
        _ => None,
    })
}

/// One guard: a word, or a map with `action` and its other settings.
fn guard(
    each: &mut Map<'_>,
    name: &'static str,
    does: &mut Option<GuardAction>,
    log: &mut Log,
    rest: impl FnOnce(&mut Map<'_>, &mut Log),
) {
    let Some(item) = each.take(name, log) else { return };
    if item.is_text() {
        *does = action(&item, log).unwrap_or(*does);
        return;
    }
    let Some(mut fields) = item.map(log) else { return };
    if let Some(item) = fields.take("action", log) {
        *does = action(&item, log).unwrap_or(*does);
    }
    rest(&mut fields, log);
    fields.finish(log, &[]);
}

fn number(fields: &mut Map<'_>, name: &'static str, log: &mut Log) -> Option<f64> {
    fields.take(name, log)?.number(log)
}

/// Percent in the manifest.
fn rate(fields: &mut Map<'_>, name: &'static str, log: &mut Log) -> Option<f64> {
    number(fields, name, log).map(|percent| percent / 100.0)
}

fn slo(each: &mut Map<'_>, settings: &mut GuardSettings, log: &mut Log) {
    let unless = &mut settings.unless_primary_also;
    guard(each, "slo", &mut settings.slo, log, |fields, log| forgiven(fields, unless, log));
}

fn latency(each: &mut Map<'_>, settings: &mut GuardSettings, log: &mut Log) {
    let unless = &mut settings.latency_unless_primary_also;
    guard(each, "latency", &mut settings.latency, log, |fields, log| forgiven(fields, unless, log));
}

fn forgiven(fields: &mut Map<'_>, unless: &mut bool, log: &mut Log) {
    if let Some(is_forgiven) = fields.take("unlessPrimaryAlso", log).and_then(|item| item.boolean(log)) {
        *unless = is_forgiven;
    }
}

fn relative(
    each: &mut Map<'_>,
    name: &'static str,
    does: &mut Option<GuardAction>,
    beyond: &mut RelativeSettings,
    log: &mut Log,
) {
    guard(each, name, does, log, |fields, log| {
        beyond.margin = number(fields, "margin", log).unwrap_or(beyond.margin);
        beyond.floor_rate = rate(fields, "floor", log).unwrap_or(beyond.floor_rate);
    });
}

fn regression(each: &mut Map<'_>, settings: &mut GuardSettings, log: &mut Log) {
    let (margin, floor) = (&mut settings.margin, &mut settings.floor_rate);
    guard(each, "regression", &mut settings.regression, log, |fields, log| {
        *margin = number(fields, "margin", log).unwrap_or(*margin);
        *floor = rate(fields, "floor", log);
    });
}

fn latency_regression(each: &mut Map<'_>, settings: &mut GuardSettings, log: &mut Log) {
    let (margin, floor) = (&mut settings.latency_margin, &mut settings.floor_latency);
    guard(each, "latencyRegression", &mut settings.latency_regression, log, |fields, log| {
        *margin = number(fields, "margin", log).unwrap_or(*margin);
        let span = fields.take("floor", log).and_then(|item| item.span(log));
        *floor = span.map(|span| Micros(span.0.saturating_mul(1000)));
    });
}

fn sample_ratio(each: &mut Map<'_>, settings: &mut GuardSettings, log: &mut Log) {
    let usual = GuardSettings::all(Some(GuardAction::Abort), GuardAction::Abort).sample_ratio;
    let Some(mut ratio) = settings.sample_ratio.or(usual) else { return };
    let mut does = settings.sample_ratio.map(|ratio| ratio.action);
    guard(each, "sampleRatio", &mut does, log, |fields, log| {
        ratio.tolerance = rate(fields, "tolerance", log).unwrap_or(ratio.tolerance);
        ratio.alpha = number(fields, "alpha", log).unwrap_or(ratio.alpha);
    });
    settings.sample_ratio = does.map(|action| SampleRatio { action, ..ratio });
}
