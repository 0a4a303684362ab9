//! Windows that see the whole of x, as the 1×1 convolutions of squeeze-and-excitation do behind a global pooling: there is
//! one output for each channel, and the convolution is the product of a vector and a matrix.

use super::problem::Problem;
use crate::kernel::{Binding, Candidate, Layout};
use crate::ops::matmul::{Epilogue, Product, bind_biased, vector};

/// The candidate, if every window is the whole of x.
pub(super) fn candidate(problem: &Problem<'_>) -> Option<Candidate> {
    let weights = problem.weights?;
    let whole = problem.axes.iter().all(|axis| {
        axis.output == 1 && axis.kernel == axis.input && axis.before == 0 && (axis.dilation == 1 || axis.kernel == 1)
    });
    if !whole || problem.groups != 1 || problem.conv.residual {
        return None;
    }
    let k = weights.len() / problem.outputs;
    let product = Product::of_matrices(problem.samples, k, problem.outputs, false, true);
    // Of several samples each must begin at a unit.
    if problem.samples > 1 && !(k.is_multiple_of(4) && problem.outputs.is_multiple_of(4)) {
        return None;
    }
    let request = problem.request;
    let tiles = vector(&product, problem.device)?;
    let storage = request.storage(1).ok()?;
    // Without a bias one of zeros, so that all share a pipeline with the classifier behind them.
    let b = bind_biased(weights, &product, tiles.panel(&product), &problem.bias_tensor()?, storage)?;
    let operands = [
        (Binding::Input(0), request.storage(0).ok()?),
        (b.binding, b.storage),
        (Binding::Output(0), request.output_storage(0).ok()?),
    ];
    let then = Epilogue { activation: problem.conv.activation, ..Epilogue::PLAIN };
    let dispatch = tiles.finished(&product, operands, Some(b.biases / 4), &then);
    let candidate = problem.candidate("vector", Layout::Linear).dispatch(dispatch);
    Some(candidate.cost(tiles.operations, problem.bytes()))
}
