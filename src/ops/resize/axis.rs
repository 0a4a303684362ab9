//! Resizing along one axis: where each element of the result looks, and with which weights.
//!
//! Coordinates are computed in `f32`, as the common implementations do: where a coordinate falls between two elements,
//! the last bit decides which is the nearest.

use crate::graph::ShapeError;

/// How a coordinate of the result becomes one of the input (`coordinate_transformation_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// (x + ½) / scale − ½
    HalfPixel,
    /// (x + ½) / scale, in opsets 11 and 12
    HalfPixelUnshifted,
    /// The same as half-pixel, moved so that the centres agree although the size was rounded.
    HalfPixelSymmetric,
    /// The same as half-pixel, but 0 where the result has a single element.
    PytorchHalfPixel,
    /// The corners of both lie on each other.
    AlignCorners,
    /// x / scale
    Asymmetric,
    /// A region of the input, whose corners lie on the result's; what is outside of the input is filled.
    CropAndResize,
}

/// Which element is the nearest (`nearest_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearest {
    /// Halves go down.
    RoundPreferFloor,
    /// Halves go up.
    RoundPreferCeil,
    /// Always down.
    Floor,
    /// Always up.
    Ceil,
    /// Opset 10 and before, by habit: up where the result is smaller, down otherwise.
    Simple,
}

/// How elements between elements are made (`mode`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interpolation {
    /// The nearest element.
    Nearest(Nearest),
    /// Linear between two.
    Linear,
    /// Cubic between four, with this coefficient (Keys' `a`).
    Cubic(f32),
}

/// One axis of a resize.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    pub input: usize,
    pub output: usize,
    pub scale: f32,
    /// The region's begin and end, as parts of the input.
    pub region: (f32, f32),
}

/// What all axes have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Method {
    pub interpolation: Interpolation,
    pub coordinates: Coordinates,
    /// Weights of elements outside of the input become zero, and the others are made to add up to one again.
    pub exclude_outside: bool,
    /// The filter is stretched where the result is smaller.
    pub antialias: bool,
}

/// For each element of the result `count` indices and weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taps {
    pub count: usize,
    /// Negative where the element lies outside and is filled.
    pub index: Vec<i32>,
    pub weight: Vec<f32>,
}

/// No axis may have more taps in all.
const MOST: usize = 1 << 24;

impl Taps {
    /// Whether every element is the input's at the same place.
    pub(super) fn is_identity(&self, axis: &Axis) -> bool {
        axis.input == axis.output
            && self.index.chunks(self.count).zip(self.weight.chunks(self.count)).enumerate().all(
                |(o, (index, weight))| {
                    index
                        .iter()
                        .zip(weight)
                        .all(|(&i, &w)| i >= 0 && (w == 0.0 || (w == 1.0 && usize::try_from(i) == Ok(o))))
                },
            )
    }
}

