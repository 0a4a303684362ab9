//! What a fast way to run a node looks like, and which nodes have one.

use std::fmt::Debug;

use super::{
    Scratch, Threads, arithmetic, attention, chain, conv, conv_transpose, dense, dynamic, functions, gather, integers,
    moves, normalize, quantize, recurrent, reduce, residual, resize, softmax, split, stencil,
};
use crate::graph::{EvaluateError, Fact, Inputs, Operator};
use crate::ops::attention::fused::Fused;
use crate::ops::chain::Chain;
use crate::ops::conv::{self as convolution, Conv};
use crate::ops::conv_transpose::ConvTranspose;
use crate::ops::gather::Gather;
use crate::ops::matmul::{Gemm, MatMul};
use crate::ops::norm::group::Group;
use crate::ops::norm::layer::Layer;
use crate::ops::norm::softmax::Softmax;
use crate::ops::pool::Pool;
use crate::ops::recurrent::Recurrent;
use crate::ops::reduce::Reduce;
use crate::ops::resize::{self as resizing, Resize};
use crate::ops::split::Split;
use crate::tensor::{ElementType, Tensor};

/// One run of a kernel.
pub(super) struct Job<'a> {
    /// The node's inputs; the one that `y` was taken from is missing.
    pub inputs: Inputs<'a>,
    /// Where the output goes. It holds the input that it was taken from, or anything. Without elements, if nobody reads it.
    pub y: &'a mut Tensor,
    /// The outputs after the first, those that somebody reads.
    pub more: &'a mut [Option<Tensor>],
    /// The threads to use.
    pub threads: &'a Threads,
    /// Memory for the while.
    pub scratch: &'a Scratch,
}

/// A fast way to run one node, its shapes known and its weights packed.
pub(super) trait Kernel: Debug + Send + Sync {
    /// Writes the outputs.
    fn run(&self, job: Job<'_>) -> Result<(), EvaluateError>;

    /// The inputs in whose memory the output may be written.
    fn in_place(&self) -> &[usize] {
        &[]
    }

    /// Multiplications for an element of the first output, or what takes as long as so many.
    fn products(&self) -> usize {
        4
    }

    /// The inputs whose content the kernel holds in a form of its own: it does not look at them.
    fn holds(&self) -> &[usize] {
        &[]
    }
}

/// The kernel of an operator under these inputs, or `None` where its reference must do.
pub(super) fn kernel(
    operator: &dyn Operator,
    inputs: &[Option<&Fact>],
    outputs: &[Option<&Fact>],
) -> Option<Box<dyn Kernel>> {
    if let Some(layer) = operator.downcast::<Recurrent>() {
        return recurrent::kernel(layer, inputs, outputs);
    }
    let (output, more) = outputs.split_first()?;
    let output = (*output)?;
    if output.concrete()?.contains(&0) {
        return None;
    }
    if let Some(kernel) = dynamic::kernel(operator) {
        return Some(kernel);
    }
    let single = more.iter().all(Option::is_none);
    if single && let Some(kernel) = quantize::kernel(operator, inputs, output) {
        return Some(kernel);
    }
    if single && let Some(kernel) = integers::kernel(operator, inputs, output) {
        return Some(kernel);
    }
    if single && matches!(output.element_type, ElementType::I8 | ElementType::U8) {
        return moves::kernel(operator, inputs, output);
    }
    if output.element_type != ElementType::F32 {
        return None;
    }
    if !single {
        return split::kernel(operator.downcast::<Split>()?, inputs, outputs);
    }
    if let Some(conv) = operator.downcast::<Conv>() {
        if conv.residual_last {
            let before = Conv { residual: false, residual_last: false, ..conv.clone() };
            return residual::kernel(&before, convolution::RESIDUAL, inputs, output);
        }
        return match stencil::depthwise(conv, inputs, output) {
            Some(kernel) => Some(kernel),
            None => conv::kernel(conv, inputs, output),
        };
    }
    if let Some(conv) = operator.downcast::<ConvTranspose>() {
        return conv_transpose::kernel(conv, inputs, output);
    }
    if let Some(resize) = operator.downcast::<Resize>() {
        if resize.residual {
            return residual::kernel(&resize.without_residual(), resizing::RESIDUAL, inputs, output);
        }
        return resize::kernel(resize, inputs);
    }
    if let Some(pool) = operator.downcast::<Pool>() {
        return stencil::pool(pool, inputs, output);
    }
    if let Some(reduce) = operator.downcast::<Reduce>() {
        return reduce::kernel(reduce, inputs);
    }
    if let Some(gemm) = operator.downcast::<Gemm>() {
        return dense::gemm(gemm, inputs);
    }
    if let Some(matmul) = operator.downcast::<MatMul>() {
        return dense::matmul(matmul, inputs);
    }
    if let Some(fused) = operator.downcast::<Fused>() {
        return attention::kernel(fused, inputs);
    }
    if let Some(softmax) = operator.downcast::<Softmax>() {
        return softmax::kernel(softmax, inputs);
    }
    if let Some(layer) = operator.downcast::<Layer>() {
        return normalize::layer(layer, inputs);
    }
    if let Some(group) = operator.downcast::<Group>() {
        return normalize::group(group, inputs);
    }
    if let Some(gather) = operator.downcast::<Gather>() {
        return gather::kernel(gather, inputs);
    }
    if let Some(chain) = operator.downcast::<Chain>() {
        return chain::kernel(chain, inputs, output);
    }
    functions::kernel(operator, inputs, output)
        .or_else(|| arithmetic::kernel(operator, inputs, output))
        .or_else(|| moves::kernel(operator, inputs, output))
}
