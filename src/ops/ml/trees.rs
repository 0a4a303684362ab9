//! TreeEnsemble (ai.onnx.ml, opset 5) and TreeEnsembleRegressor (opsets 1, 3): sums of what the leaves of decision trees hold.
//! On the host.

mod forms;

use std::sync::Arc;

use crate::graph::{Context, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, ShapeError, Value};
use crate::kernel::Candidates;
use crate::tensor::{ElementType, Tensor};

pub(in crate::ops) use forms::{tree_ensemble, tree_ensemble_regressor};

/// How a node compares.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
    Above(f64),
    Equal(f64),
    Other(f64),
    Among(Vec<f64>),
}

impl Test {
    fn holds(&self, v: f64) -> bool {
        match self {
            Self::AtMost(split) => v <= *split,
            Self::Below(split) => v < *split,
            Self::AtLeast(split) => v >= *split,
            Self::Above(split) => v > *split,
            Self::Equal(split) => v == *split,
            Self::Other(split) => v != *split,
            Self::Among(members) => members.contains(&v),
        }
    }
}

/// A node of a tree.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Branch {
        feature: usize,
        test: Test,
        missing: bool,
        yes: usize,
        no: usize,
    },
    /// Targets and what is given to them.
    Leaf(Vec<(usize, f64)>),
}

/// How the trees' results are joined.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Join {
    Mean,
    Sum,
    Least,
    Most,
}

/// Decision trees.
#[derive(Debug, Clone, PartialEq)]
pub struct TreeEnsemble {
    name: &'static str,
    nodes: Vec<Node>,
    roots: Vec<usize>,
    targets: usize,
    join: Join,
    base: Vec<f64>,
    /// The result's type, if it is not the input's.
    element_type: Option<ElementType>,
}

impl TreeEnsemble {
    /// Itself, if no path through its nodes comes back to where it was.
    fn checked(self) -> Result<Arc<dyn Operator>, DefinitionError> {
        // Nodes are taken away once nothing that is left leads to them; what stays is on a circle.
        let children = |node: &Node| match node {
            Node::Branch { yes, no, .. } => vec![*yes, *no],
            Node::Leaf(_) => vec![],
        };
        let mut parents = vec![0usize; self.nodes.len()];
        self.nodes.iter().flat_map(children).for_each(|child| parents[child] += 1);
        let mut free: Vec<usize> = (0..parents.len()).filter(|&i| parents[i] == 0).collect();
        let mut taken = 0;
        while let Some(i) = free.pop() {
            taken += 1;
            for child in children(&self.nodes[i]) {
                parents[child] -= 1;
                if parents[child] == 0 {
                    free.push(child);
                }
            }
        }
        if taken < self.nodes.len() {
            return Err(DefinitionError::Value("nodes_truenodeids", "lead back to where they come from".to_owned()));
        }
        Ok(Arc::new(self))
    }

    /// What a tree's leaf holds for a row.
    fn leaf(&self, root: usize, row: &[f64]) -> Result<&[(usize, f64)], ShapeError> {
        let mut at = root;
        loop {
            match &self.nodes[at] {
                Node::Leaf(weights) => return Ok(weights),
                Node::Branch { feature, test, missing, yes, no } => {
                    let v = *row.get(*feature).ok_or_else(|| {
                        ShapeError::new(format!("a tree asks for feature {feature} of {}", row.len()))
                    })?;
                    at = if test.holds(v) || (*missing && v.is_nan()) { *yes } else { *no };
                }
            }
        }
    }
}

impl Operator for TreeEnsemble {
    fn name(&self) -> &str {
        self.name
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let [rows, _] = x.shape.as_slice() else {
            return Err(ShapeError::new(format!("it takes rows of features, not {x}")));
        };
        let element_type = self.element_type.unwrap_or(x.element_type);
        if !element_type.is_float() || !(x.element_type.is_float() || x.element_type.is_integer()) {
            return Err(ShapeError::new(format!("its features are {}", x.element_type)));
        }
        Ok(vec![Fact::new(element_type, [rows.clone(), Dim::from(self.targets)])])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let &[rows, features] = x.shape() else { return Err(ShapeError::new("it takes rows of features").into()) };
        let element_type = self.element_type.unwrap_or(x.element_type());
        let shape = [rows, self.targets];
        let mut y = Vec::with_capacity(Tensor::bounded(element_type, &shape)?);
        let numbers = x.to_f64();
        for row in 0..rows {
            let row = &numbers[row * features..(row + 1) * features];
            let start = match self.join {
                Join::Mean | Join::Sum => 0.0,
                Join::Least => f64::INFINITY,
                Join::Most => f64::NEG_INFINITY,
            };
            let mut results = vec![start; self.targets];
            for &root in &self.roots {
                for &(target, weight) in self.leaf(root, row)? {
                    let there = &mut results[target];
                    *there = match self.join {
                        Join::Sum | Join::Mean => *there + weight,
                        Join::Least => there.min(weight),
                        Join::Most => there.max(weight),
                    };
                }
            }
            for (target, result) in results.iter_mut().enumerate() {
                if self.join == Join::Mean {
                    *result /= self.roots.len() as f64;
                }
                *result += self.base.get(target).or(self.base.first()).copied().unwrap_or(0.0);
            }
            y.extend(results);
        }
        Ok(vec![Tensor::from_f64(element_type, shape, y)?.into()])
    }

