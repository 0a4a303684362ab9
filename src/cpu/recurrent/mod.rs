//! RNN, GRU and LSTM: the products of the whole sequence with the input weights first, then step by step those of the state.

mod cell;

use pulp::{Simd, WithSimd};

use self::cell::Gates;
use super::kernel::{Job, Kernel};
use super::product::{Addend, Output, Tile, multiply};
use super::simd::{Lines, dispatch};
use super::{Scratch, tasks};
use crate::graph::{Activation, EvaluateError, Fact, ShapeError};
use crate::ops::recurrent::{Kind, Recurrent, Sizes};
use crate::tensor::ElementType;

/// The place of the sequences' lengths among the inputs.
const LENGTHS: usize = 4;

#[derive(Debug)]
struct Layer {
    layer: Recurrent,
    sizes: Sizes,
    /// Of each direction.
    weights: Vec<Weights>,
}

/// The weights of a direction: matrices turned and packed.
#[derive(Debug)]
struct Weights {
    input: Lines,
    /// What all gates read of the state, or those but the last of a GRU.
    recurrent: Lines,
    /// GRU: what the candidate reads of the state.
    candidate: Lines,
    /// What is added to the products with the input, and to the candidate's with the state.
    bias: Vec<f32>,
    candidate_bias: Vec<f32>,
    /// LSTM: how the cell state goes into the gates i, o and f; empty if it does not.
    peepholes: Vec<f32>,
}

/// The kernel of a layer whose weights are constants.
pub(super) fn kernel(
    layer: &Recurrent,
    inputs: &[Option<&Fact>],
    outputs: &[Option<&Fact>],
) -> Option<Box<dyn Kernel>> {
    let sizes = layer.sizes_of(inputs)?;
    let Sizes { steps, batch, input, hidden } = sizes;
    let floats = inputs.first().into_iter().chain(outputs).flatten();
    if [steps, batch, input, hidden].contains(&0) || floats.into_iter().any(|f| f.element_type != ElementType::F32) {
        return None;
    }
    let given = |i: usize| inputs.get(i).copied().flatten();
    let constant = |i: usize| given(i)?.constant.as_ref()?.as_slice::<f32>().ok();
    let (w, r) = (constant(1)?, constant(2)?);
    let optional = |i: usize| if given(i).is_some() { Some(constant(i)?.to_vec()) } else { Some(vec![]) };
    let (b, p) = (optional(3)?, if layer.kind == Kind::Lstm { optional(7)? } else { vec![] });
    let columns = layer.kind.gates() * hidden;
    let early = early(layer.kind) * hidden;
    let packed = |tile: Tile, k: usize, n: usize, matrix: &[f32]| {
        let mut lines = Lines::new(tile.packed_b(k, n));
        tile.pack_columns_of(k, n, lines.as_mut_slice(), |j| &matrix[j * k..]);
        lines
    };
    let weights = (0..layer.directions()).map(|d| {
        let recurrent = &r[d * columns * hidden..][..columns * hidden];
        let (mut bias, mut candidate_bias) = (vec![0.0; columns], vec![0.0; hidden]);
        if let Some(b) = b.chunks_exact(2 * columns).nth(d) {
            for (j, bias) in bias.iter_mut().enumerate() {
                // The reset gate applies to a bias of the state's, too.
                let apart = j >= early && layer.linear_before_reset;
                *bias = if apart { b[j] } else { b[j] + b[columns + j] };
                if apart {
                    candidate_bias[j - early] = b[columns + j];
                }
            }
        }
        Weights {
            input: packed(Tile::of(steps * batch), input, columns, &w[d * columns * input..]),
            recurrent: packed(Tile::of(batch), hidden, early, recurrent),
            candidate: match layer.kind {
                Kind::Gru => packed(Tile::of(batch), hidden, hidden, &recurrent[early * hidden..]),
                Kind::Rnn | Kind::Lstm => Lines::default(),
            },
            bias,
            candidate_bias,
            peepholes: p.chunks_exact(3 * hidden).nth(d).unwrap_or_default().to_vec(),
        }
    });
    Some(Box::new(Layer { layer: layer.clone(), sizes, weights: weights.collect() }))
}

/// The gates whose products with the state are known first.
const fn early(kind: Kind) -> usize {
    match kind {
        Kind::Gru => 2,
        Kind::Rnn | Kind::Lstm => kind.gates(),
    }
}

impl Kernel for Layer {
    fn products(&self) -> usize {
        self.layer.kind.gates() * (self.sizes.input + self.sizes.hidden)
    }

