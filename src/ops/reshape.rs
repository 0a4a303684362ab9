//! Reshape, Flatten, Squeeze and Unsqueeze: the same elements under another shape (ONNX opsets 1 to 25).
//!
//! They never move an element: on a GPU each is a view. Constants and shapes being computed keep their content.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Candidate, Candidates, Layout, Want};
use crate::tensor::shape::axis;

/// Another shape for the same elements.
#[derive(Debug, Clone, PartialEq)]
pub enum Reshape {
    /// The shape that input 1 (or, before opset 5, the attribute) gives: -1 is what is left over, 0 the input's own
    /// dimension unless `allow_zero`.
    To {
        /// The attribute of opset 1.
        shape: Option<Vec<i64>>,
        /// 0 means 0.
        allow_zero: bool,
    },
    /// Two dimensions: those before the axis, and the others.
    Flatten(i64),
    /// Without these dimensions (input 1 from opset 13 on), or without any that is 1.
    Squeeze(Option<Vec<i64>>),
    /// With dimensions of 1 at these places of the result (input 1 from opset 13 on).
    Unsqueeze(Option<Vec<i64>>),
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(match d.op_type.as_str() {
        "Flatten" => Reshape::Flatten(d.int("axis")?.unwrap_or(1)),
        "Squeeze" => Reshape::Squeeze(d.ints("axes")?),
        "Unsqueeze" => {
            let axes = d.ints("axes")?;
            if axes.is_none() && d.inputs < 2 {
                return Err(DefinitionError::Missing("axes"));
            }
            Reshape::Unsqueeze(axes)
        }
        _ => {
            let shape = d.ints("shape")?;
            if shape.is_none() && d.inputs < 2 {
                return Err(DefinitionError::Missing("shape"));
            }
            Reshape::To { shape, allow_zero: d.flag("allowzero", false)? }
        }
    }))
}

impl Reshape {
    /// The attribute that input 1 took the place of.
    fn attribute(&self) -> Option<&Vec<i64>> {
        match self {
            Self::To { shape, .. } => shape.as_ref(),
            Self::Squeeze(axes) | Self::Unsqueeze(axes) => axes.as_ref(),
            Self::Flatten(_) => None,
        }
    }

    /// The new shape, from the old one and what input 1 or the attribute says. `None` where its rank depends on
    /// dimensions that are not known.
    fn apply(&self, shape: &[Dim], parameter: Option<&[Dim]>) -> Result<Option<Vec<Dim>>, ShapeError> {
        match self {
            Self::Flatten(at) => {
                let rank = shape.len();
                // Unlike other axes this one may also be the rank.
                let at = if usize::try_from(*at) == Ok(rank) { Some(rank) } else { axis(*at, rank) };
                let at = at.ok_or_else(|| ShapeError::new(format!("axis is out of range for {rank} dimensions")))?;
                Ok(Some(vec![product(&shape[..at]), product(&shape[at..])]))
            }
            Self::To { allow_zero, .. } => {
                let wanted = parameter.ok_or_else(|| ShapeError::new("its shape is missing"))?;
                reshape(shape, wanted, *allow_zero).map(Some)
            }
            Self::Squeeze(_) => squeeze(shape, parameter.map(axes).transpose()?.as_deref()),
            Self::Unsqueeze(_) => {
                let wanted = axes(parameter.ok_or_else(|| ShapeError::new("its axes are missing"))?)?;
                unsqueeze(shape, &wanted).map(Some)
            }
        }
    }
}

/// The product of dimensions.
fn product(dims: &[Dim]) -> Dim {
    dims.iter().fold(Dim::Known(1), |a, b| a.mul(b))
}

fn axes(dims: &[Dim]) -> Result<Vec<i64>, ShapeError> {
    dims.iter().map(Dim::known).collect::<Option<_>>().ok_or_else(|| ShapeError::new("an axis is not known"))
}

