//! The mean of a map inside a rectangle at any angle.

use super::RotatedRectangle;

/// By how much a pixel's centre may miss the rectangle: those that it was made of lie on its sides, but for rounding.
const MARGIN: f64 = 1e-3;

/// The mean of the pixels whose centres lie in the rectangle, or `None` if none does. Of each row only these are looked at.
pub fn mean_inside(values: &[f32], width: usize, rectangle: &RotatedRectangle) -> Option<f32> {
    let (mut sum, mut count) = (0f64, 0u64);
    let ys = rectangle.corners().map(|[_, y]| f64::from(y));
    let [top, bottom] = [ys.into_iter().fold(f64::MAX, f64::min), ys.into_iter().fold(f64::MIN, f64::max)];
    let rows = values.chunks_exact(width.max(1)).enumerate();
    let first = (top - MARGIN).ceil().max(0.0) as usize;
    for (y, row) in rows.skip(first).take_while(|(y, _)| *y as f64 <= bottom + MARGIN) {
        let Some([left, right]) = across(rectangle, y as f64) else { continue };
        let left = left.ceil().max(0.0) as usize;
        // One past the last; a cast of what is below 0 gives 0.
        let right = ((right.floor() + 1.0) as usize).min(width);
        let pixels = row.get(left..right).unwrap_or(&[]);
        sum += pixels.iter().copied().map(f64::from).sum::<f64>();
        count += pixels.len() as u64;
    }
    (count > 0).then(|| (sum / count as f64) as f32)
}

/// From where to where a row's pixels lie in the rectangle: `|(p - centre) · side| ≤ length / 2` for both sides.
fn across(rectangle: &RotatedRectangle, y: f64) -> Option<[f64; 2]> {
    let [cos, sin] = rectangle.direction.map(f64::from);
    let [centre_x, centre_y] = rectangle.centre.map(f64::from);
    let sides = [([cos, sin], rectangle.size[0]), ([-sin, cos], rectangle.size[1])];
    let mut range = [f64::NEG_INFINITY, f64::INFINITY];
    for ([x_part, y_part], length) in sides {
        let (reach, at) = (f64::from(length) / 2.0 + MARGIN, (y - centre_y) * y_part);
        if x_part.abs() < 1e-9 {
            // The row runs along the other side.
            if at.abs() > reach {
                return None;
            }
            continue;
        }
        let ends = [(-reach - at) / x_part, (reach - at) / x_part];
        range = [range[0].max(centre_x + ends[0].min(ends[1])), range[1].min(centre_x + ends[0].max(ends[1]))];
    }
    (range[0] <= range[1]).then_some(range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Row by row is pixel by pixel.
        #[test]
        fn rows_are_pixels(angle in 0f32..3.2, size in [0f32..30.0, 0f32..30.0], centre in [-5f32..30.0, -5f32..25.0]) {
            let (sin, cos) = angle.sin_cos();
            let rectangle = RotatedRectangle { centre, direction: [cos, sin], size };
            let (width, height) = (23, 17);
            let values: Vec<f32> = (0..width * height).map(|i| (i * 37 % 101) as f32).collect();
            let [cos, sin] = [cos, sin].map(f64::from);
            let inside = |i: &usize| {
                let (x, y) = ((i % width) as f64 - f64::from(centre[0]), (i / width) as f64 - f64::from(centre[1]));
                (x * cos + y * sin).abs() <= f64::from(size[0]) / 2.0 + MARGIN
                    && (y * cos - x * sin).abs() <= f64::from(size[1]) / 2.0 + MARGIN
            };
            let under: Vec<f64> = (0..values.len()).filter(inside).map(|i| f64::from(values[i])).collect();
            let expected = (!under.is_empty()).then(|| (under.iter().sum::<f64>() / under.len() as f64) as f32);
            prop_assert_eq!(mean_inside(&values, width, &rectangle), expected);
        }
    }
}
