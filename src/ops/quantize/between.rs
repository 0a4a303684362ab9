//! An operator on floats between a DequantizeLinear for each of its tensors and a QuantizeLinear, as one node on integers: sums and
//! products of two tensors, means of planes, tensors made larger or smaller, and functions of each element, of which there are
//! 256.
//!
//! `y = quantize(f(dequantize(x), …))`. Inputs: for each tensor its numbers, its scale and its zero point; then the scale and
//! the zero point of the result; then what the operator on floats takes beside its tensors.

use std::sync::Arc;

use super::finish::{scales, within, zeros};
use crate::graph::{Context, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value};
use crate::kernel::{Binding, Candidate, Candidates, Constant, Dispatch, Kernel, Layout, Packing, Want, units};
use crate::ops::identity::Identity;
use crate::ops::pool::{self, Pool};
use crate::ops::resize::Resize;
use crate::ops::unary::Unary;
use crate::tensor::{ElementType, Tensor};

const WORKGROUP: u32 = 64;

/// Tables are whole units.
const TABLE: Packing = Packing { name: "integers/table", pack: |table, _| table.clone() };

/// How a node is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The sum of two tensors: of one shape, or the second with one element for each plane of the first.
    Add,
    /// Their product.
    Mul,
    /// The means of planes.
    Mean,
    /// One made larger or smaller.
    Resize,
    /// A function of each element.
    Table,
}

/// An operator between integers.
#[derive(Debug, Clone)]
pub(crate) struct Between {
    name: String,
    inner: Arc<dyn Operator>,
    kind: Kind,
    /// Between which integers an activation leaves the results.
    bounds: Option<[i32; 2]>,
}

/// Whether a tensor `[N, C, 1 …]` has one element for each plane of another.
pub(crate) fn is_of_planes<D: PartialEq + From<usize>>(x: &[D], of: &[D]) -> bool {
    x.len() > 2 && x.len() == of.len() && x[..2] == of[..2] && x[2..].iter().all(|d| *d == D::from(1))
}

/// The numbers of a node whose scales and zero points are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Numbers {
    /// For each of two tensors the zero point, and what the difference from it is multiplied by. The factor of a product of two
    /// stands with the first.
    pub zeros: [f32; 2],
    pub factors: [f32; 2],
    /// The zero point and the bounds of the result.
    pub result: [f32; 3],
}

impl Between {
    /// The operator between integers that stands for one on floats, if it is one of those.
    pub fn of(inner: &Arc<dyn Operator>, bounds: Option<[i32; 2]>) -> Option<Self> {
        let mean = |pool: &Pool| pool.window.is_none() && pool.kind == pool::Kind::Average { include_pad: false };
        let kind = match inner.name() {
            "Add" => Kind::Add,
            "Mul" => Kind::Mul,
            _ if inner.downcast::<Pool>().is_some_and(mean) => Kind::Mean,
            _ if inner.downcast::<Resize>().is_some_and(|resize| !resize.residual) => Kind::Resize,
            _ if inner.downcast::<Unary>().is_some() || inner.activation().is_some() => Kind::Table,
            _ => return None,
        };
        Some(Self { name: format!("QLinear{}", inner.name()), inner: inner.clone(), kind, bounds })
    }

    /// Numbers of one scale and zero point as those of another, between the bounds of an activation.
    pub fn rescaling(bounds: Option<[i32; 2]>) -> Self {
        let inner: Arc<dyn Operator> = Arc::new(Identity::Plain);
        Self { name: format!("QLinear{}", inner.name()), inner, kind: Kind::Table, bounds }
    }

    /// How it is computed.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How many tensors it takes.
    pub const fn tensors(&self) -> usize {
        if matches!(self.kind, Kind::Add | Kind::Mul) { 2 } else { 1 }
    }

