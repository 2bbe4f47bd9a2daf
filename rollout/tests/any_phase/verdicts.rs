//! What may be found of a release: verdicts of each kind, and answers of others.

use proptest::prelude::*;
use rollout::judgement::guards::{GuardAction, GuardName, GuardRule, GuardsVerdict};
use rollout::judgement::primary_watch::PrimaryVerdict;
use rollout::release::inquiry::Reply;
use rollout::release::integrations::MetricError;
use rollout::release::threshold_checks::{CheckResult, ChecksVerdict};

pub(crate) fn replies() -> impl Strategy<Value = Reply> {
    prop_oneof![
        3 => Just(Reply::Hook(Ok(()))),
        2 => Just(Reply::Hook(Err("status 500".into()))),
        1 => Just(Reply::Metric(Ok(1.0))),
        1 => Just(Reply::Metric(Ok(1e9))),
        1 => Just(Reply::Metric(Err(MetricError::NoValue))),
    ]
}

pub(crate) fn tripped(action: GuardAction) -> GuardsVerdict {
    GuardsVerdict { findings: Vec::new(), toward_abort: 1.0, ratio: None, tripped: Some((action, GuardName::Slo)) }
}

pub(crate) fn primary(fails: bool) -> PrimaryVerdict {
    let rule = GuardRule::Slo { limit: 0.01, unless_primary_also: false };
    PrimaryVerdict { findings: vec![], ln_needed: 4.6, failing: fails.then_some(rule) }
}

pub(crate) fn verdict(answer: CheckResult) -> ChecksVerdict {
    ChecksVerdict { answer, findings: vec![] }
}
