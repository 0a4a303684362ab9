//! Numbers of 8 bits. Scales are powers of two, so that quotients by them are exact.

use rimlight::graph::Definition;
use rimlight::{ElementType, Tensor};

use super::draw::{Draw, filled};
use super::elementwise::RANKS;
use super::{Grid, Made};

/// Bits that scales move the point by.
const STEPS: [(f32, i32); 3] = [(0.125, 3), (0.25, 2), (0.0625, 4)];

impl Draw<'_, '_> {
    fn scale(&mut self) -> (usize, i32) {
        let (scale, bits) = self.pick(&STEPS);
        (self.parameter(Tensor::scalar(scale)), bits)
    }

    fn zero(&mut self, signed: bool) -> usize {
        let zero = self.pick(&[0u8, 3, 10]);
        self.parameter(if signed { Tensor::scalar(zero.cast_signed() - 2) } else { Tensor::scalar(zero) })
    }

    /// A quantized value, and what it was quantized by.
    fn quantized(&mut self, x: usize) -> Option<(usize, usize, usize, i32)> {
        let signed = self.flip();
        let ((scale, bits), zero) = (self.scale(), self.zero(signed));
        let q = self.node(Definition::new("QuantizeLinear"), &[x, scale, zero], Some(Grid { unit: 0, top: 8 }))?;
        Some((q, scale, zero, bits))
    }

    fn restored(&mut self, (q, scale, zero, bits): (usize, usize, usize, i32)) -> Option<usize> {
        self.node(Definition::new("DequantizeLinear"), &[q, scale, zero], Some(Grid { unit: bits, top: 9 - bits }))
    }
}

pub fn quantized(d: &mut Draw<'_, '_>) -> Option<()> {
    match d.below(5) {
        0 | 1 => {
            let x = d.exact_floats(&RANKS);
            let q = d.quantized(x)?;
            d.restored(q)?;
        }
        2 => {
            // A layer between two quantizations: sums of products of integers.
            let x = d.exact_floats(&[4]);
            let q = d.quantized(x)?;
            let x = d.restored(q)?;
            let channels = d.shape_of(x)[1];
            let outputs = 1 + d.below(4);
            let weights = d.bytes(&[outputs, channels, 1, 1]);
            let (scale, bits) = d.scale();
            let zero = d.parameter(Tensor::scalar(0i8));
            let w = d.restored((weights, scale, zero, bits))?;
            let grid = d.grid(x).zip(d.grid(w)).map(|(x, w)| x.times(w).higher(4));
            let mut y = d.node(Definition::new("Conv"), &[x, w], grid)?;
            if d.flip() {
                y = d.node(Definition::new("Relu"), &[y], d.grid(y))?;
            }
            // Only of what is exact.
            d.grid(y)?;
            let q = d.quantized(y)?;
            if d.flip() {
                d.restored(q)?;
            }
        }
        3 => {
            let bytes = |made: &Made| {
                matches!(made.fact.element_type, ElementType::I8 | ElementType::U8) && made.fact.rank() == 2
            };
            let x = match d.find(bytes) {
                Some(x) => x,
                None => {
                    let x = d.exact_floats(&[2]);
                    d.quantized(x)?.0
                }
            };
            let inner = d.shape_of(x)[1];
            let outer = 1 + d.below(5);
            let w = d.bytes(&[inner, outer]);
            let signed = d.made(x).fact.element_type == ElementType::I8;
            let zero = d.zero(signed);
            d.node(Definition::new("MatMulInteger"), &[x, w, zero], Some(Grid { unit: 0, top: 20 }))?;
        }
        _ => {
            let x = d.exact_floats(&RANKS);
            let q = d.quantized(x)?;
            let x = d.restored(q)?;
            let name = d.pick(&["Relu", "Identity", "Neg"]);
            let y = d.node(Definition::new(name), &[x], d.grid(x))?;
            d.quantized(y)?;
        }
    }
    Some(())
}

impl Draw<'_, '_> {
    /// Weights of 8 bits.
    fn bytes(&mut self, shape: &[usize]) -> usize {
        let seed = self.below(64);
        self.parameter(filled(shape, |i| ((i * 29 + seed) % 15) as i8 - 7))
    }
}
