//! The state machine's laws: it answers every request and every fact in every phase, and none breaks what a release
//! promises.

#![cfg(test)]

mod any_phase;
mod fixture;

use proptest::prelude::*;
use rollout::base::time::Millis;
use rollout::controller::canary::Canary;
use rollout::judgement::certificate::Otherwise;
use rollout::judgement::guards::GuardAction;
use rollout::release::approvals::Approvals;
use rollout::release::inquiry::{Callee, Reply};
use rollout::release::integrations::HookKind;
use rollout::release::machine::{Context, Effect, Fact, Refusal, ReleaseRequest, Start, Transition, apply, request};
use rollout::release::phase::{Awaiting, Cause, Hold, Note, Phase, ReleaseId};
use rollout::release::plan::{Advance, OnPrimaryFailure, Plan, Promotion, Spec, Strategy as Shares};
use rollout::release::threshold_checks::CheckResult;
use rollout::routing::table::{Epoch, WeightPpm};

use any_phase::verdicts::{primary, replies, tripped, verdict};
use any_phase::{NOW, callees, holds, phases, underway};
use fixture::{call, certificate, hook, metric, on_certificate, percent, plan, unsupported, word};

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

/// Whatever may happen to a release.
#[derive(Clone, Debug)]
enum Input {
    Request(ReleaseRequest),
    Fact(Fact),
}

fn step(context: Context<'_>, phase: &Phase, input: Input, now: Millis) -> Result<Transition, Refusal> {
    match input {
        Input::Request(asked) => request(context, phase, asked, now),
        Input::Fact(fact) => Ok(apply(context, phase, fact, now)),
    }
}

fn context<'a>(plan: &'a Plan, hold: Option<&'a Hold>) -> Context<'a> {
    static CLOSED: std::sync::LazyLock<Approvals> = std::sync::LazyLock::new(Approvals::default);
    Context { plan, approvals: &CLOSED, promoted: None, hold, primary_fails: false, is_misrouted: false }
}

fn inputs() -> impl Strategy<Value = Input> {
    let answers = prop::sample::select(vec![CheckResult::Pass, CheckResult::Fail, CheckResult::Undecided]);
    let causes = prop_oneof![Just(Cause::Withdrawn), Just(Cause::LostAbort { node: "envoy-1".into() })];
    let actions = prop::sample::select(vec![GuardAction::Notify, GuardAction::Pause, GuardAction::Abort]);
    let (bob, now) = (|| word("bob"), || "now".to_owned());
    let requests = prop_oneof![
        2 => (1u64..5, 0..3, any::<bool>()).prop_map(|(release, revision, accept_unsupported)| {
            start(release, &format!("v{revision}"), accept_unsupported)
        }),
        1 => Just(ReleaseRequest::Abort(bob(), "no".into())),
        1 => Just(ReleaseRequest::Promote(bob(), now())),
        1 => Just(ReleaseRequest::Retry(ReleaseId(5), bob(), String::new())),
        1 => Just(ReleaseRequest::Skip(bob(), now())),
        1 => (0u32..=60).prop_map(move |share| ReleaseRequest::SetWeight(percent(share), bob(), "so".into())),
        1 => Just(ReleaseRequest::Confirm(bob(), String::new())),
        1 => Just(ReleaseRequest::ForceConfirm(bob(), now())),
        1 => Just(ReleaseRequest::Pause(bob(), "lunch".into())),
        1 => Just(ReleaseRequest::Resume(bob(), String::new())),
    ];
    let facts = prop_oneof![
        4 => answers.clone().prop_map(|answer| Fact::Checked(verdict(answer))),
        2 => answers.prop_map(|answer| Fact::GateOpened(verdict(answer))),
        4 => (0.0f64..6.0, 0u64..3).prop_map(|(ln_e, requests)| Fact::Certified(certificate(ln_e, requests))),
        1 => causes.prop_map(Fact::Aborted),
        1 => Just(Fact::AbortClaimed { node: "envoy-1".into(), epoch: Epoch(41) }),
        4 => (0u64..3, callees(), replies()).prop_map(|(round, callee, reply)| Fact::Replied { round, callee, reply }),
        1 => Just(Fact::RoutesCorrected),
        1 => (0usize..3).prop_map(|missing| Fact::RoutingConfirmed { missing }),
        2 => actions.prop_map(|action| Fact::GuardTripped(tripped(action))),
        1 => Just(Fact::PrimaryFails(primary(true))),
        1 => Just(Fact::PrimaryRecovered(primary(false))),
    ];
    prop_oneof![10 => requests.prop_map(Input::Request), 19 => facts.prop_map(Input::Fact)]
}

