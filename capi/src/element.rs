//! The types of elements, numbered as ONNX numbers them.

use std::ffi::{CStr, c_char};

use crate::failure::Failure;
use crate::status::Status;

/// The type of a tensor's elements, by ONNX's numbers (TensorProto.DataType). Later versions may add others.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// Not known, or the value is no tensor.
    Unknown = 0,
    /// float.
    F32 = 1,
    /// uint8_t.
    U8 = 2,
    /// int8_t.
    I8 = 3,
    /// uint16_t.
    U16 = 4,
    /// int16_t.
    I16 = 5,
    /// int32_t.
    I32 = 6,
    /// int64_t.
    I64 = 7,
    /// Texts, which this interface tells of but does not take or give.
    String = 8,
    /// One byte, 0 for false and 1 for true.
    Bool = 9,
    /// 16-bit floating point (IEEE 754).
    F16 = 10,
    /// double.
    F64 = 11,
    /// uint32_t.
    U32 = 12,
    /// uint64_t.
    U64 = 13,
    /// The upper half of a float.
    Bf16 = 16,
    /// 8-bit floating point: 4 bits of exponent, 3 of mantissa, no infinity.
    F8e4m3fn = 17,
    /// 8-bit floating point: 4 bits of exponent, 3 of mantissa, no infinity, one zero.
    F8e4m3fnuz = 18,
    /// 8-bit floating point: 5 bits of exponent, 2 of mantissa.
    F8e5m2 = 19,
    /// 8-bit floating point: 5 bits of exponent, 2 of mantissa, no infinity, one zero.
    F8e5m2fnuz = 20,
    /// 4-bit unsigned integer, in a byte of its own.
    U4 = 21,
    /// 4-bit signed integer, in a byte of its own.
    I4 = 22,
    /// 4-bit floating point, in a byte of its own.
    F4e2m1 = 23,
    /// 8 bits of exponent alone: powers of two.
    F8e8m0 = 24,
}

impl ElementType {
    /// Each type, and what it is called.
    const ALL: [(Self, &CStr); 23] = [
        (Self::Unknown, c"unknown"),
        (Self::F32, c"f32"),
        (Self::U8, c"u8"),
        (Self::I8, c"i8"),
        (Self::U16, c"u16"),
        (Self::I16, c"i16"),
        (Self::I32, c"i32"),
        (Self::I64, c"i64"),
        (Self::String, c"string"),
        (Self::Bool, c"bool"),
        (Self::F16, c"f16"),
        (Self::F64, c"f64"),
        (Self::U32, c"u32"),
        (Self::U64, c"u64"),
        (Self::Bf16, c"bf16"),
        (Self::F8e4m3fn, c"f8e4m3fn"),
        (Self::F8e4m3fnuz, c"f8e4m3fnuz"),
        (Self::F8e5m2, c"f8e5m2"),
        (Self::F8e5m2fnuz, c"f8e5m2fnuz"),
        (Self::U4, c"u4"),
        (Self::I4, c"i4"),
        (Self::F4e2m1, c"f4e2m1"),
        (Self::F8e8m0, c"f8e8m0"),
    ];

    /// The library's type, as C knows it.
    pub(crate) fn of(element_type: rimlight::ElementType) -> Self {
        let same = |(known, _): &(Self, &CStr)| *known as i32 == element_type.data_type();
        Self::ALL.into_iter().find(same).map_or(Self::Unknown, |(known, _)| known)
    }

    /// The library's type of a number that C gave, if it is one whose elements are bytes.
    pub(crate) fn taken(number: i32) -> Result<rimlight::ElementType, Failure> {
        let Some(found) = rimlight::ElementType::from_data_type(number.into()) else {
            return Err(Failure::new(
                Status::InvalidArgument,
                format!("{number} is no RimlightElementType; 1 is F32, 7 is I64"),
            ));
        };
        if found == rimlight::ElementType::String {
            return Err(Failure::new(Status::Unsupported, "texts are neither taken nor given by the interface for C"));
        }
        Ok(found)
    }
}

/// What a RimlightElementType is called, such as "f32"; "unknown" for a number that is none. The text lives as long as the program.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_element_type_name(element_type: i32) -> *const c_char {
    let found = ElementType::ALL.into_iter().find(|(known, _)| *known as i32 == element_type);
    found.map_or(c"unknown", |(_, name)| name).as_ptr()
}

/// Bytes of one element of a RimlightElementType; 0 for texts, and for a number that is none.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_element_type_size(element_type: i32) -> usize {
    ElementType::taken(element_type).map_or(0, rimlight::ElementType::size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_the_librarys_name_and_number() {
        assert_eq!(ElementType::ALL.len(), rimlight::ElementType::ALL.len() + 1);
        for theirs in rimlight::ElementType::ALL {
            let ours = ElementType::of(theirs);
            let (_, name) = ElementType::ALL.into_iter().find(|(known, _)| *known == ours).unwrap();
            assert_eq!((ours as i32, name.to_str().unwrap()), (theirs.data_type(), theirs.name()));
        }
        assert_eq!(rimlight_element_type_size(1), 4);
        assert_eq!(
            [rimlight_element_type_size(8), rimlight_element_type_size(-1), rimlight_element_type_size(14)],
            [0; 3]
        );
    }
}
