//! The kernels of QuantizeLinear and DequantizeLinear: expressions for the element-wise generator, and one for blocks.

use super::{Places, Quantize, range};
use crate::graph::{Fact, Request};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::ops::broadcast::{self, Operand};
use crate::ops::unary;
use crate::tensor::ElementType;
use crate::tensor::shape::elements;

const WORKGROUP: u32 = 64;

impl Quantize {
    /// The ways to run it on a GPU.
    pub(super) fn kernels(&self, request: &Request<'_>) -> Candidates {
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
