//! Takes the noise out of a recording of speech, 8 ms after 8 ms, as it would in a call.
//!
//! ```text
//! rimlight models pull dtln_model_1
//! rimlight models pull dtln_model_2
//! cargo run --release --example denoise -- noisy.wav --sound clean.wav
//! ```
//!
//! The networks are DTLN's two: one masks the spectrum of the last 32 ms, the other mends the sound that this gives. Both carry
//! their state from frame to frame, on the device ([`Session::carry`]).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rimlight::{Device, InputId, Model, Options, OutputId, Session, TensorView};

#[path = "program/mod.rs"]
mod program;
#[path = "sound/mod.rs"]
mod sound;
#[path = "denoise/spectrum.rs"]
mod spectrum;

use program::{Failure, Typed, fits, say, wrong};

const HELP: &str = "\
Takes the noise out of a recording of speech, 8 ms after 8 ms, as it would in a call, and writes a .wav to listen to.

usage: denoise [RECORDING.wav]

Without a recording it makes half a minute of one spoken word in noise, and says how much nearer to the word what comes out
is. The networks are DTLN's: `rimlight models pull dtln_model_1` and `dtln_model_2` fetch them.

  --sound FILE      where to write what comes out (denoised.wav, unless told)
  --before FILE     keep what went in as this .wav
  --first NAME      the network that masks the spectrum, by its name or its file (dtln_model_1, unless told)
  --second NAME     the network that mends the sound (dtln_model_2, unless told)
  --backend NAME    auto, gpu or cpu";

const OPTIONS: [&str; 5] = ["sound", "before", "first", "second", "backend"];
const MODELS: [&str; 2] = ["dtln_model_1", "dtln_model_2"];

/// Samples that the networks see at once, and how many of them are new.
const FRAME: usize = 512;
const STEP: usize = 128;

/// A network that turns frames into frames and remembers.
struct Network {
    session: Session,
    input: InputId,
    output: OutputId,
}

impl Network {
    /// Its first input is the frame and its second the state; its outputs likewise.
    fn new(model: &Model, device: &Device) -> Result<Self, Failure> {
        let inputs: Vec<_> = model.inputs().map(|port| port.name.to_owned()).collect();
        let outputs: Vec<_> = model.outputs().map(|port| port.name.to_owned()).collect();
        let ([x, state], [y, next]) = (&inputs[..], &outputs[..]) else {
            return Err(wrong("a network of DTLN has two inputs and two outputs"));
        };
        let mut session = model.session_with(device, &Options::new())?;
        session.carry(next, state)?;
        Ok(Self { input: session.input(x)?, output: session.output(y)?, session })
    }

    fn run(&mut self, x: &[f32]) -> Result<Vec<f32>, Failure> {
        self.session.set(self.input, fits(TensorView::new([1, 1, x.len()], x))?)?;
        self.session.run()?;
        Ok(fits(self.session.get(self.output)?.as_slice::<f32>())?.to_vec())
    }
}

/// Both networks, and the frames on their way.
struct Cleaner {
    mask: Network,
    mend: Network,
    heard: [f32; FRAME],
    said: [f32; FRAME],
}

impl Cleaner {
    fn new(models: &[Model; 2], device: &Device) -> Result<Self, Failure> {
        let [mask, mend] = [Network::new(&models[0], device)?, Network::new(&models[1], device)?];
        Ok(Self { mask, mend, heard: [0.0; FRAME], said: [0.0; FRAME] })
    }

    /// Takes 8 ms, and gives those of 24 ms before without noise: each sample is the sum of four overlapping frames.
    fn step(&mut self, new: &[f32]) -> Result<[f32; STEP], Failure> {
        self.heard.copy_within(STEP.., 0);
        self.heard[FRAME - STEP..].fill(0.0);
        self.heard[FRAME - STEP..][..new.len()].copy_from_slice(new);
        let mut parts = spectrum::spectrum(&self.heard);
        let loudness: Vec<f32> = parts.iter().map(|(re, im)| re.hypot(*im)).collect();
        let mask = self.mask.run(&loudness)?;
        parts.iter_mut().zip(&mask).for_each(|((re, im), mask)| (*re, *im) = (*re * mask, *im * mask));
        let mended = self.mend.run(&spectrum::frame(&parts))?;
        self.said.copy_within(STEP.., 0);
        self.said[FRAME - STEP..].fill(0.0);
        self.said.iter_mut().zip(&mended).for_each(|(said, mended)| *said += mended);
        let mut done = [0.0; STEP];
        done.copy_from_slice(&self.said[..STEP]);
        Ok(done)
    }
}

