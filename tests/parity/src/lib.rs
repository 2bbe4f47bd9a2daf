//! What the core makes of fixed inputs, as numbers that must be the same on every target, bit for bit.
//!
//! One source, compiled twice: natively into the test that compares (tests/tests/parity.rs), and into a wasm module that
//! the same test interprets. Inputs are drawn with integers alone, so that only the core can differ.

mod draws;
mod latency;
mod verdicts;

use draws::{Bits, Draws};

/// One area of the core, by name, and how to sum up its results for a seed.
pub type Part = (&'static str, fn(&mut Draws, &mut Bits));

/// In the order of their numbers.
pub const PARTS: [Part; 5] = [
    ("libm", transcendental),
    ("guards", verdicts::guards),
    ("certify", verdicts::certificates),
    ("bounds", verdicts::bounds),
    ("latency", latency::thresholds),
];

/// All bits of all results of one part, as one number; 0 for a part that does not exist.
pub fn bits_of(part: u32, seed: u64) -> u64 {
    let (mut draws, mut bits) = (Draws::new(seed), Bits::default());
    match PARTS.get(part as usize) {
        Some((_, run)) => run(&mut draws, &mut bits),
        None => return 0,
    }
    bits.sum()
}

/// The functions that everything else is made of, so that a difference is found where it begins.
fn transcendental(draws: &mut Draws, bits: &mut Bits) {
    for _ in 0..500 {
        let (positive, any) = (draws.positive(), draws.positive() - draws.positive());
        bits.add(libm::log(positive));
        bits.add(libm::log1p(positive));
        bits.add(libm::exp(any));
        bits.add(libm::lgamma(positive));
    }
}

/// The same, for the host that runs the module.
#[allow(unsafe_code, reason = "a name that a module exports is promised to be unique; nothing else here is unsafe")]
#[unsafe(no_mangle)]
pub extern "C" fn parity_bits(part: u32, seed: u64) -> u64 {
    bits_of(part, seed)
}
