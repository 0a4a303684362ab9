//! How a broadcasting kernel reads its operands in each layout.

use std::sync::LazyLock;

use super::program::Program;
use super::{Expression, Walk};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, Constant, Dispatch, Kernel, Layout, Packing, Storage, Want};
use crate::tensor::Tensor;
use crate::tensor::shape::{broadcast_strides, strides};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// What is bound where the kernel that serves all programs has no operand.
static NOTHING: LazyLock<Tensor> = LazyLock::new(|| Tensor::scalar(0.0f32));

/// Ranks that the kernel is compiled for, so that there are few pipelines.
const RANKS: [usize; 5] = [1, 2, 3, 4, 8];

/// The same for programs.
const PROGRAM_RANKS: [usize; 3] = [2, 4, 8];

/// The same for the kernel that serves all programs.
const GENERAL_RANKS: [usize; 2] = [4, 8];

/// The forms of a walk that kernels are compiled for beside whole units (1) and single elements (0), see
/// `shaders/elementwise/operands.wgsl`.
const FLAT: i64 = 2;
const ANY_FORM: i64 = 3;

const DIMS: [&str; 7] = ["d0", "d1", "d2", "d3", "d4", "d5", "d6"];
const STRIDES: [[&str; 7]; 3] = [
    ["s0_0", "s0_1", "s0_2", "s0_3", "s0_4", "s0_5", "s0_6"],
    ["s1_0", "s1_1", "s1_2", "s1_3", "s1_4", "s1_5", "s1_6"],
    ["s2_0", "s2_1", "s2_2", "s2_3", "s2_4", "s2_5", "s2_6"],
];
const STEPS: [&str; 3] = ["s0_step", "s1_step", "s2_step"];
const OUTER: [&str; 3] = ["s0_outer", "s1_outer", "s2_outer"];

/// An operand of a broadcasting kernel.
#[derive(Debug, Clone)]
pub struct Operand {
    /// Where it comes from: a node's input, or an output that an earlier dispatch wrote.
    pub binding: Binding,
    /// What its elements are stored as.
    pub storage: Storage,
    /// The shape with which it lies in memory.
    pub shape: Vec<usize>,
    /// The shape with which it broadcasts: the same, or with ones at its end (`axis` before operator set 7).
    pub aligned: Vec<usize>,
}

impl Operand {
    /// Input `index` of the node, with which a kernel computes as `f32` or `i32`. So it does with 64-bit integers that are
    /// constant and fit.
    pub fn input(request: &Request<'_>, index: usize) -> Result<Self, String> {
        let constant = request.input(index)?.fact.integers();
        let storage = match constant.is_some_and(|v| v.iter().all(|&n| i32::try_from(n).is_ok())) {
            true => request.index_storage(index).or_else(|_| request.storage(index)),
            false => request.storage(index),
        };
        Self::stored(request, index, storage?)
    }

    /// Input `index` of the node as it is stored: the kernel knows its type.
    pub fn any(request: &Request<'_>, index: usize) -> Result<Self, String> {
        Self::stored(request, index, request.any_storage(index)?)
    }

    fn stored(request: &Request<'_>, index: usize, storage: Storage) -> Result<Self, String> {
        let shape = request.shape(index)?;
        let aligned = shape.clone();
        Ok(Self { binding: Binding::Input(index), storage, shape, aligned })
    }

    /// A tensor made when the plan is made, kept in f32 whatever activations are stored as.
    pub fn constant(source: Tensor, aligned: Vec<usize>) -> Self {
        let shape = source.shape().to_vec();
        let units = source.len().div_ceil(4) as u64;
        let constant = Constant { source, packing: LINEAR, parameters: vec![], storage: Storage::F32, units };
        Self { binding: Binding::Constant(Box::new(constant)), storage: Storage::F32, shape, aligned }
    }

    /// The number that it is, if it is a single one and known.
    fn number(&self, request: &Request<'_>) -> Option<f32> {
        match &self.binding {
            Binding::Input(i) => request.input(*i).ok()?.fact.number(),
            Binding::Constant(constant) if constant.source.len() == 1 => {
                constant.source.as_slice::<f32>().ok()?.first().copied()
            }
            _ => None,
        }
    }

