//! Products of matrices of 8-bit integers: MatMulInteger (ONNX opset 10), QLinearMatMul (opsets 10 and 21), and from
//! com.microsoft QGemm and MatMulIntegerToFloat.
//!
//! `S = (A - a_zero) × (B - b_zero)` in 32 bits, which may wrap around. MatMulInteger gives S; the others
//! `saturate(round((S + C) · alpha · a_scale · b_scale / y_scale) + y_zero)`, or floats `S · a_scale · b_scale + bias`.
//! Scales and zero points are one for a tensor, or one for each row of A and each column of B.

use std::sync::Arc;

use super::channels::{Ends, Places};
use super::finish::{Scales, biases, finish, requantized, scales, within, zeros};
use super::linear::matches_type;
use super::packed::{self, Geometry};
use super::table::Table;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, Division, EvaluateError, Fact, Inputs, Operator, Request, ShapeError,
    Unsupported, Value,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::ops::matmul::{MatMul, Product};
use crate::ops::window::Axis;
use crate::tensor::shape::{broadcast_strides, elements};
use crate::tensor::{ElementType, Tensor};

/// Where the inputs of a product stand in its node.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Roles {
    pub b: usize,
    pub a_zero: usize,
    pub b_zero: usize,
    pub a_scale: Option<usize>,
    pub b_scale: Option<usize>,
    pub c: Option<usize>,
    pub y_scale: Option<usize>,
    pub y_zero: Option<usize>,
}

/// A product of matrices of integers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IntegerProduct {
    name: &'static str,
    roles: Roles,
    alpha: f32,
    /// Only for QGemm, whose operands are matrices.
    transpose: Option<(bool, bool)>,
    /// Between which integers an activation leaves the results.
    bounds: Option<[i32; 2]>,
    /// Whether a rewrite made it: then the bias may be of floats or integers, and results of i8 are bounded.
    folded: bool,
}

/// The inputs of a QGemm.
const QUANTIZED: Roles = Roles {
    a_scale: Some(1),
    a_zero: 2,
    b: 3,
    b_scale: Some(4),
    b_zero: 5,
    c: Some(6),
    y_scale: Some(7),
    y_zero: Some(8),
};

/// Makes a MatMulInteger, QLinearMatMul, QGemm or MatMulIntegerToFloat.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let (name, roles) = match d.op_type.as_str() {
        "MatMulInteger" => ("MatMulInteger", Roles { b: 1, a_zero: 2, b_zero: 3, ..Roles::default() }),
        "QLinearMatMul" => (
            "QLinearMatMul",
            Roles {
                a_scale: Some(1),
                a_zero: 2,
                b: 3,
                b_scale: Some(4),
                b_zero: 5,
                c: None,
                y_scale: Some(6),
                y_zero: Some(7),
            },
        ),
        "MatMulIntegerToFloat" => (
            "MatMulIntegerToFloat",
            Roles { b: 1, a_scale: Some(2), b_scale: Some(3), a_zero: 4, b_zero: 5, c: Some(6), ..Roles::default() },
        ),
        _ => ("QGemm", QUANTIZED),
    };
    let transpose = if name == "QGemm" { Some((d.flag("transA", false)?, d.flag("transB", false)?)) } else { None };
    let alpha = d.float("alpha")?.unwrap_or(1.0);
    Ok(Arc::new(IntegerProduct { name, roles, alpha, transpose, bounds: None, folded: false }))
}

/// Whether scales or zero points of this shape are one for each of `lines`, the rows of A or the columns of B, and not one
/// for all. `matrices`: the axes before the last two; `place`: where the lines stand among the last two.
fn each(shape: &[usize], (matrices, lines): (&[usize], usize), place: usize) -> Result<bool, ShapeError> {
    let full = if place == 0 { [matrices, &[lines, 1]].concat() } else { [matrices, &[1, lines]].concat() };
    if elements(shape) == Some(1) {
        return Ok(false);
    }
    if shape == [lines] || shape == full {
        return Ok(true);
    }
    Err(ShapeError::new(format!("scales or zero points {shape:?} are neither one nor one for each of {lines} lines")))
}