fn reshape(shape: &[Dim], wanted: &[Dim], allow_zero: bool) -> Result<Vec<Dim>, ShapeError> {
    let mut out = Vec::with_capacity(wanted.len());
    let mut rest = None;
    for (i, dim) in wanted.iter().enumerate() {
        out.push(match dim.known() {
            Some(0) if !allow_zero => shape.get(i).cloned().ok_or_else(|| {
                ShapeError::new(format!("dimension {i} is to be kept, but there are {}", shape.len()))
            })?,
            Some(-1) => {
                if rest.replace(i).is_some() {
                    return Err(ShapeError::new("more than one dimension is -1"));
                }
                // Stands for 1 until the others are known.
                Dim::Known(1)
            }
            Some(n) if n < 0 => return Err(ShapeError::new(format!("a dimension is {n}"))),
            _ => dim.clone(),
        });
    }
    let total = |dims: &[Dim]| dims.iter().map(Dim::known).collect::<Option<Vec<_>>>().map(|_| product(dims));
    if let Some(i) = rest {
        // What stands on both sides, known or not, cancels: [N, C, H, W] as [N, -1] leaves C·H·W. An unknown equals nothing.
        let (mut above, mut below) = (shape.to_vec(), out.clone());
        below.retain(|dim| match above.iter().position(|a| a == dim && *a != Dim::Unknown && *a != Dim::Known(0)) {
            Some(at) => {
                above.remove(at);
                false
            }
            None => true,
        });
        let (above, below) = (product(&above), product(&below));
        out[i] = match (above.known(), below.known()) {
            (_, Some(0)) => return Err(ShapeError::new("-1 beside a dimension of 0 could be anything")),
            (Some(a), Some(b)) if a % b != 0 => {
                return Err(ShapeError::new(format!("{} do not fit {}", list(shape), list(wanted))));
            }
            _ => above.floor_div(&below),
        };
    } else if let (Some(a), Some(b)) = (total(shape), total(&out))
        && a != b
    {
        return Err(ShapeError::new(format!("{} do not fit {}", list(shape), list(wanted))));
    }
    Ok(out)
}

