//! Where text is: from a map of probabilities to rectangles, as detectors trained by "Real-time scene text detection with
//! differentiable binarization" (DB) want it.

mod components;
mod inside;
mod rotated;

pub use rotated::RotatedRectangle;

use super::VisionError;
use crate::tensor::TensorView;

/// A line or word of text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextRegion {
    /// Where, in pixels of the map; whole numbers are pixels' centres.
    pub rectangle: RotatedRectangle,
    /// The mean probability in what was found of it before it was grown.
    pub score: f32,
}

/// Makes rectangles of a map that says of every pixel how likely text is there.
///
/// What is likely enough and touches is one region; around it lies the rectangle of least area, at any angle. Regions that are small
/// or not likely on the whole are dropped. Networks are trained to mark a shrunken core of each line, so that lines stay apart; so
/// rectangles are grown by `area · unclip_ratio / perimeter` on all sides.
///
/// ```
/// use rimlight::TensorView;
/// use rimlight::vision::TextDetector;
/// let mut map = [0f32; 20 * 40];
/// for y in 8..12 {
///     map[y * 40 + 5..][..30].fill(0.9);
/// }
/// let regions = TextDetector::default().regions(&TensorView::new([1, 1, 20, 40], &map)?)?;
/// assert_eq!(regions.len(), 1);
/// // From the first to the last pixel's centre it is 29 × 3, which is grown by 29 · 3 · 1.5 / 64 on each side.
/// let [length, height] = regions[0].rectangle.size;
/// assert!((length - 33.08).abs() < 0.01 && (height - 7.08).abs() < 0.01);
/// # Ok::<(), rimlight::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextDetector {
    /// Above which probability a pixel is text.
    pub threshold: f32,
    /// From which mean probability on a region is text.
    pub box_threshold: f32,
    /// How much regions are grown.
    pub unclip_ratio: f32,
    /// How many pixels the shorter side has at least before it is grown; afterwards two more.
    pub min_size: f32,
    /// How many regions are looked at, from the top.
    pub max_candidates: usize,
}

impl Default for TextDetector {
    /// As `PaddleOCR` does it: 0.3, 0.6, 1.5, 3 pixels, 1,000 regions.
    fn default() -> Self {
        Self { threshold: 0.3, box_threshold: 0.6, unclip_ratio: 1.5, min_size: 3.0, max_candidates: 1000 }
    }
}

impl TextDetector {
    /// The regions of text in a map, from the top: `[height, width]`, with any number of ones before.
    ///
    /// # Errors
    /// If the map is of another shape or type.
    pub fn regions(&self, map: &TensorView<'_>) -> Result<Vec<TextRegion>, VisionError> {
        let [.., height, width] = *map.shape() else { return Err(no_map(map)) };
        if map.shape().iter().rev().skip(2).any(|&size| size != 1) {
            return Err(no_map(map));
        }
        let values = map.as_slice::<f32>()?;
        let components = components::components(values, width, height, self.threshold);
        let region = |outline: Vec<[f32; 2]>| {
            let core = RotatedRectangle::around(&outline)?;
            if core.shorter() < self.min_size {
                return None;
            }
            let score = inside::mean_inside(values, width, &core)?;
            let grown = core.grown(core.unclip_distance(self.unclip_ratio));
            // What is no number is not likely enough.
            let is_text = score >= self.box_threshold && grown.is_valid() && grown.shorter() >= self.min_size + 2.0;
            is_text.then_some(TextRegion { rectangle: grown, score })
        };
        Ok(components.take(self.max_candidates).filter_map(region).collect())
    }
}

