//! Rewrites of a graph: each makes it smaller or faster and leaves what it computes as it was, up to rounding.
//!
//! A rewrite stands in a file of its own under the name by which it can be switched off. Outputs of the graph keep their
//! names, and where a chain of nodes becomes one, its output keeps that of the chain's last value, so that the rewritten
//! graph can be compared with the one as read.

mod advance_addition;
mod edit;
mod expand;
mod fold_batch_norm;
mod fold_constants;
mod fold_quantization;
mod fuse_activation;
mod fuse_attention;
mod fuse_chain;
mod fuse_padding;
mod fuse_product;
mod fuse_residual_add;
mod fuse_scales;
mod gather_activation;
mod gather_gelu;
mod gather_norm;
mod gather_numbers;
mod gather_rotary;
mod operands;
pub(crate) mod outermost;
mod pack_projections;
mod remove_identity;
mod reshape_last;
mod strides;
#[cfg(test)]
mod testing;
mod unpack_zeros;

use crate::graph::{Graph, NodeError};
use crate::nearest::suggestion;

/// A rewrite.
#[derive(Debug)]
pub struct Rewrite {
    /// The name by which it is switched off.
    pub name: &'static str,
    /// What it does, for help texts.
    pub about: &'static str,
    /// Whether it changed anything that facts must be inferred of again.
    apply: fn(&mut Graph) -> bool,
}

/// Every rewrite, in the order in which they are applied.
pub const REWRITES: &[Rewrite] = &[
    Rewrite {
        name: "expand",
        about: "puts the nodes that an operator is made of in its place (SoftmaxCrossEntropyLoss, SkipLayerNormalization)",
        apply: expand::apply,
    },
    Rewrite {
        name: "remove_identity",
        about: "removes nodes that hand their input on (Identity, Dropout, a Cast to the same type)",
        apply: remove_identity::apply,
    },
    Rewrite {
        name: "unpack_zeros",
        about: "computes weights that lie in the file without their zeros, once",
        apply: unpack_zeros::apply,
    },
    Rewrite {
        name: "fold_quantization",
        about: "computes what stands between DequantizeLinear and QuantizeLinear on the integers themselves",
        apply: fold_quantization::apply,
    },
    Rewrite {
        name: "gather_numbers",
        about: "takes rows of a table of small integers before it makes floats of them",
        apply: gather_numbers::apply,
    },
    Rewrite {
        name: "fold_constants",
        about: "computes nodes whose inputs are constants, once",
        apply: fold_constants::apply,
    },
    Rewrite {
        name: "fuse_scales",
        about: "multiplies sums of integers by their scales where they are computed, and adds a bias (MatMulInteger, Cast, Mul)",
        apply: fuse_scales::apply,
    },
    Rewrite {
        name: "gather_activation",
        about: "makes one node of an activation that is written out (x · sigmoid x, x · relu6(x + 3) / 6)",
        apply: gather_activation::apply,
    },
    Rewrite {
        name: "gather_gelu",
        about: "makes one node of a Gelu that is written out, with erf or with tanh",
        apply: gather_gelu::apply,
    },
    Rewrite {
        name: "gather_norm",
        about: "makes one node of a normalization of the last axes that is written out (x / √(mean of x² + ε))",
        apply: gather_norm::apply,
    },
    Rewrite {
        name: "gather_rotary",
        about: "makes one node of a rotary embedding that is written out (x · cos + rotated x · sin)",
        apply: gather_rotary::apply,
    },
    Rewrite {
        name: "fuse_attention",
        about: "makes one node of attention that is written out (MatMul, Softmax, MatMul, and the way to heads and back)",
        apply: fuse_attention::apply,
    },
    Rewrite {
        name: "fold_batch_norm",
        about: "folds what scales and shifts channels after a Conv, ConvTranspose or Gemm into its weights",
        apply: fold_batch_norm::apply,
    },
    Rewrite {
        name: "fuse_padding",
        about: "makes a Pad the padding of the Conv or pool that reads it",
        apply: fuse_padding::apply,
    },
    Rewrite {
        name: "advance_addition",
        about: "adds a constant before a Transpose, Reshape or Concat, where a Conv can add it",
        apply: advance_addition::apply,
    },
    Rewrite {
        name: "fuse_product",
        about: "adds a bias or another value where a MatMul or Gemm computes its result, behind a Reshape too",
        apply: fuse_product::apply,
    },
    Rewrite {
        name: "pack_projections",
        about: "makes one product of the three whose results attention reads as queries, keys and values",
        apply: pack_projections::apply,
    },
    Rewrite {
        name: "fuse_residual_add",
        about: "adds another value where a Conv computes its result, before the activation",
        apply: fuse_residual_add::apply,
    },
    Rewrite {
        name: "fuse_activation",
        about: "computes an activation where its input is computed (Conv and Relu)",
        apply: fuse_activation::apply,
    },
    Rewrite {
        name: "fuse_residual_add_last",
        about: "adds another value where a Conv computes its result, after the activation",
        apply: fuse_residual_add::apply_last,
    },
    Rewrite {
        name: "fuse_chain",
        about: "makes one node of element-wise arithmetic one after the other (Mul, Add, Mul)",
        apply: fuse_chain::apply,
    },
    Rewrite {
        name: "reshape_last",
        about: "joins dimensions after a Transpose instead of before it",
        apply: reshape_last::apply,
    },
    Rewrite { name: "drop_dead", about: "drops nodes and constants that no output needs", apply: drop_dead },
];

