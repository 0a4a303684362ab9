//! The rows that detectors end in, one file each, as detections.

mod rows;
mod ultraface;
mod yolov5;
mod yolov8;
mod yolox;

pub use ultraface::ultraface;
pub use yolov5::{RawHead, YOLOV5_ANCHORS, yolov5, yolov5_raw};
pub use yolov8::yolov8;
pub use yolox::yolox;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::{Tensor, TensorView};
    use crate::vision::{Detection, VisionError};

    type Decoder = fn(&TensorView<'_>) -> Result<Vec<Detection>, VisionError>;

    const DECODERS: [Decoder; 5] = [
        |x| yolox(x, [64, 32], 0.25),
        |x| yolov5(x, 0.25),
        |x| yolov8(x, 0.25),
        |x| ultraface(x, x, 0.25),
        |x| yolov5_raw(&[RawHead { output: x.clone(), anchors: &YOLOV5_ANCHORS[0], stride: 8 }], 0.25),
    ];

    proptest! {
        /// Any shape of any bits is decoded or refused, and what is decoded can be.
        #[test]
        fn any_output_is_decoded_or_refused(
            shape in proptest::collection::vec(prop_oneof![Just(0usize), Just(1), Just(3), 4usize..8, Just(42)], 0..6),
            seed in any::<u32>(),
        ) {
            let count: usize = shape.iter().product();
            prop_assume!(count < 1 << 16);
            // Bits of all kinds of numbers: small, large, infinite, none.
            let bits = |i: usize| seed.wrapping_mul(0x9e37_79b9).wrapping_add((i as u32).wrapping_mul(0x85eb_ca6b));
            let values: Vec<f32> = (0..count).map(|i| f32::from_bits(bits(i) ^ (bits(i) >> 15))).collect();
            let tensor = Tensor::new(shape, values).unwrap();
            for decoder in DECODERS {
                for found in decoder(&tensor.view()).unwrap_or_default() {
                    prop_assert!(found.rectangle.is_valid() && found.score >= 0.25, "{found:?}");
                }
            }
        }
    }

    #[test]
    fn other_types_and_shapes_are_refused() {
        let integers = Tensor::new([1, 2, 7], vec![0i64; 14]).unwrap();
        let flat = Tensor::vector(vec![0f32; 14]);
        let batch = Tensor::new([2, 7, 7], vec![0f32; 98]).unwrap();
        for decoder in DECODERS {
            assert!(decoder(&integers.view()).is_err());
            for tensor in [&flat, &batch] {
                let error = decoder(&tensor.view()).unwrap_err();
                assert!(matches!(error, VisionError::Shape { .. }), "{error}");
            }
        }
    }
}
