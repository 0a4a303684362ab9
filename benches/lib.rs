//! What the benchmarks share: the devices they run on, and inputs. They live beside this file, one per `[[bench]]`.

use rimlight::{Backend, Device, DeviceOptions, ElementType, Session, Tensor};

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
