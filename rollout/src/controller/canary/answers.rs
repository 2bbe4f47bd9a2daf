//! Whom the release asks, what they answered last, and when rollback hooks are asked beside all others.

use super::{Canary, Place};
use crate::base::time::Millis;
use crate::controller::rollback_watch::RollbackWatch;
use crate::release::inquiry::{CallId, Callee, LastReply, MetricFinding, Reply};
use crate::release::integrations::{Hook, HookKind, HookTarget};
use crate::release::machine::{can_abort, silence};
use crate::release::phase::{Awaiting, Note, Proof};
use crate::release::plan::Plan;
use crate::release::threshold_checks::CheckResult;

impl Canary {
    /// Those whose answer is awaited.
    pub fn unanswered(&self) -> Vec<Callee> {
        let open = self.phase.inquiry().map(|inquiry| inquiry.open.clone());
        let promotion = (self.phase.awaiting() == Some(&Awaiting::Hook)).then_some(Callee::Promotion);
        let watched = self.rollback.open().map(Callee::Rollback).filter(|_| self.phase.run().is_some());
        open.unwrap_or_default().into_iter().chain(promotion).chain(watched).collect()
    }

    /// The call that asks one of them now.
    pub fn call(&self, callee: Callee) -> Option<CallId> {
        let run = self.phase.run()?;
        let round = match callee {
            Callee::Rollback(hook) => self.rollback.round(hook)?,
            Callee::Hook(_) | Callee::Metric(_) | Callee::Promotion => run.round,
        };
        Some(CallId { release: run.release, round, callee })
    }

    /// The calls whose answers are awaited.
    pub fn awaited_calls(&self) -> Vec<CallId> {
        self.unanswered().into_iter().filter_map(|callee| self.call(callee)).collect()
    }

    /// Keeps an awaited answer for people to read.
    pub fn keep_reply(&mut self, call: CallId, reply: &Reply, now: Millis) {
        if self.awaited_calls().contains(&call) {
            if self.is_rollback(call.callee) {
                self.rollback.rest_until(now.plus(self.plan.interval));
            }
            // Whoever asked it: people look for the hook.
            let callee = if let Callee::Rollback(hook) = call.callee { Callee::Hook(hook) } else { call.callee };
            self.replies.retain(|last| last.callee != callee);
            self.replies.push(LastReply { callee, at: now, reply: reply.clone() });
        }
    }

    /// Whether a question is open with which the rollback hooks were asked, and they have answered.
    pub(super) fn has_rollback_answered(&self) -> bool {
        let inquiry = self.phase.inquiry().filter(|inquiry| inquiry.purpose.asks_rollback());
        inquiry.is_some_and(|inquiry| !inquiry.open.iter().any(|callee| self.is_rollback(*callee)))
    }

    /// A release begins, or takes a step, whose check asks its rollback hooks, or they are asked now with others: the watch
    /// need not ask so soon.
    pub(super) fn rest_rollback_watch(&mut self, before: Option<Place>, had_answered: bool, now: Millis) {
        let (running, next) = (self.phase.run().map(|run| run.release), now.plus(self.plan.interval));
        if self.place() != before || (had_answered && !self.has_rollback_answered()) {
            self.rollback.rest_until(next);
        }
        if running != before.map(|(release, ..)| release) {
            self.rollback = running.map_or_else(RollbackWatch::default, |_| RollbackWatch::until(next));
        }
        let inquiry = self.phase.inquiry().filter(|inquiry| inquiry.purpose.asks_rollback());
        if inquiry.is_some_and(|inquiry| inquiry.open.iter().any(|callee| self.is_rollback(*callee))) {
            self.rollback.rest_until(next);
        }
    }

    fn is_rollback(&self, callee: Callee) -> bool {
        self.hook(callee).is_some_and(|hook| hook.kind == HookKind::Rollback)
    }

    /// When the rollback hooks are asked beside everything else; `None` where there are none to call, or nothing to roll
    /// back.
    pub fn rollback_at(&self) -> Option<Millis> {
        let is_possible = self.rollback_hooks().next().is_some() && can_abort(&self.plan, &self.phase);
        is_possible.then(|| self.rollback.at())
    }

    fn rollback_hooks(&self) -> impl Iterator<Item = usize> {
        let is_called = |hook: &Hook| hook.kind == HookKind::Rollback && hook.target != HookTarget::Gate;
        self.plan.outside.hooks.iter().enumerate().filter(move |(_, hook)| is_called(hook)).map(|(n, _)| n)
    }

    /// Asks them if it is time; returns whom.
    pub fn ask_rollback(&mut self, now: Millis) -> Vec<Callee> {
        if self.rollback_at().is_none_or(|at| now < at) {
            return Vec::new();
        }
        // What a check asks is asked.
        let open = self.phase.inquiry().map(|inquiry| inquiry.open.as_slice()).unwrap_or_default();
        let is_free = |hook: &usize| !open.contains(&Callee::Hook(*hook));
        let until = |hook| (hook, silence(&self.plan, &[Callee::Rollback(hook)], now));
        let hooks: Vec<(usize, Millis)> = self.rollback_hooks().filter(is_free).map(until).collect();
        let asked = self.rollback.ask(hooks.into_iter(), now.plus(self.plan.interval), now);
        asked.into_iter().map(Callee::Rollback).collect()
    }

    /// A rollback hook that the watch asked has answered; its name if it asks for the rollback.
    pub fn rollback_answered(&mut self, hook: usize, round: u64, reply: &Reply) -> Option<String> {
        let is_awaited = self.rollback.answered(hook, round);
        let hook = self.plan.outside.hooks.get(hook).filter(|_| is_awaited)?;
        (*reply == Reply::Hook(Ok(()))).then(|| hook.name.clone())
    }
}

/// What the metric servers of a plan answered last, in its order; only values.
pub(super) fn measured(plan: &Plan, replies: &[LastReply]) -> Vec<MetricFinding> {
    let last = |n| replies.iter().find(|last| last.callee == Callee::Metric(n)).map(|last| &last.reply);
    let metrics = plan.outside.metrics.iter().enumerate().filter_map(|(n, metric)| match last(n) {
        Some(Reply::Metric(Ok(value))) => Some(MetricFinding {
            metric: metric.name.clone(),
            value: *value,
            range: metric.range,
            answer: if metric.range.contains(*value) { CheckResult::Pass } else { CheckResult::Fail },
        }),
        _ => None,
    });
    metrics.collect()
}

/// A proof with what the metric servers answered at the same check: without their agreement there would be none.
pub(super) fn with_metrics(mut note: Note, measured: &[MetricFinding]) -> Note {
    if let Note::Stepped { proof, .. } | Note::Promoting { proof, .. } = &mut note
        && !measured.is_empty()
        && let Some(by) = proof.take()
    {
        *proof = Some(Proof::WithMetrics { by: Box::new(by), metrics: measured.to_vec() });
    }
    note
}
