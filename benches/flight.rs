//! Frames in flight: bringing a frame to the GPU, computing it and reading it back, one after the other and overlapped.
//!
//! What should move: one at a time, a frame takes what the host does (`to the GPU`) and what it waits for (`and back`); with two
//! in flight the longer of the two, since one is brought while the other is computed. A third evens out what varies. The column
//! `at best` is that bound. It holds where host and GPU are two: a GPU in software is the host, so that a frame of a large model,
//! which takes all threads, should gain a few parts of a hundred at most, and a frame of a small one what handing over takes.
//!
//! ```text
//! RIMLIGHT_MODELS=FOLDER cargo bench -p rimlight-benches --bench flight [-- NAME]
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rimlight::{Device, InputId, Model, OutputId, Pending, Session, Tensor};
use rimlight_benches::{Case, models, ports};

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("super_resolution", &[("batch", 1), ("height", 224), ("width", 224)]),
    ("yolox_nano", &[]),
];
/// Frames in flight.
const DEPTHS: [usize; 3] = [1, 2, 3];
/// How long a measurement takes, and how many there are of each, in turn.
const STRETCH: Duration = Duration::from_millis(500);
const ROUNDS: usize = 7;

struct Film {
    session: Session,
    inputs: Vec<(InputId, Tensor)>,
    outputs: Vec<OutputId>,
}

impl Film {
    fn start(device: &Device, case: &(Case, std::path::PathBuf, rimlight::Options)) -> Result<Self, rimlight::Error> {
        let ((_, dims), path, options) = case;
        let model = Model::open(path)?;
        let session = model.session_with(device, options)?;
        let (inputs, outputs) = ports(&model, dims);
        let inputs = inputs.into_iter().map(|(name, tensor)| Ok((session.input(&name)?, tensor)));
        let outputs = outputs.iter().map(|name| session.output(name)).collect::<Result<_, _>>()?;
        Ok(Self { inputs: inputs.collect::<Result<_, rimlight::RunError>>()?, outputs, session })
    }

    /// Brings a frame to the GPU.
    fn submit(&mut self) -> Result<Pending, rimlight::RunError> {
        for (input, tensor) in &self.inputs {
            self.session.set(*input, tensor.view())?;
        }
        self.session.submit()
    }

    /// Reads one back.
    fn read(&self, pending: Pending) -> Result<(), rimlight::RunError> {
        let outputs = pending.wait()?;
        for output in &self.outputs {
            std::hint::black_box(outputs.get(*output)?.bytes().first());
        }
        Ok(())
    }

    /// Seconds a frame, with so many in flight, and how much of that the host does.
    fn measure(&mut self, depth: usize, frames: usize) -> Result<[f64; 2], rimlight::RunError> {
        let (start, mut host) = (Instant::now(), Duration::ZERO);
        let mut under_way = VecDeque::with_capacity(depth);
        for _ in 0..frames {
            let begun = Instant::now();
            under_way.push_back(self.submit()?);
            host += begun.elapsed();
            if under_way.len() == depth
                && let Some(oldest) = under_way.pop_front()
            {
                self.read(oldest)?;
            }
        }
        under_way.into_iter().try_for_each(|pending| self.read(pending))?;
        Ok([start.elapsed(), host].map(|time| time.as_secs_f64() / frames as f64))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn row(device: &Device, case: &(Case, std::path::PathBuf, rimlight::Options)) -> Result<String, rimlight::Error> {
    let mut film = Film::start(device, case)?;
    film.measure(3, 6)?;
    let [once, _] = film.measure(1, 4)?;
    let frames = ((STRETCH.as_secs_f64() / once) as usize).clamp(4, 2000);
    let (mut times, mut host) = (DEPTHS.map(|_| vec![]), vec![]);
    for _ in 0..ROUNDS {
        for (times, depth) in times.iter_mut().zip(DEPTHS) {
            let [whole, brought] = film.measure(depth, frames)?;
            times.push(whole);
            if depth == 1 {
                host.push(brought);
            }
        }
    }
    let [one, two, three] = times.map(median);
    let host = median(host);
    let ms = [host, one - host, one, host.max(one - host), two, three].map(|seconds| format!("{:.3}", seconds * 1e3));
    let [two, three] = [two, three].map(|time| format!("{:.2}", one / time));
    Ok(format!("| {} | {} | {two} | {three} |", case.0.0, ms.join(" | ")))
}

fn main() -> Result<(), rimlight::Error> {
    let device = match Device::gpu() {
        Ok(device) => device,
        Err(error) => {
            println!("skipped: there is no GPU: {error}");
            return Ok(());
        }
    };
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    println!("milliseconds a frame on {}, medians of {ROUNDS} in turn", device.name());
    println!("| model | to the GPU | and back | one in flight | at best | two | three | two: times as fast | three |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for case in models(CASES).iter().filter(|case| wanted.as_deref().is_none_or(|wanted| case.0.0.contains(wanted))) {
        println!("{}", row(&device, case)?);
    }
    Ok(())
}
