//! Releases as tables that a person can review: time, what happened, phase, weight, and what the agent says about it.
//!
//! Each table is a file of tests/data; `UPDATE=1 cargo test -p rollout --test walks` rewrites them after a change that is meant.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "this test reads its tables; the core itself may not")]

mod fixture;

use std::fs;
use std::path::PathBuf;

use rollout::certificate::Otherwise;
use rollout::controller::{Command, Controller, Event, Output, Verb};
use rollout::explain;
use rollout::fleet::Conn;
use rollout::names::CanaryId;
use rollout::plan::{Promotion, Spec, Strategy};
use rollout::report::{Hello, ToWorker};
use rollout::status;
use rollout::table::{Epoch, WeightPpm};
use rollout::time::Millis;

use fixture::{counts, hello, hook, id, on_certificate, percent, plan, report, unsupported, upstream, word};

/// One worker, one canary, and the table that grows as they go.
struct Walk {
    name: &'static str,
    controller: Controller,
    now: Millis,
    conn: Conn,
    reports: u64,
    adopted: Vec<(CanaryId, Epoch)>,
    lines: Vec<String>,
}

impl Walk {
    fn new(name: &'static str, edit: impl FnOnce(&mut Spec)) -> Self {
        let controller = Controller::default();
        let mut walk =
            Self { name, controller, now: Millis(0), conn: Conn(0), reports: 0, adopted: vec![], lines: vec![] };
        walk.declare(edit);
        walk.hello(|_| ());
        walk
    }

    fn happen(&mut self, what: &str, event: Event) {
        let Output { urgent, stored, reply, .. } = self.controller.handle(event, self.now);
        let mut says = Vec::new();
        for (is_urgent, command) in urgent.iter().map(|it| (true, it)).chain(stored.iter().map(|it| (false, it))) {
            match command {
                Command::Announce(_, event) => says.push(explain::note(&event.note)),
                Command::Push(entry) | Command::Send(_, ToWorker::Entry(entry)) => {
                    self.adopted = vec![(entry.canary.clone(), entry.epoch)];
                    if is_urgent && matches!(command, Command::Push(_)) {
                        says.push("(sent before it is stored)".into());
                    }
                }
                Command::CallHook { hook, revision, .. } => says.push(format!("(calls {} for {revision})", hook.name)),
                Command::Send(..) | Command::Close(_) => {}
            }
        }
        if let Some(Err(refused)) = reply {
            says.push(format!("refused: {refused}"));
        }
        self.line(what, &says);
    }

    fn line(&mut self, what: &str, says: &[String]) {
        let (phase, weight) = match self.controller.canary(&id("web")) {
            Some(canary) => (canary.phase.name(), canary.weight().percent()),
            None => ("-", 0.0),
        };
        let mut says = says.iter();
        let first = says.next().map_or("", String::as_str);
        let time = self.now.0 / 1000;
        self.lines.push(format!("{time:>4}s  {what:<34} {phase:<12} {weight:>3} %  {first}").trim_end().to_owned());
        self.lines.extend(says.map(|more| format!("{:61}{more}", "")));
    }

    fn declare(&mut self, edit: impl FnOnce(&mut Spec)) {
        self.happen("manifest", Event::Declared(Box::new(plan("web", edit))));
    }

    fn hello(&mut self, edit: impl FnOnce(&mut Hello)) {
        self.conn = Conn(self.conn.0 + 1);
        let mut said = hello(1, self.adopted.clone());
        edit(&mut said);
        self.happen("a worker says Hello", Event::Connected(self.conn, said));
        self.adopt();
    }

    fn adopt(&mut self) {
        for (canary, epoch) in self.adopted.clone() {
            self.controller.handle(Event::Adopted(self.conn, canary, epoch), self.now);
        }
    }

    fn worker_adopts(&mut self) {
        let (canary, epoch) = self.adopted[0].clone();
        self.happen("the worker has the new table", Event::Adopted(self.conn, canary, epoch));
    }

    /// So many good, bad and slow answers of the canary just before the check that is due.
    fn check(&mut self, [good, bad, slow]: [u64; 3]) {
        self.adopt();
        self.reports += 1;
        let epoch = self.adopted[0].1;
        let sides = [counts(if good + bad + slow == 0 { 0 } else { 900 }, 0, 0), counts(good, bad, slow)];
        let due = self.controller.deadline().unwrap();
        self.now = Millis(due.0 - 100);
        let report = report(self.reports, &id("web"), epoch, sides);
        self.controller.handle(Event::Reported(self.conn, report), self.now);
        self.now = due;
        self.happen(&format!("check: {good} good, {bad} bad, {slow} slow"), Event::Timer);
    }

    /// So many good, bad and slow answers of the canary that a report brings a second later, and as many of the primary
    /// as the weight gives it.
    fn report(&mut self, [good, bad, slow]: [u64; 3]) {
        self.adopt();
        self.reports += 1;
        let (epoch, weight) = (self.adopted[0].1, self.controller.canary(&id("web")).unwrap().weight().percent());
        let primary = ((good + bad + slow) as f64 * (100.0 - weight) / weight.max(1.0)) as u64;
        let report = report(self.reports, &id("web"), epoch, [counts(primary, 0, 0), counts(good, bad, slow)]);
        self.now = self.now.plus(Millis(1_000));
        self.happen(&format!("report: {good} good, {bad} bad, {slow} slow"), Event::Reported(self.conn, report));
    }

