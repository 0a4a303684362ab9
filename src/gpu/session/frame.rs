//! One run at the border between host and device: its staging buffers, what the host has of it, and how far it got.

use crate::error::RunError;
use crate::gpu::elements;
use crate::gpu::engine::Engine;
use crate::gpu::wait::{Mapping, Staging, Wait};
use crate::graph::{Value, ValueId};
use crate::tensor::Tensor;

/// Memory that values cross in, for one segment.
#[derive(Debug)]
pub(in crate::gpu) struct Crossing {
    pub upload: Option<Staging>,
    pub download: Option<Staging>,
}

/// A run, given, under way or done. The device's own memory is the session's: runs come one after the other there, so that
/// a frame can be read back while the next is computed.
#[derive(Debug)]
pub(in crate::gpu) struct Frame {
    pub crossings: Vec<Crossing>,
    /// By value: what the host has.
    pub values: Vec<Option<Value>>,
    /// Segments that were submitted and not read back yet.
    launched: Vec<usize>,
    submission: Option<wgpu::SubmissionIndex>,
    /// Values that the run leaves on the device.
    left: Vec<ValueId>,
    /// Whether there is a whole run to take outputs from.
    pub complete: bool,
}

impl Frame {
    pub async fn new(inner: &Engine) -> Result<Self, RunError> {
        let (device, graph) = (&inner.device, &inner.schedule.graph);
        let segments = inner.program.segments.iter();
        let crossings = device
            .guarded("memory for reading and writing", || {
                segments
                    .map(|segment| Crossing {
                        upload: (segment.upload_bytes > 0).then(|| Staging::upload(device, segment.upload_bytes)),
                        download: (segment.download_bytes > 0)
                            .then(|| Staging::download(device, segment.download_bytes)),
                    })
                    .collect()
            })
            .await?;
        let wanted = |value: ValueId| inner.wanted.get(value.0) == Some(&true);
        let constant = |i| graph.constant(ValueId(i)).filter(|_| wanted(ValueId(i)));
        let mut values: Vec<Option<Value>> =
            (0..graph.values.len()).map(|i| constant(i).cloned().map(Value::Tensor)).collect();
        // What is read back is made before the first run too.
        for transfer in inner.program.segments.iter().flat_map(|s| &s.downloads) {
            if wanted(transfer.value) && values[transfer.value.0].is_none() && !inner.stays(transfer.slot) {
                let tensor = Tensor::zeros(inner.element_type(transfer.value), inner.shape(transfer.slot))?;
                values[transfer.value.0] = Some(tensor.into());
            }
        }
        let launched = Vec::with_capacity(inner.program.segments.len());
        Ok(Self { crossings, values, launched, submission: None, left: vec![], complete: false })
    }

    /// Begins a run that leaves these values on the device.
    pub fn begin(&mut self, left: impl Iterator<Item = ValueId>) {
        self.complete = false;
        self.left.clear();
        self.left.extend(left);
    }

    pub fn leaves(&self, value: ValueId) -> bool {
        self.left.contains(&value)
    }

    /// Notes that a segment is under way.
    pub fn launched(&mut self, index: usize, submission: wgpu::SubmissionIndex) {
        self.submission = Some(submission);
        self.launched.push(index);
    }

    /// Notes that no more of a segment is to come than what was submitted of it.
    pub fn given_up(&mut self, index: usize, submission: wgpu::SubmissionIndex) {
        self.crossings[index].upload.iter().for_each(Staging::map);
        self.submission = Some(submission);
    }

    /// Whether the device has something of it still.
    pub const fn is_under_way(&self) -> bool {
        !self.launched.is_empty()
    }

    /// Whether anything of what is under way is read back.
    pub fn is_read_back(&self) -> bool {
        self.crossings.iter().filter_map(|c| c.download.as_ref()).any(|d| d.signal.get() != Mapping::Unmapped)
    }

    /// Whether nothing need be waited for, neither for reading it nor for giving it inputs.
    pub fn is_settled(&self) -> bool {
        let stagings = self.crossings.iter().flat_map(|c| c.upload.iter().chain(&c.download));
        stagings.into_iter().all(|staging| staging.signal.get() != Mapping::Pending)
    }

    /// Waits for the segments that were submitted, and reads back what the host wants of them.
    pub async fn collect(&mut self, inner: &Engine, wait: &Wait) -> Result<(), RunError> {
        while let (Some(&index), Some(submission)) = (self.launched.first(), &self.submission) {
            if let Some(staging) = &self.crossings[index].download
                && staging.signal.get() != Mapping::Unmapped
            {
                inner.device.settle(staging, submission, wait).await?;
                let read = self.read_back(inner, index);
                if let Some(staging) = &self.crossings[index].download {
                    staging.unmap();
                }
                read?;
            }
            self.launched.remove(0);
        }
        Ok(())
    }

    /// Waits until inputs can be written.
    pub async fn reclaim(&mut self, inner: &Engine, wait: &Wait) -> Result<(), RunError> {
        self.collect(inner, wait).await?;
        if let Some(submission) = &self.submission {
            for staging in self.crossings.iter().flat_map(|c| &c.upload) {
                inner.device.settle(staging, submission, wait).await?;
            }
        }
        Ok(())
    }

    fn read_back(&mut self, inner: &Engine, index: usize) -> Result<(), RunError> {
        let Some(staging) = &self.crossings[index].download else { return Ok(()) };
        for transfer in &inner.program.segments[index].downloads {
            if transfer.size == 0 || self.left.contains(&transfer.value) || !inner.wanted[transfer.value.0] {
                continue;
            }
            let Some(Value::Tensor(tensor)) = &mut self.values[transfer.value.0] else { continue };
            let view = staging.read(transfer.staging..transfer.staging + transfer.size)?;
            let (storage, element_type) = (inner.storage(transfer.slot), tensor.element_type());
            elements::load(&view, storage, element_type, tensor.overwrite())
                .map_err(|e| RunError::State(e.to_string()))?;
        }
        Ok(())
    }

    /// An output of the run, if it was read back or computed on the host.
    pub fn value(&self, inner: &Engine, output: ValueId) -> Result<&Value, RunError> {
        let name = || inner.schedule.graph.values.get(output.0).map_or("", |v| v.name.as_str()).to_owned();
        if self.is_under_way() {
            return Err(RunError::State("the run is not finished: wait for it first".to_owned()));
        }
        if self.leaves(output) {
            return Err(RunError::State(format!("output '{}' stays on the device", name())));
        }
        match self.values.get(output.0) {
            Some(Some(value)) if self.complete && inner.wanted[output.0] => Ok(value),
            _ => Err(RunError::State(format!("'{}' is no output, or was not computed yet", name()))),
        }
    }

    /// Submits what is encoded of a segment, part by part, and asks for its staging buffers back.
    pub fn send(
        &self,
        inner: &Engine,
        index: usize,
        parts: impl IntoIterator<Item = wgpu::CommandEncoder>,
    ) -> wgpu::SubmissionIndex {
        let crossing = &self.crossings[index];
        crossing.upload.iter().for_each(Staging::unmap);
        let device = &inner.device;
        let last = parts.into_iter().map(|encoder| device.submit([encoder.finish()])).last();
        let submission = last.unwrap_or_else(|| device.submit([]));
        crossing.upload.iter().for_each(Staging::map);
        let downloads = &inner.program.segments[index].downloads;
        if downloads.iter().any(|t| t.size > 0 && !self.leaves(t.value)) {
            crossing.download.iter().for_each(Staging::map);
        }
        submission
    }
}
