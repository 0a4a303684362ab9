//! Rotary embeddings as exporters spell them out: `y = cos · x + sin · x'`, where `x'` is minus the second half of a row of x,
//! then its first half. A rewrite makes it of the nodes.

use crate::graph::{Context, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::tensor::Tensor;
use crate::tensor::shape::elements;

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// Dimensions that x has at most.
const RANK: usize = 4;

/// Turns pairs of elements that are half a row apart. Inputs: x, cosines and sines; the rows of these are as long as those
/// of x and are repeated along its other dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RotateHalf {
    /// The steps of the tables along the dimensions of x, in elements: 0 along what they are repeated for.
    steps: Vec<usize>,
}

impl RotateHalf {
    /// Of an x and tables of these shapes, the dimensions of x being as `order` takes them from where the tables fit it.
    pub fn of(x: &[usize], table: &[usize], order: &[usize]) -> Option<Self> {
        let (rank, size) = (x.len(), *x.last()?);
        let fits = (1..=RANK).contains(&rank) && table.len() <= rank && table.last() == Some(&size);
        if !fits || !size.is_multiple_of(2) || order.len() != rank || order.last() != Some(&(rank - 1)) {
            return None;
        }
        let mut step = elements(table)?;
        let mut steps = vec![0; rank];
        let missing = rank - table.len();
        for (dim, &n) in table.iter().enumerate() {
            // An empty table has no steps.
            step = step.checked_div(n)?;
            let place = *order.get(missing + dim)?;
            if n != 1 && *x.get(place)? != n {
                return None;
            }
            steps[place] = if n == 1 { 0 } else { step };
        }
        Some(Self { steps })
    }

    /// The sizes of x, and the steps of the tables, with as many dimensions as a kernel takes.
    fn padded(&self, shape: &[usize]) -> Result<[[usize; RANK]; 2], ShapeError> {
        let wrong = || ShapeError::new(format!("its input {shape:?} is not what its tables were made for"));
        let missing = RANK.checked_sub(shape.len()).filter(|_| shape.len() == self.steps.len()).ok_or_else(wrong)?;
        let (mut sizes, mut steps) = ([1; RANK], [0; RANK]);
        sizes[missing..].copy_from_slice(shape);
        steps[missing..].copy_from_slice(&self.steps);
        if sizes[RANK - 1].is_multiple_of(2) { Ok([sizes, steps]) } else { Err(wrong()) }
    }
}

