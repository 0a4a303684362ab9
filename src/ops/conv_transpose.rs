//! ConvTranspose (ONNX opsets 1, 11, 22): the gradient of a convolution, used to enlarge.
//!
//! `y[n, o, p] = activation(Σ_{i, k, q: q·stride + k·dilation − pad = p} w[i, o, k] · x[n, g·I + i, q] + bias[o])`: each
//! output gathers from the inputs that would be spread over it.

mod blocks;

use std::sync::Arc;

use half::f16;

use super::conv::{FLAT, activated, constant, given, groups, with_others_activations};
use super::window::{AutoPad, Axis, Window, sizes, three};
use crate::graph::{
    Activation, Context, Definition, DefinitionError, Dim, Division, EvaluateError, Fact, Inputs, Operator, Request,
    ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want, units};
use crate::tensor::{ElementType, Tensor, shape};

/// A transposed convolution.
///
/// Inputs: x `[N, C, spatial…]`, weights `[C, O / groups, kernel…]`, bias `[O]` (optional).
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ConvTranspose {
    /// Kernel size, strides, dilations and pads (which shorten the output).
    pub window: Window,
    /// Added to the end of each output axis; zeros by default.
    pub output_padding: Vec<usize>,
    /// The output's spatial shape; where it is given, the pads follow from it.
    pub output_shape: Vec<usize>,
    /// Groups of channels that do not see each other; 0 counts as 1.
    pub groups: usize,
    /// Applied to each result.
    pub activation: Activation,
}

/// Makes a ConvTranspose from its definition.
pub(super) fn conv_transpose(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(ConvTranspose {
        window: Window::from_definition(definition)?,
        output_padding: sizes(definition, "output_padding", 0)?.unwrap_or_default(),
        output_shape: sizes(definition, "output_shape", 0)?.unwrap_or_default(),
        groups: groups(definition)?,
        activation: Activation::Identity,
    }))
}

impl ConvTranspose {
    fn check_rank(&self, rank: usize) -> Result<(), ShapeError> {
        self.window.check_rank(rank)?;
        let fits = |list: &[usize]| list.is_empty() || list.len() == rank;
        if fits(&self.output_padding) && fits(&self.output_shape) {
            return Ok(());
        }
        Err(ShapeError::new(format!("output_padding or output_shape are not for {rank} spatial axes")))
    }

    /// The length of an axis before pads are taken away.
    fn full(&self, i: usize, input: &Dim, kernel: &Dim) -> Dim {
        let one = Dim::Known(1);
        let extent = kernel.sub(&one).mul(&Dim::from(self.window.dilation(i))).add(&one);
        let extra = Dim::from(self.output_padding.get(i).copied().unwrap_or(0));
        input.sub(&one).mul(&Dim::from(self.window.stride(i))).add(&extent).add(&extra)
    }

    fn output(&self, i: usize, input: &Dim, kernel: &Dim) -> Result<Dim, ShapeError> {
        let output = match (self.output_shape.get(i), self.window.auto_pad) {
            (Some(&output), _) => Dim::from(output),
            (None, AutoPad::SameUpper | AutoPad::SameLower) => input.mul(&Dim::from(self.window.stride(i))),
            _ => {
                let (before, after) = self.window.padding(i);
                self.full(i, input, kernel).sub(&Dim::from(before + after))
            }
        };
        if output.known().is_some_and(|n| n < 0) {
            return Err(ShapeError::new("the pads are larger than the output"));
        }
        Ok(output)
    }

