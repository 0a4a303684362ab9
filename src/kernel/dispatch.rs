//! A kernel, specialised and bound: what one dispatch does.

use std::fmt;

use super::{DeviceFacts, Storage};
use crate::tensor::Tensor;

/// A shader with everything that makes it one pipeline: equal kernels share a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kernel {
    /// The WGSL file below `shaders/`, such as `norm/softmax.wgsl`.
    pub shader: &'static str,
    /// Names that the shader's `#if` and the constants in its text see, in the order given.
    /// Keep them few: each combination is a pipeline that a device must compile.
    pub defines: Vec<(&'static str, i64)>,
    /// An expression or a name pasted for a `#paste NAME` in the shader (element-wise operators).
    pub pastes: Vec<(&'static str, String)>,
    /// The storage of each of the shader's `#read`, `#write` and `#update` buffers, in their order.
    pub storages: Vec<Storage>,
    /// Buffers that are the same memory: `(read, written)` as indices into `storages`. The read one is not bound;
    /// reading it reads the written one. Only for kernels whose invocations read nothing but the units that they write.
    pub in_place: Option<(usize, usize)>,
}

impl Kernel {
    /// A kernel of this shader, without specialisation.
    pub fn of(shader: &'static str) -> Self {
        Self { shader, defines: vec![], pastes: vec![], storages: vec![], in_place: None }
    }

    /// Sets a define.
    #[must_use]
    pub fn define(mut self, name: &'static str, value: impl Into<i64>) -> Self {
        self.defines.push((name, value.into()));
        self
    }

    /// Sets a text for `#paste`.
    #[must_use]
    pub fn paste(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.pastes.push((name, text.into()));
        self
    }
}

/// A parameter of a dispatch: a 32-bit word of the shader's `#params`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Word {
    /// Unsigned.
    U32(u32),
    /// Signed.
    I32(i32),
    /// Floating point.
    F32(f32),
}

impl Word {
    /// The four bytes, as a number.
    pub const fn bits(self) -> u32 {
        match self {
            Self::U32(v) => v,
            Self::I32(v) => v.cast_unsigned(),
            Self::F32(v) => v.to_bits(),
        }
    }
}

impl From<u32> for Word {
    fn from(v: u32) -> Self {
        Self::U32(v)
    }
}
impl From<i32> for Word {
    fn from(v: i32) -> Self {
        Self::I32(v)
    }
}
impl From<f32> for Word {
    fn from(v: f32) -> Self {
        Self::F32(v)
    }
}
impl From<usize> for Word {
    /// Sizes are checked against the binding limit when a plan is made; what would not fit is caught there.
    fn from(v: usize) -> Self {
        Self::U32(u32::try_from(v).unwrap_or(u32::MAX))
    }
}

/// How a constant is brought into the form in which a kernel reads it, once, at load.
#[derive(Clone, Copy)]
pub struct Packing {
    /// A name, unique among packings: with `parameters` and the constant's content it is the key of the packed form.
    pub name: &'static str,
    /// Makes the packed elements, in buffer order. The parameters are those of the [`Constant`].
    /// The result's element type is that of the source, its shape is free, its length a multiple of four (a unit).
    pub pack: fn(&Tensor, &[usize]) -> Tensor,
}

impl fmt::Debug for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Packing {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// A constant that a dispatch binds: weights, tables of indices.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// The tensor as the graph has it.
    pub source: Tensor,
    /// How it is packed.
    pub packing: Packing,
    /// What the packing needs to know.
    pub parameters: Vec<usize>,
    /// What its elements are stored as. 64-bit integers go to [`Storage::I32`] and must fit.
    pub storage: Storage,
    /// Units that it takes once packed.
    pub units: u64,
}

/// What a buffer of a dispatch is bound to.
#[derive(Debug, Clone, PartialEq)]
pub enum Binding {
    /// The node's input of this index.
    Input(usize),
    /// The node's output of this index.
    Output(usize),
    /// Memory that lives only while the node runs, by its index in [`Candidate::scratch`](super::Candidate::scratch).
    Scratch(usize),
    /// A constant that is packed at load.
    Constant(Box<Constant>),
}

/// One dispatch of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// What runs. Its `storages` are filled in the order of `bindings`.
    pub kernel: Kernel,
    /// What its buffers are, in the order of the shader's declarations.
    pub bindings: Vec<Binding>,
    /// The parameters by name, in the order of the shader's `#params`.
    pub params: Vec<(&'static str, Word)>,
    /// Workgroups along x, y and z.
    pub workgroups: [u32; 3],
}

impl Dispatch {
    /// A dispatch of a kernel, to be filled in.
    pub fn of(kernel: Kernel) -> Self {
        Self { kernel, bindings: vec![], params: vec![], workgroups: [1, 1, 1] }
    }

    /// Binds the next buffer.
    #[must_use]
    pub fn bind(mut self, binding: Binding, storage: Storage) -> Self {
        self.bindings.push(binding);
        self.kernel.storages.push(storage);
        self
    }

    /// Sets the next parameter.
    #[must_use]
    pub fn param(mut self, name: &'static str, value: impl Into<Word>) -> Self {
        self.params.push((name, value.into()));
        self
    }

    /// Sets the number of workgroups.
    #[must_use]
    pub const fn workgroups(mut self, x: u32, y: u32, z: u32) -> Self {
        self.workgroups = [x, y, z];
        self
    }

    /// Enough workgroups of `size` invocations for `invocations` of them, folded into y where x would not do.
    /// The shader takes its number as `linear_index(…)` from `common/index` and leaves where it is out of range.
    #[must_use]
    pub fn linear(mut self, invocations: u64, size: u32, device: &DeviceFacts) -> Self {
        let groups = invocations.div_ceil(u64::from(size.max(1))).max(1);
        let limit = u64::from(device.max_workgroups.max(1));
        let y = groups.div_ceil(limit);
        let x = groups.div_ceil(y);
        // Both fit: x by construction, y because what it counts was bounded by the binding limit.
        self.workgroups = [u32::try_from(x).unwrap_or(u32::MAX), u32::try_from(y).unwrap_or(u32::MAX), 1];
        self
    }
}
