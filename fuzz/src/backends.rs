//! The backends: what a session computes is what the references compute.

use std::sync::Arc;

use rimlight::Tensor;
use rimlight::cpu::{CpuPlan, Threads};
use rimlight::optimize::{Rewrites, optimize};

use crate::near::{Expected, expected};
use crate::net::{Kind, Net};

/// 128 times what a float is rounded by. Kernels have functions of their own (`exp`, `tanh`, `erf`), which are right to some
/// units in the last place, and take sums in other ways (Winograd's).
const ERROR: f32 = 1.0 / (1 << 17) as f32;

fn compare<'a>(expected: &Expected, outputs: impl IntoIterator<Item = Option<&'a Tensor>>, net: &Net, by: &str) {
    for (k, tensor) in outputs.into_iter().enumerate() {
        let tensor = tensor.unwrap_or_else(|| panic!("y{k} by {by} is no tensor\n{net}"));
        if let Err(message) = expected.check(k, tensor) {
            panic!("y{k} by {by}: {message}\n{net}");
        }
    }
}

/// Draws a network of any operators, and runs it by the CPU's kernels, twice: the second run has the first one's memory.
///
/// # Panics
/// If it gives something else than the references.
pub fn cpu(bytes: &[u8]) {
    let net = Net::draw(bytes, Kind::Any);
    let Ok(expected) = expected(&net, ERROR) else { return };
    let graph = net.graph(false).unwrap_or_else(|e| panic!("{e}\n{net}")).graph;
    let graph = optimize(graph, &Rewrites::default()).unwrap_or_else(|e| panic!("{e}\n{net}"));
    let given: Vec<Option<Tensor>> = net.inputs().into_iter().map(Some).collect();
    let mut session = Arc::new(CpuPlan::new(Arc::new(graph), &Threads::new(Some(1)))).session();
    for run in 0..2 {
        session.run(&given).unwrap_or_else(|e| panic!("{e}\n{net}"));
        let outputs = (0..net.outputs.len()).map(|k| session.output(k));
        compare(&expected, outputs, &net, if run == 0 { "the CPU" } else { "the CPU, again" });
    }
}

#[cfg(feature = "gpu")]
mod gpu {
    use std::sync::{Mutex, Once, PoisonError};

    use rimlight::{Device, Error, Model, Options};

    use super::*;

    /// Networks after which a device is given up for a new one: a driver keeps what it has made of kernels.
    const TURNS: usize = 500;

    /// The device, and how many networks it has run.
    static DEVICE: Mutex<Option<(Device, usize)>> = Mutex::new(None);

    fn device() -> Option<Device> {
        static SAID: Once = Once::new();
        let mut held = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((device, turns)) = held.as_mut().filter(|(_, turns)| *turns < TURNS) {
            *turns += 1;
            return Some(device.clone());
        }
        *held = None;
        match Device::gpu() {
            Ok(device) => {
                *held = Some((device.clone(), 0));
                Some(device)
            }
            Err(error) => {
                assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
                SAID.call_once(|| eprintln!("skipped: {error}"));
                None
            }
        }
    }

    /// Draws a network of few kernels, and runs it on a GPU.
    ///
    /// # Panics
    /// If it gives something else than the references.
    pub fn run(bytes: &[u8]) {
        let net = Net::draw(bytes, Kind::FewKernels);
        let Ok(expected) = expected(&net, ERROR) else { return };
        let Some(device) = device() else { return };
        let model = Model::from_graph(net.graph(true).unwrap_or_else(|e| panic!("{e}\n{net}")).graph);
        let inputs = net.inputs();
        let names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
        let given = || names.iter().map(String::as_str).zip(inputs.iter().map(Tensor::view));
        let session = model.session_with(&device, &Options::new());
        let outcome = session.and_then(|mut session| session.run_with(given()).map_err(Error::from));
        let outputs = outcome.unwrap_or_else(|e| panic!("{e}\n{net}"));
        compare(&expected, outputs.iter().map(|(_, tensor)| Some(tensor)), &net, "the GPU");
    }
}

#[cfg(feature = "gpu")]
pub use gpu::run as gpu;
