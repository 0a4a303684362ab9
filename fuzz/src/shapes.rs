//! Shape inference: whatever attributes and dimensions say, an error or facts; and what is inferred is what comes out.

use rimlight::cpu::reference::evaluate;
use rimlight::graph::{Attribute, Dim, Fact, Value};
use rimlight::{Graph, Tensor};

use crate::net::{Kind, Net, Origin};

/// Numbers that files made to do harm have.
const EDGES: [i64; 14] =
    [0, -1, 1, 2, 3, 7, -3, 1 << 16, (1 << 31) - 1, 1 << 32, 1 << 62, i64::MAX, i64::MIN, i64::MIN + 1];
/// Elements of all values of what is computed.
const MOST: usize = 1 << 16;

/// Draws a network, infers it with symbols and with numbers, and once more with attributes, constants and dimensions that
/// are wrong.
///
/// # Panics
/// If inference panics, contradicts itself, or contradicts what the references compute.
pub fn run(bytes: &[u8]) {
    // The end says what is damaged, the rest what is drawn.
    let (damage, bytes) = bytes.split_at(bytes.len().min(8));
    let net = Net::draw(bytes, Kind::Any);
    let closed = net.graph(false).unwrap_or_else(|e| panic!("{e}\n{net}"));
    let open = net.graph(true).unwrap_or_else(|e| panic!("with symbols: {e}\n{net}"));
    let bound = open.graph.bind(&net.bindings()).unwrap_or_else(|e| panic!("bound: {e}\n{net}"));
    for graph in [&closed.graph, &open.graph, &bound] {
        agrees(&net, graph, &net.inputs());
    }
    for pair in damage.chunks_exact(2).filter(|pair| pair != &[0, 0]) {
        damaged(&net, pair[0], pair[1]);
    }
}

/// Whether what was inferred is what comes out.
fn agrees(net: &Net, graph: &Graph, inputs: &[Tensor]) {
    let mut check = |id, value: Value| {
        if let (Some(fact), Some(tensor)) = (graph.fact(id), value.as_tensor()) {
            let name = &graph.value(id).name;
            assert!(fits(fact, tensor), "{name}: inferred {fact}, computed {tensor:?}\n{net}");
            if let Some(constant) = &fact.constant {
                assert!(constant == tensor, "{name}: inferred {constant:?}, computed {tensor:?}\n{net}");
            }
        }
        value
    };
    // What cannot be computed is no matter of shapes: an index that is out of range.
    let _ = evaluate(graph, inputs, &mut check);
}

fn fits(fact: &Fact, tensor: &Tensor) -> bool {
    fact.element_type == tensor.element_type()
        && fact.rank() == tensor.rank()
        && fact.shape.iter().zip(tensor.shape()).all(|(dim, &n)| dim.size().is_none_or(|d| d == n))
}

/// The network with one thing changed.
fn damaged(net: &Net, what: u8, how: u8) {
    let mut net = net.clone();
    let edge = EDGES[usize::from(how) % EDGES.len()];
    let at = usize::from(what / 4);
    let mut sizes = None;
    match what % 4 {
        // An attribute of a node.
        0 | 1 => {
            if net.nodes.is_empty() {
                return;
            }
            let count = net.nodes.len();
            let step = &mut net.nodes[at % count];
            let attributes = step.definition.attributes.len();
            if let Some(attribute) =
                step.definition.attributes.values_mut().nth(usize::from(how / 16) % attributes.max(1))
            {
                match attribute {
                    Attribute::Int(i) => *i = edge,
                    Attribute::Float(f) => *f = edge as f32,
                    Attribute::Ints(list) if what.is_multiple_of(4) => {
                        if let Some(last) = list.last_mut() {
                            *last = edge;
                        }
                    }
                    Attribute::Ints(list) => list.push(edge),
                    Attribute::String(text) => "wrong".clone_into(text),
                    _ => {}
                }
            }
        }
        // A parameter.
        2 => {
            let parameters = net.values.iter_mut().filter_map(|made| match &mut made.origin {
                Origin::Constant { tensor, data: false } => Some((tensor, &mut made.fact)),
                _ => None,
            });
            let mut parameters: Vec<_> = parameters.collect();
            let count = parameters.len();
            if count == 0 {
                return;
            }
            let (tensor, fact) = &mut parameters[at % count];
            if let Ok(first) = tensor.as_mut_slice::<i64>()
                && let Some(first) = first.first_mut()
            {
                *first = edge;
            }
            **fact = Fact::constant((*tensor).clone());
        }
        // A dimension of an input: unknown, or a number that nothing has.
        _ => sizes = Some((at, edge)),
    }
    let dims = |number: usize, fact: &Fact, symbols: Option<&[Dim]>| match (sizes, symbols) {
        (Some((at, edge)), Some(symbols)) if number == at % 4 => {
            let dim = if how & 1 == 0 { Dim::Unknown } else { Dim::Known(edge.max(0)) };
            let mut dims = symbols.to_vec();
            if let Some(last) = dims.get_mut(usize::from(how) % symbols.len().max(1)) {
                *last = dim;
            }
            dims
        }
        (Some(_), Some(symbols)) => symbols.to_vec(),
        _ => fact.shape.clone(),
    };
    let Ok(built) = net.graph_with(dims) else { return };
    // Of what is still there, only what is small is computed.
    let elements = |fact: &Fact| fact.concrete().and_then(|s| s.iter().try_fold(1usize, |n, &d| n.checked_mul(d)));
    let mut all = 0usize;
    for node in &built.graph.nodes {
        let (Some(inputs), true) = (built.graph.input_facts(node), node.operator.bodies().is_empty()) else { return };
        let outputs: Vec<Fact> =
            node.outputs.iter().flatten().filter_map(|&id| built.graph.fact(id).cloned()).collect();
        let known = outputs.iter().map(elements).try_fold(0usize, |n, e| n.checked_add(e?));
        let Some(known) = known else { return };
        all = all.saturating_add(known);
        if all > MOST || node.operator.work(&inputs, &outputs) > 10.0 * MOST as f64 {
            return;
        }
    }
    if sizes.is_none() {
        agrees(&net, &built.graph, &net.inputs());
    }
}
