//! The statistics against reference values computed elsewhere, in 60-digit arithmetic or by the confseq library.
//!
//! Reads tests/data/stats_vectors.json, and any file that STATS_VECTORS names as well.

#![cfg(test)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test that reads its reference values from files; the core itself does not"
)]

use rollout::base::histogram::Bucket;
use rollout::judgement::latency_thresholds;
use rollout::statistics::boundary::{Boundary, Pair, Trials, all_of, any_of, running_p};
use rollout::statistics::confidence::{
    confidence_sequence, guard_bounds, ln_beta_mixture, sample_ratio, sample_ratio_exact,
};
use rollout::statistics::mixture::{Explained, G8, PerAlternative, Wealth};
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
        let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let missed: Vec<String> = file.cases.iter().filter_map(|case| check(case).err()).collect();
        println!("{path}: {} of {} cases met", file.cases.len() - missed.len(), file.cases.len());
        assert!(missed.is_empty(), "{path}:\n{}", missed.join("\n"));
        assert!(!file.cases.is_empty(), "{path} holds no case");
    }
}

#[test]
fn a_case_that_is_not_met_is_named() {
    let case = |method: &str, expected: Value| {
        let inputs = serde_json::json!({ "failures": 2, "trials": 4, "theta0": 0.01 });
        check(&Case { id: "made_up".to_owned(), method: method.to_owned(), inputs, expected, tol_abs: 1e-9 })
    };
    let right = G8.ln_e(2.0, 4.0, 0.01);
    assert_eq!(case("g8_abort", serde_json::json!({ "log_e": right })), Ok(()));
    let unknown = case("unheard_of", serde_json::json!({ "log_e": right })).unwrap_err();
    assert!(unknown.contains("made_up") && unknown.contains("unheard_of"), "{unknown}");
    assert!(case("g8_abort", serde_json::json!({ "log_e": right + 1e-8 })).is_err(), "wrong by more than is tolerated");
    assert!(case("g8_abort", serde_json::json!({ "log_e": right, "more": 1.0 })).is_err(), "a value nobody computes");
    assert!(case("g8_abort", serde_json::json!({ "log_e": "?" })).is_err(), "a value that is no number");
}

