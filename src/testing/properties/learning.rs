//! What learning from tables and training are made of: features, regressions, steps of optimizers.

use super::draw::*;
use super::{Case, Drawing, Entry};
use crate::tensor::{ElementType, Tensor};
use crate::testing::Tolerance;

/// Sums and quotients of a few numbers.
const CLOSE: Tolerance = Tolerance { absolute: 5e-6, relative: 1e-5 };

fn floats(d: &mut Draw, n: usize, low: f32, high: f32) -> Vec<f32> {
    (0..n).map(|_| d.number(low, high)).collect()
}

fn extract(d: &mut Draw) -> Case {
    let shape = d.full(2..=3);
    let last = shape[shape.len() - 1];
    let indices: Vec<i64> = (0..d.within(1..=5)).map(|_| d.below(last) as i64).collect();
    let indices = d.input(Tensor::vector(indices));
    d.case().run(d.any(&shape)).input(indices)
}

fn binarize(d: &mut Draw) -> Case {
    let shape = d.shape(1..=3);
    d.case().attribute("threshold", d.pick(&[0.0f32, 1.0])).run(d.whole(&shape, -3, 3))
}

fn impute(d: &mut Draw) -> Case {
    let shape = d.full(2..=2);
    let count = d.pick(&[1, shape[1]]);
    if d.element_type.is_integer() {
        let values: Vec<i64> = (0..count).map(|_| d.integer(-90..=90)).collect();
        let case = d.case().attribute("imputed_value_int64s", values).attribute("replaced_value_int64", 1);
        return case.run(d.whole(&shape, -2, 2));
    }
    let case = d.case().attribute("imputed_value_floats", floats(d, count, -9.0, 9.0));
    let wrong = d.pick(&[f32::NAN, 1.0]);
    let x = if wrong.is_nan() { d.any(&shape) } else { d.whole(&shape, -2, 2) };
    case.attribute("replaced_value_float", wrong).run(x)
}

fn regress(d: &mut Draw) -> Case {
    let (rows, features, targets) = (d.positive(), d.up_to(9), d.up_to(4));
    let case = d.case().attribute("targets", targets as i64);
    let case = case.attribute("coefficients", floats(d, targets * features, -1.0, 1.0));
    let case = if d.flip() { case.attribute("intercepts", floats(d, targets, -1.0, 1.0)) } else { case };
    let transform = d.pick(&["NONE", "SOFTMAX", "LOGISTIC"]);
    case.attribute("post_transform", transform).run(d.floats(&[rows, features], -1.0, 1.0)).within(CLOSE)
}

fn normalize(d: &mut Draw) -> Case {
    let shape = d.full(1..=2);
    d.case().attribute("norm", d.pick(&["MAX", "L1", "L2"])).run(d.floats(&shape, -4.0, 4.0)).within(CLOSE)
}

fn categories(d: &mut Draw) -> Case {
    let shape = d.full(1..=2);
    let case = d.case().attribute("cats_int64s", vec![0i64, 3, -2, 7]);
    case.run(d.whole(&shape, -3, 8))
}

fn scale(d: &mut Draw) -> Case {
    let shape = d.shape(2..=2);
    let count = if shape[1] == 0 { 1 } else { d.pick(&[1, shape[1]]) };
    let case =
        d.case().attribute("offset", floats(d, count, -1.0, 1.0)).attribute("scale", floats(d, count, -2.0, 2.0));
    case.run(d.floats(&shape, -4.0, 4.0)).within(CLOSE)
}

/// Tensors by turns: all of them, their gradients, and what the optimizer knows of each.
fn step(d: &mut Draw) -> Case {
    let kept = if d.name() == "Adam" { 2 } else { 1 };
    let mut case = d.case().attribute("norm_coefficient", d.pick(&[0.0f32, 0.125]));
    case = match d.name() {
        "Adagrad" => case.attribute("decay_factor", 0.125f32).attribute("epsilon", 1e-3f32),
        "Adam" => case.attribute("alpha", 0.75f32).attribute("beta", 0.875f32).attribute("epsilon", 1e-3f32),
        _ => {
            let mode = d.pick(&["standard", "nesterov"]);
            case.attribute("alpha", 0.75f32).attribute("beta", 0.5f32).attribute("mode", mode)
        }
    };
    let count = d.within(1..=2);
    let shapes: Vec<_> = (0..count).map(|_| d.full(0..=3)).collect();
    case = case.constant(Tensor::scalar(0.125f32)).constant(Tensor::scalar(d.integer(0..=5)));
    for part in 0..2 + kept {
        for shape in &shapes {
            // What is squared and summed is not below 0.
            let low = if part < 2 { -1.0 } else { 0.0 };
            case = case.run(d.floats(shape, low, 1.0));
        }
    }
    case.outputs(count * (1 + kept)).within(CLOSE)
}

pub fn entries() -> Vec<Entry> {
    const NUMBERS: &[ElementType] = &[F32, I64, I32];
    let features: [(&'static str, &'static [ElementType], Drawing); 7] = [
        ("ArrayFeatureExtractor", NUMBERS, extract),
        ("Binarizer", NUMBERS, binarize),
        ("Imputer", &[F32, I64], impute),
        ("LinearRegressor", &[F32], regress),
        ("Normalizer", &[F32], normalize),
        ("OneHotEncoder", &[I64], categories),
        ("Scaler", &[F32], scale),
    ];
    let features = features.into_iter().map(|(name, types, draw)| Entry {
        domain: "ai.onnx.ml",
        name,
        types,
        draw: Box::new(draw),
    });
    let optimizers = ["Adagrad", "Adam", "Momentum"].map(|name| Entry {
        domain: "ai.onnx.preview.training",
        name,
        types: &[F32],
        draw: Box::new(step),
    });
    features.chain(optimizers).collect()
}
