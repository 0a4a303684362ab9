//! The kernels over rows of whole units: how each cuts a product into tiles, and the parameters that all of them take.

use super::{Epilogue, Product};
use crate::kernel::{Binding, DeviceClass, DeviceFacts, Dispatch, Kernel, Storage};

/// Rows of A up to which the kernel for few rows is offered, and from which the one that shares them.
const FEW_ROWS: usize = 8;
/// Rows of A that an invocation of the kernel for few rows owns, if there are several.
const VECTOR_ROWS: usize = 4;
/// Operations from which packing both operands pays in software: a product of matrices of 320 × 320.
const LARGE: f64 = 64e6;
/// Units of columns that a workgroup of the kernel for few rows owns, and of a panel of its B: so B is read in its order.
const VECTOR_UNITS: usize = 8;
/// The define of kernels that take the activation as a parameter.
pub(super) const SWITCHED: (&str, i64) = ("SWITCHED", 1);

/// A kernel for a product, and the tiles that it cuts it into.
#[derive(Debug)]
pub(in crate::ops) struct Tiles {
    /// The family's name.
    pub name: &'static str,
    pub(super) kernel: Kernel,
    /// Units of columns of one of B's panels; `None` where B lies in rows.
    pub(super) lanes: Option<usize>,
    pub(super) grid: [u32; 3],
    /// Its time as operations of a device that does 10 GFLOP/s, with those beyond the matrix.
    pub operations: f64,
}

/// The factor by which a kernel that reaches `software` (or `other`) GFLOP/s is slower than the cost's 10.
pub(super) fn rate(device: &DeviceFacts, software: f64, other: f64) -> f64 {
    10.0 / if device.class == DeviceClass::Software { software } else { other }
}

/// The families that a device has for a product.
pub(in crate::ops) fn families(product: &Product, device: &DeviceFacts) -> Vec<Tiles> {
    [vector(product, device), register(product, device), workgroup(product, device), subgroup(product, device)]
        .into_iter()
        .flatten()
        .collect()
}

/// As [`families`], each with the tiles that it has for other sizes as well.
pub(super) fn families_for_all(product: &Product, device: &DeviceFacts) -> Vec<Tiles> {
    let few = [1, VECTOR_ROWS].into_iter().filter(|&rows| rows > 1 || product.m == 1);
    let vectors = few.filter(|_| product.m <= FEW_ROWS).map(|rows| vector_of(rows, product, device));
    let registers = [4, 8].into_iter().map(|rows| register_of(rows, product, device));
    let subgroups = [16, 32].into_iter().map(|rows| subgroup_of(rows, product, device));
    let mut all: Vec<Tiles> = vec![];
    for tiles in vectors.chain(registers).chain([workgroup_of(product, device)]).chain(subgroups).flatten() {
        if all.iter().all(|other| other.kernel != tiles.kernel) {
            all.push(tiles);
        }
    }
    all
}

