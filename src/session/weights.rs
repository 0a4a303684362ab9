//! A model's weights: held while plans are made of them, then let go of, and read again if another plan needs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use twox_hash::xxhash3_128::Hasher;

use crate::error::PlanError;
use crate::graph::{Graph, ValueId};
use crate::model::{Model, WeakModel};
use crate::tensor::{Origin, Tensor};

/// The model with its weights, to make plans of.
pub(super) struct Weights {
    held: Mutex<Option<Model>>,
    others: WeakModel,
    /// What the weights were when they were let go of.
    released: OnceLock<u128>,
    /// From the first of many plans on.
    outline: OnceLock<Outline>,
}

/// A model's graph without its large constants.
struct Outline {
    graph: Graph,
    large: Vec<(ValueId, Arc<Origin>)>,
}

/// Where one plan has the bytes of large constants from.
pub(super) struct Source {
    weights: Arc<Weights>,
    described: Model,
    /// Those that nobody asked for yet, once somebody asked for one: what is handed out is not held here.
    constants: OnceLock<Result<Mutex<HashMap<ValueId, Tensor>>, String>>,
}

impl Outline {
    fn of(graph: &Graph) -> Self {
        let mut graph = graph.clone();
        let mut large = vec![];
        for (i, value) in graph.values.iter_mut().enumerate() {
            if let Some(fact) = &mut value.fact
                && let Some(tensor) = fact.constant.take_if(|tensor| !tensor.is_small())
            {
                large.push((ValueId(i), Origin::new(tensor.byte_length())));
            }
        }
        Self { graph, large }
    }
}

impl Source {
    fn constants(&self) -> &Result<Mutex<HashMap<ValueId, Tensor>>, String> {
        self.constants.get_or_init(|| {
            let model = self.weights.found(&self.described)?;
            let graph = model.graph();
            let large = |id: ValueId| graph.constant(id).filter(|tensor| !tensor.is_small()).cloned();
            let ids = (0..graph.values.len()).map(ValueId);
            Ok(Mutex::new(ids.filter_map(|id| Some((id, large(id)?))).collect()))
        })
    }

    fn constant(&self, id: ValueId) -> Option<Tensor> {
        self.constants().as_ref().ok()?.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    /// Takes the constants if the model is held still, which is about to be let go of.
    pub fn take(&self) {
        let held = self.weights.held.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if held {
            let _ = self.constants();
        }
    }

    /// Whether all that was asked for could be had.
    ///
    /// # Errors
    /// [`PlanError::Reread`] if not: what was made of it is worth nothing.
    pub fn check(&self) -> Result<(), PlanError> {
        match self.constants.get() {
            Some(Err(reason)) => Err(PlanError::Reread(reason.clone())),
            _ => Ok(()),
        }
    }
}

impl Weights {
    /// Those of a model, held.
    pub fn of(model: &Model) -> Self {
        Self {
            held: Mutex::new(Some(model.clone())),
            others: model.downgrade(),
            released: OnceLock::new(),
            outline: OnceLock::new(),
        }
    }

    /// The model: held, or somebody else's, or read again from where `described` came from.
    ///
    /// # Errors
    /// [`PlanError::Reread`] if it cannot be read again, or is another by now: plans of two models would be mixed.
    pub fn model(&self, described: &Model) -> Result<Model, PlanError> {
        self.found(described).map_err(PlanError::Reread)
    }

    fn found(&self, described: &Model) -> Result<Model, String> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(model) = held.or_else(|| self.others.upgrade()) {
            return Ok(model);
        }
        let again = described.reread().map_err(|e| e.to_string())?;
        let ports = |model: &Model| model.inputs().chain(model.outputs()).map(|p| p.to_string()).collect::<Vec<_>>();
        let same = ports(&again) == ports(described)
            && again.graph().nodes.len() == described.graph().nodes.len()
            && self.released.get().is_none_or(|released| *released == fingerprint(again.graph()));
        if same { Ok(again) } else { Err("it is another model now".to_owned()) }
    }

    /// The model's graph, whose large constants are read where a plan needs their bytes, for one of many plans.
    ///
    /// # Errors
    /// As [`Weights::model`].
    pub fn graph(self: &Arc<Self>, described: &Model) -> Result<(Graph, Arc<Source>), PlanError> {
        let outline = match self.outline.get() {
            Some(outline) => outline,
            None => {
                let outline = Outline::of(self.model(described)?.graph());
                self.outline.get_or_init(|| outline)
            }
        };
        let source = Source { weights: Arc::clone(self), described: described.clone(), constants: OnceLock::new() };
        let source = Arc::new(source);
        let mut graph = outline.graph.clone();
        for (id, origin) in &outline.large {
            let source = Arc::clone(&source);
            let id = *id;
            if let Some(fact) = &mut graph.values[id.0].fact {
                let shape = fact.concrete().unwrap_or_default();
                fact.constant = Some(origin.tensor(fact.element_type, shape, move || source.constant(id)));
            }
        }
        Ok((graph, source))
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
