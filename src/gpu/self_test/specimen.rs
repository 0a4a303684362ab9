//! A small node that runs by the same kernels as one of a plan: what a kernel answers is checked without making another.

use std::sync::Arc;

use crate::graph::{Context, Fact, Graph, Inputs, Node, Operand, Operator, Request, Value};
use crate::kernel::{Binding, Candidate, DeviceFacts, Dispatch, Kernel, Layout, Storage};
use crate::tensor::{ElementType, Tensor};

/// Sizes that larger dimensions are brought down to, the first that the same kernels serve.
const SIZES: [usize; 6] = [8, 16, 32, 64, 128, 256];

/// A specimen is not run that takes more work: its reference would be waited for.
const MOST_WORK: f64 = 4e6;

/// A node, its inputs, and the way to run it.
pub(super) struct Specimen {
    operator: Arc<dyn Operator>,
    facts: Vec<Option<Fact>>,
    pub outputs: Vec<Fact>,
    storages: Vec<Option<Storage>>,
    pub output_storages: Vec<Option<Storage>>,
    pub candidate: Candidate,
    pub over: Option<usize>,
}

/// How a node of a plan is stored.
pub(super) struct Stored {
    /// None of a constant.
    pub inputs: Vec<Option<Storage>>,
    pub outputs: Vec<Option<Storage>>,
}

impl Specimen {
    /// The smallest one found that has these kernels, in this order; none where no size has, or it is a great deal of work.
    pub fn of(graph: &Graph, node: &Node, stored: &Stored, kernels: &[&Kernel], device: &DeviceFacts) -> Option<Self> {
        let given = graph.input_facts(node)?;
        let facts: Vec<Option<Fact>> = given.into_iter().map(|fact| fact.cloned()).collect();
        if facts.iter().flatten().any(|fact| fact.concrete().is_none()) {
            return None;
        }
        let find = |facts: &[Option<Fact>]| {
            let ways = [false, true].into_iter();
            ways.filter_map(|half| matching(&node.operator, facts, stored, half, kernels, device)).next()
        };
        let mut best = find(&facts)?;
        let sizes = facts.iter().flatten().filter_map(Fact::concrete).flatten();
        let mut sizes: Vec<usize> = sizes.filter(|&size| size > SIZES[0]).collect();
        sizes.sort_unstable_by_key(|&size| std::cmp::Reverse(size));
        sizes.dedup();
        for size in sizes {
            // What is left of a division by a unit stays: that is where kernels differ.
            let smaller = SIZES.iter().map(|small| small + size % 4).filter(|&small| small < size);
            let tried = smaller.filter_map(|small| find(&resized(&best.facts, size, small)?));
            if let Some(found) = { tried }.next() {
                best = found;
            }
        }
        let given: Vec<Option<&Fact>> = best.facts.iter().map(Option::as_ref).collect();
        (best.operator.work(&given, &best.outputs) <= MOST_WORK).then_some(best)
    }

    /// One that an operator offers for these inputs, constants among them.
    pub fn offered(
        operator: &Arc<dyn Operator>,
        facts: &[Option<Fact>],
        half: bool,
        device: &DeviceFacts,
    ) -> Result<Vec<Self>, String> {
        let given: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        let outputs = operator.infer(&given).map_err(|error| error.to_string())?;
        let storages: Vec<_> = facts.iter().map(|fact| Storage::of(fact.as_ref()?.element_type, half)).collect();
        let output_storages: Vec<_> = outputs.iter().map(|fact| Storage::of(fact.element_type, half)).collect();
        let mut found: Vec<Candidate> = vec![];
        for layout in [Layout::Linear, Layout::Rows, Layout::Channels4] {
            for candidate in candidates(operator, facts, &storages, &outputs, &output_storages, layout, device) {
                let kernels = |c: &Candidate| c.dispatches.iter().map(|d| d.kernel.clone()).collect::<Vec<_>>();
                if !candidate.dispatches.is_empty() && !found.iter().any(|known| kernels(known) == kernels(&candidate))
                {
                    found.push(candidate);
                }
            }
        }
        let specimen = |candidate| Self {
            operator: Arc::clone(operator),
            facts: facts.to_vec(),
            outputs: outputs.clone(),
            storages: storages.clone(),
            output_storages: output_storages.clone(),
            candidate,
            over: None,
        };
        Ok(found.into_iter().map(specimen).collect())
    }