    /// How the operand lies if the result of shape `to` lies in `layout`: the operand's own layout, and its strides over
    /// the result's physical dims. `None` where they do not go together.
    fn lie(&self, to: &[usize], layout: Layout) -> Option<(Layout, Vec<usize>)> {
        let padded = |shape: &[usize]| [vec![1; to.len() - shape.len()], shape.to_vec()].concat();
        let aligned = padded(&self.aligned);
        if layout == Layout::Linear {
            return Some((layout, broadcast_strides(&aligned, to)));
        }
        // What is packed here lies in order, whatever the layout.
        let packed = matches!(self.binding, Binding::Constant(_));
        if self.shape == to && !packed {
            return Some((layout, strides(&layout.physical_shape(to))));
        }
        let linear = strides(&aligned);
        let repeated = |strides: Vec<usize>, dims: &[usize]| -> Vec<usize> {
            strides.into_iter().zip(dims).map(|(s, &d)| if d == 1 { 0 } else { s }).collect()
        };
        match layout {
            Layout::Rows => {
                if aligned.last() == Some(&1) {
                    return Some((Layout::Linear, repeated(linear, &aligned)));
                }
                let own = Layout::Rows.physical_shape(&self.shape);
                (self.shape == self.aligned && !packed)
                    .then(|| (Layout::Rows, repeated(strides(&padded(&own)), &aligned)))
            }
            Layout::Channels4 => {
                let [n, c, spatial @ ..] = aligned.as_slice() else { return None };
                let place = |group: usize, lane: usize| {
                    let mut all = repeated(linear.clone(), &aligned);
                    all[1] = group;
                    all.push(lane);
                    all
                };
                if *c == 1 {
                    return Some((Layout::Linear, place(0, 0)));
                }
                if *n == 1 && spatial.iter().all(|&d| d == 1) {
                    return Some((Layout::Linear, place(4, 1)));
                }
                let physical = Layout::Channels4.physical_shape(&aligned);
                (self.shape.len() == to.len() && self.shape == self.aligned && !packed).then(|| {
                    (
                        Layout::Channels4,
                        [repeated(strides(&physical)[..to.len()].to_vec(), &physical), vec![1]].concat(),
                    )
                })
            }
            Layout::Linear => None,
        }
    }
}

/// Elements as they are, padded to a unit.
const LINEAR: Packing = Packing {
    name: "linear",
    pack: |tensor, _| crate::kernel::pack(tensor, Layout::Linear).unwrap_or_else(|_| tensor.clone()),
};

/// The candidates for `EXPRESSION(operands)` written to output 0: one for each layout that an input lies in, and linear.
pub fn candidates(request: &Request<'_>, operands: &[Operand], expression: impl Into<Expression>) -> Candidates {
    all(request, operands, &Formula::Text(expression.into()))
}

/// The candidates for a program of floating-point operands, written to output 0. Operands that are single numbers and
/// known become numbers of the program.
pub fn arithmetic(request: &Request<'_>, mut operands: Vec<Operand>, mut program: Program) -> Candidates {
    if !operands.iter().all(|operand| operand.storage.is_float()) || !request.output_storage(0)?.is_float() {
        return Err("it computes with floating-point numbers".to_owned());
    }
    // The value that a program begins with is one in memory.
    if operands.len() > 1
        && operands[0].number(request).is_some()
        && let Some(exchanged) = program.exchanged()
    {
        operands.swap(0, 1);
        program = exchanged;
    }
    for i in (1..operands.len()).rev() {
        if let Some(number) = operands[i].number(request) {
            operands.remove(i);
            program = program.with_number(i, number);
        }
    }
    all(request, &operands, &Formula::Program(program, u8::MAX))
}

/// What is computed.
#[derive(Debug, Clone)]
enum Formula {
    Text(Expression),
    /// The same by the kernel for all walks.
    AnyWalk(Expression),
    /// A program, and how special its kernel is at most.
    Program(Program, u8),
    /// A program run by the kernel for all of them.
    General(Program),
}

impl Formula {
    /// Whether the result may be written over this operand: a program's over the first, or one that can come first, so that
    /// there are few pipelines.
    fn may_overwrite(&self, operand: usize) -> bool {
        matches!(self, Self::Text(_) | Self::AnyWalk(_)) || operand == 0 || (operand == 1 && self.exchanged().is_some())
    }

    /// The same with the first two operands exchanged, where it says how.
    fn exchanged(&self) -> Option<Self> {
        match self {
            Self::Text(_) | Self::AnyWalk(_) => None,
            Self::Program(program, most) => program.exchanged().map(|program| Self::Program(program, *most)),
            Self::General(program) => program.exchanged().map(Self::General),
        }
    }
}

