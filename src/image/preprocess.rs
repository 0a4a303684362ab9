//! From a picture to the numbers that a model was trained on, and back.

use half::f16;

use super::fit::Placement;
use super::resize::Sample;
use super::view::{Turn, View};
use super::{ImageError, Picture, Resize, digit, fit};
use crate::graph::{Dim, Fact};
use crate::tensor::{ElementType, Tensor, TensorView};

/// Which numbers a pixel becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One: luma, `0.299 R + 0.587 G + 0.114 B`, rounded unless resizing is exact.
    Grey,
}

/// The order of an input's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PixelLayout {
    /// `[N, C, H, W]`: a plane per channel.
    Nchw,
    /// `[N, H, W, C]`: a pixel's channels side by side.
    Nhwc,
}

/// How a picture becomes a model's input: turned, mirrored, cut to a region, fitted to the input's size, then
/// `(value · scale − mean) / std` for each channel, with values of 0 to 255 before. The same settings give the same tensor of
/// a picture on the host and of a texture on a GPU.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Preprocessing {
    /// By how much the picture is turned, before all else.
    pub turn: Turn,
    /// Whether it is then mirrored, left to right.
    pub mirror: bool,
    /// The part that is taken of it then: left, top, width and height in pixels. `None` takes all.
    pub region: Option<[u32; 4]>,
    /// How the picture is brought to the input's size.
    pub resize: Resize,
    /// The shorter side after resizing, for [`Resize::ShortSide`]. `None` takes 8/7 of the input's shorter side, which is
    /// 256 for 224, and the input's own where it has under 64 pixels.
    pub short_side: Option<u32>,
    /// Whether it is resized in floats that are not rounded, as Pillow's mode F does. Else each of the two passes rounds to
    /// 8 bits, bit for bit as Pillow does with pictures of 8 bits, which is what most models have seen.
    pub exact: bool,
    /// What the sides of [`Resize::Multiple`] are multiples of.
    pub multiple: u32,
    /// What fills the rest of a letterbox, 0 to 255.
    pub fill: u8,
    /// Width and height, where the model leaves them open.
    pub size: Option<[u32; 2]>,
    /// Which channels, in which order.
    pub channels: Channels,
    /// The factor that comes first: 1/255 for values of 0 to 1.
    pub scale: f32,
    /// What is taken off each channel, in the order of `channels`.
    pub mean: [f32; 3],
    /// What each channel is then divided by.
    pub std: [f32; 3],
    /// The order of the dimensions.
    pub layout: PixelLayout,
}

impl Default for Preprocessing {
    /// As most classifiers of photographs are trained: the middle of the picture, RGB, normalised by `ImageNet`'s mean and
    /// standard deviation, planar.
    fn default() -> Self {
        Self {
            turn: Turn::None,
            mirror: false,
            region: None,
            resize: Resize::ShortSide,
            short_side: None,
            exact: false,
            multiple: 32,
            fill: 114,
            size: None,
            channels: Channels::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            layout: PixelLayout::Nchw,
        }
    }
}

/// What an input looks like, once layout and open dimensions are settled.
struct Input {
    shape: Vec<usize>,
    width: u32,
    height: u32,
    channels: usize,
}

/// What a picture of some size becomes: which of its pixels, resized to what, in which tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fitted {
    pub view: View,
    pub placement: Placement,
    pub shape: Vec<usize>,
    /// The input's width and height.
    pub to: [u32; 2],
    pub channels: usize,
}