    fn timer(&mut self) {
        self.now = self.controller.deadline().unwrap();
        self.happen("deadline", Event::Timer);
    }

    fn ask(&mut self, what: &str, verb: Verb) {
        self.now = self.now.plus(Millis(1_000));
        self.happen(what, Event::Asked(id("web"), verb));
    }

    fn release(&mut self, revision: &str) {
        self.ask(&format!("release {revision}"), release(revision, false));
    }

    fn hook_answers(&mut self, result: Result<(), String>) {
        let (canary, what) = (id("web"), format!("hook: {result:?}"));
        let release = rollout::release::ReleaseId(self.controller.canary(&canary).unwrap().releases);
        self.now = self.now.plus(Millis(2_000));
        self.happen(&what, Event::HookFinished { canary, release, result });
    }

    /// The whole state, said in one line.
    fn get(&mut self) {
        let status = status::canary(&self.controller, self.controller.canary(&id("web")).unwrap(), self.now);
        self.line("get", &[status.message, format!("without agent: {}", status.without_agent)]);
    }
}

impl Drop for Walk {
    /// Compares with the table on file.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(self.name).with_extension("txt");
        let table = self.lines.join("\n") + "\n";
        assert!(self.lines.len() <= 60, "{}: too long to be reviewed", self.name);
        if std::env::var_os("UPDATE").is_some() {
            return fs::write(&file, table).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(table, expected, "\n{table}\ndiffers from {}; if that is meant: UPDATE=1", file.display());
    }
}

fn release(revision: &str, accept_unsupported: bool) -> Verb {
    Verb::Release { revision: word(revision), actor: word("ana"), accept_unsupported }
}

fn every_verb() -> Vec<(&'static str, Verb)> {
    let (actor, reason) = (word("bob"), String::new());
    vec![
        ("confirm", Verb::Confirm { actor: actor.clone() }),
        ("resume", Verb::Resume { actor: actor.clone() }),
        ("promote", Verb::Promote { actor: actor.clone() }),
        ("pause", Verb::Pause { actor: actor.clone(), reason: reason.clone() }),
        ("abort", Verb::Abort { actor, reason }),
    ]
}

const GOOD: [u64; 3] = [100, 0, 0];
const BAD: [u64; 3] = [80, 20, 0];
const SLOW: [u64; 3] = [80, 0, 20];
const NONE: [u64; 3] = [0, 0, 0];

#[test]
fn good_by_copy_with_hook() {
    let mut walk = Walk::new("good_by_copy_with_hook", |spec| spec.promotion = hook());
    walk.release("v2");
    (0..3).for_each(|_| walk.check(GOOD));
    walk.hook_answers(Ok(()));
    walk.worker_adopts();
    walk.get();
}

#[test]
fn good_by_copy_with_confirm_after_a_failed_hook() {
    let mut walk = Walk::new("good_by_copy_with_confirm", |spec| spec.promotion = hook());
    walk.release("v2");
    (0..3).for_each(|_| walk.check(GOOD));
    walk.hook_answers(Err("status 500".into()));
    walk.get();
    walk.ask("confirm", Verb::Confirm { actor: word("ana") });
    walk.hook_answers(Ok(()));
    walk.timer();
}

#[test]
fn proven_by_its_own_requests_step_by_step() {
    let mut walk = Walk::new("on_certificate", |spec| {
        on_certificate(spec, Otherwise::Pause, Otherwise::Hold);
        spec.promotion = Promotion::Swap;
    });
    walk.release("v2");
    walk.timer();
    walk.report([200, 0, 0]);
    walk.report([171, 0, 0]);
    walk.report([1, 0, 0]);
    walk.report([700, 1, 0]);
    walk.get();
    walk.timer();
    walk.report([0, 0, 0]);
    walk.timer();
    walk.timer();
    walk.get();
    walk.report([400, 0, 0]);
}

#[test]
fn good_by_swap_and_the_next_release() {
    let mut walk = Walk::new("good_by_swap", |spec| spec.promotion = Promotion::Swap);
    walk.release("v2");
    (0..3).for_each(|_| walk.check(GOOD));
    walk.worker_adopts();
    walk.get();
    walk.release("v3");
    walk.hello(|said| said.default_upstreams.push((id("web"), upstream("web-canary"))));
    walk.get();
    walk.release("v3");
    walk.declare(|spec| std::mem::swap(&mut spec.primary, &mut spec.canary));
    (0..3).for_each(|_| walk.check(BAD));
    walk.get();
}

#[test]
fn an_abort_in_finalising_takes_a_swap_back() {
    let mut walk = Walk::new("abort_in_finalising", |spec| spec.promotion = Promotion::Swap);
    walk.release("v2");
    (0..3).for_each(|_| walk.check(GOOD));
    walk.ask("abort", Verb::Abort { actor: word("bob"), reason: "checkout is broken".into() });
    walk.get();
}

