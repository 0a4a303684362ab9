//! Tensors of zeros and values by their places: EyeLike, Trilu and OneHot (ONNX opsets 9 to 22).

use std::sync::Arc;

use super::gather_elements::countable;
use super::generate::generated;
use super::strided::WORKGROUP;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, Request, ShapeError, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::shape::{axis, elements};
use crate::tensor::{ElementType, Tensor};

/// Zeros and values by their places.
#[derive(Debug, Clone, PartialEq)]
pub enum Mask {
    /// Ones on a diagonal, the one `diagonal` above the main one, in a type of its own or the input's.
    Eye {
        /// Columns to the right of the main diagonal.
        diagonal: i64,
        /// The result's type.
        element_type: Option<ElementType>,
    },
    /// The triangle above a diagonal (input 1), or the one below it, the diagonal included.
    Triangle {
        /// Which of the two.
        upper: bool,
    },
    /// Along a new axis, one value (the second of input 2) at the index that input 0 says, another elsewhere.
    OneHot {
        /// The new axis.
        axis: i64,
    },
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Ok(Arc::new(match d.op_type.as_str() {
        "EyeLike" => {
            let named = |number| {
                let element_type = ElementType::from_data_type(number).filter(|&t| t != ElementType::String);
                element_type
                    .ok_or_else(|| DefinitionError::Value("dtype", format!("is {number}, which is no number's")))
            };
            let element_type = d.int("dtype")?.map(named).transpose()?;
            Mask::Eye { diagonal: d.int("k")?.unwrap_or(0), element_type }
        }
        "Trilu" => Mask::Triangle { upper: d.flag("upper", true)? },
        _ => Mask::OneHot { axis: d.int("axis")?.unwrap_or(-1) },
    }))
}

/// The bytes of the number one.
fn one(element_type: ElementType) -> Vec<u8> {
    Tensor::from_integers(element_type, &[], &[1]).map(|one| one.bytes().to_vec()).unwrap_or_default()
}

/// Whole numbers, from a tensor of numbers of any type.
#[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
fn numbers(tensor: &Tensor) -> Result<Vec<i64>, EvaluateError> {
    match tensor.integers() {
        Some(integers) => Ok(integers),
        None if tensor.element_type().is_float() => Ok(tensor.to_f64().into_iter().map(|v| v as i64).collect()),
        None => Err(ShapeError::new("it takes numbers").into()),
    }
}

impl Mask {
    /// The place of OneHot's new axis.
    fn new_axis(at: i64, rank: usize) -> Result<usize, ShapeError> {
        axis(at, rank + 1).ok_or_else(|| ShapeError::new(format!("axis {at} is out of range")))
    }

    /// The input where it belongs to a triangle, zeros elsewhere.
    fn triangle(x: &Tensor, upper: bool, diagonal: i64) -> Result<Tensor, EvaluateError> {
        let [.., rows, columns] = x.shape() else { return Err(ShapeError::new("it takes a matrix").into()) };
        let size = x.element_type().size();
        let mut bytes = x.bytes().to_vec();
        if x.is_empty() {
            return Ok(x.clone());
        }
        for (i, row) in bytes.chunks_mut(columns * size).enumerate() {
            // The diagonal's column in this row: what lies before it, or after it, is cleared.
            let at = i64::try_from(i % rows).unwrap_or(i64::MAX).saturating_add(diagonal);
            let clamp = |at: i64| usize::try_from(at.max(0)).unwrap_or(usize::MAX).min(*columns) * size;
            if upper {
                row[..clamp(at)].fill(0);
            } else {
                row[clamp(at.saturating_add(1))..].fill(0);
            }
        }
        Ok(Tensor::from_bytes(x.element_type(), x.shape().to_vec(), bytes.into())?)
    }