fn all(request: &Request<'_>, operands: &[Operand], formula: &Formula) -> Candidates {
    let to = request.output_shape(0)?;
    let mut layouts = vec![];
    for layout in request.inputs.iter().flatten().map(|i| i.layout).chain([Layout::Linear]) {
        let layout = layout.canonical(&to);
        if !layouts.contains(&layout) {
            layouts.push(layout);
        }
    }
    let mut all = vec![];
    for &layout in &layouts {
        all.extend(candidate(request, operands, formula, &to, layout)?);
    }
    if let (Formula::Text(expression), true) = (formula, request.open) {
        let formula = Formula::AnyWalk(expression.clone());
        for &layout in &layouts {
            all.extend(candidate(request, operands, &formula, &to, layout)?);
        }
    }
    // By kernels that are less special, which may save pipelines, down to one for any walk of any arithmetic.
    if let Formula::Program(program, _) = formula {
        let units = crate::tensor::shape::elements(&to).unwrap_or(usize::MAX).div_ceil(4);
        let less =
            (0..program.speciality(units)).map(|most| (operands.to_vec(), Formula::Program(program.clone(), most)));
        for (operands, formula) in less.chain([general(operands, program)]) {
            for &layout in &layouts {
                all.extend(candidate(request, &operands, &formula, &to, layout)?);
            }
        }
    }
    Ok(all)
}

/// A program for the kernel that serves all: it reads three operands.
fn general(operands: &[Operand], program: &Program) -> (Vec<Operand>, Formula) {
    let mut operands = operands.to_vec();
    operands.resize_with(3, || Operand::constant(NOTHING.clone(), vec![]));
    (operands, Formula::General(program.clone()))
}

fn candidate(
    request: &Request<'_>,
    operands: &[Operand],
    formula: &Formula,
    to: &[usize],
    layout: Layout,
) -> Result<Option<Candidate>, String> {
    let Some(lies) = operands.iter().map(|o| o.lie(to, layout)).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let written = request.any_output_storage(0)?;
    let mut wants = vec![Want::Nothing; request.inputs.len()];
    for (operand, (layout, _)) in operands.iter().zip(&lies) {
        if let Binding::Input(i) = operand.binding {
            // The same input in two roles must be wanted in one layout.
            if wants[i] != Want::Nothing && wants[i] != Want::In(*layout) {
                return Ok(None);
            }
            wants[i] = Want::In(*layout);
        }
    }
    let physical = layout.physical_shape(to);
    let dense = strides(&physical);
    let walked: Vec<_> = lies.into_iter().map(|(_, s)| s).collect();
    let mut candidate = Candidate::new("broadcast", wants, vec![layout]);
    for (at, (operand, own)) in operands.iter().zip(&walked).enumerate() {
        let repeats = physical.iter().zip(own).zip(&dense).any(|((&d, own), dense)| d != 1 && own != dense);
        if let Binding::Input(i) = operand.binding
            && !repeats
            && operand.storage == written
            && operands.iter().filter(|o| o.binding == operand.binding).count() == 1
            && formula.may_overwrite(at)
        {
            candidate = candidate.in_place(i);
        }
    }
    let elements = crate::tensor::shape::elements(&physical)
        .filter(|&n| u32::try_from(n).is_ok_and(|n| n < u32::MAX - 4))
        .ok_or("it has more elements than a shader can count")?;
    if elements > 0 {
        let walk = Walk::joined(&physical, &walked);
        // What is written over the second operand reads that first: so there are fewer pipelines.
        if let (Some(exchanged), [a, b, rest @ ..]) = (formula.exchanged(), operands)
            && candidate.in_place.iter().any(|&i| b.binding == Binding::Input(i))
        {
            let operands = [&[b.clone(), a.clone()], rest].concat();
            let mut walk = walk.clone();
            walk.strides.swap(0, 1);
            let dispatch = dispatch(request, &operands, &exchanged, &walk, elements, written)?;
            if let Binding::Input(i) = b.binding {
                candidate.instead.push((i, dispatch));
            }
        }
        candidate = candidate.dispatch(dispatch(request, operands, formula, &walk, elements, written)?);
    }
    let units = elements.div_ceil(4) as f64;
    let bytes: f64 = operands.iter().map(|o| o.storage.unit_bytes() as f64).sum::<f64>() + written.unit_bytes() as f64;
    // Measured on lavapipe: choosing a step costs a fifth, a loop half as much again, and the kernel for all walks four times.
    let slowness = match formula {
        Formula::Text(_) => 1.0,
        Formula::General(_) | Formula::AnyWalk(_) => 4.0,
        Formula::Program(program, most) => match program.speciality(elements.div_ceil(4)).saturating_sub(*most) {
            0 => 1.0,
            _ if *most == 1 => 1.2,
            _ => 1.8,
        },
    };
    Ok(Some(candidate.cost(units * 4.0 * slowness, units * bytes * slowness)))
}

