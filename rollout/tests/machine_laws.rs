//! The state machine's laws: it answers every input in every phase, and no input breaks what a release promises.

#![cfg(test)]

mod fixture;

use proptest::prelude::*;
use rollout::base::time::Millis;
use rollout::controller::canary::Canary;
use rollout::judgement::certificate::{CertificateFinding, CertificateVerdict, Otherwise};
use rollout::judgement::guards::{GuardAction, GuardName, GuardRule, GuardsVerdict};
use rollout::release::approvals::Approvals;
use rollout::release::inquiry::{Callee, Inquiry, Purpose, Reply};
use rollout::release::integrations::{HookKind, MetricError};
use rollout::release::machine::{Context, Effect, Input, step};
use rollout::release::phase::{Awaiting, Cause, Ended, Hold, Note, Phase, ReleaseId, Run};
use rollout::release::plan::{Advance, Plan, Promotion, Strategy as Shares};
use rollout::release::threshold_checks::{CheckResult, ChecksVerdict};
use rollout::routing::table::{Epoch, WeightPpm};

use fixture::{call, hook, metric, on_certificate, percent, plan, unsupported, upstream, word};

fn plans() -> impl Strategy<Value = Plan> {
    let promotions = prop_oneof![Just(hook()), Just(Promotion::Copy { hook: None }), Just(Promotion::Swap)];
    let way = (any::<bool>(), prop::option::of((otherwise(), otherwise())));
    let course = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (promotions, any::<bool>(), 1u32..4, way, course).prop_map(|(promotion, is_blocked, threshold, way, course)| {
        let (by_rules, patience) = way;
        let (asks, mirrors, bakes, returns) = course;
        plan("web", |spec| {
            if asks {
                use HookKind::{ConfirmPromotion, ConfirmRollout, ConfirmTrafficIncrease, PreRollout, Rollback};
                let kinds = [ConfirmRollout, PreRollout, Rollback, ConfirmTrafficIncrease, ConfirmPromotion];
                spec.outside.hooks = kinds.map(|kind| call(kind.name(), kind)).to_vec();
                spec.outside.metrics.push(metric("errors"));
            }
            spec.course.mirror = mirrors.then(|| percent(100));
            spec.course.bake = bakes.then_some(Millis(20_000));
            spec.course.promotion_step = returns.then(|| percent(5));
            spec.promotion = promotion;
            spec.threshold = threshold;
            if is_blocked {
                spec.unsupported.push(unsupported());
            }
            match patience {
                Some((undecided, no_data)) => on_certificate(spec, undecided, no_data),
                None if by_rules => spec.strategy = Shares::Iterations(3),
                None => {}
            }
        })
    })
}

fn otherwise() -> impl Strategy<Value = Otherwise> {
    prop::sample::select(vec![Otherwise::Hold, Otherwise::Pause, Otherwise::Fail])
}

/// So much of what a certificate needs, on so many requests.
fn certificate(ln_e: f64, requests: u64) -> CertificateVerdict {
    let rule = GuardRule::Slo { limit: 0.01, unless_primary_also: false };
    let findings = vec![CertificateFinding { rule, ln_e, canary: (0, requests), pending: 0 }];
    CertificateVerdict { findings, needed: 3.0, dwell: Millis::from_secs(10) }
}

fn holds() -> impl Strategy<Value = Hold> {
    let elsewhere = Hold::DefaultUpstream { node: "envoy-1".into(), upstream: upstream("web-canary") };
    prop_oneof![Just(Hold::NoTraffic), Just(Hold::Undecided), Just(Hold::Unsupported), Just(elsewhere)]
}

