//! The statistics against reference values computed elsewhere, in 60-digit arithmetic or by the confseq library.
//!
//! Reads tests/data/stats_vectors.json, and any file that STATS_VECTORS names as well.

#![cfg(test)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test that reads its reference values from files; the core itself does not"
)]

use rollout::bounds::{confidence_sequence, gate_bounds, ln_beta_mixture, sample_ratio, sample_ratio_exact};
use rollout::gate::{Boundary, Pair, Trials, all_of, any_of, running_p};
use rollout::histogram::Bucket;
use rollout::mixture::{G8, Wealth};
use rollout::thresholds;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    method: String,
    inputs: Value,
    expected: Value,
    tol_abs: f64,
}

/// What a case computes: pairs of the expected value's name and ours.
type Computed = Vec<(&'static str, Vec<f64>)>;

#[test]
fn every_vector_is_met() {
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stats_vectors.json").to_owned();
    let more = std::env::var("STATS_VECTORS").ok();
    for path in std::iter::once(ours).chain(more) {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let file: File = serde_json::from_str(&text).unwrap();
        let checked = file.cases.iter().filter(|case| check(case)).count();
        println!("{path}: {checked} of {} cases checked", file.cases.len());
        assert!(checked > 0, "{path} has no case of a known method");
    }
}

/// Checks one case; `false` for methods that the product does not have.
fn check(case: &Case) -> bool {
    let Some(computed) = compute(&case.method, &case.inputs) else { return false };
    for (name, ours) in computed {
        let expected = numbers(&case.expected[name]);
        assert_eq!(expected.len(), ours.len(), "{} {name}", case.id);
        for (n, (expected, ours)) in expected.iter().zip(&ours).enumerate() {
            let error = (expected - ours).abs();
            assert!(error <= case.tol_abs, "{} {name}[{n}]: {ours} is {error} from {expected}", case.id);
        }
    }
    true
}

fn compute(method: &str, inputs: &Value) -> Option<Computed> {
    let f = |name: &str| inputs[name].as_f64().unwrap_or_else(|| panic!("{method} {name}"));
    let n = |name: &str| inputs[name].as_u64().unwrap_or_else(|| panic!("{method} {name}"));
    Some(match method {
        "g8_abort" => vec![("log_e", vec![G8.ln_e(f("failures"), f("trials"), f("theta0"))])],
        "g8_certify" => {
            vec![("log_e", vec![G8.ln_e(f("trials") - f("failures"), f("trials"), 1.0 - f("p0"))])]
        }
        "g8_bounds" => {
            let (lower, upper) = gate_bounds(n("failures"), n("trials"), f("alpha_each_side"));
            vec![("lower", vec![lower]), ("upper", vec![upper])]
        }
        "robbins_ci" => {
            let (lower, upper) = confidence_sequence(n("successes_of_interest"), n("trials"), f("alpha"));
            vec![("lower", vec![lower]), ("upper", vec![upper])]
        }
        "srm_tol" => {
            vec![("log_e", vec![sample_ratio(n("canary"), n("total"), f("weight"), f("rel_tolerance"))])]
        }
        "srm_dirichlet" => {
            let counts: Vec<u64> = inputs["counts"].as_array()?.iter().filter_map(Value::as_u64).collect();
            vec![("log_e", vec![sample_ratio_exact(&numbers(&inputs["theta"]), &counts, f("kappa"))])]
        }
        "beta_mixture_two_sided" => {
            let others = f("trials") - f("events");
            vec![("log_e", vec![ln_beta_mixture(f("prior_a"), f("prior_b"), f("events"), others, f("p0"))])]
        }
        "g8_abort_restart" => restarts(inputs, f("theta0")),
        "g8_stop_table" => {
            let rows = n("k_from")..=n("k_to");
            vec![("n_max", rows.map(|k| stop_row(k, f("theta0"), f("alpha")) as f64).collect())]
        }
        "g8_rel_slots" => {
            let mut sum = [0.0; 8];
            let after: Vec<f64> = slots(&inputs["slots_nc_fc_ns_fs"])
                .iter()
                .map(|slot| {
                    let more = Boundary::Relative(f("rho")).ln_ratios(slot, 1).unwrap_or_default();
                    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                    G8.ln_mixture(&sum)
                })
                .collect();
            vec![("log_e", after.last().copied().into_iter().collect()), ("log_e_after_each_slot", after)]
        }
        "g8_rel_restart" => vec![("log_e", vec![relative_with_restarts(&inputs["slots_nc_fc_ns_fs"], f("rho"))])],
        "latency_avg4" => {
            let quantiles = inputs["per_quantile_slots_nc_xc_ns_xs"].as_array()?;
            let each = quantiles.iter().map(|slots| (0.25, relative_without(slots, f("rho")))).collect::<Vec<_>>();
            vec![("log_e", vec![any_of(&each)])]
        }
        "hist_threshold" => {
            let edges = numbers(&inputs["upper_edges"]);
            let past = (0..).map(Bucket).zip(numbers(&inputs["counts"])).collect::<Vec<_>>();
            let last = Bucket(edges.len() as u32 - 1);
            let edge = |bucket: Bucket| edges[bucket.0 as usize];
            let found = thresholds::of_buckets(&past, edge, last, f("quantile"), f("margin_x"))?;
            let index = |bucket: Bucket| vec![f64::from(bucket.0)];
            vec![("stable_index", index(found.primary)), ("canary_index", index(found.canary))]
        }
        "combine_mean" => {
            let pairs = numbers(&inputs["weights"]).into_iter().zip(numbers(&inputs["log_e"]));
            vec![("log_e", vec![any_of(&pairs.collect::<Vec<_>>())])]
        }
        "combine_min" => vec![("log_e", vec![all_of(&numbers(&inputs["log_e"]))])],
        "running_p" => {
            let greatest = numbers(&inputs["log_e_path"]).into_iter().fold(f64::NEG_INFINITY, f64::max);
            vec![("p", vec![running_p(greatest)])]
        }
        _ => return None,
    })
}

fn restarts(inputs: &Value, theta0: f64) -> Computed {
    let mut wealth = Wealth::default();
    let ticks = inputs["ticks_trials_failures"].as_array().expect("ticks");
    let after: Vec<f64> = ticks
        .iter()
        .map(|tick| {
            wealth.stake(&wealth.due(false));
            wealth.bet(&G8.ln_ratios_of(numbers(tick)[1], numbers(tick)[0], theta0));
            wealth.ln_e(&G8)
        })
        .collect();
    let starts = wealth.starts().map(f64::from).to_vec();
    let last = after.last().copied().unwrap_or(0.0);
    vec![("log_e", vec![last]), ("log_e_after_each_tick", after), ("starts_per_alternative", starts)]
}

fn slots(rows: &Value) -> Vec<Pair> {
    let trials = |started: f64, events: f64| Trials { started: started as u64, events: events as u64, pending: 0 };
    let slot = |row: &[f64]| Pair { canary: trials(row[0], row[1]), primary: trials(row[2], row[3]) };
    numbers(rows).chunks_exact(4).map(slot).collect()
}

fn relative_with_restarts(rows: &Value, rho: f64) -> f64 {
    let mut wealth = Wealth::default();
    for slot in slots(rows) {
        wealth.stake(&wealth.due(false));
        wealth.bet(&Boundary::Relative(rho).ln_ratios(&slot, 1).unwrap_or_default());
    }
    wealth.ln_e(&G8)
}

fn relative_without(rows: &Value, rho: f64) -> f64 {
    let mut sum = [0.0; 8];
    for slot in slots(rows) {
        let more = Boundary::Relative(rho).ln_ratios(&slot, 1).unwrap_or_default();
        sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    G8.ln_mixture(&sum)
}

/// The largest n at which the k-th failure still rejects; 0 when it never can.
fn stop_row(k: u64, theta0: f64, alpha: f64) -> u64 {
    let rejects = |n: u64| G8.ln_e(k as f64, n as f64, theta0) >= -libm::log(alpha);
    (k..).take_while(|n| rejects(*n)).last().unwrap_or(0)
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Number(number) => number.as_f64().into_iter().collect(),
        _ => Vec::new(),
    }
}
