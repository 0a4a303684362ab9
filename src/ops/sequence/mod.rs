//! Sequences of tensors (ONNX opsets 11 and 17): made, taken apart, put together. They run on the host.

mod map;
mod optional;
pub(super) mod pieces;

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Sequence, ShapeError, Unsupported,
    Value,
};
use crate::tensor::shape::axis;
use crate::tensor::{ElementType, Tensor};

pub(super) use map::from_definition as map;
pub(super) use optional::from_definition as optional;

/// Parts that a tensor may be split into.
const MOST: usize = 1 << 24;

/// An operator on sequences.
#[derive(Debug, Clone, PartialEq)]
enum SequenceOperator {
    /// The sequence of its inputs.
    Construct,
    /// A sequence without elements.
    Empty(ElementType),
    /// A sequence with one element more.
    Insert,
    /// A sequence with one element less.
    Erase,
    /// One element.
    At,
    /// The number of elements.
    Length,
    /// A tensor in parts along an axis; without sizes in parts of one, which may lose the axis.
    Split { axis: i64, keep: bool },
    /// The elements along an axis, which may be a new one.
    Concat { axis: i64, new: bool },
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(match d.op_type.as_str() {
        "SequenceConstruct" => SequenceOperator::Construct,
        "SequenceEmpty" => {
            let number = d.int("dtype")?.unwrap_or(1);
            SequenceOperator::Empty(ElementType::from_data_type(number).ok_or_else(|| {
                DefinitionError::Refused(Unsupported::ElementType, format!("element type {number} is not supported"))
            })?)
        }
        "SequenceInsert" => SequenceOperator::Insert,
        "SequenceErase" => SequenceOperator::Erase,
        "SequenceAt" => SequenceOperator::At,
        "SequenceLength" => SequenceOperator::Length,
        "SplitToSequence" => {
            SequenceOperator::Split { axis: d.int("axis")?.unwrap_or(0), keep: d.flag("keepdims", true)? }
        }
        _ => SequenceOperator::Concat {
            axis: d.int("axis")?.ok_or(DefinitionError::Missing("axis"))?,
            new: d.flag("new_axis", false)?,
        },
    }))
}

fn found(axis_of: i64, rank: usize) -> Result<usize, EvaluateError> {
    axis(axis_of, rank).ok_or_else(|| ShapeError::new(format!("axis {axis_of} is out of range for rank {rank}")).into())
}

/// The place that an input names among `count`, counted from the back where negative.
fn position(inputs: Inputs<'_>, index: usize, count: usize) -> Result<Option<usize>, EvaluateError> {
    let Some(numbers) = inputs.integers(index)? else { return Ok(None) };
    let &[at] = &numbers[..] else {
        return Err(ShapeError::new(format!("the position should be one number, not {}", numbers.len())).into());
    };
    let from_front = if at < 0 { i64::try_from(count).ok().and_then(|count| count.checked_add(at)) } else { Some(at) };
    let place = from_front.and_then(|at| usize::try_from(at).ok()).filter(|&place| place <= count);
    match place {
        Some(place) => Ok(Some(place)),
        None => Err(ShapeError::new(format!("there is no position {at} among {count}")).into()),
    }
}

fn sequence(element_type: ElementType, tensors: Vec<Tensor>) -> Result<Value, EvaluateError> {
    let sequence = Sequence::new(element_type, tensors);
    let sequence = sequence.ok_or_else(|| ShapeError::new(format!("an element is not {element_type}")))?;
    Ok(sequence.into())
}

/// A tensor in parts.
fn split(inputs: Inputs<'_>, axis: i64, keep: bool) -> Result<Value, EvaluateError> {
    let x = inputs.tensor(0)?;
    let axis = found(axis, x.rank())?;
    let size = x.shape()[axis];
    let wrong = || ShapeError::new(format!("the sizes of the parts do not make the dimension of {size}"));
    let bounded = |parts: usize| match parts {
        0..=MOST => Ok(()),
        _ => Err(ShapeError::new(format!("it would have {parts} parts, more than {MOST}"))),
    };
    let Some(sizes) = inputs.list(1)? else {
        bounded(size)?;
        let parts = (0..size).map(|i| if keep { pieces::part(x, axis, i, 1) } else { pieces::place(x, axis, i) });
        return sequence(x.element_type(), parts.collect::<Result<_, _>>()?);
    };
    let sizes: Vec<usize> =
        sizes.into_iter().map(|n| usize::try_from(n).map_err(|_| wrong())).collect::<Result<_, _>>()?;
    let each = inputs.optional(1).is_some_and(|split| split.rank() == 0);
    let mut parts = vec![];
    let mut begin = 0usize;
    if let (true, &[each]) = (each, &sizes[..]) {
        if each == 0 {
            return Err(wrong().into());
        }
        bounded(size / each)?;
        while begin < size {
            let count = each.min(size - begin);
            parts.push(pieces::part(x, axis, begin, count)?);
            begin += count;
        }
    } else {
        for count in sizes {
            parts.push(pieces::part(x, axis, begin, count)?);
            begin += count;
        }
        if begin != size {
            return Err(wrong().into());
        }
    }
    sequence(x.element_type(), parts)
}

