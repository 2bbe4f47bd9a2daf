//! Workers that die: what they had open neither holds up a certificate for ever nor makes it read other than the truth.

#![cfg(test)]

mod fixture;

use fixture::net::Net;
use fixture::{id, on_certificate, percent, plan, released};
use rollout::base::time::{Micros, Millis};
use rollout::controller::Event;
use rollout::controller::canary::Canary;
use rollout::judgement::certificate::{CertificateFinding, CertificateVerdict, Otherwise};
use rollout::judgement::guards::GuardName;
use rollout::release::phase::Hold;
use rollout::release::plan::Strategy;
use rollout::routing::request::Request;
use rollout::worker::HeaderEdit;
use rollout::worker::in_flight::InFlight;

/// Good answers take this long, bad ones a moment.
const GOOD: Micros = Micros(2_000_000);
const BAD: Micros = Micros(5_000);
/// The latency limit, and so how long before a worker's last report its requests are left out.
const HORIZON: Millis = Millis(2_500);

/// A release with half of the traffic of so many workers, and what they have open.
struct Scene {
    net: Net,
    open: Vec<(usize, InFlight, Micros, bool)>,
    on_canary: u64,
    /// Every so many canary requests fail.
    every: u64,
}

impl Scene {
    fn new(workers: usize, every: u64) -> Self {
        let mut net = Net::new(workers);
        net.happen(Event::Declared(Box::new(plan("web", |spec| {
            spec.checks[1].range.max = Some(HORIZON.0 as f64);
            on_certificate(spec, Otherwise::Hold, Otherwise::Hold);
            let of_canary_alone = [GuardName::Slo, GuardName::Latency];
            spec.guards.guards.retain(|guard| of_canary_alone.contains(&guard.rule.name()));
            (spec.guards.alpha, spec.guards.sample_ratio) = (1e-300, None);
            spec.strategy = Strategy::Steps([50].map(percent).to_vec());
        }))));
        let mut scene = Self { net, open: Vec::new(), on_canary: 0, every };
        // Slots are as long as the traffic before asks for.
        (0..100).for_each(|_| scene.pass(|_| 5));
        (0..30).for_each(|_| scene.pass(|_| 0));
        scene.net.happen(Event::Requested(id("web"), released("v2")));
        scene.net.calm(Millis(1_000));
        scene
    }

    /// 100 ms in which so many requests begin on one worker, and those end whose time has come.
    fn pass(&mut self, requests: impl Fn(usize) -> u64) {
        let now = Micros(self.net.now.0 * 1_000);
        for node in 0..self.net.nodes.len() {
            for n in 0..requests(node) {
                self.begin(node, Micros(now.0 + n * 7_000));
            }
        }
        let end = Micros(now.0 + 100_000);
        let (over, open) = std::mem::take(&mut self.open).into_iter().partition(|(_, _, at, _)| *at < end);
        self.open = open;
        for (node, mut request, at, is_bad) in over {
            let status: &[u8] = if is_bad { b"500" } else { b"200" };
            let worker = &mut self.net.nodes[node].worker;
            worker.answered(&mut request, &[(b":status", status)], at);
            worker.finish(&mut request, 0, Some(1), at);
        }
        self.net.calm(Millis(100));
    }

    fn begin(&mut self, node: usize, now: Micros) {
        let worker = &mut self.net.nodes[node].worker;
        let headers: [(&[u8], &[u8]); 2] = [(b":authority", b"web"), (b":path", b"/")];
        let decision = worker.route(Request { headers: &headers, client_address: None }, now);
        let Some(request) = worker.start(&decision, true, true, now) else { return };
        let is_canary = matches!(&decision.header, HeaderEdit::Set(to) if to.as_str() == "web-canary");
        self.on_canary += u64::from(is_canary);
        let is_bad = is_canary && self.on_canary.is_multiple_of(self.every);
        let takes = if is_bad { BAD } else { GOOD };
        self.open.push((node, request, Micros(now.0 + takes.0), is_bad));
    }

    /// What is open there will never end.
    fn kill(&mut self, node: usize) {
        self.open.retain(|(of, ..)| *of != node);
        self.net.kill(node);
    }

    fn canary(&self) -> &Canary {
        self.net.controller.canary(&id("web")).unwrap()
    }

    fn verdict(&self) -> &CertificateVerdict {
        self.canary().certificate.as_ref().unwrap()
    }

    fn slo(&self) -> &CertificateFinding {
        &self.verdict().findings[0]
    }
}

