//! Slice: a part of a tensor along each of its dimensions (ONNX opsets 1 to 25).

use std::sync::Arc;

use super::strided::{Strided, signed_strides};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Candidates, Layout};
use crate::tensor::ElementType;
use crate::tensor::shape::axis;

/// A part of one dimension: `count` indices from `begin` on, `step` apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub begin: i64,
    pub count: usize,
    pub step: i64,
}

impl Range {
    /// The indices that ONNX's Slice means by these bounds: negative ones count from the back, then all are clamped.
    fn of(size: usize, start: i64, end: i64, step: i64) -> Result<Self, ShapeError> {
        let size = i64::try_from(size).map_err(|_| ShapeError::new("a dimension is too large"))?;
        if step == 0 {
            return Err(ShapeError::new("a step is 0"));
        }
        let from_front = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
        // Going down, the indices may start at the last one, and stop before -1.
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let begin = from_front(start).clamp(if size > 0 { 0 } else { low }, high);
        let end = from_front(end).clamp(low, high);
        let span = u64::try_from(if step > 0 { end - begin } else { begin - end }).unwrap_or(0);
        let count = usize::try_from(span.div_ceil(step.unsigned_abs()))
            .map_err(|_| ShapeError::new("a dimension is too large"))?;
        // A step beyond the whole dimension is taken at most once: its size must not overflow anything.
        Ok(Self { begin: begin.max(0), count, step: if count > 1 { step } else { 1 } })
    }
}

/// The layouts in which a part may be cut out, and those that it then has: rows that are cut become dense.
pub(super) fn layouts(shape: &[usize]) -> impl Iterator<Item = (Layout, Layout)> {
    let pairs = [
        (Layout::Linear, Layout::Linear),
        (Layout::Rows, Layout::Rows),
        (Layout::Rows, Layout::Linear),
        (Layout::Channels4, Layout::Channels4),
    ];
    let rows = Layout::Rows.canonical(shape) == Layout::Rows;
    let groups = Layout::Channels4.canonical(shape) == Layout::Channels4;
    pairs.into_iter().filter(move |pair| match pair.0 {
        Layout::Linear => true,
        Layout::Rows => rows,
        Layout::Channels4 => groups,
    })
}

/// The part of a tensor of `shape` in layout `from` that ranges of all its dimensions cut out, in layout `to`, or `None`
/// where those do not allow it or another pair of layouts serves.
pub(super) fn part(shape: &[usize], ranges: &[Range], (from, to): (Layout, Layout)) -> Option<Strided> {
    let layout = from.canonical(shape);
    let physical = layout.physical_shape(shape);
    let own = signed_strides(&physical);
    let mut strided = Strided { dims: vec![], strides: vec![], base: 0 };
    for (i, range) in ranges.iter().enumerate() {
        let mut range = *range;
        let whole = range == Range { begin: 0, count: shape[i], step: 1 };
        match layout {
            // The innermost dimension is kept with its padding, or is cut and loses it.
            Layout::Rows if i + 1 == shape.len() => {
                if whole != (to == Layout::Rows) {
                    return None;
                }
                range.count = if whole { physical[i] } else { range.count };
            }
            Layout::Channels4 if i == 1 => {
                if range.step != 1 || range.begin % 4 != 0 {
                    return None;
                }
                range = Range { begin: range.begin / 4, count: range.count.div_ceil(4), step: 1 };
            }
            _ => {}
        }
        strided.dims.push(range.count);
        strided.strides.push(own[i].checked_mul(range.step)?);
        strided.base = strided.base.checked_add(range.begin.checked_mul(own[i])?)?;
    }
    if layout == Layout::Channels4 {
        strided.dims.push(4);
        strided.strides.push(1);
    }
    Some(strided)
}

/// Starts, ends and axes.
type Bounds = (Vec<i64>, Vec<i64>, Option<Vec<i64>>);

/// A part of a tensor: from `starts` to before `ends` in `steps` along `axes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// Starts, ends and axes of opsets before 10; inputs since.
    attributes: Option<Bounds>,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let attributes = if d.opset < 10 {
        let starts = d.ints("starts")?.ok_or(DefinitionError::Missing("starts"))?;
        Some((starts, d.ints("ends")?.ok_or(DefinitionError::Missing("ends"))?, d.ints("axes")?))
    } else {
        None
    };
    Ok(Arc::new(Slice { attributes }))
}

