//! Col2Im (ONNX opset 18): columns of blocks added into a picture, the inverse order of what a convolution sees.
//!
//! `y[n, c, q] = Σ x[n, c · block + k, p]` over all elements k of a block and all blocks p with p·stride − pad + k·dilation = q.

use std::sync::Arc;

use super::conv::axis_params;
use super::window::{Axis, Window, three};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::{Tensor, shape};

/// Blocks added into a picture.
///
/// Inputs: x `[N, C · block, blocks]`, the picture's size, the block's size.
#[derive(Debug, Clone, PartialEq)]
pub struct Col2Im {
    window: Window,
}

/// Makes a Col2Im.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Col2Im { window: Window::from_definition(definition)? }))
}

/// No size may be larger.
const LARGEST: i64 = 1 << 24;

fn sizes(values: &[i64]) -> Result<Vec<usize>, ShapeError> {
    let size = |&n: &i64| usize::try_from(n).ok().filter(|_| (1..=LARGEST).contains(&n));
    let all: Option<Vec<usize>> = values.iter().map(size).collect();
    all.ok_or_else(|| ShapeError::new(format!("{values:?} are no sizes from 1 to {LARGEST}")))
}

impl Col2Im {
    /// The axes, the picture in the place of a convolution's input, and the elements of a block.
    fn axes(&self, picture: &[i64], block: &[i64]) -> Result<(Vec<Axis>, usize), ShapeError> {
        if picture.is_empty() || picture.len() > 8 || picture.len() != block.len() {
            return Err(ShapeError::new(format!("blocks {block:?} do not go with a picture {picture:?}")));
        }
        let block = sizes(block)?;
        let taps = shape::elements(&block).ok_or_else(|| ShapeError::new("its blocks are too large"))?;
        Ok((self.window.axes(&sizes(picture)?, &block)?, taps))
    }

    /// Checks the input's shape, and gives the channels.
    fn channels(x: &[Dim], axes: &[Axis], taps: usize) -> Result<Dim, ShapeError> {
        let blocks = axes.iter().fold(Dim::Known(1), |n, axis| n.mul(&Dim::from(axis.output)));
        let fits = x[2].known().zip(blocks.known()).is_none_or(|(a, b)| a == b);
        if !fits || x[1].size().is_some_and(|c| c % taps != 0) {
            let message = format!("columns [{}, {}] are not those of {blocks} blocks of {taps} elements", x[1], x[2]);
            return Err(ShapeError::new(message));
        }
        Ok(x[1].floor_div(&Dim::from(taps)))
    }
}

impl Operator for Col2Im {
    fn name(&self) -> &str {
        "Col2Im"
    }