    /// The spatial axes, in numbers; `before` is what is cut off at the beginning.
    pub(crate) fn axes(&self, input: &[usize], kernel: &[usize]) -> Result<Vec<Axis>, ShapeError> {
        self.check_rank(input.len())?;
        let axis = |(i, (&input, &kernel)): (usize, (&usize, &usize))| {
            let output = self.output(i, &Dim::from(input), &Dim::from(kernel))?;
            let output = output.size().ok_or_else(|| ShapeError::new("the output's size overflows"))?;
            let full = self.full(i, &Dim::from(input), &Dim::from(kernel)).size().unwrap_or(0);
            let (before, after) =
                if self.output_shape.is_empty() && matches!(self.window.auto_pad, AutoPad::NotSet | AutoPad::Valid) {
                    self.window.padding(i)
                } else {
                    let total = full.saturating_sub(output);
                    let small = total / 2;
                    // The odd one goes to the end with SAME_UPPER only.
                    let upper = self.window.auto_pad == AutoPad::SameUpper;
                    if upper { (small, total - small) } else { (total - small, small) }
                };
            let (stride, dilation) = (self.window.stride(i), self.window.dilation(i));
            Ok(Axis { input, output, kernel, stride, dilation, before, after })
        };
        input.iter().zip(kernel).enumerate().map(axis).collect()
    }
}

