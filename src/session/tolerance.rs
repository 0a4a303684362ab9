//! How near two tensors must be, and how near they are.

use super::Precision;
use crate::tensor::Tensor;

/// How near a value must be to the reference's.
///
/// A float differs by `|got - expected|`; allowed is `atol + rtol · m`, where `m` is the largest magnitude that the
/// reference has in the same channel: axis 1 of a value of rank 4 or more, the last axis of one of rank 3, the whole of a
/// smaller one and of one whose channels are single elements. (Channels of one network differ a thousand times in scale,
/// and within one the rounding errors of a sum are those of its largest terms.) A channel that an activation has all but
/// silenced still has the errors of the sums before it, which are as large as its neighbours': so `m` is at least `floor`
/// times the whole value's largest magnitude.
/// Integers and truth values must be equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Relative to the channel's largest magnitude.
    pub rtol: f32,
    /// Absolute.
    pub atol: f32,
    /// The part of the whole value's largest magnitude that a channel is measured by at least; 0 for outputs that are
    /// compared channel by channel.
    pub floor: f32,
    /// How far a value may stray in the end, relative to its channel's largest magnitude, where every step on its own
    /// keeps to `rtol`: an ill-conditioned network amplifies the rounding errors of any engine, those of the references
    /// included. 0 where steps are not to be looked at one by one. Where floats become integers of few bits on the way,
    /// any distance is allowed, as long as the steps agree.
    pub amplified: f32,
}

impl Tolerance {
    /// The same, but values are compared to the end only, never step by step.
    #[must_use]
    pub const fn end_to_end(self) -> Self {
        Self { amplified: 0.0, ..self }
    }

    /// The tolerance that suits a precision: 5·10⁻⁵ in 32 bits (another runtime's optimized and plain runs of one
    /// network differ by 7·10⁻⁶ to 9·10⁻⁵), 10⁻² in 16 bits, whose own step is 5·10⁻⁴: a hundred layers add it up.
    /// Amplified errors may be 100 and 8 times as large.
    pub const fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 | Precision::Auto => Self { rtol: 5e-5, atol: 1e-6, floor: 0.25, amplified: 5e-3 },
            Precision::F16 => Self { rtol: 1e-2, atol: 1e-4, floor: 0.25, amplified: 8e-2 },
        }
    }

    /// Compares a tensor with the reference's.
    pub fn compare(&self, name: &str, got: &Tensor, expected: &Tensor) -> Comparison {
        let mut result = Comparison {
            name: name.to_owned(),
            shape: expected.shape().to_vec(),
            elements: expected.len(),
            worst: 0.0,
            index: 0,
            got: 0.0,
            expected: 0.0,
            passed: true,
            amplified: false,
        };
        if got.element_type() != expected.element_type() || got.shape() != expected.shape() {
            result.passed = false;
            result.worst = f32::INFINITY;
            return result;
        }
        // 64-bit integers beyond 2⁵³ look alike; such are no results of arithmetic on a device.
        let (got, want) = (got.to_f64(), expected.to_f64());
        let float = expected.element_type().is_float();
        let channels = Channels::of(expected.shape());
        let largest = channels.largest(&want, self.floor);
        // The element that uses up most of what it is allowed.
        let mut most = 0.0;
        for (i, (&g, &e)) in got.iter().zip(&want).enumerate() {
            if g == e || (g.is_nan() && e.is_nan()) {
                continue;
            }
            let scale = largest[channels.channel(i)];
            let difference = (g - e).abs();
            let allowed = if float { f64::from(self.atol) + f64::from(self.rtol) * scale } else { 0.0 };
            let used = if difference.is_finite() { difference / allowed } else { f64::INFINITY };
            if used > most {
                most = used;
                #[expect(clippy::cast_possible_truncation, reason = "a figure for people")]
                let relative = (difference / scale.max(1e-30)) as f32;
                result.worst = if relative.is_nan() { f32::INFINITY } else { relative };
                (result.index, result.got, result.expected) = (i, g, e);
            }
        }
        result.passed = most <= 1.0;
        result
    }
}

