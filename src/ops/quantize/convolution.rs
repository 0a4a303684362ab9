//! Convolutions of 8-bit integers: ConvInteger and QLinearConv (ONNX opset 10).
//!
//! `S = Σ (w - w_zero) · (x - x_zero)` over the window, in 32 bits, padding counting as zeros. ConvInteger gives S, QLinearConv
//! `saturate(round((S + bias) · x_scale · w_scale / y_scale) + y_zero)`; the weights' scale and zero point are one for all or
//! one for each output channel.

use std::sync::Arc;

use super::channels::{Ends, Places};
use super::finish::{Scales, biases, finish, requantized, scales, within, zeros};
use super::linear::matches_type;
use super::packed::{self, Geometry};
use super::table::Table;
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::ops::conv::{Conv, axis_params, groups};
use crate::ops::window::{Axis, Window, three};
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor};

const WORKGROUP: u32 = 64;

/// Where the inputs of a QLinearConv stand; a ConvInteger has fewer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Roles {
    x_zero: usize,
    w: usize,
    w_zero: usize,
    x_scale: Option<usize>,
    w_scale: Option<usize>,
    y_scale: Option<usize>,
    y_zero: Option<usize>,
    bias: Option<usize>,
}

/// A convolution of integers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IntegerConv {
    /// The window and the groups: those of a convolution of floats.
    conv: Conv,
    roles: Roles,
    /// Between which integers an activation leaves the results.
    bounds: Option<[i32; 2]>,
    /// Whether a rewrite made it: then the bias may be of floats, and so may the result.
    folded: bool,
}

/// The inputs of a QLinearConv.
const QUANTIZED: Roles = Roles {
    x_scale: Some(1),
    x_zero: 2,
    w: 3,
    w_scale: Some(4),
    w_zero: 5,
    y_scale: Some(6),
    y_zero: Some(7),
    bias: Some(8),
};

/// Makes a ConvInteger or a QLinearConv.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let conv = Conv { window: Window::from_definition(d)?, groups: groups(d)?, ..Conv::default() };
    if d.flag("channels_last", false)? {
        return Err(DefinitionError::Unsupported("channels that come last are not supported".to_owned()));
    }
    let roles = if d.op_type == "ConvInteger" {
        Roles { w: 1, x_zero: 2, w_zero: 3, x_scale: None, w_scale: None, y_scale: None, y_zero: None, bias: None }
    } else {
        QUANTIZED
    };
    Ok(Arc::new(IntegerConv { conv, roles, bounds: None, folded: false }))
}

/// Whether the numbers of this fact are one for each of `channels`, and not one for all.
fn each(fact: Option<&Fact>, channels: usize, what: &str) -> Result<bool, ShapeError> {
    match fact.and_then(Fact::concrete) {
        None => Ok(false),
        Some(shape) if elements(&shape) == Some(1) => Ok(false),
        Some(shape) if shape == [channels] => Ok(true),
        Some(shape) => {
            Err(ShapeError::new(format!("{what} {shape:?} is neither one nor one for each of {channels} channels")))
        }
    }
}

impl IntegerConv {
    /// The convolution of integers in the place of one of floats that were integers before: with the inputs of a QLinearConv,
    /// the last scale and zero point left out where the result is floats.
    pub fn folded(conv: Conv, floats: bool, bounds: Option<[i32; 2]>) -> Self {
        let quantized = |role: Option<usize>| role.filter(|_| !floats);
        let (y_scale, y_zero) = (quantized(QUANTIZED.y_scale), quantized(QUANTIZED.y_zero));
        Self { conv, roles: Roles { y_scale, y_zero, ..QUANTIZED }, bounds, folded: true }
    }

    /// The same with floats as results, for sums that are to be multiplied by scales: with the inputs of a QLinearConv, but the
    /// last scale and zero point.
    pub fn scaled(&self) -> Option<Self> {
        self.roles.x_scale.is_none().then(|| Self::folded(self.conv.clone(), true, None))
    }

    /// Where the input stands that is added to results that are floats.
    pub fn bias_of_floats(&self) -> Option<usize> {
        self.roles.bias.filter(|_| self.folded && self.roles.y_scale.is_none() && self.bounds.is_none())
    }

