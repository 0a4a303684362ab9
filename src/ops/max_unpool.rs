//! MaxUnpool (ONNX opsets 9, 11 and 22): the maxima that MaxPool found, put back where they were, zeros elsewhere.
//!
//! The indices count the elements of the whole result as the pool's attributes give its shape; a larger `output_shape` is
//! filled up with zeros, as the standard's reference has it.

use std::sync::Arc;

use super::window::Window;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::{ElementType, Tensor, shape};

/// Maxima put back.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxUnpool {
    window: Window,
}

/// Makes a MaxUnpool.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let window = Window::from_definition(definition)?;
    if window.kernel.is_empty() {
        return Err(DefinitionError::Missing("kernel_shape"));
    }
    Ok(Arc::new(MaxUnpool { window }))
}

impl MaxUnpool {
    /// The shape in which the indices count.
    fn inner(&self, x: &[Dim]) -> Result<Vec<Dim>, ShapeError> {
        if x.len() < 3 {
            return Err(ShapeError::new("it takes [N, C, spatial…]"));
        }
        self.window.check_rank(x.len() - 2)?;
        let mut y = x[..2].to_vec();
        for (i, (&kernel, size)) in self.window.kernel.iter().zip(&x[2..]).enumerate() {
            let (before, after) = self.window.padding(i);
            let spread = size.sub(&Dim::Known(1)).mul(&Dim::from(self.window.stride(i)));
            let length = spread.add(&Dim::from(kernel)).sub(&Dim::from(before + after));
            if length.known().is_some_and(|n| n < 0) {
                return Err(ShapeError::new("the pads are larger than the result"));
            }
            y.push(length);
        }
        Ok(y)
    }

    /// The result's shape, from the one that is asked for, if one is.
    fn outer(inner: Vec<Dim>, asked: Option<Vec<Dim>>) -> Result<Vec<Dim>, ShapeError> {
        let Some(asked) = asked else { return Ok(inner) };
        let holds = |(outer, inner): (&Dim, &Dim)| outer.known().zip(inner.known()).is_none_or(|(a, b)| a >= b);
        if asked.len() != inner.len() || !asked.iter().zip(&inner).all(holds) {
            return Err(ShapeError::new("output_shape does not hold the result"));
        }
        Ok(asked)
    }

    fn numbers(&self, x: &[usize]) -> Result<Vec<usize>, ShapeError> {
        let dims: Vec<Dim> = x.iter().map(|&n| Dim::from(n)).collect();
        let inner: Option<Vec<usize>> = self.inner(&dims)?.iter().map(Dim::size).collect();
        inner.ok_or_else(|| ShapeError::new("the result is too large"))
    }
}

impl Operator for MaxUnpool {
    fn name(&self) -> &str {
        "MaxUnpool"
    }