/// A product in numbers.
struct Problem {
    product: Product,
    a_lines: usize,
    b_lines: usize,
    a_zero_each: bool,
    b_zero_each: bool,
    a_scale_each: bool,
    b_scale_each: bool,
    c_strides: [usize; 2],
    c_count: usize,
}

impl IntegerProduct {
    /// The product of integers in the place of one of floats that were integers before: with the inputs of a QGemm, the last
    /// scale and zero point left out where the result is floats. `transpose` is that of a Gemm; `None` stands for a MatMul.
    pub fn folded(transpose: Option<(bool, bool)>, alpha: f32, bounds: Option<[i32; 2]>) -> Self {
        let name = if transpose.is_some() { "QGemm" } else { "QLinearMatMul" };
        Self { name, roles: QUANTIZED, alpha, transpose, bounds, folded: true }
    }

    /// The same with floats as results, for sums that are to be multiplied by scales: with the inputs of a QGemm, but the last
    /// scale and zero point.
    pub fn scaled(&self) -> Option<Self> {
        self.roles.a_scale.is_none().then(|| Self::folded(self.transpose, 1.0, None))
    }

    /// Where B stands.
    pub const fn right(&self) -> usize {
        self.roles.b
    }

    /// Where the input stands that is added to the results, if these are floats where nothing is quantized.
    pub fn bias_of_floats(&self) -> Option<usize> {
        self.roles.c.filter(|_| self.folded && self.bounds.is_none())
    }

    /// Where the inputs stand.
    const fn places(&self) -> Places {
        let roles = self.roles;
        Places {
            x_scale: roles.a_scale,
            x_zero: roles.a_zero,
            w: roles.b,
            w_scale: roles.b_scale,
            w_zero: roles.b_zero,
            y_scale: roles.y_scale,
            y_zero: roles.y_zero,
            bias: roles.c,
        }
    }

    /// Whether rows of A have scales, zero points or biases of their own, or it is no product of one matrix by another.
    fn is_uneven(problem: &Problem) -> bool {
        let each = problem.a_scale_each || problem.a_zero_each || problem.c_strides[0] != 0;
        each || !problem.product.batch.is_empty() || problem.product.transpose_a || problem.product.k == 0
    }

    /// The product in numbers, and what becomes of the sums of each column, if that is the same for all rows and matrices.
    pub fn ends(&self, inputs: &[Option<&Fact>], output: &Fact) -> Option<(Product, Ends)> {
        let shape = |index: usize| Fact::optional(inputs, index).and_then(Fact::concrete);
        let problem = self.problem(&shape).ok()?;
        let p = problem.product;
        let each =
            [problem.b_zero_each.then_some(self.roles.b_zero), self.roles.b_scale.filter(|_| problem.b_scale_each)];
        let even = each.into_iter().flatten().all(|index| shape(index).and_then(|s| elements(&s)) == Some(p.n));
        if !even || problem.a_scale_each || problem.c_strides[0] != 0 || p.transpose_a || p.k == 0 {
            return None;
        }
        let ends = Ends::of(inputs, self.places(), (p.n, output.element_type), self.alpha, self.bounds)?;
        Some((p, ends))
    }

    /// The kernels over packed words, where B is known and its lines are whole words.
    fn packed(&self, request: &Request<'_>, problem: &Problem) -> Vec<Candidate> {
        let p = &problem.product;
        let whole = p.m == 1 || (p.k.is_multiple_of(4) && p.n.is_multiple_of(4));
        if !whole || Self::is_uneven(problem) {
            return vec![];
        }
        let geometry = Geometry {
            samples: 1,
            group_inputs: p.k,
            outputs: p.n,
            groups: 1,
            axes: [Axis::ONE, Axis { input: p.m, output: p.m, ..Axis::ONE }],
            x_steps: [p.k.div_ceil(4), 1, 0],
            y_steps: [p.n.div_ceil(4), 1, 0],
            x_layout: Layout::Linear,
            y_layout: Layout::Linear,
            w_steps: if p.transpose_b { [p.k, 1, 1] } else { [1, p.n, 1] },
        };
        let problem = packed::Problem::of(request, geometry, self.places(), self.alpha, self.bounds);
        problem.map_or(vec![], |problem| packed::candidates(&problem))
    }

