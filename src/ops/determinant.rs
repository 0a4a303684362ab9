//! Det (ONNX opset 11): the determinants of square matrices, by elimination with pivots.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::Tensor;
use crate::tensor::shape::elements;

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;
/// One invocation eliminates a whole matrix: larger ones would keep the device from answering.
const LARGEST: usize = 128;

/// Determinants of the matrices in the last two dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Determinant;

#[expect(clippy::unnecessary_wraps, reason = "all constructors have this form")]
pub(super) fn make(_: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(Determinant))
}

/// The determinant of a matrix of `n` rows.
fn determinant(m: &mut [f64], n: usize) -> f64 {
    let mut product = 1.0;
    for c in 0..n {
        let Some(pivot) = (c..n).max_by(|&a, &b| m[a * n + c].abs().total_cmp(&m[b * n + c].abs())) else { continue };
        if pivot != c {
            (0..n).for_each(|j| m.swap(pivot * n + j, c * n + j));
            product = -product;
        }
        let own = m[c * n + c];
        product *= own;
        if own == 0.0 {
            return product;
        }
        for r in c + 1..n {
            let factor = m[r * n + c] / own;
            (c..n).for_each(|j| m[r * n + j] -= factor * m[c * n + j]);
        }
    }
    product
}

impl Operator for Determinant {
    fn name(&self) -> &str {
        "Det"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let [batch @ .., rows, columns] = &x.shape[..] else {
            return Err(ShapeError::new(format!("its input is {x}, which holds no matrices")));
        };
        if !x.element_type.is_float() || rows.known().zip(columns.known()).is_some_and(|(r, c)| r != c) {
            return Err(ShapeError::new(format!("its input is {x}, which holds no square matrices of numbers")));
        }
        Ok(vec![x.with_shape(batch.to_vec())])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let [batch @ .., n, columns] = x.shape() else { return Err(ShapeError::new("it takes matrices").into()) };
        if n != columns {
            return Err(
                ShapeError::new(format!("matrices of {n} rows and {columns} columns have no determinant")).into()
            );
        }
        let count = Tensor::bounded(x.element_type(), batch)?;
        let mut all = x.to_f64();
        let values = match n * n {
            // The product of nothing.
            0 => vec![1.0; count],
            size => all.chunks_exact_mut(size).map(|m| determinant(m, *n)).collect(),
        };
        Ok(vec![Tensor::from_f64(x.element_type(), batch, values)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shape = request.shape(0)?;
        let [batch @ .., n, _] = &shape[..] else { return Err("it takes matrices".to_owned()) };
        let count = elements(batch).filter(|_| elements(&shape).is_some_and(|n| u32::try_from(n).is_ok()));
        let count = count.ok_or("it has more elements than a shader can count")?;
        if *n > LARGEST {
            return Err(format!("its matrices are larger than {LARGEST}"));
        }
        let mut candidate = Candidate::new("elimination", vec![Want::In(Layout::Linear)], vec![Layout::Linear]);
        if count == 0 {
            return Ok(vec![candidate]);
        }
        if *n == 0 {
            return Err("its matrices are empty".to_owned());
        }
        let units = count.div_ceil(4);
        candidate.scratch.push(((units * n * n) as u64, Storage::F32));
        let kernel = Kernel::of("matmul/determinant.wgsl").define("WORKGROUP", WORKGROUP);
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Scratch(0), Storage::F32)
            .bind(Binding::Output(0), request.output_storage(0)?)
            .param("units", units)
            .param("count", count)
            .param("size", *n)
            .linear(units as u64, WORKGROUP, request.device);
        let work = units as f64 * 8.0 * (n * n * n) as f64;
        Ok(vec![candidate.dispatch(dispatch).cost(work, work)])
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let shape = Fact::optional(inputs, 0).and_then(Fact::concrete).unwrap_or_default();
        let n = shape.last().copied().unwrap_or(0) as f64;
        shape.iter().map(|&d| d as f64).product::<f64>() * n * 2.0 / 3.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn determinants_by_hand() {
        let run = |shape: &[usize], m: &[f32]| {
            let x = Value::from(Tensor::new(shape, m.to_vec()).unwrap());
            Determinant.evaluate(&mut Context::default(), Inputs(&[Some(&x)])).map(|mut y| y.remove(0).into_tensor())
        };
        let det = |shape: &[usize], m: &[f32]| run(shape, m).unwrap().unwrap().to_f64();
        assert_eq!(det(&[2, 2], &[0.0, 2.0, 3.0, 4.0]), [-6.0]);
        assert_eq!(det(&[2, 1, 1], &[5.0, -7.0]), [5.0, -7.0]);
        assert_eq!(det(&[2, 2], &[1.0, 2.0, 2.0, 4.0]), [0.0]);
        assert_eq!(det(&[2, 0, 0], &[]), [1.0, 1.0]);
        assert!(run(&[1, 2], &[1.0, 2.0]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn gpu_and_reference_agree(batch in prop::collection::vec(prop::sample::select(vec![0usize, 1, 3, 5]), 0..3), n in 1usize..7) {
            let shape = [batch, vec![n, n]].concat();
            let count = shape.iter().product();
            // A permutation of a dominant diagonal, so that rows are swapped and nothing cancels to noise.
            let x = (0..count).map(|i| {
                let (row, column) = (i / n % n, i % n);
                let noise = (i * 7919 % 211) as f32 / 211.0 / n as f32;
                if (row + i / (n * n) + 1) % n == column { 2.0 + noise } else { noise }
            });
            let x = Tensor::new(shape, x.collect()).unwrap();
            // Products of 6 numbers from 1 to 3, each with a few roundings.
            try_check(&Determinant, &[Input::Run(x)], Tolerance::relative(1e-5)).map_err(TestCaseError::fail)?;
        }
    }
}