    fn reads(&self, input: usize) -> Reads {
        if input == 2 { Reads::Parameter } else { Reads::Elements }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, indices) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?);
        let agree = |(a, b): (&Dim, &Dim)| a.known().zip(b.known()).is_none_or(|(a, b)| a == b);
        let alike = indices.rank() == x.rank() && indices.shape.iter().zip(&x.shape).all(agree);
        if !alike || !matches!(indices.element_type, ElementType::I64 | ElementType::I32) {
            return Err(ShapeError::new(format!("indices {indices} do not go with {x}")));
        }
        if !x.element_type.is_float() && !x.element_type.is_integer() {
            return Err(ShapeError::new(format!("it takes numbers, not {x}")));
        }
        let inner = self.inner(&x.shape)?;
        let asked = Fact::optional(inputs, 2).map(|asked| match (&asked.known, asked.integers()) {
            (Some(known), _) => known.clone(),
            (None, Some(sizes)) => sizes.into_iter().map(Dim::Known).collect(),
            (None, None) => vec![Dim::Unknown; inner.len()],
        });
        Ok(vec![x.with_shape(Self::outer(inner, asked)?)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let (x, indices) = (inputs.tensor(0)?, inputs.integers(1)?.unwrap_or_default());
        let inner = self.numbers(x.shape())?;
        let dims = |sizes: Vec<i64>| sizes.into_iter().map(Dim::Known).collect::<Vec<_>>();
        let asked = inputs.list(2)?.map(dims);
        let outer = Self::outer(inner.iter().map(|&n| Dim::from(n)).collect(), asked)?;
        let outer: Option<Vec<usize>> = outer.iter().map(Dim::size).collect();
        let outer = outer.ok_or_else(|| ShapeError::new("a size is too large"))?;
        let (element_type, size) = (x.element_type(), x.element_type().size());
        let count = Tensor::bounded(element_type, &inner)?;
        let mut out = vec![0u8; Tensor::bounded(element_type, &outer)? * size];
        if indices.len() != x.len() {
            return Err(ShapeError::new("there are not as many indices as maxima").into());
        }
        for (&index, element) in indices.iter().zip(x.bytes().chunks(size.max(1))) {
            let at = usize::try_from(index).ok().filter(|&i| i < count);
            let mut rest = at.ok_or_else(|| ShapeError::new(format!("index {index} is not below {count}")))?;
            let (mut to, mut stride) = (0, 1);
            for (&inner, &outer) in inner.iter().zip(&outer).rev() {
                to += rest % inner * stride;
                rest /= inner;
                stride *= outer;
            }
            out[to * size..(to + 1) * size].copy_from_slice(element);
        }
        Ok(vec![Tensor::from_bytes(element_type, outer, out.into())?.into()])
    }

    /// Three dispatches: nobody owns an element of the result, the last maximum with its index owns it, it takes its owner's
    /// value.
    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let (x, y) = (request.shape(0)?, request.output_shape(0)?);
        let inner = self.numbers(&x).map_err(|e| e.to_string())?;
        let small =
            |s: &[usize]| shape::elements(s).filter(|&n| n < 1 << 30).ok_or("it is too large for 32-bit indices");
        let (maxima, elements, places) = (small(&x)?, small(&y)?, small(&inner)?);
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        wants[..2].fill(Want::In(Layout::Linear));
        let mut candidate = Candidate::new("owners", wants, vec![Layout::Linear]);
        if elements == 0 {
            return Ok(vec![candidate]);
        }
        if x.contains(&0) {
            return Err("its input is empty, its output is not".to_owned());
        }
        if inner.len() > RANK {
            return Err(format!("its kernel takes {RANK} dimensions"));
        }
        let kernel = |shader| Kernel::of(shader).define("WORKGROUP", WORKGROUP);
        let units = places.div_ceil(4).max(1);
        let clear = Dispatch::of(kernel("shape/fill.wgsl"))
            .bind(Binding::Scratch(0), Storage::I32)
            .param("units", units)
            .param("value", -1i32)
            .linear(units as u64, WORKGROUP, request.device);
        let own = Dispatch::of(kernel("shape/owners.wgsl"))
            .bind(Binding::Input(1), request.index_storage(1)?)
            .bind(Binding::Scratch(0), Storage::I32)
            .param("elements", maxima)
            .param("places", places)
            .linear(maxima as u64, WORKGROUP, request.device);
        let mut take = Dispatch::of(kernel("shape/owned.wgsl").define("RANK", RANK as i64))
            .bind(Binding::Input(0), request.any_storage(0)?)
            .bind(Binding::Scratch(0), Storage::I32)
            .bind(Binding::Output(0), request.any_output_storage(0)?)
            .param("units", elements.div_ceil(4))
            .param("elements", elements);
        for (i, (size, length)) in NAMES.into_iter().enumerate() {
            let at = |dims: &[usize]| dims.iter().rev().nth(i).copied().unwrap_or(1);
            take = take.param(size, at(&y)).param(length, at(&inner));
        }
        candidate.scratch.push((units as u64, Storage::I32));
        let take = take.linear(elements.div_ceil(4) as u64, WORKGROUP, request.device);
        let candidate = candidate.dispatch(clear).dispatch(own).dispatch(take);
        Ok(vec![candidate.cost(0.0, (elements * 20 + maxima * 8) as f64)])
    }
}

