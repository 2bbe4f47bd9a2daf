//! What a release does besides climbing its weights: mirroring, steps with a dwell or a pause, bake time, deadlines.

use rollout::release::plan::{Course, Deadlines, Flavour, OnPrimaryFailure, Promotion, Stop, Strategy};
use rollout::routing::table::WeightPpm;

use crate::fields::context::Around;
use crate::fields::values::{percent, ppm};
use crate::reader::{Item, Log, Map};

/// Takes its fields. `stops` came with the strategy.
pub(crate) fn read(
    fields: &mut Map<'_>,
    strategy: &Strategy,
    is_matched: bool,
    stops: Vec<Stop>,
    around: &Around<'_>,
    log: &mut Log,
) -> Course {
    let is_ab = is_matched && matches!(strategy, Strategy::Iterations(_));
    let own = around.flavour == Flavour::Serin;
    let bake = if own { fields.take("bakeTime", log).and_then(|item| item.span(log)) } else { None };
    let deadlines = if own { fields.take("deadlines", log) } else { None };
    let on_primary_failure = if own { on_primary_failure(fields, log) } else { OnPrimaryFailure::default() };
    Course {
        stops,
        mirror: mirror(fields, is_ab, around.flavour, log),
        promotion_step: promotion_step(fields, &around.choices.promotion, log),
        bake,
        deadlines: deadlines.map(|item| self::deadlines(&item, log)).unwrap_or_default(),
        on_primary_failure,
        ..Course::default()
    }
}

/// `steps`: weights with what each asks for.
pub(crate) fn steps(item: &Item<'_>, flavour: Flavour, log: &mut Log) -> Option<(Vec<WeightPpm>, Vec<Stop>)> {
    let items = item.list(log);
    let read: Vec<_> = items.iter().filter_map(|item| step(item, flavour, log)).collect();
    (read.len() == items.len()).then(|| read.into_iter().unzip())
}

fn step(item: &Item<'_>, flavour: Flavour, log: &mut Log) -> Option<(WeightPpm, Stop)> {
    let mut fields = item.map(log)?;
    let weight = fields.need("weight", log).and_then(|item| percent(&item, flavour, log)).and_then(ppm);
    let dwell = fields.take("dwell", log).and_then(|item| item.span(log)).unwrap_or_default();
    let pause = fields.take("pause", log).and_then(|item| item.boolean(log)) == Some(true);
    fields.finish(log, &[]);
    Some((weight?, Stop { dwell, pause }))
}

fn mirror(fields: &mut Map<'_>, is_ab: bool, flavour: Flavour, log: &mut Log) -> Option<WeightPpm> {
    let mirror = fields.take("mirror", log);
    let is_on = mirror.as_ref().and_then(|item| item.boolean(log)) == Some(true);
    let share = fields.take("mirrorWeight", log);
    let weight = share.as_ref().and_then(|item| percent(item, Flavour::Serin, log));
    if let (Some(item), false) = (&share, is_on) {
        item.warn(log, "is not used: there is no mirror: true");
    }
    let mirror = mirror.filter(|_| is_on)?;
    if flavour == Flavour::Flagger {
        if is_ab {
            mirror.warn(log, "is not used: with match and iterations Flagger mirrors nothing");
            return None;
        }
        if let (Some(item), Some(0.0)) = (&share, weight) {
            item.warn(log, "means 100, as in Flagger: all requests are mirrored");
            return Some(WeightPpm::WHOLE);
        }
    }
    weight.map_or(Some(WeightPpm::WHOLE), ppm)
}

fn promotion_step(fields: &mut Map<'_>, promotion: &Promotion, log: &mut Log) -> Option<WeightPpm> {
    let item = fields.take("stepWeightPromotion", log)?;
    let step = percent(&item, Flavour::Serin, log).filter(|step| *step > 0.0)?;
    if *promotion == Promotion::Swap {
        item.warn(log, "is not used: when the roles change, no traffic returns to the former primary");
        return None;
    }
    ppm(step)
}

fn on_primary_failure(fields: &mut Map<'_>, log: &mut Log) -> OnPrimaryFailure {
    match fields.take("onPrimaryFailure", log).and_then(|item| item.one_of(log, &["hold", "shift"])) {
        Some("shift") => OnPrimaryFailure::Shift,
        _ => OnPrimaryFailure::Hold,
    }
}

fn deadlines(item: &Item<'_>, log: &mut Log) -> Deadlines {
    let Some(mut fields) = item.map(log) else { return Deadlines::default() };
    let mut span = |key, log: &mut Log| fields.take(key, log).and_then(|item| item.span(log));
    let deadlines = Deadlines {
        waiting: span("waiting", log),
        progressing: span("progressing", log),
        waiting_promotion: span("waitingPromotion", log),
        promoting: span("promoting", log),
    };
    fields.finish(log, &[]);
    deadlines
}
