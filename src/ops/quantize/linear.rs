//! QuantizeLinear and DequantizeLinear (ONNX opsets 10 to 24, and com.microsoft): numbers as small integers and back, with one
//! scale and zero point for the tensor, for each slice along an axis, or for blocks along it.
//!
//! `y = saturate(round(x / scale) + zero_point)`, ties to even, and `y = (x - zero_point) · scale`.

use std::sync::Arc;

use half::{bf16, f16};

use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Graph, Inputs, Operator, Request, ShapeError, Value,
    ValueId,
};
use crate::kernel::Candidates;
use crate::ops::composite::{self, Recipe};
use crate::tensor::shape::{axis, elements};
use crate::tensor::{Element, ElementType, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, Quantized, Tensor};

mod kernel;

/// QuantizeLinear or DequantizeLinear.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantize {
    /// Back from integers.
    back: bool,
    axis: i64,
    /// Elements along the axis that share a scale; 0 where all or one do.
    block: usize,
    /// The type of the result, where the attribute says it.
    to: Option<ElementType>,
    /// The type in which quotients are taken, where the attribute says it.
    precision: Option<ElementType>,
    /// Whether 8-bit floats that are too large become the largest.
    bounded: bool,
    /// Without what makes small floats of floats, or those of them: quotients, not rounded to integers, and products.
    floats: bool,
}

/// Makes QuantizeLinear or DequantizeLinear.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let block = d.int("block_size")?.unwrap_or(0);
    let block = usize::try_from(block)
        .map_err(|_| DefinitionError::Value("block_size", format!("is {block}, it cannot be negative")))?;
    let named = |name| match d.int(name)?.unwrap_or(0) {
        0 => Ok(None),
        number => match ElementType::from_data_type(number) {
            Some(t) => Ok(Some(t)),
            None => Err(DefinitionError::Unsupported(format!("there are no tensors of data type {number}"))),
        },
    };
    let precision = named("precision")?;
    if precision.is_some_and(|p| !matches!(p, ElementType::F32 | ElementType::F16 | ElementType::BF16)) {
        return Err(DefinitionError::Unsupported("quotients are those of f32, f16 or bf16".to_owned()));
    }
    let back = d.op_type == "DequantizeLinear";
    Ok(Arc::new(Quantize {
        back,
        axis: d.int("axis")?.unwrap_or(1),
        block,
        to: named("output_dtype")?,
        precision,
        bounded: d.flag("saturate", true)?,
        floats: false,
    }))
}

/// The integers that a type of quantized numbers has; `None` for other types.
pub(super) const fn range(t: ElementType) -> Option<(f32, f32)> {
    match t {
        ElementType::U8 => Some((0.0, 255.0)),
        ElementType::I8 => Some((-128.0, 127.0)),
        ElementType::U16 => Some((0.0, 65_535.0)),
        ElementType::I16 => Some((-32_768.0, 32_767.0)),
        ElementType::U4 => Some((0.0, 15.0)),
        ElementType::I4 => Some((-8.0, 7.0)),
        _ => None,
    }
}

/// Whether a type is one of the small floats as which numbers can be quantized: not one of exponents alone.
fn is_small_float(t: ElementType) -> bool {
    t.is_small_float() && t != ElementType::F8E8M0
}

/// Refuses a scale, zero point or bias of another type than `t`.
pub(super) fn matches_type(fact: Option<&Fact>, t: ElementType) -> Result<(), ShapeError> {
    match fact {
        Some(fact) if fact.element_type != t => Err(ShapeError::new(format!("{fact} should be of {t}"))),
        _ => Ok(()),
    }
}

/// `v` as a number of type `t`.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
fn rounded(v: f64, t: ElementType) -> f64 {
    match t {
        ElementType::F16 => f16::from_f64(v).to_f64(),
        ElementType::BF16 => bf16::from_f64(v).to_f64(),
        _ => f64::from(v as f32),
    }
}

