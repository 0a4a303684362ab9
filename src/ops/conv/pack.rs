//! How weights and biases are brought into the order in which the kernels read them, once, at load.
//!
//! Weights and biases are one constant: one buffer fewer, so that a residual still fits the floor of four. A bias is
//! added to every result alike, so that its rounding does not average out: it stays in 32 bits where the weights are
//! stored in 16, in the place of two of them.

use half::{bf16, f16};

use crate::kernel::{Binding, Constant, Packing, Storage};
use crate::tensor::{ElementType, Tensor};

/// Weights and biases as one constant, and the element at which the biases begin.
pub(in crate::ops) struct Packed {
    pub binding: Binding,
    pub storage: Storage,
    pub biases: usize,
}

/// The constant of `weights`, of which `packing` (with its own `parameters`) makes so many elements, followed by a list
/// of so many biases: those given (the bits of f32), and zeros.
pub(in crate::ops) fn constant(
    weights: &Tensor,
    packing: Packing,
    parameters: &[usize],
    (elements, count): (usize, usize),
    biases: &[usize],
    storage: Storage,
) -> Packed {
    let exact = storage == Storage::F16;
    let begin = if exact { elements.next_multiple_of(4) } else { elements };
    let units = (begin + if exact { 2 * count } else { count }).div_ceil(4) as u64;
    let parameters = [parameters, &[usize::from(exact), count], biases].concat();
    let constant = Constant { source: weights.clone(), packing, parameters, storage, units };
    Packed { binding: Binding::Constant(Box::new(constant)), storage, biases: begin }
}

/// Weights as `make` orders them, of a tensor of `f32`, `f16` or `bf16`, then the list of biases, padded to whole units.
/// `list`: whether the biases are in 32 bits among weights in 16, how many there are, and those that are not zero.
pub(in crate::ops) fn packed(w: &Tensor, list: &[usize], make: impl FnOnce(&[f32]) -> Vec<f32>) -> Tensor {
    let half: Vec<f32> = match w.element_type() {
        ElementType::F32 => vec![],
        #[expect(clippy::cast_possible_truncation, reason = "they come from 16 bits")]
        _ => w.to_f64().into_iter().map(|v| v as f32).collect(),
    };
    let mut out = make(w.as_slice::<f32>().unwrap_or(&half));
    let (exact, count, biases) = match list {
        [exact, count, biases @ ..] => (*exact == 1, *count, biases),
        _ => (false, 0, list),
    };
    let biases = biases.iter().map(|&b| u32::try_from(b).unwrap_or_default()).chain(std::iter::repeat(0)).take(count);
    if exact {
        let mut halves: Vec<f16> = out.into_iter().map(f16::from_f32).collect();
        halves.resize(halves.len().next_multiple_of(4), f16::ZERO);
        // The low half first, as words lie in memory.
        let words = biases.flat_map(|bits| bytemuck::cast::<[u8; 4], [[u8; 2]; 2]>(bits.to_le_bytes()));
        halves.extend(words.map(f16::from_le_bytes));
        halves.resize(halves.len().next_multiple_of(4), f16::ZERO);
        return Tensor::vector(halves);
    }
    out.extend(biases.map(f32::from_bits));
    out.resize(out.len().next_multiple_of(4), 0.0);
    match w.element_type() {
        ElementType::F16 => Tensor::vector(out.into_iter().map(f16::from_f32).collect()),
        ElementType::BF16 => Tensor::vector(out.into_iter().map(bf16::from_f32).collect()),
        _ => Tensor::vector(out),
    }
}

/// The weights in ONNX's order.
pub(in crate::ops) const FLAT: Packing =
    Packing { name: "conv/flat", pack: |w, parameters| packed(w, parameters, <[f32]>::to_vec) };

