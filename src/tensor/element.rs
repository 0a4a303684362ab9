//! The types that a tensor's elements can have.

use std::fmt;

use half::f16;

/// The type of a tensor's elements, named as in the ONNX standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ElementType {
    /// 32-bit floating point (`FLOAT`).
    F32,
    /// 16-bit floating point (`FLOAT16`).
    F16,
    /// 64-bit floating point (`DOUBLE`); on the host only.
    F64,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 8-bit signed integer.
    I8,
    /// 8-bit unsigned integer.
    U8,
    /// A truth value, one byte of 0 or 1.
    Bool,
}

impl ElementType {
    /// Every element type.
    pub const ALL: [ElementType; 8] =
        [Self::F32, Self::F16, Self::F64, Self::I64, Self::I32, Self::I8, Self::U8, Self::Bool];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether the type is a floating-point one.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::F64)
    }

    /// Whether the type is an integer (truth values are not).
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::I64 | Self::I32 | Self::I8 | Self::U8)
    }

    /// The name that Rust gives the type: `f32`, `i64`, `bool`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::F64 => "f64",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that a tensor can hold.
///
/// `bool` tensors are read and written as [`Truth`], whose bytes are 0 or 1.
pub trait Element: sealed::Sealed + bytemuck::Pod + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The element type that this Rust type stands for.
    const TYPE: ElementType;
}

/// A truth value in a tensor: one byte, 0 for false and anything else for true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Truth(pub u8);

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        Self(value.into())
    }
}

impl From<Truth> for bool {
    fn from(value: Truth) -> Self {
        value.0 != 0
    }
}

macro_rules! elements {
    ($($rust:ty => $variant:ident),* $(,)?) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const TYPE: ElementType = ElementType::$variant;
        }
    )*};
}

elements! { f32 => F32, f16 => F16, f64 => F64, i64 => I64, i32 => I32, i8 => I8, u8 => U8, Truth => Bool }
