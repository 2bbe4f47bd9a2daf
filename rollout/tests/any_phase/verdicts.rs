//! What may be found of a release: verdicts of each kind, and answers of others.

use proptest::prelude::*;
use rollout::base::time::Millis;
use rollout::judgement::certificate::{CertificateFinding, CertificateVerdict};
use rollout::judgement::gone_workers::LeftOut;
use rollout::judgement::guards::{EventCount, GuardAction, GuardName, GuardRule, GuardsVerdict};
use rollout::judgement::primary_watch::PrimaryVerdict;
use rollout::release::inquiry::Reply;
use rollout::release::integrations::MetricError;
use rollout::release::threshold_checks::{CheckResult, ChecksVerdict};

/// A certificate with this evidence, on so many requests.
pub(crate) fn certificate(ln_e: f64, requests: u64) -> CertificateVerdict {
    let rule = GuardRule::Slo { limit: 0.01, unless_primary_also: false };
    let findings =
        vec![CertificateFinding { rule, ln_e, canary: EventCount { events: 0, trials: requests }, pending: 0 }];
    CertificateVerdict {
        findings,
        ln_needed: 3.0,
        dwell: Millis::from_secs(10),
        left_out: LeftOut::NONE,
        is_void: false,
    }
}

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
