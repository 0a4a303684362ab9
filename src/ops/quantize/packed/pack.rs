//! How weights lie in words of four bytes, once they are packed.

use crate::kernel::{Binding, Constant, Packing, Storage};
use crate::tensor::{ElementType, Tensor};

/// Weights as a kernel over four inputs at a time reads them: for each block of outputs, each tap and each quad of a group's
/// inputs a word for each output of the block. Parameters: outputs, inputs of a group, taps, the steps from one of each to the next
/// in the tensor, outputs of a block, and what the bytes of zeros are (see [`WORDS`] and [`OFFSET_WORDS`]).
fn words(w: &Tensor, parameters: &[usize], flips: [u8; 4]) -> Tensor {
    let &[outputs, inputs, taps, output_step, input_step, tap_step, block] = parameters else { return w.clone() };
    let bytes = w.bytes();
    // Without a sign they are read as those 128 smaller.
    let sign = if w.element_type() == ElementType::U8 { 0x80 } else { 0 };
    let quads = inputs.div_ceil(4);
    let mut out = Vec::with_capacity(outputs.next_multiple_of(block) * taps * quads * 4);
    for first in (0..outputs).step_by(block) {
        for (tap, quad) in (0..taps).flat_map(|tap| (0..quads).map(move |quad| (tap, quad))) {
            for output in first..first + block {
                for (lane, flip) in flips.into_iter().enumerate() {
                    let input = quad * 4 + lane;
                    let at = output * output_step + input * input_step + tap * tap_step;
                    let there = output < outputs && input < inputs;
                    out.push(if there { bytes.get(at).copied().unwrap_or_default() ^ sign } else { 0 } ^ flip);
                }
            }
        }
    }
    as_bytes(w.element_type(), out)
}

/// Bytes as a tensor of the type of the source.
fn as_bytes(element_type: ElementType, bytes: Vec<u8>) -> Tensor {
    match element_type {
        ElementType::U8 => Tensor::vector(bytes),
        _ => Tensor::vector(bytes.into_iter().map(u8::cast_signed).collect()),
    }
}

/// Words of four weights with their signs.
pub(super) const WORDS: Packing =
    Packing { name: "integers/words", pack: |w, parameters| words(w, parameters, [0; 4]) };

/// Words of which the last weight has its sign, and the others are 128 larger.
pub(super) const OFFSET_WORDS: Packing =
    Packing { name: "integers/offset words", pack: |w, parameters| words(w, parameters, [0x80, 0x80, 0x80, 0]) };

/// For depthwise convolutions: for each quad of channels and each tap a word of the four weights. Parameters: channels, taps.
pub(super) const CHANNELS: Packing = Packing {
    name: "integers/channels",
    pack: |w, parameters| {
        let &[channels, taps] = parameters else { return w.clone() };
        let bytes = w.bytes();
        let sign = if w.element_type() == ElementType::U8 { 0x80 } else { 0 };
        let mut out = vec![0; channels.next_multiple_of(4) * taps];
        for (channel, tap) in (0..channels).flat_map(|channel| (0..taps).map(move |tap| (channel, tap))) {
            let own = bytes.get(channel * taps + tap).copied().unwrap_or_default();
            out[(channel / 4 * taps + tap) * 4 + channel % 4] = own ^ sign;
        }
        as_bytes(w.element_type(), out)
    },
};

/// The constant of weights that a packing makes so many words of.
pub(super) fn constant(w: &Tensor, packing: Packing, parameters: Vec<usize>, words: usize) -> (Binding, Storage) {
    let storage = if w.element_type() == ElementType::U8 { Storage::U8 } else { Storage::I8 };
    let constant = Constant { source: w.clone(), packing, parameters, storage, units: words as u64 };
    (Binding::Constant(Box::new(constant)), storage)
}
