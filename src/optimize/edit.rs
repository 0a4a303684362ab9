//! A graph while a rewrite changes it: who computes and who reads each value, kept right over many changes, so that a
//! rewrite walks the graph once.

use std::collections::HashSet;
use std::sync::Arc;

use crate::graph::{Fact, Graph, Names, Node, Operator, ValueId};
use crate::tensor::Tensor;

/// A graph that is being rewritten. Nodes keep their indices until [`Edit::finish`].
pub(super) struct Edit<'a> {
    graph: &'a mut Graph,
    /// For each value, the node that computes it.
    producers: Vec<Option<usize>>,
    /// For each value, how often nodes read it.
    reads: Vec<usize>,
    outputs: HashSet<ValueId>,
    removed: Vec<bool>,
    /// All names, once one is needed that is none of them.
    names: Option<Names>,
    changed: bool,
}

impl<'a> Edit<'a> {
    pub fn of(graph: &'a mut Graph) -> Self {
        let producers = graph.producers().into_iter().map(|id| id.map(|id| id.0)).collect();
        let mut reads = vec![0; graph.values.len()];
        for id in graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten()) {
            reads[id.0] += 1;
        }
        let outputs = graph.outputs.iter().copied().collect();
        Self { producers, reads, outputs, removed: vec![false; graph.nodes.len()], names: None, changed: false, graph }
    }

    /// The graph as it is now; removed nodes still stand in it.
    pub fn graph(&self) -> &Graph {
        self.graph
    }

    /// The indices of all nodes, to be walked while the graph changes.
    pub fn nodes(&self) -> std::ops::Range<usize> {
        0..self.graph.nodes.len()
    }

    /// A node, if it has not been removed.
    pub fn node(&self, index: usize) -> Option<&Node> {
        (!self.removed[index]).then(|| &self.graph.nodes[index])
    }

    /// The node that computes a value, with its index.
    pub fn producer(&self, value: ValueId) -> Option<(usize, &Node)> {
        let index = self.producers[value.0]?;
        Some((index, self.node(index)?))
    }

    /// The node that computes a value which is read exactly `reads` times, and is no output of the graph.
    pub fn producer_for(&self, value: ValueId, reads: usize) -> Option<(usize, &Node)> {
        (self.reads[value.0] == reads && !self.is_output(value)).then(|| self.producer(value)).flatten()
    }

    /// The node that reads a value which nobody else reads, and which is no output of the graph.
    pub fn reader(&self, value: ValueId) -> Option<(usize, &Node)> {
        let mut nodes = self.graph.nodes.iter().enumerate().filter(|(i, _)| !self.removed[*i]);
        (self.reads[value.0] == 1 && !self.is_output(value))
            .then(|| nodes.find(|(_, node)| node.inputs.contains(&Some(value))))
            .flatten()
    }

    /// Whether a value is an output of the graph.
    pub fn is_output(&self, value: ValueId) -> bool {
        self.outputs.contains(&value)
    }

    /// A new constant, its name like this one.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let id = self.value(name);
        self.set_fact(id, Fact::constant(tensor));
        id
    }

    /// A new value that no node computes yet, its name like this one.
    pub fn value(&mut self, name: &str) -> ValueId {
        let name = self.names.get_or_insert_with(|| Names::of(self.graph)).fresh(name);
        self.producers.push(None);
        self.reads.push(0);
        self.graph.add_value(name, None)
    }

    /// Gives a node another operator and other inputs. Its outputs stay, and so do their names and places in the order.
    pub fn replace(&mut self, index: usize, operator: Arc<dyn Operator>, inputs: Vec<Option<ValueId>>) {
        for id in inputs.iter().flatten() {
            self.reads[id.0] += 1;
        }
        let node = &mut self.graph.nodes[index];
        node.operator = operator;
        for id in std::mem::replace(&mut node.inputs, inputs).into_iter().flatten() {
            self.reads[id.0] -= 1;
        }
        self.changed = true;
    }

    /// Puts the work of node `first` into node `last`, which reads what it gives: `last` gets this operator and these inputs,
    /// and the name of `first`, which is removed.
    pub fn fuse(&mut self, first: usize, last: usize, operator: Arc<dyn Operator>, inputs: Vec<Option<ValueId>>) {
        self.replace(last, operator, inputs);
        self.graph.nodes[last].name = self.graph.nodes[first].name.clone();
        self.remove(first);
    }

    /// Removes a node, whose outputs nobody reads any more or are constants now.
    pub fn remove(&mut self, index: usize) {
        if std::mem::replace(&mut self.removed[index], true) {
            return;
        }
        let node = &self.graph.nodes[index];
        for id in node.inputs.iter().flatten() {
            self.reads[id.0] -= 1;
        }
        for id in node.outputs.iter().flatten() {
            if self.producers[id.0] == Some(index) {
                self.producers[id.0] = None;
            }
        }
        self.changed = true;
    }

    /// Removes what computed a value that nobody reads any more, and what computed what that read alone.
    pub fn sweep(&mut self, value: ValueId) {
        let mut values = vec![value];
        while let Some(value) = values.pop() {
            let Some((index, node)) = self.producer_for(value, 0) else { continue };
            if node.outputs.iter().flatten().count() == 1 {
                values.extend(node.inputs.iter().flatten());
                self.remove(index);
            }
        }
    }

    /// What is known of a value from now on.
    pub fn set_fact(&mut self, value: ValueId, fact: Fact) {
        self.graph.values[value.0].fact = Some(fact);
        self.changed = true;
    }

    /// Lets a node compute `new` where it computed `old`.
    pub fn redirect(&mut self, index: usize, old: ValueId, new: ValueId) {
        for output in self.graph.nodes[index].outputs.iter_mut().flatten() {
            if *output == old {
                *output = new;
            }
        }
        self.producers[old.0] = None;
        self.producers[new.0] = Some(index);
        self.changed = true;
    }

    /// Lets every reader of a value that is renamed read the one that it is renamed to.
    pub fn rename(&mut self, renamed: &[Option<ValueId>]) {
        for (node, _) in self.graph.nodes.iter_mut().zip(&self.removed).filter(|(_, removed)| !**removed) {
            for input in node.inputs.iter_mut().flatten() {
                if let Some(new) = renamed.get(input.0).copied().flatten() {
                    self.reads[input.0] -= 1;
                    self.reads[new.0] += 1;
                    *input = new;
                }
            }
        }
    }

    /// Takes the removed nodes out. Whether anything was changed.
    pub fn finish(self) -> bool {
        let mut removed = self.removed.into_iter();
        self.graph.nodes.retain(|_| !removed.next().unwrap_or_default());
        self.changed
    }
}