impl Slice {
    /// Bounds along one axis after another: axis, start, end, step. A bound may be an expression.
    fn bounds(
        &self,
        rank: usize,
        parameters: &[Option<Vec<Dim>>; 4],
    ) -> Result<Vec<(usize, Dim, Dim, i64)>, ShapeError> {
        let dims = |v: &[i64]| v.iter().map(|&n| Dim::Known(n)).collect::<Vec<_>>();
        let numbers = |dims: &[Dim], what: &str| {
            let numbers: Option<Vec<i64>> = dims.iter().map(Dim::known).collect();
            numbers.ok_or_else(|| ShapeError::new(format!("its {what} are not numbers")))
        };
        let (starts, ends, axes, steps) = match (&self.attributes, parameters) {
            (Some((starts, ends, axes)), _) => (dims(starts), dims(ends), axes.clone(), None),
            (None, [Some(starts), Some(ends), axes, steps]) => (
                starts.clone(),
                ends.clone(),
                axes.as_ref().map(|a| numbers(a, "axes")).transpose()?,
                steps.as_ref().map(|s| numbers(s, "steps")).transpose()?,
            ),
            _ => return Err(ShapeError::new("its starts or ends are missing")),
        };
        let axes = axes.unwrap_or_else(|| (0..).take(starts.len()).collect());
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(ShapeError::new("its starts, ends, axes and steps are not equally many"));
        }
        let mut bounds: Vec<(usize, Dim, Dim, i64)> = vec![];
        for (((start, end), at), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
            let at = axis(at, rank).ok_or_else(|| ShapeError::new(format!("axis {at} is out of range")))?;
            if bounds.iter().any(|b| b.0 == at) {
                return Err(ShapeError::new(format!("axis {at} is there twice")));
            }
            bounds.push((at, start, end, step));
        }
        Ok(bounds)
    }

    /// How the result is read from an input whose shape is known, in order.
    pub(crate) fn read(&self, inputs: &[Option<&Fact>]) -> Option<Strided> {
        let shape = Fact::at(inputs, 0).ok()?.concrete()?;
        let parameters = [1, 2, 3, 4].map(|i| Fact::optional(inputs, i).map(Fact::integers));
        if self.attributes.is_none() && parameters.iter().any(|p| matches!(p, Some(None))) {
            return None;
        }
        let ranges = self.ranges(&shape, parameters.map(Option::flatten)).ok()?;
        part(&shape, &ranges, (Layout::Linear, Layout::Linear))
    }

    /// The ranges of all dimensions, where all bounds are numbers.
    fn ranges(&self, shape: &[usize], parameters: [Option<Vec<i64>>; 4]) -> Result<Vec<Range>, ShapeError> {
        let parameters = parameters.map(|p| p.map(|v| v.into_iter().map(Dim::Known).collect()));
        let mut ranges: Vec<Range> = shape.iter().map(|&count| Range { begin: 0, count, step: 1 }).collect();
        for (at, start, end, step) in self.bounds(shape.len(), &parameters)? {
            let (Some(start), Some(end)) = (start.known(), end.known()) else {
                return Err(ShapeError::new("its bounds are not numbers"));
            };
            ranges[at] = Range::of(shape[at], start, end, step)?;
        }
        Ok(ranges)
    }
}

/// The length of a slice where not everything is a number.
fn length(size: &Dim, start: &Dim, end: &Dim, step: i64) -> Result<Dim, ShapeError> {
    if let (Some(size), Some(start), Some(end)) = (size.size(), start.known(), end.known()) {
        return Ok(Range::of(size, start, end, step)?.count.into());
    }
    let (zero, far) = (Dim::Known(0), i64::from(i32::MAX));
    // An end (or start) this far out is meant as "all of it"; exporters write it so.
    let span = match (start.known(), end.known()) {
        (Some(-1), Some(end)) if step < 0 && end <= -far => size.clone(),
        _ if step < 0 => return Ok(Dim::Unknown),
        (Some(start), Some(end)) if end >= far => match start {
            0 => size.clone(),
            1.. => size.sub(&Dim::Known(start)).maximum(&zero),
            _ => size.minimum(&Dim::Known(start.saturating_neg())),
        },
        (Some(start @ 0..), Some(end)) if end < 0 => size.add(&Dim::Known(end)).sub(&Dim::Known(start)).maximum(&zero),
        (Some(0), Some(end)) => size.minimum(&Dim::Known(end)),
        // An expression is taken as a size that is not negative; with numbers in its place this is looked at again.
        (Some(0), None) => size.minimum(end),
        _ => return Ok(Dim::Unknown),
    };
    Ok(span.ceil_div(&Dim::Known(step.checked_abs().unwrap_or(i64::MAX))))
}

