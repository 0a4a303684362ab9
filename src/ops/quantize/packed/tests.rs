//! Kernels over packed words against the references: every integer the same.

use proptest::prelude::*;

use crate::graph::Definition;
use crate::ops::conv::Conv;
use crate::ops::quantize::{IntegerConv, IntegerProduct};
use crate::ops::window::Window;
use crate::tensor::Tensor;
use crate::tensor::shape::elements;
use crate::testing::{Input, Tolerance, check};

fn bytes(shape: &[usize], signed: bool, seed: usize) -> Tensor {
    let numbers = (0..elements(shape).unwrap()).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 7 & 255) as u8);
    match signed {
        true => Tensor::new(shape, numbers.map(u8::cast_signed).collect()).unwrap(),
        false => Tensor::new(shape, numbers.collect()).unwrap(),
    }
}

/// How the numbers beside x are drawn.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    /// Whether x, the weights and y have signs.
    signed: [bool; 3],
    /// Whether each output has a scale of its own.
    each: bool,
    /// No bias, one of integers, one of floats.
    bias: u8,
    /// Whether the result is floats.
    floats: bool,
    /// Whether the scale and the zero point of x come with the run. The result is floats then.
    open: bool,
    seed: usize,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    // Few combinations of signs: each is a pipeline of its own.
    let signed = prop::sample::select(vec![[false, true, false], [true, true, true], [false, false, true]]);
    let all = (signed, any::<[bool; 3]>(), 0u8..3, 0usize..1000);
    all.prop_map(|(signed, [each, floats, open], bias, seed)| Drawn {
        signed,
        each,
        bias,
        floats: floats || open,
        open,
        seed,
    })
}

impl Drawn {
    /// The inputs of a product of x and weights, whose sums have so many terms.
    fn inputs(self, x: &[usize], w: &[usize], outputs: usize, terms: usize) -> Vec<Input> {
        let Self { signed, each, bias, floats, open, seed } = self;
        let of_x = |t: Tensor| if open { Input::Run(t) } else { Input::Constant(t) };
        let zero = |signed| if signed { Tensor::scalar(0i8) } else { Tensor::scalar(128u8) };
        let count = if each { outputs } else { 1 };
        let scales = (0..count).map(|i| 0.013 + i as f32 / 4096.0).collect();
        let scales = Tensor::new(if each { vec![outputs] } else { vec![] }, scales).unwrap();
        // Results are spread over the integers that there are.
        let scale = 0.25 * (terms as f32).sqrt();
        let mut inputs = vec![
            Input::Run(bytes(x, signed[0], seed)),
            of_x(Tensor::scalar(0.25f32)),
            of_x(bytes(&[], signed[0], seed)),
            Input::Constant(bytes(w, signed[1], seed + 1)),
            Input::Constant(scales),
            Input::Constant(zero(signed[1])),
        ];
        let result = match floats {
            true => [Input::Missing, Input::Missing],
            false => [Input::Constant(Tensor::scalar(scale)), Input::Constant(bytes(&[], signed[2], seed + 3))],
        };
        let bias = match bias {
            0 => Input::Missing,
            1 => Input::Constant(Tensor::vector((0..outputs as i32).map(|i| i * 999 - 1000).collect())),
            _ => Input::Constant(Tensor::vector((0..outputs).map(|i| i as f32 * 0.37 - 1.1).collect())),
        };
        inputs.extend(result.into_iter().chain([bias]));
        inputs
    }

    fn tolerance(self) -> Tolerance {
        if self.floats { Tolerance { absolute: 1e-5, relative: 1e-6 } } else { Tolerance::EXACT }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    #[test]
    fn convolutions(
        n in 1usize..3, groups in prop::sample::select(vec![1usize, 1, 2, 7]), inputs in 1usize..10, outputs in 1usize..22,
        height in 3usize..8, width in 3usize..12, kernel in prop::sample::select(vec![1usize, 3]), stride in 1usize..3,
        pad in 0usize..2, bounded: bool, drawn in drawn(),
    ) {
        // Groups of whole quads, or of a single channel.
        let (inputs, outputs) = match groups {
            1 => (inputs, outputs),
            2 => (4, 8),
            _ => (1, 1),
        };
        let window = Window { strides: vec![stride; 2], pads: vec![pad; 4], ..Window::default() };
        let conv = Conv { window, groups, ..Conv::default() };
        let bounds = bounded.then_some(if drawn.signed[2] { [-20, 90] } else { [30, 200] });
        let op = IntegerConv::folded(conv, drawn.floats, bounds);
        let (x, w) = ([n, inputs * groups, height, width], [outputs * groups, inputs, kernel, kernel]);
        check(&op, &drawn.inputs(&x, &w, outputs * groups, inputs * kernel * kernel), drawn.tolerance());
    }

    #[test]
    fn products(
        m in 1usize..14, k in 1usize..9, n in 1usize..9, transposed: bool, drawn in drawn(),
    ) {
        let (k, n) = if m == 1 { (k, n) } else { (k * 4, n * 4) };
        let w = if transposed { [n, k] } else { [k, n] };
        let op = IntegerProduct::folded(Some((false, transposed)), 1.0, None);
        let mut inputs = drawn.inputs(&[m, k], &w, n, k);
        // The bias of a product comes before the result's scale.
        inputs[6..].rotate_right(1);
        check(&op, &inputs, drawn.tolerance());
    }
}

#[test]
fn what_is_not_known_goes_another_way() {
    let conv = crate::ops::operator(&Definition::new("QLinearConv")).unwrap();
    let drawn = Drawn { signed: [false, true, false], each: true, bias: 1, floats: false, open: false, seed: 5 };
    let mut inputs = drawn.inputs(&[1, 4, 3, 3], &[4, 4, 1, 1], 4, 4);
    // Weights with a zero point of their own.
    inputs[5] = Input::Constant(Tensor::scalar(3i8));
    check(&*conv, &inputs, Tolerance::EXACT);
}
