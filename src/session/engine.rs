//! A model on a device: plans for the shapes that were met, pipelines and weights, shared by sessions.

mod graph;
mod repertoire;

use std::collections::BTreeSet;
use std::fmt;
#[cfg(feature = "gpu")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::binding::shapes_from_options;
use super::request::Request;
use super::weights::{Source, Weights};
use super::{Device, Options, Precision, Session};
use crate::cpu::{CpuPlan, Threads};
#[cfg(feature = "gpu")]
use crate::error::DeviceError;
use crate::error::{Error, PlanError, RunError};
#[cfg(feature = "gpu")]
use crate::gpu::{GpuEngine, Loading};
use crate::graph::Graph;
use crate::model::Model;
use crate::optimize::Rewrites;
use crate::optimize::outermost::Grown;
use crate::plan::{Placement, PlanOptions, Repertoire, Schedule, State, Tuning};
use graph::Rewritten;

/// Plans that are kept for shapes that may come again.
const KEPT_PLANS: usize = 16;

/// A model on a device, ready for sessions. Cloning it gives another handle to the same one.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    /// Without its weights, where they can be had again.
    model: Model,
    weights: Arc<Weights>,
    device: Device,
    options: Options,
    rewrites: Rewrites,
    /// What plans follow in place of what was measured on the device.
    tuning: Option<Arc<Tuning>>,
    /// The places of the inputs whose content plans are made for.
    parameters: Vec<usize>,
    /// What was settled on where the options leave the precision open.
    settled: OnceLock<Precision>,
    /// Whether runs may come with other sizes.
    open: bool,
    /// The kernels that plans for all of them are made of, from the first plan on; others where other states grow in place.
    repertoires: Mutex<Vec<(Vec<Grown>, Arc<Repertoire>)>>,
    /// The plans made so far, the one used last at the end.
    plans: Mutex<Vec<Arc<Planned>>>,
    /// Values that stay in 32 bits where others are stored in 16, since these were found not to hold them.
    singles: Mutex<BTreeSet<String>>,
    /// Whether a run was looked at for such.
    #[cfg(feature = "gpu")]
    looked: AtomicBool,
    /// What took its place when its device failed.
    next: OnceLock<Engine>,
}

/// A plan for certain input shapes and parameters, and what was loaded for it.
pub(crate) struct Planned {
    pub request: Request,
    pub graph: Arc<Graph>,
    pub schedule: Option<Arc<Schedule>>,
    /// The states that the graph takes and gives with the axis outermost along which they grow.
    pub turned: Vec<Grown>,
    /// Why the CPU runs it although the device is a GPU.
    pub instead: Option<String>,
    /// Where its large constants are read, until it is loaded.
    source: Option<Arc<Source>>,
    loaded: OnceLock<Loaded>,
}

impl Planned {
    /// Whether the weights that were needed for it could be read.
    ///
    /// # Errors
    /// [`PlanError::Reread`] if not.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        self.source.as_ref().map_or(Ok(()), |source| source.check())
    }
}

/// What sessions of one plan share.
#[derive(Clone)]
pub(crate) enum Loaded {
    Cpu(Arc<CpuPlan>),
    #[cfg(feature = "gpu")]
    Gpu(GpuEngine),
}

impl Engine {
    /// A model on a device, its plans made when shapes are known.
    ///
    /// # Errors
    /// [`PlanError::Options`] if the options name a rewrite, a dimension or an input that there is not.
    pub fn new(model: &Model, device: &Device, options: &Options) -> Result<Self, PlanError> {
        Self::made(model, device, options, None)
    }

    /// [`Engine::new`] whose plans follow a tuning, whatever the device knows.
    #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
    pub(super) fn tuned(model: &Model, device: &Device, options: &Options, tuning: &Tuning) -> Result<Self, PlanError> {
        Self::made(model, device, options, Some(Arc::new(tuning.clone())))
    }

