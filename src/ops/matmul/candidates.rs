//! The ways to multiply matrices on a GPU. Which one wins on which device: the measurements in `docs/devices.md`.

use super::pack::{bind_b, bind_biased, bind_c};
use super::split::Split;
use super::tiles::{
    SWITCHED, Tiles, batch, cooperative, epilogue, families, families_for_all, idle, packed, rate, sizes,
};
use super::weights::Numbers;
use super::{Epilogue, Product, RESIDUAL};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, DeviceFacts, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::shape::broadcast_strides;

/// What all of them need to know.
struct Plan<'a> {
    request: &'a Request<'a>,
    product: &'a Product,
    epilogue: &'a Epilogue,
    batches: usize,
    a: Storage,
    b: Storage,
    y: Storage,
}

/// C as a kernel binds it: what is wanted of the input, the binding, its storage, and the steps of its rows and columns.
struct Addend {
    want: Want,
    binding: Binding,
    storage: Storage,
    row: usize,
    column: usize,
}

/// B as a kernel binds it: what is wanted of the input, the binding, its storage, the steps between panels and rows, and
/// the unit at which C begins behind it; and how it is packed where it is whole numbers with scales.
struct Factor {
    want: Want,
    binding: Binding,
    storage: Storage,
    panel: usize,
    step: usize,
    c: Option<usize>,
    numbers: Option<Numbers>,
}

/// The candidates for a product of inputs 0 and 1, inputs 2 and 3 (if there are such) added.
pub(super) fn candidates(request: &Request<'_>, product: &Product, epilogue: &Epilogue) -> Candidates {
    let plan = Plan {
        request,
        product,
        epilogue,
        batches: product.batches().ok_or("it is too large")?,
        a: request.storage(0)?,
        b: request.storage(1)?,
        y: request.output_storage(0)?,
    };
    if product.results() == Some(0) {
        let wants = vec![Want::Nothing; request.inputs.len()];
        return Ok(vec![Candidate::new("empty", wants, vec![Layout::Linear])]);
    }
    if product.k == 0 {
        return Err("its sums are empty".to_owned());
    }
    if product.batch.len() > 3 {
        return Err("its batches broadcast in more than three ways at once".to_owned());
    }
    if !plan.y.is_float() && !epilogue.is_plain() {
        return Err("no kernel scales integers".to_owned());
    }
    let mut offered = vec![];
    if plan.y.is_float() {
        let families = || match request.open {
            true => families_for_all(product, request.device),
            false => families(product, request.device),
        };
        offered.extend(families().into_iter().filter_map(|tiles| plan.split(&tiles)));
        offered.extend(families().into_iter().filter_map(|tiles| plan.tiled(tiles, None)));
        offered.extend(cooperative(product, request.device, [plan.a, plan.b]).and_then(|tiles| plan.floats(tiles)));
        offered.extend(
            packed(product, request.device, request.open).and_then(|(tiles, rows)| plan.tiled(tiles, Some(rows))),
        );
    }
    // Those that read B as floats would have it take four or eight times the memory.
    if offered.is_empty() || plan.numbers(1).is_none() {
        offered.insert(0, plan.generic()?);
    }
    Ok(offered)
}

/// Rows padded to whole units; a single row is that in any case.
fn rows(shape: &[usize]) -> Layout {
    let outer = &shape[..shape.len().saturating_sub(1)];
    if outer.iter().all(|&d| d == 1) { Layout::Linear } else { Layout::Rows.canonical(shape) }
}