    /// The type of the result.
    fn result(&self, inputs: &[Option<&Fact>]) -> Result<ElementType, ShapeError> {
        let (a, b) = (Fact::at(inputs, 0)?, Fact::at(inputs, self.roles.b)?);
        let eight = |t: ElementType| matches!(t, ElementType::I8 | ElementType::U8);
        for (operand, zero) in [(a, self.roles.a_zero), (b, self.roles.b_zero)] {
            if !eight(operand.element_type) {
                return Err(ShapeError::new(format!("integers of {} cannot be multiplied", operand.element_type)));
            }
            matches_type(Fact::optional(inputs, zero), operand.element_type)?;
        }
        let Some(a_scale) = self.roles.a_scale else { return Ok(ElementType::I32) };
        let scale = Fact::at(inputs, a_scale)?.element_type;
        use ElementType::{BF16, F16, F32};
        if !matches!(scale, F32 | F16 | BF16) {
            return Err(ShapeError::new(format!("a scale of {scale} is not supported")));
        }
        for index in [self.roles.b_scale, self.roles.y_scale].into_iter().flatten() {
            matches_type(Fact::optional(inputs, index), scale)?;
        }
        Fact::at(inputs, self.roles.b_scale.unwrap_or_default())?;
        let quantized = self.roles.y_scale.is_some_and(|index| Fact::optional(inputs, index).is_some());
        if let Some(c) = self.roles.c {
            let given = Fact::optional(inputs, c);
            let wanted = if self.name == "QGemm" { ElementType::I32 } else { scale };
            if !(self.folded && given.is_some_and(|c| matches!(c.element_type, ElementType::I32 | F32))) {
                matches_type(given, wanted)?;
            }
        }
        match self.roles.y_zero {
            Some(index) if quantized => match Fact::at(inputs, index)?.element_type {
                // The standard's text bounds what is too large, its tests let it wrap around.
                ElementType::I8 if self.name == "QLinearMatMul" && !self.folded => Err(ShapeError::unsupported(
                    Unsupported::Form,
                    "products quantized to i8 are not supported: whether they are bounded or wrap around is not agreed upon",
                )),
                to if eight(to) => Ok(to),
                to => Err(ShapeError::new(format!("products quantized to {to} are not supported"))),
            },
            Some(_) if self.name == "QLinearMatMul" && !self.folded => {
                Err(ShapeError::new("the scale of the result is missing"))
            }
            _ => Ok(scale),
        }
    }

