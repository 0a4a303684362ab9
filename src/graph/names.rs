//! Names for values that rewrites add to a graph.

use std::collections::HashSet;

use super::Graph;

/// The names of a graph's values, and of those that were added since.
#[derive(Debug)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    /// Those of a graph.
    pub fn of(graph: &Graph) -> Self {
        Self(graph.values.iter().map(|value| value.name.clone()).collect())
    }

    /// A name that no value has: this one, with as many primes as it needs. It is taken from now on.
    pub fn fresh(&mut self, name: &str) -> String {
        let mut name = name.to_owned();
        while !self.0.insert(name.clone()) {
            name.push('\'');
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ElementType;

    #[test]
    fn a_name_is_given_once() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1usize]);
        graph.output("y", x);
        let mut names = Names::of(&graph.build().unwrap());
        assert_eq!(["z", "z", "y", "z", "z'"].map(|name| names.fresh(name)), ["z", "z'", "y'", "z''", "z'''"]);
    }
}
