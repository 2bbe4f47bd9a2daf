//! Batches: what workers say counts the same however it is cut into batches, and each report is answered.

#![cfg(test)]

mod fixture;

use fixture::{hello, id, plan, released};
use proptest::prelude::*;
use rollout::base::time::{Micros, Millis};
use rollout::controller::fleet::Conn;
use rollout::controller::{Command, Controller, Event, WorkerEvent};
use rollout::judgement::guards::GuardAction;
use rollout::release::default_guards::{GuardSettings, guards_of};
use rollout::routing::outcome::{FailureClass, Outcome};
use rollout::routing::route::Placement;
use rollout::routing::table::Version;
use rollout::worker::messages::{Report, ToWorker, Watermark};
use rollout::worker::tally::{Counts, Slot, Stratum};

const WORKERS: u64 = 3;

/// A release whose guards only notify, on three workers.
fn released_on_three() -> Controller {
    let mut controller = Controller::default();
    let all = GuardSettings::all(Some(GuardAction::Notify), GuardAction::Notify);
    let web = plan("web", |spec| spec.guards = guards_of(&spec.checks, false, &all));
    controller.handle(Event::Declared(Box::new(web)), Millis(1_000));
    for worker in 1..=WORKERS {
        controller.handle(Event::Connected(Conn(worker), hello(worker, vec![])), Millis(1_000));
    }
    controller.handle(Event::Requested(id("web"), released("v2")), Millis(1_000));
    controller
}

/// What one worker reports: of which worker, whether its last number comes once more, in which slot, what of each version.
type Said = (u64, bool, u32, [(u8, u8); 2]);

fn said() -> impl Strategy<Value = Vec<Said>> {
    let counts = || (0u8..20, 0u8..3);
    prop::collection::vec((1..=WORKERS, prop::bool::weighted(0.1), 0u32..6, [counts(), counts()]), 1..40)
}

fn events(controller: &Controller, said: &[Said]) -> Vec<(Conn, WorkerEvent)> {
    let epoch = controller.canary(&id("web")).unwrap().epoch;
    let mut numbers = [0u64; WORKERS as usize + 1];
    let event = |(worker, repeats, slot, versions): &Said| {
        let number = &mut numbers[*worker as usize];
        *number += u64::from(!repeats || *number == 0);
        let strata = Version::ALL.into_iter().zip(versions).map(|(version, (started, failed))| {
            let mut counts = Counts::begun(u64::from(*started));
            for request in 0..*started {
                let outcome =
                    if request < *failed { Outcome::Failure(FailureClass::Status5xx) } else { Outcome::Success };
                counts.end_both(outcome, Micros(u64::from(request) * 700), false);
            }
            (Stratum { canary: id("web"), epoch, version, placement: Placement::Drawn, slot: Slot(*slot) }, counts)
        });
        let watermarks = vec![Watermark { canary: id("web"), epoch, slot: Slot(*slot) }];
        let report =
            Report { number: *number, strata: strata.collect(), watermarks, trips: vec![], destinations: vec![] };
        (Conn(*worker), WorkerEvent::Reported(report))
    };
    said.iter().map(event).collect()
}

fn answers(commands: &[Command], wanted: fn(&ToWorker) -> bool) -> usize {
    commands.iter().filter(|command| matches!(command, Command::Send(_, message) if wanted(message))).count()
}

proptest! {
    #[test]
    fn what_workers_say_counts_the_same_however_it_is_cut(said in said(), cuts in prop::collection::vec(1usize..9, 40)) {
        let mut one_by_one = released_on_three();
        let mut batched = one_by_one.clone();
        let all = events(&one_by_one, &said);
        for event in &all {
            one_by_one.handle(Event::Workers(vec![event.clone()]), Millis(2_000));
        }
        let (mut rest, mut answered) = (all.as_slice(), [0, 0]);
        for cut in cuts {
            let (batch, behind) = rest.split_at(cut.min(rest.len()));
            rest = behind;
            let out = batched.handle(Event::Workers(batch.to_vec()), Millis(2_000));
            answered[0] += answers(&out.urgent, |message| matches!(message, ToWorker::Received(_)));
            answered[1] += answers(&out.stored, |message| matches!(message, ToWorker::Stored(_)));
        }
        prop_assert_eq!(answered, [all.len(); 2], "each is answered twice, repeats included");
        let counted = |controller: &Controller| {
            let evidence = &controller.canary(&id("web")).unwrap().evidence;
            (evidence.totals().clone(), evidence.release().clone(), evidence.last(Millis(9_000), Millis(2_000)))
        };
        prop_assert_eq!(counted(&one_by_one), counted(&batched));
        let of_workers = |controller: &Controller| {
            controller.fleet().workers().map(|(worker, peer)| (worker, peer.placed.clone(), peer.received.clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(of_workers(&one_by_one), of_workers(&batched));
    }
}
