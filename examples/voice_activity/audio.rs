//! Sound: recordings out of WAV files, as the network hears them, and one that is made up.

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

/// Half a minute: a word, said again and again out of silence, faint noise under it all and louder noise in between. The same each
/// time. With it, where the word was put, in seconds.
pub fn made_of(word: &[f32]) -> (Vec<f32>, Vec<(f64, f64)>) {
    const SECONDS: f64 = 30.0;
    const PUT: [f64; 6] = [2.0, 6.5, 7.9, 13.0, 19.3, 25.1];
    const LOUD: [(f64, f64); 2] = [(10.0, 12.0), (22.0, 24.0)];
    let at = |seconds: f64| (seconds * f64::from(RATE)) as usize;
    let word = spoken(word);
    let mut seed = 0u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let loud = |i: usize| LOUD.iter().any(|&(from, to)| (at(from)..at(to)).contains(&i));
    let mut all: Vec<f32> = (0..at(SECONDS)).map(|i| noise() * if loud(i) { 0.08 } else { 0.002 }).collect();
    let mut put = vec![];
    for from in PUT {
        let place = all.iter_mut().skip(at(from));
        place.zip(word).for_each(|(sample, said)| *sample += said);
        put.push((from, from + word.len() as f64 / f64::from(RATE)));
    }
    (all, put)
}

/// The part of a word's recording that is loud: from where 20 ms of it first have a twentieth of what the loudest have, to the last.
fn spoken(word: &[f32]) -> &[f32] {
    const PART: usize = RATE as usize / 50;
    let loudness: Vec<f32> = word.chunks(PART).map(|part| part.iter().map(|s| s * s).sum::<f32>().sqrt()).collect();
    let loud = loudness.iter().copied().fold(0.0, f32::max) / 20.0;
    let first = loudness.iter().position(|&l| l > loud).unwrap_or(0);
    let last = loudness.iter().rposition(|&l| l > loud).map_or(loudness.len(), |last| last + 1);
    &word[(first * PART).min(word.len())..(last * PART).min(word.len())]
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