    fn one_hot(at: i64, indices: &Tensor, depth: &Tensor, values: &Tensor) -> Result<Tensor, EvaluateError> {
        let at = Self::new_axis(at, indices.rank())?;
        let depth = numbers(depth)?.first().and_then(|&d| usize::try_from(d).ok());
        let depth = depth.ok_or_else(|| ShapeError::new("its depth is below 0"))?;
        let mut shape = indices.shape().to_vec();
        shape.insert(at, depth);
        let element_type = values.element_type();
        let size = element_type.size();
        if values.len() != 2 {
            return Err(ShapeError::new("it takes two values: off and on").into());
        }
        let (off, on) = values.bytes().split_at(size);
        let mut bytes = off.repeat(Tensor::bounded(element_type, &shape)?);
        let inner = elements(&indices.shape()[at..]).unwrap_or(0);
        for (i, index) in numbers(indices)?.into_iter().enumerate() {
            // An index that is out of range is nowhere on.
            if let Some(hot) = axis(index, depth) {
                let e = ((i / inner * depth + hot) * inner + i % inner) * size;
                bytes[e..e + size].copy_from_slice(on);
            }
        }
        Ok(Tensor::from_bytes(element_type, shape, bytes.into())?)
    }
}

impl Mask {
    fn triangle_kernel(upper: bool, request: &Request<'_>) -> Candidates {
        let (from, to) = (request.any_storage(0)?, request.any_output_storage(0)?);
        let shape = request.shape(0)?;
        let count = countable(&shape)?;
        let &[.., rows, columns] = shape.as_slice() else { return Err("it takes a matrix".to_owned()) };
        let diagonal = match request.optional(1) {
            None => 0,
            Some(k) => k.fact.integers().ok_or("its diagonal is computed at run time")?.first().copied().unwrap_or(0),
        };
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        wants[0] = Want::In(Layout::Linear);
        let candidate = Candidate::new("triangle", wants, vec![Layout::Linear]);
        if count == 0 {
            return Ok(vec![candidate]);
        }
        // Beyond the matrix all diagonals are alike.
        let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let diagonal = i32::try_from(diagonal.clamp(-size(rows), size(columns))).map_err(|_| "it is too large")?;
        let units = count.div_ceil(4);
        let kernel = Kernel::of("shape/triangle.wgsl").define("WORKGROUP", WORKGROUP).define("UPPER", upper);
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), from)
            .bind(Binding::Output(0), to)
            .param("units", units)
            .param("rows", rows)
            .param("columns", columns)
            .param("diagonal", diagonal)
            .linear(units as u64, WORKGROUP, request.device);
        Ok(vec![candidate.cost(0.0, 2.0 * units as f64 * to.unit_bytes() as f64).dispatch(dispatch).in_place(0)])
    }

    fn one_hot_kernel(at: i64, request: &Request<'_>) -> Candidates {
        let (index, values, to) = (
            request.index_storage(0).or_else(|_| request.storage(0))?,
            request.any_storage(2)?,
            request.any_output_storage(0)?,
        );
        let shape = request.output_shape(0)?;
        let at = Self::new_axis(at, request.shape(0)?.len()).map_err(|e| e.to_string())?;
        let wants = vec![Want::In(Layout::Linear), Want::Nothing, Want::In(Layout::Linear)];
        let candidate = Candidate::new("one hot", wants, vec![Layout::Linear]);
        let count = countable(&shape)?;
        if count == 0 {
            return Ok(vec![candidate]);
        }
        let units = count.div_ceil(4);
        let kernel = Kernel::of("index/one_hot.wgsl").define("WORKGROUP", WORKGROUP);
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), index)
            .bind(Binding::Input(2), values)
            .bind(Binding::Output(0), to)
            .param("units", units)
            .param("elements", count)
            .param("depth", shape[at])
            .param("inner", countable(&shape[at + 1..])?)
            .linear(units as u64, WORKGROUP, request.device);
        Ok(vec![candidate.cost(0.0, units as f64 * to.unit_bytes() as f64 * 2.0).dispatch(dispatch)])
    }
}

impl Operator for Mask {
    fn name(&self) -> &str {
        match self {
            Self::Eye { .. } => "EyeLike",
            Self::Triangle { .. } => "Trilu",
            Self::OneHot { .. } => "OneHot",
        }
    }

