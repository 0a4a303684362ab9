//! How long each step of a run takes, on either backend.

use std::time::Duration;

use super::Session;
use super::run::Runner;
use crate::error::RunError;

/// The time that one step of a run took: a dispatch on a GPU, a node on the CPU.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepTime {
    /// What the step is called: the node's name, or what is converted.
    pub label: String,
    /// What ran it: the shader, or the operator and whether that is its reference.
    pub kernel: String,
    /// Its time.
    pub time: Duration,
}

/// The times of one run.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Profile {
    /// The steps, in order.
    pub steps: Vec<StepTime>,
    /// Whether a GPU took the times itself. If not (it has no timestamps), each dispatch was submitted and waited for
    /// alone, and its time holds what that costs.
    pub by_device: bool,
}

impl Session {
    /// Runs once with the inputs that were set, and takes the time of every step. On a GPU the steps are kept apart, so
    /// that the sum is above the time of a run.
    ///
    /// # Errors
    /// As [`Session::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile(&mut self) -> Result<Profile, RunError> {
        pollster::block_on(self.profile_async())
    }

    /// [`Session::profile`], for callers that must not block.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn profile_async(&mut self) -> Result<Profile, RunError> {
        self.select().await?;
        self.give()?;
        let Some((planned, runner)) = self.runners.last_mut() else { return Ok(Profile::default()) };
        let profile = match runner {
            Runner::Cpu(cpu) => {
                let step = |time: crate::cpu::NodeTime| {
                    let node = &planned.graph.nodes[time.node.0];
                    let by = if time.has_kernel { "" } else { ", reference" };
                    let kernel = format!("{}{by}", node.operator.name());
                    StepTime { label: node.name.clone(), kernel, time: time.time }
                };
                let times = cpu.profile(&self.inputs)?;
                Profile { steps: times.into_iter().map(step).collect(), by_device: false }
            }
            #[cfg(feature = "gpu")]
            Runner::Gpu(gpu) => {
                let profile = gpu.profile_async().await?;
                let steps = profile.dispatches.into_iter().map(|timing| StepTime {
                    label: timing.label,
                    kernel: timing.shader.to_owned(),
                    time: timing.time,
                });
                Profile { steps: steps.collect(), by_device: profile.by_device }
            }
        };
        self.has_run = true;
        self.hand_on()?;
        Ok(profile)
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::{Definition, Graph};
    use crate::{Device, ElementType, Model, Tensor};

    #[test]
    fn every_node_of_the_cpu_has_its_time_and_the_run_counts() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [2]);
        let a = graph.node(&Definition::new("Neg"), &[x]).unwrap();
        let y = graph.node(&Definition::new("Sign"), &[a]).unwrap();
        graph.output("y", y);
        let mut session = Model::from_graph(graph.build().unwrap()).session(&Device::cpu()).unwrap();
        assert!(session.profile().is_err());
        session.set(session.input("x").unwrap(), Tensor::vector(vec![1f32, -2.0]).view()).unwrap();
        let profile = session.profile().unwrap();
        let kernels: Vec<_> = profile.steps.iter().map(|step| step.kernel.as_str()).collect();
        assert_eq!(kernels, ["Neg", "Sign, reference"]);
        assert_eq!(session.get(session.output("y").unwrap()).unwrap().as_slice::<f32>().unwrap(), [-1.0, 1.0]);
    }
}
