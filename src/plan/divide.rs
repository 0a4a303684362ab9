//! Nodes that read a constant larger than what the device binds at once are divided: each part of the constant has a node
//! of its own, whose results are concatenated ([`Operator::divisions`](crate::graph::Operator::divisions)) or, of a Gather,
//! written over one another. What cannot be divided stays, and is refused when kernels are chosen.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::precision::Precision;
use crate::error::PlanError;
use crate::graph::{Definition, Division, Fact, Graph, Names, Node, NodeError, Operator, ValueId};
use crate::kernel::DeviceFacts;
use crate::ops::concat::Concat;
use crate::ops::gather::Gather;
use crate::ops::gather_part::GatherPart;
use crate::ops::matmul::{Gemm, MatMul};
use crate::tensor::Tensor;

/// Parts may be stored in 32 bits where the whole was to be in 16, as they are less beside what else their nodes read: so
/// they are looked at again.
const ROUNDS: usize = 3;

/// Multiples of rows or columns that parts have where they can: results lie in whole units, and panels are filled.
const MULTIPLES: [usize; 3] = [64, 16, 4];

/// Divides what is too large for the device. Ids of values stay as they are.
///
/// # Errors
/// [`PlanError::Node`] if a part is not right, which would be a fault of this module.
pub fn divide(
    mut graph: Graph,
    device: &DeviceFacts,
    half: bool,
    single: &BTreeSet<String>,
) -> Result<Graph, PlanError> {
    for _ in 0..ROUNDS {
        let limit = device.tensor_limit();
        let precision = Precision::of(&graph, half, single);
        let found: HashMap<usize, Found> = graph
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(i, node)| Some((i, find(&graph, &precision, node, limit)?)))
            .collect();
        if found.is_empty() {
            break;
        }
        let names = Names::of(&graph);
        let mut divider = Divider { graph, names, parts: HashMap::new(), nodes: vec![] };
        for (i, node) in std::mem::take(&mut divider.graph.nodes).into_iter().enumerate() {
            match found.get(&i) {
                Some(found) => divider.node(&node, found)?,
                None => divider.nodes.push(node),
            }
        }
        graph = divider.finish();
        graph.infer()?;
    }
    Ok(graph)
}

/// How a node is divided.
struct Found {
    way: Way,
    /// Where each part begins, and its length.
    parts: Vec<(usize, usize)>,
}

enum Way {
    Concat(Division),
    /// A Gather, along this axis of so many elements.
    Gather(usize, usize),
}

/// How a node is divided, if it reads a constant that is too large and can be.
fn find(graph: &Graph, precision: &Precision, node: &Node, limit: u64) -> Option<Found> {
    let is_known = |id: &ValueId| graph.constant(*id).is_some();
    let [Some(y)] = node.outputs[..] else { return None };
    if is_known(&y) {
        return None;
    }
    let facts = graph.input_facts(node)?;
    for (input, fact) in facts.iter().enumerate() {
        let Some(tensor) = fact.and_then(|fact| fact.constant.as_ref()) else { continue };
        let shape = tensor.shape().to_vec();
        // Most need no closer look: an element takes 8 bytes at most, and padding quadruples two dimensions at most.
        if (tensor.len() as u64).saturating_mul(8 * 16) <= limit {
            continue;
        }
        if input == 1 && is_packed(node, tensor, limit) {
            continue;
        }
        let Some(storage) = fact.and_then(|fact| precision.constant(graph, node, fact)) else { continue };
        let element = storage.unit_bytes() / 4;
        let (way, axis, multiples) = match node.operator.downcast::<Gather>() {
            Some(gather) if input == 0 => {
                let axis = gather.axis(shape.len()).ok()?;
                (Way::Gather(axis, shape[axis]), axis, &[][..])
            }
            Some(_) => continue,
            None => {
                let mut divisions = node.operator.divisions(&facts).into_iter();
                let Some(division) = divisions.find(|division| division.constant.0 == input) else { continue };
                let axis = division.constant.1;
                (Way::Concat(division), axis, &MULTIPLES[..])
            }
        };
        let slice = slice(&shape, axis, element, &way)?;
        if let Some(parts) = parts(*shape.get(axis)?, limit / slice.max(1), multiples) {
            return Some(Found { way, parts });
        }
    }
    None
}

