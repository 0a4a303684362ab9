//! One step of a cell.

use super::activation::Activations;
use super::{Kind, Recurrent};
use crate::graph::{EvaluateError, Inputs};
use crate::tensor::Tensor;

/// The weights of all directions, as the inputs have them.
pub(super) struct Weights {
    input: Vec<f64>,
    recurrent: Vec<f64>,
    bias: Option<Vec<f64>>,
    /// LSTM: how the cell state goes into the gates i, o and f.
    peepholes: Option<Vec<f64>>,
}

impl Weights {
    /// # Errors
    /// If W or R is missing.
    pub fn new(inputs: Inputs<'_>, lstm: bool) -> Result<Self, EvaluateError> {
        Ok(Self {
            input: inputs.tensor(1)?.to_f64(),
            recurrent: inputs.tensor(2)?.to_f64(),
            bias: inputs.optional(3).map(Tensor::to_f64),
            peepholes: inputs.optional(7).filter(|_| lstm).map(Tensor::to_f64),
        })
    }
}

/// What a cell remembers, and room for its sums.
pub(super) struct Cell {
    /// The hidden state.
    pub hidden: Vec<f64>,
    /// LSTM: the cell state.
    pub memory: Vec<f64>,
    /// `X Wᵀ + Wb`, gate by gate.
    from_input: Vec<f64>,
    /// `H Rᵀ + Rb`, gate by gate.
    from_state: Vec<f64>,
}

impl Cell {
    pub fn new(hidden: usize, gates: usize) -> Self {
        let [hidden, memory] = [(); 2].map(|()| vec![0.0; hidden]);
        let [from_input, from_state] = [(); 2].map(|()| vec![0.0; gates * hidden.len()]);
        Self { hidden, memory, from_input, from_state }
    }

    /// Takes one element of the sequence in.
    pub fn step(&mut self, layer: &Recurrent, weights: &Weights, direction: usize, x: &[f64]) {
        let (size, rows) = (self.hidden.len(), self.from_input.len());
        let bias = weights.bias.as_ref().map(|b| &b[2 * rows * direction..]);
        let bias = |half: usize, row: usize| bias.map_or(0.0, |b| b[half * rows + row]);
        // The new state of a GRU mostly reads the old one through the reset gate, which is not known yet.
        let reset_first = layer.kind == Kind::Gru && !layer.linear_before_reset;
        let early = if reset_first { 2 * size } else { rows };
        for row in 0..rows {
            let at = direction * rows + row;
            self.from_input[row] = bias(0, row) + dot(&weights.input[at * x.len()..], x);
            if row < early {
                self.from_state[row] = bias(1, row) + dot(&weights.recurrent[at * size..], &self.hidden);
            }
        }
        let Activations([f, g, h]) = layer.activations[direction];
        let bound = |v: f64| layer.clip.map_or(v, |clip| v.clamp(-clip, clip));
        match layer.kind {
            Kind::Rnn => {
                for i in 0..size {
                    self.hidden[i] = f.apply(bound(self.from_input[i] + self.from_state[i]));
                }
            }
            Kind::Gru => {
                // Gates z, r and h. The new state reads all of the old one, through the reset gate.
                let gate = |cell: &Self, k: usize| f.apply(bound(cell.from_input[k] + cell.from_state[k]));
                let reset: Vec<f64> = (0..size).map(|i| gate(self, size + i)).collect();
                let news: Vec<f64> = if layer.linear_before_reset {
                    (0..size).map(|i| reset[i] * self.from_state[2 * size + i]).collect()
                } else {
                    let old: Vec<f64> = self.hidden.iter().zip(&reset).map(|(h, r)| h * r).collect();
                    let row = |i: usize| 2 * size + i;
                    (0..size)
                        .map(|i| bias(1, row(i)) + dot(&weights.recurrent[(direction * rows + row(i)) * size..], &old))
                        .collect()
                };
                for (i, new) in news.into_iter().enumerate() {
                    let update = gate(self, i);
                    let candidate = g.apply(bound(self.from_input[2 * size + i] + new));
                    self.hidden[i] = (1.0 - update) * candidate + update * self.hidden[i];
                }
            }
            Kind::Lstm => {
                let peepholes = weights.peepholes.as_ref().map(|p| &p[3 * size * direction..]);
                let peephole = |gate: usize, i: usize| peepholes.map_or(0.0, |p| p[gate * size + i]);
                for i in 0..size {
                    // Gates i, o, f and c.
                    let sum = |gate: usize| self.from_input[gate * size + i] + self.from_state[gate * size + i];
                    let old = self.memory[i];
                    let input = f.apply(bound(sum(0) + peephole(0, i) * old));
                    let forget =
                        if layer.input_forget { 1.0 - input } else { f.apply(bound(sum(2) + peephole(2, i) * old)) };
                    let new = forget * old + input * g.apply(bound(sum(3)));
                    let output = f.apply(bound(sum(1) + peephole(1, i) * new));
                    self.memory[i] = new;
                    self.hidden[i] = output * h.apply(new);
                }
            }
        }
    }
}

/// The sum of products with as many weights as there are elements.
fn dot(weights: &[f64], x: &[f64]) -> f64 {
    weights.iter().zip(x).map(|(w, x)| w * x).sum()
}
