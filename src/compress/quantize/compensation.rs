//! How what rounding loses is made up for.
//!
//! Elements of a row are rounded one after the other, and what was lost by those before is made up for by the next, as far as
//! samples show that their inputs go together: GPTQ (Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative
//! Pre-trained Transformers", 2022), in the form that Chee et al. ("QuIP", 2023) show to be the same: with the moments
//! `H = XᵀX = (U + 1) D (U + 1)ᵀ`, `U` above the diagonal, `q[k] = round(w[k] + Σ_{j<k} (w[j] - q[j]) · U[j, k])`.

use std::ops::{AddAssign, Mul};

use super::moments::Moments;

/// So much of the mean of the moments' diagonal is added to it: inputs that samples do not show do not count for nothing.
const DAMPING: f64 = 0.01;

/// So much of what layers before have lost already is made up for: all of it would fit what these samples happen to show.
const REPAID: f64 = 0.5;

/// How elements of a row make up for those before them, and for what layers before have lost.
#[derive(Debug)]
pub struct Compensation {
    size: usize,
    /// `U` by columns, each as long as the matrix.
    columns: Vec<f32>,
    /// `D`.
    diagonal: Vec<f64>,
    /// `Xᵀ(Y - X)` of the inputs `X` that there are and those `Y` that there were.
    cross: Vec<f64>,
}

impl Compensation {
    /// For products whose inputs have these moments, of which those up to the diagonal are read; `None` where samples show
    /// nothing of them.
    pub fn new(moments: Moments) -> Option<Self> {
        let Moments { size, own: mut h, cross } = moments;
        let mean = (0..size).map(|i| h[i * size + i]).sum::<f64>() / size.max(1) as f64;
        if !(mean.is_finite() && mean > 0.0) {
            return None;
        }
        (0..size).for_each(|i| h[i * size + i] += DAMPING * mean);
        let (mut columns, mut diagonal) = (vec![0f32; size * size], vec![0f64; size]);
        for k in (0..size).rev() {
            let (before, own) = h.split_at_mut(k * size);
            let pivot = own[k];
            if pivot.is_nan() || pivot <= 0.0 {
                return None;
            }
            diagonal[k] = pivot;
            // Row k is what is left of it without the columns behind: U[j, k] is its j-th element by its own.
            let line: Vec<f64> = own[..k].iter().map(|v| v / pivot).collect();
            for (j, row) in before.chunks_exact_mut(size).enumerate() {
                let factor = own[j];
                row[..=j].iter_mut().zip(&line).for_each(|(v, u)| *v -= factor * u);
            }
            columns[k * size..][..k].iter_mut().zip(&line).for_each(|(to, &u)| *to = u as f32);
        }
        Some(Self { size, columns, diagonal, cross })
    }

    /// How long the rows are.
    pub const fn size(&self) -> usize {
        self.size
    }

    fn column(&self, k: usize) -> &[f32] {
        &self.columns[k * self.size..][..k]
    }

    /// A row with which the inputs that there are give more of what those gave that there were: `w + H⁻¹ Xᵀ(Y - X) w`, a part of
    /// the way.
    pub fn repaid(&self, row: &[f32]) -> Vec<f32> {
        let mut v: Vec<f64> = self.cross.chunks_exact(self.size).map(|line| dot(line, row)).collect();
        for k in (0..self.size).rev() {
            let (before, own) = v.split_at_mut(k);
            before.iter_mut().zip(self.column(k)).for_each(|(v, &u)| *v -= own[0] * f64::from(u));
        }
        v.iter_mut().zip(&self.diagonal).for_each(|(v, d)| *v /= d);
        for k in 0..self.size {
            let (before, own) = v.split_at_mut(k);
            own[0] -= dot(before, self.column(k));
        }
        row.iter().zip(v).map(|(w, v)| w + (REPAID * v) as f32).collect()
    }

    /// What element `k` of a row is to make up for, for the losses of those from `from` to `end`.
    pub fn owed(&self, lost: &[f32], from: usize, end: usize, k: usize) -> f32 {
        dot(&lost[from..end], &self.column(k)[from..end])
    }

    /// The squares of what products with the inputs lose, where elements of a row have lost so much: `eᵀHe`.
    pub fn loss(&self, lost: &[f32]) -> f64 {
        let square = |(k, (e, d)): (usize, (&f32, &f64))| d * f64::from(e + self.owed(lost, 0, k, k)).powi(2);
        lost.iter().zip(&self.diagonal).enumerate().map(square).sum()
    }
}

