//! The memory of a session: what its plans take turns with, what is let go of, and how much there is.

use super::run::{Runner, Session};
use crate::error::RunError;

/// What a session holds on its device, in bytes, beside weights, which all sessions of an engine share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SessionMemory {
    /// Values between nodes. The plans for the shapes that the session met take turns with this memory.
    pub values: u64,
    /// States, and outputs that stay on the device.
    pub kept: u64,
    /// What inputs and outputs cross in, between the host and a GPU, and what pictures there are made into inputs in; that of
    /// runs under way is not counted.
    pub crossing: u64,
}

impl SessionMemory {
    /// The sum.
    pub const fn total(&self) -> u64 {
        self.values.saturating_add(self.kept).saturating_add(self.crossing)
    }
}

impl Session {
    /// What the session holds on its device.
    ///
    /// After runs with larger shapes it has what these needed. What none of sixteen runs needs is given back then: where a
    /// session goes on with one shape, it has in the end what the plan for it says
    /// ([`Summary::activation_bytes`](crate::plan::Summary)).
    ///
    /// ```
    /// use rimlight::{Device, Model};
    /// let mut session = Model::open("models/digits.onnx")?.session(&Device::auto())?;
    /// session.run_with([("image", rimlight::TensorView::new([1, 1, 28, 28], &[0f32; 784])?)])?;
    /// let before = session.memory();
    /// session.trim();
    /// assert!(session.memory().values < before.values);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn memory(&self) -> SessionMemory {
        let mut memory = SessionMemory::default();
        #[cfg(feature = "gpu")]
        let mut kept: Vec<&crate::gpu::wgpu::Buffer> = vec![];
        for (_, runner) in &self.runners {
            match runner {
                Runner::Cpu(cpu) => memory.values += cpu.memory_bytes() as u64,
                #[cfg(feature = "gpu")]
                Runner::Gpu(gpu) => {
                    memory.crossing += gpu.crossing_bytes();
                    for buffer in gpu.kept_buffers() {
                        if !kept.contains(&buffer) {
                            kept.push(buffer);
                        }
                    }
                }
            }
        }
        #[cfg(feature = "gpu")]
        {
            memory.values += self.values.bytes();
            memory.crossing += self.pictures.iter().flatten().map(|picture| picture.bytes()).sum::<u64>();
            memory.kept = kept.into_iter().map(crate::gpu::wgpu::Buffer::size).sum();
        }
        memory
    }

    /// Gives back the memory that is needed during runs alone, as when an application is paused: the next run takes it again.
    /// Outputs that were read back, those that stay on the device, and states remain, as do plans and weights.
    pub fn trim(&mut self) {
        let current = self.runners.len().saturating_sub(1);
        self.runners.drain(..current);
        for (_, runner) in &mut self.runners {
            match runner {
                Runner::Cpu(cpu) => cpu.trim(),
                #[cfg(feature = "gpu")]
                Runner::Gpu(gpu) => gpu.unbind(),
            }
        }
        #[cfg(feature = "gpu")]
        {
            self.values.clear();
            self.rest_pictures();
        }
    }

    /// Takes the memory again that [`Session::trim`] gave back, so that the first frame after a pause need not wait for it, and
    /// can be [encoded](Session::encode). The inputs are still given.
    ///
    /// # Errors
    /// If memory runs out, or an input was never given.
    pub async fn resume(&mut self) -> Result<(), RunError> {
        self.select().await
    }

    /// Whether there is memory to give back that no run of late needed.
    #[cfg_attr(not(feature = "gpu"), allow(clippy::unused_self, reason = "the CPU keeps that of one plan alone"))]
    pub(super) const fn has_spare_memory(&self) -> bool {
        #[cfg(feature = "gpu")]
        return self.values.is_due();
        #[cfg(not(feature = "gpu"))]
        false
    }

    /// Notes that the current runner is run.
    #[cfg(feature = "gpu")]
    pub(super) fn note_run(&mut self) {
        if let Some((_, Runner::Gpu(gpu))) = self.runners.last() {
            self.values.note(gpu.needs());
        }
    }

    /// Makes room for another runner, and gives it memory.
    pub(super) async fn make_room(&mut self, runner: &mut Runner) -> Result<(), RunError> {
        match runner {
            Runner::Cpu(_) => {
                // Nothing of the last one's is asked for any more.
                if let Some((_, Runner::Cpu(last))) = self.runners.last_mut() {
                    last.rest();
                }
            }
            #[cfg(feature = "gpu")]
            Runner::Gpu(gpu) => {
                let all = self.runners.iter_mut().filter_map(|(_, runner)| match runner {
                    Runner::Gpu(gpu) => Some(gpu),
                    Runner::Cpu(_) => None,
                });
                if self.values.is_due() {
                    gpu.unbind();
                    all.for_each(|other| other.unbind());
                    let needed = self.values.clear();
                    self.runners.retain(|(_, runner)| matches!(runner, Runner::Gpu(gpu) if fits(gpu.needs(), &needed)));
                    self.values.take(gpu.engine().device(), &needed).await.map_err(RunError::from)?;
                } else if !self.values.fit(gpu.needs()) {
                    all.for_each(|other| other.unbind());
                }
                if !gpu.is_bound() {
                    gpu.bind(&mut self.values).await?;
                }
            }
        }
        Ok(())
    }
}

/// Whether there is so much for each, the largest first.
#[cfg(feature = "gpu")]
fn fits(needs: &[u64], room: &[u64]) -> bool {
    needs.len() <= room.len() && needs.iter().zip(room).all(|(needs, room)| needs <= room)
}

#[cfg(all(test, feature = "gpu", not(target_arch = "wasm32")))]
mod tests;
