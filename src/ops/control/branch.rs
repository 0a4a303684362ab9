//! If (ONNX opsets 1 to 24): one of two graphs.

use std::sync::Arc;

use super::{known_truth, known_whole, merge, truth, unroll};
use crate::graph::{
    Body, Context, Definition, DefinitionError, EvaluateError, Fact, Graph, Inputs, Operator, Reads, ShapeError, Value,
};
use crate::ops::composite::Recipe;
use crate::tensor::ElementType;

/// One of two graphs, as the condition says. Its inputs are the condition and what the graphs capture.
#[derive(Debug, Clone, PartialEq)]
pub struct If {
    then: Body,
    otherwise: Body,
}

pub(in crate::ops) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let branch = |name: &'static str| {
        let body = d.body(name)?.ok_or(DefinitionError::Missing(name))?;
        let outputs = body.graph().outputs.len();
        if !body.formal().is_empty() {
            return Err(DefinitionError::Value(name, "takes inputs, which a branch does not".to_owned()));
        }
        if outputs != d.outputs {
            return Err(DefinitionError::Value(name, format!("gives {outputs} outputs, not {}", d.outputs)));
        }
        Ok(body)
    };
    if d.inputs != 1 {
        return Err(DefinitionError::Unsupported(format!("it takes a condition, not {} inputs", d.inputs)));
    }
    Ok(Arc::new(If { then: branch("then_branch")?, otherwise: branch("else_branch")? }))
}

impl If {
    /// The graph that runs, if the condition is known.
    pub fn taken(&self, inputs: &[Option<&Fact>]) -> Option<&Body> {
        known_truth(Fact::optional(inputs, 0)).map(|truth| self.branch(truth))
    }

    const fn branch(&self, truth: bool) -> &Body {
        if truth { &self.then } else { &self.otherwise }
    }
}

impl Operator for If {
    fn name(&self) -> &str {
        "If"
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn bodies(&self) -> Vec<&Body> {
        vec![&self.then, &self.otherwise]
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        known_whole(self.infer_partly(inputs, true)?)
    }

    fn infer_partly(&self, inputs: &[Option<&Fact>], _: bool) -> Result<Vec<Option<Fact>>, ShapeError> {
        if let Some(condition) = Fact::optional(inputs, 0)
            && condition.element_type != ElementType::Bool
        {
            return Err(ShapeError::new(format!("the condition is {condition}, not a truth value")));
        }
        let captured = || inputs.iter().skip(1).map(|fact| fact.cloned());
        if let Some(body) = self.taken(inputs) {
            return body.infer(captured());
        }
        match (self.then.infer(captured()), self.otherwise.infer(captured())) {
            (Ok(a), Ok(b)) => Ok(a.iter().zip(&b).map(|(a, b)| merge(a.as_ref(), b.as_ref())).collect()),
            (Err(error), _) | (_, Err(error)) if error.unsupported.is_some() => Err(error),
            // A branch that cannot be right is perhaps never taken: what is known if it is not, is known.
            (Ok(facts), Err(_)) | (Err(_), Ok(facts)) => {
                Ok(facts.into_iter().map(|fact| fact.map(|fact| fact.without_content())).collect())
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    fn reads(&self, input: usize) -> Reads {
        if input == 0 { Reads::Parameter } else { Reads::Elements }
    }

    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        let Some(body) = self.taken(inputs) else { return Ok(None) };
        let (mut recipe, given) = Recipe::start(inputs);
        let Some(given) = given.into_iter().skip(1).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let Some(outputs) = unroll::insert(&mut recipe, body, &given)? else { return Ok(None) };
        recipe.finish(outputs).map(Some)
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let body = self.branch(truth(inputs.tensor(0)?)?);
        body.evaluate(context, (1..inputs.len()).map(|i| inputs.value(i).cloned()))
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        f64::INFINITY
    }
}
