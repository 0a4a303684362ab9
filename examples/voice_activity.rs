//! Says where in a recording somebody speaks, 32 ms after 32 ms, as it would listen to a microphone.
//!
//! ```text
//! rimlight models pull silero_vad_16k
//! cargo run --release --example voice_activity -- recording.wav
//! ```
//!
//! The network is Silero VAD. Its state is carried from frame to frame and stays on the device ([`Session::carry`]).

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rimlight::{Options, Session, TensorView};

#[path = "voice_activity/intervals.rs"]
mod intervals;
#[path = "voice_activity/picture.rs"]
mod picture;
#[path = "program/mod.rs"]
mod program;
#[path = "sound/mod.rs"]
mod sound;

use intervals::{Rules, intervals};
use program::{Failure, Typed, fits, say, wrong};

const HELP: &str = "\
Says where in a recording somebody speaks, 32 ms after 32 ms, as it would listen to a microphone.

usage: voice_activity [RECORDING.wav]

Without a recording it listens to half a minute that it makes of one spoken word, put at known places between noise and
silence. The network is Silero VAD: `rimlight models pull silero_vad_16k` fetches it.

  --model NAME      the network, by its name or its file (silero_vad_16k, unless told)
  --made-of FILE    make the half minute of the word in this .wav
  --threshold P     how likely speech must be, from 0 to 1 (0.5, unless told)
  --picture FILE    draw what was heard into this .png
  --sound FILE      keep what was listened to as this .wav
  --backend NAME    auto, gpu or cpu";

const OPTIONS: [&str; 6] = ["model", "made-of", "threshold", "picture", "sound", "backend"];

/// The network's name.
const MODEL: &str = "silero_vad_16k";
/// Samples of a frame, and how many of the frame before the network hears again.
const FRAME: usize = 512;
const BEFORE: usize = 64;

/// How likely each frame is speech, and how long the network took for each.
fn listen(session: &mut Session, samples: &[f32]) -> Result<(Vec<f32>, Vec<Duration>), Failure> {
    let (input, output) = (session.input("input")?, session.output("output")?);
    session.carry("stateN", "state")?;
    let mut heard = [0f32; BEFORE + FRAME];
    let (mut likelihoods, mut times) = (vec![], vec![]);
    for frame in samples.chunks(FRAME) {
        heard.copy_within(FRAME.., 0);
        heard[BEFORE..].fill(0.0);
        heard[BEFORE..BEFORE + frame.len()].copy_from_slice(frame);
        let start = Instant::now();
        session.set(input, fits(TensorView::new([1, heard.len()], &heard))?)?;
        session.run()?;
        likelihoods.extend(fits(session.get(output)?.as_slice::<f32>())?.first());
        times.push(start.elapsed());
    }
    Ok((likelihoods, times))
}

/// A frame's beginning in seconds.
fn seconds(frame: usize) -> f64 {
    (frame * FRAME) as f64 / f64::from(sound::RATE)
}

fn run(typed: &Typed) -> Result<(), Failure> {
    let made_of = |word: Vec<f32>| sound::scene::made_of(&word, 0.002, 0.08);
    let (samples, put) = match (typed.path("made-of"), typed.rest.as_slice()) {
        (None, []) => made_of(sound::scene::word().map_err(wrong)?),
        (Some(word), []) => made_of(sound::read(&word).map_err(wrong)?),
        (None, [recording]) => (sound::read(Path::new(recording)).map_err(wrong)?, vec![]),
        _ => return Err(wrong("one recording at a time, or a word with --made-of; --help tells more")),
    };
    if let Some(path) = typed.path("sound") {
        sound::write(&path, &samples).map_err(wrong)?;
    }
    let threshold = typed.number("threshold", 0.5, [0.0, 1.0])?;
    let model = program::model(&typed.text("model").unwrap_or_else(|| MODEL.to_owned()))?;
    let device = typed.device()?;
    let mut session = model.session_with(&device, &Options::new())?;
    let (likelihoods, times) = listen(&mut session, &samples)?;
    let rules = Rules { threshold, ..Rules::default() };
    let spoken = intervals(&likelihoods, rules);

    say!("{}", timeline(&likelihoods, threshold));
    for (from, to) in &spoken {
        let (from, to) = (seconds(*from), seconds(*to));
        let known = put.iter().find(|(begin, end)| *begin < to && from < *end);
        let beside =
            known.map_or(String::new(), |(begin, end)| format!("   put there from {begin:.2} s to {end:.2} s"));
        say!("speech from {from:6.2} s to {to:6.2} s{beside}");
    }
    let median = program::median(times);
    say!(
        "{} times speech in {:.1} s, on {}: {:.2} ms a frame of 32 ms (median)",
        spoken.len(),
        samples.len() as f64 / f64::from(sound::RATE),
        device.name(),
        median
    );
    if let Some(path) = typed.path("picture") {
        let whole = likelihoods.len().max(1) as f64;
        let parts: Vec<_> = spoken.iter().map(|(from, to)| (*from as f64 / whole, *to as f64 / whole)).collect();
        picture::write(&path, &samples, &likelihoods, &parts).map_err(wrong)?;
        say!("drawn into {}", path.display());
    }
    Ok(())
}

/// The likelihoods as a row of bars; where speech is likely enough they stand on a line.
fn timeline(likelihoods: &[f32], threshold: f32) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let each = likelihoods.len().div_ceil(100).max(1);
    let most: Vec<f32> = likelihoods.chunks(each).map(|part| part.iter().copied().fold(0.0, f32::max)).collect();
    let bars: String = most.iter().map(|l| BARS[(l.clamp(0.0, 1.0) * 8.0).round() as usize]).collect();
    let marks: String = most.iter().map(|l| if *l >= threshold { '─' } else { '·' }).collect();
    format!("{bars}\n{marks}")
}

fn main() -> ExitCode {
    program::main("voice_activity", HELP, &OPTIONS, run)
}

#[cfg(test)]
mod tests {
    use rimlight::Model;

    use super::*;

    /// Speech is found where it was put, and nowhere else, on each device: within a tenth of a second.
    #[test]
    fn a_word_is_heard_where_it_was_put() {
        let Ok(path) = program::model_file(MODEL) else {
            eprintln!("skipped: '{MODEL}' is not here");
            return;
        };
        let (samples, put) = sound::scene::made_of(&sound::scene::word().unwrap(), 0.002, 0.08);
        let model = Model::open(path).unwrap();
        for device in program::tests::devices() {
            let mut session = model.session(&device).unwrap();
            let (likelihoods, _) = listen(&mut session, &samples).unwrap();
            let found = intervals(&likelihoods, Rules::default());
            assert_eq!(found.len(), put.len(), "{found:?}");
            for ((from, to), (begin, end)) in found.into_iter().zip(&put) {
                let off = (seconds(from) - begin).abs().max((seconds(to) - end).abs());
                assert!(off < 0.1, "from {} to {}, where {begin} to {end} is expected", seconds(from), seconds(to));
            }
        }
    }
}
