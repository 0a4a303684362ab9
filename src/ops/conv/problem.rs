//! A convolution in numbers: what the candidates of all kernel families start from.

use super::pack::{self, Packed};
use super::{Conv, RESIDUAL};
use crate::graph::{Activation, Request};
use crate::kernel::{Binding, Candidate, DeviceFacts, Dispatch, Layout, Packing, Want, units};
use crate::ops::window::{Axis, three};
use crate::tensor::{ElementType, Tensor, shape};

/// Everything about one convolution on one device.
pub(super) struct Problem<'a> {
    pub conv: &'a Conv,
    pub request: &'a Request<'a>,
    pub device: &'a DeviceFacts,
    /// N.
    pub samples: usize,
    /// Input channels of all groups.
    pub inputs: usize,
    /// Output channels of all groups.
    pub outputs: usize,
    pub groups: usize,
    /// Depth, height, width.
    pub axes: [Axis; 3],
    pub x_shape: Vec<usize>,
    pub y_shape: Vec<usize>,
    /// The weights, where they are known when the plan is made, and so is the bias.
    pub weights: Option<&'a Tensor>,
    /// The bias, as the bits of f32; empty where there is none.
    bias: Vec<usize>,
    /// Whether there is a bias.
    pub biased: bool,
}

impl<'a> Problem<'a> {
    /// The convolution of a request, or why no kernel can run it.
    pub fn of(conv: &'a Conv, request: &'a Request<'a>) -> Result<Self, String> {
        let (x_shape, w_shape, y_shape) = (request.shape(0)?, request.shape(1)?, request.output_shape(0)?);
        let axes = conv.window.axes(&x_shape[2..], &w_shape[2..]).map_err(|e| e.to_string())?;
        let axes = three(&axes).ok_or("it has more than three spatial axes")?;
        for (storage, what) in [(request.storage(0)?, "input"), (request.output_storage(0)?, "output")] {
            if !storage.is_float() {
                return Err(format!("its {what} is no floating-point value"));
            }
        }
        if shape::elements(&x_shape) == Some(0) && shape::elements(&y_shape) != Some(0) {
            return Err("its input is empty".to_owned());
        }
        // Indices of elements are 32-bit in the shaders.
        let small = |shape: &[usize]| units(shape, Layout::Channels4).is_some_and(|n| n < 1 << 28);
        if !(small(&x_shape) && small(&y_shape) && small(&w_shape)) {
            return Err("its tensors are too large for 32-bit indices".to_owned());
        }
        let constant = request.input(1)?.fact.constant.as_ref();
        let bias = request.optional(2).map(|b| b.fact);
        let bias_bits = bias.and_then(|b| b.floats()).map(|b| b.iter().map(|v| v.to_bits() as usize).collect());
        let weights = constant.filter(|w| {
            matches!(w.element_type(), ElementType::F32 | ElementType::F16) && (bias.is_none() || bias_bits.is_some())
        });
        Ok(Self {
            conv,
            request,
            device: request.device,
            samples: x_shape[0],
            inputs: x_shape[1],
            outputs: w_shape[0],
            groups: conv.groups(),
            axes,
            x_shape,
            y_shape,
            weights,
            bias: bias_bits.unwrap_or_default(),
            biased: bias.is_some(),
        })
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.y_shape.contains(&0)
    }

    /// Input channels of a group.
    pub const fn group_inputs(&self) -> usize {
        self.inputs / self.groups
    }

    /// Output channels of a group.
    pub const fn group_outputs(&self) -> usize {
        self.outputs / self.groups
    }

    /// Whether there are at most two spatial axes.
    pub fn is_planar(&self) -> bool {
        self.x_shape.len() <= 4
    }

    /// Floating-point operations.
    pub fn operations(&self) -> f64 {
        let taps: usize = self.axes.iter().map(|a| a.kernel).product();
        2.0 * (taps * self.group_inputs()) as f64 * self.y_shape.iter().map(|&d| d as f64).product::<f64>()
    }

    /// Bytes of the input, the weights and the output, each once.
    pub fn bytes(&self) -> f64 {
        let product = |shape: &[usize]| shape.iter().map(|&d| d as f64).product::<f64>();
        let taps: usize = self.axes.iter().map(|a| a.kernel).product();
        let weights = (taps * self.group_inputs() * self.outputs) as f64;
        4.0 * (product(&self.x_shape) + weights + product(&self.y_shape) * if self.conv.residual { 2.0 } else { 1.0 })
    }

