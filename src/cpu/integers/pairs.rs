//! Vectors of pairs of 16-bit integers, and tiles of sums of their products.

/// What multiplies vectors of pairs.
pub(super) trait Pairs: Copy {
    /// As many pairs, or sums of 32 bits.
    type Vector: Copy;
    /// Pairs of a vector.
    const LANES: usize;

    /// The same pair again and again.
    fn splat(self, pair: i32) -> Self::Vector;

    /// The first `LANES` numbers.
    fn load(self, from: &[i32]) -> Self::Vector;

    /// `sum + a₀ · b₀ + a₁ · b₁` of each pair.
    fn add_products(self, sum: Self::Vector, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// Writes `LANES` numbers.
    fn store(self, v: Self::Vector, to: &mut [i32]);
}

/// Work that is written for vectors of pairs.
pub(super) trait Work {
    fn run<P: Pairs>(self, pairs: P);
}

/// Eight pairs, as the compiler makes vectors of them.
#[derive(Clone, Copy)]
struct Plain;

impl Pairs for Plain {
    type Vector = [i32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(self, pair: i32) -> [i32; 8] {
        [pair; 8]
    }

    #[inline(always)]
    fn load(self, from: &[i32]) -> [i32; 8] {
        std::array::from_fn(|i| from[i])
    }

    #[inline(always)]
    fn add_products(self, sum: [i32; 8], a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        let low = |v: i32| (v << 16) >> 16;
        std::array::from_fn(|i| sum[i].wrapping_add(low(a[i]) * low(b[i])).wrapping_add((a[i] >> 16) * (b[i] >> 16)))
    }

    #[inline(always)]
    fn store(self, v: [i32; 8], to: &mut [i32]) {
        to[..8].copy_from_slice(&v);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::__m256i;

    use pulp::NullaryFnOnce;
    use pulp::x86::V3;

    use super::{Pairs, Work};

    impl Pairs for V3 {
        type Vector = __m256i;
        const LANES: usize = 8;

        #[inline(always)]
        fn splat(self, pair: i32) -> __m256i {
            bytemuck::cast([pair; 8])
        }

        #[inline(always)]
        fn load(self, from: &[i32]) -> __m256i {
            bytemuck::cast::<[i32; 8], _>(std::array::from_fn(|i| from[i]))
        }

        #[inline(always)]
        fn add_products(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_add_epi32(sum, self.avx2._mm256_madd_epi16(a, b))
        }

        #[inline(always)]
        fn store(self, v: __m256i, to: &mut [i32]) {
            to[..8].copy_from_slice(&bytemuck::cast::<_, [i32; 8]>(v));
        }
    }

    /// Work with the vectors that it is done by, so that all of it is compiled for them.
    pub(super) struct With<W>(pub V3, pub W);

    impl<W: Work> NullaryFnOnce for With<W> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            self.1.run(self.0);
        }
    }
}

/// Runs work with the widest vectors that this processor has.
pub(super) fn dispatch<W: Work>(work: W) {
    #[cfg(target_arch = "x86_64")]
    if let pulp::x86::Arch::V3(simd) = pulp::x86::Arch::new() {
        return simd.vectorize(x86::With(simd, work));
    }
    work.run(Plain);
}

/// Rows of a tile.
pub(super) const ROWS: usize = 6;
/// Columns of a tile: two vectors of eight.
pub(super) const COLUMNS: usize = 16;

/// The sums of a tile: `a` has a pair for each of its rows, `b` one for each of its columns, one after another along what is
/// summed.
#[inline(always)]
pub(super) fn tile<P: Pairs>(pairs: P, a: &[i32], b: &[i32], sums: &mut [[i32; COLUMNS]; ROWS]) {
    let mut c = [[pairs.splat(0); 2]; ROWS];
    for (a, b) in a.as_chunks::<ROWS>().0.iter().zip(b.as_chunks::<COLUMNS>().0) {
        let b = [pairs.load(b), pairs.load(&b[P::LANES..])];
        for (c, &a) in c.iter_mut().zip(a) {
            let a = pairs.splat(a);
            c[0] = pairs.add_products(c[0], a, b[0]);
            c[1] = pairs.add_products(c[1], a, b[1]);
        }
    }
    for (c, sums) in c.into_iter().zip(sums) {
        pairs.store(c[0], sums);
        pairs.store(c[1], &mut sums[P::LANES..]);
    }
}

/// The sums of a single row, by wider tiles: what is read of `b` is read but once anyway.
#[inline(always)]
pub(super) fn line<P: Pairs>(pairs: P, a: &[i32], b: &[i32], sums: &mut [i32; COLUMNS]) {
    let mut c = [pairs.splat(0); 2];
    for (&a, b) in a.iter().zip(b.as_chunks::<COLUMNS>().0) {
        let a = pairs.splat(a);
        c[0] = pairs.add_products(c[0], a, pairs.load(b));
        c[1] = pairs.add_products(c[1], a, pairs.load(&b[P::LANES..]));
    }
    pairs.store(c[0], sums);
    pairs.store(c[1], &mut sums[P::LANES..]);
}
