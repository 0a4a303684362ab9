//! Checking an operator's GPU candidates against its reference, each on the real adapter.

mod adapter;
mod bounds;
mod compare;
mod fuzz;
mod numbers;
mod properties;
mod random;
mod trap;

use std::cell::Cell;
use std::collections::BTreeSet;

pub use adapter::Adapter;
pub use compare::Tolerance;
pub use numbers::weights;
use random::Random;

use crate::graph::{Context, Fact, Inputs, Operand, Operator, Request, Value};
use crate::kernel::{Candidate, DeviceClass, DeviceFacts, Layout, Storage};
use crate::tensor::{ElementType, Tensor};

/// An input of a checked operator.
#[derive(Debug, Clone)]
pub enum Input {
    /// Given at run time.
    Run(Tensor),
    /// Known when the plan is made.
    Constant(Tensor),
    /// Left out.
    Missing,
}

impl Input {
    const fn tensor(&self) -> Option<&Tensor> {
        match self {
            Self::Run(tensor) | Self::Constant(tensor) => Some(tensor),
            Self::Missing => None,
        }
    }

    /// The input with a function applied to its elements, if they are f32.
    fn map(&self, f: impl Fn(f32) -> f32) -> Self {
        let map = |t: &Tensor| {
            let mapped = floats(t).iter().map(|&v| f(v)).collect();
            if t.element_type() == ElementType::F32 {
                Tensor::new(t.shape(), mapped).unwrap_or_else(|_| t.clone())
            } else {
                t.clone()
            }
        };
        match self {
            Self::Run(t) => Self::Run(map(t)),
            Self::Constant(t) => Self::Constant(map(t)),
            Self::Missing => Self::Missing,
        }
    }
}

/// The devices that candidates are asked for: the adapter itself, and others that it can play.
pub fn devices(adapter: &Adapter) -> Vec<DeviceFacts> {
    let floor = DeviceFacts::floor;
    vec![
        adapter.facts.clone(),
        floor(DeviceClass::Mali),
        DeviceFacts { max_invocations: 256, max_storage_buffers: 8, ..floor(DeviceClass::Nvidia) },
        floor(DeviceClass::Gl),
    ]
}

/// Runs every candidate of an operator on the adapter and compares its outputs with the reference.
///
/// Inputs are offered in every layout; their padding is filled with NaN; outputs start as NaN. Candidates are run in f32,
/// in f16, and with some values in one and some in the other (the reference takes the inputs as they are stored, and the
/// tolerance is widened to f16's), and in place where they allow it. `RIMLIGHT_BOUNDS_TESTS=1` has them run with wild contents, too,
/// and see that they stay inside their buffers. `RIMLIGHT_BRIEF_TESTS=1` has each check of a test take
/// one of the three, in turn: a third of the kernels to compile. Returns how many runs were made, 0 if there is no adapter.
///
/// # Panics
/// With the candidate and the element that differ most.
pub fn check(operator: &dyn Operator, inputs: &[Input], tolerance: Tolerance) -> usize {
    match try_check(operator, inputs, tolerance) {
        Ok(runs) => runs,
        Err(message) => panic!("{message}"),
    }
}

/// [`check`], with the difference as an error (for property tests, which shrink).
pub fn try_check(operator: &dyn Operator, inputs: &[Input], tolerance: Tolerance) -> Result<usize, String> {
    try_check_by_precision(operator, inputs, tolerance, tolerance.half())
}