/// Whether a product reads these weights as numbers of few bits, and they are not too large so: where columns are filled up to
/// whole panels they take twice as much at most.
fn is_packed(node: &Node, weights: &Tensor, limit: u64) -> bool {
    let axis = match (node.operator.downcast::<MatMul>(), node.operator.downcast::<Gemm>()) {
        (Some(_), _) => 0,
        (_, Some(gemm)) => usize::from(gemm.transpose_b),
        _ => return false,
    };
    weights.quantized().is_some_and(|numbers| numbers.fills_words(axis) && numbers.bytes() <= limit / 2)
}

/// Bytes of a row or column of a constant as kernels may lay it out: what they read by units is in whole units, and a bias
/// in 32 bits may lie behind it.
fn slice(shape: &[usize], axis: usize, element: u64, way: &Way) -> Option<u64> {
    let whole = |i: usize| i + 1 == shape.len() || (i == 1 && shape.len() > 2);
    let (whole, bias): (&dyn Fn(usize) -> bool, u64) = match way {
        Way::Gather(..) => (&|_| false, 0),
        Way::Concat(division) if division.along.is_empty() => (&whole, 0),
        Way::Concat(_) => (&whole, 4),
    };
    let dims = shape.iter().enumerate().filter(|(i, _)| *i != axis);
    let mut dims = dims.map(|(i, &dim)| if whole(i) { dim.next_multiple_of(4) } else { dim } as u64);
    dims.try_fold(element, |bytes, dim| bytes.checked_mul(dim))?.checked_add(bias)
}

/// Where parts of at most `most` elements begin, and their lengths, about equal; `None` where one will do, or none can be.
fn parts(size: usize, most: u64, multiples: &[usize]) -> Option<Vec<(usize, usize)>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let multiple = |of: usize| multiples.iter().copied().find(|&multiple| multiple <= of).unwrap_or(1);
    if size.next_multiple_of(multiple(size)) <= most || size <= 1 || most == 0 {
        return None;
    }
    let most = most / multiple(most) * multiple(most);
    // What is too large by its padding alone lies in two parts all the same.
    let count = size.div_ceil(most).max(2);
    let length = size.div_ceil(count).next_multiple_of(multiple(most)).min(most);
    let parts: Vec<_> = (0..size).step_by(length).map(|begin| (begin, length.min(size - begin))).collect();
    (parts.len() > 1).then_some(parts)
}

/// A graph whose nodes are being divided.
struct Divider {
    graph: Graph,
    names: Names,
    /// Parts of constants that there are: of which, along which axis, from where, how long.
    parts: HashMap<(ValueId, usize, usize, usize), ValueId>,
    nodes: Vec<Node>,
}

impl Divider {
    fn value(&mut self, name: &str, fact: Option<Fact>) -> ValueId {
        self.graph.add_value(self.names.fresh(name), fact)
    }

    fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.value(name, Some(Fact::constant(tensor)))
    }

    /// A part of a value: a constant, or what a Slice gives.
    fn part(&mut self, id: ValueId, axis: usize, (begin, length): (usize, usize)) -> Result<ValueId, String> {
        if let Some(&part) = self.parts.get(&(id, axis, begin, length)) {
            return Ok(part);
        }
        let name = format!("{}/{begin}", self.graph.value(id).name);
        let part = match self.graph.constant(id) {
            Some(whole) => {
                let part = whole.part(axis, begin, length).ok_or("a constant has no such part")?;
                self.constant(&name, part)
            }
            None => {
                let bounds = [begin, begin + length, axis];
                let bounds = bounds.map(|bound| Tensor::vector(vec![i64::try_from(bound).unwrap_or(i64::MAX)]));
                let [from, to, along] = bounds.map(|bound| Some(self.constant(&format!("{name}/bound"), bound)));
                let slice = crate::ops::operator(&Definition::new("Slice")).map_err(|e| e.to_string())?;
                let part = self.value(&name, None);
                self.push(&name, slice, vec![Some(id), from, to, along], part);
                part
            }
        };
        self.parts.insert((id, axis, begin, length), part);
        Ok(part)
    }

    fn push(&mut self, name: &str, operator: Arc<dyn Operator>, inputs: Vec<Option<ValueId>>, output: ValueId) {
        self.nodes.push(Node { name: name.to_owned(), operator, inputs, outputs: vec![Some(output)] });
    }

    /// Puts a node for each part in a node's place.
    fn node(&mut self, node: &Node, found: &Found) -> Result<(), PlanError> {
        let wrong = |message: String| PlanError::Node(NodeError::new(node, message));
        let [Some(y)] = node.outputs[..] else { return Ok(()) };
        let name = self.graph.value(y).name.clone();
        let mut results: Vec<Option<ValueId>> = vec![];
        for (i, &range) in found.parts.iter().enumerate() {
            let label = format!("{}/{}", node.name, range.0);
            let last = i + 1 == found.parts.len();
            let mut inputs = node.inputs.clone();
            let operator: Arc<dyn Operator> = match &found.way {
                Way::Concat(Division { constant, along, .. }) => {
                    for &(input, axis) in along.iter().chain([constant]) {
                        if let Some(Some(id)) = inputs.get_mut(input) {
                            *id = self.part(*id, axis, range).map_err(wrong)?;
                        }
                    }
                    Arc::clone(&node.operator)
                }
                &Way::Gather(axis, size) => {
                    if let Some(Some(id)) = inputs.first_mut() {
                        *id = self.part(*id, axis, range).map_err(wrong)?;
                    }
                    inputs.extend(results.last().copied());
                    Arc::new(GatherPart { axis, size, first: range.0 })
                }
            };
            let result = match &found.way {
                Way::Gather(..) if last => y,
                _ => self.value(&format!("{name}/{}", range.0), None),
            };
            self.push(&label, operator, inputs, result);
            results.push(Some(result));
        }
        if let Way::Concat(division) = &found.way {
            let axis = i64::try_from(division.output).unwrap_or(i64::MAX);
            self.push(&node.name, Arc::new(Concat { axis }), results, y);
        }
        Ok(())
    }

    /// The graph, without what its constants hold that are read in parts alone.
    fn finish(self) -> Graph {
        let mut graph = self.graph;
        graph.nodes = self.nodes;
        let read: HashSet<ValueId> =
            graph.nodes.iter().flat_map(|node| node.inputs.iter().copied().flatten()).collect();
        for (whole, ..) in self.parts.keys().filter(|(id, ..)| !read.contains(id) && !graph.outputs.contains(id)) {
            if let Some(fact) = &mut graph.values[whole.0].fact {
                fact.constant = None;
            }
        }
        graph
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::reference::evaluate;
    use crate::kernel::DeviceClass;
    use crate::tensor::ElementType;

    fn filled(shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        Tensor::new(shape, (0..n).map(|i| ((i * 37 + 11) % 101) as f32 / 50.5 - 1.0).collect()).unwrap()
    }

    fn small(limit: u64) -> DeviceFacts {
        DeviceFacts { max_binding_size: limit, ..DeviceFacts::floor(DeviceClass::Software) }
    }

    /// A node over an input and constants, divided and not.
    fn both(
        definition: &Definition,
        x: &Tensor,
        constants: &[Tensor],
        first: usize,
        limit: u64,
    ) -> (Graph, [Tensor; 2]) {
        let mut graph = Graph::builder();
        let input = graph.input("x", x.element_type(), x.shape().to_vec());
        let mut inputs: Vec<ValueId> =
            constants.iter().enumerate().map(|(i, c)| graph.constant(&format!("c{i}"), c.clone())).collect();
        inputs.insert(first, input);
        let y = graph.node(definition, &inputs).unwrap();
        graph.output("y", y);
        let whole = graph.build().unwrap();
        let divided = divide(whole.clone(), &small(limit), false, &BTreeSet::new()).unwrap();
        let run = |graph: &Graph| {
            let outputs = evaluate(graph, std::slice::from_ref(x), |_, value| value).unwrap();
            outputs.into_iter().next().unwrap().into_tensor().unwrap()
        };
        let results = [run(&whole), run(&divided)];
        (divided, results)
    }

    /// Whether all constants that nodes read are within the limit.
    fn fits(graph: &Graph, limit: u64) -> bool {
        let read = graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
        read.filter_map(|&id| graph.constant(id)).all(|tensor| tensor.byte_length() as u64 <= limit)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn parts_cover_all_and_none_is_too_long(size in 0usize..2000, most in 0u64..700, whole in any::<bool>()) {
            let multiples = if whole { &MULTIPLES[..] } else { &[] };
            match parts(size, most, multiples) {
                Some(parts) => {
                    let mut end = 0;
                    for &(begin, length) in &parts {
                        prop_assert!(begin == end && length > 0 && length as u64 <= most);
                        end = begin + length;
                    }
                    prop_assert!(end == size && parts.len() > 1);
                }
                None => prop_assert!(size as u64 <= most || size <= 1 || most == 0),
            }
        }

        /// One below the limit, at it, one above it, and several times as large.
        #[test]
        fn a_divided_node_gives_what_the_whole_gives(
            (k, around, times) in (1usize..40, -1i64..2, 1usize..4),
            way in 0usize..6,
        ) {
            let limit = 1024u64;
            let n = (256 * times / k).saturating_add_signed(around as isize).max(2);
            let op = Definition::new;
            let (definition, x, constants, first) = match way {
                0 => (op("MatMul"), filled(&[3, k]), vec![filled(&[k, n])], 0),
                1 => (op("MatMul"), filled(&[k, 3]), vec![filled(&[n, k])], 1),
                2 => (op("Gemm"), filled(&[3, k]), vec![filled(&[k, n]), filled(&[n])], 0),
                3 => (op("Gemm").attribute("transB", 1i64), filled(&[3, k]), vec![filled(&[n, k]), filled(&[3, 1])], 0),
                4 => (op("Conv"), filled(&[1, k, 2, 2]), vec![filled(&[n, k, 1, 1]), filled(&[n])], 0),
                _ => {
                    let last = n as i64 - 1;
                    let at = Tensor::vector(vec![0i64, last, -1, last / 2, -last, last / 3]);
                    (op("Gather"), at, vec![filled(&[n, k])], 1)
                }
            };
            let (divided, [expected, found]) = both(&definition, &x, &constants, first, limit);
            prop_assert_eq!(expected, found);
            prop_assert!(fits(&divided, limit), "{}", divided);
            if (n * k * 4) as u64 > limit {
                prop_assert!(divided.nodes.len() > 1, "{}", divided);
            }
        }
    }

    #[test]
    fn what_is_small_or_has_no_way_stays_as_it_is() {
        let (x, w) = (filled(&[1, 8, 2, 2]), filled(&[64, 4, 1, 1]));
        let groups = Definition::new("Conv").attribute("group", 2i64);
        let (whole, _) = both(&groups, &x, &[w], 0, 256);
        assert_eq!(whole.nodes.len(), 1, "{whole}");
        let (whole, _) = both(&Definition::new("Mul"), &filled(&[1]), &[filled(&[500])], 0, 256);
        assert_eq!(whole.nodes.len(), 1, "{whole}");
        // Several nodes share parts that are alike, and what they were parts of is let go.
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [2usize, 4]);
        let w = graph.constant("w", filled(&[4, 256]));
        for name in ["y", "z"] {
            let y = graph.node(&Definition::new("MatMul"), &[x, w]).unwrap();
            graph.output(name, y);
        }
        let divided = divide(graph.build().unwrap(), &small(2048), false, &BTreeSet::new()).unwrap();
        let constants = divided.values.iter().filter(|v| v.fact.as_ref().is_some_and(|f| f.constant.is_some()));
        assert_eq!(constants.count(), 2, "{divided}");
        assert!(divided.constant(w).is_none());
    }
}