impl Preprocessing {
    /// The likely preprocessing of an input, judged by its type and shape: where the channels stand, photographs for three
    /// of them, digits for one of 28 × 28, values of 0 to 1 for other grey pictures and of 0 to 255 for 8-bit inputs.
    ///
    /// # Errors
    /// If no picture can be such an input.
    pub fn for_input(input: &Fact) -> Result<Self, ImageError> {
        let shape = &input.shape;
        let channels = |dim: Option<&Dim>| match dim.and_then(Dim::size) {
            Some(n @ (1 | 3)) => Some(n),
            _ => None,
        };
        let first = shape.len().checked_sub(3).and_then(|axis| channels(shape.get(axis)));
        let (layout, count) = match (first, channels(shape.last())) {
            _ if !(3..=4).contains(&shape.len()) => return Err(no_picture(input)),
            (Some(count), _) => (PixelLayout::Nchw, count),
            (None, Some(count)) => (PixelLayout::Nhwc, count),
            (None, None) => return Err(no_picture(input)),
        };
        let mut how = Self { layout, ..Self::default() };
        if count == 1 {
            let digit = shape.iter().filter(|d| **d == Dim::Known(28)).count() == 2;
            how.resize = if digit { Resize::Digit } else { Resize::Stretch };
            how.scale = if digit { 1.0 } else { how.scale };
            how.channels = Channels::Grey;
        }
        if count == 1 || !input.element_type.is_float() {
            (how.mean, how.std) = ([0.0; 3], [1.0; 3]);
        }
        if !input.element_type.is_float() {
            how.scale = 1.0;
        }
        Ok(how)
    }

    /// The picture as this input. Open dimensions become 1 (the batch) and `size` (width and height).
    ///
    /// # Errors
    /// If no picture can be such an input, or width and height are open and not given.
    pub fn tensor(&self, picture: &Picture, input: &Fact) -> Result<Tensor, ImageError> {
        if self.exact && self.resize != Resize::Digit {
            let floats: Vec<f32> = picture.rgb.iter().map(|&v| v.into()).collect();
            return self.tensor_of_pixels(&floats, [picture.width, picture.height], input);
        }
        self.tensor_of_pixels(&picture.rgb, [picture.width, picture.height], input)
    }

    /// [`Preprocessing::tensor`] of any picture of the crate `image`. One of more than 8 bits is brought to 8, unless it is
    /// resized [exactly](Preprocessing::exact).
    ///
    /// # Errors
    /// As [`Preprocessing::tensor`].
    #[cfg(feature = "image")]
    pub fn tensor_of(&self, image: &::image::DynamicImage, input: &Fact) -> Result<Tensor, ImageError> {
        let size = [image.width(), image.height()];
        super::check_size(size[0], size[1])?;
        if !self.exact
            || self.resize == Resize::Digit
            || image.color().bytes_per_pixel() == image.color().channel_count()
        {
            return self.tensor(&Picture::from_rgb(size[0], size[1], image.to_rgb8().into_raw())?, input);
        }
        let floats: Vec<f32> = image.to_rgb32f().into_raw().into_iter().map(|v| v * 255.0).collect();
        self.tensor_of_pixels(&floats, size, input)
    }

    /// [`Preprocessing::tensor`] of bytes, or of floats of 0 to 255.
    pub(crate) fn tensor_of_pixels<T: Sample>(
        &self,
        rgb: &[T],
        from: [u32; 2],
        input: &Fact,
    ) -> Result<Tensor, ImageError>
    where
        u8: Into<T>,
    {
        let Fitted { view, placement, shape, to, channels } = self.fitted(from, input)?;
        let rgb = view.of(rgb, from);
        let values: Vec<f32> = if self.resize == Resize::Digit {
            // Of bytes: floats are not resized by what a picture shows.
            let bytes = rgb.iter().map(|&v| v.into() as u8).collect();
            let picture = Picture::from_rgb(view.size[0], view.size[1], bytes)?;
            digit::pixels(&picture).into_iter().flat_map(|v| std::iter::repeat_n(v, channels)).collect()
        } else {
            self.channels_of(&fit::placed(&rgb, view.size, &placement, to, self.fill.into()))
        };
        let normalise = |(i, v): (usize, &f32)| {
            let c = i % channels;
            (v * self.scale - self.mean[c]) / self.std[c]
        };
        let mut normal: Vec<f32> = values.iter().enumerate().map(normalise).collect();
        if self.layout == PixelLayout::Nchw && channels > 1 {
            normal = (0..channels).flat_map(|c| normal.iter().skip(c).step_by(channels).copied()).collect();
        }
        Ok(match input.element_type {
            ElementType::F32 => Tensor::new(shape, normal)?,
            ElementType::F16 => Tensor::new(shape, normal.into_iter().map(f16::from_f32).collect())?,
            // Casts from float to integer saturate.
            ElementType::U8 => Tensor::new(shape, normal.into_iter().map(|v| v.round() as u8).collect())?,
            ElementType::I8 => Tensor::new(shape, normal.into_iter().map(|v| v.round() as i8).collect())?,
            _ => return Err(no_picture(input)),
        })
    }

