//! A convolution or a product of integers in numbers.

use super::super::channels::{Channels, Places, content};
use super::super::table;
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Dispatch, Kernel, Layout, Storage, Want};
use crate::ops::window::Axis;
use crate::tensor::{ElementType, Tensor};

/// Shapes and steps.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ops::quantize) struct Geometry {
    pub samples: usize,
    /// Input channels of a group.
    pub group_inputs: usize,
    /// Output channels of all groups.
    pub outputs: usize,
    pub groups: usize,
    /// Height and width.
    pub axes: [Axis; 2],
    /// Units from one pixel, one quad of channels, one sample of x to the next.
    pub x_steps: [usize; 3],
    /// The same of y.
    pub y_steps: [usize; 3],
    pub x_layout: Layout,
    pub y_layout: Layout,
    /// Elements of the weights from one output, one input, one tap to the next.
    pub w_steps: [usize; 3],
}

/// What all kernels start from.
pub(in crate::ops::quantize) struct Problem<'a> {
    pub request: &'a Request<'a>,
    pub geometry: Geometry,
    pub weights: &'a Tensor,
    pub x_storage: Storage,
    y_storage: Storage,
    /// Whether x has no sign.
    unsigned: bool,
    /// The zero point of x as a number with a sign, which the biases make good.
    channels: Channels,
    open: Option<Open>,
}

/// The scale and the zero point of x, where they come with the run: what is known is as if they were 1 and 0.
struct Open {
    x_scale: usize,
    x_zero: usize,
    /// The sum of the weights of each output.
    sums: Vec<i32>,
}

/// Invocations of a workgroup that makes a table.
const WORKGROUP: u32 = 64;

impl<'a> Problem<'a> {
    /// The problem, if these kernels can solve it: all but x is known, and the weights' zero points are none. Where the result is
    /// floats, the scale and the zero point of x need not be known. `alpha` multiplies the scales, `bounds` those of the result's
    /// integers.
    pub fn of(
        request: &'a Request<'a>,
        geometry: Geometry,
        places: Places,
        alpha: f32,
        bounds: Option<[i32; 2]>,
    ) -> Option<Self> {
        let known = |index: usize| content(request.optional(index).map(|operand| operand.fact));
        let weights = known(places.w)??;
        let output = request.outputs.first()?.element_type;
        let of_x = [places.x_scale?, places.x_zero];
        let open = output == ElementType::F32 && of_x.into_iter().any(|index| known(index).is_none());
        let channels = Channels::of(
            |index| if open && of_x.contains(&index) { Some(None) } else { known(index) },
            places,
            (geometry.outputs, output),
            alpha,
            bounds,
        );
        let mut channels = channels.filter(|channels| channels.is_finite() && output != ElementType::I32)?;
        let unsigned = request.input(0).ok()?.fact.element_type == ElementType::U8;
        let offset = |t: ElementType| if t == ElementType::U8 { 128 } else { 0 };
        let sign = offset(weights.element_type());
        if channels.w_zeros.iter().any(|&zero| zero != sign) {
            return None;
        }
        channels.x_zero -= if unsigned { 128 } else { 0 };
        let [output_step, input_step, tap_step] = geometry.w_steps;
        let taps = geometry.axes.iter().map(|axis| axis.kernel).product::<usize>();
        let (bytes, mut sums) = (weights.bytes(), vec![]);
        let flip = if sign == 0 { 0 } else { 0x80 };
        for (o, bias) in channels.biases.iter_mut().enumerate() {
            let places = (0..geometry.group_inputs).flat_map(|i| (0..taps).map(move |t| i * input_step + t * tap_step));
            let one = |at: usize| bytes.get(o * output_step + at).copied().unwrap_or_default();
            let sum = places.fold(0i32, |sum, at| sum.wrapping_add((one(at) ^ flip).cast_signed().into()));
            *bias = bias.wrapping_sub(sum.wrapping_mul(channels.x_zero));
            sums.push(sum);
        }
        let open = open.then_some(Open { x_scale: of_x[0], x_zero: of_x[1], sums });
        Some(Self {
            request,
            geometry,
            weights,
            x_storage: request.storage(0).ok()?,
            y_storage: request.output_storage(0).ok()?,
            unsigned,
            channels,
            open,
        })
    }

    /// Output channels of a group.
    pub const fn group_outputs(&self) -> usize {
        self.geometry.outputs / self.geometry.groups
    }

    /// Elements of the kernel.
    pub fn taps(&self) -> usize {
        self.geometry.axes.iter().map(|axis| axis.kernel).product()
    }

    /// Pixels of the result.
    pub fn pixels(&self) -> usize {
        self.geometry.axes.iter().map(|axis| axis.output).product()
    }

    /// Multiplications and additions.
    pub fn operations(&self) -> f64 {
        let sums = self.geometry.samples * self.pixels() * self.geometry.outputs;
        2.0 * (self.taps() * self.geometry.group_inputs) as f64 * sums as f64
    }

