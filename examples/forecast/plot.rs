//! The readings as a picture: what was foretold behind them, where they are odd, and how odd below.

use std::path::Path;

use image::{Rgb, RgbImage};

const WIDTH: u32 = 1400;
const HEIGHT: u32 = 420;
/// Where the oddness begins.
const BELOW: u32 = 320;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const ODD: Rgb<u8> = Rgb([255, 210, 200]);
const FORETOLD: Rgb<u8> = Rgb([170, 215, 235]);
const READING: Rgb<u8> = Rgb([40, 60, 90]);
const ODDNESS: Rgb<u8> = Rgb([200, 60, 40]);

/// What is drawn.
pub struct Plot<'a> {
    /// The readings.
    pub values: &'a [f32],
    /// Between which bounds each was foretold, an hour before and for the time after the last.
    pub foretold: &'a [(f32, f32)],
    /// How odd each is, and from where on that is too odd.
    pub oddness: &'a [f32],
    pub threshold: f32,
    /// Where they are too odd: the first, and the one after the last.
    pub odd: &'a [(usize, usize)],
}

impl Plot<'_> {
    /// Draws and writes it.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let mut picture = RgbImage::from_pixel(WIDTH, HEIGHT, PAPER);
        let count = self.foretold.len().max(self.values.len()).max(1);
        let least = self.values.iter().copied().fold(f32::INFINITY, f32::min);
        let most = self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max).max(least + 1e-3);
        let y_of = |value: f32| {
            let share = ((most - value) / (most - least)).clamp(-0.05, 1.05);
            (20.0 + share * (BELOW - 50) as f32) as u32
        };
        let mut before: Option<u32> = None;
        for x in 0..WIDTH {
            let place = |x: u32| (u64::from(x) * count as u64 / u64::from(WIDTH)) as usize;
            let here = place(x)..place(x + 1).max(place(x) + 1);
            if self.odd.iter().any(|&(from, to)| from < here.end && here.start < to) {
                column(&mut picture, x, 0, HEIGHT - 1, ODD);
            }
            for &(low, high) in self.foretold.get(here.start..here.end.min(self.foretold.len())).unwrap_or(&[]) {
                column(&mut picture, x, y_of(high), y_of(low), FORETOLD);
            }
            for &value in self.values.get(here.start..here.end.min(self.values.len())).unwrap_or(&[]) {
                let y = y_of(value);
                let from = before.replace(y).unwrap_or(y);
                column(&mut picture, x, from.min(y), from.max(y) + 1, READING);
            }
            for &oddness in self.oddness.get(here.start..here.end.min(self.oddness.len())).unwrap_or(&[]) {
                // The threshold lies at half the height.
                let reach = (oddness / self.threshold * (HEIGHT - BELOW) as f32 / 2.0).min((HEIGHT - BELOW - 1) as f32);
                column(&mut picture, x, HEIGHT - 1 - reach as u32, HEIGHT - 1, ODDNESS);
            }
        }
        for x in (0..WIDTH).step_by(4) {
            picture.put_pixel(x, (HEIGHT + BELOW) / 2, READING);
        }
        picture.save(path).map_err(|e| format!("cannot write '{}': {e}", path.display()))
    }
}

fn column(picture: &mut RgbImage, x: u32, from: u32, to: u32, colour: Rgb<u8>) {
    (from..=to.min(HEIGHT - 1)).for_each(|y| picture.put_pixel(x, y, colour));
}