    /// A candidate that takes x and the residual, and gives the output, in `layout`; weights and bias are constants.
    pub fn candidate(&self, name: &'static str, layout: Layout) -> Candidate {
        let mut wants = vec![Want::Nothing; self.request.inputs.len()];
        wants[0] = Want::In(layout.canonical(&self.x_shape));
        if self.conv.residual {
            wants[RESIDUAL] = Want::In(layout.canonical(&self.y_shape));
        }
        Candidate::new(name, wants, vec![layout.canonical(&self.y_shape)])
    }

    /// The weights, packed by `packing` into so many elements, and so many biases in one constant.
    pub fn constant(
        &self,
        weights: &Tensor,
        packing: Packing,
        parameters: &[usize],
        (elements, biases): (usize, usize),
    ) -> Option<Packed> {
        let storage = self.request.storage(1).ok()?;
        Some(pack::constant(weights, packing, parameters, (elements, biases), &self.bias, storage))
    }

    /// The bias, zeros where there is none.
    pub fn bias_tensor(&self) -> Option<Tensor> {
        let bits = self.bias.iter().map(|&b| u32::try_from(b).unwrap_or_default());
        let bias: Vec<f32> = bits.chain(std::iter::repeat(0)).take(self.outputs).map(f32::from_bits).collect();
        Tensor::new([self.outputs], bias).ok()
    }

    /// Binds the residual, if there is one, and the output, and sets the parameters of the tail.
    pub fn tail(&self, mut dispatch: Dispatch) -> Option<Dispatch> {
        if self.conv.residual {
            dispatch.kernel = dispatch.kernel.define("RESIDUAL", 1);
            dispatch = dispatch.bind(Binding::Input(RESIDUAL), self.request.storage(RESIDUAL).ok()?);
        }
        let dispatch = dispatch.bind(Binding::Output(0), self.request.output_storage(0).ok()?);
        if dispatch.bindings.len() > self.device.max_storage_buffers as usize {
            return None;
        }
        let dispatch = activated(dispatch, self.conv.activation);
        Some(match self.conv.residual {
            true => dispatch.param("last", u32::from(self.conv.residual_last)),
            false => dispatch,
        })
    }
}

/// Sets the activation. Its kind is part of the pipeline, because a software adapter runs every branch of a switch;
/// but those that only bound their argument are one kind, so that most networks need no more.
pub(in crate::ops) fn activated(mut dispatch: Dispatch, activation: Activation) -> Dispatch {
    let (kind, alpha, beta) = match activation {
        Activation::Identity => Activation::Clip(f32::MIN, f32::MAX).parameters(),
        Activation::Relu => Activation::Clip(0.0, f32::MAX).parameters(),
        // Networks that have the one often have the other at their ends.
        Activation::Sigmoid => (Activation::Silu.parameters().0, 1.0, 0.0),
        other => other.parameters(),
    };
    dispatch.kernel = dispatch.kernel.define("ACTIVATION", kind);
    dispatch.param("alpha", alpha).param("beta", beta)
}

/// Candidates, and after them the same with the activation by the pipelines of others that have it beside their own, which
/// costs a little more.
pub(in crate::ops) fn with_others_activations(
    mut candidates: Vec<Candidate>,
    activation: Activation,
) -> Vec<Candidate> {
    let (low, high) = match activation {
        Activation::Identity => (f32::MIN, f32::MAX),
        Activation::Relu => (0.0, f32::MAX),
        Activation::Clip(low, high) if low < high => (low, high),
        _ => return candidates,
    };
    let between = Some((Activation::HardSwish.parameters().0, low, high));
    let above = (high == f32::MAX).then_some((Activation::Silu.parameters().0, 2.0, low));
    let own = candidates.len();
    for (kind, alpha, beta) in [between, above].into_iter().flatten() {
        for at in 0..own {
            let mut candidate = candidates[at].clone();
            candidate.cost *= 1.01;
            let tails = |dispatch: &&mut Dispatch| dispatch.kernel.shader.starts_with("conv/");
            let mut others = 0;
            for dispatch in candidate.dispatches.iter_mut().filter(tails) {
                for (_, define) in dispatch.kernel.defines.iter_mut().filter(|(name, _)| *name == "ACTIVATION") {
                    *define = kind.into();
                    others += 1;
                }
                for (name, word) in &mut dispatch.params {
                    match *name {
                        "alpha" => *word = alpha.into(),
                        "beta" => *word = beta.into(),
                        _ => {}
                    }
                }
            }
            if others > 0 {
                candidates.push(candidate);
            }
        }
    }
    candidates
}
