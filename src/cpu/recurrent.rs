//! LSTM: the products of the whole sequence with the input weights first, then step by step those of the state.

use pulp::{Simd, WithSimd};

use super::functions::tanh;
use super::kernel::{Job, Kernel};
use super::product::{Addend, Output, Tile, multiply};
use super::simd::{Lines, activate, dispatch, load, store};
use super::{Scratch, tasks};
use crate::graph::{Activation, EvaluateError, Fact};
use crate::ops::recurrent::{Recurrent, Sizes};

/// Gates i, o, f and c.
const GATES: usize = 4;

#[derive(Debug)]
struct Lstm {
    layer: Recurrent,
    sizes: Sizes,
    /// Of each direction.
    weights: Vec<Weights>,
}

/// The weights of a direction: both matrices turned and packed, and the sums of both biases.
#[derive(Debug)]
struct Weights {
    input: Lines,
    recurrent: Lines,
    bias: Vec<f32>,
}

/// The kernel of an LSTM whose weights are constants.
pub(super) fn kernel(layer: &Recurrent, inputs: &[Option<&Fact>]) -> Option<Box<dyn Kernel>> {
    let sizes = layer.plain_lstm(inputs)?;
    let Sizes { steps, batch, input, hidden } = sizes;
    if [steps, batch, input, hidden].contains(&0) {
        return None;
    }
    let constant = |i: usize| inputs.get(i).copied().flatten()?.constant.as_ref()?.as_slice::<f32>().ok();
    let (w, r) = (constant(1)?, constant(2)?);
    let b = match inputs.get(3).copied().flatten() {
        Some(_) => Some(constant(3)?),
        None => None,
    };
    let columns = GATES * hidden;
    let packed = |tile: Tile, k: usize, matrix: &[f32]| {
        let mut lines = Lines::new(tile.packed_b(k, columns));
        tile.pack_columns_of(k, columns, lines.as_mut_slice(), |j| &matrix[j * k..]);
        lines
    };
    let weights = (0..layer.directions()).map(|d| Weights {
        input: packed(Tile::of(steps * batch), input, &w[d * columns * input..]),
        recurrent: packed(Tile::of(batch), hidden, &r[d * columns * hidden..]),
        bias: match b {
            Some(b) => (0..columns).map(|j| b[2 * d * columns + j] + b[(2 * d + 1) * columns + j]).collect(),
            None => vec![0.0; columns],
        },
    });
    Some(Box::new(Lstm { layer: layer.clone(), sizes, weights: weights.collect() }))
}

impl Kernel for Lstm {
    fn holds(&self) -> &[usize] {
        &[1, 2, 3]
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Sizes { steps, batch, hidden, .. } = self.sizes;
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let slice = |i: usize| job.inputs.optional(i).map(|t| t.as_slice::<f32>()).transpose();
        let (first_hidden, first_memory) = (slice(5)?, slice(6)?);
        let states = batch * hidden;
        let each = (steps + 2) * states;
        job.scratch.with(each * self.weights.len(), |results| {
            // For each direction the states of all steps, the last one and the last cell state.
            tasks::each(job.threads, results.chunks_exact_mut(each).enumerate().collect(), |(direction, results)| {
                let (y, last) = results.split_at_mut(steps * states);
                let (state, memory) = last.split_at_mut(states);
                for (from, to) in [(first_hidden, &mut *state), (first_memory, &mut *memory)] {
                    for (i, to) in to.chunks_exact_mut(hidden).enumerate() {
                        let at = self.layer.row_of_state(self.sizes, i, direction) * hidden;
                        match from {
                            Some(from) => to.copy_from_slice(&from[at..at + hidden]),
                            None => to.fill(0.0),
                        }
                    }
                }
                self.direction(direction, x, y, [state, memory], job.scratch);
            });
            let y = job.y.as_mut_slice::<f32>()?;
            for (direction, results) in results.chunks_exact(each).enumerate() {
                for (row, from) in results[..steps * states].chunks_exact(hidden).enumerate() {
                    let at = self.layer.row_of_y(self.sizes, row / batch, row % batch, direction) * hidden;
                    y[at..at + hidden].copy_from_slice(from);
                }
            }
            for (k, output) in job.more.iter_mut().enumerate().take(2) {
                let Some(output) = output else { continue };
                let output = output.as_mut_slice::<f32>()?;
                for (direction, results) in results.chunks_exact(each).enumerate() {
                    for (i, from) in results[(steps + k) * states..][..states].chunks_exact(hidden).enumerate() {
                        let at = self.layer.row_of_state(self.sizes, i, direction) * hidden;
                        output[at..at + hidden].copy_from_slice(from);
                    }
                }
            }
            Ok(())
        })
    }
}

