//! The planner: whatever it plans for whichever device, a run of the plan reads what was written last, and nothing else.

mod memory;

use rimlight::error::PlanError;
use rimlight::kernel::{DeviceClass, DeviceFacts};
use rimlight::optimize::{Rewrites, optimize};
use rimlight::plan::{PlanOptions, State, plan};
use rimlight::{Graph, Placement};

use crate::net::{Kind, Net};

/// Devices that plans are made for.
fn device(which: u8) -> DeviceFacts {
    match which % 6 {
        0 => DeviceFacts::lavapipe(),
        1 => DeviceFacts::floor(DeviceClass::Mali),
        2 => DeviceFacts::floor(DeviceClass::Nvidia),
        3 => DeviceFacts { subgroup_size: Some(32), max_invocations: 1024, ..DeviceFacts::floor(DeviceClass::Nvidia) },
        4 => DeviceFacts { max_storage_buffers: 8, offset_alignment: 64, ..DeviceFacts::floor(DeviceClass::Adreno) },
        // So small that buffers are cut, and tensors are too large.
        _ => DeviceFacts { max_binding_size: 2048, max_buffer_size: 4096, ..DeviceFacts::floor(DeviceClass::Web) },
    }
}

/// An output that is an input of the next run, where there are such of one shape.
fn state(graph: &Graph) -> Vec<State> {
    for (input, &from) in graph.inputs.iter().enumerate() {
        for (output, &to) in graph.outputs.iter().enumerate() {
            if let (Some(a), Some(b)) = (graph.fact(from), graph.fact(to))
                && from != to
                && (a.element_type, &a.shape) == (b.element_type, &b.shape)
                && let Some(shape) = a.concrete()
            {
                return vec![State { input, output, elements: shape.iter().product() }];
            }
        }
    }
    vec![]
}

/// Draws a network, plans it, and goes through the plan step by step.
///
/// # Panics
/// If a run of it would read what is not there.
pub fn run(bytes: &[u8]) {
    let (choice, bytes) = bytes.split_at(bytes.len().min(2));
    let which = |i: usize| choice.get(i).copied().unwrap_or_default();
    let net = Net::draw(bytes, Kind::Any);
    let built = net.graph(false).unwrap_or_else(|e| panic!("{e}\n{net}"));
    // One in eight as it is.
    let rewrites = if which(1) & 7 == 7 { Rewrites::none() } else { Rewrites::default() };
    let graph = optimize(built.graph, &rewrites).unwrap_or_else(|e| panic!("{e}\n{net}"));
    let device = device(which(0));
    let options = PlanOptions {
        half: which(1) & 8 != 0,
        in_place: which(1) & 16 == 0,
        in_place_concat: which(1) & 32 == 0,
        placement: if which(1) & 192 == 192 { Placement::HostOnly } else { Placement::Auto },
        memory_limit: (which(1) & 192 == 128).then_some(16 << 10),
        states: if which(1) & 192 == 64 { state(&graph) } else { vec![] },
        ..PlanOptions::default()
    };
    match plan(graph, &device, &options) {
        Ok(schedule) => memory::check(&schedule, &device).unwrap_or_else(|e| panic!("{e}\n{net}\n{schedule}")),
        // What a device is too small for.
        Err(PlanError::TooLarge { .. } | PlanError::Memory { .. }) => {}
        Err(error) => panic!("{error}\n{net}"),
    }
}
