//! Pad (ONNX opsets 1 to 25): what lies around a tensor, or, where an amount is negative, less of it.
//!
//! Every mode is a table of indices along each dimension: constant (a number is filled in), reflect (mirrored at the
//! border, which is not repeated), edge (the border repeated), wrap (around to the other side).

use std::sync::Arc;

use super::remap::{Remap, element_bits};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Candidate, Candidates, Layout, Want};
use crate::tensor::shape::axis;
use crate::tensor::{ElementType, Tensor};

/// What stands in the padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A number.
    Constant,
    /// The tensor, mirrored.
    Reflect,
    /// The nearest element.
    Edge,
    /// The tensor again, from its other side.
    Wrap,
}

/// Padding around a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Pad {
    /// What stands in the padding.
    pub mode: Mode,
    /// Amounts and value of opsets before 11; inputs since.
    attributes: Option<(Vec<i64>, f32)>,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let mode = match d.string("mode")?.as_deref() {
        None | Some("constant") => Mode::Constant,
        Some("reflect") => Mode::Reflect,
        Some("edge") => Mode::Edge,
        Some("wrap") => Mode::Wrap,
        Some(other) => return Err(DefinitionError::Value("mode", format!("is '{other}'"))),
    };
    let attributes = if d.opset < 11 {
        let name = if d.opset < 2 { "paddings" } else { "pads" };
        Some((d.ints(name)?.ok_or(DefinitionError::Missing(name))?, d.float("value")?.unwrap_or(0.0)))
    } else {
        None
    };
    Ok(Arc::new(Pad { mode, attributes }))
}

impl Pad {
    /// The elements before and after along each dimension, where they are known: what a rewrite needs to know.
    ///
    /// # Errors
    /// If they do not fit the input.
    pub fn amounts(&self, inputs: &[Option<&Fact>]) -> Result<Option<Vec<(i64, i64)>>, ShapeError> {
        let rank = Fact::at(inputs, 0)?.rank();
        let (pads, axes) = (Fact::optional(inputs, 1), Fact::optional(inputs, 3));
        if self.attributes.is_some() {
            return self.pairs(rank, None, None).map(Some);
        }
        let (pads, axes) = (pads.map(Fact::integers), axes.map(Fact::integers));
        match (pads, axes) {
            (None, _) => Err(ShapeError::new("its pads are missing")),
            (Some(None), _) | (_, Some(None)) => Ok(None),
            (Some(pads), axes) => self.pairs(rank, pads, axes.flatten()).map(Some),
        }
    }

    /// The number that constant padding is made of, as a kernel takes it, where it is known.
    pub fn fill(&self, inputs: &[Option<&Fact>]) -> Option<f32> {
        match (&self.attributes, Fact::optional(inputs, 2)) {
            (Some((_, value)), _) => Some(*value),
            (None, None) => Some(0.0),
            (None, Some(value)) => value.floats()?.first().copied(),
        }
    }

    /// The amounts of all dimensions, from those of some.
    fn pairs(
        &self,
        rank: usize,
        pads: Option<Vec<i64>>,
        axes: Option<Vec<i64>>,
    ) -> Result<Vec<(i64, i64)>, ShapeError> {
        let pads = match &self.attributes {
            Some((pads, _)) => pads.clone(),
            None => pads.ok_or_else(|| ShapeError::new("its pads are missing"))?,
        };
        let axes = axes.unwrap_or_else(|| (0..).take(rank).collect());
        if pads.len() != 2 * axes.len() {
            return Err(ShapeError::new(format!("{} pads do not go with {} dimensions", pads.len(), axes.len())));
        }
        let mut pairs = vec![(0, 0); rank];
        let mut seen = vec![false; rank];
        for (i, &a) in axes.iter().enumerate() {
            let at = axis(a, rank).filter(|&at| !std::mem::replace(&mut seen[at], true));
            let at = at.ok_or_else(|| ShapeError::new(format!("axis {a} is out of range or twice there")))?;
            pairs[at] = (pads[i], pads[i + axes.len()]);
        }
        Ok(pairs)
    }

