//! Vectors of pairs of 16-bit integers, tiles of sums of their products, and what becomes of those.

use super::{Channel, Finish};

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

    /// Each byte of `one` and the one of `other` as a pair.
    fn join(self, one: &[u8; COLUMNS], other: &[u8; COLUMNS]) -> [Self::Vector; 2];

    /// Every second byte of `one`, from the first on, and the one of `other` as a pair.
    fn join_even(self, one: &[u8; 2 * COLUMNS], other: &[u8; 2 * COLUMNS]) -> [Self::Vector; 2];

    /// Neighbouring numbers as pairs.
    fn widen(self, bytes: &[i8; 16]) -> Self::Vector;

    /// Sums as floats.
    fn floats(self, sums: [Self::Vector; 2], channel: Channel) -> [f32; COLUMNS];

    /// Sums as quantized bytes. (Left to the compiler, this is not always done in vectors.)
    fn bytes(self, sums: [Self::Vector; 2], channel: Channel, finish: Finish) -> [u8; COLUMNS];
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

    #[inline(always)]
    fn join(self, one: &[u8; COLUMNS], other: &[u8; COLUMNS]) -> [[i32; 8]; 2] {
        let at = |i: usize| i32::from(one[i]) | i32::from(other[i]) << 16;
        [std::array::from_fn(at), std::array::from_fn(|i| at(i + 8))]
    }

    #[inline(always)]
    fn join_even(self, one: &[u8; 2 * COLUMNS], other: &[u8; 2 * COLUMNS]) -> [[i32; 8]; 2] {
        let at = |i: usize| i32::from(one[2 * i]) | i32::from(other[2 * i]) << 16;
        [std::array::from_fn(at), std::array::from_fn(|i| at(i + 8))]
    }

    #[inline(always)]
    fn widen(self, bytes: &[i8; 16]) -> [i32; 8] {
        std::array::from_fn(|i| (i32::from(bytes[2 * i]) & 0xffff) | i32::from(bytes[2 * i + 1]) << 16)
    }

    #[inline(always)]
    fn floats(self, sums: [[i32; 8]; 2], channel: Channel) -> [f32; COLUMNS] {
        std::array::from_fn(|i| channel.float(sums[i / 8][i % 8]))
    }

    #[inline(always)]
    fn bytes(self, sums: [[i32; 8]; 2], channel: Channel, finish: Finish) -> [u8; COLUMNS] {
        std::array::from_fn(|i| finish.byte(channel.float(sums[i / 8][i % 8])))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m256, __m256i};

    use pulp::NullaryFnOnce;
    use pulp::x86::V3;

    use super::{COLUMNS, Channel, Finish, Pairs, Work};

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

        #[inline(always)]
        fn join(self, one: &[u8; COLUMNS], other: &[u8; COLUMNS]) -> [__m256i; 2] {
            let one = self.avx2._mm256_cvtepu8_epi16(bytemuck::cast(*one));
            interleaved(self, one, self.avx2._mm256_cvtepu8_epi16(bytemuck::cast(*other)))
        }

        #[inline(always)]
        fn join_even(self, one: &[u8; 2 * COLUMNS], other: &[u8; 2 * COLUMNS]) -> [__m256i; 2] {
            let low = self.avx._mm256_set1_epi16(0xff);
            let one = self.avx2._mm256_and_si256(bytemuck::cast(*one), low);
            interleaved(self, one, self.avx2._mm256_and_si256(bytemuck::cast(*other), low))
        }

        #[inline(always)]
        fn widen(self, bytes: &[i8; 16]) -> __m256i {
            self.avx2._mm256_cvtepi8_epi16(bytemuck::cast(*bytes))
        }

        #[inline(always)]
        fn floats(self, sums: [__m256i; 2], channel: Channel) -> [f32; COLUMNS] {
            bytemuck::cast([scaled(self, sums[0], channel), scaled(self, sums[1], channel)])
        }

        #[inline(always)]
        fn bytes(self, sums: [__m256i; 2], channel: Channel, finish: Finish) -> [u8; COLUMNS] {
            // Numbers of at most 9 bits: the low bytes are what is wanted, in the order in which they were.
            let packed = self
                .avx2
                ._mm256_packs_epi32(whole(self, sums[0], channel, finish), whole(self, sums[1], channel, finish));
            let low = self.avx2._mm256_and_si256(packed, self.avx._mm256_set1_epi16(0xff));
            let bytes = self.avx2._mm256_packus_epi16(low, low);
            let order = self.avx._mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
            let bytes = self.avx2._mm256_permutevar8x32_epi32(bytes, order);
            let bytes = self.avx2._mm256_add_epi8(bytes, self.avx._mm256_set1_epi8(finish.zero.cast_signed()));
            let [bytes, _]: [[u8; COLUMNS]; 2] = bytemuck::cast(bytes);
            bytes
        }
    }

    /// Numbers of 16 bits beside each other.
    #[inline(always)]
    fn interleaved(simd: V3, one: __m256i, other: __m256i) -> [__m256i; 2] {
        // The first four pairs of each half, and the others.
        let (low, high) = (simd.avx2._mm256_unpacklo_epi16(one, other), simd.avx2._mm256_unpackhi_epi16(one, other));
        [simd.avx2._mm256_permute2x128_si256::<0x20>(low, high), simd.avx2._mm256_permute2x128_si256::<0x31>(low, high)]
    }

    /// Bounded products of sums, to the nearest integers, ties to even. (A function, since closures are not always inlined, and
    /// are then compiled without vectors.)
    #[inline(always)]
    fn whole(simd: V3, sum: __m256i, channel: Channel, finish: Finish) -> __m256i {
        let v = simd.avx._mm256_max_ps(scaled(simd, sum, channel), simd.avx._mm256_set1_ps(finish.low));
        simd.avx._mm256_cvtps_epi32(simd.avx._mm256_min_ps(v, simd.avx._mm256_set1_ps(finish.high)))
    }

    /// The products of sums.
    #[inline(always)]
    fn scaled(simd: V3, sum: __m256i, channel: Channel) -> __m256 {
        let sum = simd.avx2._mm256_add_epi32(sum, simd.avx._mm256_set1_epi32(channel.bias));
        let product = simd.avx._mm256_mul_ps(simd.avx._mm256_cvtepi32_ps(sum), simd.avx._mm256_set1_ps(channel.factor));
        simd.avx._mm256_add_ps(product, simd.avx._mm256_set1_ps(channel.rest))
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
pub(super) fn tile<P: Pairs>(pairs: P, a: &[i32], b: &[i32]) -> [[P::Vector; 2]; ROWS] {
    let mut c = [[pairs.splat(0); 2]; ROWS];
    for (a, b) in a.as_chunks::<ROWS>().0.iter().zip(b.as_chunks::<COLUMNS>().0) {
        let b = [pairs.load(b), pairs.load(&b[P::LANES..])];
        for (c, &a) in c.iter_mut().zip(a) {
            let a = pairs.splat(a);
            c[0] = pairs.add_products(c[0], a, b[0]);
            c[1] = pairs.add_products(c[1], a, b[1]);
        }
    }
    c
}

/// Sums as numbers.
#[inline(always)]
pub(super) fn numbers<P: Pairs>(pairs: P, sums: [P::Vector; 2]) -> [i32; COLUMNS] {
    let mut numbers = [0; COLUMNS];
    pairs.store(sums[0], &mut numbers);
    pairs.store(sums[1], &mut numbers[P::LANES..]);
    numbers
}

/// The sums of a single row.
#[inline(always)]
pub(super) fn line<P: Pairs>(pairs: P, a: &[i32], b: &[i32]) -> [P::Vector; 2] {
    let mut c = [pairs.splat(0); 2];
    for (&a, b) in a.iter().zip(b.as_chunks::<COLUMNS>().0) {
        let a = pairs.splat(a);
        c[0] = pairs.add_products(c[0], a, pairs.load(b));
        c[1] = pairs.add_products(c[1], a, pairs.load(&b[P::LANES..]));
    }
    c
}
