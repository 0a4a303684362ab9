//! An output as a texture: super-resolution, masks, styles, for a renderer to sample.

use super::input::{NORMAL, colours};
use super::pass::Pass;
use super::{PictureError, size, usable};
use crate::error::RunError;
use crate::gpu::GpuTensor;
use crate::graph::Fact;
use crate::image::{Channels, PixelLayout, Preprocessing};
use crate::kernel::{Binding, Dispatch, Kernel};

/// A tensor on the GPU, and the texture that shows it each time that this is encoded.
#[derive(Debug)]
pub struct PictureOutput {
    pass: Pass,
}

impl PictureOutput {
    /// Makes ready what writes a tensor into a texture: `(v · std + mean) / scale` for each channel, 0 to 255, opaque. It is
    /// the way back of [`Preprocessing`], of which channels, layout and the numbers count; what
    /// [`Session::device_output`](crate::Session::device_output) gives is such a tensor.
    ///
    /// The texture is `Rgba8Unorm`, to which values are rounded, or `Rgba16Float` (0 to 1, not clamped), of the tensor's width
    /// and height, and has the usage `STORAGE_BINDING`.
    ///
    /// # Errors
    /// [`RunError::Picture`] if the texture is of another format, size or usage, or the tensor of no picture's shape;
    /// [`RunError::Device`] if it is another device's.
    pub async fn new(tensor: &GpuTensor, texture: &wgpu::Texture, how: &Preprocessing) -> Result<Self, RunError> {
        let (format, name, bytes) = match texture.format() {
            format @ wgpu::TextureFormat::Rgba8Unorm => (format, "rgba8unorm", 1),
            format @ wgpu::TextureFormat::Rgba16Float => (format, "rgba16float", 0),
            format => return Err(PictureError::Format { format, wanted: "Rgba8Unorm or Rgba16Float" }.into()),
        };
        usable(texture, wgpu::TextureUsages::STORAGE_BINDING)?;
        let shape = || PictureError::Shape { tensor: tensor.shape().to_vec(), texture: size(texture) };
        let fact = Fact::new(tensor.element_type(), tensor.shape().to_vec());
        let [width, height] = how.size_of(&fact).map_err(PictureError::from)?;
        if [width, height] != size(texture) {
            return Err(shape().into());
        }
        let device = tensor.device();
        if !tensor.buffer().usage().contains(wgpu::BufferUsages::STORAGE) {
            return Err(RunError::State("the tensor's buffer lacks the usage STORAGE".to_owned()));
        }
        // A binding begins at an aligned offset; the rest is counted in elements.
        let alignment = device.facts().offset_alignment.max(1);
        let offset = tensor.offset() / alignment * alignment;
        let cell = tensor.storage().unit_bytes() / 4;
        let start = u32::try_from((tensor.offset() - offset) / cell.max(1)).map_err(|_| shape())?;
        if tensor.buffer().size() - offset > device.facts().max_binding_size {
            let (bytes, limit) = (tensor.buffer().size() - offset, device.facts().max_binding_size);
            return Err(PictureError::TooLarge { bytes, limit }.into());
        }
        let grey = how.channels == Channels::Grey;
        let kernel = Kernel::of("picture/show.wgsl").define("BYTES", bytes).paste("FORMAT", name);
        let mut dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), tensor.storage())
            .param("width", width)
            .param("height", height)
            .param("channels", if grey { 1u32 } else { 3 })
            .param("planar", u32::from(how.layout == PixelLayout::Nchw))
            .param("colours", colours(how.channels))
            .param("start", start)
            .param("scale", how.scale);
        for ((mean, std), c) in NORMAL.into_iter().zip(0..) {
            let c = if grey { 0 } else { c };
            dispatch = dispatch.param(mean, how.mean[c]).param(std, how.std[c]);
        }
        let dispatch = dispatch.workgroups(width.div_ceil(16), height.div_ceil(8), 1);
        let stored = wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::WriteOnly,
            format,
            view_dimension: wgpu::TextureViewDimension::D2,
        };
        Ok(Self { pass: Pass::new(device, &dispatch, &[(tensor.buffer(), offset)], &[(stored, texture)]).await? })
    }

    /// Encodes the writing of the tensor as it will be then.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        self.pass.encode(&mut pass);
    }
}