    fn reads(&self, input: usize) -> Reads {
        if input > 0 { Reads::Parameter } else { Reads::Elements }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (x, picture, block) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?, Fact::at(inputs, 2)?);
        if x.rank() != 3 || !(x.element_type.is_float() || x.element_type.is_integer()) {
            return Err(ShapeError::new(format!("it takes numbers in columns [N, C · block, blocks], not {x}")));
        }
        let mut y = vec![x.shape[0].clone()];
        match (picture.integers(), block.integers()) {
            (Some(picture), Some(block)) => {
                let (axes, taps) = self.axes(&picture, &block)?;
                y.push(Self::channels(&x.shape, &axes, taps)?);
                y.extend(picture.into_iter().map(Dim::Known));
            }
            (Some(picture), None) => {
                y.push(Dim::Unknown);
                y.extend(picture.into_iter().map(Dim::Known));
            }
            // Not even the rank may be known.
            _ => match picture.count()? {
                Some(rank) => y.extend(vec![Dim::Unknown; rank + 1]),
                None => return Ok(vec![]),
            },
        }
        if y.iter().any(|d| d.known().is_some_and(|n| n < 0)) {
            return Err(ShapeError::new("a size is negative"));
        }
        Ok(vec![x.with_shape(y)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let list =
            |i: usize| Ok::<_, EvaluateError>(inputs.list(i)?.ok_or_else(|| ShapeError::new("a size is missing"))?);
        let (axes, taps) = self.axes(&list(1)?, &list(2)?)?;
        let dims: Vec<Dim> = x.shape().iter().map(|&n| Dim::from(n)).collect();
        if dims.len() != 3 {
            return Err(ShapeError::new("its columns have no three dimensions").into());
        }
        let channels = Self::channels(&dims, &axes, taps)?.size().unwrap_or(0);
        let spatial: Vec<usize> = axes.iter().map(|a| a.input).collect();
        let y = [vec![x.shape()[0], channels], spatial.clone()].concat();
        let count = Tensor::bounded(x.element_type(), &y)?;
        let (values, mut out) = (x.to_f64(), vec![0f64; count]);
        let (blocks, strides) = (x.shape()[2], shape::strides(&spatial));
        let volume: usize = spatial.iter().product();
        for (row, columns) in values.chunks(blocks.max(1)).enumerate() {
            let (map, tap) = (row / taps, row % taps);
            for (p, v) in columns.iter().enumerate() {
                // The element of the picture that this one is added to, if it is inside.
                let (mut k, mut o, mut to) = (tap, p, Some(0usize));
                for (axis, stride) in axes.iter().zip(&strides).rev() {
                    let at = (o % axis.output * axis.stride + k % axis.kernel * axis.dilation).checked_sub(axis.before);
                    to = to.zip(at.filter(|&at| at < axis.input)).map(|(to, at)| to + at * stride);
                    (k, o) = (k / axis.kernel, o / axis.output);
                }
                if let Some(to) = to {
                    out[map * volume + to] += v;
                }
            }
        }
        Ok(vec![Tensor::from_f64(x.element_type(), y, out)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let known =
            |i: usize| request.input(i)?.fact.integers().ok_or_else(|| "its sizes are computed at run time".to_owned());
        let (axes, taps) = self.axes(&known(1)?, &known(2)?).map_err(|e| e.to_string())?;
        let (x, y) = (request.shape(0)?, request.output_shape(0)?);
        let wants = vec![Want::In(Layout::Linear), Want::Nothing, Want::Nothing];
        let candidate = Candidate::new("gather", wants, vec![Layout::Linear]);
        let small =
            |s: &[usize]| shape::elements(s).filter(|&n| n < 1 << 30).ok_or("it is too large for 32-bit indices");
        let (_, elements) = (small(&x)?, small(&y)?);
        if elements == 0 {
            return Ok(vec![candidate]);
        }
        if x.contains(&0) {
            return Err("its input is empty".to_owned());
        }
        let axes = three(&axes).ok_or("its kernel takes up to three spatial axes")?;
        let units = elements.div_ceil(4);
        let dispatch = Dispatch::of(Kernel::of("conv/blocks.wgsl").define("WORKGROUP", WORKGROUP))
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Output(0), request.output_storage(0)?)
            .param("units", units)
            .param("elements", elements);
        let dispatch = axis_params(dispatch, &axes).linear(units as u64, WORKGROUP, request.device);
        let elements = elements as f64;
        Ok(vec![candidate.dispatch(dispatch).cost(elements * taps as f64 * 10.0, elements * 8.0)])
    }

    fn work(&self, inputs: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        // Each element of either.
        let elements = |f: &Fact| f.concrete().map_or(0.0, |s| s.iter().map(|&d| d as f64).product::<f64>());
        inputs.first().copied().flatten().map_or(0.0, elements) + outputs.first().map_or(0.0, elements)
    }
}

const WORKGROUP: u32 = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn blocks_overlap_where_they_add_up() {
        let lists = |v: &[i64]| Tensor::vector(v.to_vec());
        // Two blocks of two by one above each other in a picture of three by one.
        let x = Tensor::new([1, 2, 2], vec![1i32, 2, 3, 4]).unwrap();
        let run = |d: &Definition, x: &Tensor, picture: &[i64], block: &[i64]| {
            let inputs = [x.clone(), lists(picture), lists(block)].map(Value::from);
            let inputs = inputs.each_ref().map(Some);
            let y = make(d).unwrap().evaluate(&mut Context::default(), Inputs(&inputs))?;
            Ok::<_, EvaluateError>(y[0].as_tensor().unwrap().to_f64())
        };
        let plain = Definition::new("Col2Im");
        assert_eq!(run(&plain, &x, &[3, 1], &[2, 1]).unwrap(), [1.0, 5.0, 4.0]);
        // Four blocks of which the outer ones lie half in the padding.
        let x = Tensor::new([1, 2, 4], vec![1i32, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(run(&plain.clone().attribute("pads", [1, 1]), &x, &[3], &[2]).unwrap(), [7.0, 9.0, 11.0]);
        assert!(run(&plain, &x, &[3], &[2]).is_err());
        assert!(run(&plain, &x, &[-3], &[2]).is_err());
        assert!(run(&plain, &x, &[i64::MAX], &[i64::MAX]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        // Sums of at most 64 numbers up to 1.
        #[test]
        fn the_kernel_agrees_with_the_reference(
            (n, c) in (0usize..=2, 0usize..=3),
            axes in prop::collection::vec((1usize..=7, 1usize..=4, 1usize..=3, 1usize..=2, 0usize..=1), 1..=3),
        ) {
            let picture: Vec<i64> = axes.iter().map(|&(n, k, _, d, _)| n.max((k - 1) * d + 1) as i64).collect();
            let list = |f: fn(&(usize, usize, usize, usize, usize)) -> usize| axes.iter().map(|a| f(a) as i64).collect::<Vec<_>>();
            let d = Definition::new("Col2Im").attribute("strides", list(|a| a.2)).attribute("dilations", list(|a| a.3));
            let d = d.attribute("pads", [list(|a| a.4), list(|a| a.4)].concat());
            let blocks: usize = axes.iter().zip(&picture)
                .map(|(&(_, k, s, d, p), &n)| (n as usize + 2 * p - (k - 1) * d - 1) / s + 1).product();
            let shape = vec![n, c * axes.iter().map(|a| a.1).product::<usize>(), blocks];
            let x = (0..shape.iter().product()).map(|i: usize| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect();
            let x = Input::Run(Tensor::new(shape, x).unwrap());
            let constant = |v| Input::Constant(Tensor::vector(v));
            try_check(&*make(&d).unwrap(), &[x, constant(picture), constant(list(|a| a.1))], Tolerance::relative(4e-6))
                .map_err(TestCaseError::fail)?;
        }
    }
}