impl Method {
    /// The place in the input of an element of the result.
    fn place(&self, axis: &Axis, o: usize) -> f32 {
        let (input, output, o) = (axis.input as f32, axis.output as f32, o as f32);
        match self.coordinates {
            Coordinates::PytorchHalfPixel if axis.output == 1 => 0.0,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (o + 0.5) / axis.scale - 0.5,
            Coordinates::HalfPixelUnshifted => (o + 0.5) / axis.scale,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = output / (input * axis.scale);
                let offset = input / 2.0 * (1.0 - adjustment);
                offset + (o + 0.5) / axis.scale - 0.5
            }
            Coordinates::AlignCorners if axis.output == 1 => 0.0,
            Coordinates::AlignCorners => {
                // The length before it was cut off to a whole number, as the standard's reference has it.
                let length = input * axis.scale;
                let length = if (length - output).abs() < 1e-3 { output } else { length };
                o * (input - 1.0) / (length - 1.0)
            }
            Coordinates::Asymmetric => o / axis.scale,
            Coordinates::CropAndResize => {
                let (begin, end) = axis.region;
                if axis.output > 1 {
                    begin * (input - 1.0) + o * (end - begin) * (input - 1.0) / (output - 1.0)
                } else {
                    0.5 * (begin + end) * (input - 1.0)
                }
            }
        }
    }

    /// The taps of an axis whose input is not empty.
    pub(super) fn taps(&self, axis: &Axis) -> Result<Taps, ShapeError> {
        let stretch = if self.antialias { f64::from(axis.scale).min(1.0) } else { 1.0 };
        let (start, count) = match self.interpolation {
            Interpolation::Nearest(_) => (0, 1),
            Interpolation::Linear => window(1.0 / stretch),
            Interpolation::Cubic(_) => window(2.0 / stretch),
        };
        if axis.input == 0 || axis.output.checked_mul(count).is_none_or(|n| n > MOST) {
            return Err(ShapeError::new(format!("{} elements cannot be resized to {}", axis.input, axis.output)));
        }
        let last = i64::try_from(axis.input - 1).unwrap_or(i64::MAX).min(i32::MAX.into());
        let mut taps = Taps { count, index: vec![], weight: vec![] };
        for o in 0..axis.output {
            let x = self.place(axis, o);
            if self.coordinates == Coordinates::CropAndResize && !(0.0..=last as f32).contains(&x) {
                taps.index.extend(std::iter::repeat_n(-1, count));
                taps.weight.extend(std::iter::repeat_n(0.0, count));
                continue;
            }
            if let Interpolation::Nearest(nearest) = self.interpolation {
                taps.index.push(clamp(round(x, nearest, axis.scale), last));
                taps.weight.push(1.0);
                continue;
            }
            let base = x.floor();
            let ratio = f64::from(x - base);
            let indices = (0..count).map(|k| floor_index(base).saturating_add(start + k as i64));
            let weights = (0..count).map(|k| ((start + k as i64) as f64 - ratio) * stretch).map(|at| self.filter(at));
            let mut weights: Vec<f64> = weights.collect();
            if self.exclude_outside {
                weights
                    .iter_mut()
                    .zip(indices.clone())
                    .filter(|(_, i)| !(0..=last).contains(i))
                    .for_each(|(w, _)| *w = 0.0);
            }
            let sum: f64 = weights.iter().sum();
            if (self.exclude_outside || self.antialias) && sum != 0.0 {
                weights.iter_mut().for_each(|w| *w /= sum);
            }
            taps.index.extend(indices.map(|i| clamp(i, last)));
            #[expect(clippy::cast_possible_truncation, reason = "kernels take f32")]
            taps.weight.extend(weights.into_iter().map(|w| w as f32));
        }
        Ok(taps)
    }

    /// The weight of an element at this distance.
    fn filter(&self, at: f64) -> f64 {
        let t = at.abs();
        match self.interpolation {
            Interpolation::Cubic(a) => {
                let a = f64::from(a);
                if t <= 1.0 {
                    ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
                } else if t < 2.0 {
                    ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
                } else {
                    0.0
                }
            }
            _ => (1.0 - t).max(0.0),
        }
    }
}

/// The first index, relative to the one below a place, that a filter of this half-width touches, and how many it does.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate, and the count is bounded")]
fn window(half_width: f64) -> (i64, usize) {
    let start = ((-half_width).floor() as i64).saturating_add(1);
    (start, 2i64.saturating_sub(start.saturating_mul(2)) as usize)
}

#[expect(clippy::cast_possible_truncation, reason = "casts saturate; NaN becomes 0")]
fn floor_index(x: f32) -> i64 {
    (x as i64).clamp(-1 << 40, 1 << 40)
}

#[expect(clippy::cast_possible_truncation, reason = "between 0 and i32::MAX")]
fn clamp(index: i64, last: i64) -> i32 {
    index.clamp(0, last) as i32
}

