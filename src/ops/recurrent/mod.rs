//! RNN, GRU and LSTM (ONNX opsets 1, 7 and 14): a cell applied along a sequence, forwards, backwards or both ways.

mod activation;
mod cell;
mod kernel;
mod packed;

use std::sync::Arc;

use self::activation::Activations;
pub(crate) use self::activation::Function;
use self::cell::{Cell, Weights};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::{ElementType, Tensor};

/// Which cell it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `H = f(X Wᵀ + H Rᵀ + b)`.
    Rnn,
    /// Gated recurrent unit (Cho et al., 2014): gates z, r, h.
    Gru,
    /// Long short-term memory (Hochreiter and Schmidhuber, 1997), with peepholes (Gers et al., 2000): gates i, o, f, c.
    Lstm,
}

impl Kind {
    /// Gates of a cell.
    pub(crate) const fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }
}

/// In which direction a sequence is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Reverse,
    Bidirectional,
}

/// A recurrent layer. Inputs: X `[steps, batch, input]`, W `[directions, gates · hidden, input]`, R `[directions,
/// gates · hidden, hidden]`, B `[directions, 2 · gates · hidden]`, the sequences' lengths, the first hidden state, and for
/// an LSTM the first cell state and the peepholes. Outputs: Y `[steps, directions, batch, hidden]`, the last hidden state,
/// and the last cell state. With `layout` 1 the batch comes first in all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrent {
    pub(crate) kind: Kind,
    direction: Direction,
    activations: Vec<Activations>,
    /// Gates' sums are bounded by this, before their activations.
    clip: Option<f64>,
    /// LSTM: the forget gate is one less the input gate.
    pub(crate) input_forget: bool,
    /// GRU: the reset gate applies to the product with the hidden state, not to the state.
    pub(crate) linear_before_reset: bool,
    batch_first: bool,
    /// As the file says; the weights decide.
    hidden_size: Option<i64>,
}

/// Makes an RNN, GRU or LSTM.
pub(super) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let kind = match d.op_type.as_str() {
        "RNN" => Kind::Rnn,
        "GRU" => Kind::Gru,
        _ => Kind::Lstm,
    };
    let direction = match d.string("direction")?.as_deref() {
        None | Some("forward") => Direction::Forward,
        Some("reverse") => Direction::Reverse,
        Some("bidirectional") => Direction::Bidirectional,
        Some(other) => {
            return Err(DefinitionError::Value(
                "direction",
                format!("is '{other}'; there are forward, reverse and bidirectional"),
            ));
        }
    };
    let clip = d.float("clip")?.filter(|&clip| clip != 0.0).map(f64::from);
    if clip.is_some_and(|clip| clip.is_nan() || clip < 0.0) {
        return Err(DefinitionError::Value("clip", "is a bound of zero or more".to_owned()));
    }
    let directions = if direction == Direction::Bidirectional { 2 } else { 1 };
    Ok(Arc::new(Recurrent {
        kind,
        direction,
        activations: activation::of(d, kind, directions)?,
        clip,
        input_forget: d.flag("input_forget", false)?,
        linear_before_reset: d.flag("linear_before_reset", false)?,
        batch_first: d.flag("layout", false)?,
        hidden_size: d.int("hidden_size")?,
    }))
}

/// The sizes of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Elements of a sequence.
    pub steps: usize,
    /// Sequences.
    pub batch: usize,
    /// Numbers that an element of a sequence has.
    pub input: usize,
    /// Numbers of a state.
    pub hidden: usize,
}

impl Recurrent {
    /// How many directions there are.
    pub(crate) fn directions(&self) -> usize {
        self.activations.len()
    }

    /// Whether a direction goes from the last element to the first.
    pub(crate) fn is_reverse(&self, direction: usize) -> bool {
        self.direction == Direction::Reverse || direction == 1
    }

    /// The bound of a gate's sums as a kernel takes it: 0 where there is none.
    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    pub(crate) fn bound(&self) -> f32 {
        self.clip.unwrap_or(0.0) as f32
    }

    /// The functions of a direction's gates.
    pub(crate) fn functions(&self, direction: usize) -> [Function; 3] {
        self.activations[direction].0
    }

    /// The sizes, if all shapes are known and fit.
    pub(crate) fn sizes_of(&self, inputs: &[Option<&Fact>]) -> Option<Sizes> {
        let shapes: Vec<_> = inputs.iter().map(|fact| fact.and_then(Fact::concrete)).collect();
        self.sizes(&shapes.iter().map(Option::as_deref).collect::<Vec<_>>()).ok()
    }

