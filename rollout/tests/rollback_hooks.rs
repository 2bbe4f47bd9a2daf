//! A rollback hook is asked in every phase of a release in progress, whatever else is asked, held or refused; its yes ends
//! the release at once, its no nothing.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::canary::Canary;
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Controller, Event, Output, Verb};
use rollout::judgement::certificate::Otherwise;
use rollout::release::inquiry::{CallId, Reply};
use rollout::release::integrations::HookKind;
use rollout::release::phase::{Cause, Phase};
use rollout::release::plan::{Plan, Promotion, Spec, Strategy};
use rollout::worker::messages::Hello;

use fixture::walk::release;
use fixture::world::round_trip;
use fixture::{call, counts, gate, hello, hook, id, on_certificate, percent, plan, report, unsupported, word};

const INTERVAL: Millis = Millis(2_000);

/// How the world outside behaves in one situation.
struct Situation {
    name: &'static str,
    phase: &'static str,
    edit: fn(&mut Spec),
    /// The canary's good and bad answers before each look.
    serve: [u64; 2],
    /// What all hooks but the rollback hook answer; nothing: they are silent.
    others: Option<bool>,
    /// What is done once the release has begun.
    then: fn(&mut Scene),
}

impl Situation {
    const fn new(name: &'static str, phase: &'static str, edit: fn(&mut Spec)) -> Self {
        Self { name, phase, edit, serve: [10, 0], others: Some(false), then: |_| () }
    }
}

struct Scene {
    controller: Controller,
    now: Millis,
    number: u64,
    calls: Vec<(String, CallId)>,
}

impl Scene {
    fn new(plan: Plan) -> Self {
        let mut scene = Self { controller: Controller::default(), now: Millis(1_000), number: 0, calls: Vec::new() };
        scene.happen(Event::Declared(Box::new(plan)));
        scene.happen(Event::Connected(Conn(1), hello(7, vec![])));
        scene
    }

    fn happen(&mut self, event: Event) -> Output {
        let output = self.controller.handle(event, self.now);
        for command in &output.stored {
            if let Command::CallHook { hook, call, .. } = command {
                self.calls.push((hook.name.clone(), *call));
            }
        }
        output
    }

    fn canary(&self) -> &Canary {
        self.controller.canary(&id("web")).unwrap()
    }

    fn phase(&self) -> &'static str {
        self.canary().phase.name()
    }

    fn ask(&mut self, verb: Verb) {
        let output = self.happen(Event::Requested(id("web"), verb));
        assert!(matches!(output.reply, Some(Ok(_))), "{:?}", output.reply);
    }

    fn serve(&mut self, [good, bad]: [u64; 2]) {
        self.number += 1;
        let epoch = self.canary().epoch;
        let report = report(self.number, &id("web"), epoch, [counts(good * 9, 0, 0), counts(good, bad, 0)]);
        self.happen(Event::reported(Conn(1), report));
    }

    fn reply(&mut self, call: CallId, agrees: bool) {
        let reply = Reply::Hook(if agrees { Ok(()) } else { Err("answered 403".into()) });
        self.happen(Event::Reply { canary: id("web"), call, reply });
    }

    /// Time goes on by one look; returns the calls of the rollback hook that came with it.
    fn look(&mut self, situation: &Situation) -> Vec<CallId> {
        self.serve(situation.serve);
        self.now = self.controller.deadline().unwrap().max(self.now.plus(Millis(1)));
        self.happen(Event::Timer);
        let mut undo = Vec::new();
        while !self.calls.is_empty() {
            for (name, call) in std::mem::take(&mut self.calls) {
                match (name.as_str(), situation.others) {
                    ("undo", _) => undo.push(call),
                    (_, Some(agrees)) => self.reply(call, agrees),
                    (_, None) => {}
                }
            }
        }
        undo
    }

    /// Until the rollback hook is asked again, which takes no longer than an interval.
    fn asked(&mut self, situation: &Situation) -> CallId {
        let began = self.now;
        loop {
            let undo = self.look(situation);
            assert!(undo.len() < 2, "{}: asked twice at once", situation.name);
            if let Some(call) = undo.first() {
                return *call;
            }
            assert!(self.now.since(began) <= Millis(2 * INTERVAL.0), "{}: not asked", situation.name);
        }
    }
}

fn pause(scene: &mut Scene) {
    scene.ask(Verb::Pause { actor: word("ana"), reason: String::new() });
}

