//! YOLOX: a row for each cell of three grids.

use super::rows::{rows, wrong_shape};
use crate::tensor::TensorView;
use crate::vision::{Detection, Rectangle, VisionError};

/// The pixels between the cells of each grid.
const STRIDES: [u32; 3] = [8, 16, 32];

/// Decodes YOLOX's output: `[1, cells, 5 + classes]`, where cells are those of the grids of strides 8, 16 and 32 over an input
/// of `size` (width and height), row by row. Each says where its centre is (an offset to the cell, in strides), how large it is
/// (logarithms, in strides), whether there is an object, and of which class; the score is the product of the latter two.
///
/// ```
/// use rimlight::TensorView;
/// use rimlight::vision::yolox;
/// // An input of 32 × 32 has 16 + 4 + 1 cells; the last one sees something of class 1.
/// let mut rows = vec![0f32; 21 * 7];
/// rows[20 * 7..].copy_from_slice(&[0.5, 0.5, 0.0, 0.0, 0.9, 0.1, 1.0]);
/// let found = yolox(&TensorView::new([1, 21, 7], &rows)?, [32, 32], 0.25)?;
/// assert_eq!((found.len(), found[0].class, found[0].score), (1, 1, 0.9));
/// assert_eq!((found[0].rectangle.left, found[0].rectangle.right), (0.0, 32.0));
/// # Ok::<(), rimlight::Error>(())
/// ```
///
/// # Errors
/// If the output is of another shape, or has not as many rows as there are cells.
pub fn yolox(output: &TensorView<'_>, size: [u32; 2], threshold: f32) -> Result<Vec<Detection>, VisionError> {
    const WHAT: &str = "YOLOX's output";
    let (count, numbers, values) = rows(WHAT, output, 6)?;
    let grids = STRIDES.map(|stride| (stride, size[0] / stride, size[1] / stride));
    let cells = grids.iter().map(|&(_, across, down)| u64::from(across) * u64::from(down)).sum::<u64>();
    if cells != count as u64 {
        let [width, height] = size;
        let wanted = format!("[1, {cells}, {numbers}] for an input of {width} × {height} pixels");
        return Err(wrong_shape(WHAT, wanted, output));
    }
    let places = grids.into_iter().flat_map(|(stride, across, down)| {
        (0..down).flat_map(move |y| (0..across).map(move |x| (stride as f32, x as f32, y as f32)))
    });
    let decoded = values.chunks_exact(numbers).zip(places).filter_map(|(row, (stride, x, y))| {
        let ([across, down, width, height, object], classes) = row.split_first_chunk::<5>()?;
        let (class, score) = Detection::likeliest(classes.iter().copied())?;
        let centre = [(across + x) * stride, (down + y) * stride];
        let rectangle = Rectangle::around(centre, [width.exp() * stride, height.exp() * stride]);
        Detection::sure(rectangle, object * score, class, threshold)
    });
    Ok(decoded.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grid_has_its_stride() {
        // 64 × 32: 8 × 4, 4 × 2 and 2 × 1 cells.
        let mut values = vec![0f32; 42 * 6];
        for (row, score) in [(9, 0.5f32), (32 + 7, 0.6), (40 + 1, 0.7)] {
            values[row * 6..][..6].copy_from_slice(&[0.25, 0.5, 0.0, std::f32::consts::LN_2, score, 1.0]);
        }
        let found = yolox(&TensorView::new([1, 42, 6], &values).unwrap(), [64, 32], 0.1).unwrap();
        let expected = [(1.25f32, 1.5f32, 8.0f32, 0.5), (3.25, 1.5, 16.0, 0.6), (1.25, 0.5, 32.0, 0.7)];
        assert_eq!(found.len(), 3);
        for (found, (x, y, stride, score)) in found.iter().zip(expected) {
            let Rectangle { left, top, .. } = found.rectangle;
            assert!((left - (x - 0.5) * stride).abs() < 1e-4 && (top - (y - 1.0) * stride).abs() < 1e-4, "{found:?}");
            assert_eq!((found.score, found.class), (score, 0));
        }
        let error = yolox(&TensorView::new([1, 42, 6], &values).unwrap(), [64, 64], 0.1).unwrap_err().to_string();
        assert!(error.contains("[1, 84, 6] for an input of 64 × 64"), "{error}");
    }

    #[test]
    fn rows_that_mean_nothing_are_left_out() {
        let mut values = vec![0f32; 21 * 6];
        let rows = [
            [f32::NAN, 0.0, 0.0, 0.0, 1.0, 1.0],
            [0.0, 0.0, 1e9, 0.0, 1.0, 1.0],
            [0.0, 0.0, 0.0, 0.0, f32::NAN, 1.0],
            [0.0, 0.0, 0.0, 0.0, f32::INFINITY, 1.0],
            [0.0, 0.0, 0.0, 0.0, 1.0, f32::NAN],
            [0.0, 0.0, 0.0, 0.0, 1.0, 1.0],
        ];
        values[..36].copy_from_slice(rows.as_flattened());
        assert_eq!(yolox(&TensorView::new([1, 21, 6], &values).unwrap(), [32, 32], 0.5).unwrap().len(), 1);
    }
}