    /// The position of element `[step, batch]` of X, in rows.
    pub(crate) fn row(&self, s: Sizes, step: usize, batch: usize) -> usize {
        if self.batch_first { batch * s.steps + step } else { step * s.batch + batch }
    }

    /// The position of element `[step, batch]` of Y for a direction, in rows.
    pub(crate) fn row_of_y(&self, s: Sizes, step: usize, batch: usize, direction: usize) -> usize {
        if self.batch_first {
            (batch * s.steps + step) * self.directions() + direction
        } else {
            (step * self.directions() + direction) * s.batch + batch
        }
    }

    /// The row of a state `[directions, batch, hidden]`, or `[batch, directions, hidden]`.
    pub(crate) fn row_of_state(&self, s: Sizes, batch: usize, direction: usize) -> usize {
        if self.batch_first { batch * self.directions() + direction } else { direction * s.batch + batch }
    }

    fn shape_of_y(&self, s: Sizes) -> [usize; 4] {
        if self.batch_first {
            [s.batch, s.steps, self.directions(), s.hidden]
        } else {
            [s.steps, self.directions(), s.batch, s.hidden]
        }
    }

    fn shape_of_state(&self, batch: usize, hidden: usize) -> [usize; 3] {
        if self.batch_first { [batch, self.directions(), hidden] } else { [self.directions(), batch, hidden] }
    }

    /// Checks every input's shape.
    fn sizes(&self, shapes: &[Option<&[usize]>]) -> Result<Sizes, ShapeError> {
        let shape = |i: usize| shapes.get(i).copied().flatten();
        let needed = |i: usize| shape(i).ok_or_else(|| ShapeError::new(format!("input {i} is missing")));
        let (x, w, r) = (needed(0)?, needed(1)?, needed(2)?);
        let (&[first, second, input], &[_, _, hidden]) = (x, r) else {
            return Err(ShapeError::new(format!("X is {x:?} and R {r:?}, both should have three dimensions")));
        };
        let (steps, batch) = if self.batch_first { (second, first) } else { (first, second) };
        let (gates, directions) = (self.kind.gates(), self.directions());
        let rows = gates.checked_mul(hidden).filter(|rows| rows.checked_mul(2).is_some());
        let rows = rows.ok_or_else(|| ShapeError::new("its hidden size is too large"))?;
        let state = self.shape_of_state(batch, hidden);
        let expected: [(usize, &str, Vec<usize>); 7] = [
            (1, "W", vec![directions, rows, input]),
            (2, "R", vec![directions, rows, hidden]),
            (3, "B", vec![directions, 2 * rows]),
            (4, "sequence_lens", vec![batch]),
            (5, "initial_h", state.to_vec()),
            (6, "initial_c", state.to_vec()),
            (7, "P", vec![directions, 3 * hidden]),
        ];
        for (i, name, expected) in expected {
            let here = if i == 1 { Some(w) } else { shape(i) };
            if let Some(here) = here.filter(|here| *here != expected) {
                return Err(ShapeError::new(format!("{name} is {here:?}, it should be {expected:?}")));
            }
        }
        Ok(Sizes { steps, batch, input, hidden })
    }

    /// Runs one direction and writes its part of the outputs.
    fn run(&self, s: Sizes, weights: &Weights, direction: usize, lengths: &[usize], x: &[f64], out: &mut Outputs) {
        let reverse = self.is_reverse(direction);
        let mut cell = Cell::new(s.hidden, self.kind.gates());
        for (batch, &length) in lengths.iter().enumerate() {
            let state = self.row_of_state(s, batch, direction) * s.hidden;
            let state = state..state + s.hidden;
            cell.hidden.copy_from_slice(&out.hidden[state.clone()]);
            cell.memory.copy_from_slice(&out.memory[state.clone()]);
            for step in 0..length {
                let step = if reverse { length - 1 - step } else { step };
                let at = self.row(s, step, batch) * s.input;
                cell.step(self, weights, direction, &x[at..at + s.input]);
                let at = self.row_of_y(s, step, batch, direction) * s.hidden;
                out.y[at..at + s.hidden].copy_from_slice(&cell.hidden);
            }
            out.hidden[state.clone()].copy_from_slice(&cell.hidden);
            out.memory[state].copy_from_slice(&cell.memory);
        }
    }
}

/// What a run fills.
struct Outputs {
    y: Vec<f64>,
    hidden: Vec<f64>,
    memory: Vec<f64>,
}