impl Quantize {
    /// The type of the result.
    fn result(&self, inputs: &[Option<&Fact>]) -> Result<ElementType, ShapeError> {
        let (x, scale) = (Fact::at(inputs, 0)?.element_type, Fact::at(inputs, 1)?.element_type);
        let zero = Fact::optional(inputs, 2).map(|fact| fact.element_type);
        use ElementType::{BF16, F8E8M0, F16, F32, I32};
        if !matches!(scale, F32 | F16 | BF16 | F8E8M0) {
            return Err(ShapeError::new(format!("a scale of {scale} is not supported")));
        }
        let quantized = |t| range(t).is_some() || is_small_float(t) || (self.floats && t == F32);
        if self.back {
            if !(quantized(x) || x == I32) || zero.is_some_and(|zero| zero != x) {
                return Err(ShapeError::new(format!(
                    "quantized numbers of {x} with such a zero point are not supported"
                )));
            }
            return match self.to.unwrap_or(scale) {
                to @ (F32 | F16 | BF16) => Ok(to),
                to => Err(ShapeError::new(format!("dequantized numbers of {to} are not supported"))),
            };
        }
        if !matches!(x, F32 | F16 | BF16 | I32) {
            return Err(ShapeError::new(format!("numbers of {x} cannot be quantized")));
        }
        match zero.or(self.to).unwrap_or(ElementType::U8) {
            to if quantized(to) && self.to.is_none_or(|said| said == to) => Ok(to),
            to => Err(ShapeError::new(format!("numbers quantized to {to} are not supported"))),
        }
    }

    /// The type in which `x / scale` is taken.
    fn precision(&self, scale: ElementType) -> ElementType {
        match self.precision.unwrap_or(scale) {
            half @ (ElementType::F16 | ElementType::BF16) => half,
            _ => ElementType::F32,
        }
    }

    /// Whether a scale may be one for all, and quotients are those of f32.
    pub(crate) fn is_plain(&self) -> bool {
        self.block == 0 && self.precision.is_none_or(|p| p == ElementType::F32)
    }

    /// Whether it makes floats of integers.
    pub(crate) const fn is_back(&self) -> bool {
        self.back
    }

    /// Along which axis of so many dimensions scales that are not one for all lie.
    pub(crate) fn axis(&self, rank: usize) -> Option<usize> {
        axis(self.axis, rank)
    }

    /// The same back from integers, with scales along another axis, so many elements of which share one (0: all or one do).
    pub(crate) fn along(&self, axis: usize, block: usize) -> Self {
        Self { axis: axis as i64, block, ..self.clone() }
    }

    /// A matrix that it makes of constants as the numbers that it is made of, if it is one of floats out of integers.
    pub(crate) fn numbers(&self, inputs: &[Option<&Tensor>]) -> Option<Tensor> {
        let given = |i: usize| inputs.get(i).copied().flatten();
        let (x, scale) = (given(0)?, given(1)?);
        let to = self.to.unwrap_or(scale.element_type());
        let suits = self.back && to == scale.element_type() && matches!(to, ElementType::F32 | ElementType::F16);
        let (&[rows, columns], true) = (x.shape(), suits) else { return None };
        let block = match self.places(x.shape(), scale.shape()).ok()? {
            Places { axis: None, .. } => [rows, columns],
            Places { axis: Some(0), shared: true, .. } => [1, columns],
            Places { axis: Some(_), shared: true, .. } => [rows, 1],
            Places { axis: Some(0), block, .. } => [block, 1],
            Places { block, .. } => [1, block],
        };
        Some(Quantized::of_elements(x, scale, given(2), block)?.tensor(to))
    }

    /// For each element, the place of its scale, walked in order.
    fn places(&self, x: &[usize], scale: &[usize]) -> Result<Places, ShapeError> {
        if elements(scale) == Some(1) && self.block == 0 {
            return Ok(Places { axis: None, inner: 1, along: 1, block: 1, blocks: 1, shared: true });
        }
        let wrong = || ShapeError::new(format!("scales {scale:?} do not fit a tensor {x:?} along axis {}", self.axis));
        let at = axis(self.axis, x.len()).ok_or_else(wrong)?;
        let (along, inner) = (x[at], elements(&x[at + 1..]).ok_or_else(wrong)?);
        if self.block == 0 {
            return (scale == [along])
                .then_some(Places { axis: Some(at), inner, along, block: 1, blocks: along, shared: true })
                .ok_or_else(wrong);
        }
        let blocks = along.div_ceil(self.block);
        let mut expected = x.to_vec();
        expected[at] = blocks;
        (scale == expected)
            .then_some(Places { axis: Some(at), inner, along, block: self.block, blocks, shared: false })
            .ok_or_else(wrong)
    }
}