    /// What a picture of this size becomes as this input.
    ///
    /// # Errors
    /// As [`Preprocessing::tensor`]: if no picture can be such an input, or the region does not lie in the picture.
    pub(crate) fn fitted(&self, from: [u32; 2], input: &Fact) -> Result<Fitted, ImageError> {
        if self.std.contains(&0.0) {
            return Err(ImageError::Preprocessing("a standard deviation is 0".to_owned()));
        }
        let view = View::new(self, from)?;
        let Input { shape, width, height, channels } = self.input(input, Some(view.size))?;
        let to = [width, height];
        if self.resize == Resize::Digit && to != [digit::SIDE; 2] {
            return Err(ImageError::Preprocessing(format!("a digit has 28 × 28 pixels, but the input is {input}")));
        }
        if !matches!(input.element_type, ElementType::F32 | ElementType::F16 | ElementType::U8 | ElementType::I8) {
            return Err(no_picture(input));
        }
        let placement = match self.resize {
            Resize::ShortSide => fit::crop(view.size, to, self.short_side),
            Resize::Letterbox => fit::letterbox(view.size, to, false),
            Resize::LetterboxCentred => fit::letterbox(view.size, to, true),
            _ => fit::stretch(to),
        };
        Ok(Fitted { view, placement, shape, to, channels })
    }

    /// Where in this input the picture lies, and so where in the picture lies what a network finds in the input.
    ///
    /// # Errors
    /// As [`Preprocessing::tensor`], and where the input does not show the whole picture as it is: where parts are cut off, or it
    /// is turned or mirrored.
    pub fn mapping(&self, picture: &Picture, input: &Fact) -> Result<crate::vision::Fitted, ImageError> {
        let Fitted { view, placement, .. } = self.fitted([picture.width, picture.height], input)?;
        let cut = self.resize == Resize::Digit || placement.origin != [0, 0] || placement.part != placement.size;
        if cut || self.turn != Turn::None || self.mirror || self.region.is_some() {
            return Err(ImageError::Preprocessing(
                "the input does not show the whole picture as it is, so that places in it are none in the picture; fit the picture \
                 by letterbox or stretch"
                    .to_owned(),
            ));
        }
        Ok(crate::vision::Fitted { picture: view.size, inner: placement.size, offset: placement.at })
    }

    /// The picture that a tensor of this preprocessing shows: the way back, rounded and clamped to 0 to 255. Grey becomes
    /// red, green and blue alike.
    ///
    /// # Errors
    /// If the tensor is not of `f32`, or of no picture's shape.
    pub fn picture(&self, tensor: &TensorView<'_>) -> Result<Picture, ImageError> {
        let fact = Fact::new(tensor.element_type(), tensor.shape().to_vec());
        let Input { width, height, channels, .. } = self.input(&fact, None)?;
        let values = tensor.as_slice::<f32>()?;
        let area = width as usize * height as usize;
        let mut rgb = Vec::with_capacity(area * 3);
        for pixel in 0..area {
            for c in 0..3 {
                let c = match self.channels {
                    Channels::Rgb => c,
                    Channels::Bgr => 2 - c,
                    Channels::Grey => 0,
                };
                let v = match self.layout {
                    PixelLayout::Nchw => values[c * area + pixel],
                    PixelLayout::Nhwc => values[pixel * channels + c],
                };
                rgb.push(((v * self.std[c] + self.mean[c]) / self.scale).round() as u8);
            }
        }
        Picture::from_rgb(width, height, rgb)
    }

