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

/// For the subgroup family: blocks of output channels; in a block, for each run of taps, each few input channels and each
/// tap of the run, a unit for each output channel with the weights of those inputs. Then the biases, zeros where there are
/// none. Parameters: output channels of a block, input channels of a unit, taps of a run, the biases.
pub(super) const PANELS: Packing = Packing {
    name: "conv/panels",
    pack: |w, parameters| {
        let (outputs, inputs) = (w.shape()[0], w.shape()[1]);
        let taps: usize = w.shape()[2..].iter().product();
        let [block, group, run] = [parameters[0], parameters[1], parameters[2]];
        packed(w, |w| {
            let (blocks, steps) = (outputs.div_ceil(block), inputs.div_ceil(group));
            let mut out = vec![0.0; blocks * steps * taps * block * 4];
            for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                for t in 0..taps {
                    let place = (t / run * steps + i / group) * run + t % run;
                    let unit = (o / block * steps * taps + place) * block + o % block;
                    out[unit * 4 + i % group] = w[(o * inputs + i) * taps + t];
                }
            }
            out.extend(biases(&parameters[3..]));
            out.resize((blocks * steps * taps * 4 + blocks) * block, 0.0);
            out
        })
    },
};

/// The weights in ONNX's order, then the biases, zeros where there are none. Parameters: the biases.
pub(super) const BIASED: Packing = Packing {
    name: "conv/biased",
    pack: |w, parameters| {
        let outputs = w.shape()[0];
        packed(w, |w| w.iter().copied().chain(biases(parameters)).chain(zeros(outputs, parameters)).collect())
    },
};

/// For depthwise convolutions over groups of four channels: for each group and each tap a unit of the four weights, then
/// the biases, zeros where there are none. Parameters: the biases.
pub(super) const DEPTHWISE4: Packing = Packing {
    name: "conv/depthwise4",
    pack: |w, parameters| {
        let outputs = w.shape()[0];
        let taps: usize = w.shape()[1..].iter().product();
        packed(w, |w| {
            let mut out = vec![0.0; outputs.div_ceil(4) * taps * 4];
            for (o, t) in (0..outputs).flat_map(|o| (0..taps).map(move |t| (o, t))) {
                out[(o / 4 * taps + t) * 4 + o % 4] = w[o * taps + t];
            }
            out.extend(biases(parameters).chain(zeros(outputs, parameters)));
            out
        })
    },
};

/// For kernels over channels in groups of four ("quads"): for each quad of outputs, each tap and each quad of its inputs
/// four units, one for each input, with the weights of the four outputs. Then the biases, zeros where there are none.
/// Parameters: the biases.
pub(super) const QUADS: Packing = Packing {
    name: "conv/quads",
    pack: |w, parameters| {
        let (outputs, inputs) = (w.shape()[0], w.shape()[1]);
        let taps: usize = w.shape()[2..].iter().product();
        packed(w, |w| {
            let (quads, steps) = (outputs.div_ceil(4), inputs.div_ceil(4));
            let mut out = vec![0.0; quads * taps * steps * 16];
            for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                for t in 0..taps {
                    let unit = ((o / 4 * taps + t) * steps + i / 4) * 4 + i % 4;
                    out[unit * 4 + o % 4] = w[(o * inputs + i) * taps + t];
                }
            }
            out.extend(biases(parameters).chain(zeros(outputs, parameters)));
            out
        })
    },
};

/// As many zeros as there are outputs, where there are no biases.
fn zeros(outputs: usize, biases: &[usize]) -> impl Iterator<Item = f32> + use<> {
    std::iter::repeat_n(0.0, if biases.is_empty() { outputs } else { 0 })
}