/// 8-bit floats that are not bounded.
fn unbounded_tensor<T: Element>(
    shape: &[usize],
    numbers: &[f64],
    convert: fn(f64) -> T,
) -> Result<Tensor, EvaluateError> {
    Ok(Tensor::new(shape, numbers.iter().map(|&v| convert(v)).collect())?)
}

/// Where the scale of an element stands.
struct Places {
    /// The axis; `None` where one scale serves the tensor.
    axis: Option<usize>,
    /// Elements behind one along the axis.
    inner: usize,
    along: usize,
    block: usize,
    blocks: usize,
    /// Whether what lies beside the axis shares scales.
    shared: bool,
}

impl Places {
    fn of(&self, element: usize) -> usize {
        let (row, lane) = (element / self.inner, element % self.inner);
        let (outer, block) = (row / self.along, row % self.along / self.block);
        if self.shared { block } else { (outer * self.blocks + block) * self.inner + lane }
    }

    /// Bytes as the numbers that they stand for, where what lies beside the axis shares scales: the same as one by one, without
    /// wide numbers in between. Weights are read so, each time that a plan is made.
    fn back<T: Copy + Into<f32>>(&self, x: &[T], scales: &[f32], zeros: &[f64]) -> Vec<f32> {
        let (along, inner) = if self.axis.is_some() { (self.along, self.inner) } else { (1, x.len()) };
        let mut y = Vec::with_capacity(x.len());
        for part in x.chunks((along * inner).max(1)) {
            let of = scales.iter().zip(zeros).map(|(&scale, &zero)| (scale, zero as f32));
            if inner == 1 {
                y.extend(part.iter().zip(of).map(|(&v, (scale, zero))| (v.into() - zero) * scale));
                continue;
            }
            for (lane, (scale, zero)) in part.chunks(inner.max(1)).zip(of) {
                y.extend(lane.iter().map(|&v| (v.into() - zero) * scale));
            }
        }
        y
    }
}

impl Operator for Quantize {
    fn name(&self) -> &str {
        if self.back { "DequantizeLinear" } else { "QuantizeLinear" }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let to = self.result(inputs)?;
        let (x, scale) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        if let (Some(x), Some(scale)) = (x.concrete(), scale.concrete()) {
            self.places(&x, &scale)?;
        }
        if let Some(zero) = Fact::optional(inputs, 2).and_then(Fact::concrete)
            && scale.concrete().is_some_and(|scale| elements(&scale) != elements(&zero))
        {
            return Err(ShapeError::new(format!("a zero point {zero:?} does not fit {scale}")));
        }
        Ok(vec![x.without_content().with_type(to)])
    }

