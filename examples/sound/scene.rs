//! A recording that is made up, of one word that is shipped with the examples.

use std::path::Path;

use super::RATE;

/// "Marvin", one second of the Speech Commands (CC BY 4.0).
pub fn word() -> Result<Vec<f32>, String> {
    super::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sounds/marvin.wav"))
}

/// Half a minute: a word, said again and again out of silence, quiet noise under it all and louder noise in between, each
/// as loud as is said. The same each time. With it, where the word was put, in seconds.
pub fn made_of(word: &[f32], quiet: f32, loud: f32) -> (Vec<f32>, Vec<(f64, f64)>) {
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
    let is_loud = |i: usize| LOUD.iter().any(|&(from, to)| (at(from)..at(to)).contains(&i));
    let mut all: Vec<f32> = (0..at(SECONDS)).map(|i| noise() * if is_loud(i) { loud } else { quiet }).collect();
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
