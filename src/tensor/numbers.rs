//! Numbers of every element type, and tensors as `f64` and back.

use half::{bf16, f16};

use super::small::{F4E2M1, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, I4, U4};
use super::wide::{Wide, written};
use super::{Element, ElementType, Tensor, TensorError, Truth};

/// An element as a number; truth values are 0 and 1.
pub trait Number: Element {
    /// Whether it is a floating-point number.
    const FLOAT: bool = Self::TYPE.is_any_float();

    /// The number; integers beyond 2⁵³ are rounded.
    fn to_float(self) -> f64;

    /// The number cut off towards zero and bounded by the type; NaN becomes 0.
    fn to_integer(self) -> i128;

    /// A float rounded to the nearest, an integer cut off towards zero and bounded by its type, true for what is not
    /// zero then.
    fn from_float(v: f64) -> Self;

    /// An integer that wraps around, a float rounded to the nearest, true for what is not zero.
    fn from_integer(v: i128) -> Self;
}

macro_rules! numbers {
    ($($type:ty: $to_float:expr, $to_integer:expr, $from_float:expr, $from_integer:expr;)*) => {$(
        #[allow(
            clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            clippy::cast_lossless, clippy::unnecessary_cast, trivial_numeric_casts, clippy::redundant_closure_call,
            reason = "casts of floats saturate and those of integers wrap around, as the trait says"
        )]
        impl Number for $type {
            fn to_float(self) -> f64 {
                ($to_float)(self)
            }
            fn to_integer(self) -> i128 {
                ($to_integer)(self)
            }
            fn from_float(v: f64) -> Self {
                ($from_float)(v)
            }
            fn from_integer(v: i128) -> Self {
                ($from_integer)(v)
            }
        }
    )*};
}

macro_rules! primitives {
    ($($type:ty),*) => {
        numbers! {$($type: |v| v as f64, |v| v as i128, |v| v as $type, |v| v as $type;)*}
    };
}
primitives! { f32, f64, i64, i32, i16, i8, u64, u32, u16, u8 }

macro_rules! floats {
    ($($type:ty),*) => {
        numbers! {$(
            $type: <$type>::to_f64, |v: $type| v.to_f64() as i128, <$type>::from_f64, |v| <$type>::from_f64(v as f64);
        )*}
    };
}
floats! { f16, bf16, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F4E2M1 }

numbers! {
    // The next power is that of the integer itself, not of the float that it is rounded to.
    F8E8M0: F8E8M0::to_f64, |v: F8E8M0| v.to_f64() as i128, F8E8M0::from_f64,
        |v: i128| F8E8M0::from_f64(if v == 0 { 0.0 } else { v.unsigned_abs().next_power_of_two() as f64 });
    Truth: |v| u8::from(bool::from(v)) as f64, |v| u8::from(bool::from(v)) as i128,
        |v: f64| Truth::from(v as i64 != 0), |v| Truth::from(v != 0);
    I4: |v: I4| v.get() as f64, |v: I4| v.get() as i128,
        |v: f64| I4::wrapping((v as i8).clamp(-8, 7)), |v| I4::wrapping(v as i8);
    U4: |v: U4| v.get() as f64, |v: U4| v.get() as i128,
        |v: f64| U4::wrapping((v as u8).min(15)), |v| U4::wrapping(v as u8);
}

