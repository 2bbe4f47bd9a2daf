//! Every phase that a release can be in, for laws that hold in all of them.

pub(crate) mod verdicts;

use std::num::NonZeroUsize;

use proptest::prelude::*;
use rollout::base::time::Millis;
use rollout::release::inquiry::{Callee, Inquiry, Purpose};
use rollout::release::phase::{
    Awaiting, Cause, Ended, Finalising, Hold, OnStep, Pending, Phase, Preparing, Promoting, ReleaseId, Run, StepState,
    Underway,
};

use crate::fixture::{percent, upstream, word};

/// When what happens in the laws happens.
pub(crate) const NOW: Millis = Millis(50_000);

pub(crate) fn holds() -> impl Strategy<Value = Hold> {
    let elsewhere = Hold::DefaultUpstream { node: "envoy-1".into(), upstream: upstream("web-canary") };
    prop_oneof![Just(Hold::NoTraffic), Just(Hold::Undecided), Just(Hold::Unsupported), Just(elsewhere)]
}

prop_compose! {
    fn runs()(release in 1u64..4, revision in 0..3, failed_checks in 0u32..5) -> Run {
        Run {
            release: ReleaseId(release), revision: word(&format!("v{revision}")), actor: word("ana"), started_at: Millis(1),
            accepted_by: None, phase_at: Millis(1), failed_checks, blind_checks: 0, round: 1, tripped: vec![],
            primary_accepted_by: None,
        }
    }
}

prop_compose! {
    fn pending()(
        check_at in 0u64..100_000, hold in prop::option::of(holds()),
        inquiry in prop::option::weighted(0.4, (purposes(), callees(), any::<bool>())),
    ) -> Pending {
        let inquiry = inquiry.map(|(purpose, callee, is_late)| {
            let until = if is_late { NOW } else { Millis(90_000) };
            Inquiry { purpose, open: vec![callee], refused: vec![], until }
        });
        Pending { check_at: Millis(check_at), inquiry, agreed: vec![], hold }
    }
}

prop_compose! {
    fn steps()(number in 1usize..=3, at in 0u64..50_000, is_proven in any::<bool>(), set in prop::option::weighted(0.3, 0u32..=60)) -> StepState {
        StepState { number: NonZeroUsize::new(number).unwrap(), weight: set.map(percent), at: Millis(at), is_proven, is_claimed: false }
    }
}

prop_compose! {
    fn on_steps()(run in runs(), step in steps(), pending in pending()) -> OnStep {
        let (round_at, gate_at) = (pending.check_at, step.at);
        OnStep { run, step, pending, round_at, gate_at }
    }
}

fn preparing() -> impl Strategy<Value = Preparing> {
    (runs(), pending()).prop_map(|(run, pending)| Preparing { run, pending })
}

pub(crate) fn underway() -> impl Strategy<Value = Underway> {
    prop_oneof![1 => preparing().prop_map(Underway::Preparing), 3 => on_steps().prop_map(Underway::OnStep)]
}

prop_compose! {
    fn promoting()(run in runs(), step in prop::option::weighted(0.75, steps()), check_at in 0u64..100_000, awaiting in waits(), is_paused in any::<bool>()) -> Promoting {
        Promoting { run, step, check_at: Millis(check_at), awaiting, is_paused }
    }
}

fn waits() -> impl Strategy<Value = Awaiting> {
    prop_oneof![
        Just(Awaiting::Hook),
        Just(Awaiting::Confirmation { after: None }),
        Just(Awaiting::Confirmation { after: Some("status 500".into()) }),
        Just(Awaiting::Traffic),
    ]
}

prop_compose! {
    fn finalising()(run in runs(), steps in 0usize..=3, deadline in 0u64..100_000) -> Finalising {
        Finalising { run, steps, deadline: Millis(deadline) }
    }
}

fn purposes() -> impl Strategy<Value = Purpose> {
    use Purpose::{Check, Increase, PreRollout, Promotion, Rollout};
    prop::sample::select(vec![Rollout, PreRollout, Check, Increase, Promotion])
}

/// The hooks of the laws' plans, their metric, and the hook that promotes.
pub(crate) fn callees() -> impl Strategy<Value = Callee> {
    prop_oneof![5 => (0usize..5).prop_map(Callee::Hook), 2 => Just(Callee::Metric(0)), 1 => Just(Callee::Promotion)]
}

pub(crate) fn phases() -> impl Strategy<Value = Phase> {
    let ended = Ended { release: ReleaseId(1), revision: word("v1"), at: Millis(5) };
    let failed = Phase::Failed(ended.clone(), Cause::Requested { actor: word("ana"), reason: String::new() });
    prop_oneof![
        1 => Just(Phase::Initialized),
        4 => underway().prop_map(Phase::Progressing),
        2 => underway().prop_map(Phase::Paused),
        1 => preparing().prop_map(Phase::Waiting),
        2 => on_steps().prop_map(Phase::WaitingPromotion),
        3 => promoting().prop_map(Phase::Promoting),
        2 => finalising().prop_map(Phase::Finalising),
        1 => Just(Phase::Succeeded(ended)),
        2 => Just(failed),
    ]
}
