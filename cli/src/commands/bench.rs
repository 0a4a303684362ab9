//! `rimlight bench`: how fast a model runs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::Args;
use rimlight::{Engine, InputId, OutputId, Pending, Session};

use super::{print, print_json};
use crate::failure::Outcome;
use crate::flags::{DeviceFlags, InputFlags, PlanFlags, Setup};
use crate::known;
use crate::output::{self, rounded_ms};

/// Measure a model: loading, the first result, a steady run, memory
#[derive(Debug, Args)]
#[command(
    long_about = "Measure a model: loading, the first result, a steady run, memory.\n\n\
        A run includes handing the inputs over and reading the outputs back. The cold start is measured first, in this \
        process: from opening the file to the first result. With --starts, so are two more, the device made anew each time: \
        one with an empty cache folder, one with what that left there. What the driver keeps by itself is out of reach.",
    after_help = "Examples:\n  rimlight bench model.onnx --runs 100\n  rimlight bench model.onnx --backend gpu --profile\n  rimlight bench model.onnx --in-flight 3"
)]
pub struct Bench {
    /// An ONNX file, or a model that is known by name
    model: String,
    /// Runs before measuring
    #[arg(long, value_name = "N", default_value_t = 5)]
    warmup: usize,
    /// Runs that are measured
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Also keep so many runs under way at once, and tell how many end in a second
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=8))]
    in_flight: u64,
    /// Stop measuring after this many seconds, three runs at the earliest
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Also make a start that finds an empty cache folder, and one that finds what that left there
    #[arg(long)]
    starts: bool,
    /// Add the time of each operator
    #[arg(long)]
    profile: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    inputs: InputFlags,
    #[command(flatten)]
    plan: PlanFlags,
    #[command(flatten)]
    device: DeviceFlags,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("'{text}' is no number of seconds"))
}

/// What was measured.
pub struct Measured {
    load: Duration,
    cold_start: Duration,
    /// The runs, the fastest first.
    runs: Vec<Duration>,
    /// The time of all processors for a run, on average, where the system tells.
    cpu: Option<Duration>,
    dispatches: usize,
    pipelines: usize,
    gpu_bytes: u64,
}