/// Evaluates an expression with `$T` standing for the [`Number`] type of an element type, another one for texts.
///
/// The expression is compiled for each of 21 types: what computes with numbers is better written for the two of
/// [`Wide`](super::Wide).
macro_rules! with_number {
    ($element_type:expr, $T:ident => $number:expr, else $other:expr) => {{
        macro_rules! as_type {
            ($type:ty) => {{
                type $T = $type;
                $number
            }};
        }
        match $element_type {
            $crate::tensor::ElementType::F32 => as_type!(f32),
            $crate::tensor::ElementType::F16 => as_type!(half::f16),
            $crate::tensor::ElementType::F64 => as_type!(f64),
            $crate::tensor::ElementType::I64 => as_type!(i64),
            $crate::tensor::ElementType::I32 => as_type!(i32),
            $crate::tensor::ElementType::I8 => as_type!(i8),
            $crate::tensor::ElementType::U8 => as_type!(u8),
            $crate::tensor::ElementType::Bool => as_type!($crate::tensor::Truth),
            $crate::tensor::ElementType::I16 => as_type!(i16),
            $crate::tensor::ElementType::U16 => as_type!(u16),
            $crate::tensor::ElementType::U32 => as_type!(u32),
            $crate::tensor::ElementType::U64 => as_type!(u64),
            $crate::tensor::ElementType::BF16 => as_type!(half::bf16),
            $crate::tensor::ElementType::F8E4M3FN => as_type!($crate::tensor::F8E4M3FN),
            $crate::tensor::ElementType::F8E4M3FNUZ => as_type!($crate::tensor::F8E4M3FNUZ),
            $crate::tensor::ElementType::F8E5M2 => as_type!($crate::tensor::F8E5M2),
            $crate::tensor::ElementType::F8E5M2FNUZ => as_type!($crate::tensor::F8E5M2FNUZ),
            $crate::tensor::ElementType::F8E8M0 => as_type!($crate::tensor::F8E8M0),
            $crate::tensor::ElementType::F4E2M1 => as_type!($crate::tensor::F4E2M1),
            $crate::tensor::ElementType::I4 => as_type!($crate::tensor::I4),
            $crate::tensor::ElementType::U4 => as_type!($crate::tensor::U4),
            $crate::tensor::ElementType::String => $other,
        }
    }};
}
pub(super) use with_number;

impl Tensor {
    /// The elements as `f64`; truth values are 0 and 1. 64-bit integers beyond 2⁵³ are rounded. Of texts nothing.
    pub fn to_f64(&self) -> Vec<f64> {
        f64::all(self).unwrap_or_default()
    }

    /// A tensor of `f64` numbers as another type: floats are rounded to the nearest, integers are cut off towards zero and
    /// bounded by their type, and what is not zero then is true.
    ///
    /// # Errors
    /// If the shape has another number of elements, or the elements are to be texts.
    pub fn from_f64(
        element_type: ElementType,
        shape: impl Into<Vec<usize>>,
        numbers: Vec<f64>,
    ) -> Result<Self, TensorError> {
        let mut to = written(element_type, &[numbers.len()])?;
        to.floats(&numbers);
        to.tensor(&shape.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_in_their_type() {
        for element_type in ElementType::ALL.into_iter().filter(|&t| t != ElementType::String) {
            let one = [0.0, 1.0, 1.0];
            // A power of two is never zero.
            let numbers = if element_type == ElementType::F8E8M0 { vec![2.0, 1.0, 1.0] } else { one.to_vec() };
            let tensor = Tensor::from_f64(element_type, [3], numbers.clone()).unwrap();
            assert_eq!((tensor.element_type(), tensor.to_f64()), (element_type, numbers));
        }
        let small = Tensor::from_f64(ElementType::I8, [3], vec![-200.0, 1.9, f64::NAN]).unwrap();
        assert_eq!(small.as_slice::<i8>().unwrap(), [-128, 1, 0]);
        let tiny = Tensor::from_f64(ElementType::I4, [3], vec![-200.0, 1.9, 30.0]).unwrap();
        assert_eq!(tiny.to_f64(), [-8.0, 1.0, 7.0]);
        assert!(Tensor::from_f64(ElementType::F16, [2], vec![1.0]).is_err());
        assert!(Tensor::from_f64(ElementType::String, [1], vec![1.0]).is_err());
        assert_eq!(
            (u64::from_integer(-1), i8::from_integer(200), u64::MAX.to_integer()),
            (u64::MAX, -56, (1 << 64) - 1)
        );
        let powers = [0, 1, 3, (1 << 53) + 1].map(|v| F8E8M0::from_integer(v).to_f64());
        assert_eq!(powers, [F8E8M0::from_f64(0.0).to_f64(), 1.0, 4.0, 2f64.powi(54)]);
    }
}