    /// The shape of the result.
    fn shape(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Dim>, ShapeError> {
        let float = |index| Fact::at(inputs, index).map(|fact| fact.with_type(ElementType::F32));
        let (mut a, mut b) = (float(0)?, float(self.roles.b)?);
        if let Some((transpose_a, transpose_b)) = self.transpose {
            if a.rank() != 2 || b.rank() != 2 {
                return Err(ShapeError::new(format!("A and B should be matrices, but are {a} and {b}")));
            }
            for (operand, transposed) in [(&mut a, transpose_a), (&mut b, transpose_b)] {
                if transposed {
                    operand.shape.reverse();
                }
            }
        }
        let mut y = MatMul::default().infer(&[Some(&a), Some(&b)])?;
        y.pop().map(|y| y.shape).ok_or_else(|| ShapeError::new("there is no result"))
    }

    /// The product in numbers; `shape` is that of an input.
    fn problem(&self, shape: &dyn Fn(usize) -> Option<Vec<usize>>) -> Result<Problem, ShapeError> {
        let missing = || ShapeError::new("an operand is missing");
        let (a, b) = (shape(0).ok_or_else(missing)?, shape(self.roles.b).ok_or_else(missing)?);
        let wrong = || ShapeError::new(format!("matrices {a:?} and {b:?} cannot be multiplied"));
        let product = match (self.transpose, &a[..], &b[..]) {
            (Some((transpose_a, transpose_b)), &[a0, a1], &[b0, b1]) => {
                let (m, k) = if transpose_a { (a1, a0) } else { (a0, a1) };
                let (b_k, n) = if transpose_b { (b1, b0) } else { (b0, b1) };
                (k == b_k).then(|| Product::of_matrices(m, k, n, transpose_a, transpose_b))
            }
            (Some(_), ..) => None,
            _ => Product::of_shapes(&a, &b),
        };
        let product = product.ok_or_else(wrong)?;
        let matrices = |shape: &[usize]| shape[..shape.len().saturating_sub(2)].to_vec();
        let (a_matrices, b_matrices) = (matrices(&a), matrices(&b));
        // A's rows before its matrices were taken for one.
        let a_rows = match (self.transpose, &a[..]) {
            (None, [.., m, _]) => *m,
            (None, _) => 1,
            _ => product.m,
        };
        let given = |index: Option<usize>, lines: (&[usize], usize), place: usize| {
            index.and_then(shape).map_or(Ok(false), |shape| each(&shape, lines, place))
        };
        let (of_a, of_b) = ((&a_matrices[..], a_rows), (&b_matrices[..], product.n));
        let lines = |matrices: &[usize], n: usize| elements(matrices).and_then(|m| m.checked_mul(n)).ok_or_else(wrong);
        let c = self.roles.c.and_then(shape).unwrap_or_default();
        let fits =
            c.len() <= 2 && c.iter().rev().zip([product.n, product.m]).all(|(&from, to)| from == 1 || from == to);
        // A bias of a batched product is one for each column.
        if !fits || (self.name != "QGemm" && !self.folded && c.len() > 1) {
            return Err(ShapeError::new(format!("{c:?} cannot be added to the products")));
        }
        let strides = broadcast_strides(&c, &[product.m, product.n]);
        let one = |index: Option<usize>| index.and_then(shape).is_none_or(|shape| elements(&shape) == Some(1));
        if !one(self.roles.y_scale) || !one(self.roles.y_zero) {
            return Err(ShapeError::new("the result has one scale and one zero point"));
        }
        Ok(Problem {
            a_lines: lines(of_a.0, of_a.1)?,
            b_lines: lines(of_b.0, of_b.1)?,
            a_zero_each: given(Some(self.roles.a_zero), of_a, 0)?,
            b_zero_each: given(Some(self.roles.b_zero), of_b, 1)?,
            a_scale_each: given(self.roles.a_scale, of_a, 0)?,
            b_scale_each: given(self.roles.b_scale, of_b, 1)?,
            c_strides: [strides[0], strides[1]],
            c_count: elements(&c).unwrap_or(1),
            product,
        })
    }

    /// The kernel: four elements of the result by each invocation.
    fn dispatch(&self, request: &Request<'_>, problem: &Problem, results: usize) -> Result<Candidate, String> {
        let p = &problem.product;
        let output = request.outputs.first().ok_or("an output is missing")?.element_type;
        let result = match output {
            ElementType::I32 => 0,
            to if to.is_float() => 1,
            _ => 2,
        };
        let mut axes = [(1, 0, 0); 3];
        if p.batch.len() > 3 {
            return Err("its batch has more than three axes".to_owned());
        }
        for (axis, own) in axes[3 - p.batch.len()..].iter_mut().zip(&p.batch) {
            *axis = (own.size, own.a, own.b);
        }
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        (wants[0], wants[self.roles.b]) = (Want::In(Layout::Linear), Want::In(Layout::Linear));
        let candidate = Candidate::new("integers", wants, vec![Layout::Linear]);
        if results == 0 {
            return Ok(candidate);
        }
        let mut table = Table::of(request);
        let count = |each: bool, lines: usize| if each { lines } else { 1 };
        let roles = self.roles;
        let a_zero = table.add(Some(roles.a_zero), count(problem.a_zero_each, problem.a_lines), 0);
        let b_zero = table.add(Some(roles.b_zero), count(problem.b_zero_each, problem.b_lines), 0);
        let (a_row, a_column) = if p.transpose_a { (1, p.m) } else { (p.k, 1) };
        let (b_row, b_column) = if p.transpose_b { (1, p.k) } else { (p.n, 1) };
        let bias = roles.c.and_then(|c| request.optional(c));
        let kernel = Kernel::of("quantize/product.wgsl")
            .define("RESULT", result)
            .define("FLOAT_BIAS", bias.is_some_and(|bias| bias.fact.element_type.is_float()));
        let mut dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Input(roles.b), request.storage(roles.b)?)
            .param("units", results.div_ceil(4))
            .param("results", results)
            .param("m", p.m)
            .param("k", p.k)
            .param("n", p.n)
            .param("a_matrix", p.m.saturating_mul(p.k))
            .param("a_row", a_row)
            .param("a_column", a_column)
            .param("b_matrix", p.k.saturating_mul(p.n))
            .param("b_row", b_row)
            .param("b_column", b_column)
            .param("a_zero", a_zero)
            .param("b_zero", b_zero)
            .param("a_zero_each", usize::from(problem.a_zero_each))
            .param("b_zero_each", usize::from(problem.b_zero_each));
        if result != 0 {
            dispatch = dispatch
                .param("a_scale_each", usize::from(problem.a_scale_each))
                .param("b_scale_each", usize::from(problem.b_scale_each))
                .param("c_row", problem.c_strides[0])
                .param("c_column", problem.c_strides[1]);
        }
        dispatch = dispatch.param("batch_1", axes[1].0).param("batch_2", axes[2].0);
        for (name, step) in ["a_step_0", "a_step_1", "a_step_2"].into_iter().zip(axes) {
            dispatch = dispatch.param(name, step.1);
        }
        for (name, step) in ["b_step_0", "b_step_1", "b_step_2"].into_iter().zip(axes) {
            dispatch = dispatch.param(name, step.2);
        }
        if result != 0 {
            let one = 1f32.to_bits();
            let a_scale = table.add(roles.a_scale, count(problem.a_scale_each, problem.a_lines), one);
            let b_scale = table.add(roles.b_scale, count(problem.b_scale_each, problem.b_lines), one);
            let bias = table.add(roles.c, problem.c_count, 0);
            let scales = Scales { alpha: self.alpha, a_scale, b_scale, bias };
            dispatch = finish(dispatch, &mut table, scales, (roles.y_scale, roles.y_zero), (output, self.bounds));
        }
        let (candidate, dispatch) = table.bind(candidate, dispatch)?;
        let dispatch = dispatch.bind(Binding::Output(0), request.output_storage(0)?).linear(
            results.div_ceil(4) as u64,
            64,
            request.device,
        );
        // Bound by its reads of single elements.
        Ok(candidate.dispatch(dispatch).cost(p.work() * 20.0, results as f64))
    }
}

