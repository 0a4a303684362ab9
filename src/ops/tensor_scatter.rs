//! TensorScatter (ONNX opset 24): a cache of keys or values, with new ones written at each batch's own place.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::shape::{axis, elements};
use crate::tensor::{ElementType, Tensor};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// Writes an update into a cache. Inputs: the cache `[batch, …, size, …]`, the update `[batch, …, length, …]`, and for each
/// batch the place where it begins (0 where there is no such input).
#[derive(Debug, Clone, PartialEq)]
pub struct TensorScatter {
    axis: i64,
    /// Places beyond the end go on at the beginning.
    circular: bool,
    /// The dimension of batches.
    batch: usize,
    /// Where the first input is a part of a cache, the place in the cache where it begins: what belongs elsewhere is left out.
    part: Option<usize>,
}

pub(super) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let circular = match d.string("mode")?.as_deref() {
        None | Some("linear") => false,
        Some("circular") => true,
        Some(other) => {
            return Err(DefinitionError::Value("mode", format!("is '{other}'; there are linear and circular")));
        }
    };
    Ok(Arc::new(TensorScatter { axis: d.int("axis")?.unwrap_or(-2), circular, batch: 0, part: None }))
}

impl TensorScatter {
    fn axis(&self, rank: usize) -> Result<usize, ShapeError> {
        let at = axis(self.axis, rank).filter(|&at| at != self.batch && self.batch < rank);
        at.ok_or_else(|| ShapeError::new(format!("axis {} is none of the {rank} behind the batch", self.axis)))
    }

    /// Where a row of an update that begins at a place goes, if it goes anywhere.
    fn place(&self, start: i64, row: usize, [size, length]: [usize; 2]) -> Result<Option<usize>, ShapeError> {
        let [all, own, begin] = [size, row, self.part.unwrap_or(0)].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        if self.circular {
            return Ok(usize::try_from(start.rem_euclid(all.max(1)).saturating_add(own) % all.max(1)).ok());
        }
        let place = usize::try_from(start.saturating_add(own).saturating_sub(begin)).ok().filter(|&place| place < size);
        let last = size.checked_sub(length).and_then(|last| i64::try_from(last).ok());
        if self.part.is_none() && (start < 0 || last.is_none_or(|last| start > last)) {
            return Err(ShapeError::new("an update reaches beyond the cache"));
        }
        Ok(place)
    }

    /// The same for a part of a cache that begins at a place, the axis being outermost. `None` where it is another axis than
    /// this, or none that can be divided.
    pub fn outermost(&self, rank: usize, along: usize, begin: usize) -> Option<Self> {
        let whole = !self.circular && self.batch == 0 && self.part.is_none() && self.axis(rank).ok()? == along;
        whole.then_some(Self { axis: 0, circular: false, batch: 1, part: Some(begin) })
    }
}

