//! Tensors that depend on no input's elements: how kernels make them.

use super::gather_elements::countable;
use super::remap::table;
use super::strided::{Strided, WORKGROUP, signed_strides};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::{ElementType, Tensor};

/// Constants that kernels copy may take so many elements.
const LONGEST: usize = 1 << 22;

/// A kernel that writes output 0 by an expression of the place `e` (see `shape/generate.wgsl`) and two words.
pub(super) fn generated(request: &Request<'_>, to: Storage, value: &str, words: [u32; 2]) -> Candidates {
    let count = countable(&request.output_shape(0)?)?;
    let candidate = Candidate::new("generate", vec![Want::Nothing; request.inputs.len()], vec![Layout::Linear]);
    if count == 0 {
        return Ok(vec![candidate]);
    }
    let units = count.div_ceil(4);
    let kernel = Kernel::of("shape/generate.wgsl").define("WORKGROUP", WORKGROUP).paste("VALUE", value);
    let dispatch = Dispatch::of(kernel)
        .bind(Binding::Output(0), to)
        .param("units", units)
        .param("a", words[0])
        .param("b", words[1])
        .linear(units as u64, WORKGROUP, request.device);
    Ok(vec![candidate.cost(0.0, units as f64 * to.unit_bytes() as f64).dispatch(dispatch)])
}

/// A kernel that copies what was computed when the plan was made to output 0: small tensors that take long formulas.
pub(super) fn tabulated(request: &Request<'_>, content: &Tensor) -> Candidates {
    let to = request.output_storage(0)?;
    let candidate = Candidate::new("table", vec![Want::Nothing; request.inputs.len()], vec![Layout::Linear]);
    if content.is_empty() {
        return Ok(vec![candidate]);
    }
    if content.len() > LONGEST {
        return Err("it is too large to be a constant".to_owned());
    }
    // Half floats widen to what every kernel reads.
    let (binding, from) = match content.element_type() {
        t if t.is_float() => {
            #[expect(clippy::cast_possible_truncation, reason = "no kernel computes in more")]
            let numbers = content.to_f64().into_iter().map(|v| v as f32).collect();
            (table::<f32>(numbers, Storage::F32), Storage::F32)
        }
        ElementType::Bool => return Err("truth values are no table".to_owned()),
        _ => {
            let integers = content.integers().ok_or("it holds no numbers")?;
            let narrow: Result<Vec<i32>, _> = integers.into_iter().map(i32::try_from).collect();
            (table(narrow.map_err(|_| "its integers do not fit 32 bits")?, Storage::I32), Storage::I32)
        }
    };
    let whole = Strided { dims: content.shape().to_vec(), strides: signed_strides(content.shape()), base: 0 };
    let dispatch = whole.dispatch((0, from), (0, to), request.device)?.map(|mut dispatch| {
        dispatch.bindings[0] = binding;
        dispatch
    });
    let mut candidate = candidate.cost(0.0, content.len() as f64 * 8.0);
    candidate.dispatches.extend(dispatch);
    Ok(vec![candidate])
}
