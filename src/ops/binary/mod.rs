//! Element-wise functions of two tensors with multidirectional broadcasting: one operator, one kernel, a table of members.
//!
//! `y = f(a, b)`; the members' formulas stand in `members`. Before operator set 7 the arithmetic ones did not
//! broadcast unless `broadcast` asked for it, `axis` being where the second operand's dimensions begin in the first's.

mod evaluate;
mod members;
pub mod variadic;

use std::sync::Arc;

use super::broadcast::program::{Operation, Program, With};
use super::broadcast::{self, Expression, Operand, is_wide};
use super::unary;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Candidates, Storage};
use crate::tensor::{ElementType, Tensor, shape};
use members::{Member, Takes};

/// An element-wise function of two tensors.
#[derive(Debug, Clone)]
pub struct Binary {
    member: &'static Member,
    alignment: Alignment,
}

/// Where the second operand's dimensions lie along the first's.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Alignment {
    /// Nowhere else: both have one shape (before operator set 7, where nothing asks for broadcasting).
    Same,
    /// At the end.
    Last,
    /// From this axis of the first operand on.
    At(i64),
    /// A vector along the channels, the second dimension (PRelu before operator set 7).
    Channels,
}

fn member(definition: &Definition) -> Result<&'static Member, DefinitionError> {
    members::MEMBERS
        .iter()
        .find(|m| m.name == definition.op_type)
        .ok_or_else(|| DefinitionError::Unsupported("Rimlight has no such operator".to_owned()))?
        .variant(definition)
}

/// Makes the member that the definition names.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let member = member(definition)?;
    let alignment = match (definition.opset, member.name) {
        (..7, "PRelu") => Alignment::Channels,
        (..7, _) if !definition.flag("broadcast", false)? => Alignment::Same,
        (..7, _) => definition.int("axis")?.map_or(Alignment::Last, Alignment::At),
        _ => Alignment::Last,
    };
    Ok(Arc::new(Binary { member, alignment }))
}

/// The value of the member of this name, for operators that are made of several.
pub(super) fn apply(name: &str, context: &mut Context, a: &Value, b: &Value) -> Result<Value, EvaluateError> {
    let operator = make(&Definition::new(name)).map_err(|e| EvaluateError::Unsupported(e.to_string()))?;
    let mut values = operator.evaluate(context, Inputs(&[Some(a), Some(b)]))?;
    values.pop().ok_or_else(|| ShapeError::new("it has no output").into())
}

impl Binary {
    /// The second operand's shape with ones at its end, so that broadcasting lays it where it belongs.
    pub(crate) fn aligned<T: Clone>(&self, rank: usize, mut b: Vec<T>, one: T) -> Result<Vec<T>, ShapeError> {
        let begin = match self.alignment {
            Alignment::Same | Alignment::Last => return Ok(b),
            Alignment::Channels if rank > 1 && b.len() == 1 => 1,
            Alignment::Channels => return Ok(b),
            Alignment::At(axis) => shape::axis(axis, rank.max(1))
                .ok_or_else(|| ShapeError::new(format!("axis {axis} is out of range for rank {rank}")))?,
        };
        if begin + b.len() > rank {
            return Err(ShapeError::new(format!("{} dimensions do not fit in {rank} from axis {begin} on", b.len())));
        }
        b.resize(rank - begin, one);
        Ok(b)
    }

    /// What it is in a program of floating-point numbers, if it is simple arithmetic.
    pub(crate) fn step(&self) -> Option<Operation> {
        self.member.step.filter(|_| matches!(self.alignment, Alignment::Same | Alignment::Last))
    }

    /// The program of a power with this exponent, if it is one and is simple arithmetic.
    pub(crate) fn power(&self, exponent: &Fact) -> Option<Program> {
        steps(exponent.number()?).filter(|_| self.member.name == "Pow")
    }

    /// Refuses what differs where nothing asks for broadcasting.
    fn check(&self, a: &[Dim], b: &[Dim]) -> Result<(), ShapeError> {
        let fits = |(a, b): (&Dim, &Dim)| a.size().zip(b.size()).is_none_or(|(a, b)| a == b);
        if self.alignment != Alignment::Same || (a.len() == b.len() && a.iter().zip(b).all(fits)) {
            return Ok(());
        }
        Err(ShapeError::new("its operands differ in shape, and it does not broadcast: attribute 'broadcast' is 0"))
    }
}

