//! Matrices of small whole numbers with scales.

use crate::tensor::{ElementType, Quantized, Tensor};

/// Numbers of a type, without a pattern.
fn any(element_type: ElementType, shape: &[usize], seed: usize) -> Tensor {
    let number = |i: usize| ((i + seed).wrapping_mul(2_654_435_761) >> 9 & 255) as f64;
    let (least, count) = match element_type {
        ElementType::I8 => (-128.0, 256.0),
        ElementType::U8 => (0.0, 256.0),
        ElementType::I4 => (-8.0, 16.0),
        _ => (0.0, 16.0),
    };
    let numbers = (0..shape.iter().product()).map(|i| number(i) % count + least).collect();
    Tensor::from_f64(element_type, shape, numbers).unwrap_or_else(|e| panic!("{e}"))
}

/// A matrix of k rows and n columns, or turned, whose columns have a scale for each `along` rows, and perhaps a zero; its
/// floats are of magnitude 4 at most.
pub fn weights(element_type: ElementType, [k, n]: [usize; 2], turned: bool, along: usize, zeros: bool) -> Tensor {
    let (shape, block) = if turned { ([n, k], [1, along]) } else { ([k, n], [along, 1]) };
    let blocks = [shape[0].div_ceil(block[0]), shape[1].div_ceil(block[1])];
    let zeros = zeros.then(|| any(element_type, &blocks, 5));
    let most = if matches!(element_type, ElementType::I8 | ElementType::U8) { 255.0 } else { 15.0 };
    let scale = |i: usize| (1.0 + (i % 7) as f32 / 7.0) / most;
    let scales = Tensor::vector((0..blocks[0] * blocks[1]).map(scale).collect());
    let numbers = any(element_type, &shape, k + n);
    let quantized = Quantized::of_elements(&numbers, &scales, zeros.as_ref(), block);
    quantized.unwrap_or_else(|| panic!("{shape:?} in blocks of {block:?}")).tensor(ElementType::F32)
}
