//! YOLOv8 (and v9, 11): a column for each place, no score for objects as such.

use super::rows::wrong_shape;
use crate::tensor::TensorView;
use crate::vision::{Detection, Rectangle, VisionError};

/// Decodes YOLOv8's output: `[1, 4 + classes, places]`, each column a centre, a width and a height in pixels, and how likely each
/// class is.
///
/// ```
/// use rimlight::TensorView;
/// use rimlight::vision::{Rectangle, yolov8};
/// let columns = [50.0f32, 9.0, 40.0, 9.0, 20.0, 4.0, 10.0, 4.0, 0.1, 0.2, 0.5, 0.1];
/// let found = yolov8(&TensorView::new([1, 6, 2], &columns)?, 0.25)?;
/// assert_eq!((found.len(), found[0].class, found[0].score), (1, 1, 0.5));
/// assert_eq!(found[0].rectangle, Rectangle::new(40.0, 35.0, 60.0, 45.0));
/// # Ok::<(), rimlight::Error>(())
/// ```
///
/// # Errors
/// If the output is of another shape.
pub fn yolov8(output: &TensorView<'_>, threshold: f32) -> Result<Vec<Detection>, VisionError> {
    let places = match *output.shape() {
        [1, numbers, places] if numbers >= 5 => places,
        _ => return Err(wrong_shape("YOLOv8's output", "[1, 5 or more, places]".to_owned(), output)),
    };
    let values = output.as_slice::<f32>()?;
    let column = |place: usize| values.iter().skip(place).step_by(places.max(1)).copied();
    let decoded = (0..places).filter_map(|place| {
        let mut numbers = column(place);
        let [x, y, width, height] = [numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?];
        let (class, score) = Detection::likeliest(numbers)?;
        Detection::sure(Rectangle::around([x, y], [width, height]), score, class, threshold)
    });
    Ok(decoded.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::yolov5;

    /// Turned around, and each with an object for certain, the columns are YOLOv5's rows.
    #[test]
    fn columns_are_rows_turned_around() {
        let (places, classes) = (7, 3);
        let value = |place: usize, number: usize| match number {
            0..4 => (place * 13 + number * 7) as f32,
            _ => ((place * 31 + number * 17) % 23) as f32 / 23.0,
        };
        let columns: Vec<f32> =
            (0..4 + classes).flat_map(|number| (0..places).map(move |place| value(place, number))).collect();
        let row = |place: usize| {
            (0..5 + classes).map(move |i| match i {
                0..4 => value(place, i),
                4 => 1.0,
                _ => value(place, i - 1),
            })
        };
        let rows: Vec<f32> = (0..places).flat_map(row).collect();
        let found = yolov8(&TensorView::new([1, 4 + classes, places], &columns).unwrap(), 0.5).unwrap();
        assert!(!found.is_empty());
        assert_eq!(found, yolov5(&TensorView::new([1, places, 5 + classes], &rows).unwrap(), 0.5).unwrap());
    }
}