impl Operator for Binary {
    fn name(&self) -> &str {
        self.member.name
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (a, b) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        if !self.member.takes.allows(a.element_type, b.element_type) {
            return Err(ShapeError::new(format!("it does not take {} and {}", a.element_type, b.element_type)));
        }
        self.check(&a.shape, &b.shape)?;
        let aligned = self.aligned(a.rank(), b.shape.clone(), Dim::Known(1))?;
        let mut y = Fact::new(a.element_type, broadcast::shape(&[&a.shape, &aligned])?);
        if self.member.test {
            y.element_type = ElementType::Bool;
        } else if let (Some(f), ElementType::I64 | ElementType::I32, Some(a), Some(b)) =
            (self.member.dims, y.element_type, &a.known, &b.known)
        {
            y = followed(y, a, b, f);
        }
        Ok(vec![y])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (a, b) = (inputs.tensor(0)?, inputs.tensor(1)?);
        if !self.member.takes.allows(a.element_type(), b.element_type()) {
            let message = format!("it does not take {} and {}", a.element_type(), b.element_type());
            return Err(ShapeError::new(message).into());
        }
        let dims = |tensor: &Tensor| tensor.shape().iter().map(|&n| Dim::from(n)).collect::<Vec<_>>();
        self.check(&dims(a), &dims(b))?;
        let aligned = self.aligned(a.rank(), b.shape().to_vec(), 1)?;
        let to = broadcast::sizes(&[a.shape(), &aligned])?;
        Ok(vec![(self.member.evaluate)((a, a.shape()), (b, &aligned), &to)?.into()])
    }

    fn takes_strings(&self) -> bool {
        self.member.name == "Equal"
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let element_type = request.input(0)?.fact.element_type;
        let float = element_type.is_float();
        if self.member.name == "Pow" {
            if let Some(exponent) = scalar(request, 1).filter(|_| request.shape(0) == request.output_shape(0) && float)
            {
                return match steps(exponent) {
                    Some(program) => broadcast::arithmetic(request, vec![Operand::input(request, 0)?], program),
                    None => unary::pointwise(request, power(exponent), 0, [exponent, 0.0]),
                };
            }
            let [a, b] = self.operands(request)?;
            return broadcast::candidates(request, &[a, b], powers(request)?);
        }
        if self.member.takes == Takes::Unsigned && element_type == ElementType::U4 {
            return Err("its kernel shifts whole bytes".to_owned());
        }
        // The kernel for bytes shifts bytes.
        if is_wide(element_type) || (self.member.takes == Takes::Unsigned && element_type != ElementType::U8) {
            let expression = self.member.wide.ok_or_else(|| format!("it has no kernel for {element_type}"))?;
            let expression = Expression::of_integers(expression, element_type, self.member.test);
            let [a, b] = self.operands(request)?;
            return broadcast::candidates(request, &[a, b], expression);
        }
        let expression = match self.member.integer {
            Some(integer) if !float => integer,
            _ => self.member.wgsl,
        };
        let a = Operand::input(request, 0)?;
        let mut b = Operand::input(request, 1)?;
        b.aligned = self.aligned(a.shape.len(), b.shape.clone(), 1).map_err(|e| e.to_string())?;
        match self.member.step {
            Some(step) if float => broadcast::arithmetic(request, vec![a, b], Program::of(step)),
            _ => broadcast::candidates(request, &[a, b], expression),
        }
    }
}

impl Binary {
    /// The operands as they are stored.
    fn operands(&self, request: &Request<'_>) -> Result<[Operand; 2], String> {
        let (a, mut b) = (Operand::any(request, 0)?, Operand::any(request, 1)?);
        b.aligned = self.aligned(a.shape.len(), b.shape.clone(), 1).map_err(|e| e.to_string())?;
        Ok([a, b])
    }
}

