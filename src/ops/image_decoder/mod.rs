//! ImageDecoder (ONNX opset 20): the bytes of a picture file into `[height, width, channels]`. On the host: how large a picture
//! is stands in its bytes.
//!
//! BMP, PNG and the portable formats are read with the feature `image`, TIFF, WebP and JPEG 2000 with `image-formats`; baseline JPEG
//! as [`jpeg`] has it. Where the bytes are known before the model runs, other formats are refused then.

use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Reads, ShapeError, Unsupported,
    Value,
};
use crate::tensor::{ElementType, Tensor};

#[cfg(feature = "image")]
mod decode;
#[cfg(feature = "image")]
mod jpeg;

/// How a pixel's colours stand in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pixels {
    Rgb,
    Bgr,
    Grey,
}

/// A picture from the bytes of its file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageDecoder {
    pixels: Pixels,
}

/// A decoded picture: one component a pixel, or red, green and blue.
struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    bytes: Vec<u8>,
}

/// Makes an ImageDecoder.
pub(super) fn make(definition: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    if !cfg!(feature = "image") {
        let message = "this build decodes no pictures (feature 'image')".to_owned();
        return Err(DefinitionError::Refused(Unsupported::ImageFormat, message));
    }
    let pixels = match definition.string("pixel_format")?.as_deref() {
        None | Some("RGB") => Pixels::Rgb,
        Some("BGR") => Pixels::Bgr,
        Some("Grayscale") => Pixels::Grey,
        Some(other) => return Err(DefinitionError::Value("pixel_format", format!("is '{other}'"))),
    };
    Ok(Arc::new(ImageDecoder { pixels }))
}

#[cfg(not(feature = "image"))]
mod decode {
    pub(super) fn decode(_: &[u8]) -> Result<super::Picture, String> {
        Err("this build decodes no pictures".to_owned())
    }
}

impl ImageDecoder {
    /// The picture as the attribute wants it.
    fn picture(self, bytes: &[u8]) -> Result<Tensor, String> {
        let Picture { width, height, channels, bytes } = decode::decode(bytes)?;
        let grey = channels == 1;
        let pixels: Vec<u8> = match self.pixels {
            Pixels::Grey if grey => bytes,
            // The brightness of ITU-R 601, in 16 bits behind the point.
            Pixels::Grey => bytes
                .chunks_exact(3)
                .map(|p| (u32::from(p[0]) * 19_595 + u32::from(p[1]) * 38_470 + u32::from(p[2]) * 7_471 + 32_768) >> 16)
                .map(|v| u8::try_from(v).unwrap_or(u8::MAX))
                .collect(),
            _ if grey => bytes.into_iter().flat_map(|v| [v; 3]).collect(),
            Pixels::Rgb => bytes,
            Pixels::Bgr => bytes.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]]).collect(),
        };
        let channels = if self.pixels == Pixels::Grey { 1 } else { 3 };
        Tensor::new([height, width, channels], pixels).map_err(|e| e.to_string())
    }
}

impl Operator for ImageDecoder {
    fn name(&self) -> &str {
        "ImageDecoder"
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Parameter
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let stream = Fact::at(inputs, 0)?;
        if stream.element_type != ElementType::U8 || stream.rank() != 1 {
            return Err(ShapeError::new(format!("the bytes of a picture file are expected, not {stream}")));
        }
        let channels = if self.pixels == Pixels::Grey { 1 } else { 3 };
        let mut shape = vec![Dim::Unknown, Dim::Unknown, Dim::Known(channels)];
        if let Some(bytes) = &stream.constant {
            let picture = self.picture(bytes.bytes());
            let picture = picture.map_err(|message| ShapeError::unsupported(Unsupported::ImageFormat, message))?;
            shape = picture.shape().iter().map(|&n| Dim::from(n)).collect();
        }
        Ok(vec![Fact::new(ElementType::U8, shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let stream = inputs.tensor(0)?;
        let bytes = stream.as_slice::<u8>()?;
        Ok(vec![self.picture(bytes).map_err(EvaluateError::Unsupported)?.into()])
    }

    fn candidates(&self, _: &crate::graph::Request<'_>) -> crate::kernel::Candidates {
        Err("how large a picture is stands in its bytes".to_owned())
    }
}

#[cfg(all(test, feature = "image"))]
mod tests {
    use super::*;

    fn run(format: &str, bytes: &[u8]) -> Result<Tensor, String> {
        let operator =
            make(&Definition::new("ImageDecoder").attribute("pixel_format", format)).map_err(|e| e.to_string())?;
        let stream = Value::from(Tensor::vector(bytes.to_vec()));
        let y = operator.evaluate(&mut Context::default(), Inputs(&[Some(&stream)])).map_err(|e| e.to_string())?;
        Ok(y[0].as_tensor().unwrap().clone())
    }

    /// Two pixels, one above the other.
    const PPM: &[u8] = b"P6 1 2 255 \x0a\x14\x1e\xff\x00\x80";

    #[test]
    fn colours_stand_as_the_attribute_says() {
        assert_eq!(run("RGB", PPM).unwrap(), Tensor::new([2, 1, 3], vec![10u8, 20, 30, 255, 0, 128]).unwrap());
        assert_eq!(run("BGR", PPM).unwrap(), Tensor::new([2, 1, 3], vec![30u8, 20, 10, 128, 0, 255]).unwrap());
        assert_eq!(run("Grayscale", PPM).unwrap(), Tensor::new([2, 1, 1], vec![18u8, 91]).unwrap());
        assert_eq!(
            run("RGB", b"P5 2 1 255 \x07\x09").unwrap(),
            Tensor::new([1, 2, 3], vec![7u8, 7, 7, 9, 9, 9]).unwrap()
        );
        assert!(run("CMYK", PPM).is_err());
    }

    #[test]
    fn what_cannot_be_decoded_is_refused_before_it_runs() {
        let operator = make(&Definition::new("ImageDecoder")).unwrap();
        for bytes in [&b""[..], b"hello", &PPM[..14], b"P6 60000 60000 255 ", b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a"] {
            let fact = Fact::constant(Tensor::vector(bytes.to_vec()));
            assert!(operator.infer(&[Some(&fact)]).unwrap_err().unsupported.is_some());
            assert!(run("RGB", bytes).is_err());
        }
        let unknown = operator.infer(&[Some(&Fact::new(ElementType::U8, [99usize]))]).unwrap();
        assert_eq!(unknown[0].to_string(), "u8[?, ?, 3]");
        let known = operator.infer(&[Some(&Fact::constant(Tensor::vector(PPM.to_vec())))]).unwrap();
        assert_eq!(known[0].to_string(), "u8[2, 1, 3]");
    }
}