    #[expect(clippy::cast_possible_truncation, reason = "products and quotients are those of f32 or less")]
    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let facts: Vec<_> =
            (0..3).map(|i| inputs.optional(i).map(|t| Fact::new(t.element_type(), t.shape().to_vec()))).collect();
        let facts: Vec<_> = facts.iter().map(Option::as_ref).collect();
        // Checks what belongs together.
        let to = self.infer(&facts)?[0].element_type;
        let (x, scale) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let places = self.places(x.shape(), scale.shape())?;
        let precision = self.precision(scale.element_type());
        let scales: Vec<f32> = scale.to_f64().into_iter().map(|v| v as f32).collect();
        let zeros = inputs.optional(2).map_or_else(|| vec![0.0; scales.len()], Tensor::to_f64);
        if self.back && to == ElementType::F32 && places.shared {
            let plain = match x.element_type() {
                ElementType::I8 => Some(places.back(x.as_slice::<i8>()?, &scales, &zeros)),
                ElementType::U8 => Some(places.back(x.as_slice::<u8>()?, &scales, &zeros)),
                _ => None,
            };
            if let Some(plain) = plain {
                return Ok(vec![Tensor::new(x.shape(), plain)?.into()]);
            }
        }
        let forth = |v: f64, scale: f32, zero: f64| {
            let quotient = match precision {
                ElementType::F32 => f64::from(v as f32 / scale),
                half => rounded(rounded(v, half) / rounded(scale.into(), half), half),
            };
            match to {
                ElementType::F4E2M1 | ElementType::F32 => f64::from(quotient as f32 + zero as f32),
                float if is_small_float(float) => quotient,
                _ => quotient.round_ties_even() + zero,
            }
        };
        let back = |v: f64, scale: f32, zero: f64| match x.element_type() {
            // Integers of 32 bits wrap around.
            ElementType::I32 => f64::from((v as i32).wrapping_sub(zero as i32) as f32 * scale),
            _ => f64::from((v - zero) as f32 * scale),
        };
        let numbers = x.to_f64().into_iter().enumerate().map(|(i, v)| {
            let at = places.of(i);
            if self.back { back(v, scales[at], zeros[at]) } else { forth(v, scales[at], zeros[at]) }
        });
        let numbers: Vec<f64> = numbers.collect();
        let unbounded = !self.back && !self.bounded;
        Ok(vec![
            match to {
                ElementType::F8E4M3FN if unbounded => {
                    unbounded_tensor(x.shape(), &numbers, F8E4M3FN::from_f64_unbounded)?
                }
                ElementType::F8E4M3FNUZ if unbounded => {
                    unbounded_tensor(x.shape(), &numbers, F8E4M3FNUZ::from_f64_unbounded)?
                }
                ElementType::F8E5M2 if unbounded => unbounded_tensor(x.shape(), &numbers, F8E5M2::from_f64_unbounded)?,
                ElementType::F8E5M2FNUZ if unbounded => {
                    unbounded_tensor(x.shape(), &numbers, F8E5M2FNUZ::from_f64_unbounded)?
                }
                _ => Tensor::from_f64(to, x.shape(), numbers)?,
            }
            .into(),
        ])
    }

    // Their quotients are rounded to 16 bits.
    fn takes_brain_floats(&self) -> bool {
        true
    }

    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        let to = self.result(inputs)?;
        let small = ElementType::is_small_float;
        if !small(to) && !inputs.iter().flatten().any(|fact| small(fact.element_type)) {
            return Ok(None);
        }
        let scale = Fact::at(inputs, 1)?.element_type;
        let own = Self { floats: true, precision: Some(self.precision(scale)), ..self.clone() };
        let build = |recipe: &mut Recipe, inputs: &[Option<ValueId>]| {
            let cast = |to: ElementType| {
                let cast = Definition::new("Cast").attribute("to", i64::from(to.data_type()));
                cast.attribute("saturate", i64::from(self.bounded))
            };
            let mut inputs = inputs.to_vec();
            // The zero point of 8-bit floats is a zero.
            if !self.back && small(to) && to != ElementType::F4E2M1 {
                inputs.truncate(2);
            }
            for id in inputs.iter_mut().flatten() {
                if small(recipe.fact(*id)?.element_type) {
                    *id = recipe.node(cast(ElementType::F32), &[*id])?;
                }
            }
            if self.back {
                let own = Self { to: Some(to), ..own.clone() };
                return Ok(Some(vec![Some(recipe.operator(Arc::new(own), &inputs, 1)?[0])]));
            }
            let own = Self { to: Some(if small(to) { ElementType::F32 } else { to }), ..own.clone() };
            let y = recipe.operator(Arc::new(own), &inputs, 1)?[0];
            Ok(Some(vec![Some(if small(to) { recipe.node(cast(to), &[y])? } else { y })]))
        };
        composite::graph(inputs, 1, build)
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        self.kernels(request)
    }
}

#[cfg(test)]
mod tests;