prop_compose! {
    fn runs()(
        release in 1u64..4, revision in 0..3, step in 0usize..=3, failed_checks in 0u32..5,
        (step_at, check_at, is_proven) in (0u64..50_000, 0u64..100_000, any::<bool>()), set in prop::option::weighted(0.3, 0u32..=60), hold in prop::option::of(holds()),
        inquiry in prop::option::weighted(0.4, (purposes(), callees(), any::<bool>())),
    ) -> Run {
        let step = if hold == Some(Hold::Unsupported) { 0 } else { step };
        let inquiry = inquiry.map(|(purpose, callee, is_late)| {
            let until = if is_late { NOW } else { Millis(90_000) };
            Inquiry { purpose, open: vec![callee], refused: vec![], until }
        });
        Run {
            release: ReleaseId(release), revision: word(&format!("v{revision}")), actor: word("ana"), started_at: Millis(1),
            step, weight: set.filter(|_| step > 0).map(percent), failed_checks, blind_checks: 0, phase_at: Millis(1), step_at: Millis(step_at),
            check_at: Millis(check_at), round: 1, inquiry, agreed: vec![], round_at: Millis(check_at), gate_at: Millis(step_at), is_proven,
            accepted_by: None, hold, tripped: vec![],
        }
    }
}

fn purposes() -> impl Strategy<Value = Purpose> {
    use Purpose::{Check, Increase, PreRollout, Promotion, Rollout};
    prop::sample::select(vec![Rollout, PreRollout, Check, Increase, Promotion])
}

/// The hooks of [`plans`], its metric, and the hook that promotes.
fn callees() -> impl Strategy<Value = Callee> {
    prop_oneof![5 => (0usize..5).prop_map(Callee::Hook), 2 => Just(Callee::Metric(0)), 1 => Just(Callee::Promotion)]
}

fn heard() -> impl Strategy<Value = Reply> {
    prop_oneof![
        3 => Just(Reply::Hook(Ok(()))),
        2 => Just(Reply::Hook(Err("status 500".into()))),
        1 => Just(Reply::Metric(Ok(1.0))),
        1 => Just(Reply::Metric(Ok(1e9))),
        1 => Just(Reply::Metric(Err(MetricError::NoValue))),
    ]
}

fn context<'a>(plan: &'a Plan, hold: Option<&'a Hold>) -> Context<'a> {
    static CLOSED: std::sync::LazyLock<Approvals> = std::sync::LazyLock::new(Approvals::default);
    Context { plan, approvals: &CLOSED, promoted: None, hold }
}

fn tripped(action: GuardAction) -> GuardsVerdict {
    GuardsVerdict { findings: Vec::new(), needed: 4.6, ratio: None, tripped: Some((action, GuardName::Slo)) }
}

fn phases() -> impl Strategy<Value = Phase> {
    let ended = Ended { release: ReleaseId(1), revision: word("v1"), at: Millis(5) };
    let failed = Phase::Failed(ended.clone(), Cause::Requested { actor: word("ana"), reason: String::new() });
    let waits = prop_oneof![
        Just(Awaiting::Hook),
        Just(Awaiting::Confirmation { after: None }),
        Just(Awaiting::Confirmation { after: Some("status 500".into()) }),
        Just(Awaiting::Traffic),
    ];
    prop_oneof![
        1 => Just(Phase::Initialized),
        4 => runs().prop_map(Phase::Progressing),
        2 => runs().prop_map(Phase::Paused),
        1 => runs().prop_map(|run| Phase::Waiting(Run { step: 0, weight: None, ..run })),
        2 => runs().prop_map(|run| Phase::WaitingPromotion(Run { step: run.step.max(1), ..run })),
        3 => (runs(), waits).prop_map(|(run, awaiting)| Phase::Promoting(run, awaiting)),
        2 => (runs(), 0u64..100_000).prop_map(|(run, deadline)| Phase::Finalising(run, Millis(deadline))),
        1 => Just(Phase::Succeeded(ended)),
        2 => Just(failed),
    ]
}

fn verdict(answer: CheckResult) -> ChecksVerdict {
    ChecksVerdict { answer, findings: vec![] }
}