    /// The resize that it is, and what that takes: the integers in the place of floats.
    pub fn resize<'a>(&self, inputs: &[Option<&'a Fact>]) -> Option<(&Resize, Vec<Option<&'a Fact>>)> {
        let resize = self.inner.downcast::<Resize>()?;
        Some((resize, inputs.iter().take(1).chain(inputs.iter().skip(5)).copied().collect()))
    }

    /// The numbers of the node, if they are known. `count` is how many elements a mean is of.
    pub fn numbers(&self, inputs: &[Option<&Fact>], output: &Fact, count: usize) -> Option<Numbers> {
        let known = |index: usize| Fact::optional(inputs, index).and_then(|fact| fact.constant.as_ref());
        let one = |index: usize| Some((scales(Some(known(index)?))[0], zeros(Some(known(index + 1)?))[0] as f32));
        let (low, high) = within(output.element_type, self.bounds)?;
        let end = self.tensors() * 3;
        let (y_scale, y_zero) = one(end)?;
        let ((a, a_zero), (b, b_zero)) = (one(1)?, if self.tensors() == 2 { one(4)? } else { (0.0, 0.0) });
        let factors = match self.kind {
            Kind::Add => [a / y_scale, b / y_scale],
            Kind::Mul => [a * b / y_scale, 0.0],
            _ => [a / count as f32 / y_scale, 0.0],
        };
        let finite = factors.iter().all(|v| v.is_finite());
        finite.then_some(Numbers { zeros: [a_zero, b_zero], factors, result: [y_zero, low, high] })
    }

    /// The result for each of the 256 elements that there are, from the least on, or from 0 without a sign.
    pub fn table(&self, inputs: &[Option<&Fact>]) -> Option<Tensor> {
        let numbers: Tensor = match Fact::optional(inputs, 0)?.element_type {
            ElementType::U8 => Tensor::vector((0..=255u8).collect()),
            _ => Tensor::vector((-128..=127i8).collect()),
        };
        let mut values = vec![Some(Value::Tensor(numbers))];
        for fact in &inputs[1..] {
            values.push(Some(Value::Tensor(fact.as_ref()?.constant.clone()?)));
        }
        let values: Vec<_> = values.iter().map(Option::as_ref).collect();
        let table = self.evaluate(&mut Context::brief(), Inputs(&values)).ok()?;
        table.into_iter().next()?.into_tensor()
    }

    /// The kernels: element by element in whatever layout the first tensor lies, or a mean of each plane.
    fn dispatches(&self, request: &Request<'_>) -> Result<Candidate, String> {
        let facts: Vec<_> = request.inputs.iter().map(|input| input.map(|operand| operand.fact)).collect();
        let output = request.outputs.first().ok_or("an output is missing")?;
        let (x, y) = (request.shape(0)?, request.output_shape(0)?);
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        let (read, written) = (request.storage(0)?, request.output_storage(0)?);
        let unknown = || "its scales and zero points are not known before it runs".to_owned();
        if self.kind == Kind::Table {
            let layout = request.input(0)?.layout;
            wants[0] = Want::In(layout);
            let candidate = Candidate::new("table", wants, vec![layout]);
            let count = units(&x, layout).and_then(|n| u32::try_from(n).ok()).ok_or("it is too large for a shader")?;
            if count == 0 {
                return Ok(candidate);
            }
            let source = self.table(&facts).ok_or_else(unknown)?;
            let signed = facts.first().copied().flatten().is_some_and(|fact| fact.element_type == ElementType::I8);
            let table = Constant { source, packing: TABLE, parameters: vec![], storage: written, units: 64 };
            let dispatch = Dispatch::of(Kernel::of("quantize/lookup.wgsl"))
                .bind(Binding::Input(0), read)
                .bind(Binding::Constant(Box::new(table)), written)
                .bind(Binding::Output(0), written)
                .param("units", count)
                .param("offset", if signed { 128 } else { 0 });
            let dispatch = dispatch.linear(count.into(), WORKGROUP, request.device);
            return Ok(candidate.dispatch(dispatch).cost(f64::from(count) * 8.0, f64::from(count) * 8.0));
        }
        let plane: usize = x.iter().skip(2).product();
        let count = if self.kind == Kind::Mean { plane } else { 1 };
        let numbers = self.numbers(&facts, output, count).ok_or_else(unknown)?;
        let finish = |dispatch: Dispatch| {
            let [zero, low, high] = numbers.result;
            dispatch
                .param("a_zero", numbers.zeros[0])
                .param("b_zero", numbers.zeros[1])
                .param("a_factor", numbers.factors[0])
                .param("b_factor", numbers.factors[1])
                .param("zero", zero)
                .param("low", low - zero)
                .param("high", high - zero)
        };
        if self.kind == Kind::Mean {
            wants[0] = Want::In(Layout::Channels4.canonical(&x));
            let candidate = Candidate::new("mean", wants, vec![Layout::Channels4.canonical(&y)]);
            let quads = x[0] * x[1].div_ceil(4);
            if quads == 0 || plane == 0 || plane > 1 << 15 {
                return if quads == 0 {
                    Ok(candidate)
                } else {
                    Err("its planes are not of a size for sums".to_owned())
                };
            }
            let dispatch = Dispatch::of(Kernel::of("quantize/mean.wgsl"))
                .bind(Binding::Input(0), read)
                .bind(Binding::Output(0), written)
                .param("units", quads)
                .param("plane", plane);
            let dispatch = finish(dispatch).linear(quads as u64, WORKGROUP, request.device);
            return Ok(candidate.dispatch(dispatch).cost((plane * quads) as f64 * 8.0, (plane * quads * 4) as f64));
        }
        let b = request.shape(3)?;
        // What is one for a plane is one for all its units where four channels lie together.
        let (layout, b_plane) =
            if b == x { (request.input(0)?.layout, 1) } else { (Layout::Channels4.canonical(&x), plane.max(1)) };
        (wants[0], wants[3]) = (Want::In(layout), Want::In(layout));
        let mut candidate = Candidate::new("integers", wants, vec![layout]);
        let count = units(&y, layout).and_then(|n| u32::try_from(n).ok()).ok_or("it is too large for a shader")?;
        if count > 0 {
            let kernel = Kernel::of("quantize/combine.wgsl").define("PRODUCT", self.kind == Kind::Mul);
            let dispatch = Dispatch::of(kernel)
                .bind(Binding::Input(0), read)
                .bind(Binding::Input(3), request.storage(3)?)
                .bind(Binding::Output(0), written)
                .param("units", count)
                .param("b_plane", b_plane);
            candidate = candidate.dispatch(finish(dispatch).linear(count.into(), WORKGROUP, request.device));
        }
        Ok(candidate.cost(f64::from(count) * 12.0, f64::from(count) * 12.0))
    }
}