/// Checks one case: the method is known, every expected value is computed, and each is within tolerance.
fn check(case: &Case) -> Result<(), String> {
    let Case { id, method, .. } = case;
    let computed = compute(method, &case.inputs).ok_or_else(|| {
        format!("{id}: nothing here computes the method {method}; add it to `compute`, or leave it out")
    })?;
    for name in case.expected.as_object().into_iter().flat_map(|object| object.keys()) {
        let (_, ours) = computed
            .iter()
            .find(|(computed, _)| computed == name)
            .ok_or_else(|| format!("{id}: nothing here computes {name} of {method}"))?;
        let expected = numbers(&case.expected[name]);
        if expected.len() != ours.len() {
            return Err(format!("{id} {name}: {} values for {} expected ones", ours.len(), expected.len()));
        }
        for (n, (expected, ours)) in expected.iter().zip(ours).enumerate() {
            let error = (expected - ours).abs();
            if error.is_nan() || error > case.tol_abs {
                return Err(format!("{id} {name}[{n}]: {ours} is {error} from {expected}"));
            }
        }
    }
    Ok(())
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
            let (lower, upper) = guard_bounds(n("failures"), n("trials"), f("alpha_each_side"));
            vec![("lower", vec![lower]), ("upper", vec![upper])]
        }
        "robbins_ci" => {
            let (lower, upper) = confidence_sequence(n("successes_of_interest"), n("trials"), f("alpha"));
            vec![("lower", vec![lower]), ("upper", vec![upper])]
        }
        "srm_tol" => {
            vec![(
                "log_e",
                vec![sample_ratio([(n("canary"), n("total"), f("weight"))].into_iter(), f("rel_tolerance"))],
            )]
        }
        "srm_dirichlet" => {
            let counts: Vec<u64> = inputs["counts"].as_array()?.iter().filter_map(Value::as_u64).collect();
            vec![("log_e", vec![sample_ratio_exact(&numbers(&inputs["theta"]), &counts, f("kappa"))])]
        }
        "beta_mixture_two_sided" => {
            let others = f("trials") - f("events");
            vec![("log_e", vec![ln_beta_mixture(f("prior_a"), f("prior_b"), f("events"), others, f("p0"))])]
        }
        "g8_abort_restart" => {
            let ticks = numbers(&inputs["ticks_trials_failures"]);
            restarts(
                "log_e_after_each_tick",
                ticks.chunks_exact(2).map(|tick| G8.ln_ratios_of(tick[1], tick[0], f("theta0"))),
            )
        }
        "g8_stop_table" => {
            let rows = n("k_from")..=n("k_to");
            vec![("n_max", rows.map(|k| stop_row(k, f("theta0"), f("alpha")) as f64).collect())]
        }
        "g8_rel_slots" => {
            let mut sum = [0.0; 8];
            let after: Vec<f64> = slots(&inputs["slots_nc_fc_ns_fs"])
                .iter()
                .map(|slot| {
                    let more = Boundary::Relative(f("rho")).ln_ratios(slot, 1).unwrap_or(Explained::NOTHING).first;
                    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                    G8.ln_mixture(&sum)
                })
                .collect();
            vec![("log_e", after.last().copied().into_iter().collect()), ("log_e_after_each_slot", after)]
        }
        "g8_rel_design" => vec![("log_e", vec![by_design(&inputs["epochs_w_fc_fs"], f("rho"))])],
        "beta_mixture_one_sided" => {
            let (a, b, p0) = (f("prior_a"), f("prior_b"), f("p0"));
            vec![("log_e", vec![comparison::one_sided(a, b, f("events"), f("trials") - f("events"), p0)])]
        }
        "confseq_bernoulli_ci" => {
            let needed = -libm::log(f("alpha"));
            let (lower, upper) = comparison::interval(f("successes"), f("trials"), needed, f("t_opt"), f("alpha_opt"));
            vec![("lower", vec![lower]), ("upper", vec![upper])]
        }
        "g8_rel_restart" => {
            let slots = slots(&inputs["slots_nc_fc_ns_fs"]).into_iter();
            restarts(
                "log_e_after_each_slot",
                slots.map(|slot| Boundary::Relative(f("rho")).ln_ratios(&slot, 1).unwrap_or(Explained::NOTHING).first),
            )
        }
        "latency_avg4" => {
            let quantiles = inputs["per_quantile_slots_nc_xc_ns_xs"].as_array()?;
            let each: Vec<f64> = quantiles.iter().map(|slots| relative_without(slots, f("rho"))).collect();
            let weighted: Vec<(f64, f64)> = each.iter().map(|ln_e| (0.25, *ln_e)).collect();
            vec![("log_e", vec![any_of(&weighted)]), ("per_quantile_log_e", each)]
        }
        "hist_threshold" => {
            let edges = numbers(&inputs["upper_edges"]);
            let past = (0..).map(Bucket).zip(numbers(&inputs["counts"])).collect::<Vec<_>>();
            let last = Bucket(edges.len() as u32 - 1);
            let edge = |bucket: Bucket| edges[bucket.0 as usize];
            let found = latency_thresholds::of_buckets(&past, edge, last, f("quantile"), f("margin_x"))?;
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

fn restarts(after_each: &'static str, batches: impl Iterator<Item = PerAlternative>) -> Computed {
    let mut wealth = Wealth::default();
    let after: Vec<f64> = batches
        .map(|ln_ratios| {
            wealth.stake(&wealth.due(false));
            wealth.bet(&ln_ratios);
            wealth.ln_e(&G8)
        })
        .collect();
    let starts = wealth.starts().map(f64::from).to_vec();
    let last = after.last().copied().into_iter().collect();
    vec![("log_e", last), (after_each, after), ("starts_per_alternative", starts)]
}

fn slots(rows: &Value) -> Vec<Pair> {
    let trials = |started: f64, events: f64| Trials { started: started as u64, events: events as u64, pending: 0 };
    let slot = |row: &[f64]| Pair { canary: trials(row[0], row[1]), primary: trials(row[2], row[3]), split: None };
    numbers(rows).chunks_exact(4).map(slot).collect()
}

/// With the weights as they were meant, not as they turned out. The product never does so: requests that really went to
/// the canary are counted in every slot, slots are long enough for some, and a skewed router would void the bound on false
/// aborts (guards_conditions.rs shows it). So the weight stands in for the realised share here.
fn by_design(epochs: &Value, rho: f64) -> f64 {
    let mut sum = [0.0; 8];
    for row in numbers(epochs).chunks_exact(3) {
        let of_2_50 = |share: f64| (share * (1u64 << 50) as f64) as u64;
        let of = |started: u64, events: f64| Trials { started, events: events as u64, pending: 0 };
        let pair =
            Pair { canary: of(of_2_50(row[0]), row[1]), primary: of(of_2_50(1.0 - row[0]), row[2]), split: None };
        let more = Boundary::Relative(rho).ln_ratios(&pair, 1).unwrap_or(Explained::NOTHING).first;
        sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    G8.ln_mixture(&sum)
}

fn relative_without(rows: &Value, rho: f64) -> f64 {
    let mut sum = [0.0; 8];
    for slot in slots(rows) {
        let more = Boundary::Relative(rho).ln_ratios(&slot, 1).unwrap_or(Explained::NOTHING).first;
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

/// What the product does not use, but is compared with: two tests of the confseq library.
mod comparison {
    use super::ln_beta_mixture;

    /// ln e-value against "at most p0", of a Beta(a, b) mixture cut off below p0 (Howard et al. 2021).
    pub(super) fn one_sided(a: f64, b: f64, events: f64, others: f64, p0: f64) -> f64 {
        let above = |a: f64, b: f64| libm::log(incomplete_beta(b, a, 1.0 - p0));
        ln_beta_mixture(a, b, events, others, p0) + above(a + events, b + others) - above(a, b)
    }

    /// Confidence sequence that is narrowest near `t_opt` trials; its prior follows the rate that is tested.
    pub(super) fn interval(events: f64, trials: f64, needed: f64, t_opt: f64, alpha_opt: f64) -> (f64, f64) {
        let others = trials - events;
        let twice = -2.0 * libm::log(alpha_opt);
        let inside = |p: f64| {
            let variance = p * (1.0 - p);
            let rho = variance * t_opt / (twice + libm::log1p(twice));
            let r = (rho - variance).max(1e-3 * variance);
            ln_beta_mixture(r / (1.0 - p), r / p, events, others, p) < needed
        };
        let edge = |mut out: f64, mut within: f64| {
            for _ in 0..100 {
                let middle = f64::midpoint(out, within);
                if inside(middle) { within = middle } else { out = middle }
            }
            within
        };
        let estimate = events / trials;
        let low = if events == 0.0 { 0.0 } else { edge(0.0, estimate) };
        let high = if others == 0.0 { 1.0 } else { edge(1.0, estimate) };
        (low, high)
    }

    /// Regularised incomplete beta function, by Lentz's continued fraction (DLMF 8.17.22).
    fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
        if x > (a + 1.0) / (a + b + 2.0) {
            return 1.0 - incomplete_beta(b, a, 1.0 - x);
        }
        let (mut c, mut d) = (1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0)));
        let mut fraction = d;
        for step in 1..3000 {
            let m = f64::from(step);
            let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
            let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
            for term in [even, odd] {
                d = 1.0 / (1.0 + term * d);
                c = 1.0 + term / c;
                fraction *= d * c;
            }
        }
        // x^a (1 - x)^b / B(a, b), by the product's own beta function: no great logarithms cancel.
        let ln_rest = 0.5 * (libm::log(x) + libm::log1p(-x)) - libm::log(std::f64::consts::PI);
        let ln_front = ln_rest - ln_beta_mixture(0.5, 0.5, a - 0.5, b - 0.5, x);
        libm::exp(ln_front) * fraction / a
    }
}
