//! `spec.analysis.advance` and `certificate`: what a step is left after. Our own kind alone; Flagger has only intervals.

use rollout::judgement::certificate::{Certificate, Otherwise, Patience, certifiable};
use rollout::judgement::guards::Guards;
use rollout::release::plan::{Advance, Flavour, Strategy};

use crate::reader::{Log, Map};

/// Reads both. Without a word, a release with something to certify advances on certificate.
pub(crate) fn read(
    fields: &mut Map<'_>,
    flavour: Flavour,
    guards: &Guards,
    strategy: &Strategy,
    log: &mut Log,
) -> Advance {
    if flavour == Flavour::Flagger {
        return Advance::Interval;
    }
    let chosen = fields.take("advance", log).and_then(|item| item.one_of(log, &["certificate", "interval"]));
    let settings = fields.take("certificate", log);
    let certificate =
        settings.as_ref().and_then(|item| item.map(log)).map_or(Certificate::USUAL, |fields| certificate(fields, log));
    let has_a_use = certifiable(guards).next().is_some() && matches!(strategy, Strategy::Steps(_));
    if chosen == Some("certificate") || (chosen.is_none() && has_a_use) {
        return Advance::Certificate(certificate);
    }
    if let Some(item) = settings {
        item.warn(log, "is not used: this release is checked at each interval");
    }
    Advance::Interval
}

fn certificate(mut fields: Map<'_>, log: &mut Log) -> Certificate {
    let usual = Certificate::USUAL;
    let certificate = Certificate {
        alpha: fields.take("alpha", log).and_then(|item| item.number(log)).unwrap_or(usual.alpha),
        min_dwell: fields.take("minDwell", log).and_then(|item| item.span(log)).unwrap_or(usual.min_dwell),
        undecided: patience(&mut fields, "undecided", usual.undecided, log),
        no_data: patience(&mut fields, "noData", usual.no_data, log),
    };
    fields.finish(log, &[]);
    certificate
}

fn patience(fields: &mut Map<'_>, key: &'static str, usual: Patience, log: &mut Log) -> Patience {
    let Some(mut fields) = fields.take(key, log).and_then(|item| item.map(log)) else { return usual };
    let after = fields.take("after", log).and_then(|item| item.span(log)).unwrap_or(usual.after);
    let then = match fields.take("then", log).and_then(|item| item.one_of(log, &["hold", "pause", "fail"])) {
        Some("pause") => Otherwise::Pause,
        Some("fail") => Otherwise::Fail,
        _ => Otherwise::Hold,
    };
    fields.finish(log, &[]);
    Patience { after, then }
}
