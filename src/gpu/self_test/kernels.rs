//! Whether kernels answer as the references do: those of a plan when a plan takes them first, or those of each family.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
#[cfg(target_arch = "wasm32")]
use web_time::Instant;

use super::super::GpuDevice;
use super::super::device::lock;
use super::super::elements;
use super::super::pipeline::Pipeline;
use super::report::{SelfCheck, Verdict};
use super::specimen::{Specimen, Stored};
use super::work::{Bench, Memory};
use crate::error::DeviceError;
use crate::graph::{Graph, NodeId, ValueId};
use crate::kernel::{Kernel, Storage, Want, pack, units, unpack};
use crate::plan::{Schedule, Step};
use crate::tensor::{ElementType, Tensor};

/// Where the shaders of the kernels lie that plans have checked: products, convolutions and what is like them.
const CHECKED: [&str; 4] = ["attention/", "conv/", "matmul/", "quantize/"];

/// What results in 32 bits may differ by, in parts of the largest one: Winograd's 4·10⁻⁵ lie below, and above it what comes of
/// sums in 16 bits, which old drivers were known to take.
const SINGLE: f32 = 1e-4;
/// In 16-bit storage: the rounding of a result (2⁻¹¹) and of what lies in 16 bits in between, four roundings in all.
const HALF: f32 = 4.0 / 2048.0;

