//! Resize and ConvTranspose.

use super::*;

/// Kernel, stride, dilation, what is cut off before and after, and the input.
type Along = (usize, usize, usize, usize, usize, usize);

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn resized_tensors_agree(
        dims in prop::collection::vec((1usize..9, 1usize..20, prop::sample::select(vec![0usize, 1, 2, 3])), 1..5),
        mode in prop::sample::select(vec!["nearest", "linear", "cubic"]),
        coordinates in prop::sample::select(vec!["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]),
        antialias: bool,
    ) {
        // A dimension stays, becomes another, or is a whole number of times as large.
        let sizes: Vec<i64> = dims.iter().map(|&(n, m, how)| match how {
            0 => n as i64,
            1 => m as i64,
            times => (n * times) as i64,
        }).collect();
        let shape: Vec<usize> = dims.iter().map(|d| d.0).collect();
        prop_assume!(sizes.iter().zip(&shape).any(|(&to, &from)| to != from as i64));
        let definition = Definition::new("Resize")
            .attribute("mode", mode)
            .attribute("coordinate_transformation_mode", coordinates)
            .attribute("nearest_mode", "floor")
            .attribute("antialias", i64::from(antialias && mode != "nearest"));
        let sizes = Input::Constant(Tensor::vector(sizes));
        let inputs = [Input::Run(tensor(&shape, 1)), Input::Missing, Input::Missing, sizes];
        check(operator(&definition).unwrap(), &inputs, SUMS)?;
    }

    #[test]
    fn transposed_convolutions_agree(
        n in 1usize..3, groups in 1usize..3, i in 1usize..6, o in prop_oneof![1usize..8, Just(40)],
        axes in prop::collection::vec((1usize..5, 1usize..4, 1usize..3, 0usize..3, 0usize..3, 1usize..12), 1..4),
        bias: bool, constant: bool, activation in activation(),
    ) {
        let list = |f: &dyn Fn(&Along) -> usize| axes.iter().map(|a| f(a) as i64).collect::<Vec<_>>();
        // What is cut off must leave something.
        let length = |a: &Along| (a.5 - 1) * a.1 + (a.0 - 1) * a.2 + 1;
        prop_assume!(axes.iter().all(|a| length(a) > a.3 + a.4));
        let definition = Definition::new("ConvTranspose")
            .attribute("kernel_shape", list(&|a| a.0))
            .attribute("strides", list(&|a| a.1))
            .attribute("dilations", list(&|a| a.2))
            .attribute("pads", [list(&|a| a.3), list(&|a| a.4)].concat())
            .attribute("group", groups as i64);
        let shape = |from: [usize; 2], f: &dyn Fn(&Along) -> usize| {
            [from.to_vec(), axes.iter().map(f).collect()].concat()
        };
        let inputs = [
            Input::Run(tensor(&shape([n, groups * i], &|a| a.5), 1)),
            kept(constant, tensor(&shape([groups * i, o], &|a| a.0), 2)),
            if bias { kept(constant, tensor(&[groups * o], 3)) } else { Input::Missing },
        ];
        let operator = operator(&definition).unwrap();
        let operator = if activation == Activation::Identity { operator } else { operator.with_activation(activation).unwrap() };
        check(operator, &inputs, SUMS)?;
    }
}

#[test]
fn large_pictures_agree() {
    let definition = Definition::new("ConvTranspose").attribute("strides", [2i64, 2]);
    let inputs = [Input::Run(tensor(&[1, 24, 50, 60], 1)), Input::Constant(tensor(&[24, 24, 2, 2], 2))];
    check(operator(&definition).unwrap(), &inputs, SUMS).unwrap();
    let definition = Definition::new("Resize").attribute("mode", "linear");
    let scales = Input::Constant(Tensor::vector(vec![1f32, 1.0, 2.0, 0.7]));
    check(operator(&definition).unwrap(), &[Input::Run(tensor(&[1, 5, 50, 60], 1)), Input::Missing, scales], SUMS)
        .unwrap();
}