    /// What it is dispatched as.
    pub fn dispatches(&self) -> Vec<Dispatch> {
        dispatches(&self.candidate, self.over)
    }

    /// Whether any of its values is stored in 16-bit floats.
    pub fn is_half(&self) -> bool {
        let scratch = self.candidate.scratch.iter().map(|(_, storage)| *storage);
        let bound = self.dispatches().into_iter().flat_map(|d| d.kernel.storages).collect::<Vec<_>>();
        scratch.chain(bound).any(|storage| storage == Storage::F16)
    }

    /// Its inputs as they are stored: the constants as they are, the others made up. With each its storage.
    pub fn inputs(&self) -> Vec<Option<(Tensor, Storage)>> {
        let value = |(fact, storage): (&Option<Fact>, &Option<Storage>)| {
            let (fact, storage) = (fact.as_ref()?, (*storage)?);
            let tensor = match &fact.constant {
                Some(tensor) => tensor.clone(),
                None => made_up(fact.element_type, fact.concrete()?)?,
            };
            Some((if storage == Storage::F16 { rounded(&tensor) } else { tensor }, storage))
        };
        self.facts.iter().zip(&self.storages).map(value).collect()
    }

    /// What the reference gives for these inputs.
    pub fn expected(&self, inputs: &[Option<(Tensor, Storage)>]) -> Result<Vec<Tensor>, String> {
        // What no kernel holds (none of these has any) is as it is.
        let values: Vec<Option<Value>> =
            inputs.iter().map(|input| input.as_ref().map(|(tensor, _)| Value::Tensor(tensor.clone()))).collect();
        let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
        let results = self.operator.compute(&mut Context::default(), Inputs(&values)).map_err(|e| e.to_string())?;
        results
            .into_iter()
            .map(Value::into_tensor)
            .collect::<Option<_>>()
            .ok_or_else(|| "it gives no tensor".to_owned())
    }
}

/// What an operator offers for inputs that lie and are stored so.
fn candidates(
    operator: &Arc<dyn Operator>,
    facts: &[Option<Fact>],
    storages: &[Option<Storage>],
    outputs: &[Fact],
    output_storages: &[Option<Storage>],
    layout: Layout,
    device: &DeviceFacts,
) -> Vec<Candidate> {
    let operand = |(fact, &storage): (&'_ Option<Fact>, &Option<Storage>)| {
        let layout = layout.canonical(&fact.as_ref()?.concrete()?);
        Some((layout, storage))
    };
    let lie: Vec<_> = facts.iter().zip(storages).map(operand).collect();
    let operands: Vec<Option<Operand<'_>>> = facts
        .iter()
        .zip(lie)
        .map(|(fact, lie)| fact.as_ref().zip(lie).map(|(fact, (layout, storage))| Operand { fact, layout, storage }))
        .collect();
    let request = Request { inputs: &operands, outputs, output_storages, device, open: true };
    let buffers = usize::try_from(device.max_storage_buffers).unwrap_or(usize::MAX);
    let offered = operator.candidates(&request).unwrap_or_default();
    offered.into_iter().filter(|c| c.dispatches.iter().all(|d| d.bindings.len() <= buffers)).collect()
}

/// The way to run a node on these inputs by these kernels; constants of floats in 16 bits or in 32.
fn matching(
    operator: &Arc<dyn Operator>,
    facts: &[Option<Fact>],
    stored: &Stored,
    half: bool,
    kernels: &[&Kernel],
    device: &DeviceFacts,
) -> Option<Specimen> {
    let given: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    let outputs = operator.infer(&given).ok()?;
    if outputs.iter().any(|fact| fact.concrete().is_none_or(|shape| shape.contains(&0))) {
        return None;
    }
    let constant = |(fact, storage): (&Option<Fact>, &Option<Storage>)| {
        storage.or_else(|| Storage::of(fact.as_ref()?.element_type, half))
    };
    let storages: Vec<Option<Storage>> = facts.iter().zip(&stored.inputs).map(constant).collect();
    for layout in [Layout::Linear, Layout::Rows, Layout::Channels4] {
        for candidate in candidates(operator, facts, &storages, &outputs, &stored.outputs, layout, device) {
            for over in std::iter::once(None).chain(candidate.in_place.iter().copied().map(Some)) {
                if dispatches(&candidate, over).iter().map(|dispatch| &dispatch.kernel).eq(kernels.iter().copied()) {
                    return Some(Specimen {
                        operator: Arc::clone(operator),
                        facts: facts.to_vec(),
                        outputs,
                        storages,
                        output_storages: stored.outputs.clone(),
                        candidate,
                        over,
                    });
                }
            }
        }
    }
    None
}