    fn made(model: &Model, device: &Device, options: &Options, tuning: Option<Arc<Tuning>>) -> Result<Self, PlanError> {
        let rewrites = Rewrites::without(options.without.iter().map(String::as_str)).map_err(PlanError::Options)?;
        // A wrong name is said now; a dimension that is not bound yet may be bound by a run.
        let open = match shapes_from_options(model.graph(), options) {
            Ok(_) => false,
            Err(PlanError::Unbound { .. }) => true,
            Err(error) => return Err(error),
        };
        Ok(Self(Arc::new(Inner {
            weights: Arc::new(Weights::of(model)),
            model: if options.keep_weights { None } else { model.without_contents() }.unwrap_or_else(|| model.clone()),
            device: device.clone(),
            options: options.clone(),
            rewrites,
            tuning,
            parameters: Request::parameters(model.graph()).into_iter().filter(|&i| i >= options.varying).collect(),
            settled: OnceLock::new(),
            open,
            repertoires: Mutex::default(),
            plans: Mutex::default(),
            singles: Mutex::default(),
            #[cfg(feature = "gpu")]
            looked: AtomicBool::new(false),
            next: OnceLock::new(),
        })))
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// The options.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// A session: the memory of one run at a time.
    ///
    /// # Errors
    /// If the shapes are known, no input parameterises operators, and the model cannot be planned or loaded; otherwise that
    /// is said by the first run.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn session(&self) -> Result<Session, Error> {
        pollster::block_on(self.session_async())
    }