fn promote(scene: &mut Scene) {
    scene.ask(Verb::Promote { actor: word("ana"), reason: String::new() });
}

fn situations() -> Vec<Situation> {
    let new = Situation::new;
    vec![
        new("approval to begin refused", "Waiting", |spec| {
            spec.outside.hooks.push(call("owner", HookKind::ConfirmRollout));
        }),
        Situation {
            others: None,
            ..new("approval to begin not answered", "Waiting", |spec| {
                spec.outside.hooks.push(call("owner", HookKind::ConfirmRollout));
            })
        },
        new("gate to begin closed", "Waiting", |spec| {
            spec.outside.hooks.push(gate("owner", HookKind::ConfirmRollout));
        }),
        Situation {
            then: pause,
            ..new("paused while it waits to begin", "Paused", |spec| {
                spec.outside.hooks.push(gate("owner", HookKind::ConfirmRollout));
            })
        },
        new("pre-rollout fails", "Progressing", |spec| {
            spec.threshold = 100;
            spec.outside.hooks.push(call("ready", HookKind::PreRollout));
        }),
        Situation {
            others: None,
            ..new("pre-rollout is slow", "Progressing", |spec| {
                spec.outside.hooks.push(call("ready", HookKind::PreRollout));
            })
        },
        new("first traffic not approved", "Progressing", |spec| {
            spec.outside.hooks.push(gate("more", HookKind::ConfirmTrafficIncrease));
        }),
        new("unsupported", "Progressing", |spec| spec.unsupported.push(unsupported())),
        new("on a step", "Progressing", |spec| spec.strategy = Strategy::Iterations(99)),
        Situation { serve: [0, 0], ..new("on a step without traffic", "Progressing", |_| ()) },
        Situation { serve: [5, 5], ..new("checks fail", "Progressing", |spec| spec.threshold = 100) },
        Situation { then: pause, ..new("paused on a step", "Paused", |_| ()) },
        new("on certificate", "Progressing", |spec| {
            on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
            spec.guards.sample_ratio = None;
        }),
        new("more traffic not approved", "Progressing", |spec| {
            spec.outside.hooks.push(gate("more", HookKind::ConfirmTrafficIncrease));
        }),
        new("approval to promote refused", "WaitingPromotion", |spec| {
            spec.strategy = Strategy::Steps(vec![percent(10)]);
            spec.outside.hooks.push(call("owner", HookKind::ConfirmPromotion));
        }),
        Situation { then: promote, ..new("confirmation awaited", "Promoting", |_| ()) },
        Situation {
            then: promote,
            others: None,
            ..new("promotion hook is slow", "Promoting", |spec| spec.promotion = hook())
        },
        Situation { then: promote, ..new("promotion hook failed", "Promoting", |spec| spec.promotion = hook()) },
        new("analysis skipped", "Promoting", |spec| spec.course.skip_analysis = true),
        Situation {
            then: |scene| {
                promote(scene);
                assert_eq!(scene.phase(), "Finalising");
            },
            ..new("swapped, not confirmed", "Finalising", |spec| spec.promotion = Promotion::Swap)
        },
    ]
}

