//! One release that asks a hook of every kind, as tables.

#![cfg(test)]

mod fixture;

use rollout::release::inquiry::Reply;
use rollout::release::integrations::HookKind;
use rollout::release::plan::Strategy;

use fixture::walk::{GOOD, Walk};
use fixture::{call, hook, metric, percent};

const YES: Reply = Reply::Hook(Ok(()));

fn no(why: &str) -> Reply {
    Reply::Hook(Err(why.into()))
}

#[test]
fn every_hook_says_yes() {
    let mut walk = Walk::new("hooks_say_yes", |spec| {
        spec.strategy = Strategy::Steps([50].map(percent).to_vec());
        spec.outside.hooks = HookKind::ALL.map(|kind| call(kind.name(), kind)).to_vec();
        spec.outside.metrics.push(metric("errors"));
        spec.promotion = hook();
    });
    walk.release("v2");
    walk.answers("confirm-rollout", YES);
    walk.answers("rollback", no("no need"));
    for kind in ["pre-rollout", "confirm-traffic-increase"] {
        walk.answers(kind, YES);
    }
    walk.check(GOOD);
    walk.answers("rollback", no("no need"));
    walk.answers("rollout", YES);
    walk.answers("errors", Reply::Metric(Ok(10.0)));
    walk.answers("confirm-promotion", YES);
    walk.answers("promote", YES);
    walk.worker_adopts();
    walk.compare();
}

/// Until a hook is asked (again), while the rollback hook says no whenever it is asked beside that.
fn until_asked(walk: &mut Walk, kind: &str) {
    let before = walk.calls.get(kind).copied();
    while walk.calls.get(kind).copied() == before {
        let rollback = walk.calls.get("rollback").copied();
        walk.timer();
        if walk.calls.get("rollback").copied() != rollback && walk.calls.get(kind).copied() == before {
            walk.answers("rollback", no("no need"));
        }
    }
}

#[test]
fn each_hook_says_no_first() {
    let mut walk = Walk::new("hooks_say_no_first", |spec| {
        spec.strategy = Strategy::Steps([50].map(percent).to_vec());
        spec.outside.hooks = HookKind::ALL.map(|kind| call(kind.name(), kind)).to_vec();
    });
    walk.release("v2");
    walk.answers("confirm-rollout", no("not before ten"));
    until_asked(&mut walk, "confirm-rollout");
    walk.answers("confirm-rollout", no("not before ten"));
    until_asked(&mut walk, "confirm-rollout");
    walk.answers("confirm-rollout", YES);
    walk.answers("rollback", no("no need"));
    walk.answers("pre-rollout", no("smoke test failed"));
    until_asked(&mut walk, "pre-rollout");
    walk.answers("rollback", no("no need"));
    walk.answers("pre-rollout", YES);
    walk.answers("confirm-traffic-increase", no("wait"));
    until_asked(&mut walk, "confirm-traffic-increase");
    walk.answers("confirm-traffic-increase", YES);
    walk.check(GOOD);
    walk.answers("rollback", no("no need"));
    walk.answers("rollout", no("status 500"));
    walk.check(GOOD);
    walk.answers("rollout", YES);
    walk.answers("rollback", no("no need"));
    walk.answers("confirm-promotion", no("ask Bob"));
    walk.check(GOOD);
    walk.answers("rollback", no("no need"));
    until_asked(&mut walk, "rollout");
    walk.answers("rollout", YES);
    walk.answers("rollback", no("no need"));
    walk.answers("confirm-promotion", YES);
    walk.compare();
}