const WORKGROUP: u32 = 64;

/// Dimensions in the kernel.
const RANK: usize = 5;

/// The names of the parameters of each dimension, innermost first: of the result, and of the shape that the indices count in.
const NAMES: [(&str, &str); RANK] =
    [("size0", "inner0"), ("size1", "inner1"), ("size2", "inner2"), ("size3", "inner3"), ("size4", "inner4")];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, try_check};

    fn pooled(kernel: &[i64], strides: &[i64]) -> Arc<dyn Operator> {
        let d = Definition::new("MaxUnpool").attribute("kernel_shape", kernel.to_vec());
        make(&d.attribute("strides", strides.to_vec())).unwrap()
    }

    #[test]
    fn maxima_go_back_and_a_larger_result_is_filled_up() {
        let run = |indices: [i64; 2], asked: Option<[i64; 3]>| {
            let x = Value::from(Tensor::new([1, 1, 2], vec![5f32, 7.0]).unwrap());
            let indices = Value::from(Tensor::new([1, 1, 2], indices.to_vec()).unwrap());
            let asked = asked.map(|s| Value::from(Tensor::vector(s.to_vec())));
            let y = pooled(&[2], &[2])
                .evaluate(&mut Context::default(), Inputs(&[Some(&x), Some(&indices), asked.as_ref()]))?;
            Ok::<_, EvaluateError>(y[0].as_tensor().unwrap().to_f64())
        };
        assert_eq!(run([1, 2], None).unwrap(), [0.0, 5.0, 7.0, 0.0]);
        // The last of two at one place stays.
        assert_eq!(run([3, 3], None).unwrap(), [0.0, 0.0, 0.0, 7.0]);
        assert_eq!(run([1, 2], Some([1, 1, 5])).unwrap(), [0.0, 5.0, 7.0, 0.0, 0.0]);
        assert!(run([1, 4], None).is_err());
        assert!(run([1, -1], None).is_err());
        assert!(run([1, 2], Some([1, 1, 3])).is_err());
        assert!(run([1, 2], Some([1, 1, i64::MAX])).is_err());
        assert!(make(&Definition::new("MaxUnpool")).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_kernels_agree_with_the_reference(
            (n, c) in (0usize..=2, 1usize..=3),
            axes in prop::collection::vec((1usize..=4, 1i64..=3, 1i64..=3, 0i64..=2), 1..=3),
            (larger, seed) in (any::<bool>(), 0usize..1000),
        ) {
            let operator = pooled(
                &axes.iter().map(|a| a.1).collect::<Vec<_>>(), &axes.iter().map(|a| a.2).collect::<Vec<_>>(),
            );
            let x: Vec<_> = [n, c].into_iter().chain(axes.iter().map(|a| a.0)).collect();
            let inner: Vec<i64> =
                [n as i64, c as i64].into_iter().chain(axes.iter().map(|a| (a.0 as i64 - 1) * a.2 + a.1)).collect();
            let (count, places) = (x.iter().product::<usize>(), inner.iter().product::<i64>() as usize);
            // Some places have several maxima.
            let index = |i: usize| ((i * 7919 + seed) * 31 % places.max(1)) as i64;
            let indices = Tensor::new(x.clone(), (0..count).map(index).collect()).unwrap();
            let x = Tensor::new(x, (0..count).map(|i| i as f32 + 1.0).collect()).unwrap();
            let mut inputs = vec![Input::Run(x), Input::Run(indices)];
            if larger {
                let more = [0, 0].into_iter().chain(axes.iter().map(|a| a.3));
                inputs.push(Input::Constant(Tensor::vector(inner.iter().zip(more).map(|(a, b)| a + b).collect())));
            }
            try_check(&*operator, &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}