fn round(x: f32, nearest: Nearest, scale: f32) -> i64 {
    floor_index(match nearest {
        Nearest::RoundPreferFloor => (x - 0.5).ceil(),
        Nearest::RoundPreferCeil => (x + 0.5).floor(),
        Nearest::Floor => x.floor(),
        Nearest::Ceil => x.ceil(),
        Nearest::Simple if scale < 1.0 => x.ceil(),
        Nearest::Simple => x.trunc(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: Method = Method {
        interpolation: Interpolation::Linear,
        coordinates: Coordinates::HalfPixel,
        exclude_outside: false,
        antialias: false,
    };

    fn axis(input: usize, output: usize) -> Axis {
        Axis { input, output, scale: output as f32 / input as f32, region: (0.0, 1.0) }
    }

    fn indices(nearest: Nearest, coordinates: Coordinates, axis: &Axis) -> Vec<i32> {
        Method { interpolation: Interpolation::Nearest(nearest), coordinates, ..METHOD }.taps(axis).unwrap().index
    }

    #[test]
    fn the_nearest_element_depends_on_the_mode() {
        use Coordinates::{Asymmetric, HalfPixel};
        assert_eq!(indices(Nearest::Floor, Asymmetric, &axis(2, 4)), [0, 0, 1, 1]);
        assert_eq!(indices(Nearest::Ceil, Asymmetric, &axis(2, 4)), [0, 1, 1, 1]);
        assert_eq!(indices(Nearest::RoundPreferFloor, Asymmetric, &axis(2, 4)), [0, 0, 1, 1]);
        assert_eq!(indices(Nearest::RoundPreferCeil, Asymmetric, &axis(2, 4)), [0, 1, 1, 1]);
        assert_eq!(indices(Nearest::RoundPreferFloor, HalfPixel, &axis(4, 2)), [0, 2]);
        assert_eq!(indices(Nearest::RoundPreferCeil, HalfPixel, &axis(4, 2)), [1, 3]);
        assert_eq!(indices(Nearest::Simple, Asymmetric, &Axis { scale: 0.6, ..axis(4, 2) }), [0, 2]);
    }

    #[test]
    fn weights_are_those_of_the_standard() {
        // The example of the standard: [1, 2] in twice the size is [1, 1.25, 1.75, 2].
        let taps = METHOD.taps(&axis(2, 4)).unwrap();
        let value = |o: usize| -> f32 {
            (0..2).map(|k| taps.weight[2 * o + k] * [1.0, 2.0][taps.index[2 * o + k] as usize]).sum()
        };
        assert_eq!([0, 1, 2, 3].map(value), [1.0, 1.25, 1.75, 2.0]);
        // Cubic, half a pixel away: −0.09375, 0.59375, 0.59375, −0.09375 with a = −0.75.
        let cubic =
            Method { interpolation: Interpolation::Cubic(-0.75), coordinates: Coordinates::Asymmetric, ..METHOD };
        let taps = cubic.taps(&axis(4, 8)).unwrap();
        assert_eq!(taps.weight[12..16], [-0.09375, 0.59375, 0.59375, -0.09375]);
        assert_eq!(taps.index[12..16], [0, 1, 2, 3]);
        // Outside excluded, the rest adds up to one.
        let taps = Method { exclude_outside: true, ..cubic }.taps(&axis(4, 8)).unwrap();
        assert_eq!(taps.weight[4], 0.0);
        assert!((taps.weight[4..8].iter().sum::<f32>() - 1.0).abs() < 1e-6);
        // Half the size with a filter of twice the width: 1/8 3/8 3/8 1/8.
        let taps = Method { antialias: true, ..METHOD }.taps(&axis(8, 4)).unwrap();
        assert_eq!(taps.count, 4);
        assert_eq!(taps.weight[4..8], [0.125, 0.375, 0.375, 0.125]);
        assert_eq!(taps.index[4..8], [1, 2, 3, 4]);
    }

    #[test]
    fn places_follow_the_coordinate_mode() {
        let place = |coordinates, axis: &Axis, o| Method { coordinates, ..METHOD }.place(axis, o);
        assert_eq!(place(Coordinates::AlignCorners, &axis(3, 5), 4), 2.0);
        assert_eq!(place(Coordinates::AlignCorners, &axis(3, 1), 0), 0.0);
        assert_eq!(place(Coordinates::PytorchHalfPixel, &axis(3, 1), 0), 0.0);
        let rounded = Axis { scale: 2.5, ..axis(3, 7) };
        assert_eq!(place(Coordinates::HalfPixelSymmetric, &rounded, 3), 1.0);
        let crop = Axis { region: (0.5, 1.5), ..axis(3, 3) };
        assert_eq!([0, 1, 2].map(|o| place(Coordinates::CropAndResize, &crop, o)), [1.0, 2.0, 3.0]);
        let taps = Method { coordinates: Coordinates::CropAndResize, ..METHOD }.taps(&crop).unwrap();
        assert_eq!(taps.index[4..], [-1, -1]);
    }

    #[test]
    fn a_hostile_size_is_refused() {
        assert!(METHOD.taps(&axis(1, usize::MAX)).is_err());
        assert!(METHOD.taps(&axis(0, 1)).is_err());
        let narrow = Method { antialias: true, ..METHOD };
        assert!(narrow.taps(&Axis { scale: 1e-30, ..axis(4, 4) }).is_err());
    }
}