impl Plan<'_> {
    fn addend(&self, dense: bool) -> Option<Result<Addend, String>> {
        let c = self.request.optional(2)?;
        Some(self.addend_of(c.fact, dense))
    }

    /// C for the kernels that read it by units (`dense`) or by elements.
    fn addend_of(&self, fact: &crate::graph::Fact, dense: bool) -> Result<Addend, String> {
        let &Product { m, n, .. } = self.product;
        let shape = fact.dims_known()?;
        if shape.len() > 2 {
            return Err("C has more than two dimensions".to_owned());
        }
        let storage = self.request.storage(2)?;
        let strides = broadcast_strides(&shape, &[m, n]);
        let n4 = n.div_ceil(4);
        let addend = |want, binding, row, column| Addend { want, binding, storage, row, column };
        if !dense {
            return Ok(addend(Want::In(Layout::Linear), Binding::Input(2), strides[0], strides[1]));
        }
        if shape.last() == Some(&n) {
            let pitch = if strides[0] == 0 { 0 } else { n4 };
            return Ok(addend(Want::In(rows(&shape)), Binding::Input(2), pitch, 1));
        }
        // One column for all: only where it can be repeated beforehand.
        let constant = fact.constant.as_ref().ok_or("C's columns are repeated at run time")?;
        let (repeated, pitch) = if strides[0] == 0 { (1, 0) } else { (m, n4) };
        let binding = bind_c(constant, repeated, n, [strides[0], strides[1]], storage).ok_or("C is too large")?;
        Ok(addend(Want::Nothing, binding, pitch, 1))
    }

    /// C, where it is a constant row of floats that can lie behind a constant B.
    fn row_c(&self) -> Option<&crate::tensor::Tensor> {
        let (b, c) = (self.request.input(1).ok()?.fact, self.request.optional(2)?.fact);
        let row = c.constant.as_ref().filter(|c| c.element_type().is_float() && c.len() == self.product.n)?;
        (b.constant.is_some() && row.shape().last() == Some(&self.product.n)).then_some(row)
    }

    /// B in rows (one panel) or in panels.
    fn operand_b(&self, lanes: usize) -> Option<Factor> {
        let n4 = self.product.n.div_ceil(4);
        let fact = self.request.input(1).ok()?.fact;
        if let Some(constant) = &fact.constant {
            let (want, panel) = (Want::Nothing, self.product.k.checked_mul(lanes)?);
            if let Some(numbers) = self.numbers(lanes) {
                let c = self.row_c();
                let binding = numbers.bind(constant, self.product, lanes, c)?;
                let (panel, c) = (numbers.panel(lanes), c.map(|_| numbers.c()));
                let numbers = Some(numbers);
                return Some(Factor { want, binding, storage: Storage::U32, panel, step: lanes, c, numbers });
            }
            if let Some(c) = self.row_c() {
                let packed = bind_biased(constant, self.product, lanes, c, self.b)?;
                let c = Some(packed.biases / 4);
                return Some(Factor {
                    want,
                    binding: packed.binding,
                    storage: packed.storage,
                    panel,
                    step: lanes,
                    c,
                    numbers: None,
                });
            }
            let binding = bind_b(constant, self.product, lanes, self.b)?;
            return Some(Factor { want, binding, storage: self.b, panel, step: lanes, c: None, numbers: None });
        }
        let shape = fact.concrete()?;
        let want = Want::In(rows(&shape));
        // A vector as a column would have to be spread to rows of one element.
        (!self.product.transpose_b && shape.len() >= 2).then_some(Factor {
            want,
            binding: Binding::Input(1),
            storage: self.b,
            panel: lanes,
            step: n4,
            c: None,
            numbers: None,
        })
    }

    /// How B is packed in panels of so many units, where it is whole numbers with scales.
    fn numbers(&self, lanes: usize) -> Option<Numbers> {
        let constant = self.request.input(1).ok()?.fact.constant.as_ref()?;
        Numbers::of(constant, self.product, lanes)
    }

    /// Binds the residual, if there is one, and the result.
    fn bind_result(&self, dispatch: Dispatch) -> Result<Dispatch, String> {
        let dispatch = match self.request.optional(RESIDUAL) {
            Some(_) => dispatch.bind(Binding::Input(RESIDUAL), self.request.storage(RESIDUAL)?),
            None => dispatch,
        };
        Ok(dispatch.bind(Binding::Output(0), self.y))
    }

    /// Bytes of the operands and the result, for costs.
    fn bytes(&self) -> f64 {
        let &Product { m, k, n, .. } = self.product;
        let size = |elements: f64, storage: Storage| elements / 4.0 * storage.unit_bytes() as f64;
        let (m, k, n) = (m as f64, k as f64, n as f64);
        let b = self.numbers(1).map_or_else(|| size(k * n, self.b), |numbers| numbers.bytes() as f64);
        self.batches as f64 * (size(m * k, self.a) + b + size(m * n, self.y))
    }

    /// A candidate that takes a residual in the layout in which it leaves the result, and may write over it.
    fn candidate(&self, name: &'static str, a: Want, b: Want, c: Option<&Addend>, y: Layout) -> Candidate {
        let mut wants = vec![a, b];
        wants.resize(self.request.inputs.len(), Want::Nothing);
        if let (Some(want), Some(c)) = (wants.get_mut(2), c) {
            *want = c.want;
        }
        let residual = self.request.optional(RESIDUAL).is_some();
        if residual {
            wants[RESIDUAL] = Want::In(y);
        }
        let candidate = Candidate::new(name, wants, vec![y]);
        if residual { candidate.in_place(RESIDUAL) } else { candidate }
    }

    /// A kernel that adds the residual, if there is one; others are left as they are.
    fn with_residual(&self, kernel: Kernel) -> Kernel {
        if self.request.optional(RESIDUAL).is_some() { kernel.define("RESIDUAL", 1) } else { kernel }
    }

    /// The kernel for everything.
    fn generic(&self) -> Result<Candidate, String> {
        let p = self.product;
        let results = p.results().ok_or("it is too large")?;
        let c = self.addend(false).transpose()?;
        let kernel =
            Kernel::of("matmul/generic.wgsl").define("BIAS", c.is_some()).define("INTEGER", !self.y.is_float());
        let kernel = self.with_residual(kernel);
        let (a_row, a_column) = if p.transpose_a { (1, p.m) } else { (p.k, 1) };
        let (b_row, b_column) = if p.transpose_b { (1, p.k) } else { (p.n, 1) };
        let mut dispatch = Dispatch::of(kernel).bind(Binding::Input(0), self.a).bind(Binding::Input(1), self.b);
        if let Some(c) = &c {
            dispatch = dispatch.bind(c.binding.clone(), c.storage);
        }
        dispatch = self
            .bind_result(dispatch)?
            .param("units", results.div_ceil(4))
            .param("results", results)
            .param("m", p.m)
            .param("k", p.k)
            .param("n", p.n)
            .param("a_row", a_row)
            .param("a_column", a_column)
            .param("b_row", b_row)
            .param("b_column", b_column);
        if let Some(c) = &c {
            dispatch = dispatch.param("c_row", c.row).param("c_column", c.column);
        }
        dispatch = batch(dispatch, p, p.m * p.k, p.k * p.n);
        if self.y.is_float() {
            dispatch.kernel = dispatch.kernel.define(SWITCHED.0, SWITCHED.1);
            dispatch = epilogue(dispatch, self.epilogue);
        }
        let dispatch = dispatch.linear(results.div_ceil(4) as u64, 64, self.request.device);
        let operations =
            p.work() * rate(self.request.device, 1.0, 4.0) * idle(dispatch.workgroups, self.request.device);
        let linear = Want::In(Layout::Linear);
        Ok(self
            .candidate("generic", linear, linear, c.as_ref(), Layout::Linear)
            .dispatch(dispatch)
            .cost(operations, self.bytes()))
    }

    /// The layouts of A and of the result for kernels over rows of whole units, unless they do not take them.
    fn layouts(&self) -> Option<[Layout; 2]> {
        let y_shape = self.request.output_shape(0).ok()?;
        // The result of a vector as a column is a row of its own, not rows of one element.
        let taken = !self.product.transpose_a && y_shape.last() == Some(&self.product.n);
        taken.then_some([rows(&self.request.shape(0).ok()?), rows(&y_shape)])
    }

    /// C where it does not lie behind B, or `None` if these kernels cannot read it.
    fn apart(&self, b: &Factor) -> Option<Option<Addend>> {
        if b.c.is_some() { Some(None) } else { self.addend(true).transpose().ok() }
    }

    /// A kernel that finishes results by `matmul/finish`.
    fn finishing(&self, kernel: Kernel, b: &Factor, c: Option<&Addend>) -> Kernel {
        let kernel = b.numbers.map_or(kernel.clone(), |numbers| numbers.define(kernel));
        self.with_residual(kernel.define("BIAS", if b.c.is_some() { 2 } else { i64::from(c.is_some()) }))
    }

    /// A kernel that takes no B of whole numbers.
    fn floats(&self, tiles: Tiles) -> Option<Candidate> {
        if self.numbers(1).is_some() { None } else { self.tiled(tiles, None) }
    }

    /// The same in two steps: sums over parts of k, as many workgroups as keep the device busy, and what adds them.
    fn split(&self, tiles: &Tiles) -> Option<Candidate> {
        let p = self.product;
        let [a_layout, y_layout] = self.layouts()?;
        let b = self.operand_b(tiles.panel(p))?;
        let split = Split::of(tiles, p, b.numbers.as_ref(), self.request.device)?;
        let c = self.apart(&b)?;
        let steps = tiles.panelled().then_some([b.panel, b.step]);
        let partial =
            split.partial(p, [(Binding::Input(0), self.a), (b.binding.clone(), b.storage)], steps, b.numbers.as_ref());
        let mut join = split.join(p, self.request.device);
        join.kernel = self.finishing(join.kernel, &b, c.as_ref());
        if b.c.is_some() {
            join = join.bind(b.binding.clone(), b.storage);
        }
        if let Some(c) = &c {
            join = join.bind(c.binding.clone(), c.storage);
        }
        let join = begin_c(epilogue(self.bind_result(join).ok()?, self.epilogue), &b, c.as_ref());
        let mut candidate = self.candidate(split.name, Want::In(a_layout), b.want, c.as_ref(), y_layout);
        candidate.scratch.push((split.units(p), Storage::F32));
        let moved = 2.0 * split.units(p) as f64 * Storage::F32.unit_bytes() as f64;
        Some(candidate.dispatch(partial).dispatch(join).cost(split.operations, self.bytes() + moved))
    }

    /// A kernel over rows of whole units, A in panels of `packed` rows where that is given.
    fn tiled(&self, tiles: Tiles, packed: Option<usize>) -> Option<Candidate> {
        let Tiles { name, kernel, lanes, grid, operations } = tiles;
        let p = self.product;
        let (n4, k4) = (p.n.div_ceil(4), p.k.div_ceil(4));
        let [a_layout, y_layout] = self.layouts()?;
        let mut b = self.operand_b(lanes.unwrap_or(n4))?;
        let (mut a, mut scratch, mut packs) = (Binding::Input(0), vec![], vec![]);
        if let Some(rows) = packed {
            let mut panels = |from: &mut Binding, storage, [inner, middle, limit]: [usize; 3], steps| {
                let units = limit.div_ceil(inner).checked_mul(middle)?.checked_mul(inner)?;
                let to = Binding::Scratch(scratch.len());
                scratch.push((units as u64, storage));
                let operands = [(from.clone(), storage), (to.clone(), storage)];
                packs.push(in_panels(operands, [units, inner, middle, limit], steps, self.request.device));
                *from = to;
                Some(())
            };
            panels(&mut a, self.a, [rows, k4, p.m], [k4, 1])?;
            if let (Want::In(_), Some(lanes)) = (b.want, lanes) {
                panels(&mut b.binding, b.storage, [lanes, p.k, n4], [1, n4])?;
                (b.panel, b.step) = (p.k.checked_mul(lanes)?, lanes);
            }
        }
        let c = self.apart(&b)?;
        let kernel = self.finishing(kernel, &b, c.as_ref());
        let mut dispatch = Dispatch::of(kernel).bind(a, self.a).bind(b.binding.clone(), b.storage);
        if let Some(c) = &c {
            dispatch = dispatch.bind(c.binding.clone(), c.storage);
        }
        dispatch = self.bind_result(dispatch).ok()?;
        dispatch = sizes(dispatch, p, lanes.map(|_| [b.panel, b.step]));
        if let Some(numbers) = &b.numbers {
            dispatch = numbers.places(dispatch);
        }
        dispatch = epilogue(dispatch, self.epilogue);
        dispatch = begin_c(dispatch, &b, c.as_ref());
        // A packed B is padded to whole panels.
        let b_units = if b.want == Want::Nothing { n4.next_multiple_of(lanes.unwrap_or(n4)) } else { n4 };
        let dispatch = batch(dispatch, p, p.m * k4, p.k * b_units);
        let mut candidate = self.candidate(name, Want::In(a_layout), b.want, c.as_ref(), y_layout);
        let packed_bytes: f64 = scratch.iter().map(|(units, s)| 2.0 * (units * s.unit_bytes()) as f64).sum();
        candidate.scratch = scratch;
        candidate.dispatches = packs;
        Some(
            candidate
                .dispatch(dispatch.workgroups(grid[0], grid[1], grid[2]))
                .cost(operations, self.bytes() + packed_bytes),
        )
    }
}

/// Sets where the rows of C begin.
fn begin_c(dispatch: Dispatch, b: &Factor, c: Option<&Addend>) -> Dispatch {
    match (c, b.c) {
        (Some(c), _) => dispatch.param("c_pitch", c.row),
        (None, Some(start)) => dispatch.param("c_start", start),
        (None, None) => dispatch,
    }
}

/// Brings an operand into panels, see `matmul/panels.wgsl`.
fn in_panels(
    [x, y]: [(Binding, Storage); 2],
    [units, inner, middle, limit]: [usize; 4],
    [inner_step, middle_step]: [usize; 2],
    device: &DeviceFacts,
) -> Dispatch {
    Dispatch::of(Kernel::of("matmul/panels.wgsl"))
        .bind(x.0, x.1)
        .bind(y.0, y.1)
        .param("units", units)
        .param("inner", inner)
        .param("middle", middle)
        .param("limit", limit)
        .param("inner_step", inner_step)
        .param("middle_step", middle_step)
        .linear(units as u64, 64, device)
}
