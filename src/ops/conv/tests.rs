//! Conv against hand-computed examples, and every candidate against the reference.

use proptest::prelude::*;

use super::Conv;
use crate::graph::{Activation, Context, Definition, Dim, Fact, Inputs, Operand, Operator, Request, Value};
use crate::kernel::{DeviceClass, DeviceFacts, Layout, Storage};
use crate::ops::window::{AutoPad, Window};
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance, check, try_check, try_check_by_precision};

/// Numbers in −1 … 1 that look random, always the same.
fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let n = shape.iter().product::<usize>();
    Tensor::new(shape.to_vec(), (0..n).map(next).collect()).unwrap()
}

fn evaluate(conv: &Conv, inputs: &[&Tensor]) -> Tensor {
    let values: Vec<Value> = inputs.iter().map(|t| Value::Tensor((*t).clone())).collect();
    let references: Vec<Option<&Value>> = values.iter().map(Some).collect();

    conv.evaluate(&mut Context::default(), Inputs(&references)).unwrap().remove(0).into_tensor().unwrap()
}

/// Products are at most 1 here, so a sum of `terms` of them is off by at most `terms` · 2⁻²⁴ times its partial sums,
/// which random signs keep near the root of `terms`; 1e-6 per term is several times that.
fn tolerance(terms: usize) -> Tolerance {
    Tolerance { absolute: 1e-6 * terms as f32 + 1e-6, relative: 2e-6 }
}

#[test]
fn the_standards_example_with_and_without_padding() {
    let x = Tensor::new([1, 1, 5, 5], (0..25u8).map(f32::from).collect()).unwrap();
    let w = Tensor::new([1, 1, 3, 3], vec![1f32; 9]).unwrap();
    let padded = Conv { window: Window { pads: vec![1; 4], ..Window::default() }, ..Conv::default() };
    let y = evaluate(&padded, &[&x, &w]);
    assert_eq!(y.shape(), [1, 1, 5, 5]);
    assert_eq!(y.as_slice::<f32>().unwrap()[..7], [12., 21., 27., 33., 24., 33., 54.]);
    let y = evaluate(&Conv::default(), &[&x, &w]);
    assert_eq!(y.as_slice::<f32>().unwrap(), [54., 63., 72., 99., 108., 117., 144., 153., 162.]);
    let strided = Conv {
        window: Window { auto_pad: AutoPad::SameLower, strides: vec![2, 2], ..Window::default() },
        ..Conv::default()
    };
    let y = evaluate(&strided, &[&x, &w]);
    assert_eq!(y.as_slice::<f32>().unwrap(), [12., 27., 24., 63., 108., 81., 72., 117., 84.]);
}

#[test]
fn bias_residual_and_activation_come_in_this_order() {
    let x = Tensor::new([1, 1, 2], vec![1f32, -2.]).unwrap();
    let w = Tensor::new([1, 1, 1], vec![3f32]).unwrap();
    let b = Tensor::vector(vec![0.5f32]);
    let r = Tensor::new([1, 1, 2], vec![-5f32, 10.]).unwrap();
    let conv = Conv { activation: Activation::Relu, residual: true, ..Conv::default() };
    assert_eq!(evaluate(&conv, &[&x, &w, &b, &r]).as_slice::<f32>().unwrap(), [0., 4.5]);
}

#[test]
fn three_axes_and_doubles() {
    let x = Tensor::new([1, 1, 2, 2, 2], vec![1f64; 8]).unwrap();
    let w = Tensor::new([1, 1, 2, 2, 2], vec![0.1f64; 8]).unwrap();
    let y = evaluate(&Conv::default(), &[&x, &w]);
    assert!((y.as_slice::<f64>().unwrap()[0] - 0.8).abs() < 1e-12);
}

