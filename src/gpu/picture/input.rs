//! A picture on the GPU as a model's input.

use super::pass::{Pass, filled};
use super::tables::Tables;
use super::{GpuPicture, PictureError, Source};
use crate::error::RunError;
use crate::gpu::{GpuDevice, GpuTensor};
use crate::graph::Fact;
use crate::image::{Channels, Fitted, PixelLayout, Preprocessing, Resize};
use crate::kernel::{Binding, Dispatch, Kernel, Layout, Storage, units};
use crate::tensor::ElementType;

/// Invocations of a workgroup of the second pass.
const WORKGROUP: u32 = 64;

/// A picture on the GPU, and the tensor that it becomes each time that this is encoded: the texture is read as it is then.
/// Cloning it shares the tensor.
#[derive(Debug, Clone)]
pub struct PictureInput {
    device: GpuDevice,
    picture: GpuPicture,
    how: Preprocessing,
    input: Fact,
    tensor: GpuTensor,
    across: Pass,
    down: Pass,
    bytes: u64,
}

impl PictureInput {
    /// Makes ready what turns a picture into a tensor for this input, by these settings: two dispatches, memory between
    /// them, and the tensor.
    ///
    /// # Errors
    /// [`RunError::Picture`] if the preprocessing does not fit the picture or the input;
    /// [`RunError::Device`] if the textures are another device's, or memory runs out.
    pub async fn new(
        device: &GpuDevice,
        picture: &GpuPicture,
        how: &Preprocessing,
        input: &Fact,
    ) -> Result<Self, RunError> {
        if how.resize == Resize::Digit {
            return Err(PictureError::Digit.into());
        }
        let fitted = how.fitted(picture.size(), input).map_err(PictureError::from)?;
        let limit = device.facts().max_binding_size.min(device.info().max_buffer_size);
        let too_large = |bytes: u64| PictureError::TooLarge { bytes, limit };
        let tables = Tables::new(&fitted, how.exact).ok_or_else(|| too_large(u64::MAX))?;
        let pitch = fitted.placement.part[0].div_ceil(4);
        // Three planes of floats, in units of four.
        let middle_bytes = 3 * u64::from(tables.rows[1]) * u64::from(pitch) * 16;
        let table_bytes = tables.floats.len() as u64 * 4;
        if let Some(bytes) = [middle_bytes, table_bytes].into_iter().find(|&bytes| bytes > limit) {
            return Err(too_large(bytes).into());
        }
        let storage = Storage::of(input.element_type, false).unwrap_or(Storage::F32);
        let tensor = GpuTensor::new(device, input.element_type, storage, fitted.shape.clone()).await?;
        let (middle, table) = device
            .guarded("memory for resizing a picture", || {
                let bytes: Vec<u8> = tables.floats.iter().flat_map(|v| v.to_le_bytes()).collect();
                let table = filled(device, "weights of a picture", wgpu::BufferUsages::STORAGE, &bytes);
                let usage = wgpu::BufferUsages::STORAGE;
                (device.create_buffer("a picture resized across", middle_bytes, usage, false), table)
            })
            .await?;
        let bytes = middle.size() + table.size() + tensor.buffer().size();
        let across = across(&fitted, &tables, pitch, picture, how);
        let down = down(&fitted, &tables, pitch, how, &tensor, device);
        let textures = picture.textures.each_ref().map(|texture| (sampled(picture), texture));
        let across = Pass::new(device, &across, &[(&table, 0), (&middle, 0)], &textures).await?;
        let down = Pass::new(device, &down, &[(&middle, 0), (&table, 0), (tensor.buffer(), 0)], &[]).await?;
        Ok(Self {
            device: device.clone(),
            picture: picture.clone(),
            how: how.clone(),
            input: input.clone(),
            tensor,
            across,
            down,
            bytes,
        })
    }

    /// Takes another picture of the same size and kind: the next one of a camera's textures. All else stays.
    ///
    /// # Errors
    /// [`PictureError::Other`] if it has another size or kind; [`RunError::Device`] if its textures are another device's.
    pub async fn change(&mut self, picture: &GpuPicture) -> Result<(), RunError> {
        if !self.serves(picture) {
            return Err(PictureError::Other(picture.size()).into());
        }
        if self.picture.textures != picture.textures {
            let textures = picture.textures.each_ref().map(|texture| (sampled(picture), texture));
            self.across.change(&self.device, &textures).await?;
            self.picture = picture.clone();
        }
        Ok(())
    }

    /// Whether it was made for such settings and such an input.
    pub(crate) fn is_for(&self, how: &Preprocessing, input: &Fact) -> bool {
        self.how == *how && self.input == *input
    }

    /// Whether [`PictureInput::change`] takes a picture.
    pub(crate) fn serves(&self, picture: &GpuPicture) -> bool {
        self.picture.size() == picture.size()
            && (self.picture.source, self.picture.integers) == (picture.source, picture.integers)
    }

    /// The tensor.
    pub fn tensor(&self) -> &GpuTensor {
        &self.tensor
    }

    /// Whether a tensor is the one that this makes.
    pub(crate) fn is_in(&self, tensor: &GpuTensor) -> bool {
        self.tensor.buffer() == tensor.buffer()
    }

