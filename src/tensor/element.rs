//! The types that a tensor's elements can have.

use std::fmt;

use half::{bf16, f16};

use super::small::{F4E2M1, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, I4, U4};

/// The type of a tensor's elements, named as in the ONNX standard.
///
/// On the host an element of a 4-bit type takes a whole byte; files hold two in one.
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
    /// 16-bit signed integer.
    I16,
    /// 16-bit unsigned integer.
    U16,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit unsigned integer.
    U64,
    /// The upper half of a 32-bit floating-point number (`BFLOAT16`).
    BF16,
    /// 8-bit floating point: 4 bits of exponent, 3 of mantissa, no infinity (`FLOAT8E4M3FN`).
    F8E4M3FN,
    /// 8-bit floating point: 4 bits of exponent, 3 of mantissa, no infinity, one zero (`FLOAT8E4M3FNUZ`).
    F8E4M3FNUZ,
    /// 8-bit floating point: 5 bits of exponent, 2 of mantissa (`FLOAT8E5M2`).
    F8E5M2,
    /// 8-bit floating point: 5 bits of exponent, 2 of mantissa, no infinity, one zero (`FLOAT8E5M2FNUZ`).
    F8E5M2FNUZ,
    /// 8 bits of exponent alone: powers of two, scales of blocks (`FLOAT8E8M0`).
    F8E8M0,
    /// 4-bit floating point: 2 bits of exponent, 1 of mantissa, no infinity, no NaN (`FLOAT4E2M1`).
    F4E2M1,
    /// 4-bit signed integer.
    I4,
    /// 4-bit unsigned integer.
    U4,
    /// A text; see [`Tensor::strings`](super::Tensor::strings).
    String,
}

impl ElementType {
    /// Every element type, texts last.
    pub const ALL: [Self; 22] = [
        Self::F32,
        Self::F16,
        Self::F64,
        Self::I64,
        Self::I32,
        Self::I8,
        Self::U8,
        Self::Bool,
        Self::I16,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::BF16,
        Self::F8E4M3FN,
        Self::F8E4M3FNUZ,
        Self::F8E5M2,
        Self::F8E5M2FNUZ,
        Self::F8E8M0,
        Self::F4E2M1,
        Self::I4,
        Self::U4,
        Self::String,
    ];

    /// Bytes of one element in a tensor on the host; of a text those of its handle.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool | Self::I4 | Self::U4 => 1,
            Self::F8E4M3FN | Self::F8E4M3FNUZ | Self::F8E5M2 | Self::F8E5M2FNUZ | Self::F8E8M0 | Self::F4E2M1 => 1,
            Self::String => size_of::<String>(),
        }
    }

    /// Bits of one element in a file; of a text none.
    pub const fn bits(self) -> usize {
        match self {
            Self::I4 | Self::U4 | Self::F4E2M1 => 4,
            Self::String => 0,
            other => other.size() * 8,
        }
    }

    /// Whether the type is a floating-point one that operators compute with. Smaller ones are stored, cast and quantized.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::F64 | Self::BF16)
    }

    /// Whether the type is a floating-point one of eight bits or less: such numbers are stored, cast and quantized.
    pub const fn is_small_float(self) -> bool {
        matches!(
            self,
            Self::F8E4M3FN | Self::F8E4M3FNUZ | Self::F8E5M2 | Self::F8E5M2FNUZ | Self::F8E8M0 | Self::F4E2M1
        )
    }

    /// Whether the type is a floating-point one of any size.
    pub const fn is_any_float(self) -> bool {
        self.is_float() || self.is_small_float()
    }

    /// Whether the type is an integer (truth values are not).
    pub const fn is_integer(self) -> bool {
        self.is_signed_integer() || matches!(self, Self::U64 | Self::U32 | Self::U16 | Self::U8 | Self::U4)
    }

    /// Whether the type is an integer with a sign.
    pub const fn is_signed_integer(self) -> bool {
        matches!(self, Self::I64 | Self::I32 | Self::I16 | Self::I8 | Self::I4)
    }

    /// The name that Rust gives the type, or would give: `f32`, `i64`, `bool`, `f8e5m2`.
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
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::BF16 => "bf16",
            Self::F8E4M3FN => "f8e4m3fn",
            Self::F8E4M3FNUZ => "f8e4m3fnuz",
            Self::F8E5M2 => "f8e5m2",
            Self::F8E5M2FNUZ => "f8e5m2fnuz",
            Self::F8E8M0 => "f8e8m0",
            Self::F4E2M1 => "f4e2m1",
            Self::I4 => "i4",
            Self::U4 => "u4",
            Self::String => "string",
        }
    }

    /// The type's number in the standard (`TensorProto.DataType`): what `to` and `dtype` attributes hold.
    pub const fn data_type(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
            Self::U16 => 4,
            Self::I16 => 5,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::String => 8,
            Self::Bool => 9,
            Self::F16 => 10,
            Self::F64 => 11,
            Self::U32 => 12,
            Self::U64 => 13,
            Self::BF16 => 16,
            Self::F8E4M3FN => 17,
            Self::F8E4M3FNUZ => 18,
            Self::F8E5M2 => 19,
            Self::F8E5M2FNUZ => 20,
            Self::U4 => 21,
            Self::I4 => 22,
            Self::F4E2M1 => 23,
            Self::F8E8M0 => 24,
        }
    }

    /// The type that the standard numbers so. Complex numbers (14 and 15) are none of Rimlight's.
    pub fn from_data_type(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|t| i64::from(t.data_type()) == number)
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

elements! {
    f32 => F32, f16 => F16, f64 => F64, i64 => I64, i32 => I32, i8 => I8, u8 => U8, Truth => Bool,
    i16 => I16, u16 => U16, u32 => U32, u64 => U64, bf16 => BF16,
    F8E4M3FN => F8E4M3FN, F8E4M3FNUZ => F8E4M3FNUZ, F8E5M2 => F8E5M2, F8E5M2FNUZ => F8E5M2FNUZ, F8E8M0 => F8E8M0,
    F4E2M1 => F4E2M1, I4 => I4, U4 => U4,
}