/// One value, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The value's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How many elements were compared.
    pub elements: usize,
    /// The difference of the element that uses up most of what it is allowed, relative to its channel's largest
    /// magnitude; infinite where one side is not finite.
    pub worst: f32,
    /// Where that is, counted in row-major order.
    pub index: usize,
    /// What the device has there.
    pub got: f64,
    /// What the reference has there.
    pub expected: f64,
    /// Whether every element is within the tolerance, or is told by `amplified`.
    pub passed: bool,
    /// Whether elements that are outside it are no more than rounding errors of steps before, each within the tolerance
    /// by itself, which the network amplified.
    pub amplified: bool,
}

/// Which channel an element belongs to.
struct Channels {
    count: usize,
    /// Elements between neighbours along the channel axis.
    stride: usize,
}

impl Channels {
    fn of(shape: &[usize]) -> Self {
        let axis = match shape.len() {
            0..=2 => return Self { count: 1, stride: usize::MAX },
            3 => 2,
            _ => 1,
        };
        // One element has no scale of its own; flattened, as most such values are next, it would be one of many too.
        if shape.iter().product::<usize>() == shape[axis] {
            return Self { count: 1, stride: usize::MAX };
        }
        Self { count: shape[axis].max(1), stride: shape[axis + 1..].iter().product::<usize>().max(1) }
    }

    const fn channel(&self, index: usize) -> usize {
        (index / self.stride) % self.count
    }

    fn largest(&self, values: &[f64], floor: f32) -> Vec<f64> {
        let mut largest = vec![0.0f64; self.count];
        for (i, v) in values.iter().enumerate().filter(|(_, v)| v.is_finite()) {
            let channel = &mut largest[self.channel(i)];
            *channel = channel.max(v.abs());
        }
        let least = largest.iter().fold(0.0, |a: f64, &b| a.max(b)) * f64::from(floor);
        largest.iter_mut().for_each(|m| *m = m.max(least));
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_measured_by_its_own_largest_value() {
        let tolerance = Tolerance { rtol: 1e-3, atol: 0.0, floor: 0.0, amplified: 0.0 };
        let expected = Tensor::new([1, 2, 1, 2], vec![1000f32, 1.0, 0.01, 0.01]).unwrap();
        let near = Tensor::new([1, 2, 1, 2], vec![1000f32, 1.9, 0.01, 0.01]).unwrap();
        assert!(tolerance.compare("x", &near, &expected).passed, "0.9 is little beside 1000");
        let far = Tensor::new([1, 2, 1, 2], vec![1000f32, 1.0, 0.01, 0.0102]).unwrap();
        let compared = tolerance.compare("x", &far, &expected);
        assert!(!compared.passed, "0.0002 is much beside 0.01");
        assert_eq!(compared.index, 3);
    }

    #[test]
    fn channels_of_one_element_are_measured_together() {
        let tolerance = Tolerance { rtol: 1e-3, atol: 0.0, floor: 0.0, amplified: 0.0 };
        for shape in [vec![4], vec![1, 4], vec![1, 1, 4], vec![1, 4, 1, 1]] {
            let expected = Tensor::new(shape.clone(), vec![1000f32, 1.0, 0.01, 0.01]).unwrap();
            let near = Tensor::new(shape.clone(), vec![1000f32, 1.9, 0.01, 0.01]).unwrap();
            assert!(tolerance.compare("x", &near, &expected).passed, "{shape:?}");
            let far = Tensor::new(shape.clone(), vec![1000f32, 2.1, 0.01, 0.01]).unwrap();
            assert!(!tolerance.compare("x", &far, &expected).passed, "{shape:?}");
        }
    }

    #[test]
    fn what_is_not_finite_must_be_the_same() {
        let tolerance = Tolerance { rtol: 1e30, atol: 1e30, floor: 0.0, amplified: 0.0 };
        let tensor = |v: f32| Tensor::new([2], vec![v, 1.0]).unwrap();
        assert!(tolerance.compare("x", &tensor(f32::NAN), &tensor(f32::NAN)).passed);
        assert!(tolerance.compare("x", &tensor(f32::INFINITY), &tensor(f32::INFINITY)).passed);
        assert!(!tolerance.compare("x", &tensor(f32::NAN), &tensor(1.0)).passed);
        assert!(!tolerance.compare("x", &tensor(1.0), &tensor(f32::INFINITY)).passed);
        let integer = |v: i32| Tensor::new([1], vec![v]).unwrap();
        assert!(!tolerance.compare("x", &integer(1), &integer(2)).passed);
    }
}
