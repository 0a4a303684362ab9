//! From a model to a plan or a session: how an application asks for them.

use std::fmt;
use std::sync::Arc;

use super::binding::{check_input, shapes_from_options};
use super::engine::Planned;
use super::request::Request;
use super::{Device, Engine, Options, Session};
use crate::error::{DeviceError, Error, PlanError, RunError};
use crate::graph::Graph;
use crate::model::Model;
use crate::plan::Schedule;
use crate::tensor::Tensor;

/// What a run of a model does on a device, for certain shapes, before anything is compiled or uploaded.
///
/// Made by [`Model::plan`].
#[derive(Clone)]
pub struct Plan {
    engine: Engine,
    planned: Arc<Planned>,
}

impl Model {
    /// Plans the model for a device: no work is done there yet. Inputs that parameterise operators are taken as not known
    /// ([`Model::plan_for`] takes them); runs make plans for their content.
    ///
    /// # Errors
    /// [`PlanError::Unbound`] if a dimension is not known (sessions can be made without: see [`Model::session`]);
    /// [`PlanError::HostNodes`] if a node would run on the host although the options forbid it.
    pub fn plan(&self, device: &Device, options: &Options) -> Result<Plan, PlanError> {
        self.plan_for(device, options, &[])
    }

    /// [`Model::plan`] as a run with these inputs has it, by their names: for their shapes, and for the content of those
    /// that parameterise operators ([`Model::parameters`]). The others need not be given.
    ///
    /// # Errors
    /// As [`Model::plan`]; [`PlanError::Options`] if an input is not there or does not fit.
    pub fn plan_for(&self, device: &Device, options: &Options, inputs: &[(&str, &Tensor)]) -> Result<Plan, PlanError> {
        let graph = self.graph();
        let mut options = options.clone();
        for (name, tensor) in inputs {
            options = options.shape(*name, tensor.shape());
        }
        let engine = Engine::new(self, device, &options)?;
        let mut given = vec![None; graph.inputs.len()];
        for (place, &id) in given.iter_mut().zip(&graph.inputs) {
            let info = graph.value(id);
            *place = inputs.iter().find(|(name, _)| *name == info.name).map(|(_, tensor)| *tensor);
            if let (Some(tensor), Some(fact)) = (*place, &info.fact) {
                let fits = check_input(&info.name, fact, &options, &tensor.view());
                fits.map_err(|e| PlanError::Options(e.to_string()))?;
            }
        }
        let shapes = shapes_from_options(graph, &options)?;
        let request = Request::new(shapes, engine.parameters(), |i| given[i]);
        let planned = engine.planned(request)?;
        Ok(Plan { engine, planned })
    }

    /// A session with the default options: the short form for a first program.
    ///
    /// # Errors
    /// If the model cannot be planned or loaded.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn session(&self, device: &Device) -> Result<Session, Error> {
        self.session_with(device, &Options::default())
    }

    /// A session. Dimensions that the options leave open are bound by the inputs of a run.
    ///
    /// # Errors
    /// If the model cannot be planned or loaded.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn session_with(&self, device: &Device, options: &Options) -> Result<Session, Error> {
        Engine::new(self, device, options)?.session()
    }

    /// [`Model::session_with`], for callers that must not block.
    ///
    /// # Errors
    /// As [`Model::session_with`].
    pub async fn session_async(&self, device: &Device, options: &Options) -> Result<Session, Error> {
        Engine::new(self, device, options)?.session_async().await
    }
}

impl Plan {
    /// The graph that is run: rewritten, every dimension a number.
    pub fn graph(&self) -> &Graph {
        &self.planned.graph
    }

    /// What a GPU does, in order; `None` where the CPU runs the model.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.planned.schedule.as_deref()
    }

    /// Why the CPU runs the model although the device is a GPU: a tensor is too large for it, and the device was chosen
    /// automatically.
    pub fn instead(&self) -> Option<&str> {
        self.planned.instead.as_deref()
    }

    /// Compiles the pipelines and uploads the weights.
    ///
    /// # Errors
    /// What the device says.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(&self) -> Result<Engine, DeviceError> {
        pollster::block_on(self.load_async())
    }

    /// [`Plan::load`], for callers that must not block.
    ///
    /// # Errors
    /// What the device says.
    pub async fn load_async(&self) -> Result<Engine, DeviceError> {
        let refused = |error: RunError| match error {
            RunError::Device(error) => error,
            other => DeviceError::Refused { what: "the model's weights".to_owned(), message: other.to_string() },
        };
        self.engine.load(Arc::clone(&self.planned)).await.map_err(refused)?;
        Ok(self.engine.clone())
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan({:?}, {:?})", self.engine.device(), self.planned.request.shapes)
    }
}