impl Operator for Between {
    fn name(&self) -> &str {
        &self.name
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let mut floats = vec![];
        for i in 0..self.tensors() {
            let x = Fact::at(inputs, 3 * i)?;
            if !matches!(x.element_type, ElementType::U8 | ElementType::I8) {
                return Err(ShapeError::new(format!("it takes integers of 8 bits, not {x}")));
            }
            super::linear::matches_type(Fact::optional(inputs, 3 * i + 1), ElementType::F32)?;
            super::linear::matches_type(Fact::optional(inputs, 3 * i + 2), x.element_type)?;
            floats.push(x.with_type(ElementType::F32));
        }
        if floats.iter().any(|x| x.shape != floats[0].shape && !is_of_planes(&x.shape, &floats[0].shape)) {
            return Err(ShapeError::new("its tensors are of different shapes"));
        }
        let to = Fact::at(inputs, 3 * self.tensors() + 1)?.element_type;
        let floats: Vec<_> =
            floats.iter().map(Some).chain(inputs.iter().skip(3 * self.tensors() + 2).copied()).collect();
        Ok(self.inner.infer(&floats)?.into_iter().map(|y| y.with_type(to)).collect())
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let mut floats = vec![];
        for i in 0..self.tensors() {
            let (x, scale) = (inputs.tensor(3 * i)?, scales(Some(inputs.tensor(3 * i + 1)?))[0]);
            let zero = zeros(inputs.optional(3 * i + 2))[0];
            // Sums with weights are taken of the integers: with weights of quarters they are exact, and ties are ties.
            let scale = if self.kind == Kind::Resize { 1.0 } else { scale };
            let numbers = zeros(Some(x)).into_iter().map(|v| (v - zero) as f32 * scale).collect();
            floats.push(Value::Tensor(Tensor::new(x.shape(), numbers)?));
        }
        let end = 3 * self.tensors();
        let (scale, zero) = (scales(Some(inputs.tensor(end)?))[0], inputs.tensor(end + 1)?);
        let values: Vec<_> = floats.iter().map(Some).chain(inputs.0.iter().skip(end + 2).copied()).collect();
        let result = self.inner.compute(context, Inputs(&values))?.into_iter().next().and_then(Value::into_tensor);
        let result = result.ok_or_else(|| ShapeError::new("there is no result"))?;
        let to = zero.element_type();
        let (low, high) = within(to, self.bounds).ok_or_else(|| ShapeError::new("its result is no integer"))?;
        let zero = zeros(Some(zero))[0];
        let sums = (self.kind == Kind::Resize).then(|| scales(inputs.optional(1))[0]);
        let quantized = |&v: &f32| {
            let v = sums.map_or(f64::from(v / scale), |x| f64::from(v) * (f64::from(x) / f64::from(scale)));
            let q = v.round_ties_even() + f64::from(zero);
            if q.is_nan() { 0.0 } else { q.clamp(low.into(), high.into()) }
        };
        let numbers = result.as_slice::<f32>()?.iter().map(quantized).collect();
        Ok(vec![Tensor::from_f64(to, result.shape(), numbers)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let facts: Vec<_> = request.inputs.iter().map(|input| input.map(|operand| operand.fact)).collect();
        if let Some((resize, inputs)) = self.resize(&facts) {
            let output = request.outputs.first().ok_or("an output is missing")?;
            let numbers =
                self.numbers(&facts, output, 1).ok_or("its scales and zero points are not known before it runs")?;
            return resize.candidates_of_integers(request, &inputs, &numbers);
        }
        Ok(vec![self.dispatches(request)?])
    }

    fn reads(&self, input: usize) -> Reads {
        // What a resize takes beside its tensor are its region, scales or sizes.
        if self.kind == Kind::Resize && input > 4 { Reads::Parameter } else { Reads::Elements }
    }

    fn work(&self, inputs: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let floats: Vec<_> = (0..self.tensors()).map(|i| Fact::optional(inputs, 3 * i)).collect();
        self.inner.work(&floats, outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Definition;
    use crate::testing::{Input, check};

    /// Any bytes.
    fn bytes(shape: &[usize], signed: bool, seed: usize) -> Tensor {
        let n = shape.iter().product::<usize>();
        let numbers = (0..n).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 7 & 255) as u8);
        match signed {
            true => Tensor::new(shape, numbers.map(u8::cast_signed).collect()).unwrap(),
            false => Tensor::new(shape, numbers.collect()).unwrap(),
        }
    }

    #[test]
    fn other_sizes_agree_to_the_last_integer() {
        // Weights are sixteenths of whole numbers, but those of the last, which come near no tie.
        for (i, (shape, sizes, mode, signed)) in [
            ([1, 6, 4, 3], [1i64, 6, 8, 6], "linear", [false, true]),
            ([2, 3, 2, 5], [2, 3, 4, 10], "cubic", [true, true]),
            ([1, 4, 8, 4], [1, 4, 4, 4], "linear", [true, false]),
            ([3, 2, 1, 4], [6, 2, 2, 4], "linear", [false, false]),
            ([1, 8, 3, 3], [1, 8, 7, 5], "linear", [false, false]),
        ]
        .into_iter()
        .enumerate()
        {
            let inner = crate::ops::operator(&Definition::new("Resize").attribute("mode", mode)).unwrap();
            let op = Between::of(&inner, (i == 1).then_some([-20, 77])).unwrap();
            let mut inputs = vec![Input::Run(bytes(&shape, signed[0], i)), Input::Constant(Tensor::scalar(0.25f32))];
            inputs.extend([Input::Constant(bytes(&[], signed[0], i + 5)), Input::Constant(Tensor::scalar(0.25f32))]);
            inputs.extend([Input::Constant(bytes(&[], signed[1], i + 9)), Input::Missing, Input::Missing]);
            inputs.push(Input::Constant(Tensor::vector(sizes.to_vec())));
            check(&op, &inputs, crate::testing::Tolerance::EXACT);
        }
    }

    #[test]
    fn kernels_agree_to_the_last_integer() {
        // Scales are powers of two: ties are ties for all.
        for (i, name) in ["Add", "Mul", "GlobalAveragePool", "Sigmoid", "Neg"].into_iter().enumerate() {
            let inner = crate::ops::operator(&Definition::new(name)).unwrap();
            for (shape, signed, bounds, planes) in [
                ([1, 7, 2, 4], [false, true], None, false),
                ([2, 3, 1, 2], [true, false], Some([2, 77]), false),
                ([2, 7, 3, 2], [true, false], None, true),
            ] {
                let op = Between::of(&inner, bounds).unwrap();
                let mut inputs = vec![];
                for k in 0..op.tensors() {
                    let own = if planes && k == 1 { [shape[0], shape[1], 1, 1] } else { shape };
                    inputs.push(Input::Run(bytes(&own, signed[0], i + k)));
                    inputs.push(Input::Constant(Tensor::scalar([0.25f32, 0.0625][k])));
                    inputs.push(Input::Constant(bytes(&[], signed[0], i + k + 5)));
                }
                inputs.push(Input::Constant(Tensor::scalar(0.125f32)));
                inputs.push(Input::Constant(bytes(&[], signed[1], i + 9)));
                check(&op, &inputs, crate::testing::Tolerance::EXACT);
            }
        }
    }
}
