//! The discrete Fourier transform of any length in `f64`: what the references of DFT and STFT compute with.
//!
//! Lengths that are powers of two by Cooley and Tukey's algorithm (1965), the others as a convolution of such a length
//! (Bluestein, 1970): so no length takes more than n log n steps.

use std::f64::consts::PI;

/// A complex number: real and imaginary part.
pub(super) type Complex = [f64; 2];

fn times([a, b]: Complex, [c, d]: Complex) -> Complex {
    [a * c - b * d, a * d + b * c]
}

/// `e^(±2πi k / n)`, positive for an inverse transform.
pub(super) fn root(k: usize, n: usize, inverse: bool) -> Complex {
    let angle = 2.0 * PI * k as f64 / n as f64;
    [angle.cos(), if inverse { angle.sin() } else { -angle.sin() }]
}

/// `X_k = Σ_n x_n e^(∓2πi k n / N)`, not scaled.
pub(super) fn transform(x: &[Complex], inverse: bool) -> Vec<Complex> {
    let n = x.len();
    if n.is_power_of_two() || n == 0 {
        let mut y = x.to_vec();
        radix2(&mut y, inverse);
        return y;
    }
    // k n = (k² + n² − (k − n)²) / 2: the sum is a convolution with e^(±πi m² / N).
    let size = (2 * n - 1).next_power_of_two();
    // m² modulo 2 N keeps the angle small.
    let chirp = |m: usize| root((m as u128 * m as u128 % (2 * n as u128)) as usize, 2 * n, inverse);
    let (mut a, mut b) = (vec![[0.0; 2]; size], vec![[0.0; 2]; size]);
    for (m, &v) in x.iter().enumerate() {
        let [c, s] = chirp(m);
        a[m] = times(v, [c, s]);
        b[m] = [c, -s];
        b[(size - m) % size] = [c, -s];
    }
    radix2(&mut a, false);
    radix2(&mut b, false);
    let mut product: Vec<Complex> = a.iter().zip(&b).map(|(&a, &b)| times(a, b)).collect();
    radix2(&mut product, true);
    let scale = 1.0 / size as f64;
    (0..n).map(|k| times(product[k], chirp(k)).map(|v| v * scale)).collect()
}

/// The transform in place, of a length that is a power of two.
fn radix2(x: &mut [Complex], inverse: bool) {
    let n = x.len();
    if n < 2 {
        return;
    }
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            x.swap(i, j);
        }
    }
    let mut length = 2;
    while length <= n {
        let roots: Vec<Complex> = (0..length / 2).map(|k| root(k, length, inverse)).collect();
        for block in x.chunks_exact_mut(length) {
            let (low, high) = block.split_at_mut(length / 2);
            for ((a, b), &w) in low.iter_mut().zip(high).zip(&roots) {
                let turned = times(*b, w);
                *b = [a[0] - turned[0], a[1] - turned[1]];
                *a = [a[0] + turned[0], a[1] + turned[1]];
            }
        }
        length *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_the_sum_that_defines_it() {
        for n in [1usize, 2, 3, 5, 8, 12, 17, 64, 97] {
            let x: Vec<Complex> = (0..n).map(|i| [((i * 7) % 11) as f64 - 5.0, ((i * 3) % 5) as f64 - 2.0]).collect();
            for inverse in [false, true] {
                let got = transform(&x, inverse);
                for (k, got) in got.iter().enumerate() {
                    let sum = x.iter().enumerate().fold([0.0; 2], |sum: Complex, (i, &v)| {
                        let term = times(v, root(i * k % n, n, inverse));
                        [sum[0] + term[0], sum[1] + term[1]]
                    });
                    assert!((got[0] - sum[0]).abs() < 1e-10 && (got[1] - sum[1]).abs() < 1e-10, "{n} {k}");
                }
            }
        }
        assert!(transform(&[], false).is_empty());
    }
}
