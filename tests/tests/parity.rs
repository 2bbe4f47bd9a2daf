//! The judge comes to the same verdicts in wasm as natively, bit for bit, and to the same as before.
//!
//! The golden values are what this commit's core computes on any machine. A change of the core's arithmetic changes them,
//! and must mean to: a journal that an older agent wrote is then judged otherwise when it is replayed.

#![cfg(test)]

use parity::{PARTS, bits_of};
use wasmi::{Engine, Linker, Module, Store};

const SEEDS: [u64; 2] = [1, 20_261_121];

/// One line for each of [`PARTS`], one column for each of [`SEEDS`].
const GOLDEN: [[u64; 2]; PARTS.len()] = [
    [0x39c7_4f72_149a_1cf3, 0xbb0a_e067_a1d2_6ec6],
    [0xe50f_e1ac_c453_a00f, 0xaacd_3b65_7968_1743],
    [0x2a5e_59cd_e3b0_6a2e, 0x2753_b9e9_469f_d702],
    [0x85e3_0bf6_405c_093e, 0xe18c_7be3_d2eb_3a9a],
    [0x980b_d8b8_faa2_edbe, 0xe660_3f5b_1496_df08],
];

/// Of all parts and seeds, by the one or the other.
fn all(mut bits_of: impl FnMut(u32, u64) -> u64) -> [[u64; 2]; PARTS.len()] {
    std::array::from_fn(|part| SEEDS.map(|seed| bits_of(part as u32, seed)))
}

fn assert_golden(who: &str, found: [[u64; 2]; PARTS.len()]) {
    for ((name, _), found) in PARTS.iter().zip(found) {
        println!("{who} {name}: {found:#x?}");
    }
    for (((name, _), found), golden) in PARTS.iter().zip(found).zip(GOLDEN) {
        assert_eq!(found, golden, "{who}, {name}: with seeds {SEEDS:?}");
    }
}

#[test]
fn natively_the_judge_computes_the_golden_values() {
    assert_golden("native", all(bits_of));
}

#[test]
fn in_wasm_the_judge_computes_the_golden_values() {
    let wasm = std::fs::read(tests::parts::parity_module().unwrap()).unwrap();
    let engine = Engine::default();
    let module = Module::new(&engine, &wasm).unwrap();
    assert_eq!(module.imports().count(), 0, "the core asks its host for nothing");
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).unwrap();
    let parity_bits = instance.get_typed_func::<(u32, u64), u64>(&store, "parity_bits").unwrap();
    assert_golden("wasm", all(|part, seed| parity_bits.call(&mut store, (part, seed)).unwrap()));
}

#[test]
fn a_single_bit_is_seen() {
    // The test of the tests above: another seed is other numbers, in every part.
    for (part, (name, _)) in (0..).zip(PARTS) {
        let [first, second] = SEEDS.map(|seed| bits_of(part, seed));
        assert_ne!(first, second, "{name}");
    }
    assert_eq!(bits_of(PARTS.len() as u32, 1), 0, "no such part");
}
