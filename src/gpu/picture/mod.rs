//! Pictures that lie on the GPU: a camera's frame or a renderer's target as a model's input, and an output as a texture.
//!
//! What [`Preprocessing`](crate::image::Preprocessing) says is done in two dispatches: the lines of the picture are resized
//! across into memory of the input's own, and the columns of that down into the tensor, normalised.

mod colour;
mod error;
mod input;
mod output;
mod pass;
mod tables;
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(super) mod tests;

use std::fmt;

pub use colour::{YuvMatrix, YuvRange};
pub use error::PictureError;
pub use input::PictureInput;
pub use output::PictureOutput;

/// A picture on the GPU: one texture, or two with luma and the differences of colour, as cameras and video decoders give
/// them. Its first mip level and array layer are read.
///
/// The textures need the usage `TEXTURE_BINDING`, one sample and two dimensions. They must be made by the device that reads
/// them: of another device of the same instance that is an error, of another instance wgpu itself panics.
#[derive(Clone)]
pub struct GpuPicture {
    /// Where there is but one texture, it stands for both.
    textures: [wgpu::Texture; 2],
    source: Source,
    /// Whether the texels are integers of 16 bits.
    integers: bool,
}

/// What a texel is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    Colours,
    /// Colours that a texture unit gives as light.
    Light,
    Grey,
    /// The rows of a matrix that makes red, green and blue of luma, the two differences, and 1.
    Yuv([[f32; 4]; 3]),
}

impl GpuPicture {
    /// The picture in a texture: `Rgba8Unorm`, `Bgra8Unorm` (both also sRGB: the encoded bytes count, as in a picture's
    /// file), `Rgba16Float` (0 to 1), or `R8Unorm` for grey. Transparency is dropped, not blended.
    ///
    /// # Errors
    /// [`PictureError`] if the texture is of another format, or cannot be read by shaders.
    pub fn new(texture: &wgpu::Texture) -> Result<Self, PictureError> {
        use wgpu::TextureFormat::{Bgra8Unorm, Bgra8UnormSrgb, R8Unorm, Rgba8Unorm, Rgba8UnormSrgb, Rgba16Float};
        let source = match texture.format() {
            Rgba8Unorm | Bgra8Unorm | Rgba16Float => Source::Colours,
            Rgba8UnormSrgb | Bgra8UnormSrgb => Source::Light,
            R8Unorm => Source::Grey,
            format => {
                let wanted = "Rgba8Unorm, Bgra8Unorm, both also sRGB, Rgba16Float or R8Unorm";
                return Err(PictureError::Format { format, wanted });
            }
        };
        readable(texture)?;
        Ok(Self { textures: [texture.clone(), texture.clone()], source, integers: false })
    }

    /// The picture in two textures: NV12 as `R8Unorm` and `Rg8Unorm`, P010 as `R16Uint` and `Rg16Uint`, or as
    /// `R16Unorm` and `Rg16Unorm` where the device has the feature `TEXTURE_FORMAT_16BIT_NORM`. Each pair of differences stands
    /// for two by two pixels.
    ///
    /// # Errors
    /// [`PictureError`] if the textures are of other formats, cannot be read by shaders, or the second is not half the first,
    /// rounded up.
    pub fn yuv(
        luma: &wgpu::Texture,
        chroma: &wgpu::Texture,
        matrix: YuvMatrix,
        range: YuvRange,
    ) -> Result<Self, PictureError> {
        use wgpu::TextureFormat::{R8Unorm, R16Uint, R16Unorm, Rg8Unorm, Rg16Uint, Rg16Unorm};
        let (ten_bits, integers) = match (luma.format(), chroma.format()) {
            (R8Unorm, Rg8Unorm) => (false, false),
            (R16Unorm, Rg16Unorm) => (true, false),
            (R16Uint, Rg16Uint) => (true, true),
            (R8Unorm, format) => return Err(PictureError::Format { format, wanted: "Rg8Unorm" }),
            (R16Unorm, format) => return Err(PictureError::Format { format, wanted: "Rg16Unorm" }),
            (R16Uint, format) => return Err(PictureError::Format { format, wanted: "Rg16Uint" }),
            (format, _) => {
                let wanted = "R8Unorm, R16Uint or R16Unorm for luma";
                return Err(PictureError::Format { format, wanted });
            }
        };
        readable(luma)?;
        readable(chroma)?;
        let (whole, half) = (size(luma), size(chroma));
        if half != whole.map(|side| side.div_ceil(2)) {
            return Err(PictureError::Planes { luma: whole, chroma: half });
        }
        let source = Source::Yuv(colour::to_rgb(matrix, range, ten_bits));
        Ok(Self { textures: [luma.clone(), chroma.clone()], source, integers })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [u32; 2] {
        size(&self.textures[0])
    }
}

fn size(texture: &wgpu::Texture) -> [u32; 2] {
    [texture.width(), texture.height()]
}

/// That a shader can read the texture's texels one by one.
fn readable(texture: &wgpu::Texture) -> Result<(), PictureError> {
    usable(texture, wgpu::TextureUsages::TEXTURE_BINDING)
}

fn usable(texture: &wgpu::Texture, usage: wgpu::TextureUsages) -> Result<(), PictureError> {
    if texture.dimension() != wgpu::TextureDimension::D2 || texture.sample_count() != 1 {
        return Err(PictureError::Kind { dimension: texture.dimension(), samples: texture.sample_count() });
    }
    let missing = usage - texture.usage();
    if !missing.is_empty() {
        return Err(PictureError::Usage(missing));
    }
    let size = size(texture);
    if size.contains(&0) || size.iter().any(|&side| side > 65_535) {
        return Err(PictureError::Size(size));
    }
    Ok(())
}

/// A view of the texels that are read or written.
fn view(texture: &wgpu::Texture) -> wgpu::TextureView {
    texture.create_view(&wgpu::TextureViewDescriptor {
        dimension: Some(wgpu::TextureViewDimension::D2),
        mip_level_count: Some(1),
        array_layer_count: Some(1),
        ..Default::default()
    })
}

impl fmt::Debug for GpuPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [width, height] = self.size();
        write!(f, "GpuPicture({:?}, {width} × {height})", self.textures[0].format())
    }
}
