//! What the benchmarks share: the devices they run on, and inputs. They live beside this file, one per `[[bench]]`.

use std::path::{Path, PathBuf};

use rimlight::{Backend, Device, DeviceOptions, ElementType, Model, Options, Session, Tensor};

/// A model's file without its ending, and numbers for its symbols.
pub type Case = (&'static str, &'static [(&'static str, usize)]);

/// The devices to measure, by the names of their groups: the CPU on one thread and on all, and a GPU where there is one.
pub fn devices() -> Vec<(&'static str, Device)> {
    let cpu = |threads: Option<usize>| {
        let mut options = DeviceOptions::default();
        options.backend = Backend::Cpu;
        options.threads = threads;
        Device::new(&options)
    };
    let all = [("cpu-1-thread", cpu(Some(1))), ("cpu", cpu(None)), ("gpu", Device::gpu())];
    let open = |(name, device): (&'static str, Result<Device, _>)| match device {
        Ok(device) => Some((name, device)),
        Err(error) => {
            eprintln!("skipped: no benchmark runs on the {name}: {error}");
            None
        }
    };
    all.into_iter().filter_map(open).collect()
}

/// Numbers from -1 to 1, the same each time.
pub fn numbers(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>() as u32;
    let number = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / f32::from(u16::MAX) / 128.0 - 1.0;
    Tensor::new(shape, (0..count).map(number).collect()).expect("a tensor")
}

/// Something to run on: numbers, or zeros where the type is another.
pub fn content(element_type: ElementType, shape: &[usize]) -> Tensor {
    match element_type {
        ElementType::F32 => numbers(shape),
        other => Tensor::zeros(other, shape).expect("a tensor"),
    }
}

/// Sets all inputs, runs, and reads all outputs.
///
/// # Panics
/// If the model cannot be run.
pub fn run(session: &mut Session, inputs: &[(String, Tensor)], outputs: &[String]) {
    for (name, tensor) in inputs {
        let input = session.input(name).expect("an input of the model");
        session.set(input, tensor.view()).expect("an input that fits");
    }
    session.run().expect("a run");
    for name in outputs {
        let output = session.output(name).expect("an output of the model");
        std::hint::black_box(session.get(output).expect("a result").bytes().first());
    }
}

/// Where the models lie; relative to the repository's root, as for the tests.
fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = std::env::var_os("RIMLIGHT_MODELS").filter(|v| !v.is_empty()).map(|folder| root.join(folder));
    if folder.is_none() {
        eprintln!("skipped: RIMLIGHT_MODELS names no folder of models; the embedded one is measured alone");
    }
    folder
}

/// The models' files that there are, each with its options: the embedded digits, then these.
pub fn models(cases: &[Case]) -> Vec<(Case, PathBuf, Options)> {
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits.onnx");
    let mut found: Vec<(Case, _, _)> = vec![(("digits", &[]), digits, Options::new())];
    let Some(folder) = folder() else { return found };
    for &(name, dims) in cases {
        let path = folder.join(format!("{name}.onnx"));
        let options = dims.iter().fold(Options::new(), |options, (symbol, n)| options.dim(*symbol, *n));
        if path.is_file() {
            found.push(((name, dims), path, options));
        } else {
            eprintln!("skipped: there is no {}", path.display());
        }
    }
    found
}

/// An input for each of the model's, and the names of its outputs.
///
/// # Panics
/// If the type of an input is not known.
pub fn ports(model: &Model, dims: &[(&str, usize)]) -> (Vec<(String, Tensor)>, Vec<String>) {
    let size = |dim: &rimlight::Dim| {
        let symbol = dim.to_string();
        dim.size().or_else(|| dims.iter().find(|(name, _)| *name == symbol).map(|(_, n)| *n)).unwrap_or(1)
    };
    let input = |port: rimlight::Port<'_>| {
        let fact = port.fact.expect("an input of a known type");
        (port.name.to_owned(), content(fact.element_type, &fact.shape.iter().map(size).collect::<Vec<_>>()))
    };
    (model.inputs().map(input).collect(), model.outputs().map(|port| port.name.to_owned()).collect())
}