    fn holds(&self) -> &[usize] {
        if self.layer.kind == Kind::Lstm { &[1, 2, 3, 7] } else { &[1, 2, 3] }
    }

    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError> {
        let Sizes { steps, batch, hidden, .. } = self.sizes;
        let x = job.inputs.tensor(0)?.as_slice::<f32>()?;
        let lengths = job.inputs.integers(LENGTHS)?.map(|lengths| {
            let lengths = lengths.iter().map(|&n| usize::try_from(n).ok().filter(|&n| n <= steps));
            lengths.collect::<Option<Vec<_>>>()
        });
        let lengths = match lengths {
            Some(None) => return Err(ShapeError::new(format!("a sequence has no more than {steps} steps")).into()),
            Some(lengths) => lengths,
            None => None,
        };
        let slice = |i: usize| job.inputs.optional(i).map(|t| t.as_slice::<f32>()).transpose();
        let first_memory = if self.layer.kind == Kind::Lstm { slice(6)? } else { None };
        let (first_hidden, lengths) = (slice(5)?, lengths.as_deref());
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
                if lengths.is_some() {
                    // What lies behind a sequence's end.
                    y.fill(0.0);
                }
                self.direction(direction, x, lengths, y, [state, memory], job.scratch);
            });
            let y = job.y.as_mut_slice::<f32>()?;
            let read = if y.is_empty() { 0 } else { self.weights.len() };
            for (direction, results) in results.chunks_exact(each).enumerate().take(read) {
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

impl Layer {
    /// Fills the states of all steps of a direction, `[step][batch][hidden]`.
    fn direction(
        &self,
        direction: usize,
        x: &[f32],
        lengths: Option<&[usize]>,
        y: &mut [f32],
        states: [&mut [f32]; 2],
        scratch: &Scratch,
    ) {
        let Sizes { steps, batch, input, hidden } = self.sizes;
        let (columns, rows) = (self.layer.kind.gates() * hidden, steps * batch);
        let (wide, narrow) = (Tile::of(rows), Tile::of(batch));
        let packed = wide.packed_a(rows, input).max(narrow.packed_a(batch, hidden));
        let sizes = [packed, rows * columns, batch * columns, batch * columns, 2 * batch * hidden];
        scratch.with(sizes.iter().sum(), |mut memory| {
            let mut part = |size: usize| {
                let (part, rest) = std::mem::take(&mut memory).split_at_mut(size);
                memory = rest;
                part
            };
            let [packed, products, gathered, sums, reset] = sizes.map(&mut part);
            dispatch(Steps { layer: self, direction, x, lengths, y, states, packed, products, gathered, sums, reset });
        });
    }
}

/// All steps of a direction.
struct Steps<'a> {
    layer: &'a Layer,
    direction: usize,
    x: &'a [f32],
    lengths: Option<&'a [usize]>,
    y: &'a mut [f32],
    /// The hidden state, and the cell's.
    states: [&'a mut [f32]; 2],
    packed: &'a mut [f32],
    /// Of the input and its weights, for all rows of x, and those of one step of each sequence.
    products: &'a mut [f32],
    gathered: &'a mut [f32],
    sums: &'a mut [f32],
    /// GRU: what the candidate reads of the state, and the product.
    reset: &'a mut [f32],
}

impl WithSimd for Steps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Layer { layer, sizes, weights } = self.layer;
        let &Sizes { steps, batch, input, hidden } = sizes;
        let Weights { input: w, recurrent: r, candidate, bias, candidate_bias, peepholes } = &weights[self.direction];
        let gates = Gates {
            functions: layer.functions(self.direction),
            bound: layer.bound(),
            input_forget: layer.input_forget,
            linear_before_reset: layer.linear_before_reset,
        };
        let [state, memory] = self.states;
        let (columns, rows) = (layer.kind.gates() * hidden, steps * batch);
        let early = early(layer.kind) * hidden;
        let repeated = |values| Addend { values, offset: 0, row: 0, column: 1, factor: 1.0 };
        let bias = repeated(bias);
        product(simd, input, &self.x[..rows * input], w, bias, self.packed, columns, self.products);
        let sums = &mut self.sums[..batch * early];
        let (reset, news) = self.reset.split_at_mut(batch * hidden);
        for i in 0..steps {
            // The sequences' elements of this step lie at the same distance from each other, if none ends early.
            let place = |j: usize| {
                let length = self.lengths.map_or(steps, |lengths| lengths[j]);
                let step = if layer.is_reverse(self.direction) { length.wrapping_sub(i + 1) } else { i };
                (i < length).then_some(step)
            };
            let (values, offset, row) = if self.lengths.is_some() {
                for (j, to) in self.gathered.chunks_exact_mut(columns).enumerate() {
                    if let Some(step) = place(j) {
                        to.copy_from_slice(&self.products[layer.row(*sizes, step, j) * columns..][..columns]);
                    }
                }
                (&*self.gathered, 0, columns)
            } else {
                let step = place(0).unwrap_or(0);
                let (first, next) = (layer.row(*sizes, step, 0), layer.row(*sizes, step, 1));
                (&*self.products, first * columns, (next - first) * columns)
            };
            let addend = Addend { values, offset, row, column: 1, factor: 1.0 };
            product(simd, hidden, state, r, addend, self.packed, early, sums);
            if layer.kind == Kind::Gru {
                for (j, reset) in reset.chunks_exact_mut(hidden).enumerate() {
                    cell::reset(simd, gates, &mut sums[j * early..][..early], &state[j * hidden..][..hidden], reset);
                }
                product(simd, hidden, reset, candidate, repeated(candidate_bias), self.packed, hidden, news);
            }
            for (j, sums) in sums.chunks_exact_mut(early).enumerate() {
                let Some(step) = place(j) else { continue };
                let range = j * hidden..(j + 1) * hidden;
                let state = &mut state[range.clone()];
                match layer.kind {
                    Kind::Rnn => cell::rnn(simd, gates, sums, state),
                    Kind::Lstm => cell::lstm(simd, gates, sums, peepholes, state, &mut memory[range]),
                    Kind::Gru => {
                        let input = &values[offset + j * row + early..][..hidden];
                        cell::gru(simd, gates, sums, input, &mut news[range], state);
                    }
                }
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