fn no_map(map: &TensorView<'_>) -> VisionError {
    let wanted = "[1, 1, height, width]".to_owned();
    VisionError::Shape { what: "a map of text", wanted, found: map.shape().to_vec() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::Tensor;

    /// A bar of this length and height around a centre, at an angle.
    fn bar(width: usize, height: usize, centre: [f32; 2], size: [f32; 2], angle: f32) -> Vec<f32> {
        let (sin, cos) = angle.sin_cos();
        let value = |i: usize| {
            let (x, y) = ((i % width) as f32 - centre[0], (i / width) as f32 - centre[1]);
            let (along, across) = (x * cos + y * sin, y * cos - x * sin);
            if along.abs() <= size[0] / 2.0 && across.abs() <= size[1] / 2.0 { 0.8 } else { 0.1 }
        };
        (0..width * height).map(value).collect()
    }

    proptest! {
        /// A bar at any angle is found where it is, grown as told.
        #[test]
        fn a_bar_is_found_at_any_angle(angle in -1.5f32..1.5, length in 40f32..70.0, thick in 8f32..14.0) {
            let map = bar(100, 97, [50.0, 48.0], [length, thick], angle);
            let map = TensorView::new([1, 1, 97, 100], &map).unwrap();
            let as_marked = TextDetector { unclip_ratio: 0.0, ..TextDetector::default() };
            let regions = as_marked.regions(&map).unwrap();
            prop_assert_eq!(regions.len(), 1);
            let TextRegion { rectangle: core, score } = regions[0];
            // Pixels whose centres lie in a bar reach to one pixel from each of its sides.
            let long = core.size[0].max(core.size[1]);
            prop_assert!((long - length).abs() < 2.1 && (core.shorter() - thick).abs() < 2.1, "{core:?}");
            prop_assert!((core.centre[0] - 50.0).abs() < 1.0 && (core.centre[1] - 48.0).abs() < 1.0);
            prop_assert!(score > 0.7, "{score}");
            let by = core.size[0] * core.size[1] * 1.5 / (2.0 * (core.size[0] + core.size[1]));
            let grown = TextDetector::default().regions(&map).unwrap();
            prop_assert_eq!(grown, [TextRegion { rectangle: core.grown(by), score }]);
        }

        /// Any bits are a map of something.
        #[test]
        fn any_map_is_read(width in 0usize..24, height in 0usize..24, seed in any::<u32>()) {
            let bits = |i: usize| (i as u32 ^ seed).wrapping_mul(0x9e37_79b9);
            let map: Vec<f32> = (0..width * height).map(|i| f32::from_bits(bits(i) ^ (bits(i) >> 15))).collect();
            let detector = TextDetector { min_size: 0.0, box_threshold: 0.0, ..TextDetector::default() };
            for region in detector.regions(&TensorView::new([height, width], &map).unwrap()).unwrap() {
                prop_assert!(region.score >= 0.0 && region.rectangle.is_valid(), "{region:?}");
            }
        }
    }

    #[test]
    fn small_and_unlikely_regions_are_dropped() {
        let mut map = vec![0f32; 64 * 32];
        let mut fill = |left: usize, top: usize, right: usize, bottom: usize, value: f32| {
            (top..bottom).for_each(|y| map[y * 64..][left..right].fill(value));
        };
        fill(2, 2, 30, 10, 0.9);
        fill(40, 2, 60, 10, 0.5); // not likely
        fill(2, 20, 30, 23, 0.9); // three pixels, two from centre to centre
        let regions = TextDetector::default().regions(&TensorView::new([1, 32, 64], &map).unwrap()).unwrap();
        assert_eq!(regions.len(), 1);
        assert_eq!(regions[0].rectangle.centre, [15.5, 5.5]);
        let none = TextDetector { max_candidates: 0, ..TextDetector::default() };
        assert!(none.regions(&TensorView::new([32, 64], &map).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn other_shapes_are_refused() {
        let detector = TextDetector::default();
        for shape in [vec![], vec![16], vec![2, 1, 2, 4], vec![1, 2, 2, 4]] {
            let tensor = Tensor::new(shape.clone(), vec![0f32; shape.iter().product()]).unwrap();
            assert!(matches!(detector.regions(&tensor.view()), Err(VisionError::Shape { .. })), "{shape:?}");
        }
        assert!(detector.regions(&Tensor::new([1, 1], vec![0u8]).unwrap().view()).is_err());
    }
}
