//! Numbers that look random, from a seed.

/// xorshift*.
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 31 bits.
    const fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.bits() as usize % n
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// At least 0, less than 1.
    pub fn fraction(&mut self) -> f64 {
        self.bits() as f64 / f64::from(1u32 << 31)
    }

    /// 64 bits.
    pub const fn word(&mut self) -> u64 {
        self.bits() << 62 ^ self.bits() << 31 ^ self.bits()
    }
}
