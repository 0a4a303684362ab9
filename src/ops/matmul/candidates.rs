//! The ways to multiply matrices on a GPU. Which one wins on which device: the measurements in `docs/devices.md`.

use super::pack::{bind_b, bind_c};
use super::{Epilogue, Product};
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, DeviceClass, Dispatch, Kernel, Layout, Storage, Want};
use crate::tensor::shape::broadcast_strides;

/// Rows of A up to which the kernels for few rows are offered.
const FEW_ROWS: usize = 8;

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

/// The candidates for a product of inputs 0 and 1, input 2 (if there is one) added.
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
    let mut offered = vec![plan.generic()?];
    if plan.y.is_float() {
        offered.extend(plan.vector());
        offered.extend(plan.register());
        offered.extend(plan.workgroup());
        offered.extend(plan.subgroup());
    }
    Ok(offered)
}

/// Rows padded to whole units; a single row is that in any case.
fn rows(shape: &[usize]) -> Layout {
    let outer = &shape[..shape.len().saturating_sub(1)];
    if outer.iter().all(|&d| d == 1) { Layout::Linear } else { Layout::Rows.canonical(shape) }
}

impl Plan<'_> {
    /// The factor by which a kernel that reaches `software` (or `other`) GFLOP/s is slower than the cost's 10.
    fn rate(&self, software: f64, other: f64) -> f64 {
        10.0 / if self.request.device.class == DeviceClass::Software { software } else { other }
    }

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

    /// B in rows (one panel) or in panels: what is wanted of it, the binding, and the steps between panels and rows.
    fn operand_b(&self, lanes: usize) -> Option<(Want, Binding, usize, usize)> {
        let n4 = self.product.n.div_ceil(4);
        let fact = self.request.input(1).ok()?.fact;
        if let Some(constant) = &fact.constant {
            let binding = bind_b(constant, self.product, lanes, self.b)?;
            return Some((Want::Nothing, binding, self.product.k.checked_mul(lanes)?, lanes));
        }
        let shape = fact.concrete()?;
        // A vector as a column would have to be spread to rows of one element.
        (!self.product.transpose_b && shape.len() >= 2).then(|| (Want::In(rows(&shape)), Binding::Input(1), lanes, n4))
    }

    fn batch(&self, dispatch: Dispatch, a_matrix: usize, b_matrix: usize) -> Dispatch {
        let mut axes = [super::product::BatchAxis { size: 1, a: 0, b: 0 }; 3];
        let batch = &self.product.batch;
        axes[3 - batch.len()..].copy_from_slice(batch);
        dispatch
            .param("batch_1", axes[1].size)
            .param("batch_2", axes[2].size)
            .param("a_step_0", axes[0].a * a_matrix)
            .param("a_step_1", axes[1].a * a_matrix)
            .param("a_step_2", axes[2].a * a_matrix)
            .param("b_step_0", axes[0].b * b_matrix)
            .param("b_step_1", axes[1].b * b_matrix)
            .param("b_step_2", axes[2].b * b_matrix)
    }

    fn epilogue(&self, dispatch: Dispatch) -> Dispatch {
        let (activation, alpha, beta) = self.epilogue.activation.parameters();
        dispatch
            .param("alpha", self.epilogue.alpha)
            .param("beta", self.epilogue.beta)
            .param("activation", activation)
            .param("activation_alpha", alpha)
            .param("activation_beta", beta)
    }

    /// Bytes of the operands and the result, for costs.
    fn bytes(&self) -> f64 {
        let &Product { m, k, n, .. } = self.product;
        let size = |elements: f64, storage: Storage| elements / 4.0 * storage.unit_bytes() as f64;
        let (m, k, n) = (m as f64, k as f64, n as f64);
        self.batches as f64 * (size(m * k, self.a) + size(k * n, self.b) + size(m * n, self.y))
    }

    fn wants(&self, a: Want, b: Want, c: Option<&Addend>) -> Vec<Want> {
        let mut wants = vec![a, b];
        if self.request.inputs.len() > 2 {
            wants.push(c.map_or(Want::Nothing, |c| c.want));
        }
        wants
    }

    /// The kernel for everything.
    fn generic(&self) -> Result<Candidate, String> {
        let p = self.product;
        let results = p.results().ok_or("it is too large")?;
        let c = self.addend(false).transpose()?;
        let kernel =
            Kernel::of("matmul/generic.wgsl").define("BIAS", c.is_some()).define("INTEGER", !self.y.is_float());
        let (a_row, a_column) = if p.transpose_a { (1, p.m) } else { (p.k, 1) };
        let (b_row, b_column) = if p.transpose_b { (1, p.k) } else { (p.n, 1) };
        let mut dispatch = Dispatch::of(kernel).bind(Binding::Input(0), self.a).bind(Binding::Input(1), self.b);
        if let Some(c) = &c {
            dispatch = dispatch.bind(c.binding.clone(), c.storage);
        }
        dispatch = dispatch
            .bind(Binding::Output(0), self.y)
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
        dispatch = self.batch(dispatch, p.m * p.k, p.k * p.n);
        if self.y.is_float() {
            dispatch = self.epilogue(dispatch);
        }
        let dispatch = dispatch.linear(results.div_ceil(4) as u64, 64, self.request.device);
        let linear = Want::In(Layout::Linear);
        Ok(Candidate::new("generic", self.wants(linear, linear, c.as_ref()), vec![Layout::Linear])
            .dispatch(dispatch)
            .cost(p.work() * self.rate(1.0, 4.0), self.bytes()))
    }

    /// A kernel over rows of whole units: `grid` workgroups, `padded` operations with what lies beyond the matrix.
    fn tiled(
        &self,
        name: &'static str,
        kernel: Kernel,
        lanes: Option<usize>,
        grid: [usize; 3],
        rate: f64,
        padded: f64,
    ) -> Option<Candidate> {
        let p = self.product;
        let (n4, k4) = (p.n.div_ceil(4), p.k.div_ceil(4));
        let a_shape = self.request.shape(0).ok()?;
        let y_shape = self.request.output_shape(0).ok()?;
        // The result of a vector as a column is a row of its own, not rows of one element.
        if p.transpose_a || y_shape.last() != Some(&p.n) {
            return None;
        }
        let device = self.request.device;
        let limit = device.max_workgroups as usize;
        if grid.iter().any(|&g| g > limit) {
            return None;
        }
        let (b_want, b, b_panel, b_step) = self.operand_b(lanes.unwrap_or(n4))?;
        let c = self.addend(true).transpose().ok()?;
        let mut dispatch =
            Dispatch::of(kernel.define("BIAS", c.is_some())).bind(Binding::Input(0), self.a).bind(b, self.b);
        if let Some(c) = &c {
            dispatch = dispatch.bind(c.binding.clone(), c.storage);
        }
        dispatch = dispatch.bind(Binding::Output(0), self.y).param("m", p.m).param("k", p.k).param("n4", n4);
        if lanes.is_some() {
            dispatch = dispatch.param("b_panel", b_panel).param("b_step", b_step);
        }
        dispatch = self.epilogue(dispatch);
        if let Some(c) = &c {
            dispatch = dispatch.param("c_pitch", c.row);
        }
        // A packed B is padded to whole panels.
        let b_units = if b_want == Want::Nothing { n4.next_multiple_of(lanes.unwrap_or(n4)) } else { n4 };
        let dispatch = self.batch(dispatch, p.m * k4, p.k * b_units);
        let [x, y, z] = grid.map(|g| u32::try_from(g).unwrap_or(u32::MAX));
        let wants = self.wants(Want::In(rows(&a_shape)), b_want, c.as_ref());
        Some(
            Candidate::new(name, wants, vec![rows(&y_shape)])
                .dispatch(dispatch.workgroups(x, y, z))
                .cost(padded * rate, self.bytes()),
        )
    }

    /// Operations when rows and units of columns are rounded up to whole tiles.
    fn padded(&self, tile_rows: usize, tile_units: usize) -> f64 {
        let p = self.product;
        let (rows, units) = (p.m.div_ceil(tile_rows) * tile_rows, p.n.div_ceil(4).div_ceil(tile_units) * tile_units);
        8.0 * self.batches as f64 * rows as f64 * units as f64 * p.k as f64
    }

    /// Eight units of columns per workgroup, k in slices: for few rows.
    fn vector(&self) -> Option<Candidate> {
        let p = self.product;
        if p.m > FEW_ROWS {
            return None;
        }
        let rows = if p.m == 1 { 1 } else { 4 };
        let grid = [p.n.div_ceil(4).div_ceil(8), p.m.div_ceil(rows), self.batches];
        let kernel = Kernel::of("matmul/vector.wgsl").define("ROWS", rows as i64);
        // Bound by reading b, of which each unit serves all rows.
        self.tiled("vector", kernel, None, grid, self.rate(4.0 * rows as f64, 200.0), self.padded(rows, 8))
    }

    /// Rows of one unit of columns in registers, nothing shared.
    fn register(&self) -> Option<Candidate> {
        let p = self.product;
        let rows = if p.m > 4 { 8 } else { 4 };
        let grid = [p.n.div_ceil(4).div_ceil(8), p.m.div_ceil(rows * 8), self.batches];
        let kernel = Kernel::of("matmul/register.wgsl").define("ROWS", rows as i64);
        // Eight by eight invocations run, however few of them there is something to do for.
        self.tiled("register", kernel, None, grid, self.rate(20.0, 200.0), self.padded(rows * 8, 8))
    }

    /// Tiles in workgroup memory.
    fn workgroup(&self) -> Option<Candidate> {
        let p = self.product;
        let device = self.request.device;
        // Mali and Adreno have none of their own: it is ordinary memory there.
        let fits = device.workgroup_memory >= 8 << 10
            && matches!(device.class, DeviceClass::Nvidia | DeviceClass::Amd | DeviceClass::Intel | DeviceClass::Apple);
        if !fits || p.m <= FEW_ROWS {
            return None;
        }
        let grid = [p.n.div_ceil(64), p.m.div_ceil(64), self.batches];
        let kernel = Kernel::of("matmul/workgroup.wgsl");
        self.tiled("workgroup", kernel, None, grid, self.rate(10.0, 600.0), self.padded(64, 16))
    }

    /// One subgroup per workgroup, A handed round by broadcasts: for software adapters.
    fn subgroup(&self) -> Option<Candidate> {
        let p = self.product;
        let device = self.request.device;
        let lanes = device.subgroup_size.filter(|_| device.class == DeviceClass::Software)?;
        // The tile is written out row by row: beyond these sizes a compiler takes seconds.
        if !(4..=16).contains(&lanes) || p.m < FEW_ROWS {
            return None;
        }
        let lanes = lanes as usize;
        let groups = if p.m > 2 * lanes { 32 / lanes } else { 16 / lanes }.max(1);
        let grid = [p.n.div_ceil(4 * lanes), p.m.div_ceil(groups * lanes), self.batches];
        let kernel = Kernel::of("matmul/subgroup.wgsl").define("LANES", lanes as i64).define("GROUPS", groups as i64);
        self.tiled("subgroup", kernel, Some(lanes), grid, self.rate(60.0, 60.0), self.padded(groups * lanes, lanes))
    }
}