impl GpuDevice {
    /// Checks the kernels of a plan that no plan has had on this device, on small inputs: their pipelines are there.
    ///
    /// # Errors
    /// If one answers wrong, which plans pass over from now on; if the device is lost.
    pub(in crate::gpu) async fn check_kernels(
        &self,
        schedule: &Schedule,
        pipelines: &[Arc<Pipeline>],
    ) -> Result<(), DeviceError> {
        let known = lock(&self.shared().trust.known).clone();
        if !known.basics || !schedule.shaders.are_built_in() {
            return Ok(());
        }
        let mut nodes: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for step in &schedule.steps {
            if let Step::Dispatch(dispatch) = step
                && let Some(node) = dispatch.node
            {
                nodes.entry(node).or_default().push(dispatch.kernel);
            }
        }
        let (mut right, mut passed_by, mut wrong) = (BTreeSet::new(), BTreeSet::new(), None);
        for (id, indices) in nodes {
            let kernels: Vec<&Kernel> = indices.iter().map(|&i| &schedule.kernels[i]).collect();
            let key = crate::cache::hash(format!("{kernels:?}").as_bytes());
            let is_checked =
                kernels.iter().any(|kernel| CHECKED.iter().any(|folder| kernel.shader.starts_with(folder)));
            let seen = known.right.contains(&key) || known.passed_by.contains(&key);
            if !is_checked || seen || right.contains(&key) || passed_by.contains(&key) {
                continue;
            }
            let node = schedule.graph.node(id);
            let stored = stored(schedule, &schedule.graph, id);
            let Some(specimen) = Specimen::of(&schedule.graph, node, &stored, &kernels, self.facts()) else {
                log::debug!("'{}' has no small specimen: its kernels are not checked", node.name);
                passed_by.insert(key);
                continue;
            };
            let own: Vec<_> = indices.iter().map(|&i| Arc::clone(&pipelines[i])).collect();
            let start = Instant::now();
            let verdict = self.verdict(&specimen, &own).await?;
            if verdict.is_good() {
                right.insert(key);
                continue;
            }
            let check = SelfCheck { name: described(&kernels), verdict, time: start.elapsed() };
            wrong = Some(DeviceError::Refused { what: check.name.clone(), message: check.verdict.to_string() });
            self.distrust_of(&kernels, &check);
            lock(&self.shared().trust.known).report.checks.push(check);
        }
        if !right.is_empty() || !passed_by.is_empty() {
            let mut known = lock(&self.shared().trust.known);
            known.right.extend(right);
            known.passed_by.extend(passed_by);
            drop(known);
            self.remember();
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Notes that kernels answer wrong together, or cannot be compiled: plans pass over candidates that are made of all of them.
    pub(in crate::gpu) fn distrust_of(&self, kernels: &[&Kernel], check: &SelfCheck) {
        let mut known = lock(&self.shared().trust.known);
        // Who does not have the device checked plans as ever.
        if !known.basics {
            return;
        }
        log::warn!("{}: {}: {}", self.info(), check.name, check.verdict);
        let mut distrust = (*known.distrust).clone();
        if distrust.add(kernels.iter().map(|kernel| kernel.shader)) {
            known.distrust = Arc::new(distrust);
            known.report.switched_off.push(check.name.clone());
        }
        drop(known);
        self.remember();
    }

    /// What a specimen answers, and what it should.
    pub(super) async fn verdict(
        &self,
        specimen: &Specimen,
        pipelines: &[Arc<Pipeline>],
    ) -> Result<Verdict, DeviceError> {
        let inputs = specimen.inputs();
        let expected = match specimen.expected(&inputs) {
            Ok(expected) => expected,
            Err(reason) => return Ok(Verdict::Absent(format!("the reference says: {reason}"))),
        };
        let bench = match laid_out(specimen, &inputs, &expected) {
            Ok(bench) => bench,
            Err(reason) => return Ok(Verdict::Absent(reason)),
        };
        let results = match self.work(&specimen.dispatches(), pipelines, &bench).await {
            Ok(results) => results,
            Err(error @ DeviceError::Refused { .. }) => return Ok(Verdict::Failed(error.to_string())),
            Err(error) => return Err(error),
        };
        let tolerance = if specimen.is_half() { HALF } else { SINGLE };
        for (i, (bytes, expected)) in results.iter().zip(&expected).enumerate() {
            let verdict = match loaded(specimen, i, bytes, expected) {
                Ok(got) => compared(&got, expected, tolerance),
                Err(reason) => Verdict::Failed(reason),
            };
            if !verdict.is_good() {
                return Ok(verdict);
            }
        }
        Ok(Verdict::Right)
    }
}

/// What kernels are called together.
pub(super) fn described(kernels: &[&Kernel]) -> String {
    let mut shaders: Vec<&str> = kernels.iter().map(|kernel| kernel.shader).collect();
    shaders.dedup();
    shaders.join(" + ")
}

/// What a node's values are stored as.
fn stored(schedule: &Schedule, graph: &Graph, id: NodeId) -> Stored {
    let node = graph.node(id);
    let of = |value: &Option<ValueId>| {
        let slot = schedule.slots.iter().find(|slot| Some(slot.value) == *value);
        slot.map(|slot| slot.storage)
    };
    let input = |value: &Option<ValueId>| of(value).filter(|_| value.is_some_and(|id| graph.constant(id).is_none()));
    let output =
        |value: &Option<ValueId>| of(value).or_else(|| Storage::of(graph.fact((*value)?)?.element_type, schedule.half));
    Stored { inputs: node.inputs.iter().map(input).collect(), outputs: node.outputs.iter().map(output).collect() }
}

/// The inputs as the candidate wants them, and memory for the rest.
fn laid_out(specimen: &Specimen, inputs: &[Option<(Tensor, Storage)>], expected: &[Tensor]) -> Result<Bench, String> {
    let lay = |(input, want): (&Option<(Tensor, Storage)>, &Want)| {
        let (Some((tensor, storage)), Want::In(layout)) = (input, want) else { return Ok(None) };
        let packed = pack(tensor, *layout).map_err(|error| error.to_string())?;
        let mut bytes = vec![];
        elements::store(packed.bytes(), packed.element_type(), *storage, |_, piece| bytes.extend_from_slice(piece))
            .map_err(|error| error.to_string())?;
        Ok::<_, String>(Some(Memory::new(bytes)))
    };
    let candidate = &specimen.candidate;
    let output = |(i, tensor): (usize, &Tensor)| {
        let layout = candidate.outputs.get(i)?;
        let storage = specimen.output_storages.get(i).copied().flatten()?;
        let bytes = units(tensor.shape(), *layout)?.checked_mul(storage.unit_bytes())?;
        Some((specimen.over.is_none() || i > 0).then(|| Memory::unwritten(bytes)))
    };
    let outputs: Option<Vec<_>> = expected.iter().enumerate().map(output).collect();
    Ok(Bench {
        inputs: inputs.iter().zip(&candidate.inputs).map(lay).collect::<Result<_, _>>()?,
        outputs: outputs.ok_or("an output that no kernel holds")?,
        scratch: candidate.scratch_bytes().map(Memory::unwritten).collect(),
        over: specimen.over,
    })
}

/// An output as a tensor.
fn loaded(specimen: &Specimen, i: usize, bytes: &[u8], like: &Tensor) -> Result<Tensor, String> {
    let storage = specimen.output_storages.get(i).copied().flatten().ok_or("no kernel holds it")?;
    let layout = *specimen.candidate.outputs.get(i).ok_or("an output has no layout")?;
    let length =
        units(like.shape(), layout).and_then(|units| usize::try_from(units * 4).ok()).ok_or("it is too large")?;
    let mut physical = Tensor::zeros(like.element_type(), [length]).map_err(|error| error.to_string())?;
    elements::load(bytes, storage, like.element_type(), physical.overwrite()).map_err(|error| error.to_string())?;
    unpack(&physical, like.shape(), layout).map_err(|error| error.to_string())
}

/// Whether they are near enough: floats by parts of the largest one, integers of 8 bits by the one that rounding halves up or
/// down may make of it, others not at all.
fn compared(got: &Tensor, expected: &Tensor, tolerance: f32) -> Verdict {
    if got.shape() != expected.shape() || got.element_type() != expected.element_type() {
        return Verdict::Failed(format!("it gives {got:?} in place of {expected:?}"));
    }
    let (numbers, wanted) = (got.to_f64(), expected.to_f64());
    let largest = wanted.iter().filter(|v| v.is_finite()).fold(0.0, |most: f64, v| most.max(v.abs()));
    let allowed = match expected.element_type() {
        ElementType::I8 | ElementType::U8 => 1.0,
        ElementType::F32 | ElementType::F16 => largest * f64::from(tolerance),
        _ => 0.0,
    };
    let near = |(g, e): (&f64, &f64)| g == e || (g.is_nan() && e.is_nan()) || (g - e).abs() <= allowed;
    match numbers.iter().zip(&wanted).position(|pair| !near(pair)) {
        None => Verdict::Right,
        Some(i) => Verdict::Wrong {
            got: format!("{} at {i} of {:?}", numbers[i], expected.shape()),
            expected: format!("{} (to within {allowed:.2e})", wanted[i]),
        },
    }
}