impl Operator for ConvTranspose {
    fn name(&self) -> &str {
        "ConvTranspose"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, w) = (given(inputs, 0)?, given(inputs, 1)?);
        if x.rank() < 3 || w.rank() != x.rank() {
            return Err(ShapeError::new(format!("x is {x} and the weights {w}; both need [N, C, spatial…]")));
        }
        if !x.element_type.is_float() || w.element_type != x.element_type {
            return Err(ShapeError::new(format!("x is {x}, the weights {w}; both must be of one floating-point type")));
        }
        self.check_rank(x.rank() - 2)?;
        let groups = self.groups.max(1);
        if x.shape[1].known().zip(w.shape[0].known()).is_some_and(|(c, i)| c != i)
            || x.shape[1].size().is_some_and(|c| c % groups != 0)
        {
            return Err(ShapeError::new(format!("x is {x}, the weights {w} in {groups} groups; the channels differ")));
        }
        if w.shape[2..].iter().any(|k| k.known() == Some(0)) {
            return Err(ShapeError::new("the kernel is empty"));
        }
        let outputs = w.shape[1].mul(&Dim::from(groups));
        if let Some(bias) = inputs.get(2).copied().flatten()
            && (bias.rank() != 1
                || bias.element_type != x.element_type
                || bias.shape[0].known().zip(outputs.known()).is_some_and(|(b, o)| b != o))
        {
            return Err(ShapeError::new(format!("the bias is {bias}, but there are {outputs} output channels")));
        }
        let mut y = vec![x.shape[0].clone(), outputs];
        for (i, kernel) in w.shape[2..].iter().enumerate() {
            y.push(self.output(i, &x.shape[i + 2], kernel)?);
        }
        Ok(vec![x.with_shape(y)])
    }

    /// Reference. Sums are in `f64`, row by row.
    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, w) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let fact = |t: &Tensor| Fact::new(t.element_type(), t.shape().to_vec());
        let facts = [Some(fact(x)), Some(fact(w)), inputs.optional(2).map(fact)];
        self.infer(&facts.each_ref().map(Option::as_ref))?;
        let axes = three(&self.axes(&x.shape()[2..], &w.shape()[2..])?);
        let axes = axes.ok_or_else(|| EvaluateError::Unsupported("it has more than three spatial axes".to_owned()))?;
        let group_outputs = w.shape()[1];
        let mut y_shape = vec![x.shape()[0], group_outputs * self.groups.max(1)];
        y_shape.extend(axes[5 - x.rank()..].iter().map(|a| a.output));
        let length = shape::elements(&y_shape).filter(|&n| n < 1 << 40);
        let length = length.ok_or_else(|| ShapeError::new(format!("the output {y_shape:?} is too large")))?;
        let apply = |sum: f64| match self.activation {
            Activation::Identity => sum,
            #[expect(clippy::cast_possible_truncation, reason = "activations are functions of f32")]
            activation => f64::from(activation.apply(sum as f32)),
        };
        macro_rules! run {
            ($type:ty, $wide:expr, $narrow:expr) => {{
                let wide = |t: &Tensor| -> Result<Vec<f64>, EvaluateError> {
                    Ok(t.as_slice::<$type>()?.iter().map(|&v| $wide(v)).collect())
                };
                let bias = inputs.optional(2).map(wide).transpose()?;
                let mut y: Vec<$type> = Vec::with_capacity(length);
                let sizes = [x.shape()[0], x.shape()[1], self.groups.max(1), group_outputs];
                gather(&wide(x)?, &wide(w)?, bias.as_deref(), sizes, axes, |row| {
                    y.extend(row.iter().map(|&sum| $narrow(apply(sum))));
                });
                Tensor::new(y_shape, y)?
            }};
        }
        #[expect(clippy::cast_possible_truncation, reason = "the result is rounded to the output's type")]
        let y = match x.element_type() {
            ElementType::F32 => run!(f32, f64::from, |v| v as f32),
            ElementType::F16 => run!(f16, f64::from, f16::from_f64),
            _ => run!(f64, |v| v, |v| v),
        };
        Ok(vec![y.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (candidate, axes) = direct(self, request)?;
        let mut candidates = with_others_activations(vec![candidate], self.activation);
        candidates.extend(blocks::candidates(self, request, &axes));
        Ok(candidates)
    }

    fn gives_probabilities(&self) -> bool {
        self.activation == Activation::Sigmoid
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Operator>> {
        let takes = self.activation == Activation::Identity && !activation.is_long();
        takes.then(|| Arc::new(Self { activation, ..self.clone() }) as _)
    }

    fn divisions(&self, inputs: &[Option<&Fact>]) -> Vec<Division> {
        let along = inputs.get(2).copied().flatten().map(|_| (2, 0)).into_iter().collect();
        if self.groups > 1 { vec![] } else { vec![Division { constant: (1, 1), output: 1, along }] }
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        // Each weight of a channel at each of its positions.
        let concrete = |i: usize| inputs.get(i).copied().flatten().and_then(Fact::concrete).unwrap_or_default();
        let product = |dims: &[usize]| dims.iter().map(|&d| d as f64).product::<f64>();
        2.0 * product(&concrete(0)) * product(concrete(1).get(1..).unwrap_or_default())
    }
}

/// Calls `row` with each output row in order. Sizes: samples, input channels, groups, output channels of a group.
fn gather(
    x: &[f64],
    w: &[f64],
    bias: Option<&[f64]>,
    [samples, channels, groups, outputs]: [usize; 4],
    [d, h, v]: [Axis; 3],
    mut row: impl FnMut(&[f64]),
) {
    let inputs = channels / groups;
    // The input position that a tap brings to output `o`, if there is one.
    let source = |axis: Axis, o: usize, k: usize| {
        let t = (o + axis.before).checked_sub(k * axis.dilation)?;
        (t % axis.stride == 0).then_some(t / axis.stride).filter(|&i| i < axis.input)
    };
    let mut sums = vec![0f64; v.output];
    for (n, o) in (0..samples).flat_map(|n| (0..groups * outputs).map(move |o| (n, o))) {
        for (oz, oy) in (0..d.output).flat_map(|oz| (0..h.output).map(move |oy| (oz, oy))) {
            sums.fill(bias.map_or(0.0, |b| b[o]));
            for c in o / outputs * inputs..(o / outputs + 1) * inputs {
                for (kz, ky) in (0..d.kernel).flat_map(|kz| (0..h.kernel).map(move |ky| (kz, ky))) {
                    let (Some(z), Some(y)) = (source(d, oz, kz), source(h, oy, ky)) else { continue };
                    let x = &x[(((n * channels + c) * d.input + z) * h.input + y) * v.input..][..v.input];
                    let w =
                        &w[(((c * outputs + o % outputs) * d.kernel + kz) * h.kernel + ky) * v.kernel..][..v.kernel];
                    for (kx, &w) in w.iter().enumerate() {
                        for (q, &x) in x.iter().enumerate() {
                            let at = (q * v.stride + kx * v.dilation).checked_sub(v.before);
                            if let Some(sum) = at.and_then(|at| sums.get_mut(at)) {
                                *sum += w * x;
                            }
                        }
                    }
                }
            }
            row(&sums);
        }
    }
}

const WORKGROUP: u32 = 64;

/// The kernel for all of them: each invocation gathers one unit of four outputs. And the axes.
fn direct(operator: &ConvTranspose, request: &Request<'_>) -> Result<(Candidate, [Axis; 3]), String> {
    let (x, w, y) = (request.shape(0)?, request.shape(1)?, request.output_shape(0)?);
    let axes = operator.axes(&x[2..], &w[2..]).map_err(|e| e.to_string())?;
    let axes = three(&axes).ok_or("it has more than three spatial axes")?;
    let mut wants = vec![Want::Nothing; request.inputs.len()];
    wants[0] = Want::In(Layout::Linear);
    let mut candidate = Candidate::new("direct", wants, vec![Layout::Linear]);
    if y.contains(&0) {
        return Ok((candidate, axes));
    }
    if shape::elements(&x) == Some(0) {
        return Err("its input is empty".to_owned());
    }
    if ![&x, &w, &y].iter().all(|s| units(s, Layout::Channels4).is_some_and(|n| n < 1 << 28)) {
        return Err("its tensors are too large for 32-bit indices".to_owned());
    }
    let kernel = Kernel::of("conv/transpose.wgsl").define("WORKGROUP", WORKGROUP);
    let mut dispatch = Dispatch::of(kernel).bind(Binding::Input(0), request.storage(0)?);
    let weights = request.input(1)?.fact;
    let bias = request.optional(2).map(|b| b.fact);
    let bits = bias.map_or(Some(vec![]), Fact::floats);
    let count: usize = w.iter().product();
    let mut biases = 0;
    match (&weights.constant, bits) {
        (Some(source), Some(bias)) if source.element_type() != ElementType::F64 => {
            let bits: Vec<usize> = bias.iter().map(|v| v.to_bits() as usize).collect();
            let packed = constant(source, FLAT, &[], (count, bits.len()), &bits, request.storage(1)?);
            biases = if bits.is_empty() { 0 } else { packed.biases };
            dispatch = dispatch.bind(packed.binding, packed.storage);
        }
        _ => {
            candidate.inputs[1] = Want::In(Layout::Linear);
            dispatch = dispatch.bind(Binding::Input(1), request.storage(1)?);
            if bias.is_some() {
                candidate.inputs[2] = Want::In(Layout::Linear);
                dispatch.kernel = dispatch.kernel.define("BIAS", 1);
                dispatch = dispatch.bind(Binding::Input(2), request.storage(2)?);
            }
        }
    }
    let units = units(&y, Layout::Linear).ok_or("it is too large")?;
    dispatch = activated(dispatch.bind(Binding::Output(0), request.output_storage(0)?), operator.activation)
        .param("units", units as u32)
        .param("outputs", y[1])
        .param("group_inputs", x[1] / operator.groups.max(1))
        .param("group_outputs", w[1])
        .param("channels", x[1])
        // Where the biases begin in the packed constant; 0 for none.
        .param("biases", biases)
        .param("elements", y.iter().product::<usize>());
    let facts: Vec<_> = request.inputs.iter().map(|i| i.map(|i| i.fact)).collect();
    let elements = [&x, &y].map(|s| s.iter().map(|&d| d as f64).product::<f64>()).iter().sum::<f64>();
    let operations = operator.work(&facts, request.outputs);
    let dispatch = super::conv::axis_params(dispatch, &axes).linear(units, WORKGROUP, request.device);
    Ok((candidate.dispatch(dispatch).cost(operations * 10.0, 4.0 * elements), axes))
}

#[cfg(test)]
mod tests;