#[test]
fn shapes_may_be_symbolic_and_wrong_ones_are_refused() {
    let x = Fact::new(ElementType::F32, [Dim::symbol("n"), Dim::Known(3), Dim::symbol("h"), Dim::Unknown]);
    let w = Fact::new(ElementType::F32, [8usize, 3, 3, 3]);
    let conv =
        Conv { window: Window { strides: vec![2, 2], pads: vec![1; 4], ..Window::default() }, ..Conv::default() };
    let y = conv.infer(&[Some(&x), Some(&w)]).unwrap();
    assert_eq!(y[0].to_string(), "f32[n, 8, (⌊(h - 1) / 2⌋ + 1), ?]");
    let refused = |conv: &Conv, w: Fact| conv.infer(&[Some(&x), Some(&w)]).is_err();
    assert!(refused(&conv, Fact::new(ElementType::F32, [8usize, 4, 3, 3])));
    assert!(refused(&conv, Fact::new(ElementType::F32, [8usize, 3, 3])));
    assert!(refused(&conv, Fact::new(ElementType::F16, [8usize, 3, 3, 3])));
    assert!(refused(&conv, Fact::new(ElementType::F32, [8usize, 3, 0, 3])));
    assert!(refused(&Conv { groups: 3, ..conv.clone() }, Fact::new(ElementType::F32, [8usize, 1, 3, 3])));
    assert!(super::conv(&Definition::new("Conv").attribute("group", 0)).is_err());
}

/// A convolution and its inputs, small but of any kind.
#[derive(Debug, Clone)]
struct Case {
    conv: Conv,
    x: Vec<usize>,
    outputs: usize,
    kernel: Vec<usize>,
    bias: bool,
    constant: bool,
}

impl Case {
    fn inputs(&self) -> Vec<Input> {
        let groups = self.conv.groups();
        let mut w = vec![self.outputs, self.x[1] / groups];
        w.extend(&self.kernel);
        let wrap = |t| if self.constant { Input::Constant(t) } else { Input::Run(t) };
        let bias = if self.bias { wrap(noise(&[self.outputs], 3)) } else { Input::Missing };
        let mut inputs = vec![Input::Run(noise(&self.x, 1)), wrap(noise(&w, 2)), bias];
        if self.conv.residual {
            let axes = self.conv.window.axes(&self.x[2..], &self.kernel).unwrap();
            let y: Vec<_> = [self.x[0], self.outputs].into_iter().chain(axes.iter().map(|a| a.output)).collect();
            inputs.push(Input::Run(noise(&y, 4)));
        }
        inputs
    }

    fn try_check(&self) -> Result<usize, String> {
        let terms = self.x[1] / self.conv.groups() * self.kernel.iter().product::<usize>();
        try_check(&self.conv, &self.inputs(), tolerance(terms))
    }
}

