//! The discrete Fourier transform of a frame, and back.

use std::f64::consts::TAU;

/// A complex number.
pub type Complex = (f32, f32);

/// What a real frame consists of: `X_k = Σ x_n exp(−2πi·kn/N)` for k up to N/2. N is a power of two.
pub fn spectrum(frame: &[f32]) -> Vec<Complex> {
    let mut all: Vec<Complex> = frame.iter().map(|&x| (x, 0.0)).collect();
    transform(&mut all, -1.0);
    all.truncate(frame.len() / 2 + 1);
    all
}

/// The real frame of N samples that consists of this.
pub fn frame(spectrum: &[Complex]) -> Vec<f32> {
    let half = spectrum.len() - 1;
    // The other half mirrors it.
    let mirrored = spectrum[1..half].iter().rev().map(|&(re, im)| (re, -im));
    let mut all: Vec<Complex> = spectrum.iter().copied().chain(mirrored).collect();
    transform(&mut all, 1.0);
    all.iter().map(|(re, _)| re / (2 * half) as f32).collect()
}

/// Cooley and Tukey's: transforms of every other element, joined; `sign` is that of the exponent.
fn transform(x: &mut [Complex], sign: f64) {
    let n = x.len();
    if n < 2 {
        return;
    }
    let (mut even, mut odd): (Vec<_>, Vec<_>) = x.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
    transform(&mut even, sign);
    transform(&mut odd, sign);
    for (k, ((a, b), (c, d))) in even.into_iter().zip(odd).enumerate() {
        let (sin, cos) = (sign * TAU * k as f64 / n as f64).sin_cos();
        let (sin, cos) = (sin as f32, cos as f32);
        let (re, im) = (c * cos - d * sin, c * sin + d * cos);
        x[k] = (a + re, b + im);
        x[k + n / 2] = (a - re, b - im);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_what_it_consists_of() {
        let x: Vec<f32> = (0..512u32).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
        let found = spectrum(&x);
        assert_eq!(found.len(), 257);
        for (k, (re, im)) in found.iter().enumerate() {
            let part = |f: fn(f64) -> f64| {
                let terms = x.iter().enumerate().map(|(n, &x)| f64::from(x) * f(TAU * ((k * n) % 512) as f64 / 512.0));
                terms.sum::<f64>()
            };
            let off = (f64::from(*re) - part(f64::cos)).abs().max((f64::from(*im) + part(f64::sin)).abs());
            // Of sums of 512 numbers up to one.
            assert!(off < 1e-4, "{k}: {off}");
        }
        let back = frame(&found);
        assert!(x.iter().zip(&back).all(|(x, y)| (x - y).abs() < 1e-6));
    }
}