/// For the subgroup family: blocks of output channels; in a block, for each run of taps, each few input channels and each
/// tap of the run, a unit for each output channel with the weights of those inputs. Parameters: output channels of a
/// block, input channels of a unit, taps of a run.
pub(super) const PANELS: Packing = Packing {
    name: "conv/panels",
    pack: |w, parameters| {
        let (outputs, inputs) = (w.shape()[0], w.shape()[1]);
        let taps: usize = w.shape()[2..].iter().product();
        let [block, group, run] = [parameters[0], parameters[1], parameters[2]];
        packed(w, &parameters[3..], |w| {
            let (blocks, steps) = (outputs.div_ceil(block), inputs.div_ceil(group));
            let mut out = vec![0.0; blocks * steps * taps * block * 4];
            for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                for t in 0..taps {
                    let place = (t / run * steps + i / group) * run + t % run;
                    let unit = (o / block * steps * taps + place) * block + o % block;
                    out[unit * 4 + i % group] = w[(o * inputs + i) * taps + t];
                }
            }
            out
        })
    },
};

/// For depthwise convolutions over groups of four channels: for each group and each tap a unit of the four weights.
pub(super) const DEPTHWISE4: Packing = Packing {
    name: "conv/depthwise4",
    pack: |w, parameters| {
        let outputs = w.shape()[0];
        let taps: usize = w.shape()[1..].iter().product();
        packed(w, parameters, |w| {
            let mut out = vec![0.0; outputs.div_ceil(4) * taps * 4];
            for (o, t) in (0..outputs).flat_map(|o| (0..taps).map(move |t| (o, t))) {
                out[(o / 4 * taps + t) * 4 + o % 4] = w[o * taps + t];
            }
            out
        })
    },
};

/// For kernels over channels in groups of four ("quads"): for each quad of outputs, each tap and each quad of its inputs
/// four units, one for each input, with the weights of the four outputs.
pub(super) const QUADS: Packing = Packing {
    name: "conv/quads",
    pack: |w, parameters| {
        let (outputs, inputs) = (w.shape()[0], w.shape()[1]);
        let taps: usize = w.shape()[2..].iter().product();
        packed(w, parameters, |w| {
            let (quads, steps) = (outputs.div_ceil(4), inputs.div_ceil(4));
            let mut out = vec![0.0; quads * taps * steps * 16];
            for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                for t in 0..taps {
                    let unit = ((o / 4 * taps + t) * steps + i / 4) * 4 + i % 4;
                    out[unit * 4 + o % 4] = w[(o * inputs + i) * taps + t];
                }
            }
            out
        })
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_keep_their_32_bits_behind_weights_in_16() {
        let weights = Tensor::new([3, 1, 1, 1], vec![0.5f32, -0.1, 2.0]).unwrap();
        let biases = [0.1f32, -4.6];
        let bits = biases.map(|b| b.to_bits() as usize);
        let packed = constant(&weights, FLAT, &[], (3, 3), &bits, Storage::F16);
        let Binding::Constant(half) = packed.binding else { panic!("no constant") };
        let made = (half.packing.pack)(&half.source, &half.parameters);
        assert_eq!((made.len() as u64, packed.biases), (half.units * 4, 4));
        let halves = made.as_slice::<f16>().unwrap();
        assert_eq!(halves[..4], [0.5, -0.1, 2.0, 0.0].map(f16::from_f32));
        let list: Vec<f32> = bytemuck::pod_collect_to_vec(&halves[4..10]);
        assert_eq!(list, [0.1, -4.6, 0.0]);
        // In 32 bits they follow at once.
        let packed = constant(&weights, FLAT, &[], (3, 3), &bits, Storage::F32);
        let Binding::Constant(single) = packed.binding else { panic!("no constant") };
        let made = (single.packing.pack)(&single.source, &single.parameters);
        assert_eq!(packed.biases, 3);
        assert_eq!(made.as_slice::<f32>().unwrap(), [0.5, -0.1, 2.0, 0.1, -4.6, 0.0, 0.0, 0.0]);
    }
}
