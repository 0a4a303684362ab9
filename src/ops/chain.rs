//! Element-wise operators one after the other, which a rewrite made one: Add, Mul, Sqrt and their like, each of what the one
//! before it gives, of numbers and of up to two other tensors.

use std::sync::Arc;

use super::binary::Binary;
use super::binary::variadic::Variadic;
use super::broadcast::program::{Operation, Program, STEPS, Step, With};
use super::broadcast::{self, Operand};
use super::unary::Unary;
use super::unary::clip::Clip;
use crate::graph::{Context, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value};
use crate::kernel::Candidates;

/// Tensors that a kernel reads: the value that the chain begins with, and two others.
const OPERANDS: usize = 3;

/// What an operator of a chain reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// What the operator before it gives; of the first, input 0 of the chain.
    SoFar,
    /// An input of the chain.
    Input(usize),
}

/// An operator of a chain.
#[derive(Debug, Clone)]
pub struct Link {
    /// The operator.
    pub operator: Arc<dyn Operator>,
    /// What it reads.
    pub inputs: Vec<Option<Source>>,
}

/// Element-wise operators one after the other.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The operators, in order.
    pub links: Vec<Link>,
}

impl Chain {
    /// The program that computes it, in terms of the chain's inputs, if there is one and a kernel can take it.
    pub fn program(&self, inputs: &[Option<&Fact>]) -> Option<Program> {
        let mut program = Program::default();
        for link in &self.links {
            program.steps.extend(link.steps(inputs)?.steps);
        }
        let mut tensors = vec![0];
        for step in &program.steps {
            if let With::Operand(i) = step.with
                && !tensors.contains(&i)
                && Fact::optional(inputs, i)?.number().is_none()
            {
                tensors.push(i);
            }
        }
        (program.steps.len() <= STEPS && tensors.len() <= OPERANDS).then_some(program)
    }
}

impl Link {
    /// The steps that compute it, if it is simple arithmetic.
    fn steps(&self, inputs: &[Option<&Fact>]) -> Option<Program> {
        let source = |i: usize| self.inputs.get(i).copied().flatten();
        let facts: Vec<_> = self
            .inputs
            .iter()
            .map(|source| match source {
                Some(Source::Input(i)) => Fact::optional(inputs, *i),
                _ => None,
            })
            .collect();
        let of_two = |operation: Operation| {
            let (with, swapped) = match (source(0)?, source(1)?) {
                (Source::SoFar, Source::SoFar) if operation == Operation::Mul => (With::Itself, false),
                (Source::SoFar, Source::SoFar) => return None,
                (Source::SoFar, Source::Input(i)) => (With::Operand(i), false),
                (Source::Input(i), Source::SoFar) => (With::Operand(i), true),
                (Source::Input(_), Source::Input(_)) => return None,
            };
            Some(Program { steps: vec![Step { operation, with, swapped }] })
        };
        if let Some(binary) = self.operator.downcast::<Binary>() {
            return match binary.step() {
                Some(operation) => of_two(operation),
                None => binary.power(facts.get(1).copied().flatten()?).filter(|_| source(0) == Some(Source::SoFar)),
            };
        }
        if let Some(variadic) = self.operator.downcast::<Variadic>() {
            return of_two(variadic.step().filter(|_| self.inputs.len() == 2)?);
        }
        if let Some(clip) = self.operator.downcast::<Clip>() {
            let (_, low, high) = clip.function(&facts)?.parameters();
            return Some(Program::default().then_bound(low, high));
        }
        self.operator.downcast::<Unary>()?.program()
    }
}

impl Operator for Chain {
    fn name(&self) -> &str {
        "Chain"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let mut so_far = Fact::at(inputs, 0)?.clone();
        for link in &self.links {
            let facts: Vec<_> = link
                .inputs
                .iter()
                .map(|source| match (*source)? {
                    Source::SoFar => Some(&so_far),
                    Source::Input(i) => Fact::optional(inputs, i),
                })
                .collect();
            let mut outputs = link.operator.infer(&facts)?;
            so_far = outputs.pop().ok_or_else(|| ShapeError::new("an operator of the chain has no output"))?;
        }
        Ok(vec![so_far])
    }