    fn candidates(&self, _: &crate::graph::Request<'_>) -> Candidates {
        Err("it walks through trees".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Definition;

    fn run(operator: Result<Arc<dyn Operator>, DefinitionError>, x: &[f32]) -> Result<Vec<f64>, String> {
        let x: Value = Tensor::new([x.len(), 1], x.to_vec()).unwrap().into();
        let operator = operator.map_err(|e| e.to_string())?;
        let y = operator.evaluate(&mut Context::default(), Inputs(&[Some(&x)])).map_err(|e| e.to_string())?;
        Ok(y.into_iter().next().and_then(Value::into_tensor).unwrap().to_f64())
    }

    /// x ≤ 1 gives 10; else x among {3, 5} gives 20 to target 1, and the rest 30.
    fn tree() -> Definition {
        Definition::new("TreeEnsemble")
            .attribute("nodes_featureids", vec![0i64, 0])
            .attribute("nodes_splits", Tensor::vector(vec![1f32, 0.0]))
            .attribute("nodes_modes", Tensor::vector(vec![0u8, 6]))
            .attribute("nodes_truenodeids", vec![0i64, 1])
            .attribute("nodes_trueleafs", vec![1i64, 1])
            .attribute("nodes_falsenodeids", vec![1i64, 2])
            .attribute("nodes_falseleafs", vec![0i64, 1])
            .attribute("membership_values", Tensor::vector(vec![3f32, 5.0, f32::NAN]))
            .attribute("leaf_weights", Tensor::vector(vec![10f32, 20.0, 30.0]))
            .attribute("leaf_targetids", vec![0i64, 1, 0])
            .attribute("tree_roots", vec![0i64])
            .attribute("n_targets", 2i64)
    }

    #[test]
    fn rows_find_their_leaves() {
        let y = run(tree_ensemble(&tree()), &[1.0, 5.0, f32::NAN]).unwrap();
        assert_eq!(y, [10.0, 0.0, 0.0, 20.0, 30.0, 0.0]);
        let tracks = tree().attribute("nodes_missing_value_tracks_true", vec![1i64, 0]);
        assert_eq!(run(tree_ensemble(&tracks), &[f32::NAN]).unwrap(), [10.0, 0.0]);
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let refused =
            |name: &str, value: Vec<i64>| run(tree_ensemble(&tree().attribute(name, value)), &[2.0]).unwrap_err();
        assert!(refused("nodes_falsenodeids", vec![0, 2]).contains("lead back"));
        refused("nodes_falsenodeids", vec![7, 2]);
        refused("nodes_truenodeids", vec![-1, 0]);
        refused("leaf_targetids", vec![0, 2, 0]);
        refused("tree_roots", vec![2]);
        refused("nodes_featureids", vec![0, 9]);
    }

    #[test]
    fn the_older_form_names_its_nodes() {
        let d = Definition::new("TreeEnsembleRegressor")
            .attribute("nodes_treeids", vec![0i64, 0, 0, 1])
            .attribute("nodes_nodeids", vec![0i64, 1, 2, 0])
            .attribute("nodes_featureids", vec![0i64; 4])
            .attribute("nodes_truenodeids", vec![1i64, 0, 0, 0])
            .attribute("nodes_falsenodeids", vec![2i64, 0, 0, 0])
            .attribute("nodes_values", vec![1f32, 0.0, 0.0, 0.0])
            .attribute("nodes_modes", ["BRANCH_LT", "LEAF", "LEAF", "LEAF"].map(str::to_owned).to_vec())
            .attribute("target_treeids", vec![0i64, 0, 1])
            .attribute("target_nodeids", vec![1i64, 2, 0])
            .attribute("target_ids", vec![0i64; 3])
            .attribute("target_weights", vec![4f32, 6.0, 2.0])
            .attribute("base_values", vec![100f32]);
        assert_eq!(run(tree_ensemble_regressor(&d), &[0.0, 1.0]).unwrap(), [106.0, 108.0]);
        let mean = d.attribute("aggregate_function", "AVERAGE");
        assert_eq!(run(tree_ensemble_regressor(&mean), &[0.0, 1.0]).unwrap(), [103.0, 104.0]);
    }
}