fn known_elements(fact: &Fact) -> Option<Vec<Dim>> {
    fact.known.clone().or_else(|| Some(fact.integers()?.into_iter().map(Dim::Known).collect()))
}

impl Operator for Slice {
    fn name(&self) -> &str {
        "Slice"
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn reads(&self, input: usize) -> Reads {
        match input {
            1..=4 => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let given = |i: usize| Fact::optional(inputs, i);
        let parameters = [1, 2, 3, 4].map(|i| given(i).and_then(known_elements));
        if self.attributes.is_none() && (1..5).any(|i| given(i).is_some() && parameters[i - 1].is_none()) {
            // Without the axes every dimension may be cut.
            let axes = parameters[2].as_ref().and_then(|a| a.iter().map(Dim::known).collect::<Option<Vec<_>>>());
            let cut = |i: usize| axes.as_ref().is_none_or(|a| a.iter().any(|&a| axis(a, x.rank()) == Some(i)));
            let shape = x.shape.iter().enumerate();
            return Ok(vec![x.with_shape(shape.map(|(i, d)| if cut(i) { Dim::Unknown } else { d.clone() }).collect())]);
        }
        let bounds = self.bounds(x.rank(), &parameters)?;
        let mut fact = x.without_content();
        for (at, start, end, step) in &bounds {
            if *step == 0 {
                return Err(ShapeError::new("a step is 0"));
            }
            fact.shape[*at] = length(&x.shape[*at], start, end, *step)?;
        }
        // A part of a shape is a shape.
        if let (Some(known), [(0, start, end, step)]) = (&x.known, bounds.as_slice())
            && let (1, Some(start), Some(end)) = (x.rank(), start.known(), end.known())
        {
            let range = Range::of(known.len(), start, end, *step)?;
            let at = |i: usize| known.get(usize::try_from(range.begin + i as i64 * range.step).ok()?).cloned();
            if let Some(part) = (0..range.count).map(at).collect::<Option<Vec<_>>>() {
                fact = if x.element_type == ElementType::I64 {
                    Fact::dims(part)
                } else {
                    Fact { known: Some(part), ..fact }
                };
            }
        }
        Ok(vec![fact])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let parameters = [inputs.list(1)?, inputs.list(2)?, inputs.list(3)?, inputs.list(4)?];
        let ranges = self.ranges(x.shape(), parameters)?;
        let strided = part(x.shape(), &ranges, (Layout::Linear, Layout::Linear))
            .ok_or_else(|| ShapeError::new("a step is too large"))?;
        Ok(vec![strided.gather(x, &strided.dims)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        request.any_storage(0)?;
        let shape = request.shape(0)?;
        let parameters = [1, 2, 3, 4].map(|i| request.optional(i).map(|o| o.fact.integers()));
        if self.attributes.is_none() && parameters.iter().any(|p| matches!(p, Some(None))) {
            return Err("its bounds are computed at run time".to_owned());
        }
        let ranges = self.ranges(&shape, parameters.map(Option::flatten)).map_err(|e| e.to_string())?;
        let mut candidates = vec![];
        for (from, to) in layouts(&shape) {
            if let Some(strided) = part(&shape, &ranges, (from, to)) {
                candidates.extend(strided.candidates(request, from, to.canonical(&request.output_shape(0)?))?);
            }
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::Tensor;
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn bounds_are_clamped_as_the_standard_says() {
        let taken = |size: usize, start: i64, end: i64, step: i64| {
            let range = Range::of(size, start, end, step).unwrap();
            (0..range.count as i64).map(|i| range.begin + i * range.step).collect::<Vec<_>>()
        };
        let (low, high) = (i64::MIN, i64::MAX);
        assert_eq!(taken(5, 1, high, 2), [1, 3]);
        assert_eq!(taken(5, -1, low, -1), [4, 3, 2, 1, 0]);
        assert_eq!(taken(5, high, low, -2), [4, 2, 0]);
        assert_eq!(taken(5, -2, high, 1), [3, 4]);
        assert_eq!(taken(5, 3, 1, 1), [] as [i64; 0]);
        assert_eq!(taken(5, 10, 20, 1), [] as [i64; 0]);
        assert_eq!(taken(5, 0, 5, high), [0]);
        assert_eq!(taken(5, 4, -6, low), [4]);
        assert_eq!(taken(0, -1, low, -1), [] as [i64; 0]);
        assert_eq!(taken(0, 0, high, 1), [] as [i64; 0]);
        // An end of -1 going down is the last index, before which there is nothing.
        assert_eq!(taken(5, 4, -1, -1), [] as [i64; 0]);
        assert!(Range::of(5, 0, 5, 0).is_err());
    }

    #[test]
    fn lengths_follow_symbols_and_shapes_stay_known() {
        let h = Dim::symbol("h");
        let x = Fact::new(ElementType::F32, [Dim::Known(1), h.clone()]);
        let slice = Slice { attributes: None };
        let one = |n: i64| Fact::dims(vec![Dim::Known(n)]);
        let shape = |start: i64, end: Fact, step: i64| {
            let (start, axes, step) = (one(start), one(1), one(step));
            slice.infer(&[Some(&x), Some(&start), Some(&end), Some(&axes), Some(&step)]).unwrap()[0].shape[1]
                .to_string()
        };
        assert_eq!(shape(0, one(i64::MAX), 1), "h");
        assert_eq!(shape(0, one(i64::MAX), 2), "⌈h / 2⌉");
        assert_eq!(shape(2, one(i64::MAX), 1), "max((h - 2), 0)");
        assert_eq!(shape(0, one(-1), 1), "max((h - 1), 0)");
        assert_eq!(shape(-1, one(i64::MIN), -1), "h");
        assert_eq!(shape(0, Fact::dims(vec![h.clone()]), 1), "h");
        let dims = Fact::dims(vec![Dim::Known(1), h.clone(), Dim::Known(7)]);
        let part = slice.infer(&[Some(&dims), Some(&one(1)), Some(&one(3))]).unwrap();
        assert_eq!(part[0].known, Some(vec![h, Dim::Known(7)]));
    }

    #[test]
    fn contradictions_are_refused() {
        let slice = |starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]| {
            let x = Fact::new(ElementType::F32, [4usize, 4]);
            let parameters = [starts, ends, axes, steps].map(|v| Fact::constant(Tensor::vector(v.to_vec())));
            let mut inputs = vec![Some(&x)];
            inputs.extend(parameters.iter().map(Some));
            Slice { attributes: None }.infer(&inputs)
        };
        assert!(slice(&[0], &[1], &[0], &[1]).is_ok());
        assert!(slice(&[0], &[1], &[0], &[0]).is_err());
        assert!(slice(&[0], &[1], &[2], &[1]).is_err());
        assert!(slice(&[0, 0], &[1, 1], &[0, -2], &[1, 1]).is_err());
        assert!(slice(&[0], &[1, 1], &[0], &[1]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn gpu_and_reference_agree(
            dims in prop::collection::vec(
                (prop::sample::select(vec![0usize, 1, 2, 3, 4, 5, 8, 13]), -9i64..9, prop::sample::select(vec![-9i64, -3, 0, 1, 4, 8, i64::MAX, i64::MIN]),
                 prop::sample::select(vec![1i64, 1, 2, 3, -1, -2])), 1..5),
        ) {
            let shape: Vec<usize> = dims.iter().map(|d| d.0).collect();
            let x: Vec<f32> = (0..shape.iter().product()).map(|i| (i % 2048) as f32).collect();
            let column = |f: fn(&(usize, i64, i64, i64)) -> i64| Input::Constant(Tensor::vector(dims.iter().map(f).collect()));
            let axes = Input::Constant(Tensor::vector((0..dims.len() as i64).collect()));
            let inputs =
                [Input::Run(Tensor::new(shape, x).unwrap()), column(|d| d.1), column(|d| d.2), axes, column(|d| d.3)];
            try_check(&Slice { attributes: None }, &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}