/// What is left has the facts that it had.
fn drop_dead(graph: &mut Graph) -> bool {
    graph.drop_dead();
    false
}

/// Which rewrites are applied; all of them by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewrites {
    disabled: Vec<&'static str>,
}

impl Rewrites {
    /// All but these.
    ///
    /// # Errors
    /// A sentence that names the first that does not exist and those that do.
    pub fn without<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let known = || REWRITES.iter().map(|rewrite| rewrite.name);
        let find = |name: &str| {
            known().find(|k| *k == name).ok_or_else(|| {
                let near = suggestion(name, known());
                let known: Vec<_> = known().collect();
                format!("there is no rewrite '{name}'{near}; there are {}", known.join(", "))
            })
        };
        Ok(Self { disabled: names.into_iter().map(find).collect::<Result<_, _>>()? })
    }

    /// None of them.
    pub fn none() -> Self {
        Self { disabled: REWRITES.iter().map(|rewrite| rewrite.name).collect() }
    }

    /// Whether a rewrite is applied.
    pub fn applies(&self, name: &str) -> bool {
        !self.disabled.contains(&name)
    }
}

/// The graph with the rewrites applied and its facts inferred again. Ids of values and nodes change, names of outputs do not.
///
/// # Errors
/// With the first node that cannot be right, which is a fault of a rewrite unless the graph had it before.
pub fn optimize(graph: Graph, rewrites: &Rewrites) -> Result<Graph, NodeError> {
    optimize_watched(graph, rewrites, |_, _| ())
}

/// [`optimize`], with a look at (and a hand in) the graph after each rewrite: tests plant faults so.
pub(crate) fn optimize_watched(
    mut graph: Graph,
    rewrites: &Rewrites,
    mut after: impl FnMut(&'static str, &mut Graph),
) -> Result<Graph, NodeError> {
    for rewrite in REWRITES.iter().filter(|rewrite| rewrites.applies(rewrite.name)) {
        if (rewrite.apply)(&mut graph) {
            // Later rewrites read the facts of what earlier ones made.
            graph.infer()?;
        }
        after(rewrite.name, &mut graph);
    }
    Ok(graph)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_rewrite_is_refused_with_the_known_ones() {
        let error = Rewrites::without(["drop_dead", "fold_constant"]).unwrap_err();
        assert!(
            error.starts_with(
                "there is no rewrite 'fold_constant'; did you mean 'fold_constants'?; there are expand, remove_identity, "
            ),
            "{error}"
        );
        let rewrites = Rewrites::without(["drop_dead"]).unwrap();
        assert!(!rewrites.applies("drop_dead") && rewrites.applies("fold_constants"));
        assert!(REWRITES.iter().all(|rewrite| !Rewrites::none().applies(rewrite.name)));
    }
}
