//! Constant operands in the order in which the kernels read them.

use half::{bf16, f16};

use crate::kernel::{Binding, Constant, Packing, Storage};
use crate::tensor::{Element, ElementType, Tensor};

use super::product::Product;
use crate::ops::conv::pack::{Packed, constant, packed};

/// B in panels of `lanes` units of four columns: `[batch, panel, k, lanes, 4]`, zeros beyond its columns.
/// One panel as wide as B makes it rows of whole units.
/// Parameters: matrices, k, n, 1 if it is given transposed, lanes.
const PANELS: Packing = Packing { name: "matmul/panels", pack: panels };

/// The same of B, with a row C behind it as a list of 32-bit floats. Parameters: those of the panels, and the list's.
const BIASED: Packing = Packing {
    name: "matmul/biased",
    pack: |tensor, parameters| {
        let (own, list) = parameters.split_at(parameters.len().min(5));
        packed(tensor, list, |b| in_panels(b, own))
    },
};

/// C repeated to `[rows, n]`, its rows padded to whole units. Parameters: rows, n, steps of its own rows and columns.
const REPEATED: Packing = Packing { name: "matmul/repeated", pack: repeated };

/// B of a product, packed in panels of this many units.
pub(super) fn bind_b(source: &Tensor, product: &Product, lanes: usize, storage: Storage) -> Option<Binding> {
    let &Product { k, n, transpose_b, .. } = product;
    let matrices = source.len().checked_div(k.checked_mul(n)?)?;
    let columns = n.div_ceil(4).div_ceil(lanes).checked_mul(lanes)?;
    let units = matrices.checked_mul(k)?.checked_mul(columns)?;
    Some(Binding::Constant(Box::new(Constant {
        source: source.clone(),
        packing: PANELS,
        parameters: vec![matrices, k, n, transpose_b.into(), lanes],
        storage,
        units: u64::try_from(units).ok()?,
    })))
}

/// B of a product in panels of this many units, and a constant row C behind it: one buffer fewer, so that a residual fits
/// the floor of four.
pub(in crate::ops) fn bind_biased(
    source: &Tensor,
    product: &Product,
    lanes: usize,
    c: &Tensor,
    storage: Storage,
) -> Option<Packed> {
    let &Product { k, n, transpose_b, .. } = product;
    let matrices = source.len().checked_div(k.checked_mul(n)?)?;
    let columns = n.div_ceil(4).div_ceil(lanes).checked_mul(lanes)?;
    let count = matrices.checked_mul(k)?.checked_mul(columns)?.checked_mul(4)?;
    #[expect(clippy::cast_possible_truncation, reason = "kernels read it as f32")]
    let row: Vec<usize> = c.to_f64().into_iter().map(|v| (v as f32).to_bits() as usize).collect();
    let parameters = [matrices, k, n, transpose_b.into(), lanes];
    Some(constant(source, BIASED, &parameters, (count, n.next_multiple_of(4)), &row, storage))
}

/// C with `rows` rows (1 or m) of n columns, from steps of 0 where it is repeated.
pub(super) fn bind_c(source: &Tensor, rows: usize, n: usize, steps: [usize; 2], storage: Storage) -> Option<Binding> {
    Some(Binding::Constant(Box::new(Constant {
        source: source.clone(),
        packing: REPEATED,
        parameters: vec![rows, n, steps[0], steps[1]],
        storage,
        units: u64::try_from(rows.checked_mul(n.div_ceil(4))?).ok()?,
    })))
}

/// Calls a generic packing for the tensor's element type. Only types that kernels multiply come here.
fn by_type(
    tensor: &Tensor,
    parameters: &[usize],
    f32: fn(&[f32], &[usize]) -> Vec<f32>,
    f16: fn(&[f16], &[usize]) -> Vec<f16>,
    bf16: fn(&[bf16], &[usize]) -> Vec<bf16>,
) -> Tensor {
    match tensor.element_type() {
        ElementType::F32 => Tensor::vector(f32(tensor.as_slice().unwrap_or_default(), parameters)),
        ElementType::F16 => Tensor::vector(f16(tensor.as_slice().unwrap_or_default(), parameters)),
        ElementType::BF16 => Tensor::vector(bf16(tensor.as_slice().unwrap_or_default(), parameters)),
        _ => tensor.clone(),
    }
}

fn panels(tensor: &Tensor, parameters: &[usize]) -> Tensor {
    by_type(tensor, parameters, in_panels, in_panels, in_panels)
}

/// B in panels, see [`PANELS`].
pub(in crate::ops) fn in_panels<T: Element + Default>(b: &[T], parameters: &[usize]) -> Vec<T> {
    let &[matrices, k, n, transposed, lanes] = parameters else { return vec![] };
    let width = lanes * 4;
    let panels = n.div_ceil(width);
    let mut out = vec![T::default(); matrices * panels * k * width];
    for (i, panel) in out.chunks_exact_mut(k * width).enumerate() {
        let (matrix, first) = (&b[i / panels * k * n..][..k * n], i % panels * width);
        let columns = width.min(n - first);
        for (kk, row) in panel.chunks_exact_mut(width).enumerate() {
            for (j, out) in row[..columns].iter_mut().enumerate() {
                let column = first + j;
                *out = matrix[if transposed == 0 { kk * n + column } else { column * k + kk }];
            }
        }
    }
    out
}

fn repeated(tensor: &Tensor, parameters: &[usize]) -> Tensor {
    fn pack<T: Element + Default>(c: &[T], parameters: &[usize]) -> Vec<T> {
        let &[rows, n, row_step, column_step] = parameters else { return vec![] };
        let width = n.next_multiple_of(4);
        let mut out = vec![T::default(); rows * width];
        for (i, row) in out.chunks_exact_mut(width).enumerate() {
            for (j, out) in row[..n].iter_mut().enumerate() {
                *out = c[i * row_step + j * column_step];
            }
        }
        out
    }
    by_type(tensor, parameters, pack, pack, pack)
}
