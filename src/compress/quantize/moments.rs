//! How elements of a product's inputs go together: sums over samples.

use std::sync::Arc;

use super::walk::Walk;
use crate::compress::CompressError;
use crate::compress::samples::Sample;
use crate::error::LoadError;
use crate::graph::Graph;
use crate::model::Model;
use crate::onnx::ModelFile;
use crate::ops::matmul::Gemm;
use crate::session::{Device, InputId, OutputId, Session};
use crate::tensor::Tensor;

/// Rows of inputs that are multiplied at once.
const ROWS: usize = 512;

/// Sums over the samples of the products of a value's elements along its last axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// How many elements there are.
    pub size: usize,
    /// `XᵀX`, of the values `X` that there are.
    pub own: Vec<f64>,
    /// `Xᵀ(Y - X)`, of the values `Y` that there were.
    pub cross: Vec<f64>,
}

/// A model and what it was, which run on samples side by side.
#[derive(Debug)]
pub struct Calibration<'a> {
    device: &'a Device,
    before: &'a ModelFile,
    now: Walk<'a>,
    then: Walk<'a>,
}

impl<'a> Calibration<'a> {
    /// With what the model was, and samples.
    pub fn new(before: &'a ModelFile, samples: &[Sample], device: &'a Device) -> Self {
        Self { device, before, now: Walk::new(samples, device), then: Walk::new(samples, device) }
    }

    /// The moments of a value, computed as the model is now. What comes before it must not change any more.
    pub fn moments(&mut self, file: &ModelFile, value: &str, size: usize) -> Result<Moments, CompressError> {
        let mut own = Products::new(size, self.device)?;
        let mut cross = Products::new(size, self.device)?;
        for (x, y) in self.now.to(file, value)?.zip(self.then.to(self.before, value)?) {
            let (Ok(now), Ok(then)) = (x.as_slice::<f32>(), y.as_slice::<f32>()) else { continue };
            let finite = now.iter().chain(then).all(|v| v.is_finite());
            if x.shape() != y.shape() || x.shape().last() != Some(&size) || !finite {
                continue;
            }
            let gone: Vec<f32> = then.iter().zip(now).map(|(then, now)| then - now).collect();
            own.add(size, [now, now])?;
            cross.add(size, [now, &gone])?;
        }
        Ok(Moments { size, own: own.sums(size)?, cross: cross.sums(size)? })
    }
}

/// The products `XᵀY` of rows, summed up: in 32 bits those of so many rows at a time, in 64 bits all.
struct Products {
    session: Session,
    inputs: [InputId; 2],
    output: OutputId,
    /// Rows that wait for more.
    rows: [Vec<f32>; 2],
    sums: Vec<f64>,
}

impl Products {
    fn new(size: usize, device: &Device) -> Result<Self, CompressError> {
        let mut graph = Graph::builder();
        let inputs = ["x", "y"].map(|name| Some(graph.input(name, crate::tensor::ElementType::F32, [ROWS, size])));
        let product = graph.operator(Arc::new(Gemm { transpose_a: true, ..Gemm::default() }), &inputs, 1);
        if let Some(&product) = product.first() {
            graph.output("product", product);
        }
        let session = Model::from_graph(graph.build().map_err(LoadError::Node)?).session(device)?;
        let (inputs, output) = ([session.input("x")?, session.input("y")?], session.output("product")?);
        Ok(Self { session, inputs, output, rows: [vec![], vec![]], sums: vec![0.0; size * size] })
    }

    /// Adds rows, as many of one as of the other.
    fn add(&mut self, size: usize, rows: [&[f32]; 2]) -> Result<(), CompressError> {
        for (left, right) in rows[0].chunks(size.max(1)).zip(rows[1].chunks(size.max(1))) {
            self.rows[0].extend_from_slice(left);
            self.rows[1].extend_from_slice(right);
            if self.rows[0].len() == ROWS * size {
                self.multiply(size)?;
            }
        }
        Ok(())
    }

    fn multiply(&mut self, size: usize) -> Result<(), CompressError> {
        for (rows, input) in self.rows.iter_mut().zip(self.inputs) {
            // Rows of zeros change nothing.
            rows.resize(ROWS * size, 0.0);
            self.session.set(input, Tensor::new([ROWS, size], std::mem::take(rows))?.view())?;
        }
        self.session.run()?;
        let products = self.session.get(self.output)?.as_slice::<f32>()?;
        self.sums.iter_mut().zip(products).for_each(|(sum, &product)| *sum += f64::from(product));
        Ok(())
    }

    fn sums(mut self, size: usize) -> Result<Vec<f64>, CompressError> {
        if !self.rows[0].is_empty() {
            self.multiply(size)?;
        }
        Ok(self.sums)
    }
}

#[cfg(test)]
mod tests {
    use super::{Calibration, Moments};
    use crate::compress::Sample;
    use crate::compress::tests::{Net, weights};
    use crate::session::Device;

    #[test]
    fn moments_are_sums_over_all_rows_of_all_samples() {
        let net = |factor: f32| {
            Net::new(13)
                .input("x", &[-1, 3])
                .constant("f", crate::tensor::Tensor::vector(vec![factor]))
                .node("Mul", &["x", "f"], "y")
                .output("y")
                .file()
        };
        // More rows than are multiplied at once, and not whole ones.
        let inputs = [weights(&[700, 3], 1), weights(&[1, 3], 2)];
        let samples: Vec<Sample> = inputs.iter().map(|x| Sample::new(vec![("x".to_owned(), x.clone())])).collect();
        let (device, before) = (Device::cpu(), net(3.0));
        let found = Calibration::new(&before, &samples, &device).moments(&net(1.0), "y", 3).unwrap();
        let mut own = [0f64; 9];
        for row in inputs.iter().flat_map(|x| x.to_f64().chunks(3).map(<[f64]>::to_vec).collect::<Vec<_>>()) {
            (0..9).for_each(|at| own[at] += row[at / 3] * row[at % 3]);
        }
        for (at, own) in own.iter().enumerate() {
            assert!((found.own[at] - own).abs() < 1e-2 && (found.cross[at] - 2.0 * own).abs() < 2e-2, "{found:?}");
        }
        // Another length along the last axis is not what a product reads.
        let none = Calibration::new(&before, &samples, &device).moments(&net(1.0), "y", 4).unwrap();
        assert_eq!(none, Moments { size: 4, own: vec![0.0; 16], cross: vec![0.0; 16] });
    }
}
