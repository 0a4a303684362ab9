//! QuantizeLinear and DequantizeLinear (ONNX opsets 10 to 24): numbers as small integers and back, with one scale and zero
//! point for the tensor, for each slice along an axis, or for blocks along it.
//!
//! `y = saturate(round(x / scale) + zero_point)`, ties to even, and `y = (x - zero_point) · scale`.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::ops::unary;
use crate::tensor::shape::{axis, elements};
use crate::tensor::{ElementType, Tensor};

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
}

/// Makes QuantizeLinear or DequantizeLinear.
pub(super) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let block = d.int("block_size")?.unwrap_or(0);
    let block = usize::try_from(block)
        .map_err(|_| DefinitionError::Value("block_size", format!("is {block}, it cannot be negative")))?;
    let to = match d.int("output_dtype")?.unwrap_or(0) {
        0 => None,
        1 => Some(ElementType::F32),
        2 => Some(ElementType::U8),
        3 => Some(ElementType::I8),
        10 => Some(ElementType::F16),
        other => return Err(DefinitionError::Unsupported(format!("results of data type {other} are not supported"))),
    };
    if !matches!(d.int("precision")?.unwrap_or(0), 0 | 1) {
        return Err(DefinitionError::Unsupported(
            "quotients in another precision than f32 are not supported".to_owned(),
        ));
    }
    Ok(Arc::new(Quantize { back: d.op_type == "DequantizeLinear", axis: d.int("axis")?.unwrap_or(1), block, to }))
}

impl Quantize {
    /// The type of the result.
    fn result(&self, inputs: &[Option<&Fact>]) -> Result<ElementType, ShapeError> {
        let (x, scale) = (Fact::at(inputs, 0)?.element_type, Fact::at(inputs, 1)?.element_type);
        let zero = Fact::optional(inputs, 2).map(|fact| fact.element_type);
        if !scale.is_float() {
            return Err(ShapeError::new(format!("a scale is floating point, not {scale}")));
        }
        let small = |t: ElementType| matches!(t, ElementType::I8 | ElementType::U8);
        if self.back {
            if !(small(x) || x == ElementType::I32) || zero.is_some_and(|zero| zero != x) {
                return Err(ShapeError::new(format!(
                    "quantized numbers of {x} with such a zero point are not supported"
                )));
            }
            return match self.to.unwrap_or(scale) {
                to if to.is_float() => Ok(to),
                to => Err(ShapeError::new(format!("dequantized numbers are floating point, not {to}"))),
            };
        }
        if !(x.is_float() || x == ElementType::I32) {
            return Err(ShapeError::new(format!("what is quantized is a number, not {x}")));
        }
        match zero.or(self.to).unwrap_or(ElementType::U8) {
            to if small(to) && self.to.is_none_or(|said| said == to) => Ok(to),
            to => Err(ShapeError::new(format!("numbers quantized to {to} are not supported"))),
        }
    }

    /// For each element, the place of its scale, walked in order.
    fn places(&self, x: &[usize], scale: &[usize]) -> Result<Places, ShapeError> {
        if elements(scale) == Some(1) && self.block == 0 {
            return Ok(Places { inner: 1, along: 1, block: 1, blocks: 1, shared: true });
        }
        let wrong = || ShapeError::new(format!("scales {scale:?} do not fit a tensor {x:?} along axis {}", self.axis));
        let at = axis(self.axis, x.len()).ok_or_else(wrong)?;
        let (along, inner) = (x[at], elements(&x[at + 1..]).ok_or_else(wrong)?);
        if self.block == 0 {
            return (scale == [along])
                .then_some(Places { inner, along, block: 1, blocks: along, shared: true })
                .ok_or_else(wrong);
        }
        let blocks = along.div_ceil(self.block);
        let mut expected = x.to_vec();
        expected[at] = blocks;
        (scale == expected)
            .then_some(Places { inner, along, block: self.block, blocks, shared: false })
            .ok_or_else(wrong)
    }
}

/// Where the scale of an element stands.
struct Places {
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

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let facts: Vec<_> =
            (0..3).map(|i| inputs.optional(i).map(|t| Fact::new(t.element_type(), t.shape().to_vec()))).collect();
        let facts: Vec<_> = facts.iter().map(Option::as_ref).collect();
        // Checks what belongs together.
        let to = self.infer(&facts)?[0].element_type;
        let (x, scale) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let places = self.places(x.shape(), scale.shape())?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the standard computes in the scale's precision, at most f32"
        )]
        let scales: Vec<f32> = scale.to_f64().into_iter().map(|v| v as f32).collect();
        let zeros = inputs.optional(2).map_or_else(|| vec![0.0; scales.len()], Tensor::to_f64);
        #[expect(clippy::cast_possible_truncation, reason = "products and quotients are those of f32")]
        let numbers = x
            .to_f64()
            .into_iter()
            .enumerate()
            .map(|(i, v)| {
                let at = places.of(i);
                if self.back {
                    ((v - zeros[at]) as f32 * scales[at]).into()
                } else {
                    f64::from((v as f32 / scales[at]).round_ties_even()) + zeros[at]
                }
            })
            .collect();
        Ok(vec![Tensor::from_f64(to, x.shape(), numbers)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let scale = request.input(1)?.fact;
        let one = |fact: &Fact| fact.constant.as_ref().filter(|t| t.len() == 1).map(|t| t.to_f64()[0]);
        let scale = one(scale).ok_or("its scale is not one constant")?;
        let zero =
            request.optional(2).map_or(Some(0.0), |zero| one(zero.fact)).ok_or("its zero point is no constant")?;
        if self.block != 0 {
            return Err("it has no kernel for blocks".to_owned());
        }
        if request.input(0)?.fact.element_type == ElementType::I32 {
            return Err("its 32-bit integers may be no exact floats".to_owned());
        }
        let expression = match (self.back, request.outputs.first().map(|fact| fact.element_type)) {
            (true, _) => "(vec4<f32>(v) - params.beta) * params.alpha",
            (false, Some(ElementType::U8)) => QUANTIZED_U8,
            _ => QUANTIZED_I8,
        };
        #[expect(clippy::cast_possible_truncation, reason = "both are f32 or less in the file")]
        unary::pointwise(request, expression, 0, [scale as f32, zero as f32])
    }
}