    /// The shape of it.
    pub fn conv(&self) -> &Conv {
        &self.conv
    }

    /// Where the inputs stand.
    const fn places(&self) -> Places {
        let roles = self.roles;
        Places {
            x_scale: roles.x_scale,
            x_zero: roles.x_zero,
            w: roles.w,
            w_scale: roles.w_scale,
            w_zero: roles.w_zero,
            y_scale: roles.y_scale,
            y_zero: roles.y_zero,
            bias: roles.bias,
        }
    }

    /// The weights with a zero point for each output channel, if they are known, and what becomes of the sums.
    pub fn known<'a>(&self, inputs: &[Option<&'a Fact>], output: &Fact) -> Option<(&'a Tensor, Vec<i32>, Ends)> {
        let outputs = *Fact::at(inputs, self.roles.w).ok()?.concrete()?.first()?;
        let ends = Ends::of(inputs, self.places(), (outputs, output.element_type), 1.0, self.bounds)?;
        let (weights, zeros) = ends.known_weights(inputs)?;
        let zeros = if let [one] = zeros[..] { vec![one; outputs] } else { zeros };
        (zeros.len() == outputs).then_some((weights, zeros, ends))
    }

    /// The kernels over packed words, where the weights are known.
    fn packed(&self, request: &Request<'_>, (x, w): (&[usize], &[usize]), axes: [Axis; 3]) -> Vec<Candidate> {
        let [Axis::ONE, h, v] = axes else { return vec![] };
        // The plane of a pointwise convolution is one long row.
        let axes = match h.is_pointwise() && v.is_pointwise() {
            true => [Axis::ONE, Axis { input: h.input * v.input, output: h.output * v.output, ..Axis::ONE }],
            false => [h, v],
        };
        let plane = |size: fn(&Axis) -> usize| axes.iter().map(size).product::<usize>();
        let (inputs, outputs) = (plane(|axis| axis.input), plane(|axis| axis.output));
        let taps: usize = w[2..].iter().product();
        let geometry = Geometry {
            samples: x[0],
            group_inputs: w[1],
            outputs: w[0],
            groups: self.conv.groups(),
            axes,
            x_steps: [1, inputs, inputs * x[1].div_ceil(4)],
            y_steps: [1, outputs, outputs * w[0].div_ceil(4)],
            x_layout: Layout::Channels4.canonical(x),
            y_layout: Layout::Channels4.canonical(x),
            w_steps: [w[1] * taps, taps, 1],
        };
        let problem = packed::Problem::of(request, geometry, self.places(), 1.0, self.bounds);
        problem.map_or(vec![], |problem| packed::candidates(&problem))
    }

    /// Checks the types and gives that of the result.
    fn result(&self, inputs: &[Option<&Fact>]) -> Result<ElementType, ShapeError> {
        let eight = |t: ElementType| matches!(t, ElementType::I8 | ElementType::U8);
        for (operand, zero) in [(0, self.roles.x_zero), (self.roles.w, self.roles.w_zero)] {
            let operand = Fact::at(inputs, operand)?.element_type;
            if !eight(operand) {
                return Err(ShapeError::new(format!("integers of {operand} cannot be convolved")));
            }
            matches_type(Fact::optional(inputs, zero), operand)?;
        }
        if self.roles.x_scale.is_none() {
            return Ok(ElementType::I32);
        }
        for scale in [self.roles.x_scale, self.roles.w_scale, self.roles.y_scale].into_iter().flatten() {
            matches_type(Some(Fact::at(inputs, scale)?), ElementType::F32)?;
        }
        let bias = self.roles.bias.and_then(|bias| Fact::optional(inputs, bias));
        if !(self.folded && bias.is_some_and(|bias| bias.element_type == ElementType::F32)) {
            matches_type(bias, ElementType::I32)?;
        }
        let Some(y_zero) = self.roles.y_zero else { return Ok(ElementType::F32) };
        match Fact::at(inputs, y_zero)?.element_type {
            to if eight(to) => Ok(to),
            to => Err(ShapeError::new(format!("sums quantized to {to} are not supported"))),
        }
    }

    /// For the zero points, the scales and the biases of the weights, whether they are one for each channel.
    fn per_channel(&self, inputs: &[Option<&Fact>], channels: usize) -> Result<[bool; 3], ShapeError> {
        let fact = |role: Option<usize>| role.and_then(|index| Fact::optional(inputs, index));
        for one in [Some(self.roles.x_zero), self.roles.x_scale, self.roles.y_scale, self.roles.y_zero] {
            if fact(one).and_then(Fact::concrete).is_some_and(|shape| elements(&shape) != Some(1)) {
                return Err(ShapeError::new("the scales and zero points of x and y are one for all"));
            }
        }
        let bias = fact(self.roles.bias);
        if bias.and_then(Fact::concrete).is_some_and(|shape| shape != [channels]) {
            return Err(ShapeError::new(format!("the bias is not one for each of {channels} channels")));
        }
        Ok([
            each(fact(Some(self.roles.w_zero)), channels, "the weights' zero point")?,
            each(fact(self.roles.w_scale), channels, "the weights' scale")?,
            bias.is_some() && channels > 1,
        ])
    }

    fn axes(&self, x: &[usize], w: &[usize]) -> Result<[Axis; 3], ShapeError> {
        let axes = self.conv.window.axes(&x[2..], &w[2..])?;
        three(&axes).ok_or_else(|| ShapeError::new("convolutions over more than three axes are not supported"))
    }
}