fn scene(situation: &Situation) -> Scene {
    let mut scene = Scene::new(plan("web", |spec| {
        spec.interval = INTERVAL;
        spec.strategy = Strategy::Steps([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(percent).to_vec());
        spec.checks.iter_mut().for_each(|check| check.window = INTERVAL);
        spec.outside.hooks = vec![call("undo", HookKind::Rollback)];
        (situation.edit)(spec);
    }));
    scene.ask(release("v2", false));
    // With the first traffic, where that is what it would begin with.
    for (name, call) in std::mem::take(&mut scene.calls) {
        match (name.as_str(), situation.others) {
            ("undo", _) => scene.reply(call, false),
            (_, Some(agrees)) => scene.reply(call, agrees),
            _ => {}
        }
    }
    (situation.then)(&mut scene);
    scene
}

#[test]
fn it_is_asked_in_every_phase_and_its_yes_ends_the_release() {
    for situation in situations() {
        for noes in [0, 1, 2] {
            let mut scene = scene(&situation);
            while scene.phase() != situation.phase {
                let undo = scene.look(&situation);
                undo.into_iter().for_each(|call| scene.reply(call, false));
                assert!(scene.now < Millis(60_000), "{}: {:?}", situation.name, scene.canary().phase);
            }
            for _ in 0..noes {
                let call = scene.asked(&situation);
                scene.reply(call, false);
                scene.controller = round_trip(&scene.controller);
            }
            let call = scene.asked(&situation);
            assert_eq!(scene.phase(), situation.phase, "{} after {noes}", situation.name);
            scene.reply(call, true);
            let Phase::Failed(_, Cause::Rollback { name }) = &scene.canary().phase else {
                panic!("{} after {noes}: {:?}", situation.name, scene.canary().phase)
            };
            assert_eq!((name.as_str(), scene.canary().swapped), ("undo", false), "{}", situation.name);
            assert_eq!(scene.canary().awaited_calls(), []);
        }
    }
}

#[test]
fn nobody_asks_where_nothing_can_be_rolled_back_any_more() {
    let situation = Situation::new("returning", "Promoting", |spec| {
        spec.strategy = Strategy::Steps(vec![percent(50)]);
        spec.course.promotion_step = Some(percent(1));
    });
    let mut scene = scene(&situation);
    promote(&mut scene);
    let open = scene.asked(&situation);
    scene.ask(Verb::Confirm { actor: word("ana"), reason: String::new() });
    // It was asked while there was: too late.
    scene.reply(open, true);
    for _ in 0..10 {
        assert_eq!(scene.look(&situation), [], "the primary runs it");
    }
    assert_eq!(scene.phase(), "Promoting");
    scene.ask(release("v2", false));
    assert_eq!(scene.canary().rollback_at(), None);
}

#[test]
fn the_first_traffic_waits_for_its_answer() {
    let mut scene = Scene::new(plan("web", |spec| spec.outside.hooks = vec![call("undo", HookKind::Rollback)]));
    scene.ask(release("v2", false));
    assert_eq!((scene.calls.len(), scene.canary().phase.steps()), (1, 0));
    let (_, call) = scene.calls.remove(0);
    scene.reply(call, false);
    assert_eq!(scene.canary().phase.steps(), 1);
    // A red button that was pressed before, in the form of a stored gate, ends even what is held.
    let mut scene = Scene::new(plan("web", |spec| {
        spec.outside.hooks = vec![gate("red", HookKind::Rollback)];
        spec.unsupported.push(unsupported());
    }));
    let (gate, actor) = ("red".to_owned(), word("ana"));
    scene.ask(Verb::OpenGate { gate, revision: None, expires_after: None, actor, reason: String::new() });
    scene.ask(release("v2", false));
    assert!(matches!(scene.canary().phase, Phase::Failed(_, Cause::Rollback { .. })));
}

#[test]
fn one_that_is_silent_is_asked_again_and_leaves_the_others_their_voice() {
    let situation = Situation::new("two", "Waiting", |spec| {
        spec.outside.hooks.push(gate("owner", HookKind::ConfirmRollout));
        spec.outside.hooks.push(call("dead", HookKind::Rollback));
    });
    let mut scene = scene(&Situation { others: None, ..situation });
    let situation = Situation::new("two", "Waiting", |_| ());
    let silent = Situation { others: None, ..situation };
    for _ in 0..40 {
        let call = scene.asked(&silent);
        scene.reply(call, false);
    }
    let (began, mut again) = (scene.now, false);
    while scene.now.since(began) < Millis(120_000) && !again {
        scene.serve([1, 0]);
        scene.now = scene.controller.deadline().unwrap();
        scene.happen(Event::Timer);
        again |= std::mem::take(&mut scene.calls).iter().any(|(name, _)| name == "dead");
    }
    assert!(again, "a lost call is made again");
}

#[test]
fn a_restart_asks_again_and_an_answer_of_another_round_or_release_says_nothing() {
    let situation = Situation::new("restart", "Waiting", |spec| {
        spec.outside.hooks.push(gate("owner", HookKind::ConfirmRollout));
    });
    let mut scene = scene(&situation);
    let first = scene.asked(&situation);
    scene.controller = round_trip(&scene.controller);
    scene.now = scene.now.plus(Millis(5_000));
    scene.happen(scene.controller.restarted(scene.now));
    assert_eq!(std::mem::take(&mut scene.calls), [("undo".to_owned(), first)], "as it was asked");
    scene.happen(Event::Connected(Conn(1), Hello { ..hello(7, vec![]) }));
    scene.reply(first, false);
    let second = scene.asked(&situation);
    assert_ne!(first, second);
    scene.reply(first, true);
    assert_eq!(scene.phase(), "Waiting");
    scene.ask(release("v3", false));
    scene.reply(second, true);
    assert_eq!(scene.phase(), "Waiting", "that was about v2");
}
