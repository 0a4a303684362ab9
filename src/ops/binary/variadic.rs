//! Max, Min, Sum and Mean of any number of tensors, broadcast: the function of two applied again and again.

use std::sync::Arc;

use super::{Member, member};
use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Storage, units};
use crate::ops::broadcast::program::{Operation, Program, With};
use crate::ops::broadcast::{self, Expression, Operand, is_wide};
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

impl Variadic {
    /// What it does with two floating-point numbers in a program, if that is all.
    pub(crate) fn step(&self) -> Option<Operation> {
        self.member.step.filter(|_| !self.mean)
    }
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
        let element_type = request.input(0)?.fact.element_type;
        let float = element_type.is_float();
        if self.mean && !float {
            return Err("its kernel takes means of floating-point numbers only".to_owned());
        }
        let pairs = is_wide(element_type);
        let operand = |i| if pairs { Operand::any(request, i) } else { Operand::input(request, i) };
        let operands = (0..request.inputs.len()).map(operand).collect::<Result<Vec<_>, _>>()?;
        let text = self.member.integer.filter(|_| !float).unwrap_or(self.member.wgsl);
        let function = match self.member.wide.filter(|_| pairs) {
            Some(wide) => Expression::of_integers(wide, element_type, false),
            _ if pairs => return Err(format!("it has no kernel for {element_type}")),
            _ => text.into(),
        };
        if let (Some(step), true, 2..=3) = (self.member.step, float, operands.len()) {
            let joined = (1..operands.len()).fold(Program::default(), |p, i| p.then(step, With::Operand(i), false));
            let program = match self.mean {
                true => joined.then(Operation::Mul, With::Number(1.0 / operands.len() as f32), false),
                false => joined,
            };
            return broadcast::arithmetic(request, operands, program);
        }
        let (first, rest) = match operands.as_slice() {
            [_] => return Ok(vec![Candidate::view(0, 1)]),
            [first, second, rest @ ..] => ([first.clone(), second.clone()], rest),
            [] => return Err("it has no inputs".to_owned()),
        };
        let last = match self.mean {
            true => format!("({text}) * {:e}", 1.0 / operands.len() as f64).into(),
            false => function.clone(),
        };
        if rest.is_empty() {
            return broadcast::candidates(request, &first, last);
        }
        let to = request.output_shape(0)?;
        let empty = elements(&to) == Some(0);
        // What was joined so far is not rounded to 16 bits on the way: it lies in memory of its own until the last step.
        let wide = request.any_output_storage(0)? == Storage::F16;
        let so_far_storage = if wide { Storage::F32 } else { request.any_output_storage(0)? };
        let so_far_binding = if wide { Binding::Scratch(0) } else { Binding::Output(0) };
        let on_the_way = Request { output_storages: &[Some(so_far_storage)], ..*request };
        // Each further tensor is joined to what was written so far, in place.
        let mut chained = vec![];
        for mut candidate in broadcast::candidates(&on_the_way, &first, function.clone())? {
            candidate.in_place.clear();
            for (i, operand) in rest.iter().enumerate() {
                let is_last = i + 1 == rest.len();
                let (expression, request) = if is_last { (&last, request) } else { (&function, &on_the_way) };
                let so_far = Operand {
                    binding: so_far_binding.clone(),
                    storage: so_far_storage,
                    shape: to.clone(),
                    aligned: to.clone(),
                };
                let steps = broadcast::candidates(request, &[so_far, operand.clone()], expression.clone())?;
                let Some(step) = steps.into_iter().find(|s| s.outputs == candidate.outputs) else { break };
                candidate.inputs[i + 2] = step.inputs[i + 2];
                candidate.cost += step.cost;
                for mut dispatch in step.dispatches {
                    dispatch.kernel.in_place = (!(wide && is_last)).then_some((0, 2));
                    candidate.dispatches.push(dispatch);
                }
            }
            if wide {
                let steps = candidate.dispatches.len();
                candidate.scratch.push((units(&to, candidate.outputs[0]).unwrap_or(1), Storage::F32));
                for dispatch in candidate.dispatches.iter_mut().take(steps.saturating_sub(1)) {
                    let written = dispatch.bindings.iter_mut().filter(|b| **b == Binding::Output(0));
                    written.for_each(|b| *b = Binding::Scratch(0));
                }
            }
            if empty || candidate.dispatches.len() == rest.len() + 1 {
                chained.push(candidate);
            }
        }
        Ok(chained)
    }
}
