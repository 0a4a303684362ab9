//! B as whole numbers with scales, packed as `matmul/weights` reads it.

use super::Product;
use crate::kernel::{Binding, Constant, Dispatch, Kernel, Packing, Storage};
use crate::tensor::Tensor;

/// Groups that a slice of the kernel for few rows takes one after the other, at most.
const SPAN: usize = 4;

/// Parameters: k, n, 1 if it is given transposed, lanes, bits, rows of a block, 1 for zeros, and a row C, its numbers by
/// their bits.
const NUMBERS: Packing = Packing { name: "matmul/numbers", pack };

/// Where in a packed B what lies, in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    bits: usize,
    has_zeros: bool,
    /// Groups that share scales.
    block: usize,
    blocks: usize,
    /// Units of columns, those beyond n with them.
    columns: usize,
    /// Groups of a column.
    groups: usize,
}

impl Numbers {
    /// How a constant B is packed in panels of so many units; `None` where it is none of such numbers, or its blocks do not
    /// suit.
    pub fn of(source: &Tensor, product: &Product, lanes: usize) -> Option<Self> {
        let quantized = source.quantized()?;
        let &Product { k, n, transpose_b, .. } = product;
        let (shape, block) = (quantized.shape(), quantized.block());
        let (wanted, axis) = if transpose_b { ([n, k], 1) } else { ([k, n], 0) };
        let (bits, lanes) = (quantized.bits(), lanes.max(1));
        let rows = 32 / bits;
        // One that is as long as k has no end within it.
        let along = if block[axis] >= k { k.next_multiple_of(rows) } else { block[axis] };
        let suits = shape == wanted && product.batch.is_empty() && quantized.fills_words(axis);
        let numbers = Self {
            bits,
            has_zeros: !quantized.is_symmetric(),
            block: along / rows,
            blocks: k.div_ceil(along),
            columns: n.div_ceil(4).div_ceil(lanes).checked_mul(lanes)?,
            groups: k.div_ceil(rows),
        };
        suits.then_some(numbers)
    }

    /// Rows of k in a group.
    const fn rows(&self) -> usize {
        32 / self.bits
    }

    /// Units from one panel of so many lanes to the next.
    pub const fn panel(&self, lanes: usize) -> usize {
        self.groups * lanes
    }

    const fn scales(&self) -> usize {
        self.groups * self.columns
    }

    const fn zeros(&self) -> usize {
        self.scales() + self.blocks * self.columns
    }

    /// Where a row C begins.
    pub const fn c(&self) -> usize {
        self.zeros() + if self.has_zeros { self.blocks.div_ceil(4) * self.columns } else { 0 }
    }

    /// Bytes of all but C.
    pub const fn bytes(&self) -> usize {
        self.c() * 16
    }

    /// The binding of B, and of a row C behind it.
    pub fn bind(&self, source: &Tensor, product: &Product, lanes: usize, c: Option<&Tensor>) -> Option<Binding> {
        let &Product { k, n, transpose_b, .. } = product;
        let rows = self.block.checked_mul(self.rows())?;
        let mut parameters = vec![k, n, transpose_b.into(), lanes, self.bits, rows, self.has_zeros.into()];
        let mut units = self.c();
        if let Some(c) = c {
            #[expect(clippy::cast_possible_truncation, reason = "kernels read it as f32")]
            parameters.extend(c.to_f64().into_iter().map(|v| (v as f32).to_bits() as usize));
            units = units.checked_add(n.div_ceil(4))?;
        }
        Some(Binding::Constant(Box::new(Constant {
            source: source.clone(),
            packing: NUMBERS,
            parameters,
            storage: Storage::U32,
            units: u64::try_from(units).ok()?,
        })))
    }

    /// A kernel that unpacks them.
    pub fn define(&self, kernel: Kernel) -> Kernel {
        let kernel = kernel.define("BITS", self.bits as i64).define("HALVES", (self.rows() / 4) as i64);
        if self.has_zeros { kernel.define("ZERO", 1) } else { kernel }
    }

    /// The span of groups that a slice takes: all of a block where there is one slice.
    fn span(&self, kernel: &Kernel) -> usize {
        let sliced = slices(kernel).is_some_and(|slices| slices > 1);
        let divides = |span: &usize| self.blocks == 1 || self.block.is_multiple_of(*span);
        if sliced { (1..=SPAN).rev().find(divides).unwrap_or(1) } else { self.block }
    }

