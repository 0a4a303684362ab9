//! Batch normalizations folded into the convolutions before them, in the file: what is quantized is what a device computes.

use std::collections::HashMap;

use crate::compress::CompressError;
use crate::onnx::ModelFile;
use crate::tensor::{ElementType, Tensor};

/// Folds each BatchNormalization whose input is a convolution's result that nothing else reads. How many were folded.
///
/// `a · (Σ w x + b) + c = Σ (a w) x + (a b + c)`, with `a = scale / √(variance + ε)` and `c = shift − a · mean`.
pub fn fold(file: &mut ModelFile) -> Result<usize, CompressError> {
    let mut folded = vec![];
    for place in 0..file.nodes.len() {
        let Some(norm) = file.nodes.get(place).map(|part| part.get().clone()) else { continue };
        let trains = norm.int("training_mode").unwrap_or_default() != 0;
        if !norm.is("BatchNormalization") || trains || norm.output.iter().filter(|name| !name.is_empty()).count() != 1 {
            continue;
        }
        let Some(x) = norm.given(0) else { continue };
        let producer = file.nodes.iter().position(|part| part.get().is("Conv") && part.get().result() == x);
        let Some(producer) = producer.filter(|_| reads(file).get(x) == Some(&1)) else { continue };
        let Some(conv) = file.nodes.get(producer).map(|part| part.get().clone()) else { continue };
        let numbers = |at: usize| norm.given(at).and_then(|name| file.constant(name)).map(|tensor| tensor.to_f64());
        let (Some(scale), Some(shift), Some(mean), Some(variance)) = (numbers(1), numbers(2), numbers(3), numbers(4))
        else {
            continue;
        };
        let floats =
            |tensor: &Tensor| tensor.element_type() == ElementType::F32 && tensor.shape().first() == Some(&scale.len());
        let Some(weights) = conv.given(1).and_then(|name| file.constant(name)).filter(floats) else { continue };
        let bias = match conv.given(2) {
            None => vec![0.0; scale.len()],
            Some(name) => match file.constant(name) {
                Some(bias) => bias.to_f64(),
                None => continue,
            },
        };
        let epsilon = f64::from(norm.float("epsilon").unwrap_or(1e-5));
        let factors: Vec<f64> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let each = (weights.len() / factors.len().max(1)).max(1);
        let scaled = weights.to_f64().into_iter().enumerate();
        let scaled = scaled.map(|(i, w)| (w * factors.get(i / each).copied().unwrap_or(1.0)) as f32).collect();
        let sums = bias.iter().zip(&factors).zip(shift.iter().zip(&mean));
        let bias: Vec<f32> = sums.map(|((b, a), (c, m))| (a * b + c - a * m) as f32).collect();
        // Others may read the same weights.
        let w = file.fresh(&format!("{}_folded", conv.given(1).unwrap_or_default()));
        file.set_constant(&w, &Tensor::new(weights.shape(), scaled)?)?;
        let b = file.fresh(&format!("{}_bias", norm.called()));
        file.set_constant(&b, &Tensor::vector(bias))?;
        if let Some(part) = file.nodes.get_mut(producer) {
            let node = part.edit();
            // A layer that is called by its output keeps its name.
            node.name = Some(conv.called().to_owned());
            node.input.truncate(1);
            node.input.extend([w, b]);
            node.output = vec![norm.result().to_owned()];
        }
        folded.push(place);
    }
    let mut place = 0;
    file.nodes.retain(|_| {
        place += 1;
        !folded.contains(&(place - 1))
    });
    file.drop_unread();
    Ok(folded.len())
}

/// How often each value is read.
pub fn reads(file: &ModelFile) -> HashMap<String, usize> {
    let mut reads = HashMap::new();
    let outputs = file.outputs.iter().filter_map(|part| part.get().name.clone());
    let inputs = file.nodes.iter().flat_map(|part| {
        let mut all = std::collections::HashSet::new();
        crate::onnx::names_read(part.get(), &mut all);
        let own = part.get().input.clone();
        let inner: Vec<String> = all.into_iter().filter(|name| !own.contains(name)).collect();
        own.into_iter().chain(inner)
    });
    for name in outputs.chain(inputs) {
        *reads.entry(name).or_default() += 1;
    }
    reads
}