/// Every worker lives for 5 s: of its good requests three fifths are seen to end, of its bad ones all. Left out by outcome
/// that would read as 1.33 %.
#[test]
fn a_share_of_failures_reads_as_it_is_however_short_the_workers_live() {
    let mut scene = Scene::new(10, 125);
    for tenth in 0..400_usize {
        scene.pass(|_| 5);
        (0..10).filter(|node| tenth % 50 == node * 5).for_each(|node| scene.kill(node));
    }
    // The last ones die too, and are gone.
    (0..9).for_each(|node| scene.kill(node));
    (0..130).for_each(|_| scene.pass(|node| u64::from(node == 9)));
    let CertificateFinding { canary, pending, .. } = *scene.slo();
    let percent = canary.percent().unwrap();
    assert!((0.7..0.95).contains(&percent), "a true 0.8 % reads as {percent} %: {canary:?}");
    assert!(canary.trials > 3_000 && pending <= 40, "{canary:?} {pending}");
    let left_out = scene.verdict().left_out;
    assert!(left_out.workers >= 80 && left_out.is_too_much(), "{left_out:?}");
    assert!(!scene.verdict().is_certified());
}

/// One worker of twenty dies at some moment of a step, with requests open.
fn left_after(dies_at: usize) -> usize {
    let mut scene = Scene::new(20, u64::MAX);
    // A third of a request in 100 ms each, for 12 s; then one every 3 s, so that for a third of the time nothing is open.
    let is_begun = |tenth: usize, node: usize| {
        if tenth < 120 { (node + tenth).is_multiple_of(3) } else { node == 19 && tenth.is_multiple_of(30) }
    };
    let pace = |tenth: usize| move |node: usize| u64::from(is_begun(tenth, node));
    let left = (0..800).find(|tenth| {
        if *tenth == dies_at {
            scene.kill(3);
        }
        scene.pass(pace(*tenth));
        scene.canary().phase.name() != "Progressing"
    });
    left.unwrap_or_else(|| panic!("died at {dies_at}: {:?} {:?}", scene.verdict(), scene.canary().phase))
}

#[test]
fn a_step_is_left_whenever_a_worker_dies() {
    let usual = left_after(usize::MAX);
    for dies_at in (0..130).step_by(5) {
        let left = left_after(dies_at);
        // Ten seconds to know that it is gone, and a look when the next of the others has ended.
        assert!(left <= usual.max(dies_at + 100) + 40, "died at {dies_at}: left after {left}, usually {usual}");
    }
}

#[test]
fn too_much_left_out_holds_and_says_so_until_enough_have_come() {
    let mut scene = Scene::new(4, u64::MAX);
    (0..100).for_each(|_| scene.pass(|_| 3));
    (0..2).for_each(|node| scene.kill(node));
    // What is open everywhere else ends.
    (0..148_u64).for_each(|tenth| scene.pass(|node| u64::from(node == 3 && tenth.is_multiple_of(30))));
    let left_out = scene.verdict().left_out;
    assert!(left_out.workers == 2 && left_out.is_too_much(), "{left_out:?}");
    assert_eq!(scene.canary().phase.hold(), Some(&Hold::WorkersGone), "{:?}", scene.slo());
    let to_go = scene.verdict().requests_to_go(1);
    assert!(to_go > 0 && scene.verdict().progress(1) < 1.0);
    let came = scene.on_canary;
    for _ in 0..1_000 {
        (0..20).for_each(|_| scene.pass(|_| 5));
        (0..25).for_each(|tenth| scene.pass(|node| u64::from(node == 3 && tenth == 20)));
        if scene.canary().phase.name() != "Progressing" {
            break;
        }
    }
    assert_eq!(scene.canary().phase.name(), "Promoting", "{:?}", scene.verdict().left_out);
    assert!(scene.on_canary >= came + to_go, "{} of {to_go}", scene.on_canary - came);
}

/// A stream that breaks is no worker that is gone: what it had counted comes, and nothing is left out.
#[test]
fn a_worker_that_comes_back_is_counted_whole() {
    let mut scene = Scene::new(4, u64::MAX);
    (0..50).for_each(|_| scene.pass(|_| 2));
    scene.net.lose(0);
    // Nobody reconnects while nobody ticks; the others report.
    let started = scene.on_canary;
    (0..150).for_each(|tenth| scene.pass(|_| u64::from(tenth % 10 == 0)));
    assert!(scene.on_canary > started);
    assert!(scene.verdict().left_out.is_none(), "{:?}", scene.verdict().left_out);
    let canary = scene.canary().evidence.release().canary.clone();
    assert_eq!(canary.started, scene.on_canary, "and nothing is missing");
}
