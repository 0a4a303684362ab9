//! How near is near enough.

use crate::tensor::{ElementType, Tensor, Truth};

/// `|got - expected| <= absolute + relative * |expected|`, element by element. Integers and truth values must be equal.
/// NaN equals NaN, an infinity only itself.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    pub absolute: f32,
    pub relative: f32,
}

impl Tolerance {
    /// Bit for bit (but -0 equals 0).
    pub const EXACT: Self = Self { absolute: 0.0, relative: 0.0 };

    /// A relative tolerance, with as much absolute for values below 1.
    pub const fn relative(relative: f32) -> Self {
        Self { absolute: relative, relative }
    }

    /// For values that pass through f16 storage: its rounding is 2⁻¹¹ relative and 2⁻²⁵ absolute (subnormals), once for
    /// each result (inputs are rounded before). A result beyond 65,504 becomes infinite.
    #[must_use]
    pub fn half(self) -> Self {
        // Intermediate values in f16 scratch add roundings of their own: four in all.
        Self { absolute: self.absolute + 2e-6, relative: self.relative + 4.0 / 2048.0 }
    }

    /// Compares two tensors. `flushed` is what is expected of a device that takes inputs below the smallest normal number
    /// for zero, as WGSL lets it: each element may be one or the other. So may results below the smallest normal number.
    pub fn compare(&self, got: &Tensor, expected: &Tensor, flushed: Option<&Tensor>) -> Result<(), String> {
        if got.shape() != expected.shape() || got.element_type() != expected.element_type() {
            return Err(format!("got {got:?}, expected {expected:?}"));
        }
        match expected.element_type() {
            ElementType::F32 => {
                let expected = expected.as_slice::<f32>().unwrap_or_default();
                let flushed = flushed.and_then(|t| t.as_slice::<f32>().ok());
                self.floats(got.as_slice::<f32>().unwrap_or_default(), expected, flushed)
            }
            ElementType::F16 => {
                let widen = |t: &Tensor| -> Vec<f32> {
                    t.as_slice::<half::f16>().unwrap_or_default().iter().map(|v| v.to_f32()).collect()
                };
                self.half().floats(&widen(got), &widen(expected), None)
            }
            ElementType::I32 => equal(got.as_slice::<i32>(), expected.as_slice::<i32>()),
            ElementType::I64 => equal(got.as_slice::<i64>(), expected.as_slice::<i64>()),
            ElementType::I8 => equal(got.as_slice::<i8>(), expected.as_slice::<i8>()),
            ElementType::U8 => equal(got.as_slice::<u8>(), expected.as_slice::<u8>()),
            ElementType::Bool => equal(got.as_slice::<Truth>(), expected.as_slice::<Truth>()),
            t if t == ElementType::BF16 || t.is_small_float() => {
                let widen = |t: &Tensor| t.to_f64().into_iter().map(|v| v as f32).collect::<Vec<_>>();
                self.floats(&widen(got), &widen(expected), None)
            }
            // Exactly. Which NaN it makes of another a device is free to choose.
            ElementType::F64 => {
                let numbers =
                    |t: &Tensor| t.to_f64().into_iter().map(|v| (!v.is_nan()).then_some(v)).collect::<Vec<_>>();
                equal::<_, ()>(Ok(&numbers(got)), Ok(&numbers(expected)))
            }
            // Bit for bit.
            _ => equal::<u8, ()>(Ok(got.bytes()), Ok(expected.bytes())),
        }
    }

    /// How much farther apart two numbers are than they may be; 0 where they are near enough.
    fn excess(&self, got: f32, expected: f32) -> f32 {
        if got == expected || (got.is_nan() && expected.is_nan()) {
            0.0
        } else if got.is_finite() && expected.is_finite() {
            ((got - expected).abs() - (self.absolute + self.relative * expected.abs())).max(0.0)
        } else {
            // Beyond f16's range infinity is the right answer of f16 storage, if the tolerance is f16's.
            let beyond = self.relative > 1e-3 && got.is_infinite() && expected.abs() >= 65_504.0;
            if beyond && got.signum() == expected.signum() { 0.0 } else { f32::INFINITY }
        }
    }

    fn floats(&self, got: &[f32], expected: &[f32], flushed: Option<&[f32]>) -> Result<(), String> {
        let mut worst: Option<(f32, usize)> = None;
        for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
            let mut excess = self.excess(g, e);
            if let Some(flushed) = flushed.filter(|_| excess > 0.0) {
                let zero = g == 0.0 && (e.is_subnormal() || flushed[i].is_subnormal());
                excess = if zero { 0.0 } else { excess.min(self.excess(g, flushed[i])) };
            }
            if excess > 0.0 && worst.is_none_or(|(w, _)| excess > w) {
                worst = Some((excess, i));
            }
        }
        match worst {
            None => Ok(()),
            Some((_, i)) => Err(format!(
                "element {i} of {} is {}, expected {} (tolerance {self:?}); the first are {:?}, expected {:?}",
                got.len(),
                got[i],
                expected[i],
                &got[..got.len().min(8)],
                &expected[..got.len().min(8)],
            )),
        }
    }
}

fn equal<T: PartialEq + std::fmt::Debug, E>(got: Result<&[T], E>, expected: Result<&[T], E>) -> Result<(), String> {
    let (Ok(got), Ok(expected)) = (got, expected) else { return Err("the types differ".to_owned()) };
    match got.iter().zip(expected).position(|(g, e)| g != e) {
        None => Ok(()),
        Some(i) => Err(format!("element {i} of {} is {:?}, expected {:?}", got.len(), got[i], expected[i])),
    }
}