/// [`try_check`] with a tolerance for f32 and one for f16 storage, taken as it is: for operators that amplify the rounding
/// of what they store in between.
pub fn try_check_by_precision(
    operator: &dyn Operator,
    inputs: &[Input],
    single: Tolerance,
    in_half: Tolerance,
) -> Result<usize, String> {
    let Some(adapter) = Adapter::shared() else { return Ok(0) };
    let mut runs = 0;
    let float = inputs.iter().filter_map(Input::tensor).any(|t| t.element_type() == ElementType::F32);
    let all = [Stored::Single, Stored::Half, Stored::mixed(inputs)];
    let stored = if !float {
        vec![Stored::Single]
    } else if is_brief() {
        let turn = TURN.replace(TURN.get() + 1);
        vec![[all[0], all[1], all[0], all[2]][turn % 4]]
    } else {
        all.to_vec()
    };
    for stored in stored {
        let rounded = |(i, input): (usize, &Input)| match stored.input(i) {
            true => input.map(|v| half::f16::from_f32(v).to_f32()),
            false => input.clone(),
        };
        let inputs: Vec<Input> = inputs.iter().enumerate().map(rounded).collect();
        let tolerance = if stored == Stored::Single { single } else { in_half };
        runs += check_stored(adapter, operator, &inputs, tolerance, stored)?;
    }
    Ok(runs)
}

/// Whether tests are to take less time, and leave parts of them to those that are not brief: `RIMLIGHT_BRIEF_TESTS=1`.
pub fn is_brief() -> bool {
    std::env::var_os("RIMLIGHT_BRIEF_TESTS").is_some()
}

thread_local! {
    /// Checks that a test has made: it has a thread of its own.
    static TURN: Cell<usize> = const { Cell::new(0) };
}

/// What 32-bit floats are stored as.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stored {
    Single,
    Half,
    /// Every other input in 16 bits, beginning with the first or the second, and perhaps the outputs.
    Mixed(usize, bool),
}

impl Stored {
    /// All four kinds come up among tensors of different sizes.
    fn mixed(inputs: &[Input]) -> Self {
        let elements: usize = inputs.iter().filter_map(Input::tensor).map(Tensor::len).sum();
        Self::Mixed(elements % 2, elements / 2 % 2 == 1)
    }

    /// Whether an input is in 16 bits.
    const fn input(self, index: usize) -> bool {
        match self {
            Self::Single => false,
            Self::Half => true,
            Self::Mixed(first, _) => index % 2 == first,
        }
    }

    /// Whether the outputs are.
    const fn outputs(self) -> bool {
        matches!(self, Self::Half | Self::Mixed(_, true))
    }
}

fn check_stored(
    adapter: &Adapter,
    operator: &dyn Operator,
    inputs: &[Input],
    tolerance: Tolerance,
    stored: Stored,
) -> Result<usize, String> {
    let facts: Vec<Option<Fact>> = inputs
        .iter()
        .map(|input| match input {
            Input::Run(t) => Some(Fact::new(t.element_type(), t.shape().to_vec())),
            Input::Constant(t) => Some(Fact::constant(t.clone())),
            Input::Missing => None,
        })
        .collect();
    let references: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    let outputs = operator.infer(&references).map_err(|e| format!("{operator:?}: {e}"))?;
    let expected = evaluate(operator, inputs)?;
    let flushed = if inputs.iter().filter_map(Input::tensor).any(|t| floats(t).iter().any(|v| v.is_subnormal())) {
        evaluate(
            operator,
            &inputs.iter().map(|i| i.map(|v| if v.is_subnormal() { v * 0.0 } else { v })).collect::<Vec<_>>(),
        )?
    } else {
        expected.clone()
    };
    for (fact, tensor) in outputs.iter().zip(&expected) {
        if fact.element_type != tensor.element_type()
            || fact.shape.len() != tensor.rank()
            || fact.shape.iter().zip(tensor.shape()).any(|(d, n)| d.size().is_some_and(|d| d != *n))
        {
            return Err(format!("{operator:?}: inferred {fact}, but the reference gave {tensor:?}"));
        }
    }
    let concrete: Vec<Fact> = expected.iter().map(|t| Fact::new(t.element_type(), t.shape().to_vec())).collect();
    let storages: Vec<Option<Storage>> =
        concrete.iter().map(|f| Storage::of(f.element_type, stored.outputs())).collect();
    let input_storage = |(i, fact): (usize, &Option<Fact>)| Storage::of(fact.as_ref()?.element_type, stored.input(i));
    let input_storages: Vec<Option<Storage>> = facts.iter().enumerate().map(input_storage).collect();

    let inputs_as_stored: Vec<_> = facts.iter().map(Option::as_ref).zip(input_storages.iter().copied()).collect();
    let candidates = candidates(operator, &devices(adapter), &inputs_as_stored, (&concrete, &storages))
        .map_err(|reasons| format!("{operator:?} has no candidate: {reasons:?}"))?;
    let mut runs = 0;
    for candidate in &candidates {
        // The planner writes over an input only what is stored alike.
        let over = candidate.in_place.iter().copied().filter(|&i| input_storages[i] == storages[0]);
        for in_place in std::iter::once(None).chain(over.map(Some)) {
            let describe = |message: String| {
                let shapes: Vec<_> = inputs.iter().map(|i| i.tensor().map(|t| t.shape().to_vec())).collect();
                format!(
                    "{operator:?} by '{}' {:?} -> {:?} (in place: {in_place:?}, {stored:?}, inputs {shapes:?}): {message}",
                    candidate.name, candidate.inputs, candidate.outputs
                )
            };
            let got = adapter.run(candidate, inputs, &expected, (&input_storages, &storages), in_place);
            let got = got.map_err(describe)?;
            for ((got, expected), flushed) in got.iter().zip(&expected).zip(&flushed) {
                tolerance.compare(got, expected, Some(flushed)).map_err(describe)?;
            }
            runs += 1;
        }
    }
    if std::env::var_os("RIMLIGHT_BOUNDS_TESTS").is_some() {
        runs += bounds::stays_inside(adapter, operator, inputs, &expected, stored)?;
    }
    Ok(runs)
}

