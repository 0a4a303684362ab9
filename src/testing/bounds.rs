//! Kernels stay inside their buffers whatever the inputs hold: with traps nothing tells of an index outside, and without any
//! checks what lies beside the buffers stays as it is, and the outputs are those of the checked kernels, bit by bit.

use super::adapter::{Adapter, Build};
use super::{Input, Stored, Tensor, devices};
use crate::graph::{Fact, Operator};
use crate::kernel::Storage;
use crate::tensor::{Element, ElementType};

/// Integers that no index should be, and some that may be.
const INTEGERS: [i64; 12] =
    [i32::MAX as i64, -1, i32::MIN as i64, 7, -7, 65_536, 1 << 30, -65_537, 255, 3, i32::MIN as i64 + 1, 0];

/// Numbers that no coordinate should be, and some that may be. Their products and sums are finite.
const FLOATS: [f32; 12] = [-1.0, 900.0, 0.4, -900.0, 3.5, -2.5, 77.0, -0.0, 1e-3, 500.0, -33.0, 2.0];

/// Numbers that are none, and such as no integer holds. What becomes of them differs from one compiler to the next.
const BEYOND: [f32; 12] =
    [f32::NAN, 1e30, -1e30, f32::INFINITY, 0.4, f32::NEG_INFINITY, 3e9, -3e9, 1e-40, -2.5, 65_504.0, 1e7];

fn filled<T: Element>(tensor: &Tensor, of: impl Fn(usize) -> T) -> Tensor {
    Tensor::new(tensor.shape(), (0..tensor.len()).map(of).collect()).unwrap_or_else(|_| tensor.clone())
}

/// The inputs of a run with wild contents, the integers only or the floats too.
fn wild(inputs: &[Input], floats: Option<&[f32; 12]>) -> Vec<Input> {
    let integer = |i: usize| INTEGERS[i * 5 % INTEGERS.len()];
    let wild = |tensor: &Tensor| match tensor.element_type() {
        ElementType::I64 => filled(tensor, integer),
        ElementType::I32 => filled(tensor, |i| integer(i) as i32),
        ElementType::U32 => filled(tensor, |i| integer(i) as u32),
        ElementType::I8 => filled(tensor, |i| integer(i) as i8),
        ElementType::U8 => filled(tensor, |i| integer(i) as u8),
        ElementType::F32 => floats.map_or_else(|| tensor.clone(), |floats| filled(tensor, |i| floats[i * 7 % 12])),
        _ => tensor.clone(),
    };
    let one = |input: &Input| if let Input::Run(tensor) = input { Input::Run(wild(tensor)) } else { input.clone() };
    inputs.iter().map(one).collect()
}

/// Runs every candidate of an operator with these inputs and with wild ones in their place, of the same types and shapes.
///
/// # Errors
/// With the kernel and the line that indexes outside, or what else is not as it should be.
pub(super) fn stays_inside(
    adapter: &Adapter,
    operator: &dyn Operator,
    inputs: &[Input],
    expected: &[Tensor],
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
    let outputs: Vec<Fact> = expected.iter().map(|t| Fact::new(t.element_type(), t.shape().to_vec())).collect();
    let storages: Vec<Option<Storage>> =
        outputs.iter().map(|f| Storage::of(f.element_type, stored.outputs())).collect();
    let input_storage = |(i, fact): (usize, &Option<Fact>)| Storage::of(fact.as_ref()?.element_type, stored.input(i));
    let input_storages: Vec<Option<Storage>> = facts.iter().enumerate().map(input_storage).collect();
    let as_stored: Vec<_> = facts.iter().map(Option::as_ref).zip(input_storages.iter().copied()).collect();
    let candidates = super::candidates(operator, &devices(adapter), &as_stored, (&outputs, &storages))
        .map_err(|reasons| format!("{operator:?} has no candidate: {reasons:?}"))?;
    let mut runs = 0;
    for candidate in candidates.iter().filter(|candidate| candidate.view_of.is_none()) {
        let wilder = [None, Some(&FLOATS), Some(&BEYOND)].map(|floats| wild(inputs, floats));
        let variants = [&[inputs.to_vec()][..], &wilder].concat();
        for (variant, inputs) in variants.iter().enumerate() {
            if variants[..variant].iter().any(|other| same(other, inputs)) {
                continue;
            }
            let describe = |message: String| {
                let shapes: Vec<_> = inputs.iter().map(|i| i.tensor().map(|t| t.shape().to_vec())).collect();
                format!("{operator:?} by '{}' ({stored:?}, inputs {variant} of {shapes:?}): {message}", candidate.name)
            };
            let run = |build| adapter.run_built(build, candidate, inputs, expected, (&input_storages, &storages), None);
            let bits = |tensors: &[Tensor]| tensors.iter().map(|t| t.bytes().to_vec()).collect::<Vec<_>>();
            run(Build::Trapped).map_err(describe)?;
            let checked = bits(&run(Build::Checked).map_err(describe)?);
            let unchecked = bits(&run(Build::Unchecked).map_err(describe)?);
            // Sums that several invocations add to one place have no order.
            let is_beyond = variant + 1 == variants.len();
            if checked != unchecked && !is_beyond && checked == bits(&run(Build::Checked).map_err(describe)?) {
                return Err(describe("without checks the outputs are others".to_owned()));
            }
            runs += 1;
        }
    }
    Ok(runs)
}

fn same(a: &[Input], b: &[Input]) -> bool {
    let bytes = |input: &Input| input.tensor().map(|tensor| tensor.bytes().to_vec());
    a.iter().map(bytes).eq(b.iter().map(bytes))
}