impl Operator for IntegerConv {
    fn name(&self) -> &str {
        if self.roles.y_scale.is_some() { "QLinearConv" } else { "ConvInteger" }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let to = self.result(inputs)?;
        let float = |index| Fact::at(inputs, index).map(|fact| fact.with_type(ElementType::F32));
        let (x, w) = (float(0)?, float(self.roles.w)?);
        let outputs = self.conv.infer(&[Some(&x), Some(&w)])?;
        if let Some(channels) = w.shape.first().and_then(crate::graph::Dim::size) {
            self.per_channel(inputs, channels)?;
        }
        Ok(outputs.into_iter().map(|y| y.with_type(to)).collect())
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let facts: Vec<_> = (0..inputs.len())
            .map(|i| inputs.optional(i).map(|t| Fact::new(t.element_type(), t.shape().to_vec())))
            .collect();
        let facts: Vec<_> = facts.iter().map(Option::as_ref).collect();
        let fact = self.infer(&facts)?.remove(0);
        let shape = fact.concrete().ok_or_else(|| ShapeError::new("the sizes overflow"))?;
        let (x, w) = (inputs.tensor(0)?, inputs.tensor(self.roles.w)?);
        let [d, h, v] = self.axes(x.shape(), w.shape())?;
        let [zero_each, scale_each, bias_each] = self.per_channel(&facts, w.shape()[0])?;
        let input = |role: Option<usize>| role.and_then(|index| inputs.optional(index));
        let (x_zero, w_zeros) = (zeros(input(Some(self.roles.x_zero)))[0], zeros(input(Some(self.roles.w_zero))));
        let (x_scale, w_scales) = (scales(input(self.roles.x_scale))[0], scales(input(self.roles.w_scale)));
        let (y_scale, y_zero) = (scales(input(self.roles.y_scale))[0], zeros(input(self.roles.y_zero))[0]);
        let (biases, rests) = biases(input(self.roles.bias));
        let (low, high) = within(fact.element_type, self.bounds).unwrap_or((f32::MIN, f32::MAX));
        let at = |all: bool, channel: usize| if all { channel } else { 0 };
        let (channels, group_inputs) = (x.shape()[1], w.shape()[1]);
        let group_outputs = (w.shape()[0] / self.conv.groups()).max(1);
        let volume = d.input * h.input * v.input;
        let taps = d.kernel * h.kernel * v.kernel;
        let (xs, ws) = (zeros(Some(x)), zeros(Some(w)));
        let mut y = Vec::with_capacity(elements(&shape).unwrap_or(0));
        for (n, o) in (0..shape[0]).flat_map(|n| (0..shape[1]).map(move |o| (n, o))) {
            let first = n * channels + o / group_outputs * group_inputs;
            let w_zero = w_zeros[at(zero_each, o)];
            let factor = x_scale * w_scales[at(scale_each, o)] / y_scale;
            for (z, p, q) in (0..d.output)
                .flat_map(|z| (0..h.output).map(move |p| (z, p)))
                .flat_map(|(z, p)| (0..v.output).map(move |q| (z, p, q)))
            {
                let mut sum = 0i32;
                for i in 0..group_inputs {
                    let plane = (first + i) * volume;
                    let weights = (o * group_inputs + i) * taps;
                    for (kz, ky) in d.taps(z).flat_map(|kz| h.taps(p).map(move |ky| (kz, ky))) {
                        let row = plane + (d.position(z, kz) * h.input + h.position(p, ky)) * v.input;
                        let tap = weights + (kz * h.kernel + ky) * v.kernel;
                        for kx in v.taps(q) {
                            let (x, w) = (xs[row + v.position(q, kx)] - x_zero, ws[tap + kx] - w_zero);
                            sum = sum.wrapping_add(x.wrapping_mul(w));
                        }
                    }
                }
                let sum = sum.wrapping_add(biases[at(bias_each && biases.len() > 1, o)]);
                let rest = rests[at(bias_each && rests.len() > 1, o)];
                y.push(match fact.element_type {
                    ElementType::I32 => sum.into(),
                    ElementType::F32 => f64::from(sum as f32 * factor + rest),
                    _ => requantized(sum, factor, rest / y_scale, y_zero.into()).clamp(low.into(), high.into()),
                });
            }
        }
        Ok(vec![Tensor::from_f64(fact.element_type, shape, y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (x, w, y) = (request.shape(0)?, request.shape(self.roles.w)?, request.output_shape(0)?);
        let axes = self.axes(&x, &w).map_err(|e| e.to_string())?;
        let small = |shape: &[usize]| elements(shape).is_some_and(|n| n < 1 << 30);
        if !(small(&x) && small(&w) && small(&y)) {
            return Err("its tensors are too large for 32-bit indices".to_owned());
        }
        let facts: Vec<_> = request.inputs.iter().map(|input| input.map(|operand| operand.fact)).collect();
        let per_channel = self.per_channel(&facts, w[0]).map_err(|e| e.to_string())?;
        let [zero_each, scale_each, bias_each] = per_channel.map(usize::from);
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        (wants[0], wants[self.roles.w]) = (Want::In(Layout::Linear), Want::In(Layout::Linear));
        let candidate = Candidate::new("integers", wants, vec![Layout::Linear]);
        let results: usize = y.iter().product();
        if results == 0 {
            return Ok(vec![candidate]);
        }
        if elements(&x) == Some(0) {
            return Err("its input is empty".to_owned());
        }
        let output = request.outputs.first().ok_or("an output is missing")?.element_type;
        let packed = self.packed(request, (&x, &w), axes);
        let result = match output {
            ElementType::I32 => 0,
            ElementType::F32 => 1,
            _ => 2,
        };
        let bias = self.roles.bias.and_then(|bias| request.optional(bias));
        let float_bias = bias.is_some_and(|bias| bias.fact.element_type.is_float());
        let kernel = Kernel::of("conv/direct.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("QUANTIZED", 1)
            .define("RESULT", result)
            .define("FLOAT_BIAS", float_bias);
        let mut dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Input(self.roles.w), request.storage(self.roles.w)?);
        let mut table = Table::of(request);
        let count = |each: usize| if each == 1 { w[0] } else { 1 };
        if result != 0 {
            let one = 1f32.to_bits();
            let scales = Scales {
                alpha: 1.0,
                a_scale: table.add(self.roles.x_scale, 1, one),
                b_scale: table.add(self.roles.w_scale, count(scale_each), one),
                bias: table.add(self.roles.bias, count(bias_each), 0),
            };
            let y = (self.roles.y_scale, self.roles.y_zero);
            dispatch = finish(dispatch, &mut table, scales, y, (output, self.bounds));
        }
        let groups = self.conv.groups();
        dispatch = dispatch
            .param("x_zero", table.add(Some(self.roles.x_zero), 1, 0))
            .param("w_zero", table.add(Some(self.roles.w_zero), count(zero_each), 0))
            .param("w_zero_each", zero_each)
            .param("w_scale_each", scale_each)
            .param("bias_each", bias_each)
            .param("units", results.div_ceil(4))
            .param("outputs", w[0])
            .param("group_inputs", w[1])
            .param("group_outputs", w[0] / groups)
            .param("channels", x[1])
            .param("biases", 0usize)
            .param("elements", results);
        let (candidate, dispatch) = table.bind(candidate, axis_params(dispatch, &axes))?;
        let dispatch = dispatch.bind(Binding::Output(0), request.output_storage(0)?).linear(
            results.div_ceil(4) as u64,
            WORKGROUP,
            request.device,
        );
        let work = 2.0 * w[1..].iter().map(|&d| d as f64).product::<f64>() * results as f64;
        let direct = candidate.dispatch(dispatch).cost(work * 20.0, results as f64);
        Ok(packed.into_iter().chain([direct]).collect())
    }

    fn work(&self, inputs: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        self.conv.work(&[inputs.first().copied().flatten(), Fact::optional(inputs, self.roles.w)], outputs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, check};

    fn bytes(shape: &[usize], signed: bool, seed: usize) -> Tensor {
        let numbers = (0..elements(shape).unwrap()).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 7 & 255) as u8);
        match signed {
            true => Tensor::new(shape, numbers.map(u8::cast_signed).collect()).unwrap(),
            false => Tensor::new(shape, numbers.collect()).unwrap(),
        }
    }

    #[test]
    fn padding_counts_as_the_zero_point() {
        let x = Tensor::new([1, 1, 1, 2], vec![3u8, 5]).unwrap();
        let w = Tensor::new([1, 1, 1, 3], vec![1u8, 2, 3]).unwrap();
        let d = Definition::new("ConvInteger").attribute("pads", [0, 1, 0, 1]);
        let values = [x, w, Tensor::scalar(1u8), Tensor::scalar(1u8)].map(Value::Tensor);
        let values = values.each_ref().map(Some);
        let y = make(&d).unwrap().evaluate(&mut Context::default(), Inputs(&values)).unwrap().remove(0);
        // (0 · 0 + 2 · 1 + 4 · 2, 2 · 0 + 4 · 1 + 0 · 2)
        assert_eq!(y.into_tensor().unwrap().as_slice::<i32>().unwrap(), [10, 4]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn kernels_agree_to_the_last_integer(
            n in 0usize..3, group_inputs in 1usize..4, groups in 1usize..3, group_outputs in 1usize..4,
            size in prop::collection::vec(3usize..7, 1..=3), kernel in 1usize..4, stride in 1i64..3, pad in 0i64..2,
            signed in any::<[bool; 3]>(), each: bool, constant: bool, bias: bool, seed in 0usize..1000,
        ) {
            let rank = size.len();
            let (channels, outputs) = (group_inputs * groups, group_outputs * groups);
            let x = bytes(&[&[n, channels], &size[..]].concat(), signed[0], seed);
            let w = bytes(&[&[outputs, group_inputs], &vec![kernel; rank][..]].concat(), signed[1], seed + 1);
            let own = if each { vec![outputs] } else { vec![] };
            let given = |t: Tensor| if constant { Input::Constant(t) } else { Input::Run(t) };
            let (x_zero, w_zero) = (given(bytes(&[], signed[0], seed)), given(bytes(&own, signed[1], seed + 2)));
            let attributes = |name| {
                Definition::new(name)
                    .attribute("group", groups as i64)
                    .attribute("strides", vec![stride; rank])
                    .attribute("pads", vec![pad; 2 * rank])
            };
            let inputs = [Input::Run(x.clone()), Input::Run(w.clone()), x_zero.clone(), w_zero.clone()];
            check(&*make(&attributes("ConvInteger")).unwrap(), &inputs, Tolerance::EXACT);
            let scale = |shape: &[usize], v: f32| {
                let n = elements(shape).unwrap();
                given(Tensor::new(shape, (0..n).map(|i| v * (1.0 + i as f32 / 4.0)).collect::<Vec<_>>()).unwrap())
            };
            let mut inputs = vec![
                Input::Run(x), scale(&[], 0.25), x_zero, given(w), scale(&own, 0.125), w_zero, scale(&[], 3.0),
                given(bytes(&[], signed[2], seed + 3)),
            ];
            if bias {
                inputs.push(given(Tensor::new([outputs], (0..outputs).map(|i| i as i32 * 999 - 1000).collect()).unwrap()));
            }
            check(&*make(&attributes("QLinearConv")).unwrap(), &inputs, Tolerance::EXACT);
        }
    }
}
