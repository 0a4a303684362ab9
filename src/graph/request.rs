//! What the planner asks an operator: how it would run, on this device, with inputs that lie and are stored like these.

use super::Fact;
use crate::kernel::{DeviceFacts, Layout, Storage};
use crate::tensor::ElementType;

/// An input as the planner has it when it asks for candidates.
#[derive(Debug, Clone, Copy)]
pub struct Operand<'a> {
    /// Its type, its shape (all numbers), its content if constant.
    pub fact: &'a Fact,
    /// The layout in which it lies already; constants can be had in any.
    pub layout: Layout,
    /// What its elements are stored as; `None` if no kernel can hold them.
    pub storage: Option<Storage>,
}

/// A question to an operator: how would you run on this device?
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The inputs; `None` where an optional one is left out.
    pub inputs: &'a [Option<Operand<'a>>],
    /// The outputs' facts, all dimensions numbers.
    pub outputs: &'a [Fact],
    /// What the outputs' elements will be stored as; `None` if no kernel can hold them.
    pub output_storages: &'a [Option<Storage>],
    /// The device.
    pub device: &'a DeviceFacts,
    /// Whether the same kernels are to serve other sizes: then those for all are offered beside those for these.
    pub open: bool,
}

impl<'a> Request<'a> {
    /// The input at this place.
    ///
    /// # Errors
    /// If it is missing.
    pub fn input(&self, index: usize) -> Result<Operand<'a>, String> {
        self.inputs.get(index).copied().flatten().ok_or_else(|| format!("input {index} is missing"))
    }

    /// The input at this place, if one is given.
    pub fn optional(&self, index: usize) -> Option<Operand<'a>> {
        self.inputs.get(index).copied().flatten()
    }

    /// The shape of an input, in numbers.
    ///
    /// # Errors
    /// If the input is missing or a dimension is not known.
    pub fn shape(&self, index: usize) -> Result<Vec<usize>, String> {
        self.input(index)?.fact.dims_known()
    }

    /// The storage of an input that a kernel computes with as `f32` or `i32`.
    ///
    /// # Errors
    /// If WGSL has no such numbers: see [`Request::any_storage`] and [`Request::index_storage`].
    pub fn storage(&self, index: usize) -> Result<Storage, String> {
        let operand = self.input(index)?;
        numbers(operand.fact.element_type, operand.storage)
    }

    /// The storage of an input whose elements a kernel only moves, or computes with by their type.
    ///
    /// # Errors
    /// If no kernel can hold its elements.
    pub fn any_storage(&self, index: usize) -> Result<Storage, String> {
        let operand = self.input(index)?;
        operand.storage.ok_or_else(|| lacking(operand.fact.element_type))
    }

    /// The storage of an input that holds indices: a kernel reads them as `i32`. 64-bit ones that do not fit saturate.
    ///
    /// # Errors
    /// If they are no signed integers.
    pub fn index_storage(&self, index: usize) -> Result<Storage, String> {
        let operand = self.input(index)?;
        indices(operand.fact.element_type, operand.storage)
    }

    /// The shape of an output, in numbers.
    ///
    /// # Errors
    /// If a dimension is not known.
    pub fn output_shape(&self, index: usize) -> Result<Vec<usize>, String> {
        self.outputs.get(index).ok_or("an output is missing")?.dims_known()
    }

    /// The storage of an output that a kernel writes as `f32` or `i32`.
    ///
    /// # Errors
    /// If WGSL has no such numbers: see [`Request::any_output_storage`] and [`Request::index_output_storage`].
    pub fn output_storage(&self, index: usize) -> Result<Storage, String> {
        numbers(self.output_type(index)?, self.output_storages.get(index).copied().flatten())
    }

    /// The storage of an output whose elements a kernel only moves, or computes by their type.
    ///
    /// # Errors
    /// If no kernel can hold its elements.
    pub fn any_output_storage(&self, index: usize) -> Result<Storage, String> {
        let element_type = self.output_type(index)?;
        self.output_storages.get(index).copied().flatten().ok_or_else(|| lacking(element_type))
    }

    /// The storage of an output that a kernel writes as `i32`: indices, counts, labels.
    ///
    /// # Errors
    /// If its elements are no signed integers.
    pub fn index_output_storage(&self, index: usize) -> Result<Storage, String> {
        indices(self.output_type(index)?, self.output_storages.get(index).copied().flatten())
    }

    fn output_type(&self, index: usize) -> Result<ElementType, String> {
        Ok(self.outputs.get(index).ok_or("an output is missing")?.element_type)
    }
}

fn lacking(element_type: ElementType) -> String {
    format!("WGSL has no {element_type}")
}

fn numbers(element_type: ElementType, storage: Option<Storage>) -> Result<Storage, String> {
    storage.filter(|_| Storage::computes(element_type)).ok_or_else(|| lacking(element_type))
}

fn indices(element_type: ElementType, storage: Option<Storage>) -> Result<Storage, String> {
    match (element_type, storage) {
        (ElementType::I64, Some(Storage::I64)) => Ok(Storage::Index),
        (other, Some(storage)) if other.is_integer() && Storage::computes(other) => Ok(storage),
        (other, _) => Err(format!("its indices are {other}")),
    }
}