    /// The source's index for each index of the padded dimension; `None` where nothing changes.
    fn table(&self, size: usize, (before, after): (i64, i64)) -> Result<Option<Vec<i64>>, ShapeError> {
        if (before, after) == (0, 0) {
            return Ok(None);
        }
        let wrong = || ShapeError::new(format!("a dimension of {size} cannot be padded by {before} and {after}"));
        let n = i64::try_from(size).map_err(|_| wrong())?;
        let length = n.checked_add(before).and_then(|l| l.checked_add(after)).filter(|l| (0..1 << 26).contains(l));
        let length = length.ok_or_else(wrong)?;
        // What negative amounts leave of the dimension, and its first element's place in the result.
        let (low, high) = (before.saturating_neg().max(0), n.saturating_sub(after.saturating_neg().max(0)));
        let first = before.max(0);
        let count = high.saturating_sub(low);
        if count <= 0 && length > 0 && self.mode != Mode::Constant {
            return Err(wrong());
        }
        let index = |o: i64| {
            let i = o - first;
            let within = match self.mode {
                Mode::Constant => i,
                Mode::Edge => i.clamp(0, count - 1),
                Mode::Wrap => i.rem_euclid(count),
                Mode::Reflect if count == 1 => 0,
                Mode::Reflect => {
                    let period = 2 * (count - 1);
                    let i = i.rem_euclid(period);
                    i.min(period - i)
                }
            };
            if (0..count).contains(&within) { low + within } else { -1 }
        };
        Ok(Some((0..length).map(index).collect()))
    }

    /// The tables over a source of `shape` as it lies in `layout`, or `None` where that layout does not allow them.
    fn remap(&self, shape: &[usize], pairs: &[(i64, i64)], layout: Layout) -> Result<Option<Remap>, ShapeError> {
        let layout = layout.canonical(shape);
        if layout == Layout::Channels4 && pairs[1] != (0, 0) {
            return Ok(None);
        }
        let source = layout.physical_shape(shape);
        let mut tables =
            shape.iter().zip(pairs).map(|(&n, &pair)| self.table(n, pair)).collect::<Result<Vec<_>, _>>()?;
        match (layout, tables.last_mut()) {
            // Rows are padded to whole units again, with whatever is filled in.
            (Layout::Rows, Some(Some(table))) => table.resize(table.len().next_multiple_of(4), -1),
            (Layout::Channels4, _) => tables.push(None),
            _ => {}
        }
        Ok(Some(Remap { source, tables }))
    }
}

/// One element of a type, from a number.
pub(super) fn element(element_type: ElementType, value: f32) -> Result<Tensor, EvaluateError> {
    #[expect(clippy::cast_possible_truncation, reason = "the attribute holds integers as floats")]
    Ok(match element_type {
        ElementType::F32 => Tensor::scalar(value),
        ElementType::F16 => Tensor::scalar(half::f16::from_f32(value)),
        ElementType::F64 => Tensor::scalar(f64::from(value)),
        ElementType::I64 => Tensor::scalar(value as i64),
        ElementType::I32 => Tensor::scalar(value as i32),
        other => Tensor::zeros(other, vec![])?,
    })
}