fn dispatch(
    request: &Request<'_>,
    operands: &[Operand],
    formula: &Formula,
    walk: &Walk,
    elements: usize,
    written: Storage,
) -> Result<Dispatch, String> {
    let units = elements.div_ceil(4);
    let flat = walk.dims.len() == 1 && (walk.dims[0] == 1 || walk.strides.iter().all(|s| s[0] == 1));
    // Units are read whole where none crosses the end of the innermost dim and each operand's units begin at whole units.
    let whole = walk.dims[0].is_multiple_of(4)
        && walk.strides.iter().all(|s| s[0] == 0 || (s[0] == 1 && s[1..].iter().all(|s| s.is_multiple_of(4))));
    let ranks = match formula {
        Formula::Text(_) => &RANKS[..],
        Formula::Program(..) => &PROGRAM_RANKS[..],
        Formula::General(_) | Formula::AnyWalk(_) => &GENERAL_RANKS[..],
    };
    let rank =
        ranks.iter().copied().find(|&r| r >= walk.dims.len()).ok_or_else(|| {
            format!("it has {} dimensions that cannot be joined; the kernel takes 8", walk.dims.len())
        })?;
    let form = match (formula, flat) {
        (Formula::General(_) | Formula::AnyWalk(_), _) => ANY_FORM,
        (_, true) => FLAT,
        (_, false) => i64::from(whole),
    };
    let kernel = |shader: &'static str| {
        let kernel = Kernel::of(shader).define("WORKGROUP", WORKGROUP).define("OPERANDS", operands.len() as i64);
        let kernel = kernel.define("FORM", form);
        if form == FLAT { kernel } else { kernel.define("DIVIDED", rank as i64 - 1) }
    };
    let mut dispatch = match formula {
        Formula::Text(expression) => {
            Dispatch::of(expression.specialize(kernel("elementwise/broadcast.wgsl"))).param("units", units)
        }
        Formula::AnyWalk(expression) => Dispatch::of(expression.specialize(kernel("elementwise/broadcast.wgsl")))
            .param("units", units)
            .param("whole", u32::from(flat || whole)),
        Formula::Program(program, most) => {
            let speciality = program.speciality(units).min(*most);
            let kernel = program.specialize(kernel("elementwise/arithmetic.wgsl"), speciality);
            program.parameters(Dispatch::of(kernel).param("units", units))
        }
        Formula::General(program) => {
            let dispatch = Dispatch::of(kernel("elementwise/arithmetic.wgsl")).param("units", units);
            program.parameters(dispatch).param("whole", u32::from(flat || whole))
        }
    };
    for operand in operands {
        dispatch = dispatch.bind(operand.binding.clone(), operand.storage);
    }
    dispatch = dispatch.bind(Binding::Output(0), written);
    if form != FLAT {
        dispatch = walked(dispatch.param("elements", elements), walk, rank);
    }
    Ok(dispatch.linear(units as u64, WORKGROUP, request.device))
}

/// Sets the parameters of a walk over so many dimensions.
fn walked(mut dispatch: Dispatch, walk: &Walk, rank: usize) -> Dispatch {
    let dim = |i: usize| walk.dims.get(i).copied().unwrap_or(1);
    for (i, name) in DIMS.into_iter().enumerate().take(rank - 1) {
        dispatch = dispatch.param(name, dim(i));
    }
    for (k, strides) in walk.strides.iter().enumerate() {
        let stride = |i: usize| strides.get(i).copied().unwrap_or(0);
        dispatch = dispatch.param(STEPS[k], stride(0));
        for (i, name) in STRIDES[k].into_iter().enumerate().take(rank - 1) {
            dispatch = dispatch.param(name, stride(i));
        }
        dispatch = dispatch.param(OUTER[k], stride(rank - 1));
    }
    dispatch
}