/// The tiles of so many rows and units of columns, unless there are too many for a dispatch.
fn tiles(
    (name, kernel): (&'static str, Kernel),
    product: &Product,
    device: &DeviceFacts,
    lanes: Option<usize>,
    [rows, units]: [usize; 2],
    rate: f64,
) -> Option<Tiles> {
    let (across, down) = (product.n.div_ceil(4).div_ceil(units), product.m.div_ceil(rows));
    let batches = product.batches()?;
    let operations = 8.0 * batches as f64 * (down * rows) as f64 * (across * units) as f64 * product.k as f64 * rate;
    let fits = |n: usize| u32::try_from(n).ok().filter(|&n| n <= device.max_workgroups);
    let grid = [fits(across)?, fits(down)?, fits(batches)?];
    Some(Tiles { name, kernel, lanes, grid, operations: operations * idle(grid, device) })
}

/// The factor by which a grid takes longer than its work alone because it is too small for all of the device.
pub(in crate::ops) fn idle(grid: [u32; 3], device: &DeviceFacts) -> f64 {
    let workgroups: f64 = grid.iter().map(|&n| f64::from(n)).product();
    (f64::from(device.busy_workgroups) / workgroups.max(1.0)).max(1.0)
}

/// Eight units of columns per workgroup, k in slices: for few rows.
pub(in crate::ops) fn vector(p: &Product, device: &DeviceFacts) -> Option<Tiles> {
    if p.m > FEW_ROWS {
        return None;
    }
    vector_of(if p.m == 1 { 1 } else { VECTOR_ROWS }, p, device)
}

fn vector_of(rows: usize, p: &Product, device: &DeviceFacts) -> Option<Tiles> {
    // A software adapter runs invocations one after another and pays for barriers.
    let slices = if device.class == DeviceClass::Software { 1 } else { 8 };
    let kernel = Kernel::of("matmul/vector.wgsl")
        .define("ROWS", rows as i64)
        .define("LANES", VECTOR_UNITS as i64)
        .define("SLICES", slices)
        .define(SWITCHED.0, SWITCHED.1);
    // Bound by reading b, of which each unit serves all rows; measured on products that are beyond the caches.
    let software = if rows == 1 { 4.0 } else { 2.4 * rows as f64 };
    tiles(("vector", kernel), p, device, Some(VECTOR_UNITS), [rows, VECTOR_UNITS], rate(device, software, 200.0))
}

/// Rows of one unit of columns in registers, nothing shared.
fn register(p: &Product, device: &DeviceFacts) -> Option<Tiles> {
    register_of(if p.m > 4 { 8 } else { 4 }, p, device)
}

fn register_of(rows: usize, p: &Product, device: &DeviceFacts) -> Option<Tiles> {
    let kernel = Kernel::of("matmul/register.wgsl").define("ROWS", rows as i64);
    // Eight by eight invocations run, however few of them there is something to do for.
    tiles(("register", kernel), p, device, None, [rows * 8, 8], rate(device, 20.0, 200.0))
}

/// Tiles in workgroup memory.
fn workgroup(p: &Product, device: &DeviceFacts) -> Option<Tiles> {
    if p.m <= FEW_ROWS { None } else { workgroup_of(p, device) }
}

fn workgroup_of(p: &Product, device: &DeviceFacts) -> Option<Tiles> {
    // Mali and Adreno have none of their own: it is ordinary memory there.
    let fits = device.workgroup_memory >= 8 << 10
        && matches!(device.class, DeviceClass::Nvidia | DeviceClass::Amd | DeviceClass::Intel | DeviceClass::Apple);
    if !fits {
        return None;
    }
    let kernel = Kernel::of("matmul/workgroup.wgsl");
    tiles(("workgroup", kernel), p, device, None, [64, 16], rate(device, 10.0, 600.0))
}

/// Small matrices of 16-bit floats that a subgroup multiplies as one. A workgroup is a subgroup of known size and owns four by
/// four of them, so that each that is brought serves four products.
///
/// No adapter that has them was at hand: the kernel is checked by naga, but was never run. It costs more than any other, so
/// that it is taken only where [`Session::tune`](crate::Session::tune) found it faster.
pub(super) fn cooperative(p: &Product, device: &DeviceFacts, [a, b]: [Storage; 2]) -> Option<Tiles> {
    const ACROSS: usize = 4;
    let (side, invocations) = (device.matrix_side? as usize, device.subgroup_size?);
    if p.m <= FEW_ROWS || [a, b] != [Storage::F16; 2] || !matches!(side, 8 | 16) {
        return None;
    }
    let rows = ACROSS * side;
    let kernel = Kernel::of("matmul/cooperative.wgsl")
        .define("SIDE", side as i64)
        .define("INVOCATIONS", invocations)
        .define("DOWN", ACROSS as i64)
        .define("ACROSS", ACROSS as i64)
        .define("ROWS", rows as i64)
        .define("COLUMNS", rows as i64);
    tiles(("cooperative", kernel), p, device, None, [rows, rows / 4], rate(device, 0.5, 0.5))
}

/// One subgroup per workgroup, A handed round by broadcasts: for software adapters.
fn subgroup(p: &Product, device: &DeviceFacts) -> Option<Tiles> {
    let lanes = device.subgroup_size? as usize;
    if p.m <= VECTOR_ROWS { None } else { subgroup_of(if p.m > 2 * lanes { 32 } else { 16 }, p, device) }
}

fn subgroup_of(rows: usize, p: &Product, device: &DeviceFacts) -> Option<Tiles> {
    let lanes = device.subgroup_size.filter(|_| device.class == DeviceClass::Software)?;
    // The tile is written out row by row: beyond these sizes a compiler takes seconds.
    if !(4..=16).contains(&lanes) {
        return None;
    }
    let lanes = lanes as usize;
    let groups = (rows / lanes).max(1);
    let rows = groups * lanes;
    let kernel = Kernel::of("matmul/subgroup.wgsl")
        .define("LANES", lanes as i64)
        .define("GROUPS", groups as i64)
        .define("ROWS", rows as i64)
        .define("REST", (rows - lanes) as i64);
    // Where one tile has all rows, each unit of b is brought for it alone.
    let software = match (p.m > rows, rows > 16) {
        (true, true) => 60.0,
        (true, false) | (false, true) => 45.0,
        (false, false) => 33.0,
    };
    tiles(("subgroup", kernel), p, device, Some(lanes), [rows, lanes], rate(device, software, 60.0))
}

/// The same with A brought into panels first, and B where it is no constant: rows that lie a page apart throw each other
/// out of the cache, which only large products outweigh. With it, the rows of a panel. Others have it where it is to serve
/// large ones too (`open`).
pub(super) fn packed(p: &Product, device: &DeviceFacts, open: bool) -> Option<(Tiles, usize)> {
    let large = p.work() >= LARGE;
    if !p.batch.is_empty() || !large && !open {
        return None;
    }
    let tiles = if open { subgroup_of(32, p, device)? } else { subgroup(p, device)? };
    let gain = if large { 0.7 } else { 1.0 };
    let rows = tiles.kernel.defines.iter().find(|(name, _)| *name == "ROWS")?.1;
    let kernel = tiles.kernel.define("PACKED", 1);
    Some((Tiles { name: "packed", kernel, operations: tiles.operations * gain, ..tiles }, usize::try_from(rows).ok()?))
}

impl Tiles {
    /// Units of columns of one of B's panels, where B is packed: one panel as wide as B makes it rows.
    pub fn panel(&self, product: &Product) -> usize {
        self.lanes.unwrap_or(product.n.div_ceil(4))
    }

    /// Whether B lies in panels.
    pub const fn panelled(&self) -> bool {
        self.lanes.is_some()
    }

    /// The dispatch for dense operands: A and Y in rows of whole units, B packed in panels.
    pub fn dispatch(&self, p: &Product, operands: [(Binding, Storage); 3]) -> Dispatch {
        self.finished(p, operands, None, &Epilogue::PLAIN)
    }

    /// [`Tiles::dispatch`] with an epilogue, C being one row for all that lies behind B from this unit on.
    pub fn finished(
        &self,
        p: &Product,
        operands: [(Binding, Storage); 3],
        c: Option<usize>,
        then: &Epilogue,
    ) -> Dispatch {
        let [a, b, y] = operands;
        let panel = self.panel(p);
        let kernel = self.kernel.clone().define("BIAS", if c.is_some() { 2 } else { 0 });
        let mut dispatch = Dispatch::of(kernel).bind(a.0, a.1).bind(b.0, b.1).bind(y.0, y.1);
        dispatch = epilogue(sizes(dispatch, p, self.lanes.map(|lanes| [p.k * lanes, lanes])), then);
        if let Some(start) = c {
            dispatch = dispatch.param("c_start", start);
        }
        let columns = p.n.div_ceil(4).next_multiple_of(panel);
        batch(dispatch, p, p.m * p.k.div_ceil(4), p.k * columns).workgroups(self.grid[0], self.grid[1], self.grid[2])
    }
}

/// Sets the sizes, and B's steps from panel to panel and from row to row where it lies in panels.
pub(super) fn sizes(dispatch: Dispatch, p: &Product, panels: Option<[usize; 2]>) -> Dispatch {
    let dispatch = dispatch.param("m", p.m).param("k", p.k).param("n4", p.n.div_ceil(4));
    match panels {
        Some([panel, step]) => dispatch.param("b_panel", panel).param("b_step", step),
        None => dispatch,
    }
}

/// Sets the steps of a batch, from the size of a matrix of A and of one of B.
pub(super) fn batch(dispatch: Dispatch, product: &Product, a_matrix: usize, b_matrix: usize) -> Dispatch {
    let mut axes = [super::product::BatchAxis { size: 1, a: 0, b: 0 }; 3];
    let batch = &product.batch;
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

/// Sets what happens to a product. The activation is a parameter of kernels that switch, and part of the others' pipelines.
pub(super) fn epilogue(dispatch: Dispatch, epilogue: &Epilogue) -> Dispatch {
    let (activation, alpha, beta) = epilogue.activation.parameters();
    let mut dispatch = dispatch.param("alpha", epilogue.alpha).param("beta", epilogue.beta);
    if dispatch.kernel.defines.contains(&SWITCHED) {
        dispatch = dispatch.param("activation", activation);
        // The switch has it only where it is needed.
        if epilogue.activation.is_long() {
            dispatch.kernel = dispatch.kernel.define("ACTIVATION", activation);
        }
    } else {
        dispatch.kernel = dispatch.kernel.define("ACTIVATION", activation);
    }
    dispatch.param("activation_alpha", alpha).param("activation_beta", beta)
}