/// A sum of products: several sums side by side, so that they are computed so.
fn dot<T: Copy + Default + From<f32> + Mul<Output = T> + AddAssign>(a: &[T], b: &[f32]) -> T {
    let (mut sums, mut sum) = ([T::default(); 8], T::default());
    let (chunks, others) = (a.chunks_exact(8), b.chunks_exact(8));
    chunks.remainder().iter().zip(others.remainder()).for_each(|(&a, &b)| sum += a * b.into());
    for (a, b) in chunks.zip(others) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (&a, &b))| *sum += a * b.into());
    }
    sums.into_iter().for_each(|one| sum += one);
    sum
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::{Compensation, Moments};

    /// Numbers of which neighbours go together, in rows of this length.
    pub fn likely(size: usize, count: usize, seed: u64) -> Vec<f64> {
        let mut state = seed | 1;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 23) - 1.0
        };
        let mut x = vec![0f64; size * count];
        for row in x.chunks_exact_mut(size) {
            let mut last = 0.0;
            for v in row {
                last = 0.9 * last + 0.3 * random();
                *v = last;
            }
        }
        x
    }

    /// The moments of rows that were `factor` times as large before.
    pub fn moments(x: &[f64], size: usize, factor: f64) -> Moments {
        let mut own = vec![0f64; size * size];
        for row in x.chunks_exact(size) {
            (0..size * size).for_each(|at| own[at] += row[at / size] * row[at % size]);
        }
        let cross = own.iter().map(|v| v * (factor - 1.0)).collect();
        Moments { size, own, cross }
    }

    /// Moments as they are damped.
    pub fn damped(moments: &Moments) -> Vec<f64> {
        let (size, mut h) = (moments.size, moments.own.clone());
        let mean = (0..size).map(|i| h[i * size + i]).sum::<f64>() / size as f64;
        (0..size).for_each(|i| h[i * size + i] += 0.01 * mean);
        h
    }

    /// `aᵀHb`.
    pub fn form(h: &[f64], a: &[f64], b: &[f64]) -> f64 {
        let size = a.len();
        (0..size * size).map(|at| a[at / size] * h[at] * b[at % size]).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_factors_are_those_of_the_moments(size in 1usize..20, seed in any::<u64>()) {
            let moments = moments(&likely(size, 2 * size + 3, seed), size, 1.0);
            let h = damped(&moments);
            let found = Compensation::new(moments).unwrap();
            let lost = likely(size, 1, seed ^ 7);
            let expected = form(&h, &lost, &lost);
            let loss = found.loss(&lost.iter().map(|&v| v as f32).collect::<Vec<_>>());
            prop_assert!((loss - expected).abs() <= 1e-4 * expected, "{loss} for {expected}");
        }

        #[test]
        fn what_layers_before_have_lost_is_repaid(size in 1usize..20, seed in any::<u64>()) {
            // The inputs are a third of what they were: the weights are to treble, and go half the way.
            let moments = moments(&likely(size, 2 * size + 3, seed), size, 3.0);
            let h = damped(&moments);
            let compensation = Compensation::new(moments.clone()).unwrap();
            let row = likely(size, 1, seed ^ 7);
            let repaid = compensation.repaid(&row.iter().map(|&v| v as f32).collect::<Vec<_>>());
            let moved: Vec<f64> = repaid.iter().zip(&row).map(|(new, old)| f64::from(*new) - old).collect();
            // H times what was added is half of what is owed, whatever it is seen by.
            for at in 0..size {
                let unit: Vec<f64> = (0..size).map(|i| f64::from(u8::from(i == at))).collect();
                let (found, owed) = (form(&h, &unit, &moved), 0.5 * form(&moments.cross, &unit, &row));
                let scale = h.iter().fold(0f64, |most, v| most.max(v.abs()));
                prop_assert!((found - owed).abs() <= 1e-4 * scale, "{at}: {found} for {owed}");
            }
        }
    }

    #[test]
    fn inputs_that_are_nothing_are_no_reason_to_move_anything() {
        for value in [0.0, f64::NAN] {
            let moments = Moments { size: 3, own: vec![value; 9], cross: vec![0.0; 9] };
            assert!(Compensation::new(moments).is_none());
        }
    }
}