impl Operator for IntegerProduct {
    fn name(&self) -> &str {
        self.name
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let to = self.result(inputs)?;
        let shape = self.shape(inputs)?;
        // Checks what belongs together, where all of it is known.
        if inputs.iter().flatten().all(|fact| fact.concrete().is_some()) {
            self.problem(&|index| Fact::optional(inputs, index).and_then(Fact::concrete))?;
        }
        Ok(vec![Fact::new(to, shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let facts: Vec<_> = (0..inputs.len())
            .map(|i| inputs.optional(i).map(|t| Fact::new(t.element_type(), t.shape().to_vec())))
            .collect();
        let facts: Vec<_> = facts.iter().map(Option::as_ref).collect();
        let outputs = self.infer(&facts)?;
        let (to, Some(shape)) = (outputs[0].element_type, outputs[0].concrete()) else {
            return Err(ShapeError::new("the shapes cannot be multiplied").into());
        };
        let problem = self.problem(&|index| inputs.optional(index).map(|t| t.shape().to_vec()))?;
        let p = &problem.product;
        let input = |role: Option<usize>| role.and_then(|index| inputs.optional(index));
        let (a, b) = (zeros(Some(inputs.tensor(0)?)), zeros(Some(inputs.tensor(self.roles.b)?)));
        let (a_zeros, b_zeros) = (zeros(input(Some(self.roles.a_zero))), zeros(input(Some(self.roles.b_zero))));
        let (a_scales, b_scales) = (scales(input(self.roles.a_scale)), scales(input(self.roles.b_scale)));
        let y_scale = scales(input(self.roles.y_scale))[0];
        let y_zero = f64::from(zeros(input(self.roles.y_zero))[0]);
        let (whole, rests) = biases(input(self.roles.c));
        let (low, high) = within(to, self.bounds).unwrap_or((f32::MIN, f32::MAX));
        let line = |all: bool, line: usize, length: usize| if all { line % length } else { 0 };
        let mut y = Vec::with_capacity(elements(&shape).unwrap_or(0));
        for [a_matrix, b_matrix] in p.pairs() {
            for (row, column) in (0..p.m).flat_map(|row| (0..p.n).map(move |column| (row, column))) {
                let (a_line, b_line) = (a_matrix * p.m + row, b_matrix * p.n + column);
                let a_zero = a_zeros[line(problem.a_zero_each, a_line, a_zeros.len())];
                let b_zero = b_zeros[line(problem.b_zero_each, b_line, b_zeros.len())];
                let sum = (0..p.k).fold(0i32, |sum, k| {
                    let a_at = if p.transpose_a { k * p.m + row } else { row * p.k + k };
                    let b_at = if p.transpose_b { column * p.k + k } else { k * p.n + column };
                    let (a, b) = (a[a_matrix * p.m * p.k + a_at], b[b_matrix * p.k * p.n + b_at]);
                    sum.wrapping_add((a - a_zero).wrapping_mul(b - b_zero))
                });
                let a_scale = self.alpha * a_scales[line(problem.a_scale_each, a_line, a_scales.len())];
                let factor = a_scale * b_scales[line(problem.b_scale_each, b_line, b_scales.len())];
                let c = row * problem.c_strides[0] + column * problem.c_strides[1];
                let sum = sum.wrapping_add(whole[if whole.len() == 1 { 0 } else { c }]);
                let rest = rests[if rests.len() == 1 { 0 } else { c }];
                y.push(match to {
                    ElementType::I32 => sum.into(),
                    float if float.is_float() => f64::from(sum as f32 * factor + rest),
                    _ => requantized(sum, factor / y_scale, rest / y_scale, y_zero).clamp(low.into(), high.into()),
                });
            }
        }
        Ok(vec![Tensor::from_f64(to, shape, y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let problem = self.problem(&|index| request.optional(index).and_then(|o| o.fact.concrete()));
        let problem = problem.map_err(|e| e.to_string())?;
        let small = |n: usize| u32::try_from(n).is_ok_and(|n| n < 1 << 30);
        let sizes = [request.shape(0)?, request.shape(self.roles.b)?, request.output_shape(0)?];
        if !sizes.iter().all(|shape| elements(shape).is_some_and(small)) {
            return Err("its tensors are too large for 32-bit indices".to_owned());
        }
        let results = elements(&sizes[2]).unwrap_or(0);
        let direct = self.dispatch(request, &problem, results)?;
        let packed = if results == 0 { vec![] } else { self.packed(request, &problem) };
        Ok(packed.into_iter().chain([direct]).collect())
    }

    fn divisions(&self, inputs: &[Option<&Fact>]) -> Vec<Division> {
        let shape = |index: usize| Fact::optional(inputs, index).and_then(Fact::concrete);
        let problem = self.problem(&shape).ok().zip(shape(self.roles.b).filter(|b| b.len() > 1));
        let (Some((problem, b)), Ok(y)) = (problem, self.shape(inputs)) else { return vec![] };
        // Scales, zero points and biases that are one for each column.
        let roles = [Some(self.roles.b_zero), self.roles.b_scale, self.roles.c].into_iter().flatten();
        let columns = |index| shape(index).filter(|shape| shape.last() == Some(&problem.product.n));
        let along = roles.filter_map(|index| Some((index, columns(index)?.len() - 1)));
        let axis = if self.transpose.is_some_and(|(_, transposed)| transposed) { 0 } else { b.len() - 1 };
        vec![Division { constant: (self.roles.b, axis), output: y.len() - 1, along: along.collect() }]
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let shape = |index: usize| Fact::optional(inputs, index).and_then(Fact::concrete);
        self.problem(&shape).map_or(0.0, |problem| problem.product.work())
    }
}

#[cfg(test)]
mod tests;
