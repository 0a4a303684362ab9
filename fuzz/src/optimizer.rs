//! The optimizer: a graph gives the same before and after all rewrites, and each output stays.

use rimlight::cpu::reference::evaluate;
use rimlight::optimize::{Rewrites, optimize};

use crate::near::expected;
use crate::net::{Kind, Net};

/// Sixteen times what a float is rounded by. A rewrite puts some roundings in the place of others.
const ERROR: f32 = 1.0 / (1 << 20) as f32;

/// Draws a network, rewrites it, and computes both.
///
/// # Panics
/// If they differ.
pub fn run(bytes: &[u8]) {
    let net = Net::draw(bytes, Kind::Any);
    let Ok(expected) = expected(&net, ERROR) else { return };
    let built = net.graph(false).unwrap_or_else(|e| panic!("{e}\n{net}"));
    let rewritten = optimize(built.graph.clone(), &Rewrites::default()).unwrap_or_else(|e| panic!("{e}\n{net}"));
    let names = |graph: &rimlight::Graph| -> Vec<String> {
        graph.outputs.iter().map(|&id| graph.value(id).name.clone()).collect()
    };
    assert_eq!(names(&built.graph), names(&rewritten), "an output changed\n{net}");
    let outputs = evaluate(&rewritten, &net.inputs(), |_, value| value);
    let outputs = outputs.unwrap_or_else(|e| panic!("{e}\n{net}\n{rewritten}"));
    for (k, value) in outputs.iter().enumerate() {
        let tensor = value.as_tensor().unwrap_or_else(|| panic!("an output is no tensor\n{net}"));
        if let Err(message) = expected.check(k, tensor) {
            panic!("y{k}: {message}\n{net}\n{rewritten}");
        }
    }
}
