//! Operators along lanes: softmax and the normalizations whose statistics are taken from the input itself.

pub mod group;
mod lanes;
pub mod layer;
pub mod moments;
mod normalize;
pub mod response;
pub mod softmax;

pub(super) use lanes::{Groups, Lanes, WORKGROUP};

#[cfg(test)]
mod tests {
    use crate::graph::{Context, Inputs, Operator, Value};
    use crate::tensor::{Tensor, shape::elements};

    /// Numbers up to `scale` around `centre`.
    pub fn random(shape: &[usize], scale: f32, centre: f32) -> Tensor {
        let n = elements(shape).unwrap();
        let x = (0..n).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0);
        Tensor::new(shape, x.map(|x| x * scale + centre).collect()).unwrap()
    }

    /// The outputs of the reference.
    pub fn run(operator: &dyn Operator, inputs: &[Tensor]) -> Vec<Tensor> {
        let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
        let values: Vec<_> = values.iter().map(Some).collect();
        let y = operator.evaluate(&mut Context::default(), Inputs(&values)).unwrap();
        y.into_iter().map(|v| v.into_tensor().unwrap()).collect()
    }
}
