//! Tensors of any type as `f64`, and back: what references compute in.

use half::f16;

use super::{Element, ElementType, Tensor, TensorError, Truth};

impl Tensor {
    /// The elements as `f64`; truth values are 0 and 1. 64-bit integers beyond 2⁵³ are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        fn all<T: Element>(tensor: &Tensor, widen: impl Fn(T) -> f64) -> Vec<f64> {
            tensor.as_slice::<T>().unwrap_or_default().iter().map(|&v| widen(v)).collect()
        }
        match self.element_type() {
            ElementType::F32 => all(self, |v: f32| v.into()),
            ElementType::F16 => all(self, |v: f16| v.to_f64()),
            ElementType::F64 => all(self, |v: f64| v),
            ElementType::I64 => all(self, |v: i64| v as f64),
            ElementType::I32 => all(self, |v: i32| v.into()),
            ElementType::I8 => all(self, |v: i8| v.into()),
            ElementType::U8 => all(self, |v: u8| v.into()),
            ElementType::Bool => all(self, |v: Truth| f64::from(u8::from(bool::from(v)))),
        }
    }

    /// A tensor of `f64` numbers as another type: floats are rounded to the nearest, integers are cut off towards zero and
    /// bounded by their type, and what is not zero then is true.
    ///
    /// # Errors
    /// If the shape has another number of elements.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
    pub fn from_f64(
        element_type: ElementType,
        shape: impl Into<Vec<usize>>,
        numbers: Vec<f64>,
    ) -> Result<Self, TensorError> {
        let all = numbers.iter();
        match element_type {
            ElementType::F32 => Self::new(shape, all.map(|&v| v as f32).collect::<Vec<_>>()),
            ElementType::F16 => Self::new(shape, all.map(|&v| f16::from_f64(v)).collect::<Vec<_>>()),
            ElementType::F64 => Self::new(shape, numbers),
            ElementType::I64 => Self::new(shape, all.map(|&v| v as i64).collect::<Vec<_>>()),
            ElementType::I32 => Self::new(shape, all.map(|&v| v as i32).collect::<Vec<_>>()),
            ElementType::I8 => Self::new(shape, all.map(|&v| v as i8).collect::<Vec<_>>()),
            ElementType::U8 => Self::new(shape, all.map(|&v| v as u8).collect::<Vec<_>>()),
            ElementType::Bool => Self::new(shape, all.map(|&v| Truth::from(v as i64 != 0)).collect::<Vec<_>>()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_in_their_type() {
        for element_type in ElementType::ALL {
            let tensor = Tensor::from_f64(element_type, [3], vec![0.0, 1.0, 1.0]).unwrap();
            assert_eq!((tensor.element_type(), tensor.to_f64()), (element_type, vec![0.0, 1.0, 1.0]));
        }
        let small = Tensor::from_f64(ElementType::I8, [3], vec![-200.0, 1.9, f64::NAN]).unwrap();
        assert_eq!(small.as_slice::<i8>().unwrap(), [-128, 1, 0]);
        assert!(Tensor::from_f64(ElementType::F16, [2], vec![1.0]).is_err());
    }
}
