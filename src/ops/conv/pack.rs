//! How weights and biases are brought into the order in which the kernels read them, once, at load.

use half::f16;

use crate::kernel::Packing;
use crate::tensor::{ElementType, Tensor};

/// Applies a permutation of `f32` to a tensor of `f32` or `f16`, and pads the result to whole units.
fn packed(w: &Tensor, make: impl FnOnce(&[f32]) -> Vec<f32>) -> Tensor {
    let half: Vec<f32> = match w.as_slice::<f16>() {
        Ok(w) => w.iter().map(|v| v.to_f32()).collect(),
        Err(_) => vec![],
    };
    let mut out = make(w.as_slice::<f32>().unwrap_or(&half));
    out.resize(out.len().next_multiple_of(4), 0.0);
    match w.element_type() {
        ElementType::F16 => Tensor::vector(out.into_iter().map(f16::from_f32).collect()),
        _ => Tensor::vector(out),
    }
}

/// Biases from the bits in which they are parameters.
fn biases(bits: &[usize]) -> impl Iterator<Item = f32> {
    bits.iter().map(|&b| f32::from_bits(u32::try_from(b).unwrap_or_default()))
}

/// The weights in ONNX's order, then the biases. Parameters: the biases.
pub(in crate::ops) const FLAT: Packing = Packing {
    name: "conv/flat",
    pack: |w, parameters| packed(w, |w| w.iter().copied().chain(biases(parameters)).collect()),
};
