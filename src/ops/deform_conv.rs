//! DeformConv (ONNX opsets 19 and 22): a convolution whose kernel's elements are moved about.
//!
//! `y[n, o, p] = bias[o] + Σ_{i, k} w[o, i, k] · m[n, k, p] · x[n, g·I + i, p·stride − pad + k·dilation + d[n, k, p]]`, x read
//! linearly between its elements, with zeros around it. Groups of channels share the moves d and the masks m.

use std::sync::Arc;

use super::conv::{axis_params, groups};
use super::window::{Axis, Window, three};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::{Tensor, shape};

/// A convolution with moved elements.
///
/// Inputs: x `[N, C, spatial…]`, weights `[O, C / groups, kernel…]`, moves `[N, offset groups · kernel · axes, out…]`,
/// bias `[O]` (optional), masks `[N, offset groups · kernel, out…]` (optional).
#[derive(Debug, Clone, PartialEq)]
pub struct DeformConv {
    window: Window,
    groups: usize,
    /// Groups of channels that are moved alike.
    offset_groups: usize,
}

/// Makes a DeformConv.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let n = definition.int("offset_group")?.unwrap_or(1);
    let offset_groups = usize::try_from(n).ok().filter(|n| (1..=1 << 24).contains(n));
    let offset_groups = offset_groups.ok_or_else(|| DefinitionError::Value("offset_group", format!("is {n}")))?;
    Ok(Arc::new(DeformConv {
        window: Window::from_definition(definition)?,
        groups: groups(definition)?,
        offset_groups,
    }))
}

/// The sizes of one that runs.
struct Problem {
    axes: [Axis; 3],
    /// How many of them there are.
    rank: usize,
    images: usize,
    channels: usize,
    outputs: usize,
    /// Elements of the kernel, of a channel of x, of a channel of y.
    taps: usize,
    volume: usize,
    positions: usize,
}

impl DeformConv {
    fn problem(&self, x: &[usize], w: &[usize]) -> Result<Problem, ShapeError> {
        let axes = self.window.axes(&x[2..], &w[2..])?;
        let product = |size: fn(&Axis) -> usize| axes.iter().try_fold(1usize, |n, axis| n.checked_mul(size(axis)));
        let too_large = || ShapeError::new("its sizes overflow");
        Ok(Problem {
            taps: product(|a| a.kernel).ok_or_else(too_large)?,
            volume: product(|a| a.input).ok_or_else(too_large)?,
            positions: product(|a| a.output).ok_or_else(too_large)?,
            rank: axes.len(),
            axes: three(&axes).ok_or_else(|| ShapeError::new("it has more than three spatial axes"))?,
            images: x[0],
            channels: x[1],
            outputs: w[0],
        })
    }
}

