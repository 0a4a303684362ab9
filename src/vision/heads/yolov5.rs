//! YOLOv5 (and v3, v7): rows that the network has decoded, or what its three layers say of anchors.

use super::rows::{rows, wrong_shape};
use crate::tensor::TensorView;
use crate::vision::{Detection, Rectangle, VisionError};

/// Widths and heights of YOLOv5's anchors, in pixels: three for each of the strides 8, 16 and 32.
pub const YOLOV5_ANCHORS: [[[f32; 2]; 3]; 3] = [
    [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
    [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
    [[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]],
];

/// Decodes YOLOv5's output: `[1, rows, 5 + classes]`, each row a centre, a width and a height in pixels, whether there is an object,
/// and of which class; the score is the product of the latter two.
///
/// ```
/// use rimlight::TensorView;
/// use rimlight::vision::{Rectangle, yolov5};
/// let row = [50.0f32, 40.0, 20.0, 10.0, 0.8, 0.1, 0.5];
/// let found = yolov5(&TensorView::new([1, 1, 7], &row)?, 0.25)?;
/// assert_eq!((found[0].class, found[0].score), (1, 0.4));
/// assert_eq!(found[0].rectangle, Rectangle::new(40.0, 35.0, 60.0, 45.0));
/// # Ok::<(), rimlight::Error>(())
/// ```
///
/// # Errors
/// If the output is of another shape.
pub fn yolov5(output: &TensorView<'_>, threshold: f32) -> Result<Vec<Detection>, VisionError> {
    let (_, numbers, values) = rows("YOLOv5's output", output, 6)?;
    let decoded = values.chunks_exact(numbers).filter_map(|row| {
        let (&[x, y, width, height, object], classes) = row.split_first_chunk::<5>()?;
        let (class, score) = Detection::likeliest(classes.iter().copied())?;
        Detection::sure(Rectangle::around([x, y], [width, height]), object * score, class, threshold)
    });
    Ok(decoded.collect())
}

/// What one layer of a YOLOv5 says that is exported without its decoding.
#[derive(Debug, Clone)]
pub struct RawHead<'a> {
    /// `[1, anchors, height, width, 5 + classes]`, before any sigmoid.
    pub output: TensorView<'a>,
    /// Widths and heights of its anchors, in pixels: [`YOLOV5_ANCHORS`].
    pub anchors: &'a [[f32; 2]],
    /// The pixels between its cells.
    pub stride: u32,
}

/// Decodes the layers of a YOLOv5 that is exported without its decoding, in the order given.
///
/// # Errors
/// If an output is of another shape, or has not as many anchors as are given.
pub fn yolov5_raw(layers: &[RawHead<'_>], threshold: f32) -> Result<Vec<Detection>, VisionError> {
    let mut found = vec![];
    for RawHead { output, anchors, stride } in layers {
        let (height, width, numbers) = match *output.shape() {
            [1, count, height, width, numbers] if count == anchors.len() && numbers >= 6 => (height, width, numbers),
            _ => {
                let wanted = format!("[1, {}, height, width, 6 or more]", anchors.len());
                return Err(wrong_shape("a layer of YOLOv5", wanted, output));
            }
        };
        let stride = *stride as f32;
        let places = anchors
            .iter()
            .flat_map(|anchor| (0..height).flat_map(move |y| (0..width).map(move |x| (anchor, x as f32, y as f32))));
        let values = output.as_slice::<f32>()?;
        found.extend(values.chunks_exact(numbers).zip(places).filter_map(|(row, (anchor, cell_x, cell_y))| {
            let (&[x, y, w, h, object], classes) = row.split_first_chunk::<5>()?;
            let (class, score) = Detection::likeliest(classes.iter().copied())?;
            let [x, y, w, h] = [x, y, w, h].map(|v| 2.0 * sigmoid(v));
            let centre = [(x - 0.5 + cell_x) * stride, (y - 0.5 + cell_y) * stride];
            let rectangle = Rectangle::around(centre, [w * w * anchor[0], h * h * anchor[1]]);
            Detection::sure(rectangle, sigmoid(object) * sigmoid(score), class, threshold)
        }));
    }
    Ok(found)
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn layers_are_decoded_as_they_decode_themselves() {
        // 3 anchors over 2 × 4 cells; all sure.
        let values: Vec<f32> = (0..3 * 2 * 4 * 7).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
        let layer = Tensor::new([1, 3, 2, 4, 7], values.clone()).unwrap();
        let head = RawHead { output: layer.view(), anchors: &YOLOV5_ANCHORS[1], stride: 16 };
        let found = yolov5_raw(&[head], 0.0).unwrap();
        assert_eq!(found.len(), 24);
        // As the network writes it: the row of anchor a, line y and column x, in 64 bits.
        let sigmoid = |v: f32| 1.0 / (1.0 + (-f64::from(v)).exp());
        let mut decoded = vec![];
        for a in 0..3 {
            for y in 0..2 {
                for x in 0..4 {
                    let row = &values[((a * 2 + y) * 4 + x) * 7..][..7];
                    let s: Vec<f64> = row.iter().map(|&v| sigmoid(v)).collect();
                    let [w, h] = YOLOV5_ANCHORS[1][a].map(f64::from);
                    decoded.extend([(s[0] * 2.0 - 0.5 + x as f64) * 16.0, (s[1] * 2.0 - 0.5 + y as f64) * 16.0]);
                    decoded.extend([(s[2] * 2.0).powi(2) * w, (s[3] * 2.0).powi(2) * h, s[4], s[5], s[6]]);
                }
            }
        }
        let decoded: Vec<f32> = decoded.into_iter().map(|v| v as f32).collect();
        let expected = yolov5(&TensorView::new([1, 24, 7], &decoded).unwrap(), 0.0).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.class, expected.class);
            assert!((found.score - expected.score).abs() < 1e-6);
            let overlap = found.rectangle.intersection_over_union(&expected.rectangle);
            assert!(overlap > 0.9999, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn anchors_must_be_those_of_the_layer() {
        let layer = Tensor::new([1, 3, 1, 1, 6], vec![0f32; 18]).unwrap();
        let head = RawHead { output: layer.view(), anchors: &YOLOV5_ANCHORS[0][..2], stride: 8 };
        assert!(yolov5_raw(&[head], 0.5).unwrap_err().to_string().contains("[1, 2, height"));
    }
}
