//! A canary that answers its clients' requests with 4xx where the primary does not: no success, wherever there is a comparison.

#![cfg(test)]

mod fixture;

use fixture::scene::Scene;
use fixture::{counts, id, on_certificate, percent};
use rollout::base::time::Millis;
use rollout::controller::Event;
use rollout::controller::fleet::Conn;
use rollout::judgement::certificate::Otherwise;
use rollout::judgement::guards::GuardName;
use rollout::release::phase::Note;
use rollout::release::plan::{Advance, Spec, Strategy};
use rollout::routing::route::Placement;
use rollout::routing::table::Version;
use rollout::worker::messages::{Report, Watermark};
use rollout::worker::tally::{Counts, Slot, Stratum};

/// Good answers, of which so many have a status of 400 to 499.
const fn with_errors(mut counts: Counts, client_errors: u64) -> Counts {
    counts.client_errors = client_errors;
    counts
}

fn serve(scene: &mut Scene, placement: Placement, sides: [Counts; 2]) {
    scene.number += 1;
    let (epoch, slot) = (scene.canary().epoch, Slot(scene.number as u32));
    let at = |version| Stratum { canary: id("web"), epoch, version, placement, slot };
    let strata = Version::ALL.into_iter().map(at).zip(sides).collect();
    let watermarks = vec![Watermark { canary: id("web"), epoch, slot: Slot(slot.0 + 1) }];
    let (number, trips, destinations) = (scene.number, vec![], vec![]);
    scene.happen(Event::reported(Conn(1), Report { number, strata, watermarks, trips, destinations }));
    scene.happen(Event::Timer);
}

fn certified(edit: impl FnOnce(&mut Spec)) -> Scene {
    Scene::new(|spec| {
        on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
        // The share stays as it is here whatever the weight.
        spec.guards.sample_ratio = None;
        edit(spec);
    })
}

/// The phase and step after half a minute of such answers to 90 and 10 requests in a tenth of a second.
fn after(scene: &mut Scene, placement: Placement, errors: [u64; 2]) -> (&'static str, usize) {
    let [primary, canary] = errors;
    for _ in 0..300 {
        serve(scene, placement, [with_errors(counts(90, 0, 0), primary), with_errors(counts(10, 0, 0), canary)]);
    }
    (scene.canary().phase.name(), scene.canary().phase.steps())
}

#[test]
fn a_canary_that_refuses_its_clients_is_paused_and_not_certified() {
    let edits: [fn(&mut Spec); 4] = [
        |_| (),
        |spec| spec.strategy = Strategy::Steps([1, 5].map(percent).to_vec()),
        |spec| spec.strategy = Strategy::Steps(vec![percent(90)]),
        |spec| (spec.advance, spec.interval) = (Advance::Interval, Millis(2_000)),
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        for placement in [Placement::Drawn, Placement::Sticky] {
            // All of them, half, and one in ten beside a primary's one in ninety.
            for errors in [[0, 10], [0, 5], [1, 1]] {
                let mut scene = certified(edit);
                assert_eq!(after(&mut scene, placement, errors).0, "Paused", "{n} {placement:?} {errors:?}");
                let found = scene.canary().history.iter().any(|event| {
                    matches!(&event.note, Note::Tripped(verdict) if verdict.tripped.is_some_and(|(_, guard)| guard == GuardName::ClientErrors))
                });
                assert!(found, "{:?}", scene.canary().history);
            }
        }
    }
}

#[test]
fn on_a_later_step_it_is_found_as_well() {
    let mut scene = certified(|_| ());
    while scene.canary().phase.steps() < 2 {
        serve(&mut scene, Placement::Drawn, [counts(90, 0, 0), counts(10, 0, 0)]);
    }
    assert_eq!(after(&mut scene, Placement::Drawn, [0, 10]), ("Paused", 2));
}

#[test]
fn what_clients_do_wrong_with_both_versions_holds_up_nothing() {
    for errors in [[90, 10], [45, 5], [9, 1]] {
        let mut scene = certified(|spec| spec.strategy = Strategy::Steps(vec![percent(10)]));
        assert_eq!(after(&mut scene, Placement::Drawn, errors), ("Promoting", 1), "{errors:?}");
    }
}
