//! Sound: recordings out of WAV files and into them, as networks hear them, and one that is made up.

#![allow(dead_code, reason = "each example takes what it needs")]

pub mod scene;

use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

/// Samples of a second, as the network wants them.
pub const RATE: u32 = 16_000;

/// A WAV file of any rate and number of channels, as one channel of 16,000 samples a second from -1 to 1.
pub fn read(path: &Path) -> Result<Vec<f32>, String> {
    let wrong = |e: hound::Error| format!("cannot read '{}': {e}", path.display());
    let mut reader = WavReader::open(path).map_err(wrong)?;
    let WavSpec { channels, sample_rate, bits_per_sample, sample_format } = reader.spec();
    let samples: Vec<f32> = match sample_format {
        SampleFormat::Float => reader.samples::<f32>().collect::<Result<_, _>>().map_err(wrong)?,
        SampleFormat::Int => {
            let full = (1i64 << (u32::from(bits_per_sample).clamp(1, 32) - 1)) as f32;
            reader.samples::<i32>().map(|s| s.map(|s| s as f32 / full)).collect::<Result<_, _>>().map_err(wrong)?
        }
    };
    let count = usize::from(channels.max(1));
    let mono: Vec<f32> = samples.chunks_exact(count).map(|c| c.iter().sum::<f32>() / count as f32).collect();
    Ok(if sample_rate == RATE { mono } else { resample(&mono, f64::from(sample_rate.max(1))) })
}

/// Writes one channel of 16-bit samples.
pub fn write(path: &Path, samples: &[f32]) -> Result<(), String> {
    let spec = WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let written = WavWriter::create(path, spec).and_then(|mut writer| {
        let mut samples = samples.iter().map(|s| (s.clamp(-1.0, 1.0) * 32767.0) as i16);
        samples.try_for_each(|s| writer.write_sample(s)).and_then(|()| writer.finalize())
    });
    written.map_err(|e| format!("cannot write '{}': {e}", path.display()))
}

/// From another rate: each sample a mean of its neighbours, weighted by a Lanczos window that is as wide as the lower rate asks.
fn resample(samples: &[f32], from: f64) -> Vec<f32> {
    let step = from / f64::from(RATE);
    let (scale, lobes) = (step.max(1.0), 8.0);
    let window = |x: f64| {
        let pi_x = std::f64::consts::PI * x;
        if x == 0.0 { 1.0 } else { lobes * pi_x.sin() * (pi_x / lobes).sin() / (pi_x * pi_x) }
    };
    let count = (samples.len() as f64 / step) as usize;
    let sample = |i: usize| {
        let (at, reach) = (i as f64 * step, lobes * scale);
        let first = (at - reach).ceil().max(0.0) as usize;
        let last = ((at + reach).floor() as usize).min(samples.len().saturating_sub(1));
        let (mut sum, mut weights) = (0.0, 0.0);
        for (j, &sample) in samples.iter().enumerate().take(last + 1).skip(first) {
            let weight = window((j as f64 - at) / scale);
            (sum, weights) = (sum + weight * f64::from(sample), weights + weight);
        }
        (sum / if weights == 0.0 { 1.0 } else { weights }) as f32
    };
    (0..count).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_rates_keep_the_tone_and_its_loudness() {
        for rate in [8_000.0, 22_050.0, 44_100.0, 48_000.0] {
            let tone = |rate: f64, n: usize| {
                (0..n).map(|i| (i as f64 / rate * 440.0 * std::f64::consts::TAU).sin() as f32).collect::<Vec<f32>>()
            };
            let found = resample(&tone(rate, rate as usize), rate);
            assert_eq!(found.len(), RATE as usize, "{rate}");
            let expected = tone(f64::from(RATE), found.len());
            let inner = 200..found.len() - 200;
            let worst = inner.map(|i| (found[i] - expected[i]).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-2, "{rate}: {worst}");
        }
    }
}