impl Operator for DeformConv {
    fn name(&self) -> &str {
        "DeformConv"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, w, moves) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?, Fact::at(inputs, 2)?);
        let given: Vec<&Fact> = inputs.iter().flatten().copied().collect();
        if given.iter().any(|f| !f.element_type.is_float() || f.element_type != x.element_type) {
            return Err(ShapeError::new("its inputs are not of one floating-point type"));
        }
        if !(3..=5).contains(&x.rank()) || w.rank() != x.rank() || moves.rank() != x.rank() {
            return Err(ShapeError::new(format!(
                "x is {x}, the weights {w}, the moves {moves}; all need 1 to 3 spatial axes"
            )));
        }
        let rank = x.rank() - 2;
        self.window.check_rank(rank)?;
        let agree = |a: &Dim, b: &Dim| a.known().zip(b.known()).is_none_or(|(a, b)| a == b);
        let channels_fit = agree(&x.shape[1], &w.shape[1].mul(&Dim::from(self.groups)))
            && x.shape[1].size().is_none_or(|c| c % self.offset_groups == 0)
            && w.shape[0].size().is_none_or(|o| o % self.groups == 0);
        let kernel_fits = self.window.kernel.iter().zip(&w.shape[2..]).all(|(&k, d)| agree(&Dim::from(k), d));
        if !channels_fit || !kernel_fits || w.shape[2..].iter().any(|d| d.known() == Some(0)) {
            return Err(ShapeError::new(format!(
                "x is {x} and the weights {w}, in {} groups and {} groups of moves",
                self.groups, self.offset_groups
            )));
        }
        let mut y = vec![x.shape[0].clone(), w.shape[0].clone()];
        for i in 0..rank {
            y.push(self.window.output(i, &x.shape[i + 2], &w.shape[i + 2])?);
        }
        // Moves have as many numbers for each element of the kernel as there are axes, masks have one.
        let taps = w.shape[2..].iter().fold(Dim::from(self.offset_groups), |n, d| n.mul(d));
        let each = |fact: &Fact, count: Dim| {
            let wanted = [vec![x.shape[0].clone(), count], y[2..].to_vec()].concat();
            let fits = fact.rank() == wanted.len() && fact.shape.iter().zip(&wanted).all(|(a, b)| agree(a, b));
            fits.then_some(()).ok_or_else(|| {
                let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
                ShapeError::new(format!("{fact} where [{}] was expected", wanted.join(", ")))
            })
        };
        each(moves, taps.mul(&Dim::from(rank)))?;
        if let Some(bias) = Fact::optional(inputs, 3)
            && (bias.rank() != 1 || !agree(&bias.shape[0], &w.shape[0]))
        {
            return Err(ShapeError::new(format!("the bias is {bias}, but there are {} output channels", w.shape[0])));
        }
        if let Some(mask) = Fact::optional(inputs, 4) {
            each(mask, taps)?;
        }
        Ok(vec![x.with_shape(y)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, w, moves) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
        let facts: Vec<Option<Fact>> =
            (0..5).map(|i| inputs.optional(i).map(|t| Fact::new(t.element_type(), t.shape().to_vec()))).collect();
        let y = self.infer(&facts.iter().map(Option::as_ref).collect::<Vec<_>>())?;
        let y = y.first().and_then(Fact::concrete).ok_or_else(|| ShapeError::new("its shapes do not fit"))?;
        let count = Tensor::bounded(x.element_type(), &y)?;
        let p = self.problem(x.shape(), w.shape())?;
        let (values, weights, moves) = (x.to_f64(), w.to_f64(), moves.to_f64());
        let (bias, mask) = (inputs.optional(3).map(Tensor::to_f64), inputs.optional(4).map(Tensor::to_f64));
        let mut out = vec![0f64; count];
        let (inputs_each, outputs_each) = (w.shape()[1], p.outputs / self.groups);
        for (n, c) in (0..p.images).flat_map(|n| (0..p.channels).map(move |c| (n, c))) {
            let plane = &values[(n * p.channels + c) * p.volume..][..p.volume];
            let moved = n * self.offset_groups + c / (p.channels / self.offset_groups);
            for (tap, at) in (0..p.taps).flat_map(|k| (0..p.positions).map(move |at| (k, at))) {
                let offset = |axis: usize| moves[((moved * p.taps + tap) * p.rank + axis) * p.positions + at];
                let factor = mask.as_ref().map_or(1.0, |m| m[(moved * p.taps + tap) * p.positions + at]);
                let v = read(plane, &p, tap, at, offset) * factor;
                for o in c / inputs_each * outputs_each..(c / inputs_each + 1) * outputs_each {
                    let weight = weights[(o * inputs_each + c % inputs_each) * p.taps + tap];
                    out[(n * p.outputs + o) * p.positions + at] += v * weight;
                }
            }
        }
        if let Some(bias) = bias {
            out.iter_mut().enumerate().for_each(|(i, v)| *v += bias[i / p.positions % p.outputs]);
        }
        Ok(vec![Tensor::from_f64(x.element_type(), y, out)?.into()])
    }

    /// Two dispatches: what the kernel's elements see, `[N, C, taps, positions]`, then its products with the weights.
    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (x, w, y) = (request.shape(0)?, request.shape(1)?, request.output_shape(0)?);
        let p = self.problem(&x, &w).map_err(|e| e.to_string())?;
        let mut candidate =
            Candidate::new("columns", vec![Want::In(Layout::Linear); request.inputs.len()], vec![Layout::Linear]);
        if y.contains(&0) {
            return Ok(vec![candidate]);
        }
        if x.contains(&0) {
            return Err("its input is empty".to_owned());
        }
        let seen = [p.images, p.channels, p.taps, p.positions];
        let small =
            |s: &[usize]| shape::elements(s).filter(|&n| n < 1 << 30).ok_or("it is too large for 32-bit indices");
        let (seen, elements, _) = (small(&seen)?, small(&y)?, small(&request.shape(2)?)?);
        let mut read = Dispatch::of(
            Kernel::of("conv/deform.wgsl").define("WORKGROUP", WORKGROUP).define("MASK", request.optional(4).is_some()),
        )
        .bind(Binding::Input(0), request.storage(0)?)
        .bind(Binding::Input(2), request.storage(2)?);
        if request.optional(4).is_some() {
            read = read.bind(Binding::Input(4), request.storage(4)?);
        }
        let read = read
            .bind(Binding::Scratch(0), Storage::F32)
            .param("units", seen.div_ceil(4))
            .param("elements", seen)
            .param("channels", p.channels)
            .param("together", p.channels / self.offset_groups)
            .param("rank", p.rank);
        let read = axis_params(read, &p.axes).linear(seen.div_ceil(4) as u64, WORKGROUP, request.device);
        let mut multiply = Dispatch::of(
            Kernel::of("conv/columns.wgsl")
                .define("WORKGROUP", WORKGROUP)
                .define("BIAS", request.optional(3).is_some()),
        )
        .bind(Binding::Input(1), request.storage(1)?)
        .bind(Binding::Scratch(0), Storage::F32);
        if request.optional(3).is_some() {
            multiply = multiply.bind(Binding::Input(3), request.storage(3)?);
        }
        let multiply = multiply
            .bind(Binding::Output(0), request.output_storage(0)?)
            .param("units", elements.div_ceil(4))
            .param("elements", elements)
            .param("positions", p.positions)
            .param("outputs", p.outputs)
            .param("group_outputs", p.outputs / self.groups)
            .param("terms", w[1] * p.taps)
            .param("all_terms", p.channels * p.taps)
            .linear(elements.div_ceil(4) as u64, WORKGROUP, request.device);
        candidate.scratch.push((seen.div_ceil(4) as u64, Storage::F32));
        let facts: Vec<_> = request.inputs.iter().map(|i| i.map(|i| i.fact)).collect();
        let cost = self.work(&facts, request.outputs) * 4.0 + seen as f64 * 40.0;
        Ok(vec![candidate.dispatch(read).dispatch(multiply).cost(cost, 8.0 * (seen + elements) as f64)])
    }

    fn work(&self, inputs: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let product = |f: Option<Vec<usize>>, skip: usize| {
            f.map_or(0.0, |s| s.iter().skip(skip).map(|&d| d as f64).product::<f64>())
        };
        let weights = inputs.get(1).copied().flatten().and_then(Fact::concrete);
        2.0 * product(weights, 1) * product(outputs.first().and_then(Fact::concrete), 0)
    }
}

