//! Weights as they are kept: bytes, in the order in which tiles read them as pairs.

use super::pairs::Pairs;
use crate::tensor::{ElementType, Tensor};

/// Lines of weights in blocks of `N`: for each pair of numbers along what is summed one pair for each line of the block.
#[derive(Debug, Clone)]
pub(super) struct Weights<const N: usize> {
    bytes: Vec<i8>,
    /// The zero point of each line of each block, where they are not all 0.
    zeros: Option<Vec<i32>>,
    pairs: usize,
}

/// Numbers with a sign: those that have none are made smaller by 128.
pub(super) struct Signed<'a> {
    bytes: &'a [u8],
    flip: u8,
}

impl<'a> Signed<'a> {
    /// Those of a tensor of 8-bit integers.
    pub fn of(weights: &'a Tensor) -> Option<Self> {
        let flip = match weights.element_type() {
            ElementType::U8 => 0x80,
            ElementType::I8 => 0,
            _ => return None,
        };
        Some(Self { bytes: weights.bytes(), flip })
    }

    /// One of them.
    pub fn at(&self, index: usize) -> i8 {
        (self.bytes[index] ^ self.flip).cast_signed()
    }

    /// A zero point in the same way.
    pub const fn zero(&self, zero: i32) -> i32 {
        zero - if self.flip == 0 { 0 } else { 128 }
    }
}

impl<const N: usize> Weights<N> {
    /// `groups` times `lines` of `k` numbers. Each line has a zero point, as [`Signed::zero`] has it.
    pub fn new(groups: usize, lines: usize, k: usize, zeros: &[i32], at: impl Fn(usize, usize) -> i8) -> Self {
        let (mut bytes, mut all) = (vec![], vec![]);
        for group in 0..groups {
            for first in (0..lines).step_by(N) {
                // Lines that are missing may be anything: nobody keeps what becomes of them.
                let line = |i: usize| group * lines + (first + i).min(lines - 1);
                all.extend((0..N).map(|i| zeros[line(i)]));
                for k_at in (0..k).step_by(2) {
                    for i in 0..N {
                        bytes.push(at(line(i), k_at));
                        // What is missing counts as nothing, whatever it is multiplied with.
                        #[expect(clippy::cast_possible_truncation, reason = "a zero point of 8 bits")]
                        bytes.push(if k_at + 1 < k { at(line(i), k_at + 1) } else { zeros[line(i)] as i8 });
                    }
                }
            }
        }
        bytes.shrink_to_fit();
        let zeros = all.iter().any(|&zero| zero != 0).then_some(all);
        Self { bytes, zeros, pairs: k.div_ceil(2) }
    }

    /// A block as pairs without zero points.
    #[inline(always)]
    pub fn widen<P: Pairs>(&self, pairs: P, block: usize, out: &mut [i32]) {
        let length = 2 * N * self.pairs;
        let bytes = &self.bytes[block * length..][..length];
        if let Some(zeros) = &self.zeros {
            let (zeros, bytes) = (&zeros[N * block..][..N], bytes.as_chunks::<2>().0.as_chunks::<N>().0);
            for (out, bytes) in out.as_chunks_mut::<N>().0.iter_mut().zip(bytes) {
                for ((out, two), &zero) in out.iter_mut().zip(bytes).zip(zeros) {
                    *out = pair(i32::from(two[0]) - zero, i32::from(two[1]) - zero);
                }
            }
            return;
        }
        let (whole, rest) = bytes.as_chunks::<16>();
        let (head, tail) = out.split_at_mut((whole.len() * 8).min(out.len()));
        for (out, bytes) in head.chunks_exact_mut(8).zip(whole) {
            pairs.store(pairs.widen(bytes), out);
        }
        for (out, two) in tail.iter_mut().zip(rest.as_chunks::<2>().0) {
            *out = pair(two[0].into(), two[1].into());
        }
    }
}

/// Two numbers of 16 bits as one of 32.
#[inline(always)]
pub(super) const fn pair(first: i32, second: i32) -> i32 {
    (first & 0xffff) | (second << 16)
}
