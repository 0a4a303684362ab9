//! Each family of kernels for products, convolutions and attention that plans may take on a device, on small inputs.

use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
#[cfg(target_arch = "wasm32")]
use web_time::Instant;

use super::super::GpuDevice;
use super::kernels::described;
use super::report::{SelfCheck, Verdict};
use super::specimen::Specimen;
use crate::error::DeviceError;
use crate::graph::{Definition, Fact, Operator};
use crate::kernel::Kernel;
use crate::tensor::{ElementType, Tensor};

/// A node of an ordinary kind: its operator, and its inputs, constants among them.
pub(super) struct Sample {
    definition: Definition,
    inputs: Vec<Option<Fact>>,
}

fn run(shape: &[usize]) -> Option<Fact> {
    Some(Fact::new(ElementType::F32, shape.to_vec()))
}

pub(super) fn weights(shape: &[usize]) -> Option<Fact> {
    let n = shape.iter().product::<usize>();
    let values = (0..n).map(|i| ((i * 29 + 7) % 97) as f32 / 97.0 - 0.5).collect();
    Some(Fact::constant(Tensor::new(shape, values).ok()?))
}

fn bytes(shape: &[usize]) -> Option<Fact> {
    let n = shape.iter().product::<usize>();
    let values = (0..n).map(|i| ((i * 29 + 7) % 201) as i8).collect();
    Some(Fact::constant(Tensor::new(shape, values).ok()?))
}

fn scale(value: f32) -> Option<Fact> {
    Some(Fact::constant(Tensor::scalar(value)))
}

fn conv(x: [usize; 4], w: [usize; 4], stride: i64) -> Sample {
    let pad = i64::try_from(w[2] / 2).unwrap_or(0);
    let group = i64::try_from(x[1] / w[1].max(1)).unwrap_or(1);
    let definition =
        Definition::new("Conv").attribute("pads", [pad; 4]).attribute("strides", [stride; 2]).attribute("group", group);
    Sample { definition, inputs: vec![run(&x), weights(&w), weights(&[w[0]])] }
}

pub(super) fn product(a: &[usize], b: Option<Fact>) -> Sample {
    Sample { definition: Definition::new("MatMul"), inputs: vec![run(a), b] }
}

/// Those of every kind.
pub(super) fn samples() -> Vec<Sample> {
    let quantized = |zero: Tensor| Some(Fact::constant(zero));
    let attention = || run(&[1, 2, 12, 16]);
    vec![
        conv([1, 64, 8, 8], [64, 64, 3, 3], 1),
        conv([1, 12, 9, 7], [20, 12, 1, 1], 1),
        conv([1, 3, 15, 13], [16, 3, 3, 3], 2),
        conv([1, 16, 9, 11], [16, 1, 3, 3], 1),
        product(&[70, 64], weights(&[64, 48])),
        product(&[3, 64], weights(&[64, 48])),
        product(&[2, 12, 20], run(&[2, 20, 24])),
        Sample { definition: Definition::new("Attention"), inputs: vec![attention(), attention(), attention()] },
        Sample {
            definition: Definition::new("QLinearConv").attribute("pads", [1i64; 4]),
            inputs: vec![
                Some(Fact::new(ElementType::U8, [1usize, 8, 6, 6])),
                scale(0.02),
                quantized(Tensor::scalar(3u8)),
                bytes(&[8, 8, 3, 3]),
                scale(0.01),
                quantized(Tensor::scalar(0i8)),
                scale(0.05),
                quantized(Tensor::scalar(120u8)),
            ],
        },
    ]
}

impl GpuDevice {
    /// Checks a kernel of each family that is offered for the samples, with 32-bit and with 16-bit storage.
    ///
    /// # Errors
    /// If the device is lost, or does not answer.
    pub(super) async fn check_families(&self, samples: Vec<Sample>) -> Result<Vec<SelfCheck>, DeviceError> {
        let mut checks: Vec<SelfCheck> = vec![];
        for Sample { definition, inputs } in samples {
            let operator: Arc<dyn Operator> = match crate::ops::operator(&definition) {
                Ok(operator) => operator,
                Err(error) => {
                    log::debug!("{} is not checked: {error}", definition.op_type);
                    continue;
                }
            };
            for half in [false, true] {
                let offered = Specimen::offered(&operator, &inputs, half, self.facts());
                for specimen in offered.unwrap_or_default() {
                    let dispatches = specimen.dispatches();
                    let kernels: Vec<&Kernel> = dispatches.iter().map(|dispatch| &dispatch.kernel).collect();
                    let name = format!("{} in {} bits", described(&kernels), if half { 16 } else { 32 });
                    // One of each family: the others differ in sizes that are written out.
                    if !checks.iter().any(|known| known.name == name) {
                        checks.push(self.check_family(&specimen, &kernels, name).await?);
                    }
                }
            }
        }
        Ok(checks)
    }

    async fn check_family(
        &self,
        specimen: &Specimen,
        kernels: &[&Kernel],
        name: String,
    ) -> Result<SelfCheck, DeviceError> {
        let start = Instant::now();
        let mut pipelines = vec![];
        for kernel in kernels {
            match self.own_pipeline(kernel, self.facts().dialect).await {
                Ok(pipeline) => pipelines.push(pipeline),
                Err(error @ DeviceError::Refused { .. }) => {
                    let check = SelfCheck { name, verdict: Verdict::Failed(error.to_string()), time: start.elapsed() };
                    self.distrust_of(&[kernel], &check);
                    return Ok(check);
                }
                Err(error) => return Err(error),
            }
        }
        let verdict = self.verdict(specimen, &pipelines).await?;
        let check = SelfCheck { name, verdict, time: start.elapsed() };
        if !check.verdict.is_good() {
            self.distrust_of(kernels, &check);
        }
        Ok(check)
    }
}