impl Measured {
    /// The run in the middle.
    pub fn median(&self) -> Duration {
        self.runs.get(self.runs.len() / 2).copied().unwrap_or_default()
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.runs
            .get((self.runs.len() * percent / 100).min(self.runs.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

impl Bench {
    pub fn run(&self) -> Outcome {
        // The model is not held: what is measured is the memory of an application that has no other use for it.
        let (setup, _) = Setup::new(&self.model, &self.device, &self.plan, &self.inputs)?;
        let runs = usize::try_from(self.runs).unwrap_or(usize::MAX);
        let limit = self.seconds.unwrap_or(Duration::MAX);
        let (measured, mut session) = measure(&setup, self.warmup, runs, limit)?;
        let profile = if self.profile { profile(&mut session)? } else { vec![] };
        let mut figures = json(&setup, &measured);
        if self.in_flight > 1 {
            let rate = throughput(&mut session, &setup, self.in_flight as usize, self.runs, limit)?;
            figures["in_flight"] = self.in_flight.into();
            figures["runs_per_second"] = ((rate * 100.0).round() / 100.0).into();
        }
        if self.starts {
            for (name, (load, first)) in ["empty", "filled"].into_iter().zip(starts(&setup, &self.device)?) {
                figures[format!("{name}_cache_load_ms")] = rounded_ms(load).into();
                figures[format!("{name}_cache_first_ms")] = rounded_ms(first).into();
            }
        }
        if self.json {
            figures["runs_ms"] = measured.runs.iter().copied().map(rounded_ms).collect();
            if self.profile {
                figures["profile"] = profile
                    .iter()
                    .map(|(label, time)| serde_json::json!({ "operator": label, "ms": rounded_ms(*time) }))
                    .collect();
            }
            return print_json(&figures);
        }
        let mut table = output::Table::default();
        for (key, value) in figures.as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            table.row([key.as_str(), &text]);
        }
        print(&table.to_string())?;
        for note in &setup.inputs.notes {
            print(&format!("  {note}\n"))?;
        }
        if self.profile {
            let total: Duration = profile.iter().map(|(_, time)| *time).sum();
            let mut table = output::Table::default();
            for (label, time) in &profile {
                let share = time.as_secs_f64() / total.as_secs_f64().max(1e-12) * 100.0;
                table.row([&format!("{:8.3} ms", output::ms(*time)), &format!("{share:5.1} %"), label]);
            }
            print(&format!("\n{table}"))?;
        }
        Ok(())
    }
}

/// Measures a setup, for about this long at most. The model is opened once more, so that the cold start is one.
pub fn measure(setup: &Setup, warmup: usize, runs: usize, limit: Duration) -> Outcome<(Measured, Session)> {
    let progress = output::progress((warmup + runs) as u64, "running", false);
    let start = Instant::now();
    let (model, _) = known::open(&setup.name, &setup.limits)?;
    let engine = Engine::new(&model, &setup.device, &setup.options)?;
    drop(model);
    let mut session = engine.session()?;
    let load = start.elapsed();
    let ids = ids(&session)?;
    once(&mut session, setup, &ids)?;
    let cold_start = start.elapsed();
    let start = Instant::now();
    for _ in 0..warmup {
        if start.elapsed() > limit / 3 {
            break;
        }
        once(&mut session, setup, &ids)?;
        progress.inc(1);
    }
    let mut times = Vec::with_capacity(runs.min(1 << 20));
    let (begin, processors) = (Instant::now(), processor_time());
    while times.len() < runs && (times.len() < 3 || begin.elapsed() < limit) {
        let start = Instant::now();
        once(&mut session, setup, &ids)?;
        times.push(start.elapsed());
        progress.inc(1);
    }
    let cpu = processors.zip(processor_time()).map(|(before, after)| (after - before) / times.len().max(1) as u32);
    progress.finish_and_clear();
    times.sort();
    let summary = session.schedule().map(|schedule| schedule.summary).unwrap_or_default();
    let measured = Measured {
        load,
        cold_start,
        runs: times,
        cpu,
        dispatches: summary.dispatches,
        pipelines: summary.pipelines,
        gpu_bytes: summary.device_bytes(),
    };
    Ok((measured, session))
}

/// Two starts with a folder of their own, empty at first: from asking for the device to the session, and to the first result.
fn starts(setup: &Setup, flags: &DeviceFlags) -> Outcome<[(Duration, Duration); 2]> {
    let folder = std::env::temp_dir().join(format!("rimlight-starts-{}", std::process::id()));
    let flags = DeviceFlags { cache_folder: Some(folder.clone()), ..flags.clone() };
    let start = || -> Outcome<(Duration, Duration)> {
        let start = Instant::now();
        let device = flags.device(setup.device.is_gpu())?;
        let (model, _) = known::open(&setup.name, &setup.limits)?;
        let mut session = model.session_with(&device, &setup.options)?;
        let load = start.elapsed();
        let ids = ids(&session)?;
        once(&mut session, setup, &ids)?;
        Ok((load, start.elapsed()))
    };
    let both = start().and_then(|empty| start().map(|filled| [empty, filled]));
    let _ = std::fs::remove_dir_all(&folder);
    both
}

type Ids = (Vec<InputId>, Vec<OutputId>);

fn ids(session: &Session) -> Outcome<Ids> {
    let model = session.engine().model();
    let inputs: Result<_, _> = model.inputs().map(|port| session.input(port.name)).collect();
    let outputs: Result<_, _> = model.outputs().map(|port| session.output(port.name)).collect();
    Ok((inputs?, outputs?))
}

fn once(session: &mut Session, setup: &Setup, (inputs, outputs): &Ids) -> Outcome {
    for (id, (_, tensor)) in inputs.iter().zip(&setup.inputs.tensors) {
        session.set(*id, tensor.view())?;
    }
    session.run()?;
    for id in outputs {
        std::hint::black_box(session.get(*id)?.bytes().first());
    }
    Ok(())
}

/// Runs that end in a second where so many are under way at once: the inputs of one are written and the outputs of another
/// are read while the device computes. Measured for about this long at most.
fn throughput(session: &mut Session, setup: &Setup, in_flight: usize, runs: u64, limit: Duration) -> Outcome<f64> {
    let (inputs, outputs) = ids(session)?;
    let mut under_way = VecDeque::with_capacity(in_flight);
    let finish = |pending: Option<Pending>| -> Outcome {
        let Some(pending) = pending else { return Ok(()) };
        let done = pending.wait()?;
        for id in &outputs {
            std::hint::black_box(done.get(*id)?.bytes().first());
        }
        Ok(())
    };
    let progress = output::progress(runs, "running several at once", false);
    let mut start = Instant::now();
    // The first runs make what later ones use again.
    let warmup = in_flight as u64 * 2;
    let mut measured = 0;
    for i in 0..warmup + runs {
        if measured >= 3 && start.elapsed() >= limit {
            break;
        }
        let most = if i == warmup { 0 } else { in_flight - 1 };
        while under_way.len() > most {
            finish(under_way.pop_front())?;
        }
        if i == warmup {
            start = Instant::now();
        }
        for (id, (_, tensor)) in inputs.iter().zip(&setup.inputs.tensors) {
            session.set(*id, tensor.view())?;
        }
        under_way.push_back(session.submit()?);
        measured += u64::from(i >= warmup);
        progress.inc(u64::from(i >= warmup));
    }
    while !under_way.is_empty() {
        finish(under_way.pop_front())?;
    }
    let rate = measured as f64 / start.elapsed().as_secs_f64();
    progress.finish_and_clear();
    Ok(rate)
}

fn json(setup: &Setup, measured: &Measured) -> serde_json::Value {
    let megabytes = |bytes: u64| (bytes as f64 / 1e4).round() / 100.0;
    serde_json::json!({
        "model": setup.name,
        "backend": setup.backend(),
        "adapter": setup.device.name(),
        "precision": setup.precision_name(),
        "load_ms": rounded_ms(measured.load),
        "cold_start_ms": rounded_ms(measured.cold_start),
        "median_ms": rounded_ms(measured.median()),
        "min_ms": rounded_ms(measured.percentile(0)),
        "p95_ms": rounded_ms(measured.percentile(95)),
        "peak_rss_mb": peak_memory().map(megabytes),
        "gpu_memory_mb": megabytes(measured.gpu_bytes),
        "dispatches": measured.dispatches,
        "pipelines": measured.pipelines,
        "device_ms": rounded_ms(setup.device_time),
        "cpu_ms": measured.cpu.map(rounded_ms),
    })
}

/// The time that all threads of the process have had on processors.
#[cfg(unix)]
fn processor_time() -> Option<Duration> {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime)).ok()
}

/// Not known here.
#[cfg(not(unix))]
fn processor_time() -> Option<Duration> {
    None
}

/// The most memory that the process has had, in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// The time of each step of one run, the longest first; kernels of one node stand together.
fn profile(session: &mut Session) -> Outcome<Vec<(String, Duration)>> {
    let mut times: Vec<(String, Duration)> = vec![];
    for step in session.profile()?.steps {
        let label = format!("{} ({})", step.label, step.kernel);
        match times.iter_mut().find(|(other, _)| *other == label) {
            Some((_, time)) => *time += step.time,
            None => times.push((label, step.time)),
        }
    }
    times.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    Ok(times)
}