    /// [`Engine::session`], for callers that must not block.
    ///
    /// # Errors
    /// As [`Engine::session`].
    pub async fn session_async(&self) -> Result<Session, Error> {
        let mut session = Session::new(self.current());
        match shapes_from_options(self.0.model.graph(), &self.0.options) {
            // What is not given yet may be what the plan must be made for.
            Ok(_) if !self.0.parameters.is_empty() || self.precision().is_none() => {}
            Ok(shapes) => session.made_ready(&Request::new(shapes, &[], |_| None)).await.map_err(Error::from)?,
            Err(PlanError::Unbound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(session)
    }

    /// What took its place.
    pub(super) fn next(&self) -> Option<Self> {
        self.0.next.get().cloned()
    }

    /// Has another take its place, unless one has already: the one that has.
    pub(super) fn give_way_to(&self, other: Self) -> Self {
        self.0.next.get_or_init(|| other).clone()
    }

    /// What values are stored as, if it is known yet.
    pub(crate) fn precision(&self) -> Option<Precision> {
        match self.0.options.precision {
            Precision::Auto if self.0.device.is_gpu() => self.0.settled.get().copied(),
            Precision::Auto => Some(Precision::F32),
            given => Some(given),
        }
    }

    /// Settles on a precision, once.
    pub(crate) fn settle(&self, precision: Precision) {
        if self.0.settled.set(precision).is_ok() {
            self.forget_plans();
        }
    }

    /// Values that stay in 32 bits where others are stored in 16.
    pub(super) fn singles(&self) -> BTreeSet<String> {
        self.0.singles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(feature = "gpu")]
    pub(super) fn is_single(&self, value: &str) -> bool {
        self.0.singles.lock().unwrap_or_else(PoisonError::into_inner).contains(value)
    }

    /// Keeps a value in 32 bits from now on.
    #[cfg(feature = "gpu")]
    pub(super) fn keep_single(&self, value: String) {
        self.0.singles.lock().unwrap_or_else(PoisonError::into_inner).insert(value);
        self.forget_plans();
    }

    /// Whether a run in 16 bits was looked at for values that these do not hold.
    #[cfg(feature = "gpu")]
    pub(super) fn halves_are_checked(&self) -> bool {
        self.0.looked.load(Ordering::Relaxed)
    }

    /// Notes that one was.
    #[cfg(feature = "gpu")]
    pub(super) fn note_halves(&self) {
        self.0.looked.store(true, Ordering::Relaxed);
    }

    /// Has plans made anew where sessions ask for them.
    pub(super) fn forget_plans(&self) {
        self.0.plans.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.0.repertoires.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The model with its weights.
    pub(crate) fn whole_model(&self) -> Result<Model, PlanError> {
        self.0.weights.model(&self.0.model)
    }

    /// The places of the inputs whose content plans are made for.
    pub(crate) fn parameters(&self) -> &[usize] {
        &self.0.parameters
    }

    /// The plan for these input shapes and parameters.
    pub(crate) fn planned(&self, request: Request) -> Result<Arc<Planned>, PlanError> {
        let mut plans = self.0.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |p: &Arc<Planned>| p.request == request;
        if let Some(at) = plans.iter().position(same).or_else(|| plans.iter().position(|p| p.request.covers(&request)))
        {
            let found = plans.remove(at);
            plans.push(Arc::clone(&found));
            return Ok(found);
        }
        // Who forbids the host wants every plan.
        let request = match self.0.options.placement {
            Placement::GpuOnly => request,
            _ => request.beside(plans.iter().map(|p| &p.request)),
        };
        let planned = Arc::new(self.make(request)?);
        planned.check()?;
        if plans.len() == KEPT_PLANS {
            plans.remove(0);
        }
        plans.push(Arc::clone(&planned));
        Ok(planned)
    }

    /// How a graph is planned on a GPU.
    pub(super) fn plan_options(&self, measured: Arc<Tuning>) -> PlanOptions {
        let options = &self.0.options;
        PlanOptions {
            placement: options.placement,
            half: self.precision() == Some(Precision::F16),
            single: self.singles(),
            shaders: options.shaders.clone(),
            memory_limit: options.memory_limit,
            tuning: match &self.0.tuning {
                Some(tuning) => Arc::clone(tuning),
                None if options.shaders.are_built_in() => measured,
                None => Arc::default(),
            },
            // Who tries shaders of their own finds faults by themselves.
            distrust: if options.shaders.are_built_in() { self.0.device.distrust() } else { Arc::default() },
            ..PlanOptions::default()
        }
    }

    fn make(&self, request: Request) -> Result<Planned, PlanError> {
        let plain = (!request.grown.is_empty()).then(|| Request { grown: vec![], ..request.clone() });
        let planned = self.made_for(request)?;
        let on_host = planned.schedule.as_ref().is_none_or(|schedule| schedule.summary.host_nodes > 0);
        match plain {
            // What goes by the host's memory has the model's order.
            Some(plain) if on_host && !planned.turned.is_empty() => {
                Ok(Planned { request: planned.request, ..self.made_for(plain)? })
            }
            _ => Ok(planned),
        }
    }

    fn made_for(&self, request: Request) -> Result<Planned, PlanError> {
        let inner = &*self.0;
        let Rewritten { graph, turned, source } = self.optimized(&request)?;
        let options = inner.device.facts().map(|facts| {
            let options = PlanOptions { states: states(&graph, &turned), ..self.plan_options(inner.device.tuning()) };
            let repertoire = self.repertoire(&request, &graph, facts, &options);
            (facts, PlanOptions { repertoire, ..options })
        });
        let planned = |request, graph, schedule, turned, instead| Planned {
            request,
            graph,
            schedule,
            turned,
            instead,
            source: source.clone(),
            loaded: OnceLock::new(),
        };
        let precision = self.precision().unwrap_or_default();
        // What an automatic choice of the device allows: the CPU for a model that does not fit the GPU.
        let lenient = inner.device.is_lenient()
            && inner.options.placement == Placement::Auto
            && precision == Precision::F32
            && inner.options.memory_limit.is_none()
            && inner.options.shaders.are_built_in();
        match options {
            Some((facts, options)) => {
                let schedule = match crate::plan::plan(graph, facts, &options) {
                    Err(error @ PlanError::TooLarge { .. }) if lenient => {
                        log::warn!("the CPU runs the model: {error}");
                        let Rewritten { graph, turned, source } = self.rewritten(&request)?;
                        let planned = planned(request, Arc::new(graph), None, turned, Some(error.to_string()));
                        return Ok(Planned { source, ..planned });
                    }
                    schedule => schedule?,
                };
                #[cfg(test)]
                let schedule = super::faults::schedule(schedule, inner.options.fault);
                let schedule = Arc::new(schedule);
                Ok(planned(request, Arc::new(schedule.graph.clone()), Some(schedule), turned, None))
            }
            None if inner.options.placement == Placement::GpuOnly => {
                Err(PlanError::HostNodes(vec!["the whole model, since the device is the CPU".to_owned()]))
            }
            None if precision == Precision::F16 => {
                Err(PlanError::Options("16-bit storage is for GPUs; the CPU computes in 32 bits".to_owned()))
            }
            None if inner.options.memory_limit.is_some() => {
                Err(PlanError::Options("a memory limit is kept on GPUs only, and the device is the CPU".to_owned()))
            }
            None if !inner.options.shaders.are_built_in() => {
                Err(PlanError::Options("shaders were replaced, but the device is the CPU, which runs none".to_owned()))
            }
            None => Ok(planned(request, Arc::new(graph), None, turned, None)),
        }
    }

    /// What sessions of a plan share: made once. (Two threads that ask at the same time may both make it; what is large
    /// in it, constants and pipelines, they share all the same.)
    ///
    /// Once the weights are on a GPU, or packed for the CPU, the plan that is returned and kept holds them no more.
    ///
    /// # Errors
    /// What the device says; [`PlanError::Reread`] if the weights cannot be had again.
    pub(crate) async fn load(&self, mut planned: Arc<Planned>) -> Result<(Arc<Planned>, Loaded), RunError> {
        loop {
            let distrust = self.0.device.distrust();
            let loaded = self.load_once(Arc::clone(&planned)).await;
            // A kernel was found to answer wrong, or not to compile: a plan without it is made. Each time there is one less.
            if loaded.is_ok() || self.0.device.distrust() == distrust {
                return loaded;
            }
            let request = planned.request.clone();
            self.forget_plans();
            planned = self.planned(request)?;
        }
    }

    async fn load_once(&self, planned: Arc<Planned>) -> Result<(Arc<Planned>, Loaded), RunError> {
        if let Some(loaded) = planned.loaded.get().cloned() {
            return Ok((planned, loaded));
        }
        match (&planned.schedule, &self.0.device) {
            #[cfg(feature = "gpu")]
            (Some(schedule), device) => {
                let gpu = device.as_gpu().ok_or_else(|| DeviceError::NoAdapter("the device is the CPU".to_owned()))?;
                let Options { keep_weights, submission, patience, .. } = self.0.options;
                let ahead = self.settled_on(&planned.request.grown);
                let loading = Loading { ahead, keep_weights, submission, patience };
                let loaded = GpuEngine::load(gpu, Arc::clone(schedule), loading).await;
                if let Err(error) = planned.check() {
                    self.0.plans.lock().unwrap_or_else(PoisonError::into_inner).retain(|p| !Arc::ptr_eq(p, &planned));
                    return Err(error.into());
                }
                let loaded = Loaded::Gpu(loaded?);
                let loaded = planned.loaded.get_or_init(|| loaded).clone();
                let Loaded::Gpu(engine) = &loaded else { return Ok((planned, loaded)) };
                let schedule = Arc::clone(engine.schedule());
                let released = Arc::new(Planned {
                    request: planned.request.clone(),
                    graph: Arc::new(schedule.graph.clone()),
                    schedule: Some(schedule),
                    turned: planned.turned.clone(),
                    instead: None,
                    source: None,
                    loaded: OnceLock::from(loaded.clone()),
                });
                let mut plans = self.0.plans.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(place) = plans.iter_mut().find(|p| Arc::ptr_eq(p, &planned)) {
                    *place = Arc::clone(&released);
                }
                self.0.weights.release();
                Ok((released, loaded))
            }
            (_, device) if self.0.options.keep_weights => {
                let loaded = CpuPlan::new(Arc::clone(&planned.graph), device.threads());
                let loaded = Loaded::Cpu(Arc::new(loaded.on_few_threads()));
                let loaded = planned.loaded.get_or_init(|| loaded).clone();
                Ok((planned, loaded))
            }
            (_, device) => self.packed(planned, device.threads()).map_err(RunError::from),
        }
    }

    /// A plan for the CPU with its weights packed and not held otherwise.
    fn packed(&self, planned: Arc<Planned>, threads: &Threads) -> Result<(Arc<Planned>, Loaded), PlanError> {
        // Nobody else takes the plan meanwhile: what only it holds goes piece by piece.
        let mut plans = self.0.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let place = plans.iter().position(|p| Arc::ptr_eq(p, &planned));
        if let Some(place) = place {
            plans.remove(place);
        }
        planned.source.iter().for_each(|source| source.take());
        self.0.weights.release();
        let (request, instead) = (planned.request.clone(), planned.instead.clone());
        let (turned, source) = (planned.turned.clone(), planned.source.clone());
        let graph = match Arc::try_unwrap(planned) {
            Ok(planned) => planned.graph,
            Err(planned) => Arc::clone(&planned.graph),
        };
        let plan = Arc::new(CpuPlan::released(graph, threads).on_few_threads());
        source.map_or(Ok(()), |source| source.check())?;
        let loaded = Loaded::Cpu(Arc::clone(&plan));
        let graph = Arc::clone(plan.graph());
        let released = Arc::new(Planned {
            request,
            graph,
            schedule: None,
            turned,
            instead,
            source: None,
            loaded: OnceLock::from(loaded.clone()),
        });
        if let Some(place) = place {
            plans.insert(place, Arc::clone(&released));
        }
        Ok((released, loaded))
    }
}

/// Where states that grow in place lie, and up to which size.
fn states(graph: &Graph, turned: &[Grown]) -> Vec<State> {
    let state =
        |grown: &Grown| Some(State { input: grown.input, output: grown.output, elements: grown.elements(graph)? });
    turned.iter().filter_map(state).collect()
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({:?})", self.device())
    }
}
