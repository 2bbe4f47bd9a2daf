//! Inputs drawn with integers alone, and results gathered bit by bit.

/// SplitMix64.
#[derive(Debug)]
pub struct Draws(u64);

impl Draws {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `below` - 1.
    pub(crate) const fn up_to(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// Events among `trials`, each with a probability of so many millionths.
    pub(crate) fn events(&mut self, trials: u64, millionths: u64) -> u64 {
        (0..trials).filter(|_| self.up_to(1_000_000) < millionths).count() as u64
    }

    /// A number above 0, of any size between 2^-40 and 2^9.
    pub(crate) fn positive(&mut self) -> f64 {
        let mantissa = self.next() >> 12;
        let exponent = 1023 - 40 + self.up_to(49);
        f64::from_bits(exponent << 52 | mantissa)
    }
}

/// FNV-1a over the bits of all results.
#[derive(Debug)]
pub struct Bits(u64);

impl Default for Bits {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Bits {
    /// A result, bit for bit.
    pub(crate) fn add(&mut self, result: f64) {
        self.count(result.to_bits());
    }

    /// A whole number.
    pub(crate) fn count(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(crate) const fn sum(&self) -> u64 {
        self.0
    }
}
