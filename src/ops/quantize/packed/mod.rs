//! Convolutions and products of 8-bit integers whose weights are known when the plan is made: kernels over words of four.
//!
//! Bytes without a sign are read as those 128 smaller with one (a bit of each is flipped), so that both factors have a sign. What
//! the zero point of x would add to a sum is the same for all pixels, and is taken from the bias beforehand; so padding is the
//! zero point. The weights' own zero points must be none. Where the scale and the zero point of x come with the run, a dispatch
//! before the sums makes the table of both.
//!
//! | file | kernels |
//! |---|---|
//! | [`problem`] | none: what all of them start from |
//! | [`pack`] | none: how weights lie |
//! | [`register`] | for any device, by `dot4I8Packed` |
//! | [`subgroup`] | for software adapters: weights shared by a subgroup's broadcasts |
//! | [`depthwise`] | one input channel for each output channel |

mod depthwise;
mod pack;
mod problem;
mod register;
mod subgroup;
#[cfg(test)]
mod tests;

use crate::kernel::Candidate;
pub(super) use problem::{Geometry, Problem};

/// The ways to compute it; none where no kernel fits.
pub(super) fn candidates(problem: &Problem<'_>) -> Vec<Candidate> {
    let mut candidates = vec![];
    candidates.extend(depthwise::candidate(problem));
    candidates.extend(subgroup::candidates(problem));
    candidates.extend(register::candidate(problem));
    candidates
}
