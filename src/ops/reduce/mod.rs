//! Reductions: a function of all elements along some axes. One operator, two kernels, a table of members.
//!
//! The members' formulas stand in `members`. The axes are an attribute or, since operator set 18 (ReduceSum: 13), an
//! input; without axes all are meant, unless `noop_with_empty_axes` asks for nothing to be done then.

pub mod arg;
mod candidates;
mod members;

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::Candidates;
use crate::tensor::shape::{self, walk};
use crate::tensor::wide::written;
use crate::tensor::{ElementType, Tensor, Wide};
use members::Member;

/// A reduction.
#[derive(Debug, Clone)]
pub struct Reduce {
    member: &'static Member,
    axes: Option<Vec<i64>>,
    keep: bool,
    /// Whether nothing is done where no axes are given.
    idle: bool,
}

/// Makes the reduction that the definition names.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let member = members::MEMBERS
        .iter()
        .find(|m| m.name == definition.op_type)
        .ok_or_else(|| DefinitionError::Unsupported("Rimlight has no such operator".to_owned()))?;
    Ok(Arc::new(Reduce {
        member,
        axes: definition.ints("axes")?,
        keep: definition.flag("keepdims", true)?,
        idle: definition.flag("noop_with_empty_axes", false)?,
    }))
}

impl Reduce {
    /// Which dimensions are reduced, where that is known; `None` too where nothing is done.
    pub(crate) fn dimensions(&self, inputs: &[Option<&Fact>]) -> Option<Vec<bool>> {
        let rank = Fact::at(inputs, 0).ok()?.rank();
        let axes = match (&self.axes, Fact::optional(inputs, 1)) {
            (Some(axes), _) => axes.clone(),
            (None, Some(fact)) => fact.integers()?,
            (None, None) => vec![],
        };
        self.reduced(&axes, rank).ok()?
    }

    /// Which dimensions are reduced, given the axes; none at all is `None`.
    fn reduced(&self, axes: &[i64], rank: usize) -> Result<Option<Vec<bool>>, ShapeError> {
        if axes.is_empty() {
            return Ok((!self.idle).then(|| vec![true; rank]));
        }
        let mut reduced = vec![false; rank];
        for &axis in axes {
            let place = shape::axis(axis, rank)
                .ok_or_else(|| ShapeError::new(format!("axis {axis} is out of range for rank {rank}")))?;
            if std::mem::replace(&mut reduced[place], true) {
                return Err(ShapeError::new(format!("axis {axis} is given twice")));
            }
        }
        Ok(Some(reduced))
    }

    /// A shape with its reduced dimensions 1 or gone.
    fn kept<T: Clone>(&self, shape: &[T], reduced: &[bool], one: &T) -> Vec<T> {
        let kept = shape.iter().zip(reduced).filter(|(_, reduced)| self.keep || !**reduced);
        kept.map(|(d, reduced)| if *reduced { one.clone() } else { d.clone() }).collect()
    }

    /// The shape of the result where the axes are only known when it runs, if at least its rank can be told.
    fn unknown(&self, x: &Fact, axes: &Fact) -> Option<Vec<Dim>> {
        let rank = match (self.keep, axes.shape.first().and_then(Dim::size)) {
            (true, _) => x.rank(),
            (false, Some(0)) if self.idle => x.rank(),
            (false, Some(0)) => 0,
            (false, Some(n)) if n <= x.rank() => x.rank() - n,
            (false, _) => return None,
        };
        Some(vec![Dim::Unknown; rank])
    }
}

impl Operator for Reduce {
    fn name(&self) -> &str {
        self.member.name
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let order = matches!(self.name(), "ReduceMax" | "ReduceMin");
        if x.element_type == ElementType::Bool && !order {
            return Err(ShapeError::new("it takes numbers, not bool"));
        }
        let given = Fact::optional(inputs, 1);
        let axes = match (&self.axes, given) {
            (Some(axes), _) => axes.clone(),
            (None, None) => vec![],
            (None, Some(fact)) => match fact.integers() {
                Some(axes) => axes,
                None => return Ok(self.unknown(x, fact).map(|s| vec![x.with_shape(s)]).unwrap_or_default()),
            },
        };
        let Some(reduced) = self.reduced(&axes, x.rank())? else { return Ok(vec![x.clone()]) };
        let mut y = x.with_shape(self.kept(&x.shape, &reduced, &Dim::Known(1)));
        // A vector of sizes becomes one.
        if let (Some(known), Some((start, f)), [true]) = (&x.known, self.member.dims, reduced.as_slice()) {
            y.known = Some(vec![known.iter().fold(Dim::Known(start), |all, d| f(&all, d))]);
        }
        Ok(vec![y])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let given = if self.axes.is_some() { None } else { inputs.list(1)? };
        let axes = self.axes.clone().or(given).unwrap_or_default();
        let Some(reduced) = self.reduced(&axes, x.rank())? else { return Ok(vec![x.clone().into()]) };
        let to = self.kept(x.shape(), &reduced, &1);
        let (f, g) = (self.member.floats, self.member.integers);
        let mut y = written(x.element_type(), &to)?;
        match x.element_type() {
            ElementType::Bool => sets(x, &reduced, |set| y.integers(&[(g(set) > 0).into()])),
            t if t.is_any_float() => sets(x, &reduced, |set| y.floats(&[f(set)])),
            _ => sets(x, &reduced, |set| match g(set) {
                // The largest and smallest of nothing are the type's own.
                i128::MIN => y.floats(&[f64::NEG_INFINITY]),
                i128::MAX => y.floats(&[f64::INFINITY]),
                v => y.integers(&[v]),
            }),
        }?;
        Ok(vec![y.tensor(&to)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        candidates::of(self, request)
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let x = Fact::optional(inputs, 0).and_then(Fact::concrete).unwrap_or_default();
        x.iter().map(|&d| d as f64).product()
    }
}

/// Hands each set of elements along the reduced dimensions to a function, in order.
fn sets<V: Wide>(x: &Tensor, reduced: &[bool], mut take: impl FnMut(&[V])) -> Result<(), EvaluateError> {
    let from = x.numbers()?;
    let strides = shape::strides(x.shape());
    let part = |wanted: bool| -> (Vec<usize>, Vec<usize>) {
        x.shape().iter().zip(&strides).zip(reduced).filter(|(_, r)| **r == wanted).map(|((d, s), _)| (*d, *s)).unzip()
    };
    let ((kept, kept_strides), (mut gone, mut gone_strides)) = (part(false), part(true));
    if x.is_empty() {
        // Where there are results all the same, they are those of no elements.
        walk(&kept, [&kept_strides], |_| take(&[]));
        return Ok(());
    }
    // Neighbours that are reduced together are read as one.
    for i in (1..gone.len()).rev() {
        if gone_strides[i - 1] == gone[i] * gone_strides[i] {
            gone[i - 1] *= gone.remove(i);
            gone_strides[i - 1] = gone_strides.remove(i);
        }
    }
    let (length, step) = (gone.pop().unwrap_or(1), gone_strides.pop().unwrap_or(1));
    let mut set = vec![V::default(); gone.iter().product::<usize>() * length];
    walk(&kept, [&kept_strides], |[base]| {
        let mut lines = set.chunks_mut(length);
        walk(&gone, [&gone_strides], |[at]| {
            if let Some(line) = lines.next() {
                V::read(&*from, base + at, step, line);
            }
        });
        take(&set);
    });
    Ok(())
}

#[cfg(test)]
mod tests;
