//! A model's weights: held while plans are made of them, then let go of, and read again if another plan needs them.

use std::sync::{Mutex, OnceLock, PoisonError};

use twox_hash::xxhash3_128::Hasher;

use crate::error::PlanError;
use crate::graph::Graph;
use crate::model::{Model, WeakModel};

/// The model with its weights, to make plans of.
pub(super) struct Weights {
    held: Mutex<Option<Model>>,
    others: WeakModel,
    /// What the weights were when they were let go of.
    released: OnceLock<u128>,
}

impl Weights {
    /// Those of a model, held.
    pub fn of(model: &Model) -> Self {
        Self { held: Mutex::new(Some(model.clone())), others: model.downgrade(), released: OnceLock::new() }
    }

    /// The model: held, or somebody else's, or read again from where `described` came from.
    ///
    /// # Errors
    /// [`PlanError::Reread`] if it cannot be read again, or is another by now: plans of two models would be mixed.
    pub fn model(&self, described: &Model) -> Result<Model, PlanError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(model) = held.or_else(|| self.others.upgrade()) {
            return Ok(model);
        }
        let again = described.reread().map_err(|e| PlanError::Reread(e.to_string()))?;
        let ports = |model: &Model| model.inputs().chain(model.outputs()).map(|p| p.to_string()).collect::<Vec<_>>();
        let same = ports(&again) == ports(described)
            && again.graph().nodes.len() == described.graph().nodes.len()
            && self.released.get().is_none_or(|released| *released == fingerprint(again.graph()));
        if same { Ok(again) } else { Err(PlanError::Reread("it is another model now".to_owned())) }
    }

    /// Lets go of it.
    pub fn release(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(model) = held.filter(Model::gives_anew) {
            self.released.get_or_init(|| fingerprint(model.graph()));
        }
    }
}

/// What tells a model from one of the same form that was trained further: a hash of all its constants.
fn fingerprint(graph: &Graph) -> u128 {
    let mut hasher = Hasher::new();
    for value in &graph.values {
        if let Some(tensor) = value.fact.as_ref().and_then(|fact| fact.constant.as_ref()) {
            hasher.write(value.name.as_bytes());
            hasher.write(tensor.bytes());
        }
    }
    hasher.finish_128()
}
