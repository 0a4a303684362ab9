//! The reference of regions: coordinates in `f32`, as everybody computes them, sums in `f64`.

use super::{Kind, Roi};
use crate::graph::{EvaluateError, ShapeError};
use crate::tensor::Tensor;

/// The points of the bins of a region along one axis.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: f32,
    /// The length of a bin.
    bin: f32,
    /// Points in a bin.
    count: f32,
}

impl Line {
    /// A region from `begin` to `end` in so many bins.
    fn of(begin: f32, end: f32, bins: usize, half_pixel: bool, points: u32) -> Self {
        let length = if half_pixel { end - begin } else { (end - begin).max(1.0) };
        let bin = length / bins as f32;
        let count = if points > 0 { points as f32 } else { bin.ceil().max(0.0) };
        Self { start: begin, bin, count }
    }

    /// The points of a bin that can lie in a picture of this size: their first and last-but-one number.
    ///
    /// Where their number follows from the region they lie at most an element apart, so that few points are in the picture
    /// however large the region is.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate; NaN becomes 0")]
    fn inside(&self, index: usize, size: usize, points: u32) -> (u64, u64) {
        let count = self.count as u64;
        if points > 0 || count <= 256 {
            return (0, count);
        }
        let (start, step) = (self.start + index as f32 * self.bin, self.bin / self.count);
        let first = ((-2.0 - start) / step).floor().max(0.0) as u64;
        let end = ((size as f32 + 2.0 - start) / step).ceil().max(0.0) as u64;
        (first.min(count), end.min(count))
    }

    /// The neighbours of a point: their indices, and the part of the second; `None` outside of the picture.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the size")]
    fn neighbours(&self, index: usize, point: u64, size: usize) -> Option<(usize, usize, f64)> {
        let at = self.start + index as f32 * self.bin + (point as f32 + 0.5) * self.bin / self.count;
        if !(at >= -1.0 && at <= size as f32) {
            return None;
        }
        let at = at.max(0.0);
        let low = at as usize;
        if low >= size - 1 { Some((size - 1, size - 1, 0.0)) } else { Some((low, low + 1, f64::from(at - low as f32))) }
    }
}

/// A bin of a MaxRoiPool along one axis, in elements: from … to.
#[expect(clippy::cast_possible_truncation, reason = "bounded before")]
fn whole(roi: &Roi, begin: f32, end: f32, index: usize, bins: usize, size: usize) -> std::ops::Range<usize> {
    let round = |v: f32| (v * roi.scale).clamp(-16_777_216.0, 16_777_216.0).round() as i64;
    let (begin, end) = (round(begin), round(end));
    let length = (end - begin + 1).max(1);
    let (bins, index) = (bins as i64, index as i64);
    let bound = |v: i64| usize::try_from(v.max(0)).unwrap_or(0).min(size);
    bound(begin + index * length / bins)..bound(begin + ((index + 1) * length + bins - 1) / bins)
}

pub(super) fn evaluate(roi: &Roi, x: &Tensor, rois: &Tensor, images: Option<&[i64]>) -> Result<Tensor, EvaluateError> {
    let &[n, channels, h, w] = x.shape() else { return Err(ShapeError::new("it takes [N, C, H, W]").into()) };
    let shape = vec![rois.shape()[0], channels, roi.height, roi.width];
    let mut y = Vec::with_capacity(Tensor::bounded(x.element_type(), &shape)?);
    let (values, regions) = (x.to_f64(), rois.to_f64());
    for r in 0..shape[0] {
        let fields = &regions[r * rois.shape()[1]..(r + 1) * rois.shape()[1]];
        #[expect(clippy::cast_possible_truncation, reason = "regions are stored in 32 bits at most, but for f64")]
        let fields: Vec<f32> = fields.iter().map(|&v| v as f32).collect();
        let (image, corners) = match (images, fields.as_slice()) {
            (Some(images), corners) => (images.get(r).copied().unwrap_or(-1), corners),
            #[expect(clippy::cast_possible_truncation, reason = "casts saturate, and what is out of range is refused")]
            (None, [image, corners @ ..]) => (*image as i64, corners),
            _ => (-1, &fields[..0]),
        };
        let image = usize::try_from(image).ok().filter(|&i| i < n);
        let image = image.ok_or_else(|| ShapeError::new(format!("region {r} is of an image that is not there")))?;
        let &[x1, y1, x2, y2] = corners else { return Err(ShapeError::new("a region has four corners").into()) };
        for plane in (0..channels).map(|c| &values[(image * channels + c) * h * w..][..h * w]) {
            for (i, j) in (0..roi.height).flat_map(|i| (0..roi.width).map(move |j| (i, j))) {
                y.push(match roi.kind {
                    Kind::Align { max, half_pixel, points } => {
                        let at = |v: f32| v * roi.scale - if half_pixel { 0.5 } else { 0.0 };
                        let rows = Line::of(at(y1), at(y2), roi.height, half_pixel, points);
                        let columns = Line::of(at(x1), at(x2), roi.width, half_pixel, points);
                        bin(plane, (rows, i, h), (columns, j, w), max, points)
                    }
                    Kind::Pool => {
                        let columns = whole(roi, x1, x2, j, roi.width, w);
                        let rows = whole(roi, y1, y2, i, roi.height, h);
                        let inside = rows.flat_map(|row| columns.clone().map(move |column| plane[row * w + column]));
                        // The largest of none is 0.
                        inside.reduce(f64::max).unwrap_or(0.0)
                    }
                });
            }
        }
    }
    Ok(Tensor::from_f64(x.element_type(), shape, y)?)
}

/// What is made of a bin, from its line, its index and the picture's size along each axis.
fn bin(
    plane: &[f64],
    (rows, i, h): (Line, usize, usize),
    (columns, j, w): (Line, usize, usize),
    max: bool,
    points: u32,
) -> f64 {
    let (first_row, end_row) = rows.inside(i, h, points);
    let (first_column, end_column) = columns.inside(j, w, points);
    let all = f64::from(rows.count) * f64::from(columns.count);
    let (mut sum, mut largest, mut seen) = (0.0, f64::NEG_INFINITY, 0.0);
    for row in first_row..end_row {
        let Some((low, high, part)) = rows.neighbours(i, row, h) else { continue };
        for column in first_column..end_column {
            let Some((left, right, side)) = columns.neighbours(j, column, w) else { continue };
            let weighted = [
                (1.0 - part) * (1.0 - side) * plane[low * w + left],
                (1.0 - part) * side * plane[low * w + right],
                part * (1.0 - side) * plane[high * w + left],
                part * side * plane[high * w + right],
            ];
            seen += 1.0;
            sum += weighted.iter().sum::<f64>();
            largest = weighted.into_iter().fold(largest, f64::max);
        }
    }
    match max {
        // A point outside counts as a zero.
        true if seen == 0.0 => 0.0,
        true if seen < all => largest.max(0.0),
        true => largest,
        false => sum / all.max(1.0),
    }
}
