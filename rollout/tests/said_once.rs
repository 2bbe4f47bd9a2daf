//! A hook that refuses in other words at every call does not alert at every call.

#![cfg(test)]

mod fixture;

use rollout::base::time::Millis;
use rollout::controller::{Command, Controller, Event};
use rollout::release::inquiry::{CallId, Reason, Reply};
use rollout::release::integrations::HookKind;
use rollout::release::phase::{Hold, Note};

use fixture::walk::release;
use fixture::{call, id, plan};

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
