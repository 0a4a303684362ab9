//! Concat (ONNX opsets 1 to 13): tensors one after another along an axis.

use std::sync::Arc;

use super::strided::WORKGROUP;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::shape::{axis, elements};
use crate::tensor::{ElementType, Tensor};

/// Tensors one after another along an axis.
///
/// Wherever the parts fall on whole units of the result, the candidate is named `concat` and has one dispatch for each
/// part that is not empty: it reads `Input(i)` alone, bound first, and writes the part's units of `Output(0)` alone. A
/// planner that has part `i` written into its place already leaves that dispatch out. All other candidates have other
/// names (`concat-elements`, `view`), and their dispatches belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Concat {
    /// The axis, counted from the back where negative.
    pub axis: i64,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let axis = match d.int("axis")? {
        Some(axis) => axis,
        None if d.opset < 4 => 1,
        None => return Err(DefinitionError::Missing("axis")),
    };
    Ok(Arc::new(Concat { axis }))
}

/// A part of the result, seen as rows that stand side by side, in elements as they lie in the buffer.
#[derive(Debug, Clone, Copy)]
struct Part {
    input: usize,
    /// Where its row begins in the result's.
    first: usize,
    /// The length of its row.
    length: usize,
}

impl Concat {
    /// The axis for inputs of this rank.
    ///
    /// # Errors
    /// If there is no such axis.
    pub fn axis(&self, rank: usize) -> Result<usize, ShapeError> {
        axis(self.axis, rank)
            .ok_or_else(|| ShapeError::new(format!("axis {} is out of range for {rank} dimensions", self.axis)))
    }

    /// Copies each part to its place.
    fn aligned(
        &self,
        request: &Request<'_>,
        layout: Layout,
        (rows, total, parts): (usize, usize, &[Part]),
    ) -> Result<Candidate, String> {
        let to = request.any_output_storage(0)?;
        let mut candidate = Candidate::new(
            "concat",
            vec![Want::In(layout); request.inputs.len()],
            vec![layout.canonical(&request.output_shape(0)?)],
        );
        let mut bytes = 0.0;
        for part in parts.iter().filter(|part| part.length > 0) {
            let row = part.length.div_ceil(4);
            let units = rows.checked_mul(row).ok_or("it is too large")?;
            bytes += 2.0 * units as f64 * to.unit_bytes() as f64;
            let kernel = Kernel::of("shape/place.wgsl").define("WORKGROUP", WORKGROUP);
            candidate = candidate.dispatch(
                Dispatch::of(kernel)
                    .bind(Binding::Input(part.input), request.any_storage(part.input)?)
                    .bind(Binding::Output(0), to)
                    .param("units", units)
                    .param("row", row)
                    .param("pitch", total.div_ceil(4))
                    .param("offset", part.first / 4)
                    .linear(units as u64, WORKGROUP, request.device),
            );
        }
        Ok(candidate.cost(0.0, bytes))
    }

    /// Fetches each element of the result from its part, three parts at a time: more would not fit the buffers that
    /// every device can bind.
    fn by_elements(
        &self,
        request: &Request<'_>,
        (rows, total, parts): (usize, usize, &[Part]),
    ) -> Result<Candidate, String> {
        let to = request.any_output_storage(0)?;
        let count = rows.checked_mul(total).ok_or("it is too large")?;
        let units = count.div_ceil(4);
        let wants = vec![Want::In(Layout::Linear); request.inputs.len()];
        let mut candidate = Candidate::new("concat-elements", wants, vec![Layout::Linear]);
        let parts: Vec<Part> = parts.iter().copied().filter(|part| part.length > 0).collect();
        for (i, group) in parts.chunks(3).enumerate() {
            let kernel = Kernel::of("shape/concat.wgsl")
                .define("WORKGROUP", WORKGROUP)
                .define("COUNT", group.len() as i64)
                .define("UPDATE", i > 0);
            let mut dispatch = Dispatch::of(kernel).param("units", units).param("rows", rows).param("total", total);
            for (part, names) in group.iter().zip([("first0", "length0"), ("first1", "length1"), ("first2", "length2")])
            {
                dispatch = dispatch
                    .bind(Binding::Input(part.input), request.any_storage(part.input)?)
                    .param(names.0, part.first)
                    .param(names.1, part.length);
            }
            let dispatch = dispatch.bind(Binding::Output(0), to);
            candidate = candidate.dispatch(dispatch.linear(units as u64, WORKGROUP, request.device));
        }
        let passes = candidate.dispatches.len() as f64;
        // The result is read and written in each pass, and fetched element by element.
        Ok(candidate.cost(0.0, units as f64 * to.unit_bytes() as f64 * (2.0 * passes + 1.0)))
    }
}