fn start(release: u64, revision: &str, accept_unsupported: bool) -> ReleaseRequest {
    let (release, revision) = (ReleaseId(release), word(revision));
    ReleaseRequest::Start(Start { release, revision, actor: word("bob"), reason: String::new(), accept_unsupported })
}

/// The same plan, but what is proven takes the users of a primary that fails.
fn shifting(plan: Plan) -> Plan {
    let mut spec = Spec::from(plan);
    spec.course.on_primary_failure = OnPrimaryFailure::Shift;
    Plan::new(spec).unwrap()
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
        canary.take(taken, 0, now);
    }
    canary
}

fn greatest(plan: &Plan) -> WeightPpm {
    plan.stage(plan.last_step()).weight
}

/// Whether the release may be aborted.
fn takes_traffic(phase: &Phase) -> bool {
    phase.judged().is_some() && phase.awaiting() != Some(&Awaiting::Traffic)
}

proptest! {
    #![proptest_config(fixture::cases(1500))]

    #[test]
    fn every_phase_answers_every_input_and_keeps_the_plan(plan in plans(), phase in phases(), input in inputs()) {
        let before = phase.step().and_then(|step| step.weight).unwrap_or(WeightPpm::ZERO);
        let set = if let Input::Request(ReleaseRequest::SetWeight(weight, ..)) = &input { before.max(*weight) } else { before };
        let mut canary = after(&plan, &phase, input, NOW);
        prop_assert!(canary.phase.steps() <= plan.last_step(), "{:?}", canary.phase);
        prop_assert!(canary.weight() <= greatest(&plan).max(set));
        let split = canary.issue(false).and_then(|entry| entry.routing?.split);
        let weight = split.as_ref().map_or(WeightPpm::ZERO, |split| split.weight);
        prop_assert_eq!(weight, canary.weight(), "what is shown is what is routed");
        prop_assert!(canary.phase.judged().is_some() || split.is_none(), "{:?} has a split", canary.phase);
    }

    #[test]
    fn only_a_new_release_leaves_an_end(plan in plans(), phase in phases(), input in inputs()) {
        if phase.run().is_none() && !matches!(input, Input::Request(ReleaseRequest::Start(_) | ReleaseRequest::Retry(..))) {
            prop_assert_eq!(&after(&plan, &phase, input, NOW).phase, &phase);
        }
    }

    #[test]
    fn an_abort_ends_whatever_takes_traffic(plan in plans(), phase in phases(), is_lost in any::<bool>()) {
        let (asked, lost) = (Cause::Requested { actor: word("bob"), reason: "no".into() }, Cause::LostAbort { node: "envoy-1".into() });
        let (input, cause) = if is_lost {
            (Input::Fact(Fact::Aborted(lost.clone())), lost)
        } else {
            (Input::Request(ReleaseRequest::Abort(word("bob"), "no".into())), asked)
        };
        if takes_traffic(&phase) {
            let ended = after(&plan, &phase, input, NOW).phase;
            prop_assert!(matches!(&ended, Phase::Failed(_, why) if *why == cause), "{ended:?}");
        }
    }

    #[test]
    fn a_strangers_word_stops_the_traffic_and_ends_no_release(plan in plans(), phase in phases()) {
        let plan = shifting(plan);
        let claimed = after(&plan, &phase, Input::Fact(Fact::AbortClaimed { node: "x".into(), epoch: Epoch(7) }), NOW).phase;
        prop_assert_eq!(claimed.run().map(|run| run.release), phase.run().map(|run| run.release));
        if takes_traffic(&phase) {
            prop_assert_eq!(claimed.step().and_then(|step| step.weight).unwrap_or_default(), WeightPpm::ZERO);
            prop_assert!(matches!(claimed, Phase::Paused(_) | Phase::Promoting(_)), "{claimed:?} goes on by itself");
            let round = claimed.run().map_or(0, |run| run.round);
            let hook = Fact::Replied { round, callee: Callee::Promotion, reply: Reply::Hook(Ok(())) };
            for fact in [Fact::PrimaryFails(primary(true)), hook] {
                let later = after(&plan, &claimed, Input::Fact(fact), NOW);
                prop_assert_eq!((later.weight(), later.phase.name()), (WeightPpm::ZERO, claimed.name()));
            }
        } else {
            let (was, is) = (phase.preparing().is_some(), claimed.preparing().is_some());
            prop_assert_eq!(was, is, "{:?}", claimed);
        }
    }

    #[test]
    fn a_failed_check_is_never_forgiven(plan in plans(), phase in phases(), hold in prop::option::of(holds())) {
        let Some(run) = phase.run().filter(|_| takes_traffic(&phase) && phase.step().is_some()).cloned() else { return Ok(()) };
        let failing = after_held(&plan, hold.as_ref(), &phase, Input::Fact(Fact::Checked(verdict(CheckResult::Fail))), NOW);
        match failing.phase.run() {
            None => {
                prop_assert!(run.failed_checks + 1 >= plan.threshold);
                let is_aborted = matches!(failing.phase, Phase::Failed(_, Cause::Checks { .. }));
                prop_assert!(is_aborted, "{:?}", failing.phase);
            }
            Some(next) => {
                prop_assert!(run.failed_checks + 1 < plan.threshold, "the {}th must roll back", plan.threshold);
                prop_assert_eq!((next.failed_checks, failing.phase.steps()), (run.failed_checks + 1, phase.steps()));
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
        let is_begun = phase.steps() > 0;
        let may_grow = match &input {
            // The controller has asked whether anything holds the release.
            Input::Request(ReleaseRequest::Start(_) | ReleaseRequest::Retry(..)) => true,
            Input::Request(ReleaseRequest::Skip(..) | ReleaseRequest::SetWeight(..)) if is_begun => true,
            Input::Request(ReleaseRequest::SetWeight(..)) => matches!(phase, Phase::Promoting(_) | Phase::Finalising(_)),
            Input::Request(ReleaseRequest::Resume(..) | ReleaseRequest::Skip(..)) if !is_begun => hold.is_none(),
            // The last approval before the first traffic; also of a silence that a tick ends.
            Input::Fact(Fact::Replied { .. } | Fact::Checked(_) | Fact::GateOpened(_)) if !is_begun => hold.is_none(),
            Input::Fact(Fact::Checked(verdict) | Fact::GateOpened(verdict)) => {
                // Where nobody sends requests there, hooks alone are asked.
                let is_dark = phase.run().is_some() && !plan.is_live(phase.steps());
                let is_good = verdict.answer == CheckResult::Pass || (is_dark && verdict.answer == CheckResult::Undecided);
                is_moving && is_good && hold.is_none()
            }
            Input::Fact(Fact::Certified(verdict)) => {
                let has_dwelt = phase.step().is_some_and(|step| NOW.since(step.at) >= verdict.dwell);
                is_moving && verdict.is_certified() && hold.is_none() && has_dwelt
            }
            _ => false,
        };
        let grown = after_held(&plan, hold.as_ref(), &phase, input, NOW).weight() > before;
        prop_assert!(!grown || may_grow);
    }

    #[test]
    fn going_on_without_proof_gives_no_less(plan in plans(), phase in phases()) {
        let of = |phase: &Phase| { let mut canary = Canary::new(plan.clone(), Epoch(4)); canary.phase = phase.clone(); canary.weight() };
        let is_on = |phase: &Phase| matches!(phase, Phase::Progressing(_) | Phase::Paused(_) | Phase::WaitingPromotion(_));
        let passes = || verdict(CheckResult::Pass);
        let skips = Input::Request(ReleaseRequest::Skip(word("bob"), "now".into()));
        for input in [skips, Input::Fact(Fact::GateOpened(passes())), Input::Fact(Fact::Checked(passes()))] {
            let after = after(&plan, &phase, input, NOW).phase;
            prop_assert!(!is_on(&phase) || !is_on(&after) || of(&after) >= of(&phase), "{after:?}");
        }
    }

    #[test]
    fn what_holds_the_release_before_does_not_hold_a_new_one(plan in plans(), hold in holds(), is_accepted in any::<bool>()) {
        let input = || Input::Request(start(1, "v9", is_accepted));
        let [held, free] = [Some(&hold), None].map(|hold| after_held(&plan, hold, &Phase::Initialized, input(), NOW).phase);
        prop_assert_eq!(held, free);
    }

    #[test]
    fn a_gate_that_opens_is_no_check(plan in plans(), phase in phases(), answer in 0usize..3) {
        let answer = [CheckResult::Pass, CheckResult::Fail, CheckResult::Undecided][answer];
        let after = after(&plan, &phase, Input::Fact(Fact::GateOpened(verdict(answer))), NOW).phase;
        let counted = |phase: &Phase| phase.run().map(|run| (phase.steps(), run.failed_checks, run.blind_checks, phase.check_at()));
        let stands = |phase: &Phase| phase.step().map(|step| (step.number, step.at));
        let goes_on = stands(&after) != stands(&phase);
        let asks = after.inquiry().is_some() || after.preparing().is_some();
        let is_promoted = matches!(after, Phase::Promoting(..) | Phase::Finalising(..));
        prop_assert!(goes_on || asks || is_promoted || counted(&after) == counted(&phase), "{after:?}");
        prop_assert!(!matches!(after, Phase::Failed(..)) || after == phase);
    }

    #[test]
    fn a_pause_is_ended_by_a_person_who_means_it(plan in plans(), paused in underway().prop_map(Phase::Paused), input in inputs()) {
        let run = paused.run().unwrap();
        let is_ending = match &input {
            Input::Request(ReleaseRequest::Resume(..) | ReleaseRequest::Promote(..) | ReleaseRequest::Skip(..) | ReleaseRequest::Abort(..)) => true,
            Input::Request(ReleaseRequest::Start(wanted)) => wanted.revision != run.revision,
            Input::Request(_) | Input::Fact(_) => false,
        };
        let phase = after(&plan, &paused, input, NOW).phase;
        let goes_on = matches!(phase, Phase::Progressing(_)) && phase.run().is_some_and(|after| after.release == run.release);
        prop_assert!(!goes_on || is_ending, "{phase:?}");
    }

    #[test]
    fn no_fact_sends_users_to_a_primary_that_fails_and_confirm_does_not_unless_forced(
        plan in plans(), phase in phases(), input in inputs(), is_accepted in any::<bool>(),
    ) {
        let mut phase = phase;
        if let Phase::Promoting(promoting) = &mut phase {
            promoting.run.primary_accepted_by = is_accepted.then(|| word("ana"));
        }
        let is_accepted = phase.run().is_some_and(|run| run.primary_accepted_by.is_some());
        let of = |phase: &Phase| { let mut canary = Canary::new(plan.clone(), Epoch(4)); canary.phase = phase.clone(); canary.weight() };
        let failing = Context { primary_fails: true, ..context(&plan, None) };
        let (is_confirm, is_asked) = match &input {
            Input::Request(ReleaseRequest::Confirm(..)) => (true, true),
            Input::Request(_) => (false, true),
            // These speak against the canary, or a person is behind them; and the controller holds back deadlines.
            Input::Fact(Fact::Aborted(_) | Fact::AbortClaimed { .. } | Fact::GuardTripped(_) | Fact::Checked(_) | Fact::Replied { .. }) => (false, true),
            // A question that nobody answers in time counts as a refusal.
            Input::Fact(_) => (false, phase.inquiry().is_some()),
        };
        let is_late = matches!(phase, Phase::Promoting(_) | Phase::Finalising(_));
        let taken = step(failing, &phase, input.clone(), NOW);
        if is_late && is_confirm && !is_accepted {
            let is_refused = taken.is_err();
            prop_assert!(is_refused);
        }
        let is_going_back = matches!(phase, Phase::Promoting(_)) && !matches!(&input, Input::Fact(Fact::Aborted(_) | Fact::AbortClaimed { .. } | Fact::GuardTripped(_)));
        let is_fact = matches!(input, Input::Fact(_));
        let may_fail = matches!(&input, Input::Fact(Fact::Checked(_))) && phase.awaiting() != Some(&Awaiting::Traffic);
        // A swap makes the canary the primary: all users leave the one that fails.
        let is_swap = |taken: &Transition| taken.effects.contains(&Effect::SwapRoles);
        if let Ok(taken) = taken && !is_accepted && !is_swap(&taken) {
            prop_assert!(is_asked || of(&taken.phase) >= of(&phase), "{:?}", taken.phase);
            prop_assert!(!(is_going_back && is_fact && !may_fail) || of(&taken.phase) >= of(&phase), "{:?}", taken.phase);
            let is_over = matches!(taken.phase, Phase::Succeeded(_)) && !matches!(phase, Phase::Succeeded(_));
            prop_assert!(!is_over, "it is not over while users can be moved back");
        }
    }

    #[test]
    fn people_move_users_wherever_they_want_in_every_phase_with_traffic(plan in plans(), phase in phases(), share in 0u32..=100) {
        let is_swapped = matches!(phase, Phase::Finalising(_)) && plan.promotion == Promotion::Swap;
        let has_traffic = phase.on_step().is_some() || matches!(phase, Phase::Promoting(_) | Phase::Finalising(_));
        for primary_fails in [false, true] {
            let failing = Context { primary_fails, ..context(&plan, None) };
            let asked = ReleaseRequest::SetWeight(percent(share), word("bob"), "so".into());
            let taken = request(failing, &phase, asked, NOW);
            prop_assert_eq!(taken.is_ok(), has_traffic && !is_swapped, "{:?}", phase);
            let Ok(moved) = taken else { continue };
            let mut canary = Canary::new(plan.clone(), Epoch(4));
            canary.take(moved, 0, NOW);
            prop_assert_eq!(canary.weight(), percent(share));
            // There they stay, whatever the clock says; one that is judged may fail in time, of course.
            if phase.on_step().is_some() {
                continue;
            }
            for fact in [Fact::Checked(verdict(CheckResult::Pass)), Fact::Certified(certificate(6.0, 5))] {
                let later = apply(failing, &canary.phase, fact, Millis(NOW.0 + 3_600_000)).phase;
                canary.phase = later;
                prop_assert_eq!(canary.weight(), percent(share));
            }
        }
    }

    #[test]
    fn a_look_that_was_due_is_due_later(plan in plans(), underway in underway(), answer in 0usize..3, ln_e in 0.0f64..6.0) {
        let answer = [CheckResult::Pass, CheckResult::Fail, CheckResult::Undecided][answer];
        for phase in [Phase::Progressing(underway.clone()), Phase::Paused(underway)] {
            let input = match plan.advance {
                Advance::Interval => Input::Fact(Fact::Checked(verdict(answer))),
                Advance::Certificate(_) => Input::Fact(Fact::Certified(certificate(ln_e, 5))),
            };
            let phase = after(&plan, &phase, input, NOW).phase;
            prop_assert!(phase.check_at().is_none_or(|check_at| check_at > NOW), "a due check would stay due");
        }
    }

    #[test]
    fn the_revision_is_promoted_once_and_roles_change_only_by_swap(plan in plans(), phase in phases(), input in inputs()) {
        let Ok(taken) = step(context(&plan, None), &phase, input, NOW) else { return Ok(()) };
        let count = |wanted: &dyn Fn(&Effect) -> bool| taken.effects.iter().filter(|effect| wanted(effect)).count();
        let swaps = count(&|effect| *effect == Effect::SwapRoles);
        let promoted = count(&|effect| matches!(effect, Effect::Promoted(_)));
        let is_new_end = matches!(taken.phase, Phase::Succeeded(_)) && taken.phase != phase;
        // A new release may come while the primary runs the one before, and only gets its traffic back.
        let is_next = taken.notes.iter().any(|note| matches!(note, Note::Superseded { .. }));
        let is_left_promoted = is_next && phase.awaiting() == Some(&Awaiting::Traffic);
        prop_assert_eq!(promoted, usize::from(is_new_end || is_left_promoted));
        prop_assert!(swaps <= 1 && count(&|effect| matches!(effect, Effect::Ask(_))) <= 1);
        prop_assert!(swaps == 0 || plan.promotion == Promotion::Swap);
        let aborted = taken.notes.iter().any(|note| matches!(note, Note::Aborted(_)));
        prop_assert_eq!(aborted, matches!(taken.phase, Phase::Failed(..)) && taken.phase != phase);
    }
}
