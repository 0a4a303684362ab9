//! How long each dispatch takes.

use std::time::Duration;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
#[cfg(target_arch = "wasm32")]
use web_time::Instant;

use super::GpuSession;
use super::program::{Op, Phase};
use super::wait::{Staging, Wait};
use crate::error::RunError;
use crate::graph::NodeId;
use crate::plan::Step;

/// The time that one dispatch took.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Timing {
    /// What the planner calls it.
    pub label: String,
    /// The node that it belongs to; `None` for a conversion of layout.
    pub node: Option<NodeId>,
    /// The shader.
    pub shader: &'static str,
    /// Its time.
    pub time: Duration,
}

/// The times of one run.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Profile {
    /// The dispatches, in order.
    pub dispatches: Vec<Timing>,
    /// Whether the device took the times itself. If not (it has no timestamps), each dispatch was submitted and waited
    /// for alone, and its time holds what that costs.
    pub by_device: bool,
}

/// Queries that one set may hold.
const QUERIES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize;

/// Timestamps of a segment's dispatches, two each.
struct Timestamps {
    sets: Vec<wgpu::QuerySet>,
    resolved: wgpu::Buffer,
    staging: Staging,
}

impl GpuSession {
    /// Runs once and takes the time of every dispatch. Dispatches are kept apart, so that the sum is above the time of
    /// a run.
    ///
    /// # Errors
    /// As a run.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile(&mut self) -> Result<Profile, RunError> {
        let wait = self.bound();
        super::wait::now(self.profiled(&wait))
    }

    /// [`GpuSession::profile`], for callers that must not block.
    ///
    /// # Errors
    /// As a run.
    pub async fn profile_async(&mut self) -> Result<Profile, RunError> {
        let wait = self.giving_back();
        self.profiled(&wait).await
    }

    async fn profiled(&mut self, wait: &Wait) -> Result<Profile, RunError> {
        self.prepare(wait).await?;
        let engine = self.engine().clone();
        let inner = engine.inner();
        let by_device = inner.device.wgpu().features().contains(wgpu::Features::TIMESTAMP_QUERY)
            && inner.device.queue().get_timestamp_period() > 0.0;
        let mut profile = Profile { dispatches: vec![], by_device };
        for phase in &inner.program.phases {
            match *phase {
                Phase::Host(node) => self.host(node)?,
                Phase::Device(index) => {
                    self.stage(index)?;
                    let times =
                        if by_device { self.stamped(index, wait).await? } else { self.watched(index, wait).await? };
                    let steps = inner.program.segments[index].ops.iter().filter_map(|op| match op {
                        Op::Dispatch(step) => match &inner.schedule.steps[*step] {
                            Step::Dispatch(dispatch) => Some(dispatch),
                            _ => None,
                        },
                        _ => None,
                    });
                    profile.dispatches.extend(steps.zip(times).map(|(dispatch, time)| Timing {
                        label: dispatch.label.clone(),
                        node: dispatch.node,
                        shader: inner.schedule.kernels[dispatch.kernel].shader,
                        time,
                    }));
                    self.collect(wait).await?;
                }
            }
        }
        self.frame.complete = true;
        Ok(profile)
    }

    /// A segment with each dispatch in a pass of its own, between two timestamps.
    async fn stamped(&mut self, index: usize, wait: &Wait) -> Result<Vec<Duration>, RunError> {
        let engine = self.engine().clone();
        let (device, segment) = (engine.device(), &engine.inner().program.segments[index]);
        let count = segment.ops.iter().filter(|op| Self::is_dispatch(**op)).count();
        if count == 0 {
            self.launch(index, wait).await?;
            return Ok(vec![]);
        }
        let (submission, stamps) = device
            .guarded("a profiled run", || {
                let bytes = (count * 16) as u64;
                let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
                let stamps = Timestamps {
                    // What resolves to the next set's place begins at a multiple of 256 bytes, as it must.
                    sets: (0..count.div_ceil(QUERIES / 2))
                        .map(|i| device.create_timestamps((2 * count - i * QUERIES).min(QUERIES) as u32))
                        .collect(),
                    resolved: device.create_buffer("timestamps", bytes, usage, false),
                    staging: Staging::download(device, bytes),
                };
                let mut encoder = device.encoder();
                let mut next = 0;
                for &op in &segment.ops {
                    if !Self::is_dispatch(op) {
                        self.encode_copy(index, op, &mut encoder);
                        continue;
                    }
                    let (set, query) = (2 * next / QUERIES, (2 * next % QUERIES) as u32);
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: None,
                        timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                            query_set: &stamps.sets[set],
                            beginning_of_pass_write_index: Some(query),
                            end_of_pass_write_index: Some(query + 1),
                        }),
                    });
                    self.encode_dispatch(op, &mut pass);
                    next += 1;
                }
                for (i, set) in stamps.sets.iter().enumerate() {
                    encoder.resolve_query_set(set, 0..set.count(), &stamps.resolved, (i * QUERIES * 8) as u64);
                }
                encoder.copy_buffer_to_buffer(&stamps.resolved, 0, &stamps.staging.buffer, 0, bytes);
                let submission = self.frame.send(engine.inner(), index, [encoder]);
                stamps.staging.map();
                (submission, stamps)
            })
            .await?;
        self.frame.launched(index, submission.clone());
        device.settle(&stamps.staging, &submission, wait).await?;
        let view = stamps.staging.read(0..(count * 16) as u64)?;
        let period = f64::from(device.queue().get_timestamp_period());
        let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let pairs = view.as_chunks::<8>().0.as_chunks::<2>().0.iter();
        Ok(pairs
            .map(|[from, to]| {
                let ticks = number(to).saturating_sub(number(from));
                Duration::from_nanos((ticks as f64 * period) as u64)
            })
            .collect())
    }

    /// A segment with each dispatch submitted and waited for alone.
    async fn watched(&mut self, index: usize, wait: &Wait) -> Result<Vec<Duration>, RunError> {
        let engine = self.engine().clone();
        let (device, segment) = (engine.device(), &engine.inner().program.segments[index]);
        self.unmap_upload(index);
        // Something small to wait for.
        let (mark, marked) = device
            .guarded("a profiled run", || {
                let usage = wgpu::BufferUsages::COPY_SRC;
                (Staging::download(device, 16), device.create_buffer("mark", 16, usage, false))
            })
            .await?;
        let mut times = vec![];
        for &op in &segment.ops {
            let start = Instant::now();
            let submission = device
                .guarded("a profiled run", || {
                    let mut encoder = self.encode_alone(index, op);
                    encoder.copy_buffer_to_buffer(&marked, 0, &mark.buffer, 0, 16);
                    let submission = device.submit([encoder.finish()]);
                    mark.map();
                    submission
                })
                .await?;
            device.settle(&mark, &submission, wait).await?;
            mark.unmap();
            if Self::is_dispatch(op) {
                times.push(start.elapsed());
            }
        }
        let submission =
            device.guarded("a profiled run", || self.frame.send(engine.inner(), index, [device.encoder()])).await?;
        self.frame.launched(index, submission);
        Ok(times)
    }
}