fn axis() -> impl Strategy<Value = (usize, usize, usize, usize, (usize, usize))> {
    // Input, kernel, stride, dilation, pads: kernels larger than the image are made to fit by padding.
    (1usize..=13, 1usize..=5, 1usize..=3, 1usize..=2, (0usize..=2, 0usize..=2)).prop_map(
        |(n, k, s, d, (before, after))| {
            let short = ((k - 1) * d + 1).saturating_sub(n + before + after);
            (n, k, s, d, (before + short, after))
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let channels = (1usize..=3, prop_oneof![Just(0usize), 1usize..=13], 1usize..=13);
    let tail = (any::<bool>(), any::<bool>(), any::<bool>(), 0..3u8, 0..4u8);
    (1usize..=2, channels, proptest::collection::vec(axis(), 1..=3), tail).prop_map(
        |(n, (groups, inputs, outputs), axes, (bias, constant, residual, activation, auto_pad))| {
            // No inputs per group drawn: depthwise, with as many groups as there are channels.
            let (groups, c, o) =
                if inputs == 0 { (outputs, outputs, outputs) } else { (groups, groups * inputs, groups * outputs) };
            let pads = axes.iter().map(|a| a.4.0).chain(axes.iter().map(|a| a.4.1)).collect();
            let window = Window {
                auto_pad: if auto_pad == 1 { AutoPad::SameUpper } else { AutoPad::NotSet },
                strides: axes.iter().map(|a| a.2).collect(),
                dilations: axes.iter().map(|a| a.3).collect(),
                pads,
                ..Window::default()
            };
            let activation =
                [Activation::Identity, Activation::Relu, Activation::Clip(-0.5, 1.5)][usize::from(activation)];
            Case {
                conv: Conv {
                    window,
                    groups,
                    activation,
                    residual: residual && constant,
                    residual_last: bias,
                    cancellation: 0.0,
                },
                x: [n, c].into_iter().chain(axes.iter().map(|a| a.0)).collect(),
                outputs: o,
                kernel: axes.iter().map(|a| a.1).collect(),
                bias,
                constant,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_candidate_agrees_with_the_reference(case in case()) {
        case.try_check().map_err(TestCaseError::fail)?;
    }
}

#[test]
fn empty_batches_dispatch_nothing() {
    let w = Input::Constant(noise(&[4, 3, 3, 3], 2));
    let conv = Conv::default();
    check(&conv, &[Input::Run(noise(&[0, 3, 5, 5], 1)), w, Input::Missing], Tolerance::EXACT);
}

/// A convolution of one image without padding, everything constant but x.
fn plain(x: [usize; 4], outputs: usize, kernel: usize, stride: usize, groups: usize) -> Case {
    let pads = vec![kernel / 2; 4];
    let window = Window { strides: vec![stride; 2], pads, ..Window::default() };
    let conv = Conv { window, groups, activation: Activation::Relu, residual: true, ..Conv::default() };
    Case { conv, x: x.to_vec(), outputs, kernel: vec![kernel; 2], bias: true, constant: true }
}

#[test]
fn the_larger_variants_agree_with_the_reference() {
    // Enough pixels for two quads an invocation (register) and two quads a row of the tile (workgroup).
    plain([1, 5, 46, 46], 64, 1, 1, 1).try_check().unwrap();
    plain([1, 3, 46, 45], 64, 3, 1, 1).try_check().unwrap();
    plain([2, 16, 31, 30], 40, 1, 1, 2).try_check().unwrap();
}

#[test]
fn what_is_written_out_agrees_with_the_reference() {
    for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
        plain([2, 6, 19, 22], 6, kernel, stride, 6).try_check().unwrap();
        plain([1, 9, 18, 21], 24, kernel, stride, 1).try_check().unwrap();
    }
    // Any padding before a row, so that the first unit that a window sees begins anywhere; rows shorter than a window.
    for (x, kernel, stride, before) in
        [([1, 6, 9, 21], 1, 1, 1), ([1, 3, 5, 3], 2, 2, 3), ([1, 2, 9, 21], 4, 1, 4), ([1, 1, 5, 13], 7, 2, 6)]
    {
        let mut case = plain(x, 6, kernel, stride, 1);
        case.conv.window.pads = vec![before, before, kernel, kernel];
        case.try_check().unwrap();
    }
}

#[test]
fn windows_that_see_the_whole_input_are_products_of_a_vector() {
    for (x, outputs, kernel, bias) in [
        ([1, 37, 1, 1], 10, 1, true),
        ([3, 40, 1, 1], 24, 1, false),
        ([1, 5, 3, 3], 9, 3, true),
        ([2, 6, 1, 1], 7, 1, true),
    ] {
        let mut case = plain(x, outputs, kernel, 1, 1);
        case.conv = Conv { activation: Activation::HardSigmoid(0.2, 0.5), ..Conv::default() };
        case.bias = bias;
        case.try_check().unwrap();
    }
}

#[test]
fn winograds_tiles_agree_with_the_reference() {
    // Tiles that reach beyond the plane, several samples, channels that are no multiple of four, any padding.
    for (x, outputs, pads) in [
        ([2, 66, 9, 14], 69, [1, 1, 1, 1]),
        ([1, 66, 11, 8], 70, [0, 0, 0, 0]),
        ([2, 64, 13, 13], 64, [1, 1, 1, 1]),
        ([1, 65, 3, 5], 64, [2, 3, 1, 2]),
    ] {
        let mut case = plain(x, outputs, 3, 1, 1);
        case.conv.window.pads = pads.to_vec();
        // Weights in 16 bits are rounded at the points: each of a result's nine products an input channel is off by up to
        // 2⁻¹¹ of it, 1e-4 in the root mean square of these numbers, whatever the result. Six times that for their sum.
        let terms = 9 * x[1];
        let in_half = Tolerance { absolute: 6e-4 * (terms as f32).sqrt(), ..tolerance(terms).half() };
        try_check_by_precision(&case.conv, &case.inputs(), tolerance(terms), in_half).unwrap();
    }
}

#[test]
fn sums_that_are_split_agree_with_the_reference() {
    // Parts that end inside a quad and that are shorter than the others, several samples, outputs that are no whole tile.
    for (x, outputs, kernel, stride) in
        [([1, 231, 3, 3], 6, 3, 1), ([2, 2050, 1, 2], 7, 1, 1), ([1, 256, 5, 5], 9, 3, 2)]
    {
        let case = plain(x, outputs, kernel, stride, 1);
        case.try_check().unwrap();
        let bare = Conv { residual: false, activation: Activation::Identity, ..case.conv };
        Case { conv: bare, bias: false, ..case }.try_check().unwrap();
    }
}

#[test]
fn every_variant_is_valid_wgsl() {
    let mut kernels = std::collections::BTreeSet::new();
    let software = |lanes| DeviceFacts { subgroup_size: Some(lanes), ..DeviceFacts::lavapipe() };
    let mut devices: Vec<_> = DeviceClass::ALL.map(DeviceFacts::floor).to_vec();
    devices.extend([software(4), software(8), software(16)]);
    for (outputs, inputs, groups) in
        [(64, 5, 1), (64, 66, 1), (8, 260, 1), (16, 1, 1), (8, 2, 1), (24, 24, 24), (24, 16, 4), (12, 6, 6)]
    {
        for (kernel, stride, size) in
            [(1, 1, 46), (3, 1, 46), (3, 1, 14), (3, 2, 7), (5, 1, 7), (5, 2, 7), (7, 2, 9), (7, 3, 9)]
        {
            let case = plain([1, inputs, size, size], outputs, kernel, stride, groups);
            for residual in [false, true] {
                let conv = Conv { residual, ..case.conv.clone() };
                let tensors = case.inputs();
                let facts: Vec<_> = tensors
                    .iter()
                    .map(|input| match input {
                        Input::Run(t) => Fact::new(t.element_type(), t.shape().to_vec()),
                        Input::Constant(t) => Fact::constant(t.clone()),
                        Input::Missing => unreachable!(),
                    })
                    .collect();
                for (device, storage) in
                    devices.iter().flat_map(|d| [Storage::F32, Storage::F16].map(|storage| (d, Some(storage))))
                {
                    let operands: Vec<_> =
                        facts.iter().map(|fact| Some(Operand { fact, layout: Layout::Linear, storage })).collect();
                    let outputs = conv.infer(&facts.iter().map(Some).collect::<Vec<_>>()).unwrap();
                    let request = Request {
                        inputs: &operands,
                        outputs: &outputs,
                        output_storages: &[storage],
                        device,
                        open: false,
                    };
                    let candidates = conv.candidates(&request).unwrap();
                    assert!(candidates.iter().any(|c| c.name == "direct"));
                    for dispatch in candidates.into_iter().flat_map(|c| c.dispatches) {
                        assert!(dispatch.bindings.len() <= 4, "{} needs more than the floor", dispatch.kernel.shader);
                        kernels.insert(dispatch.kernel);
                    }
                }
            }
        }
    }
    for shader in ["conv/winograd_input.wgsl", "conv/winograd_output.wgsl"] {
        for (side, channels4) in [(2, 0), (2, 1), (4, 0), (4, 1)] {
            let defines = [("SIDE", side), ("CHANNELS4", channels4)];
            let is = |kernel: &crate::kernel::Kernel| defines.iter().all(|define| kernel.defines.contains(define));
            assert!(kernels.iter().any(|k| k.shader == shader && is(k)), "{shader} is offered with {defines:?}");
        }
    }
    for kernel in kernels {
        let text = crate::kernel::assemble::assemble(&kernel).unwrap().wgsl;
        let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
        // Halves are unpacked by a function that needs no feature of wgpu's.
        let capabilities = naga::valid::Capabilities::SUBGROUP | naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(naga::valid::SubgroupOperationSet::all())
            .validate(&module)
            .unwrap_or_else(|e| panic!("{kernel:?}: {e:?}"));
    }
}
