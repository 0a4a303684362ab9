//! Transposed convolutions whose windows lie side by side, being as large as their steps: each input gives a block of outputs
//! that no other input reaches. A convolution of 1×1 computes a block's elements as channels, by whichever family of kernels
//! suits the device, and a move puts them in their places.

use super::ConvTranspose;
use crate::graph::{Fact, Operand, Operator, Request};
use crate::kernel::{Binding, Candidate, Layout, Want, units};
use crate::ops::conv::Conv;
use crate::ops::strided::{self, Strided, signed_strides};
use crate::ops::window::Axis;

/// What the blocks are.
struct Blocks {
    /// Samples, output channels.
    samples: usize,
    outputs: usize,
    /// Positions of the input.
    height: usize,
    width: usize,
    /// A block's sides.
    rows: usize,
    columns: usize,
}

/// The candidates, if the windows lie so over two axes and the weights are known.
pub(super) fn candidates(operator: &ConvTranspose, request: &Request<'_>, axes: &[Axis; 3]) -> Vec<Candidate> {
    made(operator, request, axes).unwrap_or_default()
}

fn made(operator: &ConvTranspose, request: &Request<'_>, [_, h, w]: &[Axis; 3]) -> Option<Vec<Candidate>> {
    let (x, weights) = (request.input(0).ok()?, request.input(1).ok()?);
    let source = weights.fact.constant.as_ref()?;
    let &[inputs, outputs, rows, columns] = source.shape() else { return None };
    let apart = |axis: &Axis| {
        axis.kernel == axis.stride
            && (axis.kernel == 1 || axis.dilation == 1)
            && axis.before == 0
            && axis.output == axis.input * axis.stride
    };
    if operator.groups > 1 || !apart(h) || !apart(w) {
        return None;
    }
    let samples = *request.shape(0).ok()?.first()?;
    let blocks = Blocks { samples, outputs, height: h.input, width: w.input, rows, columns };
    let channels = rows * columns * outputs;
    let reordered = blocks.weights(inputs).gather(source, &[channels, inputs, 1, 1]).ok()?;
    let bias = match request.optional(2) {
        None => None,
        Some(bias) => Some(Fact::constant(blocks.biases().gather(bias.fact.constant.as_ref()?, &[channels]).ok()?)),
    };
    let reordered = Fact::constant(reordered);
    let known = |fact, storage| Operand { fact, layout: Layout::Linear, storage };
    let given = [
        Some(x),
        Some(known(&reordered, weights.storage)),
        bias.as_ref().map(|bias| known(bias, request.optional(2).and_then(|bias| bias.storage))),
    ];
    let between = [x.fact.with_shape([samples, channels, h.input, w.input].map(Into::into).to_vec())];
    let request = &Request { inputs: &given[..request.inputs.len().min(3)], outputs: &between, ..*request };
    let conv = Conv { activation: operator.activation, ..Conv::default() };
    let candidates = conv.candidates(request).ok()?;
    Some(candidates.into_iter().filter_map(|candidate| blocks.moved(candidate, request)).collect())
}

impl Blocks {
    /// Whether the positions of a block come before the channels of the result among those of the convolution: so groups of
    /// four channels stay together.
    const fn positions_first(&self) -> bool {
        self.outputs.is_multiple_of(4)
    }

    /// What there is for the result's channels, and for a block's rows and columns, in the order of the convolution's channels.
    fn ordered<T: Copy>(&self, channels: T, [rows, columns]: [T; 2]) -> [T; 3] {
        if self.positions_first() { [rows, columns, channels] } else { [channels, rows, columns] }
    }

    /// The convolution's channels from one channel of the result to the next, and from one row and column of a block.
    const fn steps(&self) -> [usize; 3] {
        let (outputs, columns) = (self.outputs, self.columns);
        if self.positions_first() { [1, columns * outputs, outputs] } else { [self.rows * columns, columns, 1] }
    }

    /// The weights `[I, O, rows, columns]` as `[channels, I, 1, 1]`.
    fn weights(&self, inputs: usize) -> Strided {
        let strides = signed_strides(&[inputs, self.outputs, self.rows, self.columns]);
        let dims = self.ordered(self.outputs, [self.rows, self.columns]);
        let own = self.ordered(strides[1], [strides[2], strides[3]]);
        Strided { dims: [&dims[..], &[inputs]].concat(), strides: [&own[..], &strides[..1]].concat(), base: 0 }
    }

    /// The bias of each of the channels.
    fn biases(&self) -> Strided {
        let dims = self.ordered(self.outputs, [self.rows, self.columns]);
        Strided { dims: dims.to_vec(), strides: self.ordered(1, [0, 0]).to_vec(), base: 0 }
    }

    /// A convolution's candidate that writes to scratch memory, and the move from there.
    fn moved(&self, mut candidate: Candidate, request: &Request<'_>) -> Option<Candidate> {
        let &[from] = candidate.outputs.as_slice() else { return None };
        let storage = request.output_storage(0).ok()?;
        let (strided, to) = self.strided(from)?;
        let scratch = Binding::Scratch(candidate.scratch.len());
        let last = candidate.dispatches.last_mut()?;
        let written = last.bindings.iter_mut().find(|binding| **binding == Binding::Output(0))?;
        *written = scratch.clone();
        let mut dispatch = strided.dispatch((0, storage), (0, storage), request.device).ok()??;
        *dispatch.bindings.first_mut()? = scratch;
        candidate.scratch.push((units(&request.output_shape(0).ok()?, from)?, storage));
        candidate.outputs = vec![to];
        candidate.in_place.clear();
        candidate.cost += Candidate::new("move", vec![], vec![]).cost(0.0, strided::cost(&dispatch, storage)).cost;
        candidate.inputs.resize(request.inputs.len(), Want::Nothing);
        Some(candidate.dispatch(dispatch))
    }

    /// Where the result's elements lie in what the convolution wrote, and the layout of the result that is read in this order;
    /// `None` where units would not stay whole.
    fn strided(&self, from: Layout) -> Option<(Strided, Layout)> {
        let Self { samples, outputs, height, width, rows, columns } = *self;
        let strides = signed_strides(&from.physical_shape(&[samples, rows * columns * outputs, height, width]));
        let [sample, channel, down, right] = [strides[0], strides[1], strides[2], strides[3]];
        let mut dims = vec![samples, outputs, height, rows, width, columns];
        let mut steps = [0; 3];
        for (step, channels) in steps.iter_mut().zip(self.steps()) {
            *step = i64::try_from(channels).ok()?;
        }
        let grouped = from == Layout::Channels4;
        let mut to = Layout::Linear;
        let [o, i, j] = match grouped {
            false => steps.map(|step| step * channel),
            // Four channels of the result are a group.
            true if self.positions_first() => {
                (dims[1], to) = (outputs / 4, Layout::Channels4);
                [channel, steps[1] / 4 * channel, steps[2] / 4 * channel]
            }
            // A block is one.
            true if rows * columns == 4 => [channel, steps[1], steps[2]],
            true => return None,
        };
        let mut strides = vec![sample, o, down, i, right, j];
        if to == Layout::Channels4 {
            dims.push(4);
            strides.push(1);
        }
        Some((Strided { dims, strides, base: 0 }, to))
    }
}
