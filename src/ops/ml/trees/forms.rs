//! Trees out of attributes: in the form of opset 5, and in the older one that names its nodes.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Join, Node, Test, TreeEnsemble};
use crate::graph::{Definition, DefinitionError, Operator};
use crate::tensor::ElementType;

/// A list of as many elements as there are nodes, or leaves.
fn sized<T>(name: &'static str, list: Option<Vec<T>>, count: usize) -> Result<Vec<T>, DefinitionError> {
    let list = list.ok_or(DefinitionError::Missing(name))?;
    if list.len() != count {
        return Err(DefinitionError::Value(name, format!("has {} elements, not {count}", list.len())));
    }
    Ok(list)
}

fn size(name: &'static str, n: i64, limit: usize) -> Result<usize, DefinitionError> {
    let wrong = || DefinitionError::Value(name, format!("holds {n}, which is out of range"));
    usize::try_from(n).ok().filter(|&n| n < limit).ok_or_else(wrong)
}

fn targets(d: &Definition) -> Result<usize, DefinitionError> {
    let targets = d.int("n_targets")?.unwrap_or(1);
    let wrong = || DefinitionError::Value("n_targets", format!("is {targets}"));
    usize::try_from(targets).ok().filter(|n| (1..1 << 24).contains(n)).ok_or_else(wrong)
}

fn test(mode: i64, split: f64, members: &mut impl Iterator<Item = Vec<f64>>) -> Result<Test, DefinitionError> {
    Ok(match mode {
        0 => Test::AtMost(split),
        1 => Test::Below(split),
        2 => Test::AtLeast(split),
        3 => Test::Above(split),
        4 => Test::Equal(split),
        5 => Test::Other(split),
        6 => Test::Among(members.next().ok_or(DefinitionError::Missing("membership_values"))?),
        other => return Err(DefinitionError::Value("nodes_modes", format!("holds {other}, which is none"))),
    })
}

pub(in crate::ops) fn tree_ensemble(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let features = d.ints("nodes_featureids")?.ok_or(DefinitionError::Missing("nodes_featureids"))?;
    let n = features.len();
    let tensor = |name: &'static str| Ok::<_, DefinitionError>(d.tensor(name)?.map(|t| t.to_f64()));
    let splits = sized("nodes_splits", tensor("nodes_splits")?, n)?;
    let modes = d.tensor("nodes_modes")?.and_then(|t| t.integers());
    let modes = sized("nodes_modes", modes, n)?;
    let branch = |name| sized(name, d.ints(name)?, n);
    let (yes, no) = (branch("nodes_truenodeids")?, branch("nodes_falsenodeids")?);
    let (yes_leaf, no_leaf) = (branch("nodes_trueleafs")?, branch("nodes_falseleafs")?);
    let missing = match d.ints("nodes_missing_value_tracks_true")? {
        None => vec![0; n],
        list => sized("nodes_missing_value_tracks_true", list, n)?,
    };
    let weights = tensor("leaf_weights")?.ok_or(DefinitionError::Missing("leaf_weights"))?;
    let ids = sized("leaf_targetids", d.ints("leaf_targetids")?, weights.len())?;
    let members = tensor("membership_values")?.unwrap_or_default();
    // NaN ends each set.
    let mut sets = members.split(|v| v.is_nan()).map(<[f64]>::to_vec);
    let targets = targets(d)?;
    let child = |name, id: i64, leaf: i64| {
        if leaf != 0 { Ok::<_, DefinitionError>(n + size(name, id, weights.len())?) } else { size(name, id, n) }
    };
    let mut nodes = Vec::with_capacity(n + weights.len());
    for i in 0..n {
        nodes.push(Node::Branch {
            feature: size("nodes_featureids", features[i], 1 << 31)?,
            test: test(modes[i], splits[i], &mut sets)?,
            missing: missing[i] != 0,
            yes: child("nodes_truenodeids", yes[i], yes_leaf[i])?,
            no: child("nodes_falsenodeids", no[i], no_leaf[i])?,
        });
    }
    for (&id, &weight) in ids.iter().zip(&weights) {
        nodes.push(Node::Leaf(vec![(size("leaf_targetids", id, targets)?, weight)]));
    }
    let roots = d.ints("tree_roots")?.ok_or(DefinitionError::Missing("tree_roots"))?;
    let roots = roots.into_iter().map(|root| size("tree_roots", root, n)).collect::<Result<Vec<_>, _>>()?;
    let join = match d.int("aggregate_function")?.unwrap_or(1) {
        0 => Join::Mean,
        1 => Join::Sum,
        2 => Join::Least,
        3 => Join::Most,
        other => return Err(DefinitionError::Value("aggregate_function", format!("is {other}"))),
    };
    if d.int("post_transform")?.unwrap_or(0) != 0 {
        return Err(DefinitionError::Unsupported("transforms of the trees' results are not supported".to_owned()));
    }
    let ensemble = TreeEnsemble { name: "TreeEnsemble", nodes, roots, targets, join, base: vec![], element_type: None };
    ensemble.checked()
}