fn inputs() -> impl Strategy<Value = Input> {
    let answers = prop::sample::select(vec![CheckResult::Pass, CheckResult::Fail, CheckResult::Undecided]);
    let causes = prop_oneof![
        Just(Cause::Withdrawn),
        Just(Cause::LostAbort { node: "envoy-1".into() }),
        Just(Cause::Requested { actor: word("bob"), reason: "no".into() }),
    ];
    prop_oneof![
        2 => (1u64..5, 0..3, any::<bool>()).prop_map(|(release, revision, accept_unsupported)| Input::Start {
            release: ReleaseId(release), revision: word(&format!("v{revision}")), actor: word("bob"), reason: String::new(), accept_unsupported,
        }),
        4 => answers.clone().prop_map(|answer| Input::Checked(verdict(answer))),
        2 => answers.prop_map(|answer| Input::Opened(verdict(answer))),
        4 => (0.0f64..6.0, 0u64..3).prop_map(|(ln_e, requests)| Input::Looked(certificate(ln_e, requests))),
        1 => causes.prop_map(Input::Abort),
        1 => Just(Input::Promote(word("bob"), "now".into())),
        1 => Just(Input::Retry(ReleaseId(5), word("bob"), String::new())),
        1 => Just(Input::Skip(word("bob"), "now".into())),
        1 => (0u32..=60).prop_map(|share| Input::SetWeight(percent(share), word("bob"), "so".into())),
        4 => (0u64..3, callees(), heard()).prop_map(|(round, callee, heard)| Input::Reply(round, callee, heard)),
        1 => Just(Input::Confirm(word("bob"), String::new())),
        1 => Just(Input::Pause(word("bob"), "lunch".into())),
        1 => Just(Input::Resume(word("bob"), String::new())),
        1 => (0usize..3).prop_map(Input::Settled),
        2 => prop::sample::select(vec![GuardAction::Notify, GuardAction::Pause, GuardAction::Abort]).prop_map(|action| Input::Tripped(tripped(action))),
    ]
}

/// The canary after one input, as the controller keeps it: what it was before if the input was refused.
fn after(plan: &Plan, phase: &Phase, input: Input, now: Millis) -> Canary {
    after_held(plan, None, phase, input, now)
}

/// The same while something holds every release.
fn after_held(plan: &Plan, hold: Option<&Hold>, phase: &Phase, input: Input, now: Millis) -> Canary {
    let mut canary = Canary::new(plan.clone(), Epoch(4));
    canary.phase = phase.clone();
    if let Ok(taken) = step(context(plan, hold), phase, input, now) {
        canary.take(taken, now);
    }
    canary
}

fn greatest(plan: &Plan) -> WeightPpm {
    plan.stage(plan.last_step()).weight
}

/// Whether the canary may be cut.
fn takes_traffic(phase: &Phase) -> bool {
    phase.judged().is_some() && !matches!(phase, Phase::Promoting(_, Awaiting::Traffic))
}

const NOW: Millis = Millis(50_000);

