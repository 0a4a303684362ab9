//! Convolutions whose windows are read in ways of their own.

use super::*;

/// Numbers, NaN among them at some places: it must not get beyond the windows that see it.
fn with_nans(shape: &[usize], at: &[usize]) -> Tensor {
    let mut values = tensor(shape, 1).as_slice::<f32>().unwrap().to_vec();
    let count = values.len();
    at.iter().for_each(|at| values[at % count] = f32::NAN);
    Tensor::new(shape.to_vec(), values).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn depthwise_convolutions_of_whole_planes_agree(
        n in 1usize..3, c in 2usize..9, multiplier in 1usize..3, k in prop_oneof![Just([3, 3]), Just([5, 5]), Just([7, 7]), Just([1, 3]), Just([5, 3])],
        dilation in 1usize..3, after in 0usize..2, h in 1usize..20, w in 1usize..40, bias: bool, residual: bool, activation in activation(),
        at in prop::collection::vec(0usize..100_000, 0..2),
    ) {
        // As many outputs as inputs, one more of the padding on this side or on that.
        let pads = |reach: usize| [reach / 2 + after.min(reach / 2), reach - reach / 2 - after.min(reach / 2)];
        let (tall, wide) = (pads((k[0] - 1) * dilation), pads(k[1] - 1));
        let axes = [[k[0], 1, dilation, tall[0], tall[1], h], [k[1], 1, 1, wide[0], wide[1], w]];
        let definition = window(Definition::new("Conv"), &axes).attribute("group", c as i64);
        let mut conv = operator(&definition).unwrap().downcast::<Conv>().unwrap().clone();
        conv.activation = activation;
        let mut inputs = vec![
            Input::Run(with_nans(&[n, c, h, w], &at)),
            Input::Constant(tensor(&[c * multiplier, 1, k[0], k[1]], 2)),
            if bias { Input::Constant(tensor(&[c * multiplier], 3)) } else { Input::Missing },
        ];
        if residual {
            inputs.push(Input::Run(tensor(&[n, c * multiplier, h, w], 4)));
            (conv.residual, conv.residual_last) = (true, bias);
        }
        check(Arc::new(conv), &inputs, SUMS)?;
    }

    #[test]
    fn convolutions_of_patches_agree(
        n in 1usize..3, i in 1usize..4, o in 1usize..20, k in 4usize..9, apart in 0usize..3, h in 8usize..40, w in 8usize..70,
        bias: bool, activation in activation(),
    ) {
        let axes = [[k, k + apart, 1, 0, 0, h], [k, k + apart, 1, 0, 0, w]];
        let mut conv = operator(&window(Definition::new("Conv"), &axes)).unwrap().downcast::<Conv>().unwrap().clone();
        conv.activation = activation;
        let inputs = [
            Input::Run(tensor(&[n, i, h, w], 1)),
            Input::Constant(tensor(&[o, i, k, k], 2)),
            if bias { Input::Constant(tensor(&[o], 3)) } else { Input::Missing },
        ];
        check(Arc::new(conv), &inputs, SUMS)?;
    }

    #[test]
    fn depthwise_convolutions_in_bands_agree(
        c in 2usize..4, k in 2usize..6, stride in 1usize..4, h in 40usize..90, w in 60usize..150, residual: bool,
        activation in activation(),
    ) {
        let axes = [[k, stride, 1, k / 2, 0, h], [k, stride, 1, k / 2, 0, w]];
        let definition = window(Definition::new("Conv"), &axes).attribute("group", c as i64);
        let mut conv = operator(&definition).unwrap().downcast::<Conv>().unwrap().clone();
        conv.activation = activation;
        let mut inputs =
            vec![Input::Run(tensor(&[1, c, h, w], 1)), Input::Constant(tensor(&[c, 1, k, k], 2)), Input::Missing];
        if residual {
            let output = |a: &[usize; 6]| (a[5] + a[3] + a[4] - a[0]) / a[1] + 1;
            inputs.push(Input::Run(tensor(&[1, c, output(&axes[0]), output(&axes[1])], 4)));
            conv.residual = true;
        }
        check(Arc::new(conv), &inputs, SUMS)?;
    }

    #[test]
    fn pools_of_every_second_window_agree(
        n in 1usize..3, c in 1usize..9, k in 1usize..5, stride in 1usize..4, dilation in 1usize..3, wide in 2usize..4,
        h in 8usize..30, w in 4usize..80, average: bool, at in prop::collection::vec(0usize..100_000, 0..4),
    ) {
        let axes = [[k, stride, dilation, 0, 0, h], [wide, 2, 1, 0, 0, w]];
        let name = if average { "AveragePool" } else { "MaxPool" };
        let x = with_nans(&[n, c, h, w], &at);
        check(operator(&window(Definition::new(name), &axes)).unwrap(), &[Input::Run(x)], SUMS)?;
    }
}
