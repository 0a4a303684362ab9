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
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::ops::broadcast::{self, Operand};
use crate::ops::composite::{self, Recipe};
use crate::ops::unary;
use crate::tensor::shape::{axis, elements};
use crate::tensor::{Element, ElementType, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, Tensor};

const WORKGROUP: u32 = 64;

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

    /// What a kernel computes: of `a` (x), `b` (scales) and `c` (zero points), or, where those are parameters, of `v`.
    fn expression(&self, request: &Request<'_>, parameters: bool) -> Result<String, String> {
        let (x, scale) = if parameters { ("v", "vec4<f32>(params.alpha)") } else { ("a", "b") };
        let zero = match (parameters, request.optional(2)) {
            (true, _) => "vec4<f32>(params.beta)",
            (false, Some(_)) => "vec4<f32>(c)",
            (false, None) => "vec4<f32>(0.0)",
        };
        if self.back {
            // Integers of 32 bits are no exact floats.
            return Ok(match (request.optional(2), parameters) {
                (Some(_), false) => "vec4<f32>(a - c) * b".to_owned(),
                _ => format!("(vec4<f32>({x}) - {zero}) * {scale}"),
            });
        }
        let quotient = match self.precision(request.input(1)?.fact.element_type) {
            ElementType::F16 => format!("to_half4(quotient4(to_half4(vec4<f32>({x})), to_half4({scale})))"),
            ElementType::BF16 => format!("to_brain4(quotient4(to_brain4(vec4<f32>({x})), to_brain4({scale})))"),
            _ => format!("quotient4(vec4<f32>({x}), {scale})"),
        };
        let output = request.outputs.first().ok_or("an output is missing")?.element_type;
        Ok(match range(output) {
            Some((low, high)) => format!("quantized4({quotient}, {zero}, {low:?}, {high:?})"),
            None => format!("{quotient} + {zero}"),
        })
    }

    /// One scale for the tensor, or one for each slice along an axis, whatever the layout.
    fn broadcast(&self, request: &Request<'_>, places: &Places) -> Candidates {
        let x = Operand::any(request, 0)?;
        let aligned = |operand: Result<Operand, String>| {
            let mut operand = operand?;
            operand.aligned = match places.axis {
                Some(at) => [&[places.along], vec![1; x.shape.len() - at - 1].as_slice()].concat(),
                None => vec![],
            };
            Ok::<_, String>(operand)
        };
        let mut operands = vec![x.clone(), aligned(Operand::any(request, 1))?];
        if request.optional(2).is_some() {
            operands.push(aligned(Operand::any(request, 2))?);
        }
        broadcast::candidates(request, &operands, self.expression(request, false)?)
    }

    /// One scale for each block along an axis.
    fn blocks(&self, request: &Request<'_>, places: &Places) -> Candidates {
        let shape = request.shape(0)?;
        let total = elements(&shape).filter(|&n| u32::try_from(n).is_ok_and(|n| n < u32::MAX - 4));
        let total = total.ok_or("it has more elements than a shader can count")?;
        let candidate =
            Candidate::new("blocks", vec![Want::In(Layout::Linear); request.inputs.len()], vec![Layout::Linear]);
        if total == 0 {
            return Ok(vec![candidate]);
        }
        let kernel = Kernel::of("quantize/blocks.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("ZERO", request.optional(2).is_some())
            .paste("EXPRESSION", self.expression(request, false)?);
        let mut dispatch = Dispatch::of(kernel)
            .param("units", total.div_ceil(4))
            .param("elements", total)
            .param("inner", places.inner)
            .param("along", places.along)
            .param("block", places.block)
            .param("blocks", places.blocks);
        for index in (0..3).filter(|&i| request.optional(i).is_some()) {
            dispatch = dispatch.bind(Binding::Input(index), request.any_storage(index)?);
        }
        let dispatch = dispatch.bind(Binding::Output(0), request.any_output_storage(0)?);
        let dispatch = dispatch.linear(total.div_ceil(4) as u64, WORKGROUP, request.device);
        Ok(vec![candidate.dispatch(dispatch).cost(total as f64 * 8.0, total as f64 * 12.0)])
    }

    /// Constants of one element are parameters of the kernel.
    fn constants(&self, request: &Request<'_>) -> Option<[f32; 2]> {
        #[expect(clippy::cast_possible_truncation, reason = "both are f32 or less in the file")]
        let one = |fact: &Fact| fact.constant.as_ref().filter(|t| t.len() == 1).map(|t| t.to_f64()[0] as f32);
        let zero = request.optional(2).map_or(Some(0.0), |zero| one(zero.fact))?;
        // A difference of 32-bit integers would be one of floats.
        if request.input(0).ok()?.fact.element_type == ElementType::I32 && self.back && zero != 0.0 {
            return None;
        }
        Some([one(request.input(1).ok()?.fact)?, zero])
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
        let types = request.inputs.iter().flatten().map(|operand| operand.fact).chain(request.outputs);
        // 4-bit integers lie in bytes, as which they are read and written.
        let computes = |t: ElementType| Storage::computes(t) || matches!(t, ElementType::I4 | ElementType::U4);
        if let Some(fact) = types.into_iter().find(|fact| !computes(fact.element_type)) {
            return Err(format!("it has no kernel for {}", fact.element_type));
        }
        let places = self.places(&request.shape(0)?, &request.shape(1)?).map_err(|e| e.to_string())?;
        let mut candidates = if !places.shared {
            self.blocks(request, &places)?
        } else if let Some(constants) = self.constants(request) {
            unary::typed(request, self.expression(request, true)?, 0, constants)?
        } else {
            self.broadcast(request, &places)?
        };
        for dispatch in candidates.iter_mut().flat_map(|c| &mut c.dispatches) {
            dispatch.kernel = dispatch.kernel.clone().define("QUANTIZED", 1);
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests;