/// The quotient is mended by its remainder, because a shader's division may be off by some units in the last place, and a tie
/// would then fall to the wrong side.
macro_rules! quantized {
    ($low:literal, $high:literal) => {
        concat!(
            "vec4<i32>(select(bound4(round(bound4(v / params.alpha, -65536.0, 65536.0) ",
            "+ fma(-bound4(v / params.alpha, -65536.0, 65536.0), vec4<f32>(params.alpha), v) / params.alpha) + params.beta, ",
            $low,
            ", ",
            $high,
            "), vec4<f32>(0.0), is_nan4(v)))"
        )
    };
}
const QUANTIZED_U8: &str = quantized!("0.0", "255.0");
const QUANTIZED_I8: &str = quantized!("-128.0", "127.0");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, check};

    fn run(d: &Definition, inputs: &[Tensor]) -> Result<Tensor, String> {
        let values: Vec<_> = inputs.iter().cloned().map(Value::Tensor).collect();
        let values: Vec<_> = values.iter().map(Some).collect();
        let operator = make(d).map_err(|e| e.to_string())?;
        let mut outputs = operator.evaluate(&mut Context::default(), Inputs(&values)).map_err(|e| e.to_string())?;
        let y = outputs.remove(0).into_tensor().unwrap();
        Ok(y)
    }

    #[test]
    fn ties_go_to_even_and_what_is_too_large_is_bounded() {
        let x = Tensor::vector(vec![0f32, 1.0, 3.0, -1.0, 1000.0, -1000.0, f32::INFINITY]);
        let y = run(&Definition::new("QuantizeLinear"), &[x, Tensor::scalar(2f32), Tensor::scalar(128u8)]).unwrap();
        assert_eq!(y.as_slice::<u8>().unwrap(), [128, 128, 130, 128, 255, 0, 255]);
    }

    #[test]
    fn scales_stand_along_an_axis_or_for_blocks() {
        let x = Tensor::new([2, 3], vec![1i8, 2, 3, 4, 5, 6]).unwrap();
        let scales = Tensor::vector(vec![1f32, 10.0]);
        let d = Definition::new("DequantizeLinear");
        let y = run(&d.clone().attribute("axis", 0i64), &[x.clone(), scales.clone()]).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [1.0, 2.0, 3.0, 40.0, 50.0, 60.0]);
        assert!(run(&d, &[x.clone(), scales]).unwrap_err().contains("do not fit"));
        let scales = Tensor::new([2, 2], vec![1f32, 10.0, 100.0, 1000.0]).unwrap();
        let zeros = Tensor::new([2, 2], vec![0i8, 1, 0, 2]).unwrap();
        let y = run(&d.attribute("block_size", 2i64), &[x, scales, zeros]).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [1.0, 2.0, 20.0, 400.0, 500.0, 4000.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn kernels_agree_to_the_last_integer(
            shape in prop::sample::select(vec![vec![0usize], vec![1], vec![7], vec![2, 3, 5, 1], vec![1, 5, 4, 8]]),
            scale in prop::sample::select(vec![0.5f32, 0.1, 0.003, 1.7]), zero in -128i8..=127, signed: bool,
        ) {
            let n = shape.iter().product::<usize>();
            // Half of them are ties, as near as f32 comes to one.
            let x = (0..n).map(|i| (i as f32 * 3.5 - 40.0) * scale).collect();
            let zero_point = if signed { Tensor::scalar(zero) } else { Tensor::scalar(zero.cast_unsigned()) };
            let constants = || [Input::Constant(Tensor::scalar(scale)), Input::Constant(zero_point.clone())];
            let quantize = make(&Definition::new("QuantizeLinear")).unwrap();
            let numbers = Tensor::new(shape.clone(), x).unwrap();
            let [s, z] = constants();
            check(&*quantize, &[Input::Run(numbers), s, z], Tolerance::EXACT);
            let integers = Tensor::from_f64(zero_point.element_type(), shape, (0..n).map(|i| (i % 100) as f64).collect());
            let [s, z] = constants();
            let back = make(&Definition::new("DequantizeLinear")).unwrap();
            check(&*back, &[Input::Run(integers.unwrap()), s, z], Tolerance { absolute: 1e-6, relative: 1e-6 });
        }
    }
}