impl Operator for Pad {
    fn name(&self) -> &str {
        "Pad"
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1..=3 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let Some(pairs) = self.amounts(inputs)? else {
            return Ok(vec![x.with_shape(vec![Dim::Unknown; x.rank()])]);
        };
        let mut shape = x.shape.clone();
        for (dim, (before, after)) in shape.iter_mut().zip(pairs) {
            *dim = dim.add(&Dim::Known(before)).add(&Dim::Known(after));
            if dim.known().is_some_and(|n| n < 0) {
                return Err(ShapeError::new(format!("pads {before} and {after} leave less than nothing")));
            }
        }
        Ok(vec![x.with_shape(shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let pairs = self.pairs(x.rank(), inputs.list(1)?, inputs.list(3)?)?;
        // Before any table is made: a few bytes of pads must not ask for all of the memory.
        let padded = x.shape().iter().zip(&pairs).map(|(&n, (before, after))| {
            usize::try_from(i64::try_from(n).ok()?.checked_add(*before)?.checked_add(*after)?).ok()
        });
        let padded: Option<Vec<usize>> = padded.collect();
        let shape = padded.ok_or_else(|| ShapeError::new("its pads leave less than nothing"))?;
        if Tensor::bounded(x.element_type(), &shape)? == 0 {
            return Ok(vec![Tensor::zeros(x.element_type(), shape)?.into()]);
        }
        let fill = match (&self.attributes, inputs.optional(2)) {
            (Some((_, value)), _) => element(x.element_type(), *value)?,
            (None, Some(value)) if value.element_type() == x.element_type() && value.len() == 1 => value.clone(),
            (None, Some(value)) => return Err(ShapeError::new(format!("{value:?} is no single element")).into()),
            (None, None) => element(x.element_type(), 0.0)?,
        };
        let remap = self.remap(x.shape(), &pairs, Layout::Linear)?.ok_or_else(|| ShapeError::new("it has no rows"))?;
        Ok(vec![remap.gather(x, shape, fill.bytes())?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let storages = (request.any_storage(0)?, request.any_output_storage(0)?);
        let facts: Vec<Option<&Fact>> = request.inputs.iter().map(|i| i.map(|i| i.fact)).collect();
        let pairs = self.amounts(&facts).map_err(|e| e.to_string())?;
        let pairs = pairs.ok_or("its pads are computed at run time")?;
        let x = request.input(0)?.fact.element_type;
        let fill = match (&self.attributes, request.optional(2)) {
            (None, Some(value)) => {
                let constant = value.fact.constant.as_ref().ok_or("its value is computed at run time")?;
                element_bits(constant)
            }
            (Some((_, value)), _) => element_bits(&element(x, *value).map_err(|e| e.to_string())?),
            (None, None) => Some([0; 2]),
        };
        let fill = fill.ok_or("its value is none that a kernel takes")?;
        let (shape, result) = (request.shape(0)?, request.output_shape(0)?);
        if pairs.iter().all(|&pair| pair == (0, 0)) {
            return Ok(vec![Candidate::view(0, request.inputs.len())]);
        }
        let mut candidates = vec![];
        for layout in [Layout::Linear, Layout::Rows, Layout::Channels4] {
            let (from, to) = (layout.canonical(&shape), layout.canonical(&result));
            if layout != Layout::Linear && (from, to) == (Layout::Linear, Layout::Linear) {
                continue;
            }
            let Some(remap) = self.remap(&shape, &pairs, from).map_err(|e| e.to_string())? else { continue };
            // Rows may become linear and the other way round: what counts is how the result lies.
            if remap.dims() != to.physical_shape(&result) {
                continue;
            }
            let mut wants = vec![Want::Nothing; request.inputs.len()];
            wants[0] = Want::In(from);
            let mut candidate = Candidate::new("remap", wants, vec![to]);
            if let Some(dispatch) = remap.dispatch(storages, fill, request.device)? {
                candidate = candidate.cost(0.0, super::strided::cost(&dispatch, storages.1)).dispatch(dispatch);
            }
            candidates.push(candidate);
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, check, try_check};

    fn padded(mode: Mode, size: usize, before: i64, after: i64) -> Option<Vec<i64>> {
        Pad { mode, attributes: None }.table(size, (before, after)).ok().map(|t| t.unwrap_or_default())
    }

    #[test]
    fn tables_are_those_of_the_standard() {
        assert_eq!(padded(Mode::Constant, 3, 2, 1).unwrap(), [-1, -1, 0, 1, 2, -1]);
        assert_eq!(padded(Mode::Constant, 5, -2, 2).unwrap(), [2, 3, 4, -1, -1]);
        assert_eq!(padded(Mode::Edge, 3, 2, 1).unwrap(), [0, 0, 0, 1, 2, 2]);
        assert_eq!(padded(Mode::Reflect, 3, 2, 4).unwrap(), [2, 1, 0, 1, 2, 1, 0, 1, 2]);
        assert_eq!(padded(Mode::Reflect, 4, -1, 2).unwrap(), [1, 2, 3, 2, 1]);
        assert_eq!(padded(Mode::Wrap, 3, 2, 4).unwrap(), [1, 2, 0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(padded(Mode::Reflect, 1, 1, 1).unwrap(), [0, 0, 0]);
        assert_eq!(padded(Mode::Edge, 0, 1, 1), None);
        assert_eq!(padded(Mode::Constant, 3, -2, -2), None);
        assert_eq!(padded(Mode::Constant, 3, i64::MAX, i64::MAX), None);
        assert_eq!(padded(Mode::Edge, 3, i64::MIN, i64::MAX), None);
        assert_eq!(padded(Mode::Constant, 3, 1 << 40, 0), None);
    }

    #[test]
    fn a_value_and_axes_may_be_given() {
        let pad = Pad { mode: Mode::Constant, attributes: None };
        let x = Input::Run(Tensor::new([1, 2, 3], vec![1i32, 2, 3, 4, 5, 6]).unwrap());
        let pads = Input::Constant(Tensor::vector(vec![1i64, 2]));
        let (value, axes) = (Input::Constant(Tensor::scalar(-7i32)), Input::Constant(Tensor::vector(vec![-1i64])));
        check(&pad, &[x, pads, value, axes], Tolerance::EXACT);
        let old =
            Definition { opset: 9, ..Definition::new("Pad").attribute("pads", [0, 1, 0, 1]).attribute("value", 2.5) };
        let x = Value::from(Tensor::new([1, 1], vec![1f32]).unwrap());
        let y = from_definition(&old).unwrap().evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        assert_eq!(y, [Tensor::new([1, 3], vec![2.5f32, 1., 2.5]).unwrap().into()]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn gpu_and_reference_agree(
            dims in prop::collection::vec((prop::sample::select(vec![1usize, 2, 3, 4, 5, 8, 12]), -2i64..5, -2i64..5), 1..5),
            only in any::<prop::sample::Index>(),
            mode in prop::sample::select(vec![Mode::Constant, Mode::Reflect, Mode::Edge, Mode::Wrap]),
        ) {
            // Padding along one axis alone leaves the others whole, which is the common and the fast case.
            let only = only.index(dims.len() + 1);
            let pads = |f: fn(&(usize, i64, i64)) -> i64| -> Vec<i64> {
                let kept = |i: usize| only == dims.len() || only == i;
                dims.iter().enumerate().map(|(i, d)| if kept(i) { f(d) } else { 0 }).collect()
            };
            let pads = [pads(|d| d.1), pads(|d| d.2)].concat();
            let shape: Vec<usize> = dims.iter().map(|d| d.0).collect();
            let pad = Pad { mode, attributes: None };
            for (i, &n) in shape.iter().enumerate() {
                prop_assume!(pad.table(n, (pads[i], pads[i + dims.len()])).is_ok());
            }
            let x: Vec<f32> = (0..shape.iter().product()).map(|i| (i % 2048) as f32 + 1.0).collect();
            let inputs = [
                Input::Run(Tensor::new(shape, x).unwrap()),
                Input::Constant(Tensor::vector(pads)),
                Input::Constant(Tensor::scalar(0.5f32)),
            ];
            try_check(&pad, &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}