#[test]
fn the_third_failed_check_rolls_back() {
    let mut walk = Walk::new("third_failed_check", |_| ());
    walk.release("v2");
    [BAD, GOOD, SLOW, NONE, [80, 15, 5]].into_iter().for_each(|traffic| walk.check(traffic));
    walk.get();
}

#[test]
fn no_traffic_holds_and_says_so() {
    let mut walk = Walk::new("no_traffic", |_| ());
    walk.release("v2");
    [NONE, NONE].into_iter().for_each(|traffic| walk.check(traffic));
    walk.get();
    walk.check(BAD);
    walk.get();
    walk.check(GOOD);
}

#[test]
fn unsupported_holds_until_it_is_accepted() {
    let mut walk = Walk::new("unsupported", |spec| spec.unsupported.push(unsupported()));
    walk.release("v2");
    walk.check(NONE);
    walk.get();
    walk.ask("promote", Verb::Promote { actor: word("bob") });
    walk.ask("pause", Verb::Pause { actor: word("bob"), reason: "lunch".into() });
    walk.ask("release v2, accepted", release("v2", true));
    walk.ask("resume", Verb::Resume { actor: word("bob") });
    walk.ask("release v2, accepted", release("v2", true));
    walk.check(GOOD);
}

#[test]
fn a_paused_release_does_not_advance_but_a_bad_canary_is_still_cut() {
    let mut walk = Walk::new("paused", |spec| spec.threshold = 2);
    walk.release("v2");
    walk.ask("pause", Verb::Pause { actor: word("bob"), reason: "lunch".into() });
    walk.check(GOOD);
    walk.get();
    walk.ask("resume", Verb::Resume { actor: word("bob") });
    walk.check(GOOD);
    walk.ask("pause", Verb::Pause { actor: word("bob"), reason: String::new() });
    [BAD, BAD].into_iter().for_each(|traffic| walk.check(traffic));
    walk.ask("resume", Verb::Resume { actor: word("bob") });
}

#[test]
fn promoted_early_and_still_cut_while_it_waits() {
    let mut walk = Walk::new("promoted_early", |spec| spec.threshold = 1);
    walk.release("v2");
    walk.ask("promote", Verb::Promote { actor: word("bob") });
    walk.check(GOOD);
    walk.check(BAD);
}

#[test]
fn each_verb_in_each_phase_where_it_makes_no_sense() {
    let mut walk = Walk::new("refused_verbs", |_| ());
    let refuse = |walk: &mut Walk, verbs: usize| {
        every_verb().into_iter().take(verbs).for_each(|(what, verb)| walk.ask(what, verb));
    };
    refuse(&mut walk, 5);
    walk.release("v2");
    refuse(&mut walk, 2);
    (0..3).for_each(|_| walk.check(GOOD));
    every_verb().into_iter().skip(1).take(3).for_each(|(what, verb)| walk.ask(what, verb));
    walk.release("v3");
    walk.ask("confirm", Verb::Confirm { actor: word("ana") });
    refuse(&mut walk, 5);
    walk.release("v3");
    walk.worker_adopts();
    refuse(&mut walk, 5);
    walk.happen("abort an unknown canary", Event::Asked(id("cart"), every_verb().remove(4).1));
}

#[test]
fn a_release_onto_what_a_proxy_serves_by_default_is_refused() {
    let mut walk = Walk::new("default_upstream", |_| ());
    walk.hello(|said| said.default_upstreams.push((id("web"), upstream("web-canary"))));
    walk.get();
    walk.release("v2");
    walk.hello(|_| ());
    walk.release("v2");
    walk.hello(|said| said.default_upstreams.push((id("web"), upstream("web-canary"))));
    [GOOD, GOOD].into_iter().for_each(|traffic| walk.check(traffic));
    walk.get();
}

#[test]
fn a_newer_revision_takes_over_and_follows_the_newer_manifest() {
    let mut walk = Walk::new("new_revision_and_manifest", |_| ());
    walk.release("v2");
    walk.check(GOOD);
    walk.check(BAD);
    walk.declare(|spec| spec.strategy = Strategy::Steps(vec![percent(5), WeightPpm::new(505_000).unwrap()]));
    walk.release("v2");
    walk.check(GOOD);
    walk.release("v3");
    (0..2).for_each(|_| walk.check(GOOD));
    walk.declare(|spec| spec.threshold = 1);
    walk.ask("abort", Verb::Abort { actor: word("bob"), reason: "wrong build".into() });
    walk.release("v4");
    walk.check(BAD);
    walk.happen("manifest removed", Event::Withdrawn(id("web")));
}

#[test]
fn a_cut_that_was_lost_with_the_agent() {
    let mut walk = Walk::new("lost_cut", |_| ());
    walk.release("v2");
    walk.adopt();
    let stored = walk.controller.clone();
    walk.ask("abort", Verb::Abort { actor: word("bob"), reason: "errors".into() });
    walk.controller = stored;
    walk.happen("agent restarts without the abort", Event::Restarted);
    walk.hello(|_| ());
    walk.get();
}