    fn reads(&self, input: usize) -> Reads {
        match (self, input) {
            (Self::Eye { .. }, _) => Reads::Fact,
            (Self::Triangle { .. } | Self::OneHot { .. }, 1) => Reads::Parameter,
            _ => Reads::Elements,
        }
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        Ok(vec![match self {
            Self::Eye { element_type, .. } if x.rank() == 2 => x.with_type(element_type.unwrap_or(x.element_type)),
            Self::Triangle { .. } if x.rank() >= 2 => x.without_content(),
            Self::OneHot { axis } => {
                let at = Self::new_axis(*axis, x.rank())?;
                let depth = Fact::at(inputs, 1)?;
                let depth = depth.integers().or_else(|| depth.constant.as_ref().and_then(|t| numbers(t).ok()));
                let depth = depth.and_then(|d| d.first().copied()).map_or(Dim::Unknown, Dim::Known);
                if depth.known().is_some_and(|n| n < 0) {
                    return Err(ShapeError::new("its depth is below 0"));
                }
                let mut shape = x.shape.clone();
                shape.insert(at, depth);
                Fact::new(Fact::at(inputs, 2)?.element_type, shape)
            }
            _ => return Err(ShapeError::new(format!("its input is {x}, but it takes a matrix"))),
        }])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let y = match self {
            Self::Eye { diagonal, element_type } => {
                let element_type = element_type.unwrap_or(x.element_type());
                let size = element_type.size();
                let &[rows, columns] = x.shape() else { return Err(ShapeError::new("it takes a matrix").into()) };
                let mut bytes = vec![0; Tensor::bounded(element_type, x.shape())? * size];
                for row in 0..rows {
                    let column = i64::try_from(row).ok().and_then(|row| row.checked_add(*diagonal));
                    let column = column.and_then(|c| usize::try_from(c).ok()).filter(|&c| c < columns);
                    if let Some(column) = column {
                        let e = (row * columns + column) * size;
                        bytes[e..e + size].copy_from_slice(&one(element_type));
                    }
                }
                Tensor::from_bytes(element_type, x.shape().to_vec(), bytes.into())?
            }
            Self::Triangle { upper } => {
                let diagonal = inputs.integers(1)?.and_then(|k| k.first().copied()).unwrap_or(0);
                Self::triangle(x, *upper, diagonal)?
            }
            Self::OneHot { axis } => Self::one_hot(*axis, x, inputs.tensor(1)?, inputs.tensor(2)?)?,
        };
        Ok(vec![y.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        match self {
            Self::Eye { diagonal, .. } => {
                let &[_, columns] = request.output_shape(0)?.as_slice() else {
                    return Err("it takes a matrix".to_owned());
                };
                // Beyond the matrix all diagonals are alike.
                let diagonal = i32::try_from((*diagonal).clamp(-(1 << 30), 1 << 30)).unwrap_or(0);
                let columns = u32::try_from(columns).map_err(|_| "it is too large")?;
                let to = request.any_output_storage(0)?;
                let one = one(request.outputs[0].element_type);
                let on = "vec4<i32>(e % params.a) == vec4<i32>(e / params.a) + bitcast<i32>(params.b)";
                // One as the bits that are stored, where a kernel does not read numbers.
                let value = match (to, one.as_slice()) {
                    (Storage::I64, &[a, b, c, d, e, f, g, h]) => {
                        let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
                        let element = |i: &str| format!("select(vec2<u32>(), vec2<u32>({low}u, {high}u), ({on}).{i})");
                        format!("y_unit({}, {}, {}, {})", element("x"), element("y"), element("z"), element("w"))
                    }
                    (Storage::U8, &[bits]) => format!("select(y_unit(), y_unit({bits}), {on})"),
                    _ => format!("select(y_unit(), y_unit(1), {on})"),
                };
                generated(request, to, &value, [columns, diagonal.cast_unsigned()])
            }
            Self::Triangle { upper } => Self::triangle_kernel(*upper, request),
            Self::OneHot { axis } => Self::one_hot_kernel(*axis, request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Input, Tolerance, check};

    fn run(operator: &Mask, inputs: &[Tensor]) -> Result<Value, EvaluateError> {
        let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
        let values: Vec<Option<&Value>> = values.iter().map(Some).collect();
        Ok(operator.evaluate(&mut Context::default(), Inputs(&values))?.remove(0))
    }

    fn matrix(rows: usize, values: &[i32]) -> Tensor {
        Tensor::new([rows, values.len() / rows], values.to_vec()).unwrap()
    }

    #[test]
    fn ones_stand_on_a_diagonal() {
        let eye = |diagonal| run(&Mask::Eye { diagonal, element_type: None }, &[matrix(2, &[7; 6])]).unwrap();
        assert_eq!(eye(0), matrix(2, &[1, 0, 0, 0, 1, 0]).into());
        assert_eq!(eye(1), matrix(2, &[0, 1, 0, 0, 0, 1]).into());
        assert_eq!(eye(-1), matrix(2, &[0, 0, 0, 1, 0, 0]).into());
        assert_eq!(eye(i64::MAX), matrix(2, &[0; 6]).into());
    }

    #[test]
    fn triangles_include_the_diagonal() {
        let triangle = |upper, k: i64| {
            run(&Mask::Triangle { upper }, &[matrix(2, &[1, 2, 3, 4, 5, 6]), Tensor::scalar(k)]).unwrap()
        };
        assert_eq!(triangle(true, 0), matrix(2, &[1, 2, 3, 0, 5, 6]).into());
        assert_eq!(triangle(true, 2), matrix(2, &[0, 0, 3, 0, 0, 0]).into());
        assert_eq!(triangle(false, 0), matrix(2, &[1, 0, 0, 4, 5, 0]).into());
        assert_eq!(triangle(false, i64::MIN), matrix(2, &[0; 6]).into());
        assert_eq!(triangle(true, i64::MIN), matrix(2, &[1, 2, 3, 4, 5, 6]).into());
        assert!(run(&Mask::Triangle { upper: true }, &[Tensor::vector(vec![1i32])]).is_err());
    }

    #[test]
    fn one_is_hot() {
        let values = Tensor::vector(vec![5f32, 9.]);
        let hot = |axis, depth: i64| {
            run(&Mask::OneHot { axis }, &[Tensor::vector(vec![0i64, -1, 7]), Tensor::scalar(depth), values.clone()])
        };
        assert_eq!(hot(-1, 2).unwrap(), Tensor::new([3, 2], vec![9f32, 5., 5., 9., 5., 5.]).unwrap().into());
        assert_eq!(hot(0, 2).unwrap(), Tensor::new([2, 3], vec![9f32, 5., 5., 5., 9., 5.]).unwrap().into());
        assert!(hot(2, 2).is_err() && hot(-1, -1).is_err() && hot(-1, i64::MAX).is_err());
    }

    #[test]
    fn kernels_agree() {
        for (rows, columns) in [(0, 3), (1, 1), (2, 7), (5, 3), (4, 8)] {
            let numbers: Vec<i32> = (1..=(rows * columns) as i32).collect();
            let x = Tensor::new([rows, columns], numbers).unwrap();
            let batch = Tensor::new([3, rows, columns], vec![7f32; 3 * rows * columns]).unwrap();
            for k in [-9, -1, 0, 2, i64::MAX, i64::MIN] {
                for element_type in [None, Some(ElementType::F32), Some(ElementType::Bool)] {
                    check(&Mask::Eye { diagonal: k, element_type }, &[Input::Run(x.clone())], Tolerance::EXACT);
                }
                for (upper, x) in [(true, &x), (false, &x), (true, &batch), (false, &batch)] {
                    let k = Input::Constant(Tensor::scalar(k));
                    check(&Mask::Triangle { upper }, &[Input::Run(x.clone()), k], Tolerance::EXACT);
                }
            }
        }
        for shape in [vec![], vec![5], vec![2, 3], vec![2, 0], vec![3, 1, 4]] {
            let n: usize = shape.iter().product();
            let places: Vec<f64> = (0..n).map(|i| ((i * 7) % 13) as f64 - 6.0).collect();
            for (depth, element_type) in [(1i64, ElementType::I32), (5, ElementType::F32), (4, ElementType::I8)] {
                for axis in 0..=shape.len() as i64 {
                    let index = Input::Run(Tensor::from_f64(element_type, shape.clone(), places.clone()).unwrap());
                    let values = Input::Run(Tensor::vector(vec![-1f32, 3.0]));
                    let inputs = [index, Input::Constant(Tensor::scalar(depth)), values];
                    check(&Mask::OneHot { axis }, &inputs, Tolerance::EXACT);
                }
            }
        }
    }
}
