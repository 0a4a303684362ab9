//! An output beside the expected one.

use rimlight::{ElementType, Tensor};

/// By how much an element may differ: `absolute + relative · |expected|`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Relative to the expected element.
    pub relative: f64,
    /// Absolute.
    pub absolute: f64,
}

impl Default for Bounds {
    /// Those of the standard's own runner.
    fn default() -> Self {
        Self { relative: 1e-3, absolute: 1e-7 }
    }
}

/// Tests that need wider bounds than the runner's: name, relative, absolute, and why.
pub const OWN: [(&str, f64, f64, &str); 2] = [
    ("test_dft_inverse", 1e-3, 2e-7, "the expected 1.9e-7 is the rounding of a transform in 32 bits; exact is 0"),
    (
        "test_dft_inverse_opset19",
        1e-3,
        2e-7,
        "the expected 1.9e-7 is the rounding of a transform in 32 bits; exact is 0",
    ),
];

impl Bounds {
    /// Those of a test: its own where it has some.
    #[must_use]
    pub fn of(self, test: &str) -> Self {
        match OWN.iter().find(|(name, ..)| *name == test) {
            Some(&(_, relative, absolute, _)) => {
                Self { relative: self.relative.max(relative), absolute: self.absolute.max(absolute) }
            }
            None => self,
        }
    }
}

/// Compares type, shape and elements.
///
/// # Errors
/// With what differs first.
pub fn compare(got: &Tensor, expected: &Tensor, bounds: Bounds) -> Result<(), String> {
    if (got.element_type(), got.shape()) != (expected.element_type(), expected.shape()) {
        return Err(format!(
            "{}{:?} instead of {}{:?}",
            got.element_type(),
            got.shape(),
            expected.element_type(),
            expected.shape()
        ));
    }
    let kind = expected.element_type();
    if kind == ElementType::String {
        let (got, expected) = (got.strings().unwrap_or_default(), expected.strings().unwrap_or_default());
        return match got.iter().zip(expected).position(|(g, e)| g != e) {
            Some(i) => Err(format!("element {i} is {:?} instead of {:?}", got[i], expected[i])),
            None => Ok(()),
        };
    }
    // The runner allows its bounds to integers too.
    if (kind.is_integer() || kind == ElementType::Bool) && got.bytes() == expected.bytes() {
        return Ok(());
    }
    let bounds = if kind.is_integer() { Bounds { relative: 0.0, absolute: 0.0 } } else { bounds };
    let (got, expected) = (got.to_f64(), expected.to_f64());
    for (i, (&g, &e)) in got.iter().zip(&expected).enumerate() {
        let near = e.is_finite() && (g - e).abs() <= bounds.absolute + bounds.relative * e.abs();
        if !(g == e || (g.is_nan() && e.is_nan()) || near) {
            return Err(format!("element {i} is {g} instead of {e}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_measured_by_themselves() {
        let tensor = |v: &[f32]| Tensor::vector(v.to_vec());
        let within = |relative, absolute| Bounds { relative, absolute };
        let runner = Bounds::default();
        assert!(compare(&tensor(&[1000.5, f32::NAN]), &tensor(&[1000.0, f32::NAN]), within(1e-3, 0.0)).is_ok());
        assert!(compare(&tensor(&[1.002]), &tensor(&[1.0]), runner).unwrap_err().contains("element 0"));
        assert!(compare(&tensor(&[1.0]), &Tensor::vector(vec![1i64]), within(1.0, 1.0)).is_err());
        assert!(compare(&tensor(&[f32::INFINITY]), &tensor(&[f32::MAX]), runner).is_err());
    }
}