    /// Bytes of x, the weights and y.
    fn bytes(&self) -> f64 {
        let g = &self.geometry;
        let inputs: usize = g.axes.iter().map(|axis| axis.input).product::<usize>() * g.group_inputs * g.groups;
        (g.samples * (inputs + self.pixels() * g.outputs) + self.weights.len()) as f64
    }

    /// The numbers that are known of so many outputs, each list with this room.
    fn table(&self, room: usize) -> Binding {
        let mut numbers = vec![];
        let mut list = |words: &mut dyn Iterator<Item = i32>| {
            numbers.extend(words.take(room));
            numbers.resize(numbers.len().next_multiple_of(room), 0);
        };
        let bits = |all: &[f32]| all.iter().map(|v| v.to_bits().cast_signed()).collect::<Vec<_>>();
        list(&mut self.channels.biases.iter().copied());
        list(&mut bits(&self.channels.factors).into_iter());
        if let Some(rests) = &self.channels.rests {
            list(&mut bits(rests).into_iter());
        }
        if let Some(open) = &self.open {
            list(&mut open.sums.iter().copied());
        }
        table::constant(numbers)
    }

    /// The dispatch that makes the table of what comes with the run, and the table's units.
    fn opening(&self, open: &Open, room: usize) -> Result<(Dispatch, u64), String> {
        let rest = self.channels.rests.is_some();
        let kernel = Kernel::of("quantize/packed_ends.wgsl").define("WORKGROUP", WORKGROUP).define("REST", rest);
        let (zero, zero_storage) = match self.request.optional(open.x_zero) {
            Some(_) => (Binding::Input(open.x_zero), self.request.storage(open.x_zero)?),
            None => (table::constant(vec![0; 4]), Storage::I32),
        };
        let units = (room / 4) as u64;
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(open.x_scale), self.request.storage(open.x_scale)?)
            .bind(zero, zero_storage)
            .bind(self.table(room), Storage::I32)
            .bind(Binding::Scratch(0), Storage::I32)
            .param("room", room / 4)
            .param("offset", if self.unsigned { -128i32 } else { 0 })
            .linear(units, WORKGROUP, self.request.device);
        Ok((dispatch, units * if rest { 3 } else { 2 } + 1))
    }

    /// A dispatch of the kernel with x, the weights, the table and y bound and its common parameters set. The table has room for
    /// so many outputs.
    pub fn dispatch(&self, kernel: Kernel, (binding, storage): (Binding, Storage), room: usize) -> Dispatch {
        let result = if self.channels.quantized.is_some() { 2 } else { 1 };
        let kernel = kernel.define("RESULT", result).define("REST", self.channels.rests.is_some());
        let kernel = kernel.define("OPEN", self.open.is_some());
        let table = if self.open.is_some() { Binding::Scratch(0) } else { self.table(room) };
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), self.x_storage)
            .bind(binding, storage)
            .bind(table, Storage::I32)
            .bind(Binding::Output(0), self.y_storage)
            .param("room", room / 4);
        let dispatch = match self.channels.quantized {
            Some([zero, low, high]) => dispatch.param("zero", zero).param("low", low - zero).param("high", high - zero),
            None => dispatch,
        };
        let outside = u32::from_ne_bytes([self.channels.x_zero.to_le_bytes()[0]; 4]);
        let [x_pixel, x_quad, x_sample] = self.geometry.x_steps;
        let [y_pixel, y_quad, y_sample] = self.geometry.y_steps;
        let dispatch = dispatch.param("flip", if self.unsigned { 0x8080_8080u32 } else { 0 });
        let dispatch = if self.open.is_some() { dispatch } else { dispatch.param("outside", outside) };
        dispatch
            .param("x_pixel", x_pixel)
            .param("x_quad", x_quad)
            .param("x_sample", x_sample)
            .param("y_pixel", y_pixel)
            .param("y_quad", y_quad)
            .param("y_sample", y_sample)
    }

    /// A candidate with this dispatch, whose table has this room, and which takes so many times as long as 10 GFLOP/s would.
    pub fn candidate(&self, name: &'static str, dispatch: Dispatch, room: usize, slowness: f64) -> Option<Candidate> {
        let mut wants = vec![Want::Nothing; self.request.inputs.len()];
        wants[0] = Want::In(self.geometry.x_layout);
        let mut candidate = Candidate::new(name, wants, vec![self.geometry.y_layout]);
        if let Some(open) = &self.open {
            for index in [open.x_scale, open.x_zero] {
                if self.request.optional(index).is_some() {
                    candidate.inputs[index] = Want::In(Layout::Linear);
                }
            }
            let (opening, units) = self.opening(open, room).ok()?;
            candidate.scratch.push((units, Storage::I32));
            candidate = candidate.dispatch(opening);
        }
        Some(candidate.dispatch(dispatch).cost(self.operations() * slowness, self.bytes()))
    }
}