impl Operator for TensorScatter {
    fn name(&self) -> &str {
        "TensorScatter"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, update) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let at = self.axis(x.rank())?;
        let fits = |(i, (own, new)): (usize, (&crate::graph::Dim, &crate::graph::Dim))| {
            own.known()
                .zip(new.known())
                .is_none_or(|(own, new)| if i == at { new <= own || self.part.is_some() } else { own == new })
        };
        if update.element_type != x.element_type
            || update.rank() != x.rank()
            || !x.shape.iter().zip(&update.shape).enumerate().all(fits)
        {
            return Err(ShapeError::new(format!("{update} does not fit into {x} along axis {at}")));
        }
        if let Some(starts) = Fact::optional(inputs, 2) {
            let fits = matches!(starts.shape.as_slice(), [n] if n.known().zip(x.shape[self.batch].known()).is_none_or(|(a, b)| a == b));
            if !fits || !matches!(starts.element_type, ElementType::I64 | ElementType::I32) {
                return Err(ShapeError::new(format!("the places {starts} are not one for each batch of {x}")));
            }
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, update) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let at = self.axis(x.rank())?;
        if x.is_empty() {
            return Ok(vec![x.clone().into()]);
        }
        let (size, length) = (x.shape()[at], update.shape().get(at).copied().unwrap_or(0));
        let bytes = x.element_type().size();
        let behind = |dim: usize| x.shape()[dim + 1..].iter().product::<usize>() * bytes;
        // What lies side by side at one place, and what of it is one batch.
        let (inner, batch) = (behind(at), behind(self.batch));
        let outer: usize = x.shape()[..at].iter().product();
        let batches = x.shape()[self.batch];
        let starts = inputs.integers(2)?.unwrap_or_else(|| vec![0; batches]);
        let fits = length <= size || self.part.is_some();
        if starts.len() != batches || !fits || update.bytes().len() != outer * length * inner {
            return Err(ShapeError::new("cache, update and places do not belong together").into());
        }
        let mut all = x.bytes().to_vec();
        let chunk = inner.min(batch);
        for (o, at) in (0..outer).flat_map(|o| (0..inner).step_by(chunk.max(1)).map(move |at| (o, at))) {
            let start = starts[(o * size * inner + at) / batch % batches];
            for s in 0..length {
                let Some(place) = self.place(start, s, [size, length])? else { continue };
                let (to, from) = ((o * size + place) * inner + at, (o * length + s) * inner + at);
                all[to..to + chunk].copy_from_slice(&update.bytes()[from..from + chunk]);
            }
        }
        Ok(vec![Tensor::from_bytes(x.element_type(), x.shape().to_vec(), all.into())?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (shape, update) = (request.shape(0)?, request.shape(1)?);
        let at = self.axis(shape.len()).map_err(|e| e.to_string())?;
        let count = elements(&shape).filter(|&n| i32::try_from(n).is_ok());
        let count = count.ok_or("it has more elements than a shader can count")?;
        let wants = vec![Want::In(Layout::Linear); request.inputs.len()];
        let candidate = Candidate::new("elements", wants, vec![Layout::Linear]);
        if count == 0 {
            return Ok(vec![candidate]);
        }
        let inner: usize = shape[at + 1..].iter().product();
        let all = self.dispatch(request, [count, inner, shape[at], update[at]], false)?;
        let mut candidate = candidate.dispatch(all).in_place(0).cost(10.0 * count as f64, 8.0 * count as f64);
        let added = elements(&update).ok_or("its update is too large")?;
        let batch: usize = shape[self.batch + 1..].iter().product();
        if inner.is_multiple_of(4) && batch.is_multiple_of(4) && added > 0 {
            let rows = self.dispatch(request, [count, inner, shape[at], update[at]], true)?;
            candidate.instead.push((0, rows));
        }
        Ok(vec![candidate])
    }
}

impl TensorScatter {
    /// The whole result; or with `rows` what is new of it alone, written into the cache.
    fn dispatch(
        &self,
        request: &Request<'_>,
        [count, inner, size, length]: [usize; 4],
        rows: bool,
    ) -> Result<Dispatch, String> {
        let starts = request.optional(2).is_some();
        let kernel = Kernel::of("shape/tensor_scatter.wgsl")
            .define("WORKGROUP", WORKGROUP)
            .define("STARTS", starts)
            .define("CIRCULAR", self.circular)
            .define("ROWS", rows);
        let mut dispatch = Dispatch::of(kernel);
        for i in usize::from(rows)..2 {
            dispatch = dispatch.bind(Binding::Input(i), request.any_storage(i)?);
        }
        if starts {
            dispatch = dispatch.bind(Binding::Input(2), request.index_storage(2)?);
        }
        let shape = request.shape(0)?;
        let (batches, batch) = (shape[self.batch], shape[self.batch + 1..].iter().product::<usize>());
        let begin = i32::try_from(self.part.unwrap_or(0)).map_err(|_| "it begins too far behind")?;
        let unit = if rows { 4 } else { 1 };
        let units = if rows { count / size.max(1) * length / 4 } else { count.div_ceil(4) };
        Ok(dispatch
            .bind(Binding::Output(0), request.any_output_storage(0)?)
            .param("units", units)
            .param("elements", count)
            .param("size", size)
            .param("length", length)
            .param("inner", inner / unit)
            .param("batch", batch / unit)
            .param("batches", batches)
            .param("begin", begin)
            .linear(units as u64, WORKGROUP, request.device))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn places_go_on_at_the_beginning() {
        let x = Value::from(Tensor::new([1, 3, 1], vec![1f32, 2.0, 3.0]).unwrap());
        let update = Value::from(Tensor::new([1, 2, 1], vec![8f32, 9.0]).unwrap());
        let run = |mode: &str, start: i64| {
            let start = Value::from(Tensor::vector(vec![start]));
            let operator = make(&Definition::new("").attribute("mode", mode)).unwrap();
            operator.evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(&update), Some(&start)]))
        };
        let tensor = |v: [f32; 3]| Value::from(Tensor::new([1, 3, 1], v.to_vec()).unwrap());
        assert_eq!(run("linear", 1).unwrap(), [tensor([1.0, 8.0, 9.0])]);
        assert_eq!(run("circular", 2).unwrap(), [tensor([9.0, 2.0, 8.0])]);
        assert_eq!(run("circular", -1).unwrap(), [tensor([9.0, 2.0, 8.0])]);
        assert!(run("linear", 2).is_err() && run("linear", -1).is_err());
        assert!(make(&Definition::new("").attribute("mode", "square")).is_err());
        let fact = Fact::new(ElementType::F32, [2usize, 3]);
        let first = TensorScatter { axis: 0, circular: false, batch: 0, part: None };
        assert!(first.infer(&[Some(&fact), Some(&fact)]).is_err());
        let last = TensorScatter { axis: 0, circular: false, batch: 2, part: Some(0) };
        assert!(last.infer(&[Some(&fact), Some(&fact)]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn gpu_and_reference_agree(
            shape in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 5]), 2..5), at in any::<prop::sample::Index>(),
            length in 0usize..6, starts in prop::option::of(0i32..9), circular: bool,
        ) {
            let at = 1 + at.index(shape.len() - 1);
            let mut part = shape.clone();
            part[at] = part[at].min(length);
            let free = shape[at] - part[at];
            let numbers = |shape: &[usize], from: f32| {
                Tensor::new(shape, (0..shape.iter().product()).map(|i| from + i as f32).collect()).unwrap()
            };
            let mut inputs = vec![Input::Run(numbers(&shape, 0.0)), Input::Run(numbers(&part, 1000.0))];
            if let Some(start) = starts {
                let own = |b: i32| if circular { start - 4 * b } else { (start + b) % (free as i32 + 1) };
                inputs.push(Input::Run(Tensor::vector((0..shape[0] as i32).map(own).collect())));
            }
            let operator = TensorScatter { axis: at as i64, circular, batch: 0, part: None };
            try_check(&operator, &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }

        #[test]
        fn parts_take_what_is_theirs(
            before in 0usize..6, added in 0usize..4, length in 0usize..6, inner in 1usize..10, starts in prop::collection::vec(-2i32..8, 1..4),
        ) {
            let batches = starts.len();
            let numbers = |shape: &[usize], from: f32| {
                Tensor::new(shape, (0..shape.iter().product()).map(|i| from + i as f32).collect()).unwrap()
            };
            let whole = TensorScatter { axis: -2, circular: false, batch: 0, part: None };
            prop_assert!(whole.outermost(3, 0, 0).is_none());
            for (begin, size) in [(0, before), (before, added)] {
                let operator = whole.outermost(3, 1, begin).unwrap();
                let shapes = [size, length].map(|n| [n, batches, inner]);
                let inputs = [numbers(&shapes[0], 0.0), numbers(&shapes[1], 1000.0), Tensor::vector(starts.clone())];
                try_check(&operator, &inputs.clone().map(Input::Run), Tolerance::EXACT).map_err(TestCaseError::fail)?;
                let [x, update, places] = inputs.map(Value::from);
                let y = operator.evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(&update), Some(&places)]));
                let y = y.unwrap().remove(0).into_tensor().unwrap().to_f64();
                for (i, y) in y.into_iter().enumerate() {
                    let row = (begin + i / (batches * inner)) as i32 - starts[i / inner % batches];
                    let written = usize::try_from(row).ok().filter(|&row| row < length);
                    let at = |row: usize| 1000 + row * batches * inner + i % (batches * inner);
                    prop_assert_eq!(y, written.map_or(i, at) as f64);
                }
            }
        }
    }
}