/// A candidate's dispatches, output 0 perhaps written over an input.
fn dispatches(candidate: &Candidate, over: Option<usize>) -> Vec<Dispatch> {
    let mut dispatches = candidate.dispatched(over).to_vec();
    if let Some(input) = over {
        for dispatch in &mut dispatches {
            let read = dispatch.bindings.iter().position(|binding| *binding == Binding::Input(input));
            let written = dispatch.bindings.iter().position(|binding| *binding == Binding::Output(0));
            dispatch.kernel.in_place = read.zip(written);
        }
    }
    dispatches
}

/// The facts with all dimensions of a size brought down, constants cut; none where a constant is not at hand.
fn resized(facts: &[Option<Fact>], from: usize, to: usize) -> Option<Vec<Option<Fact>>> {
    let resize = |fact: &Option<Fact>| {
        let Some(fact) = fact else { return Some(None) };
        let old = fact.concrete()?;
        let shape: Vec<usize> = old.iter().map(|&size| if size == from { to } else { size }).collect();
        Some(Some(match &fact.constant {
            _ if shape == old => fact.clone(),
            Some(tensor) => Fact::constant(cut(tensor, &shape)?),
            None => Fact::new(fact.element_type, shape),
        }))
    };
    facts.iter().map(resize).collect()
}

/// The corner of a tensor that begins at its first element.
fn cut(tensor: &Tensor, shape: &[usize]) -> Option<Tensor> {
    let size = tensor.element_type().size();
    if tensor.element_type() == ElementType::String || size == 0 {
        return None;
    }
    let row = shape.last().copied()?;
    let rows: usize = shape.iter().rev().skip(1).product();
    let (from, mut bytes) = (tensor.bytes(), Vec::with_capacity(rows * row * size));
    for i in 0..rows {
        let (mut rest, mut at, mut stride) = (i, 0, tensor.shape().last().copied()?);
        for (&new, &old) in shape.iter().zip(tensor.shape()).rev().skip(1) {
            at += rest % new * stride;
            rest /= new;
            stride *= old;
        }
        bytes.extend_from_slice(from.get(at * size..(at + row) * size)?);
    }
    Tensor::from_bytes(tensor.element_type(), shape.to_vec(), bytes.into()).ok()
}

/// Values without a pattern that a fault could hide behind; integers of 32 and 64 bits, which may be places, are zero.
fn made_up(element_type: ElementType, shape: Vec<usize>) -> Option<Tensor> {
    let n = crate::tensor::shape::elements(&shape)?;
    let ramp = |i: usize| (i * 37 + 11) % 101;
    match element_type {
        ElementType::F32 => Tensor::new(shape, (0..n).map(|i| ramp(i) as f32 / 50.5 - 1.0).collect()),
        ElementType::U8 => Tensor::new(shape, (0..n).map(|i| (ramp(i) * 5 / 2) as u8).collect()),
        ElementType::I8 => Tensor::new(shape, (0..n).map(|i| (ramp(i) as i8) - 50).collect()),
        _ => Tensor::zeros(element_type, shape),
    }
    .ok()
}

/// As 16-bit floats hold it.
fn rounded(tensor: &Tensor) -> Tensor {
    let Ok(values) = tensor.as_slice::<f32>() else { return tensor.clone() };
    let rounded = values.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect();
    Tensor::new(tensor.shape(), rounded).unwrap_or_else(|_| tensor.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corner_of_a_tensor_is_cut() {
        let tensor = Tensor::new([3, 4, 5], (0..60).map(|i| i as f32).collect()).unwrap();
        let corner = cut(&tensor, &[2, 3, 2]).unwrap();
        assert_eq!(corner.as_slice::<f32>().unwrap(), [0., 1., 5., 6., 10., 11., 20., 21., 25., 26., 30., 31.]);
        let facts = [Some(Fact::constant(tensor)), None, Some(Fact::new(ElementType::F32, [4usize, 4]))];
        let smaller = resized(&facts, 4, 2).unwrap();
        assert_eq!(smaller[0].as_ref().unwrap().concrete(), Some(vec![3, 2, 5]));
        assert_eq!(smaller[2].as_ref().unwrap().concrete(), Some(vec![2, 2]));
    }
}