/// The kernel of a power, by the types of base and exponent.
fn powers(request: &Request<'_>) -> Result<Expression, String> {
    let exponent = request.input(1)?.fact;
    let (base, by) = (request.input(0)?.fact.element_type, exponent.element_type);
    for element_type in [base, by] {
        if !Storage::computes(element_type) && !is_wide(element_type) {
            return Err(format!("WGSL has no {element_type}"));
        }
    }
    if base.is_float() {
        return Ok(match is_wide(by) {
            true if by == ElementType::U32 => "pow4(a, vec4<f32>(b))".into(),
            true => Expression::of_elements("pow4(vec4<f32>(a), vec4<f32>(float64(b))).x", by),
            false => "pow4(vec4<f32>(a), vec4<f32>(b))".into(),
        });
    }
    // Of other exponents, the power is rounded toward zero: what is near a whole number could be either.
    let whole = |v: &f32| v.fract() == 0.0 && (0.0..2e9).contains(v);
    if by.is_float() && !exponent.floats().is_some_and(|v| v.iter().all(whole)) {
        return Err("it raises integers to powers that need not be whole".to_owned());
    }
    if [base, by] == [ElementType::U64, ElementType::I64] || [base, by] == [ElementType::I64, ElementType::U64] {
        return Err(format!("it has no kernel for {base} and {by}"));
    }
    let (low, high) = match base {
        ElementType::I64 => (u32::MAX, i32::MAX.cast_unsigned()),
        ElementType::U64 => (u32::MAX, u32::MAX),
        ElementType::U32 => (u32::MAX, 0),
        ElementType::I32 => (i32::MAX.cast_unsigned(), 0),
        ElementType::I16 => (0x7fff, 0),
        ElementType::U16 => (0xffff, 0),
        ElementType::I8 => (0x7f, 0),
        _ => (0xff, 0),
    };
    let text = format!("power64(a, b, vec2<u32>({low}u, {high}u))");
    // Of the two, the one without a sign tells: what is narrower than 64 bits has none left in them.
    let signs = if base == ElementType::U64 { base } else { ElementType::I64 };
    Ok(Expression::of_integers(&text, signs, false))
}

/// A constant input of one element, as a number.
fn scalar(request: &Request<'_>, index: usize) -> Option<f32> {
    let fact = request.optional(index)?.fact;
    #[expect(clippy::cast_precision_loss, reason = "an exponent beyond 2^24 is as good as any other")]
    let integer = || fact.constant.as_ref().filter(|t| t.len() == 1)?.integers().map(|v| v[0] as f32);
    fact.number().or_else(integer)
}

/// A power with a constant exponent, where it is simple arithmetic.
fn steps(exponent: f32) -> Option<Program> {
    let step = |operation, with, swapped| Program::default().then(operation, with, swapped);
    match exponent {
        1.0 => Some(Program::default()),
        2.0 => Some(step(Operation::Mul, With::Itself, false)),
        0.5 => Some(step(Operation::Sqrt, With::Itself, false)),
        -1.0 => Some(step(Operation::Div, With::Number(1.0), true)),
        _ => None,
    }
}

/// The kernel of a power with any other constant exponent.
fn power(exponent: f32) -> &'static str {
    match exponent {
        3.0 => "v * v * v",
        _ => "pow4(v, vec4<f32>(params.alpha))",
    }
}

/// A fact with its content, where the operands' contents are dimensions.
fn followed(y: Fact, a: &[Dim], b: &[Dim], f: fn(&Dim, &Dim) -> Dim) -> Fact {
    let length = if a.len() == 1 { b.len() } else { a.len() };
    let at = |dims: &[Dim], i: usize| dims.get(if dims.len() == 1 { 0 } else { i }).cloned().unwrap_or(Dim::Unknown);
    let dims: Vec<Dim> = (0..length).map(|i| f(&at(a, i), &at(b, i))).collect();
    let numbers: Option<Vec<i64>> = dims.iter().map(Dim::known).collect();
    if let (Some(numbers), Some(shape), ElementType::I64) = (numbers, y.concrete(), y.element_type)
        && let Ok(tensor) = Tensor::new(shape, numbers)
    {
        return Fact::constant(tensor);
    }
    Fact { known: Some(dims), ..y }
}

#[cfg(test)]
mod tests;
