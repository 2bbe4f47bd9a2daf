//! A hook that refuses in other words at every call does not alert at every call, nor do requests in flight beside workers
//! that are gone at every report.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::{Command, Controller, Event};
use rollout::judgement::certificate::{CertificateVerdict, Otherwise};
use rollout::judgement::gone_workers::LeftOut;
use rollout::release::inquiry::{CallId, Objection, Purpose, Reason, Reply};
use rollout::release::integrations::HookKind;
use rollout::release::machine::{Fact, apply};
use rollout::release::phase::{Hold, Note, Phase, Underway};

use fixture::walk::release;
use fixture::{call, certificate, id, on_certificate, plan};

/// A release that two hooks of this kind are asked about at every interval.
struct Scene {
    controller: Controller,
    calls: Vec<CallId>,
    notes: Vec<Note>,
    now: Millis,
}

impl Scene {
    fn new(kind: HookKind) -> Self {
        let hooks = ["a", "b"].map(|name| call(name, kind)).to_vec();
        let plan = plan("web", |spec| spec.outside.hooks = hooks);
        let (controller, calls, notes) = Default::default();
        let mut scene = Self { controller, calls, notes, now: Millis(0) };
        scene.happen(Event::Declared(Box::new(plan)));
        scene.happen(Event::Requested(id("web"), release("v2", false)));
        scene
    }

    fn happen(&mut self, event: Event) {
        let output = self.controller.handle(event, self.now);
        for command in output.stored {
            match command {
                Command::CallHook { call, .. } => self.calls.push(call),
                Command::Announce(_, event) => self.notes.push(event.note),
                _ => {}
            }
        }
    }

    /// Both answer, in this order; then the next round is due.
    fn answer(&mut self, answers: [(usize, Result<(), &str>); 2]) {
        let calls = std::mem::take(&mut self.calls);
        assert_eq!(calls.len(), 2, "both are asked");
        for (hook, answer) in answers {
            let reply = Reply::Hook(answer.map_err(Into::into));
            self.happen(Event::Reply { canary: id("web"), call: calls[hook], reply });
        }
        self.now = self.controller.deadline().unwrap();
        self.happen(Event::Timer);
    }

    fn held(&self) -> usize {
        let is_held = |note: &&Note| matches!(note, Note::Waiting { .. } | Note::Held(Hold::Approval { .. }));
        self.notes.iter().filter(is_held).count()
    }

    fn words(&self) -> Vec<String> {
        let hold = self.controller.canary(&id("web")).unwrap().phase.hold();
        let Some(Hold::Approval { refused, .. }) = hold else { panic!("{hold:?}") };
        let words = refused.iter().map(|one| match &one.why {
            Reason::Refused(words) => words.clone(),
            why => panic!("{why:?}"),
        });
        words.collect()
    }
}

#[test]
fn who_refuses_is_told_once_and_the_newest_words_are_kept() {
    for kind in [HookKind::ConfirmRollout, HookKind::ConfirmTrafficIncrease] {
        let mut scene = Scene::new(kind);
        scene.answer([(0, Err("id 1")), (1, Err("id 2"))]);
        assert_eq!(scene.held(), 1, "{kind:?}");
        scene.answer([(1, Err("id 3")), (0, Err("id 4"))]);
        assert_eq!((scene.held(), scene.words()), (1, vec!["id 3".to_owned(), "id 4".to_owned()]), "{kind:?}");
        // Somebody else than before is news.
        scene.answer([(0, Ok(())), (1, Err("id 5"))]);
        assert_eq!((scene.held(), scene.words()), (2, vec!["id 5".to_owned()]), "{kind:?}");
    }
}

#[test]
fn workers_that_are_gone_are_said_once_and_hide_no_approval() {
    let refused = vec![Objection { name: "owner".into(), why: Reason::Closed }];
    let approval = Hold::Approval { purpose: Purpose::Increase, refused };
    for (standing, expected, said) in [(None, Hold::WorkersGone, 1), (Some(approval.clone()), approval, 0)] {
        let mut canary =
            fixture::scene::Scene::new(|spec| on_certificate(spec, Otherwise::Hold, Otherwise::Hold)).canary().clone();
        let Phase::Progressing(Underway::OnStep(on_step)) = &mut canary.phase else { panic!("{:?}", canary.phase) };
        on_step.pending.hold = standing;
        let mut look = |ln_e, requests| {
            let left_out = LeftOut { requests, of: 100, workers: 1 };
            let fact = Fact::Certified(CertificateVerdict { left_out, ..certificate(ln_e, 100) });
            let step = apply(canary.context(None), &canary.phase, fact, Millis(5_000));
            canary.phase = step.phase;
            (step.notes.len(), canary.phase.hold().cloned())
        };
        // Proven but for what is left out, and then with requests in flight.
        let looks: Vec<_> = [6.0, 0.0].into_iter().cycle().take(10).map(|ln_e| look(ln_e, 40)).collect();
        assert_eq!(looks.iter().map(|(notes, _)| notes).sum::<usize>(), said);
        assert!(looks.iter().all(|(_, hold)| hold.as_ref() == Some(&expected)), "{looks:?}");
        assert_ne!(look(0.0, 1).1, Some(Hold::WorkersGone), "enough have come");
    }
}