    fn evaluate(&self, context: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let mut so_far = Value::from(inputs.tensor(0)?.clone());
        for link in &self.links {
            let values: Vec<_> = link
                .inputs
                .iter()
                .map(|source| match (*source)? {
                    Source::SoFar => Some(&so_far),
                    Source::Input(i) => inputs.value(i),
                })
                .collect();
            let mut outputs = link.operator.evaluate(context, Inputs(&values))?;
            so_far = outputs.pop().ok_or_else(|| ShapeError::new("an operator of the chain has no output"))?;
        }
        Ok(vec![so_far])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let facts: Vec<_> = request.inputs.iter().map(|input| input.as_ref().map(|input| input.fact)).collect();
        let mut program = self.program(&facts).ok_or("it is too long for the kernel")?;
        // Inputs that no step reads have become numbers of it: an exponent, bounds.
        let mut operands = vec![Operand::input(request, 0)?];
        for step in &mut program.steps {
            if let With::Operand(input) = &mut step.with {
                let binding = crate::kernel::Binding::Input(*input);
                *input = match operands.iter().skip(1).position(|operand| operand.binding == binding) {
                    Some(at) => at + 1,
                    None => {
                        operands.push(Operand::input(request, *input)?);
                        operands.len() - 1
                    }
                };
            }
        }
        broadcast::arithmetic(request, operands, program)
    }

    fn work(&self, _: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let elements = outputs.first().and_then(Fact::concrete).map(|s| s.iter().map(|&d| d as f64).product::<f64>());
        elements.unwrap_or_default() * self.links.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Definition;
    use crate::tensor::Tensor;
    use crate::testing::{Input, Tolerance, check};

    fn link(name: &str, inputs: &[Source]) -> Link {
        let operator = crate::ops::operator(&Definition { inputs: inputs.len(), ..Definition::new(name) }).unwrap();
        Link { operator, inputs: inputs.iter().map(|&source| Some(source)).collect() }
    }

    fn numbers(shape: &[usize], first: f32) -> Tensor {
        let n = shape.iter().product::<usize>();
        Tensor::new(shape, (0..n).map(|i| first + (i * 7 % 23) as f32 / 8.0).collect()).unwrap()
    }

    #[test]
    fn chains_of_every_kind_of_step_agree() {
        use Source::{Input as Of, SoFar};
        let single = |v: f32| Input::Constant(Tensor::scalar(v));
        let chain = |links: &[Link], inputs: &[Input]| {
            // Roundings of a division and a few sums.
            let tolerance = Tolerance { relative: 2e-6, absolute: 2e-6 };
            check(&Chain { links: links.to_vec() }, inputs, tolerance);
        };
        for (x, a, b) in [
            (vec![2, 3, 8], vec![2, 3, 8], vec![8]),
            (vec![2, 3, 8], vec![3, 1], vec![2, 1, 1]),
            (vec![1, 5, 3, 7], vec![5, 1, 1], vec![3, 7]),
            (vec![2, 6, 2, 5], vec![1, 6, 1, 1], vec![2, 6, 2, 5]),
            (vec![1], vec![1], vec![1]),
            (vec![0, 3], vec![3], vec![1, 3]),
        ] {
            let (x, a, b) = (Input::Run(numbers(&x, 0.5)), Input::Run(numbers(&a, 1.0)), Input::Run(numbers(&b, -1.0)));
            chain(
                &[link("Mul", &[SoFar, Of(1)]), link("Add", &[Of(2), SoFar]), link("Mul", &[SoFar, Of(3)])],
                &[x.clone(), single(2.0), b.clone(), a.clone()],
            );
            chain(
                &[link("Sub", &[Of(1), SoFar]), link("Mul", &[SoFar, SoFar]), link("Pow", &[SoFar, Of(2)])],
                &[x.clone(), a.clone(), single(0.5)],
            );
            chain(
                &[
                    link("Div", &[Of(1), SoFar]),
                    link("Max", &[SoFar, Of(2)]),
                    link("Min", &[Of(3), SoFar]),
                    link("Neg", &[SoFar]),
                    link("Clip", &[SoFar, Of(4), Of(5)]),
                    link("Sub", &[SoFar, Of(2)]),
                ],
                &[x, single(1.0), a, b, single(-1.5), single(1.0)],
            );
        }
    }

    #[test]
    fn more_than_a_kernel_takes_is_no_program() {
        use Source::{Input as Of, SoFar};
        let fact = Fact::new(crate::tensor::ElementType::F32, [4usize]);
        let program = |n: usize, inputs: usize| {
            let links = (0..n).map(|i| link("Add", &[SoFar, Of(1 + i % (inputs - 1))])).collect();
            Chain { links }.program(&vec![Some(&fact); inputs])
        };
        assert!(program(8, 3).is_some() && program(9, 3).is_none() && program(3, 4).is_none());
        assert!(Chain { links: vec![link("Erf", &[SoFar])] }.program(&[Some(&fact)]).is_none());
    }
}
