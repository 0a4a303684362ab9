//! The numbers beside the tensors of an operator on integers (scales, zero points, biases) as one buffer, so that four suffice.
//!
//! They lie one after the other as 32-bit integers, floats by their bits, each at a whole unit. Where all are constants the
//! buffer is one too; otherwise a dispatch for each brings it there.

use crate::graph::{Fact, Request};
use crate::kernel::{Binding, Candidate, Constant, Dispatch, Kernel, Layout, Packing, Storage, Want};
use crate::tensor::Tensor;

const WORKGROUP: u32 = 64;

/// As it is: tables are whole units.
const PACKING: Packing = Packing { name: "quantize/table", pack: |table, _| table.clone() };

/// A table being made.
pub(super) struct Table<'a> {
    request: &'a Request<'a>,
    entries: Vec<Entry>,
    /// Numbers so far, a multiple of four.
    length: usize,
}

struct Entry {
    /// An input of the node, or a number by its bits.
    source: Result<usize, i32>,
    begin: usize,
    count: usize,
}

impl Entry {
    fn fact<'a>(&self, request: &'a Request<'a>) -> Option<&'a Fact> {
        self.source.ok().and_then(|index| request.optional(index)).map(|operand| operand.fact)
    }
}

/// A constant's elements as 32-bit integers, floats by their bits.
#[expect(clippy::cast_possible_truncation, reason = "scales are f32 or less in a file, integers 32 bits or less")]
fn words(tensor: &Tensor) -> Vec<i32> {
    let float = tensor.element_type().is_float();
    let word = |v: f64| if float { (v as f32).to_bits().cast_signed() } else { v as i32 };
    tensor.to_f64().into_iter().map(word).collect()
}

impl<'a> Table<'a> {
    /// An empty table.
    pub fn of(request: &'a Request<'a>) -> Self {
        Self { request, entries: vec![], length: 0 }
    }

    /// Adds `count` numbers: those of an input, from the first again after the last, or the one with these bits where it is
    /// left out. Returns where they begin.
    pub fn add(&mut self, input: Option<usize>, count: usize, missing: u32) -> usize {
        let given = input.filter(|&index| self.request.optional(index).is_some());
        let begin = self.length;
        self.entries.push(Entry { source: given.ok_or(missing.cast_signed()), begin, count });
        self.length = begin.saturating_add(count.max(1).next_multiple_of(4));
        begin
    }

    /// Binds the table to the last dispatch of the candidate, and puts those before it that fill it.
    pub fn bind(self, mut candidate: Candidate, dispatch: Dispatch) -> Result<(Candidate, Dispatch), String> {
        let too_large = || "its scales and zero points are too many".to_owned();
        let units = u64::try_from(self.length / 4).map_err(|_| too_large())?;
        if self.length > 1 << 26 {
            return Err(too_large());
        }
        let known =
            |entry: &Entry| entry.source.is_err() || entry.fact(self.request).is_some_and(|f| f.constant.is_some());
        if self.entries.iter().all(known) {
            let mut table = vec![0; self.length];
            for entry in &self.entries {
                let own = match (entry.source, entry.fact(self.request).and_then(|f| f.constant.as_ref())) {
                    (Err(word), _) => vec![word],
                    (_, tensor) => tensor.map(words).unwrap_or_default(),
                };
                for (place, word) in table[entry.begin..][..entry.count].iter_mut().zip(own.into_iter().cycle()) {
                    *place = word;
                }
            }
            let constant = constant(table);
            return Ok((candidate, dispatch.bind(constant, Storage::I32)));
        }
        let scratch = candidate.scratch.len();
        candidate.scratch.push((units, Storage::I32));
        for entry in &self.entries {
            let (binding, storage, float, elements) = match (entry.source, entry.fact(self.request)) {
                (Ok(index), Some(fact)) => {
                    candidate.inputs[index] = Want::In(Layout::Linear);
                    let elements = fact.dims_known()?.iter().product::<usize>();
                    (Binding::Input(index), self.request.storage(index)?, fact.element_type.is_float(), elements)
                }
                (source, _) => (constant(vec![source.err().unwrap_or_default(); 4]), Storage::I32, false, 1),
            };
            let kernel =
                Kernel::of("quantize/table.wgsl").define("WORKGROUP", WORKGROUP).define("BITS", i64::from(float));
            let units = entry.count.max(1).div_ceil(4);
            candidate = candidate.dispatch(
                Dispatch::of(kernel)
                    .bind(binding, storage)
                    .bind(Binding::Scratch(scratch), Storage::I32)
                    .param("units", units)
                    .param("begin", entry.begin / 4)
                    .param("elements", elements.max(1))
                    .linear(units as u64, WORKGROUP, self.request.device),
            );
        }
        Ok((candidate, dispatch.bind(Binding::Scratch(scratch), Storage::I32)))
    }
}

/// Whole units of words as a constant.
pub(super) fn constant(table: Vec<i32>) -> Binding {
    let units = (table.len() / 4) as u64;
    let source = Tensor::vector(table);
    Binding::Constant(Box::new(Constant { source, packing: PACKING, parameters: vec![], storage: Storage::I32, units }))
}
