//! What exporters write in several nodes, and rewrites look for.

use rimlight::Tensor;
use rimlight::graph::Definition;

use super::Grid;
use super::draw::Draw;

fn operator(d: &mut Draw<'_, '_>, name: &str, inputs: &[usize]) -> Option<usize> {
    d.node(Definition::new(name), inputs, None)
}

pub fn idiom(d: &mut Draw<'_, '_>) -> Option<()> {
    match d.below(8) {
        0 => gelu(d),
        1 => swish(d),
        2 => layer_norm(d),
        3 => attention(d),
        4 => padded(d),
        5 => residual(d),
        6 => scaled(d),
        _ => heads(d),
    }
}

/// x/2 · (1 + erf(x/√2)).
fn gelu(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[2, 3, 4]);
    let root = d.data_scalar(std::f32::consts::SQRT_2);
    let scaled = operator(d, "Div", &[x, root])?;
    let erf = operator(d, "Erf", &[scaled])?;
    let one = d.data_scalar(1.0);
    let sum = operator(d, "Add", &[erf, one])?;
    let product = operator(d, "Mul", &[x, sum])?;
    let half = d.data_scalar(0.5);
    operator(d, "Mul", &[product, half])?;
    Some(())
}

fn swish(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[2, 3, 4]);
    let gate = if d.flip() {
        operator(d, "Sigmoid", &[x])?
    } else {
        // relu6(x + 3) / 6
        let (three, six, zero) = (d.data_scalar(3.0), d.data_scalar(6.0), d.data_scalar(0.0));
        let sum = operator(d, "Add", &[x, three])?;
        let clipped = operator(d, "Clip", &[sum, zero, six])?;
        operator(d, "Div", &[clipped, six])?
    };
    operator(d, "Mul", &[x, gate])?;
    Some(())
}

/// A normalization of the last axis.
fn layer_norm(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[3, 2]);
    let width = *d.shape_of(x).last()?;
    let mean_of = |d: &mut Draw<'_, '_>, x| {
        let axes = d.list(vec![-1]);
        d.node(Definition::new("ReduceMean"), &[x, axes], None)
    };
    let mean = mean_of(d, x)?;
    let centred = operator(d, "Sub", &[x, mean])?;
    let two = d.data_scalar(2.0);
    let squared =
        if d.flip() { operator(d, "Pow", &[centred, two])? } else { operator(d, "Mul", &[centred, centred])? };
    let variance = mean_of(d, squared)?;
    let epsilon = d.data_scalar(0.125);
    let sum = operator(d, "Add", &[variance, epsilon])?;
    let deviation = operator(d, "Sqrt", &[sum])?;
    let mut y = operator(d, "Div", &[centred, deviation])?;
    if d.flip() {
        let scale = d.positive(&[width]);
        y = operator(d, "Mul", &[y, scale])?;
    }
    if d.flip() {
        let bias = d.weights(&[width]);
        operator(d, "Add", &[y, bias])?;
    }
    Some(())
}

/// softmax(q kᵀ s + m) v
fn attention(d: &mut Draw<'_, '_>) -> Option<()> {
    let (batch, heads, rows, keys, width) = (1, 1 + d.below(2), 1 + d.below(4), 1 + d.below(4), d.pick(&[4, 2, 3, 8]));
    let q = d.input(&[batch, heads, rows, width]);
    let k = d.input(&[batch, heads, keys, width]);
    let v = d.input(&[batch, heads, keys, width]);
    let k = d.node(Definition::new("Transpose").attribute("perm", vec![0i64, 1, 3, 2]), &[k], d.grid(k))?;
    let mut scores = operator(d, "MatMul", &[q, k])?;
    if d.flip() {
        let scale = d.data_scalar(1.0 / (width as f32).sqrt());
        scores = operator(d, "Mul", &[scores, scale])?;
    }
    if d.flip() {
        let mask = d.weights(&[rows, keys]);
        scores = operator(d, "Add", &[scores, mask])?;
    }
    let weights = d.node(Definition::new("Softmax").attribute("axis", -1i64), &[scores], None)?;
    let mixed = operator(d, "MatMul", &[weights, v])?;
    if d.flip() {
        let turned = d.node(Definition::new("Transpose").attribute("perm", vec![0i64, 2, 1, 3]), &[mixed], None)?;
        let to = d.list(vec![0, 0, (heads * width) as i64]);
        operator(d, "Reshape", &[turned, to])?;
    }
    Some(())
}

/// Padding before a convolution or a pool.
fn padded(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[4]);
    let channels = d.shape_of(x)[1];
    let pads: Vec<i64> = [0, 0, d.within(0, 2), d.within(0, 2), 0, 0, d.within(0, 2), d.within(0, 2)].into();
    let pads = d.list(pads);
    let padded = d.node(Definition::new("Pad"), &[x, pads], d.grid(x))?;
    if d.flip() {
        let w = d.weights(&[2, channels, 2, 2]);
        operator(d, "Conv", &[padded, w])?;
    } else {
        let name = d.pick(&["MaxPool", "AveragePool"]);
        let definition = Definition::new(name).attribute("kernel_shape", vec![2i64, 2]);
        d.node(definition, &[padded], None)?;
    }
    Some(())
}

/// Conv, perhaps an addition before or after its activation.
fn residual(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[4]);
    let channels = d.shape_of(x)[1];
    let w = d.weights(&[channels, channels, 3, 3]);
    let mut y = d.node(Definition::new("Conv").attribute("pads", vec![1i64; 4]), &[x, w], None)?;
    let first = d.flip();
    if first {
        y = operator(d, "Relu", &[y])?;
    }
    y = operator(d, "Add", &[y, x])?;
    if !first {
        y = operator(d, "Relu", &[y])?;
    }
    if d.flip() {
        let w = d.weights(&[2, channels, 1, 1]);
        operator(d, "Conv", &[y, w])?;
    }
    Some(())
}

/// Sums of integers that become floats by scales.
fn scaled(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.exact_floats(&[2]);
    let scale = d.parameter(Tensor::scalar(0.25f32));
    let zero = d.parameter(Tensor::scalar(3u8));
    let q = d.node(Definition::new("QuantizeLinear"), &[x, scale, zero], Some(Grid { unit: 0, top: 8 }))?;
    let (inner, outer) = (d.shape_of(q)[1], 1 + d.below(4));
    let w = d.parameter(super::draw::filled(&[inner, outer], |i| (i * 29 % 15) as i8 - 7));
    let sums = d.node(Definition::new("MatMulInteger"), &[q, w, zero], Some(Grid { unit: 0, top: 20 }))?;
    let to = Definition::new("Cast").attribute("to", 1i64);
    let sums = d.node(to, &[sums], Some(Grid { unit: 0, top: 20 }))?;
    let by = d.positive(&[outer]);
    let y = operator(d, "Mul", &[sums, by])?;
    let bias = d.weights(&[outer]);
    operator(d, "Add", &[y, bias])?;
    Some(())
}

/// Projections of one value for several readers.
fn heads(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[3]);
    let width = *d.shape_of(x).last()?;
    for _ in 0..3 {
        let w = d.weights(&[width, 4]);
        let y = operator(d, "MatMul", &[x, w])?;
        let b = d.weights(&[4]);
        let y = operator(d, "Add", &[y, b])?;
        let to = d.list(vec![0, 0, 2, 2]);
        let y = operator(d, "Reshape", &[y, to])?;
        d.node(Definition::new("Transpose").attribute("perm", vec![0i64, 2, 1, 3]), &[y], None)?;
    }
    Some(())
}