impl Operator for Concat {
    fn name(&self) -> &str {
        "Concat"
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let first = Fact::at(inputs, 0)?;
        let at = self.axis(first.rank())?;
        let mut shape = first.shape.clone();
        for i in 1..inputs.len() {
            let part = Fact::at(inputs, i)?;
            if part.element_type != first.element_type || part.rank() != first.rank() {
                return Err(ShapeError::new(format!("input {i} is {part}, which does not go with {first}")));
            }
            for (k, (dim, own)) in shape.iter_mut().zip(&part.shape).enumerate() {
                if k == at {
                    *dim = dim.add(own);
                    continue;
                }
                match (dim.known(), own.known()) {
                    (Some(a), Some(b)) if a != b => {
                        return Err(ShapeError::new(format!("input {i} is {part}, which does not go with {first}")));
                    }
                    (None, Some(_)) => dim.clone_from(own),
                    (None, None) if *dim == Dim::Unknown => dim.clone_from(own),
                    _ => {}
                }
            }
        }
        let mut fact = first.with_shape(shape);
        // Shapes in pieces: a piece that is not known leaves the others known.
        if first.rank() == 1 && first.element_type.is_integer() && inputs.iter().flatten().any(|f| f.known.is_some()) {
            let pieces = inputs.iter().flatten().map(|part| match (&part.known, part.shape[0].size()) {
                (Some(known), _) => Some(known.clone()),
                (None, Some(n)) if n <= 64 => Some(vec![Dim::Unknown; n]),
                _ => None,
            });
            if let Some(pieces) = pieces.collect::<Option<Vec<_>>>() {
                let known = pieces.concat();
                if first.element_type == ElementType::I64 {
                    return Ok(vec![Fact::dims(known)]);
                }
                fact.known = (known.len() <= 64).then_some(known);
            }
        }
        Ok(vec![fact])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let tensors: Vec<&Tensor> = (0..inputs.len()).map(|i| inputs.tensor(i)).collect::<Result<_, _>>()?;
        let first = inputs.tensor(0)?;
        let at = self.axis(first.rank())?;
        let mut shape = first.shape().to_vec();
        shape[at] = 0;
        for tensor in &tensors {
            let fits = tensor.element_type() == first.element_type()
                && tensor.rank() == first.rank()
                && (0..first.rank()).all(|i| i == at || tensor.shape()[i] == first.shape()[i]);
            let length = tensor.shape().get(at).and_then(|n| n.checked_add(shape[at]));
            match (fits, length) {
                (true, Some(length)) => shape[at] = length,
                _ => return Err(ShapeError::new(format!("{tensor:?} does not go with {first:?}")).into()),
            }
        }
        let element_type = first.element_type();
        let count = Tensor::bounded(element_type, &shape)?;
        let mut bytes = Vec::with_capacity(count * element_type.size());
        if count > 0 {
            let rows = elements(&shape[..at]).unwrap_or(0);
            for row in 0..rows {
                for tensor in &tensors {
                    let length = tensor.bytes().len() / rows;
                    bytes.extend_from_slice(&tensor.bytes()[row * length..(row + 1) * length]);
                }
            }
        }
        Ok(vec![Tensor::from_bytes(element_type, shape, bytes.into())?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shapes: Vec<Vec<usize>> = (0..request.inputs.len()).map(|i| request.shape(i)).collect::<Result<_, _>>()?;
        let result = request.output_shape(0)?;
        let at = self.axis(result.len()).map_err(|e| e.to_string())?;
        let storages: Vec<Storage> = (0..shapes.len()).map(|i| request.any_storage(i)).collect::<Result<_, _>>()?;
        let to = request.any_output_storage(0)?;
        let whole: Vec<usize> = (0..shapes.len()).filter(|&i| !shapes[i].contains(&0)).collect();
        if let [only] = whole[..]
            && storages[only] == to
        {
            return Ok(vec![Candidate::view(only, shapes.len())]);
        }
        let mut candidates = vec![];
        for layout in [Layout::Linear, Layout::Rows, Layout::Channels4] {
            let plain = layout != Layout::Linear && shapes.iter().all(|s| layout.canonical(s) == Layout::Linear);
            // Rows side by side would no longer be padded at their ends alone.
            if plain || (layout == Layout::Rows && at + 1 == result.len()) {
                continue;
            }
            let mut parts = vec![];
            let mut total = 0usize;
            let mut whole_groups = true;
            for (input, shape) in shapes.iter().enumerate() {
                whole_groups &= input + 1 == shapes.len() || shape.get(1).is_none_or(|c| c % 4 == 0);
                let length = elements(&layout.physical_shape(shape)[at..]).ok_or("it is too large")?;
                parts.push(Part { input, first: total, length });
                total = total.checked_add(length).ok_or("it is too large")?;
            }
            let physical = layout.physical_shape(&result);
            let count = elements(&physical).filter(|&n| u32::try_from(n).is_ok()).ok_or("it is too large")?;
            // How the result lies is asked of the parts, or the channels would be counted in groups twice.
            if layout == Layout::Channels4 && at == 1 && !whole_groups {
                continue;
            }
            let rows = if count == 0 { 0 } else { count / total.max(1) };
            let aligned = if rows <= 1 {
                parts.iter().all(|part| part.first % 4 == 0 || part.length == 0)
            } else {
                parts.iter().all(|part| part.length % 4 == 0)
            };
            if count == 0 {
                let wants = vec![Want::Nothing; shapes.len()];
                return Ok(vec![Candidate::new("empty", wants, vec![Layout::Linear])]);
            }
            if aligned {
                candidates.push(self.aligned(request, layout, (rows, total, &parts))?);
            } else if layout == Layout::Linear {
                candidates.push(self.by_elements(request, (rows, total, &parts))?);
            }
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::{DeviceClass, DeviceFacts};
    use crate::testing::{Input, Tolerance, try_check};

    #[test]
    fn shapes_in_pieces_stay_known() {
        let n = Fact::dims(vec![Dim::symbol("n")]);
        let rest = Fact::constant(Tensor::vector(vec![3i64, -1]));
        let later = Fact::new(ElementType::I64, [1usize]);
        let concat = Concat { axis: 0 };
        let known = |inputs: &[Option<&Fact>]| concat.infer(inputs).unwrap()[0].known.clone().unwrap();
        assert_eq!(known(&[Some(&n), Some(&rest)]), [Dim::symbol("n"), Dim::Known(3), Dim::Known(-1)]);
        assert_eq!(known(&[Some(&later), Some(&n)]), [Dim::Unknown, Dim::symbol("n")]);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let fact = |shape: &[usize]| Fact::new(ElementType::F32, shape.to_vec());
        let concat = |axis, a: &[usize], b: &[usize]| Concat { axis }.infer(&[Some(&fact(a)), Some(&fact(b))]);
        assert_eq!(concat(1, &[2, 3], &[2, 5]).unwrap()[0].to_string(), "f32[2, 8]");
        assert!(concat(0, &[2, 3], &[2, 5]).is_err());
        assert!(concat(2, &[2, 3], &[2, 3]).is_err());
        assert!(concat(0, &[2], &[2, 3]).is_err());
        assert!(concat(0, &[], &[]).is_err());
    }

    #[test]
    fn a_part_on_whole_units_has_a_dispatch_of_its_own() {
        let facts = [[1usize, 8, 3, 3], [1, 4, 3, 3], [1, 5, 3, 3]].map(|s| Fact::new(ElementType::F32, s));
        let operands = facts
            .each_ref()
            .map(|fact| Some(crate::graph::Operand { fact, layout: Layout::Channels4, storage: Some(Storage::F32) }));
        let concat = Concat { axis: 1 };
        let outputs = concat.infer(&facts.each_ref().map(Some)).unwrap();
        let device = DeviceFacts::floor(DeviceClass::Mali);
        let request = Request {
            inputs: &operands,
            outputs: &outputs,
            output_storages: &[Some(Storage::F32)],
            device: &device,
            open: false,
        };
        let candidates = concat.candidates(&request).unwrap();
        let channels = candidates.iter().find(|c| c.outputs == [Layout::Channels4]).unwrap();
        assert_eq!(channels.name, "concat");
        for (i, dispatch) in channels.dispatches.iter().enumerate() {
            assert_eq!(dispatch.bindings, [Binding::Input(i), Binding::Output(0)]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn gpu_and_reference_agree(
            shape in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 4, 5, 8]), 1..5),
            sizes in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 4, 7, 8, 12]), 1..6),
            at in any::<prop::sample::Index>(), integer in any::<bool>(),
        ) {
            let at = at.index(shape.len());
            let inputs: Vec<Input> = sizes.iter().enumerate().map(|(k, &size)| {
                let mut shape = shape.clone();
                shape[at] = size;
                let n: usize = shape.iter().product();
                Input::Run(if integer {
                    Tensor::new(shape, (0..n).map(|i| (k * 40 + i) as u8).collect::<Vec<u8>>()).unwrap()
                } else {
                    Tensor::new(shape, (0..n).map(|i| (k * 100 + i) as f32).collect::<Vec<f32>>()).unwrap()
                })
            }).collect();
            try_check(&Concat { axis: at as i64 }, &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
        }
    }
}