    /// The width and height of the picture that a tensor of this preprocessing shows.
    ///
    /// # Errors
    /// If it is of no picture's shape.
    #[cfg(feature = "gpu")]
    pub(crate) fn size_of(&self, tensor: &Fact) -> Result<[u32; 2], ImageError> {
        self.input(tensor, None).map(|input| [input.width, input.height])
    }

    /// The input's dimensions, the open ones settled; without a picture's size none may be open.
    fn input(&self, input: &Fact, picture: Option<[u32; 2]>) -> Result<Input, ImageError> {
        let rank = input.shape.len();
        let wanted = if self.channels == Channels::Grey { 1 } else { 3 };
        let (c, h, w) = match (self.layout, rank) {
            (PixelLayout::Nchw, 3 | 4) => (rank - 3, rank - 2, rank - 1),
            (PixelLayout::Nhwc, 3 | 4) => (rank - 1, rank - 3, rank - 2),
            _ => return Err(no_picture(input)),
        };
        if input.shape[c].size().is_some_and(|n| n != wanted) {
            return Err(ImageError::Preprocessing(format!(
                "the input is {input}, which has not {wanted} channel{} where {} has them",
                if wanted == 1 { "" } else { "s" },
                if self.layout == PixelLayout::Nchw { "nchw" } else { "nhwc" },
            )));
        }
        if rank == 4 && input.shape[0].size().is_some_and(|n| n != 1) {
            return Err(ImageError::Preprocessing(format!("the input is {input}: a batch, not one picture")));
        }
        let side = |axis: usize, given: Option<u32>| {
            let fixed = input.shape[axis].size().and_then(|n| u32::try_from(n).ok());
            match (fixed, given) {
                (Some(fixed), Some(given)) if fixed != given => Err(ImageError::Preprocessing(format!(
                    "the input is {input}: its size is fixed and cannot be {given}"
                ))),
                (Some(n), _) | (None, Some(n)) => Ok(n),
                (None, None) => Err(ImageError::Preprocessing(format!(
                    "the input is {input}, which leaves width and height open: give a size, such as 640x480"
                ))),
            }
        };
        let multiple = self.multiple.clamp(1, super::MAX_SIDE);
        let near = |side: u32| (side / multiple * multiple, side.next_multiple_of(multiple));
        let given = match (self.resize, picture) {
            (Resize::Keep, Some(size)) => Some(size),
            (Resize::Multiple, Some(size)) => Some(size.map(|side| match near(side) {
                (below, above) if below == 0 || above - side <= side - below => above,
                (below, _) => below,
            })),
            (Resize::Digit, _) => Some([digit::SIDE; 2]),
            _ => self.size,
        };
        let width = side(w, given.map(|s| s[0]))?;
        let height = side(h, given.map(|s| s[1]))?;
        super::check_size(width, height)?;
        let mut shape = vec![1; rank];
        (shape[c], shape[h], shape[w]) = (wanted, height as usize, width as usize);
        Ok(Input { shape, width, height, channels: wanted })
    }

    /// The channels of each pixel, side by side, 0 to 255.
    fn channels_of<T: Sample>(&self, rgb: &[T]) -> Vec<f32> {
        let pixels = rgb.as_chunks::<3>().0.iter();
        match self.channels {
            Channels::Rgb => rgb.iter().map(|&v| v.into()).collect(),
            Channels::Bgr => pixels.flat_map(|&[r, g, b]| [b, g, r]).map(Into::into).collect(),
            Channels::Grey => pixels.map(|&pixel| T::luma(pixel)).collect(),
        }
    }
}

fn no_picture(input: &Fact) -> ImageError {
    ImageError::Preprocessing(format!("the input is {input}, which no picture can be"))
}

#[cfg(test)]
mod tests;
