//! What was heard, as a picture: the sound, the likelihood of speech above it, and where somebody speaks behind both.

use std::path::Path;

use image::{Rgb, RgbImage};

const WIDTH: u32 = 1200;
const HEIGHT: u32 = 240;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const SPEECH: Rgb<u8> = Rgb([255, 226, 170]);
const SOUND: Rgb<u8> = Rgb([70, 90, 120]);
const LIKELIHOOD: Rgb<u8> = Rgb([200, 60, 40]);

/// Draws samples, likelihoods of frames, and intervals in parts of the whole.
pub fn write(path: &Path, samples: &[f32], likelihoods: &[f32], spoken: &[(f64, f64)]) -> Result<(), String> {
    let mut picture = RgbImage::from_pixel(WIDTH, HEIGHT, PAPER);
    let mut before = None;
    for x in 0..WIDTH {
        let part = |n: usize| {
            let place = |x: u32| (u64::from(x) * n as u64 / u64::from(WIDTH)) as usize;
            place(x)..place(x + 1).max(place(x) + 1).min(n)
        };
        let here = (f64::from(x) + 0.5) / f64::from(WIDTH);
        if spoken.iter().any(|(from, to)| (*from..*to).contains(&here)) {
            (0..HEIGHT).for_each(|y| picture.put_pixel(x, y, SPEECH));
        }
        let loudest = samples.get(part(samples.len())).unwrap_or(&[]).iter().fold(0f32, |most, s| most.max(s.abs()));
        let reach = (loudest.min(1.0) * (HEIGHT / 2 - 1) as f32) as u32;
        (HEIGHT / 2 - reach..=HEIGHT / 2 + reach).for_each(|y| picture.put_pixel(x, y.min(HEIGHT - 1), SOUND));
        let likely = likelihoods.get(part(likelihoods.len())).unwrap_or(&[]).iter().fold(0f32, |most, l| most.max(*l));
        let y = ((1.0 - likely.clamp(0.0, 1.0)) * (HEIGHT - 2) as f32) as u32;
        let from = before.replace(y).unwrap_or(y);
        (y.min(from)..=y.max(from) + 1).for_each(|y| picture.put_pixel(x, y, LIKELIHOOD));
    }
    picture.save(path).map_err(|e| format!("cannot write '{}': {e}", path.display()))
}