    /// Units of k of which parts must be multiples.
    pub fn unit(&self, kernel: &Kernel) -> usize {
        let groups = if slices(kernel).is_some() { self.span(kernel) } else { 1 };
        groups * self.rows() / 4
    }

    /// Sets where what lies.
    pub fn places(&self, dispatch: Dispatch) -> Dispatch {
        let span = slices(&dispatch.kernel).map(|_| self.span(&dispatch.kernel));
        let dispatch = dispatch
            .param("b_block", self.block)
            .param("b_columns", self.columns)
            .param("b_scales", self.scales())
            .param("b_zeros", self.zeros());
        match span {
            Some(span) => dispatch.param("b_span", span),
            None => dispatch,
        }
    }
}

/// Slices that the kernel for few rows divides k into; `None` of other kernels.
fn slices(kernel: &Kernel) -> Option<i64> {
    kernel.defines.iter().find(|(name, _)| *name == "SLICES").map(|(_, slices)| *slices)
}

fn pack(tensor: &Tensor, parameters: &[usize]) -> Tensor {
    let none = || Tensor::vector(Vec::<u32>::new());
    let (&[k, n, transposed, lanes, bits, rows_of_block, has_zeros, ref c @ ..], Some(quantized)) =
        (parameters, tensor.quantized())
    else {
        return none();
    };
    let (numbers, table) = (quantized.numbers(), quantized.table());
    let lanes = lanes.max(1);
    let (rows, columns) = (32 / bits, n.div_ceil(4).div_ceil(lanes) * lanes);
    let groups = k.div_ceil(rows);
    let mut out = vec![0u32; groups * columns * 4];
    // Without zeros of their own numbers are signed: the least has the sign bit alone.
    let middle = if has_zeros == 0 { 1u32 << (bits - 1) } else { 0 };
    let mut place = |kk: usize, column: usize, number: u8| {
        let (group, row, unit) = (kk / rows, kk % rows, column / 4);
        let at = ((unit / lanes * groups + group) * lanes + unit % lanes) * 4;
        let (word, shift) = if bits == 8 { (row, 0) } else { (row / 2, row % 2 * 4) };
        out[at + word] |= (u32::from(number) ^ middle) << (column % 4 * 8 + shift);
    };
    let width = if transposed == 0 { n } else { k };
    for (i, line) in numbers.chunks_exact(width.max(1)).enumerate() {
        for (j, &number) in line.iter().enumerate() {
            let (kk, column) = if transposed == 0 { (i, j) } else { (j, i) };
            place(kk, column, number);
        }
    }
    let [down, across] = quantized.block();
    let blocks_across = quantized.shape()[1].div_ceil(across);
    let at = |block: usize, column: usize| {
        let (i, j) = if transposed == 0 { (block * rows_of_block, column) } else { (column, block * rows_of_block) };
        i / down * blocks_across + j / across
    };
    let blocks = k.div_ceil(rows_of_block.max(1));
    for block in 0..blocks {
        let scale = |column: usize| if column < n { table.scales[at(block, column)].to_bits() } else { 0 };
        out.extend((0..columns * 4).map(scale));
    }
    if has_zeros != 0 {
        for blocks in (0..blocks).collect::<Vec<_>>().chunks(4) {
            for unit in 0..columns {
                let zero = |block: usize, column: usize| match column < n {
                    true => u32::from(table.zeros[at(block, column)]) << (column % 4 * 8),
                    false => 0,
                };
                let word = |block: &usize| (0..4).map(|i| zero(*block, unit * 4 + i)).sum::<u32>();
                out.extend(blocks.iter().map(word));
                out.extend(std::iter::repeat_n(0, 4 - blocks.len()));
            }
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "they are the bits of an f32")]
    out.extend(c.iter().map(|&bits| bits as u32));
    out.resize(out.len().next_multiple_of(4), 0);
    Tensor::vector(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::graph::{Activation, Fact, Operand, Operator, Request};
    use crate::kernel::assemble::assemble;
    use crate::kernel::check::check;
    use crate::kernel::{Binding, Candidate, DeviceClass, DeviceFacts, Layout, Storage, Want};
    use crate::ops::matmul::Gemm;
    use crate::tensor::{ElementType, Tensor};
    use crate::testing::{Input, Tolerance, try_check, weights};

    proptest! {
        // A case has dozens of pipelines.
        #![proptest_config(ProptestConfig::with_cases(3))]

        #[test]
        fn kernels_unpack_what_the_reference_reads(
            m in prop::sample::select(vec![1usize, 3, 9, 33]), k in 1usize..150, n in 1usize..45,
            along in prop::sample::select(vec![8usize, 16, 32, 1 << 20]), bits in 0usize..4, turned: bool, zeros: bool, biased: bool,
        ) {
            let t = [ElementType::I8, ElementType::U8, ElementType::I4, ElementType::U4][bits];
            let gemm = Gemm { transpose_b: turned, activation: Activation::Relu, beta: 0.5, ..Gemm::default() };
            let x = (0..m * k).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0).collect();
            let mut inputs = vec![Input::Run(Tensor::new([m, k], x).unwrap()), Input::Constant(weights(t, [k, n], turned, along, zeros))];
            if biased {
                inputs.push(Input::Constant(Tensor::vector((0..n).map(|i| i as f32 - 7.0).collect())));
            }
            // Sums of up to 150 products of magnitude 4 at most.
            try_check(&gemm, &inputs, Tolerance { absolute: 2e-4, relative: 1e-5 }).map_err(TestCaseError::fail)?;
        }
    }

    /// What a product with 4096×64 such weights is offered, with a row C or without.
    fn offered(facts: &DeviceFacts, m: usize, along: usize, with_c: bool) -> Vec<Candidate> {
        let x = Fact::new(ElementType::F32, [m, 4096]);
        let c = Fact::constant(Tensor::vector(vec![1f32; 64]));
        let given = [x, Fact::constant(weights(ElementType::I4, [4096, 64], false, along, false)), c];
        let operand = |fact| Some(Operand { fact, layout: Layout::Linear, storage: Some(Storage::F32) });
        let inputs: Vec<_> = given[..if with_c { 3 } else { 2 }].iter().map(operand).collect();
        let (outputs, output_storages) = ([Fact::new(ElementType::F32, [m, 64])], [Some(Storage::F32)]);
        let request = Request {
            inputs: &inputs,
            outputs: &outputs,
            output_storages: &output_storages,
            device: facts,
            open: false,
        };
        Gemm::default().candidates(&request).unwrap()
    }

    /// Devices and rows for which every kernel is offered.
    fn settings() -> [(DeviceFacts, usize); 4] {
        let wide = DeviceFacts::floor(DeviceClass::Nvidia);
        [(DeviceFacts::lavapipe(), 1), (DeviceFacts::lavapipe(), 200), (wide.clone(), 1), (wide, 64)]
    }

    #[test]
    fn all_kernels_that_are_offered_read_them_packed() {
        let mut seen = std::collections::BTreeSet::new();
        for (facts, m) in settings() {
            for (along, bytes) in [(32, 4096 * 64 * 5 / 8), (4096, 4096 * 64 / 2 + 64 * 4), (12, 4096 * 64 * 4)] {
                for candidate in offered(&facts, m, along, false) {
                    seen.insert(candidate.name);
                    for binding in candidate.dispatches.iter().flat_map(|dispatch| &dispatch.bindings) {
                        let Binding::Constant(constant) = binding else { continue };
                        assert_eq!(constant.units * constant.storage.unit_bytes(), bytes, "{}", candidate.name);
                    }
                    // Blocks that end within a group are read as floats.
                    assert!(along == 12 || candidate.inputs[1] != Want::In(Layout::Linear), "{}", candidate.name);
                }
            }
        }
        let expected = ["generic", "packed", "register", "subgroup", "vector", "vector, split", "workgroup"];
        assert!(expected.iter().all(|name| seen.contains(name)), "{seen:?}");
    }

    /// Parameters come in their order alone: a kernel must take them as it is given them.
    #[test]
    fn kernels_are_given_the_parameters_that_they_take() {
        for ((facts, m), with_c) in
            settings().into_iter().flat_map(|setting| [false, true].map(|c| (setting.clone(), c)))
        {
            for dispatch in offered(&facts, m, 32, with_c).iter().flat_map(|candidate| &candidate.dispatches) {
                let names: Vec<_> = dispatch.params.iter().map(|(name, _)| *name).collect();
                check(&assemble(&dispatch.kernel).unwrap(), &names).unwrap_or_else(|e| panic!("{e}"));
            }
        }
    }
}
