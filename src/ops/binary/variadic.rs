//! Max, Min, Sum and Mean of any number of tensors, broadcast: the function of two applied again and again.

use std::sync::Arc;

use super::{Member, member};
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates};
use crate::ops::broadcast::{self, Operand};
use crate::tensor::ElementType;
use crate::tensor::shape::elements;

/// A function of any number of tensors.
#[derive(Debug, Clone)]
pub struct Variadic {
    name: &'static str,
    /// The function of two.
    member: &'static Member,
    /// Whether the result is divided by the number of tensors.
    mean: bool,
}

/// Makes Max, Min, Sum or Mean.
pub fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let (name, of_two) = match definition.op_type.as_str() {
        "Max" => ("Max", "Max"),
        "Min" => ("Min", "Min"),
        "Sum" => ("Sum", "Add"),
        _ => ("Mean", "Add"),
    };
    Ok(Arc::new(Variadic { name, member: member(&Definition::new(of_two))?, mean: name == "Mean" }))
}

impl Operator for Variadic {
    fn name(&self) -> &str {
        self.name
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let first = Fact::at(inputs, 0)?;
        let mut shapes = vec![];
        for i in 0..inputs.len() {
            let fact = Fact::at(inputs, i)?;
            if fact.element_type != first.element_type || fact.element_type == ElementType::Bool {
                return Err(ShapeError::new(format!(
                    "it does not take {} and {}",
                    first.element_type, fact.element_type
                )));
            }
            shapes.push(fact.shape.as_slice());
        }
        let mut y = Fact::new(first.element_type, broadcast::shape(&shapes)?);
        if let [Some(Fact { known: Some(a), .. }), Some(Fact { known: Some(b), .. })] = inputs
            && let Some(f) = self.member.dims.filter(|_| !self.mean)
        {
            y = super::followed(y, a, b, f);
        }
        Ok(vec![y])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let mut y = inputs.tensor(0)?.clone();
        for i in 1..inputs.len() {
            let x = inputs.tensor(i)?;
            let to = broadcast::sizes(&[y.shape(), x.shape()])?;
            y = (self.member.evaluate)((&y, y.shape()), (x, x.shape()), &to)?;
        }
        if self.mean {
            let count = inputs.len() as f64;
            y = crate::ops::unary::floats(&y, |v| v / count)?;
        }
        Ok(vec![y.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let float = request.input(0)?.fact.element_type.is_float();
        let operands = (0..request.inputs.len()).map(|i| Operand::input(request, i)).collect::<Result<Vec<_>, _>>()?;
        let function = self.member.integer.filter(|_| !float).unwrap_or(self.member.wgsl);
        let (first, rest) = match operands.as_slice() {
            [_] => return Ok(vec![Candidate::view(0, 1)]),
            [first, second, rest @ ..] => ([first.clone(), second.clone()], rest),
            [] => return Err("it has no inputs".to_owned()),
        };
        let last =
            if self.mean { format!("({function}) * {:e}", 1.0 / operands.len() as f64) } else { function.to_owned() };
        let all = broadcast::candidates(request, &first, if rest.is_empty() { &last } else { function })?;
        if rest.is_empty() {
            return Ok(all);
        }
        let to = request.output_shape(0)?;
        let empty = elements(&to) == Some(0);
        // Each further tensor is joined to what was written so far, in place.
        let mut chained = vec![];
        for mut candidate in all {
            candidate.in_place.clear();
            for (i, operand) in rest.iter().enumerate() {
                let expression = if i + 1 == rest.len() { &last } else { function };
                let so_far = Operand {
                    binding: Binding::Output(0),
                    storage: request.output_storage(0)?,
                    shape: to.clone(),
                    aligned: to.clone(),
                };
                let steps = broadcast::candidates(request, &[so_far, operand.clone()], expression)?;
                let Some(step) = steps.into_iter().find(|s| s.outputs == candidate.outputs) else { break };
                candidate.inputs[i + 2] = step.inputs[i + 2];
                candidate.cost += step.cost;
                for mut dispatch in step.dispatches {
                    dispatch.kernel.in_place = Some((0, 2));
                    candidate.dispatches.push(dispatch);
                }
            }
            if empty || candidate.dispatches.len() == rest.len() + 1 {
                chained.push(candidate);
            }
        }
        Ok(chained)
    }
}