fn list(dims: &[Dim]) -> String {
    let dims: Vec<_> = dims.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

fn squeeze(shape: &[Dim], axes: Option<&[i64]>) -> Result<Option<Vec<Dim>>, ShapeError> {
    let Some(axes) = axes else {
        let known = shape.iter().all(|d| d.known().is_some());
        return Ok(known.then(|| shape.iter().filter(|d| **d != Dim::Known(1)).cloned().collect()));
    };
    let mut gone = vec![false; shape.len()];
    for &a in axes {
        let at = axis(a, shape.len())
            .ok_or_else(|| ShapeError::new(format!("axis {a} is out of range for {} dimensions", shape.len())))?;
        if gone[at] {
            return Err(ShapeError::new(format!("axis {a} is there twice")));
        }
        if shape[at].known().is_some_and(|n| n != 1) {
            return Err(ShapeError::new(format!("dimension {a} is {}, not 1", shape[at])));
        }
        gone[at] = true;
    }
    Ok(Some(shape.iter().zip(gone).filter(|(_, gone)| !gone).map(|(d, _)| d.clone()).collect()))
}

fn unsqueeze(shape: &[Dim], axes: &[i64]) -> Result<Vec<Dim>, ShapeError> {
    let rank = shape.len() + axes.len();
    let mut new = vec![false; rank];
    for &a in axes {
        let at = axis(a, rank)
            .filter(|&at| !new[at])
            .ok_or_else(|| ShapeError::new(format!("axis {a} is out of range or twice there")))?;
        new[at] = true;
    }
    let mut old = shape.iter().cloned();
    Ok(new.into_iter().map(|new| if new { Dim::Known(1) } else { old.next().unwrap_or(Dim::Known(1)) }).collect())
}

impl Operator for Reshape {
    fn name(&self) -> &str {
        match self {
            Self::To { .. } => "Reshape",
            Self::Flatten(_) => "Flatten",
            Self::Squeeze(_) => "Squeeze",
            Self::Unsqueeze(_) => "Unsqueeze",
        }
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let numbers = |v: Vec<i64>| v.into_iter().map(Dim::Known).collect::<Vec<_>>();
        let parameter = match (self.attribute(), Fact::optional(inputs, 1)) {
            (Some(attribute), _) => Some(numbers(attribute.clone())),
            (None, Some(fact)) => match (&fact.known, fact.integers().filter(|_| fact.rank() < 2)) {
                (Some(known), _) => Some(known.clone()),
                (None, Some(integers)) => Some(numbers(integers)),
                // Computed when it runs: only the rank of the result can be known.
                (None, None) => {
                    let rank = fact.count()?.and_then(|n| match self {
                        Self::To { .. } => Some(n),
                        Self::Squeeze(_) => x.rank().checked_sub(n),
                        Self::Unsqueeze(_) => Some(x.rank() + n),
                        Self::Flatten(_) => None,
                    });
                    return Ok(rank.map(|rank| x.with_shape(vec![Dim::Unknown; rank])).into_iter().collect());
                }
            },
            (None, None) => None,
        };
        let Some(shape) = self.apply(&x.shape, parameter.as_deref())? else { return Ok(vec![]) };
        let mut fact = x.with_shape(shape);
        if let (Some(tensor), Some(concrete)) = (&x.constant, fact.concrete()) {
            let tensor = tensor.reshaped(concrete).map_err(|e| ShapeError::new(e.to_string()))?;
            return Ok(vec![Fact { known: x.known.clone(), ..Fact::constant(tensor) }]);
        }
        fact.known.clone_from(&x.known);
        Ok(vec![fact])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let dims: Vec<Dim> = x.shape().iter().map(|&d| Dim::from(d)).collect();
        let parameter = match self.attribute() {
            Some(attribute) => Some(attribute.clone()),
            None => inputs.list(1)?,
        };
        let parameter: Option<Vec<Dim>> = parameter.map(|v| v.into_iter().map(Dim::Known).collect());
        let shape = self.apply(&dims, parameter.as_deref())?;
        let shape: Option<Vec<usize>> = shape.and_then(|s| s.iter().map(Dim::size).collect());
        let shape = shape.ok_or_else(|| ShapeError::new("the new shape is too large"))?;
        Ok(vec![x.reshaped(shape)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        request.any_storage(0)?;
        let (from, to) = (request.shape(0)?, request.output_shape(0)?);
        let mut candidates = vec![Candidate::view(0, request.inputs.len())];
        for (a, b) in same_memory(&from, &to) {
            let mut wants = vec![Want::Nothing; request.inputs.len()];
            wants[0] = Want::In(a);
            candidates.push(Candidate { view_of: Some(0), ..Candidate::new("view", wants, vec![b]) });
        }
        Ok(candidates)
    }

    fn work(&self, _: &[Option<&Fact>], _: &[Fact]) -> f64 {
        0.0
    }
}

/// The layouts beside linear in which a value of one shape and one of another are the same bytes.
fn same_memory(from: &[usize], to: &[usize]) -> Vec<(Layout, Layout)> {
    let mut pairs = vec![];
    let mut offer = |a: Layout, b: Layout| {
        let pair = (a.canonical(from), b.canonical(to));
        if pair != (Layout::Linear, Layout::Linear) && !pairs.contains(&pair) {
            pairs.push(pair);
        }
    };
    // Rows that stay rows.
    if from.last().is_some() && from.last() == to.last() {
        offer(Layout::Rows, Layout::Rows);
    }
    let positions = |shape: &[usize]| shape[2..].iter().product::<usize>();
    match (from, to) {
        // Channels that stay channels, over as many positions.
        ([n, c, ..], [m, d, ..]) if (n, c) == (m, d) && positions(from) == positions(to) => {
            offer(Layout::Channels4, Layout::Channels4);
            // Channels of a single position are rows of channels.
            if positions(from) == 1 && from.len() == 2 {
                offer(Layout::Rows, Layout::Channels4);
            }
            if positions(from) == 1 && to.len() == 2 {
                offer(Layout::Channels4, Layout::Rows);
            }
        }
        _ => {}
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{ElementType, Tensor};
    use crate::testing::{Input, Tolerance, check};

    fn to(allow_zero: bool) -> Reshape {
        Reshape::To { shape: None, allow_zero }
    }

    fn infer(operator: &Reshape, shape: &[Dim], parameter: Option<Fact>) -> Result<String, ShapeError> {
        let x = Fact::new(ElementType::F32, shape.to_vec());
        let facts = operator.infer(&[Some(&x), parameter.as_ref()])?;
        Ok(facts.first().map_or_else(|| "unknown".to_owned(), ToString::to_string))
    }

    #[test]
    fn symbols_pass_through() {
        let (n, h) = (Dim::symbol("n"), Dim::symbol("h"));
        let x = [n.clone(), Dim::Known(3), h.clone(), Dim::Known(4)];
        let shape = |dims: Vec<Dim>| Some(Fact::dims(dims));
        assert_eq!(infer(&to(false), &x, shape(vec![Dim::Known(0), Dim::Known(-1)])).unwrap(), "f32[n, h·12]");
        assert_eq!(infer(&to(false), &x, shape(vec![n, h, Dim::Known(-1)])).unwrap(), "f32[n, h, 12]");
        assert_eq!(infer(&Reshape::Flatten(-1), &x, None).unwrap(), "f32[n·3·h, 4]");
        assert_eq!(infer(&Reshape::Flatten(4), &x, None).unwrap(), "f32[n·3·h·4, 1]");
        assert_eq!(infer(&Reshape::Squeeze(None), &x, None).unwrap(), "unknown");
        let later = Fact::new(ElementType::I64, [3usize]);
        assert_eq!(infer(&to(false), &x, Some(later)).unwrap(), "f32[?, ?, ?]");
    }

    #[test]
    fn a_shape_that_does_not_fit_is_refused() {
        let known = |shape: &[i64]| shape.iter().map(|&n| Dim::Known(n)).collect::<Vec<_>>();
        let refused = |allow_zero, x: &[i64], wanted: &[i64]| {
            infer(&to(allow_zero), &known(x), Some(Fact::dims(known(wanted)))).is_err()
        };
        assert!(refused(false, &[2, 3], &[4, -1]));
        assert!(refused(false, &[2, 3], &[-1, -1]));
        assert!(refused(false, &[2, 3], &[2, 2]));
        assert!(refused(false, &[2, 3], &[2, 3, 0]));
        assert!(refused(false, &[2, 3], &[-2, 3]));
        assert!(refused(true, &[2, 0], &[0, -1]));
        assert!(refused(true, &[2, 3], &[0, 3]));
        let x = Value::from(Tensor::zeros(ElementType::F32, [2, 3]).unwrap());
        let huge = Value::from(Tensor::vector(vec![i64::MAX, i64::MAX, -1]));
        assert!(to(false).evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(&huge)])).is_err());
        assert!(infer(&Reshape::Squeeze(Some(vec![0])), &known(&[2, 3]), None).is_err());
        assert!(infer(&Reshape::Squeeze(Some(vec![i64::MIN])), &known(&[1]), None).is_err());
        assert!(infer(&Reshape::Unsqueeze(Some(vec![0, 0])), &known(&[2]), None).is_err());
        assert!(infer(&Reshape::Flatten(3), &known(&[2, 2]), None).is_err());
    }

    #[test]
    fn views_agree_with_the_reference() {
        let x = Input::Run(Tensor::new([2, 1, 3, 1], (0..6).map(|i| i as f32).collect()).unwrap());
        let vector = |v: &[i64]| Input::Constant(Tensor::vector(v.to_vec()));
        check(&to(false), &[x.clone(), vector(&[0, -1])], Tolerance::EXACT);
        check(&Reshape::Flatten(2), std::slice::from_ref(&x), Tolerance::EXACT);
        check(&Reshape::Squeeze(None), &[x.clone(), vector(&[1, -1])], Tolerance::EXACT);
        check(&Reshape::Squeeze(None), std::slice::from_ref(&x), Tolerance::EXACT);
        check(&Reshape::Unsqueeze(None), &[x, vector(&[-1, 0])], Tolerance::EXACT);
        let empty = Input::Run(Tensor::zeros(ElementType::F32, [0, 3]).unwrap());
        check(&to(true), &[empty, vector(&[3, 0])], Tolerance::EXACT);
    }

    #[test]
    fn layouts_that_share_their_bytes_are_offered_as_views() {
        use Layout::{Channels4, Linear, Rows};
        assert_eq!(same_memory(&[2, 8, 1, 1], &[2, 8]), [(Channels4, Channels4), (Channels4, Linear)]);
        assert_eq!(same_memory(&[2, 7, 1, 1], &[2, 7]), [(Channels4, Channels4), (Channels4, Rows)]);
        assert_eq!(same_memory(&[1, 5, 2, 7], &[5, 2, 7]), [(Rows, Rows)]);
        assert_eq!(same_memory(&[2, 6], &[3, 4]), []);
    }
}
