//! Says where in a recording somebody speaks, 32 ms after 32 ms, as it would listen to a microphone.
//!
//! ```text
//! rimlight models pull silero_vad_16k
//! cargo run --release --example voice_activity -- --model silero_vad_16k.onnx recording.wav
//! ```
//!
//! The network is Silero VAD. Its state is carried from frame to frame and stays on the device ([`Session::carry`]).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rimlight::{Backend, Device, DeviceOptions, Error, ErrorKind, Model, Session, TensorView};

#[path = "voice_activity/audio.rs"]
mod audio;
#[path = "voice_activity/intervals.rs"]
mod intervals;
#[path = "voice_activity/picture.rs"]
mod picture;

use intervals::{Rules, intervals};

const HELP: &str = "\
Says where in a recording somebody speaks, 32 ms after 32 ms, as it would listen to a microphone.

usage: voice_activity --model silero_vad_16k.onnx RECORDING.wav
       voice_activity --model silero_vad_16k.onnx --made-of WORD.wav

  --model FILE      the network, Silero VAD: `rimlight models pull silero_vad_16k` fetches it
  --made-of FILE    listen to half a minute that is made of this word, put at known places between noise and silence
  --threshold P     how likely speech must be, from 0 to 1 (0.5, unless told)
  --picture FILE    draw what was heard into this .png
  --sound FILE      keep what was listened to as this .wav
  --backend NAME    auto, gpu or cpu";

/// Samples of a frame, and how many of the frame before the network hears again.
const FRAME: usize = 512;
const BEFORE: usize = 64;

macro_rules! say {
    ($($text:tt)*) => {
        drop(writeln!(std::io::stdout(), $($text)*))
    };
}

/// What the user gets to read, and the exit code: 2 wrong use or bad input, 3 the device failed.
#[derive(Debug)]
struct Failure(String, u8);

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Self(error.to_string(), if error.kind() == ErrorKind::Device { 3 } else { 2 })
    }
}

fn wrong(message: impl Into<String>) -> Failure {
    Failure(message.into(), 2)
}

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
        session.set(input, TensorView::new([1, heard.len()], &heard).map_err(rimlight::RunError::from)?)?;
        session.run()?;
        likelihoods.push(session.get(output)?.as_slice::<f32>().map_err(rimlight::RunError::from)?[0]);
        times.push(start.elapsed());
    }
    Ok((likelihoods, times))
}

/// A frame's beginning in seconds.
fn seconds(frame: usize) -> f64 {
    (frame * FRAME) as f64 / f64::from(audio::RATE)
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.model.as_deref().ok_or_else(|| wrong("--model names the network; --help tells more"))?;
    let (samples, put) = match (&arguments.made_of, &arguments.recording) {
        (Some(word), None) => audio::made_of(&audio::read(word).map_err(wrong)?),
        (None, Some(recording)) => (audio::read(recording).map_err(wrong)?, vec![]),
        _ => return Err(wrong("which recording? give one .wav, or a word with --made-of; --help tells more")),
    };
    if let Some(path) = &arguments.sound {
        audio::write(path, &samples).map_err(wrong)?;
    }
    let model = Model::open(path)?;
    let mut wanted = DeviceOptions::default();
    wanted.backend = arguments.backend;
    let device = Device::new(&wanted)?;
    let mut session = model.session_with(&device, &rimlight::Options::new())?;
    let (likelihoods, mut times) = listen(&mut session, &samples)?;
    let rules = Rules { threshold: arguments.threshold, ..Rules::default() };
    let spoken = intervals(&likelihoods, rules);

    say!("{}", timeline(&likelihoods, arguments.threshold));
    for (from, to) in &spoken {
        let (from, to) = (seconds(*from), seconds(*to));
        let known = put.iter().find(|(begin, end)| *begin < to && from < *end);
        let beside =
            known.map_or(String::new(), |(begin, end)| format!("   put there from {begin:.2} s to {end:.2} s"));
        say!("speech from {from:6.2} s to {to:6.2} s{beside}");
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    say!(
        "{} times speech in {:.1} s, on {}: {:.2} ms a frame of 32 ms (median)",
        spoken.len(),
        samples.len() as f64 / f64::from(audio::RATE),
        device.name(),
        median.as_secs_f64() * 1e3
    );
    if let Some(path) = &arguments.picture {
        let whole = likelihoods.len().max(1) as f64;
        let parts: Vec<_> = spoken.iter().map(|(from, to)| (*from as f64 / whole, *to as f64 / whole)).collect();
        picture::write(path, &samples, &likelihoods, &parts).map_err(wrong)?;
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

/// What the user typed.
struct Arguments {
    model: Option<PathBuf>,
    recording: Option<PathBuf>,
    made_of: Option<PathBuf>,
    picture: Option<PathBuf>,
    sound: Option<PathBuf>,
    threshold: f32,
    backend: Backend,
}

/// `None` if the user asked for help.
fn parse(mut given: impl Iterator<Item = String>) -> Result<Option<Arguments>, Failure> {
    let (model, recording, made_of, picture, sound) = (None, None, None, None, None);
    let (threshold, backend) = (0.5, Backend::Auto);
    let mut parsed = Arguments { model, recording, made_of, picture, sound, threshold, backend };
    while let Some(argument) = given.next() {
        let Some(flag) = argument.strip_prefix("--") else {
            if parsed.recording.replace(argument.into()).is_some() {
                return Err(wrong("one recording at a time"));
            }
            continue;
        };
        if flag == "help" {
            return Ok(None);
        }
        let mut value = || given.next().ok_or_else(|| wrong(format!("--{flag} needs a value; --help tells more")));
        let file = |value: String| Some(Path::new(&value).to_owned());
        match flag {
            "model" => parsed.model = file(value()?),
            "made-of" => parsed.made_of = file(value()?),
            "picture" => parsed.picture = file(value()?),
            "sound" => parsed.sound = file(value()?),
            "threshold" => {
                let text = value()?;
                let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
                parsed.threshold = number.ok_or_else(|| wrong(format!("--threshold is from 0 to 1, not '{text}'")))?;
            }
            "backend" => {
                parsed.backend = match value()?.as_str() {
                    "auto" => Backend::Auto,
                    "gpu" => Backend::Gpu,
                    "cpu" => Backend::Cpu,
                    other => return Err(wrong(format!("--backend is auto, gpu or cpu, not '{other}'"))),
                }
            }
            _ => return Err(wrong(format!("there is no --{flag}; --help tells what there is"))),
        }
    }
    Ok(Some(parsed))
}

fn main() -> ExitCode {
    let outcome = parse(std::env::args().skip(1)).and_then(|arguments| match arguments {
        None => {
            say!("{HELP}");
            Ok(())
        }
        Some(arguments) => run(&arguments),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message, code)) => {
            eprintln!("voice_activity: {message}");
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Speech is found where it was put, and nowhere else, on each device: within a tenth of a second.
    #[test]
    fn a_word_is_heard_where_it_was_put() {
        let Some(models) = std::env::var_os("RIMLIGHT_MODELS").map(PathBuf::from) else {
            eprintln!("skipped: RIMLIGHT_MODELS names no folder of models");
            return;
        };
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join(models);
        let word = models.join("../datasets/audio/marvin_16k_stereo.wav");
        let (samples, put) = audio::made_of(&audio::read(&word).unwrap());
        let model = Model::open(models.join("silero_vad_16k.onnx")).unwrap();
        let gpu = Device::gpu().inspect_err(|error| {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
        });
        for device in [Some(Device::cpu()), gpu.ok()].into_iter().flatten() {
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