impl Operator for SequenceOperator {
    fn name(&self) -> &str {
        match self {
            Self::Construct => "SequenceConstruct",
            Self::Empty(_) => "SequenceEmpty",
            Self::Insert => "SequenceInsert",
            Self::Erase => "SequenceErase",
            Self::At => "SequenceAt",
            Self::Length => "SequenceLength",
            Self::Split { .. } => "SplitToSequence",
            Self::Concat { .. } => "ConcatFromSequence",
        }
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn infer(&self, _: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        match self {
            Self::Length => Ok(vec![Fact::new(ElementType::I64, [0usize; 0])]),
            _ => Err(ShapeError::new("what it gives is known at run time only")),
        }
    }

    fn infer_partly(&self, inputs: &[Option<&Fact>], complete: bool) -> Result<Vec<Option<Fact>>, ShapeError> {
        match self {
            Self::Length => Ok(self.infer(inputs)?.into_iter().map(Some).collect()),
            Self::Construct if complete => {
                let mut types = inputs.iter().flatten().map(|fact| fact.element_type);
                match types.next() {
                    Some(first) if types.all(|other| other == first) => Ok(vec![]),
                    Some(_) => Err(ShapeError::new("its inputs are of different element types")),
                    None => Err(ShapeError::new("it has no input")),
                }
            }
            _ => Ok(vec![]),
        }
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        Ok(vec![match self {
            Self::Construct => {
                let tensors = (0..inputs.len()).map(|i| inputs.tensor(i).cloned());
                sequence(inputs.tensor(0)?.element_type(), tensors.collect::<Result<_, _>>()?)?
            }
            Self::Empty(element_type) => sequence(*element_type, vec![])?,
            Self::Insert => {
                let from = inputs.sequence(0)?;
                let mut tensors = from.tensors().to_vec();
                let at = position(inputs, 2, tensors.len())?.unwrap_or(tensors.len());
                tensors.insert(at, inputs.tensor(1)?.clone());
                sequence(from.element_type(), tensors)?
            }
            Self::Erase => {
                let from = inputs.sequence(0)?;
                let mut tensors = from.tensors().to_vec();
                let at = position(inputs, 1, tensors.len())?.unwrap_or(tensors.len().saturating_sub(1));
                if at >= tensors.len() {
                    return Err(ShapeError::new(format!("there is no position {at} among {}", tensors.len())).into());
                }
                tensors.remove(at);
                sequence(from.element_type(), tensors)?
            }
            Self::At => {
                let tensors = inputs.sequence(0)?.tensors();
                let at = position(inputs, 1, tensors.len())?.and_then(|at| tensors.get(at));
                at.ok_or_else(|| ShapeError::new(format!("there is no such position among {}", tensors.len())))?
                    .clone()
                    .into()
            }
            Self::Length => {
                let length = i64::try_from(inputs.sequence(0)?.tensors().len()).unwrap_or(i64::MAX);
                Tensor::scalar(length).into()
            }
            Self::Split { axis, keep } => split(inputs, *axis, *keep)?,
            Self::Concat { axis, new } => {
                let tensors: Vec<&Tensor> = inputs.sequence(0)?.tensors().iter().collect();
                let rank = tensors.first().ok_or_else(|| ShapeError::new("the sequence is empty"))?.rank();
                match new {
                    true => pieces::stack(&tensors, found(*axis, rank + 1)?)?.into(),
                    false => pieces::concat(&tensors, found(*axis, rank)?)?.into(),
                }
            }
        }])
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(definition: &Definition, inputs: &[Option<Value>]) -> Result<Value, String> {
        let operator = crate::ops::operator(definition).map_err(|e| e.to_string())?;
        let inputs: Vec<Option<&Value>> = inputs.iter().map(Option::as_ref).collect();
        let mut values = operator.evaluate(&mut Context::default(), Inputs(&inputs)).map_err(|e| e.to_string())?;
        Ok(values.remove(0))
    }

    fn of(name: &str) -> Definition {
        Definition::new(name)
    }

    fn numbers(values: &[f32]) -> Tensor {
        Tensor::vector(values.to_vec())
    }

    fn list(tensors: &[Tensor]) -> Option<Value> {
        Some(Sequence::new(ElementType::F32, tensors.to_vec()).unwrap().into())
    }

    fn at(position: i64) -> Option<Value> {
        Some(Tensor::scalar(position).into())
    }

    #[test]
    fn elements_come_and_go_at_their_places() {
        let [a, b, c] = [[1f32], [2.], [3.]].map(|v| numbers(&v));
        let both = list(&[a.clone(), b.clone()]);
        assert_eq!(run(&of("SequenceConstruct"), &[Some(a.clone().into()), Some(b.clone().into())]).ok(), both);
        let inserted = |position| run(&of("SequenceInsert"), &[both.clone(), Some(c.clone().into()), position]).ok();
        assert_eq!(inserted(None), list(&[a.clone(), b.clone(), c.clone()]));
        assert_eq!(inserted(at(2)), list(&[a.clone(), b.clone(), c.clone()]));
        assert_eq!(inserted(at(-2)), list(&[c.clone(), a.clone(), b.clone()]));
        assert_eq!(inserted(at(3)), None);
        assert_eq!(inserted(at(i64::MIN)), None);
        let wrong = run(&of("SequenceInsert"), &[both.clone(), Some(Tensor::scalar(1i64).into()), None]);
        assert!(wrong.unwrap_err().contains("not f32"));
        let erased = |position| run(&of("SequenceErase"), &[both.clone(), position]).ok();
        assert_eq!((erased(None), erased(at(-2))), (list(std::slice::from_ref(&a)), list(std::slice::from_ref(&b))));
        assert_eq!(erased(at(2)), None);
        let taken = |position| run(&of("SequenceAt"), &[both.clone(), position]).ok();
        assert_eq!((taken(at(1)), taken(at(-2)), taken(at(2))), (Some(b.into()), Some(a.into()), None));
        assert_eq!(run(&of("SequenceLength"), std::slice::from_ref(&both)), Ok(Tensor::scalar(2i64).into()));
        let empty = run(&of("SequenceEmpty").attribute("dtype", 7), &[]).unwrap();
        assert_eq!(empty.value_type().to_string(), "sequence of i64");
        assert!(run(&of("SequenceErase"), &[Some(empty), None]).is_err());
        assert!(run(&of("SequenceEmpty").attribute("dtype", 999), &[]).is_err());
    }

    #[test]
    fn a_tensor_is_split_and_put_together() {
        let x = Tensor::new([2, 3], vec![1f32, 2., 3., 4., 5., 6.]).unwrap();
        let columns = of("SplitToSequence").attribute("axis", 1);
        let given = |sizes: Option<Tensor>| {
            let parts = run(&columns, &[Some(x.clone().into()), sizes.map(Value::from)]).ok()?;
            Some(parts.as_sequence()?.tensors().iter().map(|part| part.shape().to_vec()).collect::<Vec<_>>())
        };
        assert_eq!(given(None), Some(vec![vec![2, 1]; 3]));
        assert_eq!(given(Some(Tensor::scalar(2i64))), Some(vec![vec![2, 2], vec![2, 1]]));
        assert_eq!(given(Some(Tensor::vector(vec![0i64, 3]))), Some(vec![vec![2, 0], vec![2, 3]]));
        for wrong in [vec![2i64], vec![4], vec![-1, 4], vec![i64::MAX, i64::MAX]] {
            assert_eq!(given(Some(Tensor::vector(wrong))), None);
        }
        assert_eq!(given(Some(Tensor::scalar(0i64))), None);
        let parts = run(&columns.clone().attribute("keepdims", 0), &[Some(x.clone().into()), None]).unwrap();
        let stacked = run(&of("ConcatFromSequence").attribute("axis", -1).attribute("new_axis", 1), &[Some(parts)]);
        assert_eq!(stacked, Ok(x.clone().into()));
        let parts = run(&columns, &[Some(x.clone().into()), None]).unwrap();
        let together = of("ConcatFromSequence").attribute("axis", 1);
        assert_eq!(run(&together, &[Some(parts)]), Ok(x.into()));
        assert!(run(&together, &[list(&[])]).is_err());
        assert!(run(&of("ConcatFromSequence"), &[list(&[])]).is_err());
    }
}