pub(in crate::ops) fn tree_ensemble_regressor(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let trees = d.ints("nodes_treeids")?.ok_or(DefinitionError::Missing("nodes_treeids"))?;
    let n = trees.len();
    let list = |name| sized(name, d.ints(name)?, n);
    let (ids, features) = (list("nodes_nodeids")?, list("nodes_featureids")?);
    let (yes, no) = (list("nodes_truenodeids")?, list("nodes_falsenodeids")?);
    let modes = sized("nodes_modes", d.strings("nodes_modes")?, n)?;
    let numbers = |name: &'static str, as_tensor: &'static str| {
        let tensor = d.tensor(as_tensor)?.map(|t| t.to_f64());
        let floats = d.floats(name)?.map(|v| v.into_iter().map(f64::from).collect());
        Ok::<Option<Vec<f64>>, DefinitionError>(tensor.or(floats))
    };
    let splits = sized("nodes_values", numbers("nodes_values", "nodes_values_as_tensor")?, n)?;
    let missing = match d.ints("nodes_missing_value_tracks_true")? {
        None => vec![0; n],
        list if list.as_ref().is_some_and(Vec::is_empty) => vec![0; n],
        list => sized("nodes_missing_value_tracks_true", list, n)?,
    };
    let targets = targets(d)?;
    let mut leaves: HashMap<(i64, i64), Vec<(usize, f64)>> = HashMap::new();
    let weights = numbers("target_weights", "target_weights_as_tensor")?;
    let weights = weights.ok_or(DefinitionError::Missing("target_weights"))?;
    let leaf = |name| sized(name, d.ints(name)?, weights.len());
    let (leaf_trees, leaf_nodes, leaf_targets) =
        (leaf("target_treeids")?, leaf("target_nodeids")?, leaf("target_ids")?);
    for (i, &weight) in weights.iter().enumerate() {
        let target = size("target_ids", leaf_targets[i], targets)?;
        leaves.entry((leaf_trees[i], leaf_nodes[i])).or_default().push((target, weight));
    }
    let mut places = HashMap::new();
    let mut roots = vec![];
    for (place, (&tree, &id)) in trees.iter().zip(&ids).enumerate() {
        // The first node of a tree is its root.
        if trees[..place].last() != Some(&tree) {
            roots.push(place);
        }
        if places.insert((tree, id), place).is_some() {
            return Err(DefinitionError::Value("nodes_nodeids", format!("name node {id} of tree {tree} twice")));
        }
    }
    let child = |name, tree: i64, id: i64| {
        let wrong = || DefinitionError::Value(name, format!("names node {id} of tree {tree}, which is none"));
        places.get(&(tree, id)).copied().ok_or_else(wrong)
    };
    let mut nodes = Vec::with_capacity(n);
    for i in 0..n {
        let modes_by_name = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];
        nodes.push(match modes_by_name.iter().position(|name| *name == modes[i]) {
            Some(mode) => Node::Branch {
                feature: size("nodes_featureids", features[i], 1 << 31)?,
                test: test(mode as i64, splits[i], &mut std::iter::empty())?,
                missing: missing[i] != 0,
                yes: child("nodes_truenodeids", trees[i], yes[i])?,
                no: child("nodes_falsenodeids", trees[i], no[i])?,
            },
            None if modes[i] == "LEAF" => Node::Leaf(leaves.get(&(trees[i], ids[i])).cloned().unwrap_or_default()),
            None => return Err(DefinitionError::Value("nodes_modes", format!("holds '{}', which is none", modes[i]))),
        });
    }
    let join = match d.string("aggregate_function")?.as_deref() {
        None | Some("SUM") => Join::Sum,
        Some("AVERAGE") => Join::Mean,
        Some("MIN") => Join::Least,
        Some("MAX") => Join::Most,
        Some(other) => return Err(DefinitionError::Value("aggregate_function", format!("is '{other}'"))),
    };
    if d.string("post_transform")?.is_some_and(|name| name != "NONE") {
        return Err(DefinitionError::Unsupported("transforms of the trees' results are not supported".to_owned()));
    }
    let base = numbers("base_values", "base_values_as_tensor")?.unwrap_or_default();
    if !base.is_empty() && base.len() != 1 && base.len() != targets {
        return Err(DefinitionError::Value("base_values", format!("are {} for {targets} targets", base.len())));
    }
    let element_type = Some(ElementType::F32);
    TreeEnsemble { name: "TreeEnsembleRegressor", nodes, roots, targets, join, base, element_type }.checked()
}