const WORKGROUP: u32 = 64;

/// A plane of x where the kernel's element `tap` sees it at output `at`, moved along each axis by `offset`.
fn read(plane: &[f64], p: &Problem, tap: usize, at: usize, offset: impl Fn(usize) -> f64) -> f64 {
    // Of each neighbour its place in the plane and its weight.
    let mut near = vec![(0usize, 1f64)];
    let (mut tap, mut at, mut stride) = (tap, at, 1usize);
    for (i, axis) in p.axes.iter().enumerate().skip(3 - p.rank).rev() {
        let (k, o) = (tap % axis.kernel, at % axis.output);
        (tap, at) = (tap / axis.kernel, at / axis.output);
        let place = (o * axis.stride + k * axis.dilation) as f64 - axis.before as f64 + offset(i + p.rank - 3);
        let base = place.floor();
        let part = place - base;
        let neighbour = |(v, w): (f64, f64)| {
            // What is not inside, NaN too, is a zero.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is inside")]
            (v >= 0.0 && v < axis.input as f64).then_some((v as usize * stride, w))
        };
        let both = [(base, 1.0 - part), (base + 1.0, part)].map(neighbour);
        near = near.iter().flat_map(|&(a, v)| both.iter().flatten().map(move |&(b, w)| (a + b, v * w))).collect();
        stride *= axis.input;
    }
    near.iter().map(|&(at, w)| plane[at] * w).sum()
}

#[cfg(test)]
mod tests;