/// What an operator offers to these devices for inputs, as they are stored, in any layout; or why it offers nothing.
fn candidates<'a>(
    operator: &dyn Operator,
    devices: &[DeviceFacts],
    inputs: &[(Option<&'a Fact>, Option<Storage>)],
    (outputs, output_storages): (&[Fact], &[Option<Storage>]),
) -> Result<Vec<Candidate>, BTreeSet<String>> {
    let mut candidates: Vec<Candidate> = vec![];
    let mut reasons = BTreeSet::new();
    for device in devices {
        for layout in [Layout::Linear, Layout::Rows, Layout::Channels4] {
            let operand = |&(fact, storage): &(Option<&'a Fact>, Option<Storage>)| {
                let fact = fact?;
                Some(Operand { fact, layout: layout.canonical(&fact.concrete().unwrap_or_default()), storage })
            };
            let operands: Vec<Option<Operand<'a>>> = inputs.iter().map(operand).collect();
            let request = Request { inputs: &operands, outputs, output_storages, device, open: true };
            match operator.candidates(&request) {
                Ok(offered) => {
                    for candidate in offered {
                        if !candidates.contains(&candidate) {
                            candidates.push(candidate);
                        }
                    }
                }
                Err(reason) => {
                    reasons.insert(reason);
                }
            }
        }
    }
    if candidates.is_empty() { Err(reasons) } else { Ok(candidates) }
}

/// What the reference gives.
fn evaluate(operator: &dyn Operator, inputs: &[Input]) -> Result<Vec<Tensor>, String> {
    let values: Vec<Option<Value>> = inputs.iter().map(|i| i.tensor().cloned().map(Value::Tensor)).collect();
    let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
    let results = operator.compute(&mut Context::default(), Inputs(&values));
    let results = results.map_err(|e| format!("{operator:?}: {e}"))?;
    let tensors = results.into_iter().map(Value::into_tensor).collect::<Option<_>>();
    tensors.ok_or_else(|| format!("{operator:?} gave something else than tensors"))
}

/// The elements of a tensor of f32; none of another.
fn floats(tensor: &Tensor) -> &[f32] {
    tensor.as_slice::<f32>().unwrap_or_default()
}
