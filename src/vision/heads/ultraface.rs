//! UltraFace: faces, decoded by the network itself.

use super::rows::{rows, wrong_shape};
use crate::tensor::TensorView;
use crate::vision::{Detection, Rectangle, VisionError};

/// Decodes UltraFace's outputs (version-RFB-320 and its like): `scores` `[1, rows, 2]`, how likely each is no face and a face, and
/// `boxes` `[1, rows, 4]`, left, top, right and bottom **as parts of the picture**: [`Rectangle::scaled`] makes them pixels. All are
/// of class 0.
///
/// ```
/// use rimlight::TensorView;
/// use rimlight::vision::{Rectangle, ultraface};
/// let (scores, boxes) = ([0.1f32, 0.9, 0.8, 0.2], [0.25f32, 0.5, 0.75, 1.0, 0.0, 0.0, 1.0, 1.0]);
/// let found = ultraface(&TensorView::new([1, 2, 2], &scores)?, &TensorView::new([1, 2, 4], &boxes)?, 0.7)?;
/// assert_eq!(found.len(), 1);
/// assert_eq!(found[0].rectangle.scaled([320.0, 240.0]), Rectangle::new(80.0, 120.0, 240.0, 240.0));
/// # Ok::<(), rimlight::Error>(())
/// ```
///
/// # Errors
/// If an output is of another shape, or they have not as many rows.
pub fn ultraface(
    scores: &TensorView<'_>,
    boxes: &TensorView<'_>,
    threshold: f32,
) -> Result<Vec<Detection>, VisionError> {
    let (count, 2, likely) = rows("UltraFace's scores", scores, 2)? else {
        return Err(wrong_shape("UltraFace's scores", "[1, rows, 2]".to_owned(), scores));
    };
    let places = match rows("UltraFace's boxes", boxes, 4)? {
        (places, 4, sides) if places == count => sides,
        _ => return Err(wrong_shape("UltraFace's boxes", format!("[1, {count}, 4]"), boxes)),
    };
    let pairs = likely.as_chunks::<2>().0.iter().zip(places.as_chunks::<4>().0);
    let decoded = pairs.filter_map(|(&[_, face], &[left, top, right, bottom])| {
        Detection::sure(Rectangle::new(left, top, right, bottom), face, 0, threshold)
    });
    Ok(decoded.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_boxes_as_scores() {
        let (scores, boxes) = ([0f32; 6], [0f32; 8]);
        let (scores, boxes) =
            (TensorView::new([1, 3, 2], &scores).unwrap(), TensorView::new([1, 2, 4], &boxes).unwrap());
        let error = ultraface(&scores, &boxes, 0.5).unwrap_err().to_string();
        assert!(error.contains("boxes has the shape [1, 3, 4]"), "{error}");
        assert!(ultraface(&boxes, &boxes, 0.5).is_err());
    }
}
