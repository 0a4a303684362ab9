//! Bodies of If, Loop and Scan that are run by other means than the references of their operators.

use std::fmt;
use std::sync::Arc;

use super::{Body, Context, EvaluateError, Value};
use crate::interrupt::Interrupt;
use crate::limits::Limits;

/// Whoever runs bodies better than the references do: a session, by its backend's kernels.
pub trait Bodies: fmt::Debug + Send + Sync {
    /// A body made ready to run again and again, first with these inputs; after each time outputs become inputs as `carried`
    /// says (an output and an input each). `None` where the references should run it.
    fn begin(&self, body: &Body, inputs: &[Option<Value>], carried: &[(usize, usize)]) -> Option<Box<dyn RunningBody>>;
}

/// A body that [`Bodies::begin`] made ready.
pub trait RunningBody {
    /// Gives an input another value, of the same type and shape.
    ///
    /// # Errors
    /// If it is none.
    fn set(&mut self, input: usize, value: Value) -> Result<(), EvaluateError>;

    /// Runs the body once; takes from the work that is allowed ([`Context::body_work`]) what the references would take.
    ///
    /// # Errors
    /// As [`Body::evaluate`]; what the device says.
    fn run(&mut self, context: &mut Context) -> Result<(), EvaluateError>;

    /// An output of the last time.
    ///
    /// # Errors
    /// If there was none; what the device says.
    fn output(&self, output: usize) -> Result<Value, EvaluateError>;
}

/// A body that runs again and again, by whatever means.
pub struct Repeated<'a> {
    body: &'a Body,
    carried: Vec<(usize, usize)>,
    way: Way,
}

enum Way {
    References { inputs: Vec<Option<Value>>, outputs: Vec<Option<Value>> },
    Elsewhere(Box<dyn RunningBody>),
}

impl<'a> Repeated<'a> {
    /// Begins with these inputs; after each time outputs become inputs as `carried` says (an output and an input each).
    pub fn begin(
        context: &Context,
        body: &'a Body,
        inputs: Vec<Option<Value>>,
        carried: impl IntoIterator<Item = (usize, usize)>,
    ) -> Self {
        let carried: Vec<_> = carried.into_iter().collect();
        let elsewhere = context.bodies.as_ref().and_then(|bodies| bodies.begin(body, &inputs, &carried));
        let way = elsewhere.map_or(Way::References { inputs, outputs: vec![] }, Way::Elsewhere);
        Self { body, carried, way }
    }

    /// Runs once more, these inputs changed.
    ///
    /// # Errors
    /// As [`Body::evaluate`].
    pub fn run(
        &mut self,
        context: &mut Context,
        changed: impl IntoIterator<Item = (usize, Value)>,
    ) -> Result<(), EvaluateError> {
        match &mut self.way {
            Way::References { inputs, outputs } => {
                for &(output, input) in &self.carried {
                    if let Some(value) = outputs.get_mut(output).and_then(Option::take) {
                        inputs[input] = Some(value);
                    }
                }
                for (input, value) in changed {
                    inputs[input] = Some(value);
                }
                // What is carried is nobody else's: it goes as soon as the body needs it no more.
                let given: Vec<_> = inputs
                    .iter_mut()
                    .enumerate()
                    .map(|(i, value)| match self.carried.iter().any(|carried| carried.1 == i) {
                        true => value.take(),
                        false => value.clone(),
                    })
                    .collect();
                *outputs = self.body.by_references(context, given)?.into_iter().map(Some).collect();
                Ok(())
            }
            Way::Elsewhere(running) => {
                for (input, value) in changed {
                    running.set(input, value)?;
                }
                running.run(context)
            }
        }
    }

    /// An output of the last time, which is asked for once.
    ///
    /// # Errors
    /// If there is none; what the device says.
    pub fn output(&mut self, output: usize) -> Result<Value, EvaluateError> {
        match &mut self.way {
            Way::References { outputs, .. } => outputs
                .get_mut(output)
                .and_then(Option::take)
                .ok_or_else(|| EvaluateError::Run(format!("the body gives no output {output}"))),
            Way::Elsewhere(running) => running.output(output),
        }
    }

    /// An output of the last time, if it lies here.
    pub fn look(&self, output: usize) -> Option<&Value> {
        match &self.way {
            Way::References { outputs, .. } => outputs.get(output)?.as_ref(),
            Way::Elsewhere(_) => None,
        }
    }

    /// Whether it is run elsewhere: then states keep their types and shapes.
    pub const fn is_elsewhere(&self) -> bool {
        matches!(self.way, Way::Elsewhere(_))
    }
}

/// What the nodes that a session runs on the host may use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// Whoever runs bodies.
    pub bodies: Option<Arc<dyn Bodies>>,
    /// The work that is left to bodies altogether, where the session runs a body itself.
    pub work: Option<u64>,
    /// What may end the run.
    pub interrupt: Interrupt,
    /// What the values that are computed are to keep to.
    pub limits: Limits,
}

impl Host {
    /// Evaluates a node.
    pub fn evaluate<T>(&mut self, evaluate: impl FnOnce(&mut Context) -> T) -> T {
        let (bodies, interrupt) = (self.bodies.clone(), self.interrupt.clone());
        let mut context = Context { bodies, interrupt, limits: self.limits, ..Context::default() };
        context.body_work = self.work.unwrap_or(self.limits.body_work);
        let result = evaluate(&mut context);
        self.work = self.work.map(|_| context.body_work);
        result
    }
}