proptest! {
    #![proptest_config(fixture::cases(1500))]

    #[test]
    fn every_phase_answers_every_input_and_keeps_the_plan(plan in plans(), phase in phases(), input in inputs()) {
        let before = phase.run().and_then(|run| run.weight).unwrap_or(WeightPpm::ZERO);
        let set = if let Input::SetWeight(weight, ..) = &input { before.max(*weight) } else { before };
        let mut canary = after(&plan, &phase, input, NOW);
        prop_assert!(canary.phase.run().is_none_or(|run| run.step <= plan.last_step()), "{:?}", canary.phase);
        prop_assert!(canary.weight() <= greatest(&plan).max(set));
        let split = canary.issue(false).and_then(|entry| entry.routing?.split);
        let weight = split.as_ref().map_or(WeightPpm::ZERO, |split| split.weight);
        prop_assert_eq!(weight, canary.weight(), "what is shown is what is routed");
        prop_assert!(canary.phase.judged().is_some() || split.is_none(), "{:?} has a split", canary.phase);
    }

    #[test]
    fn only_a_new_release_leaves_an_end(plan in plans(), phase in phases(), input in inputs()) {
        if phase.run().is_none() && !matches!(input, Input::Start { .. } | Input::Retry(..)) {
            prop_assert_eq!(&after(&plan, &phase, input, NOW).phase, &phase);
        }
    }

    #[test]
    fn an_abort_ends_whatever_takes_traffic(plan in plans(), phase in phases(), is_lost in any::<bool>()) {
        let asked = Cause::Requested { actor: word("bob"), reason: "no".into() };
        let cause = if is_lost { Cause::LostAbort { node: "envoy-1".into() } } else { asked };
        if takes_traffic(&phase) {
            let ended = after(&plan, &phase, Input::Abort(cause.clone()), NOW).phase;
            prop_assert!(matches!(&ended, Phase::Failed(_, why) if *why == cause), "{ended:?}");
        }
    }

    #[test]
    fn a_failed_check_is_never_forgiven(plan in plans(), phase in phases(), hold in prop::option::of(holds())) {
        let Some(run) = phase.run().filter(|run| takes_traffic(&phase) && run.step > 0).cloned() else { return Ok(()) };
        let failing = after_held(&plan, hold.as_ref(), &phase, Input::Checked(verdict(CheckResult::Fail)), NOW);
        match failing.phase.run() {
            None => {
                prop_assert!(run.failed_checks + 1 >= plan.threshold);
                let is_cut = matches!(failing.phase, Phase::Failed(_, Cause::Checks { .. }));
                prop_assert!(is_cut, "{:?}", failing.phase);
            }
            Some(next) => {
                prop_assert!(run.failed_checks + 1 < plan.threshold, "the {}th must roll back", plan.threshold);
                prop_assert_eq!((next.failed_checks, next.step), (run.failed_checks + 1, run.step));
                prop_assert_eq!(failing.phase.name(), phase.name());
            }
        }
    }

    #[test]
    fn more_traffic_needs_a_passed_check_or_a_certificate_or_a_start(
        plan in plans(), phase in phases(), input in inputs(), hold in prop::option::of(holds()),
    ) {
        let before = { let mut canary = Canary::new(plan.clone(), Epoch(4)); canary.phase = phase.clone(); canary.weight() };
        let is_moving = matches!(phase, Phase::Progressing(_) | Phase::WaitingPromotion(_));
        let is_begun = phase.run().is_some_and(|run| run.step > 0);
        let may_grow = match &input {
            // Whoever passes these on has asked whether anything holds the release.
            Input::Start { .. } | Input::Retry(..) => true,
            Input::Skip(..) | Input::SetWeight(..) if is_begun => true,
            Input::Resume(..) | Input::Skip(..) if !is_begun => hold.is_none(),
            // The last approval before the first traffic; also of a silence that a tick ends.
            Input::Reply(..) | Input::Checked(..) | Input::Opened(..) if !is_begun => hold.is_none(),
            Input::Checked(verdict) | Input::Opened(verdict) => {
                // Where nobody sends requests there, hooks alone are asked.
                let is_dark = phase.run().is_some_and(|run| !plan.is_live(run.step));
                let is_good = verdict.answer == CheckResult::Pass || (is_dark && verdict.answer == CheckResult::Undecided);
                is_moving && is_good && hold.is_none()
            }
            Input::Looked(verdict) => {
                let has_dwelt = phase.run().is_some_and(|run| NOW.since(run.step_at) >= verdict.dwell);
                is_moving && verdict.is_certified() && hold.is_none() && has_dwelt
            }
            _ => false,
        };
        let grown = after_held(&plan, hold.as_ref(), &phase, input, NOW).weight() > before;
        prop_assert!(!grown || may_grow);
    }

    #[test]
    fn whoever_goes_on_without_proof_gives_no_less(plan in plans(), phase in phases()) {
        let of = |phase: &Phase| { let mut canary = Canary::new(plan.clone(), Epoch(4)); canary.phase = phase.clone(); canary.weight() };
        let is_on = |phase: &Phase| matches!(phase, Phase::Progressing(_) | Phase::Paused(_) | Phase::WaitingPromotion(_));
        for input in [Input::Skip(word("bob"), "now".into()), Input::Opened(verdict(CheckResult::Pass)), Input::Checked(verdict(CheckResult::Pass))] {
            let after = after(&plan, &phase, input, NOW).phase;
            prop_assert!(!is_on(&phase) || !is_on(&after) || of(&after) >= of(&phase), "{after:?}");
        }
    }

    #[test]
    fn what_holds_the_release_before_does_not_hold_a_new_one(plan in plans(), hold in holds(), is_accepted in any::<bool>()) {
        let input = || Input::Start { release: ReleaseId(1), revision: word("v9"), actor: word("bob"), reason: String::new(), accept_unsupported: is_accepted };
        let [held, free] = [Some(&hold), None].map(|hold| after_held(&plan, hold, &Phase::Initialized, input(), NOW).phase);
        prop_assert_eq!(held, free);
    }

    #[test]
    fn a_gate_that_opens_is_no_check(plan in plans(), phase in phases(), answer in 0usize..3) {
        let answer = [CheckResult::Pass, CheckResult::Fail, CheckResult::Undecided][answer];
        let after = after(&plan, &phase, Input::Opened(verdict(answer)), NOW).phase;
        let counted = |phase: &Phase| phase.run().map(|run| (run.step, run.failed_checks, run.blind_checks, run.check_at));
        let stands = |phase: &Phase| phase.run().map(|run| (run.step, run.step_at));
        let goes_on = stands(&after) != stands(&phase);
        let asks = after.run().is_some_and(|run| run.inquiry.is_some() || run.step == 0);
        let is_promoted = matches!(after, Phase::Promoting(..) | Phase::Finalising(..));
        prop_assert!(goes_on || asks || is_promoted || counted(&after) == counted(&phase), "{after:?}");
        prop_assert!(!matches!(after, Phase::Failed(..)) || after == phase);
    }

    #[test]
    fn a_pause_is_ended_by_a_person_who_means_it(plan in plans(), run in runs(), input in inputs()) {
        let release = run.release;
        let is_ending = match &input {
            Input::Resume(..) | Input::Promote(..) | Input::Skip(..) | Input::Abort(_) => true,
            Input::Start { revision, .. } => *revision != run.revision,
            _ => false,
        };
        let phase = after(&plan, &Phase::Paused(run), input, NOW).phase;
        let goes_on = matches!(&phase, Phase::Progressing(run) if run.release == release);
        prop_assert!(!goes_on || is_ending, "{phase:?}");
    }

    #[test]
    fn a_look_that_was_due_is_due_later(plan in plans(), run in runs(), answer in 0usize..3, ln_e in 0.0f64..6.0) {
        let answer = [CheckResult::Pass, CheckResult::Fail, CheckResult::Undecided][answer];
        for phase in [Phase::Progressing(run.clone()), Phase::Paused(run)] {
            let input = match plan.advance {
                Advance::Interval => Input::Checked(verdict(answer)),
                Advance::Certificate(_) => Input::Looked(certificate(ln_e, 5)),
            };
            let phase = after(&plan, &phase, input, NOW).phase;
            prop_assert!(phase.run().is_none_or(|run| run.check_at > NOW), "a due check would be due for ever");
        }
    }

    #[test]
    fn the_revision_is_promoted_once_and_roles_change_only_by_swap(plan in plans(), phase in phases(), input in inputs()) {
        let Ok(taken) = step(context(&plan, None), &phase, input, NOW) else { return Ok(()) };
        let count = |wanted: &dyn Fn(&Effect) -> bool| taken.effects.iter().filter(|effect| wanted(effect)).count();
        let swaps = count(&|effect| *effect == Effect::SwapRoles);
        let promoted = count(&|effect| matches!(effect, Effect::Promoted(_)));
        let is_new_end = matches!(taken.phase, Phase::Succeeded(_)) && taken.phase != phase;
        prop_assert_eq!(promoted, usize::from(is_new_end));
        prop_assert!(swaps <= 1 && count(&|effect| matches!(effect, Effect::Ask(_))) <= 1);
        prop_assert!(swaps == 0 || plan.promotion == Promotion::Swap);
        let aborted = taken.notes.iter().any(|note| matches!(note, Note::Aborted(_)));
        prop_assert_eq!(aborted, matches!(taken.phase, Phase::Failed(..)) && taken.phase != phase);
    }
}