impl Operator for RotateHalf {
    fn name(&self) -> &str {
        "RotaryEmbedding"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        if !x.element_type.is_float() || x.rank() != self.steps.len() {
            return Err(ShapeError::new(format!("its input is {x}, not numbers of {} dimensions", self.steps.len())));
        }
        for i in 1..3 {
            let table = Fact::at(inputs, i)?;
            if table.element_type != x.element_type {
                return Err(ShapeError::new(format!("input {i} is {table}, which are no angles of {x}")));
            }
        }
        Ok(vec![x.without_content()])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let [[_, middle, inner, size], steps] = self.padded(x.shape())?;
        let (values, cosines, sines) = (x.to_f64(), inputs.tensor(1)?.to_f64(), inputs.tensor(2)?.to_f64());
        let half = size / 2;
        let mut y = Vec::with_capacity(values.len());
        for (row, all) in values.chunks_exact(size.max(1)).enumerate() {
            let line = row / inner;
            let at = line / middle * steps[0] + line % middle * steps[1] + row % inner * steps[2];
            let (Some(c), Some(s)) = (cosines.get(at..at + size), sines.get(at..at + size)) else {
                return Err(ShapeError::new("there are fewer angles than rows").into());
            };
            y.extend((0..half).map(|i| c[i] * all[i] - s[i] * all[i + half]));
            y.extend((half..size).map(|i| c[i] * all[i] + s[i] * all[i - half]));
        }
        Ok(vec![Tensor::from_f64(x.element_type(), x.shape(), y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shape = request.shape(0)?;
        let [[outer, middle, inner, size], steps] = self.padded(&shape).map_err(|e| e.to_string())?;
        let count = elements(&shape).filter(|&n| u32::try_from(n).is_ok());
        let count = count.ok_or("it has more elements than a shader can count")?;
        // Halves that are no whole units are turned element by element.
        let whole = size.is_multiple_of(8);
        let (name, unit, work) = if whole { ("units", 4, 16.0) } else { ("elements", 1, 64.0) };
        let units = count.div_ceil(4);
        let candidate = Candidate::new(name, vec![Want::In(Layout::Linear); 3], vec![Layout::Linear]);
        if units == 0 {
            return Ok(vec![candidate]);
        }
        // What the steps reach must be there.
        let last = [outer, middle, inner].iter().zip(steps).map(|(n, step)| (n - 1) * step).sum::<usize>();
        if (1..3).any(|i| request.shape(i).ok().and_then(|s| elements(&s)).is_none_or(|n| n < last + size)) {
            return Err("there are fewer angles than rows".to_owned());
        }
        let kernel = Kernel::of("shape/rotate_half.wgsl").define("WORKGROUP", WORKGROUP).define("ELEMENTS", !whole);
        let dispatch = (0..3)
            .try_fold(Dispatch::of(kernel), |d, i| Ok::<_, String>(d.bind(Binding::Input(i), request.storage(i)?)))?
            .bind(Binding::Output(0), request.output_storage(0)?)
            .param("units", units)
            .param("count", count / unit)
            .param("half", size / 2 / unit)
            .param("middle", middle)
            .param("inner", inner)
            .param("outer_step", steps[0] / unit)
            .param("middle_step", steps[1] / unit)
            .param("inner_step", steps[2] / unit)
            .linear(units as u64, WORKGROUP, request.device);
        Ok(vec![candidate.dispatch(dispatch).cost(work * units as f64, 64.0 * units as f64)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn tables_that_do_not_fit() {
        let of = |x: &[usize], table: &[usize]| RotateHalf::of(x, table, &(0..x.len()).collect::<Vec<_>>());
        assert_eq!(of(&[2, 3, 5, 8], &[2, 1, 5, 8]).unwrap().steps, [40, 0, 8, 1]);
        assert_eq!(of(&[2, 3, 5, 8], &[5, 8]).unwrap().steps, [0, 0, 8, 1]);
        assert_eq!(RotateHalf::of(&[2, 5, 3, 8], &[2, 1, 5, 8], &[0, 2, 1, 3]).unwrap().steps, [40, 8, 0, 1]);
        for (x, table) in
            [(&[3, 8][..], &[2, 8][..]), (&[3, 8], &[3, 1]), (&[3, 7], &[3, 7]), (&[3, 8], &[1, 3, 8]), (&[], &[])]
        {
            assert_eq!(of(x, table), None, "{x:?} {table:?}");
        }
        let fact = |shape: &[usize]| Fact::new(crate::ElementType::F32, shape.to_vec());
        let (x, other, table) = (fact(&[3, 8]), fact(&[1, 3, 8]), fact(&[3, 8]));
        let operator = of(&[3, 8], &[3, 8]).unwrap();
        assert!(operator.infer(&[Some(&x), Some(&table), Some(&table)]).is_ok());
        assert!(operator.infer(&[Some(&other), Some(&table), Some(&table)]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn gpu_and_reference_agree(
            sizes in prop::collection::vec(0usize..5, 0..4),
            repeated in prop::collection::vec(any::<bool>(), 3),
            halves in prop_oneof![(1usize..6).prop_map(|n| 4 * n), 1usize..14],
            turned: bool,
        ) {
            let mut x = sizes.clone();
            x.push(2 * halves);
            let mut order: Vec<usize> = (0..x.len()).collect();
            if turned && x.len() > 2 {
                order.swap(0, 1);
            }
            let table: Vec<usize> =
                order.iter().map(|&i| if repeated.get(i) == Some(&true) && i + 1 < x.len() { 1 } else { x[i] }).collect();
            let numbers = |shape: &[usize], seed: usize| {
                let n = shape.iter().product();
                Input::Run(Tensor::new(shape, (0..n).map(|i| ((i + seed) * 7919 % 211) as f32 / 105.0 - 1.0).collect()).unwrap())
            };
            prop_assume!(!table.contains(&0) || x.contains(&0));
            let Some(operator) = RotateHalf::of(&x, &table, &order) else {
                prop_assert!(table.contains(&0));
                return Ok(());
            };
            // Two products of numbers up to 1 and their sum.
            let inputs = [numbers(&x, 1), numbers(&table, 2), numbers(&table, 3)];
            try_check(&operator, &inputs, Tolerance { absolute: 4e-7, relative: 1e-6 }).map_err(TestCaseError::fail)?;
        }
    }
}