impl Operator for Recurrent {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Rnn => "RNN",
            Kind::Gru => "GRU",
            Kind::Lstm => "LSTM",
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, r) = (Fact::at(inputs, 0)?, Fact::at(inputs, 2)?);
        if !matches!(x.element_type, ElementType::F32 | ElementType::F16 | ElementType::F64) {
            return Err(ShapeError::new(format!("X is floating point, not {}", x.element_type)));
        }
        let ([first, second, _], [_, _, hidden]) = (&x.shape[..], &r.shape[..]) else {
            return Err(ShapeError::new(format!("X is {x} and R {r}, both should have three dimensions")));
        };
        let hidden = match (hidden, self.hidden_size.and_then(|size| usize::try_from(size).ok())) {
            (Dim::Known(weights), Some(size)) if *weights != size as i64 => {
                return Err(ShapeError::new(format!("hidden_size is {size}, but R is {r}")));
            }
            (Dim::Known(_), _) | (_, None) => hidden.clone(),
            (_, Some(size)) => Dim::from(size),
        };
        let directions = Dim::from(self.directions());
        let (y, state) = if self.batch_first {
            (
                vec![first.clone(), second.clone(), directions.clone(), hidden.clone()],
                vec![first.clone(), directions, hidden],
            )
        } else {
            (
                vec![first.clone(), directions.clone(), second.clone(), hidden.clone()],
                vec![directions, second.clone(), hidden],
            )
        };
        let mut facts = vec![x.with_shape(y), x.with_shape(state.clone())];
        if self.kind == Kind::Lstm {
            facts.push(x.with_shape(state));
        }
        Ok(facts)
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let shapes: Vec<_> = (0..inputs.len()).map(|i| inputs.optional(i).map(Tensor::shape)).collect();
        let s = self.sizes(&shapes)?;
        let x = inputs.tensor(0)?;
        let element_type = x.element_type();
        let directions = self.directions();
        let (y_shape, state_shape) = (self.shape_of_y(s), self.shape_of_state(s.batch, s.hidden));
        // Bounded as tensors before anything of that size is made.
        let count = Tensor::bounded(ElementType::F64, &y_shape)?;
        let states = Tensor::bounded(ElementType::F64, &state_shape)?;
        let state = |i: usize| inputs.optional(i).map_or_else(|| vec![0.0; states], Tensor::to_f64);
        let lstm = self.kind == Kind::Lstm;
        let mut out =
            Outputs { y: vec![0.0; count], hidden: state(5), memory: if lstm { state(6) } else { vec![0.0; states] } };
        let lengths: Vec<usize> = match inputs.integers(4)? {
            None => vec![s.steps; s.batch],
            Some(lengths) => lengths
                .iter()
                .map(|&n| usize::try_from(n).ok().filter(|&n| n <= s.steps))
                .collect::<Option<_>>()
                .ok_or_else(|| ShapeError::new(format!("a sequence has no more than {} steps", s.steps)))?,
        };
        let weights = Weights::new(inputs, lstm)?;
        let x = x.to_f64();
        for direction in 0..directions {
            self.run(s, &weights, direction, &lengths, &x, &mut out);
        }
        let mut values = vec![
            Tensor::from_f64(element_type, y_shape, out.y)?.into(),
            Tensor::from_f64(element_type, state_shape, out.hidden)?.into(),
        ];
        if lstm {
            values.push(Tensor::from_f64(element_type, state_shape, out.memory)?.into());
        }
        Ok(values)
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shapes: Vec<_> = request.inputs.iter().map(|i| i.map(|i| i.fact.dims_known()).transpose()).collect();
        let shapes = shapes.into_iter().collect::<Result<Vec<Option<Vec<usize>>>, _>>()?;
        let shapes: Vec<_> = shapes.iter().map(Option::as_deref).collect();
        let sizes = self.sizes(&shapes).map_err(|e| e.to_string())?;
        let packed = packed::candidate(self, request, sizes);
        let any = kernel::candidate(self, request, sizes);
        if packed.is_none() { any.map(|any| vec![any]) } else { Ok(any.into_iter().chain(packed).collect()) }
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let shape = |i: usize| Fact::optional(inputs, i).and_then(Fact::concrete);
        let (Some(x), Some(w), Some(r)) = (shape(0), shape(1), shape(2)) else { return 0.0 };
        let product = |shape: &[usize]| shape.iter().map(|&d| d as f64).product::<f64>();
        2.0 * product(&x[..2.min(x.len())]) * (product(&w) + product(&r))
    }
}

#[cfg(test)]
mod tests;