/// A whole recording without its noise, and how long each step took.
fn clean(cleaner: &mut Cleaner, samples: &[f32]) -> Result<(Vec<f32>, Vec<Duration>), Failure> {
    let late = FRAME - STEP;
    let (mut all, mut times) = (vec![], vec![]);
    let silence = [0f32; FRAME];
    for new in samples.chunks(STEP).chain(silence[..late].chunks(STEP)) {
        let start = Instant::now();
        all.extend(cleaner.step(new)?);
        times.push(start.elapsed());
    }
    all.drain(..late);
    all.truncate(samples.len());
    Ok((all, times))
}

/// How much louder a sound is than what differs from it, in decibels; how loud the sound is as a whole does not count.
fn likeness(sound: &[f32], clean: &[f32]) -> f64 {
    let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let part = sum(sound, clean) / sum(clean, clean);
    let wanted = part * part * sum(clean, clean);
    10.0 * (wanted / (sum(sound, sound) - wanted)).log10()
}

/// Loudness over time as a row of bars, from −60 dB to −10 dB.
fn loudness(samples: &[f32]) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let each = samples.len().div_ceil(100).max(1);
    let bar = |part: &[f32]| {
        let power = part.iter().map(|s| s * s).sum::<f32>() / part.len() as f32;
        let height = (10.0 * power.max(1e-9).log10() + 60.0) / 50.0 * 8.0;
        BARS[height.round().clamp(0.0, 8.0) as usize]
    };
    samples.chunks(each).map(bar).collect()
}

/// The recording that is made up, and the words alone in it.
fn made_up() -> Result<[Vec<f32>; 2], Failure> {
    let word = sound::scene::word().map_err(wrong)?;
    Ok([(0.1, 0.2), (0.0, 0.0)].map(|(quiet, loud)| sound::scene::made_of(&word, quiet, loud).0))
}

fn run(typed: &Typed) -> Result<(), Failure> {
    let (samples, words) = match typed.rest.as_slice() {
        [] => made_up().map(|[samples, words]| (samples, Some(words)))?,
        [recording] => (sound::read(Path::new(recording)).map_err(wrong)?, None),
        _ => return Err(wrong("one recording at a time")),
    };
    if let Some(path) = typed.path("before") {
        sound::write(&path, &samples).map_err(wrong)?;
    }
    let name = |option: &str, i: usize| typed.text(option).unwrap_or_else(|| MODELS[i].to_owned());
    let models = [program::model(&name("first", 0))?, program::model(&name("second", 1))?];
    let device = typed.device()?;
    let (cleaned, times) = clean(&mut Cleaner::new(&models, &device)?, &samples)?;

    say!("before {}", loudness(&samples));
    say!("after  {}", loudness(&cleaned));
    if let Some(words) = words {
        let [before, after] = [&samples, &cleaned].map(|sound| likeness(sound, &words));
        say!("the words are {before:.1} dB louder than what is not theirs before, {after:.1} dB after");
    }
    let median = program::median(times);
    let seconds = samples.len() as f64 / f64::from(sound::RATE);
    say!("{seconds:.1} s on {}: {median:.2} ms for each 8 ms (median)", device.name());
    let path = typed.path("sound").unwrap_or_else(|| PathBuf::from("denoised.wav"));
    sound::write(&path, &cleaned).map_err(wrong)?;
    say!("written to {}", path.display());
    Ok(())
}

fn main() -> ExitCode {
    program::main("denoise", HELP, &OPTIONS, run)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the first ten seconds the words stand out of the noise by 10 dB more than before, and each device gives the same.
    #[test]
    fn words_are_kept_and_noise_is_not() {
        let models = MODELS.map(program::model);
        let [Ok(first), Ok(second)] = models else {
            eprintln!("skipped: DTLN's models are not here");
            return;
        };
        let models = [first, second];
        let ten = |samples: Vec<f32>| samples[..10 * sound::RATE as usize].to_vec();
        let [samples, words] = made_up().unwrap().map(ten);
        let mut reference: Option<Vec<f32>> = None;
        for device in program::tests::devices() {
            let (cleaned, times) = clean(&mut Cleaner::new(&models, &device).unwrap(), &samples).unwrap();
            assert_eq!((cleaned.len(), times.len()), (samples.len(), samples.len() / STEP + 3));
            let (before, after) = (likeness(&samples, &words), likeness(&cleaned, &words));
            assert!(after > before + 10.0, "{before} dB, {after} dB");
            let expected = reference.get_or_insert_with(|| cleaned.clone());
            let worst = cleaned.iter().zip(expected.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // What 200 carried frames may differ by (tests/state.rs).
            assert!(worst < 1e-4, "{worst}");
        }
    }
}