impl Lstm {
    /// Fills the states of all steps of a direction, `[step][batch][hidden]`.
    fn direction(&self, direction: usize, x: &[f32], y: &mut [f32], states: [&mut [f32]; 2], scratch: &Scratch) {
        let Sizes { steps, batch, input, hidden } = self.sizes;
        let (columns, rows) = (GATES * hidden, steps * batch);
        let (wide, narrow) = (Tile::of(rows), Tile::of(batch));
        let packed = wide.packed_a(rows, input).max(narrow.packed_a(batch, hidden));
        scratch.with(packed + (rows + batch) * columns, |memory| {
            let (packed, memory) = memory.split_at_mut(packed);
            let (products, sums) = memory.split_at_mut(rows * columns);
            dispatch(Steps { lstm: self, direction, x, y, states, packed, products, sums });
        });
    }
}

/// All steps of a direction.
struct Steps<'a> {
    lstm: &'a Lstm,
    direction: usize,
    x: &'a [f32],
    y: &'a mut [f32],
    /// The hidden state, and the cell's.
    states: [&'a mut [f32]; 2],
    packed: &'a mut [f32],
    products: &'a mut [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Steps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Lstm { layer, sizes, weights } = self.lstm;
        let &Sizes { steps, batch, input, hidden } = sizes;
        let Weights { input: w, recurrent: r, bias } = &weights[self.direction];
        let [state, memory] = self.states;
        let (columns, rows) = (GATES * hidden, steps * batch);
        let bias = Addend { values: bias, offset: 0, row: 0, column: 1, factor: 1.0 };
        product(simd, input, &self.x[..rows * input], w, bias, self.packed, columns, self.products);
        for i in 0..steps {
            let step = if layer.is_reverse(self.direction) { steps - 1 - i } else { i };
            let (first, next) = (layer.row(*sizes, step, 0), layer.row(*sizes, step, 1));
            let values = &*self.products;
            let addend =
                Addend { values, offset: first * columns, row: (next - first) * columns, column: 1, factor: 1.0 };
            product(simd, hidden, state, r, addend, self.packed, columns, self.sums);
            for (j, gates) in self.sums.chunks_exact(columns).enumerate() {
                let (state, memory) = (&mut state[j * hidden..][..hidden], &mut memory[j * hidden..][..hidden]);
                cell(simd, gates, state, memory);
                self.y[(step * batch + j) * hidden..][..hidden].copy_from_slice(state);
            }
        }
    }
}

/// `A · B + C`, where B is packed and A is not.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "a closure would be compiled without the vectors that its caller may use"
)]
fn product<S: Simd>(
    simd: S,
    k: usize,
    a: &[f32],
    b: &Lines,
    c: Addend<'_>,
    packed: &mut [f32],
    columns: usize,
    out: &mut [f32],
) {
    let m = out.len() / columns;
    let tile = Tile::of(m);
    let a = if tile.rows == 1 {
        a
    } else {
        tile.pack_rows_of_a(m, k, packed, |i| &a[i * k..]);
        packed
    };
    let mut out: Vec<_> = out.chunks_exact_mut(columns).collect();
    let activation = Activation::Identity;
    let mut output = Output { rows: &mut out, scale: 1.0, bias: None, addend: Some(c), residual: None, activation };
    multiply(simd, tile, k, a, b.as_slice(), &mut output);
}

/// The new states of a cell, of the sums of its gates.
#[inline(always)]
fn cell<S: Simd>(simd: S, gates: &[f32], state: &mut [f32], memory: &mut [f32]) {
    let hidden = state.len();
    for from in (0..hidden).step_by(S::F32_LANES) {
        let to = (from + S::F32_LANES).min(hidden);
        let sum = |gate: usize| load(simd, &gates[gate * hidden + from..gate * hidden + to]);
        let (input, output) =
            (activate(simd, sum(0), Activation::Sigmoid), activate(simd, sum(1), Activation::Sigmoid));
        let forget = activate(simd, sum(2), Activation::Sigmoid);
        let new = simd.mul_f32s(input, tanh(simd, sum(3)));
        let new = simd.mul_add_e_f32s(forget, load(simd, &memory[from..to]), new);
        store(simd, &mut memory[from..to], new);
        store(simd, &mut state[from..to], simd.mul_f32s(output, tanh(simd, new)));
    }
}
