//! Seeded random inputs, for models that are run without any.

use half::f16;
use rimlight::tensor::Truth;
use rimlight::{ElementType, Tensor, TensorError};

/// Vigna's `splitmix64`: small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in -1..1.
    #[expect(clippy::cast_precision_loss, reason = "24 bits are exact")]
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// A tensor: floats in -1..1, bytes over their whole range, other integers in 0..8 (so that they may be indices into
    /// any vocabulary), truth values.
    ///
    /// # Errors
    /// If the tensor would not fit this machine.
    pub fn tensor(&mut self, element_type: ElementType, shape: &[usize]) -> Result<Tensor, TensorError> {
        // Checked before anything is made.
        let elements = Tensor::zeros(element_type, shape)?.len();
        let shape = shape.to_vec();
        let n = 0..elements;
        match element_type {
            ElementType::F32 => Tensor::new(shape, n.map(|_| self.unit()).collect()),
            ElementType::F16 => Tensor::new(shape, n.map(|_| f16::from_f32(self.unit())).collect()),
            ElementType::F64 => Tensor::new(shape, n.map(|_| f64::from(self.unit())).collect()),
            ElementType::I64 => Tensor::new(shape, n.map(|_| (self.next() >> 61).cast_signed()).collect()),
            ElementType::I32 => Tensor::new(shape, n.map(|_| (self.next() >> 61) as i32).collect()),
            ElementType::I8 => Tensor::new(shape, n.map(|_| (self.next() >> 56) as i8).collect()),
            ElementType::U8 => Tensor::new(shape, n.map(|_| (self.next() >> 56) as u8).collect()),
            ElementType::Bool => Tensor::new(shape, n.map(|_| Truth((self.next() >> 63) as u8)).collect()),
            ElementType::String => Tensor::zeros(element_type, shape),
            other => {
                let float = other.is_float();
                let numbers = n.map(|_| if float { self.unit().into() } else { (self.next() >> 61) as f64 });
                Tensor::from_f64(other, shape, numbers.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_and_values_stay_in_range() {
        let make = |seed| Random::new(seed).tensor(ElementType::F32, &[1000]).unwrap();
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        let tensor = make(3);
        let values = tensor.as_slice::<f32>().unwrap();
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
        let mean = values.iter().sum::<f32>() / 1000.0;
        assert!(mean.abs() < 0.1, "{mean}");
        let ids = Random::new(4).tensor(ElementType::I64, &[100]).unwrap();
        assert!(ids.as_slice::<i64>().unwrap().iter().all(|v| (0..8).contains(v)));
    }
}