    /// What it was made of.
    pub(crate) fn given(&self) -> (GpuPicture, Preprocessing) {
        (self.picture.clone(), self.how.clone())
    }

    /// The device's memory that it takes beside the textures, the tensor's included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Encodes what makes the tensor of the picture as it will be then.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        self.across.encode(&mut pass);
        self.down.encode(&mut pass);
    }
}

/// How a picture's textures are bound: texel by texel, so that none need be filtered.
const fn sampled(picture: &GpuPicture) -> wgpu::BindingType {
    use wgpu::TextureSampleType::{Float, Uint};
    wgpu::BindingType::Texture {
        sample_type: if picture.integers { Uint } else { Float { filterable: false } },
        view_dimension: wgpu::TextureViewDimension::D2,
        multisampled: false,
    }
}

fn across(fitted: &Fitted, tables: &Tables, pitch: u32, picture: &GpuPicture, how: &Preprocessing) -> Dispatch {
    let (view, rows) = (&fitted.view, tables.rows[1]);
    let (kind, matrix) = match picture.source {
        Source::Colours => (0, [[0.0; 4]; 3]),
        Source::Light => (1, [[0.0; 4]; 3]),
        Source::Grey => (2, [[0.0; 4]; 3]),
        Source::Yuv(matrix) => (3, matrix),
    };
    let mut dispatch = Dispatch::of(Kernel::of("picture/across.wgsl").define("INTEGERS", i64::from(picture.integers)))
        .bind(Binding::Scratch(0), Storage::F32)
        .bind(Binding::Scratch(1), Storage::F32)
        .param("pitch", pitch)
        .param("rows", rows)
        .param("columns", fitted.placement.part[0])
        .param("stride", tables.strides[0])
        .param("top", tables.rows[0])
        .param("start_u", view.start[0])
        .param("start_v", view.start[1])
        .param("across_u", view.across[0])
        .param("across_v", view.across[1])
        .param("down_u", view.down[0])
        .param("down_v", view.down[1])
        .param("source", kind)
        .param("rounded", u32::from(!how.exact));
    for (name, weight) in MATRIX.into_iter().zip(matrix.into_iter().flatten()) {
        dispatch = dispatch.param(name, weight);
    }
    dispatch.workgroups(pitch.div_ceil(16), rows.div_ceil(8), 1)
}

/// The parameters of the matrix, row by row.
const MATRIX: [&str; 12] = ["r0", "r1", "r2", "r3", "g0", "g1", "g2", "g3", "b0", "b1", "b2", "b3"];

fn down(
    fitted: &Fitted,
    tables: &Tables,
    pitch: u32,
    how: &Preprocessing,
    tensor: &GpuTensor,
    device: &GpuDevice,
) -> Dispatch {
    let (place, [width, height]) = (&fitted.placement, fitted.to);
    // Sides have 16 bits, and a picture at most 2^27 pixels.
    let channels = if fitted.channels == 1 { 1 } else { 3 };
    let elements = width * height * channels;
    let units = units(tensor.shape(), Layout::Linear).unwrap_or(0);
    let (whole, low, high) = match tensor.element_type() {
        ElementType::U8 => (1u32, 0.0, 255.0),
        ElementType::I8 => (1, -128.0, 127.0),
        _ => (0, 0.0, 0.0),
    };
    let kernel = Kernel::of("picture/down.wgsl").define("WORKGROUP", WORKGROUP);
    let mut dispatch = Dispatch::of(kernel)
        .bind(Binding::Scratch(1), Storage::F32)
        .bind(Binding::Scratch(0), Storage::F32)
        .bind(Binding::Output(0), tensor.storage())
        .param("units", elements.div_ceil(4))
        .param("elements", elements)
        .param("width", width)
        .param("height", height)
        .param("channels", channels)
        .param("planar", u32::from(how.layout == PixelLayout::Nchw))
        .param("colours", colours(how.channels))
        .param("left", place.at[0])
        .param("top", place.at[1])
        .param("columns", place.part[0])
        .param("lines", place.part[1])
        .param("pitch", pitch * 4)
        .param("rows", tables.rows[1])
        .param("entries", tables.entries)
        .param("stride", tables.strides[1])
        .param("rounded", u32::from(!how.exact))
        .param("whole", whole)
        .param("low", low)
        .param("high", high)
        .param("fill", f32::from(how.fill))
        .param("scale", how.scale);
    for ((mean, std), c) in NORMAL.into_iter().zip(0..) {
        dispatch = dispatch.param(mean, how.mean[c]).param(std, how.std[c]);
    }
    dispatch.linear(units, WORKGROUP, device.facts())
}

/// The parameters of each channel.
pub(super) const NORMAL: [(&str, &str); 3] = [("mean0", "std0"), ("mean1", "std1"), ("mean2", "std2")];

/// Which channels, as the shaders count them.
pub(super) const fn colours(channels: Channels) -> u32 {
    match channels {
        Channels::Rgb => 0,
        Channels::Bgr => 1,
        Channels::Grey => 2,
    }
}
