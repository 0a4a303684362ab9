//! Textures become the tensors that the same pictures become on the host, and tensors the textures.

#![allow(clippy::disallowed_methods, reason = "the application makes its own textures")]

mod refused;
mod shown;

use std::time::Duration;

use half::f16;
use proptest::prelude::*;
use wgpu::TextureFormat as Format;
use wgpu::TextureUsages as Use;

use super::*;
use crate::error::RunError;
use crate::gpu::{GpuDevice, GpuTensor};
use crate::graph::Fact;
use crate::image::{Channels, Picture, PixelLayout, Preprocessing, Resize, Turn};
use crate::tensor::{ElementType, Tensor};

const READ: Use = Use::TEXTURE_BINDING.union(Use::COPY_DST);

fn texture(device: &GpuDevice, format: Format, [width, height]: [u32; 2], usage: Use) -> wgpu::Texture {
    device.wgpu().create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage,
        view_formats: &[],
    })
}

/// A texture with these texels.
pub(in crate::gpu) fn filled(device: &GpuDevice, format: Format, size: [u32; 2], texels: &[u8]) -> wgpu::Texture {
    let texture = texture(device, format, size, READ);
    let bytes_per_row = Some(texels.len() as u32 / size[1]);
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row, rows_per_image: None };
    device.queue().write_texture(texture.as_image_copy(), texels, layout, texture.size());
    texture
}

/// What `how` makes of a picture on the device.
pub(in crate::gpu) fn on_device(
    device: &GpuDevice,
    picture: &GpuPicture,
    how: &Preprocessing,
    input: &Fact,
) -> Result<Tensor, RunError> {
    let ready = pollster::block_on(PictureInput::new(device, picture, how, input))?;
    let mut encoder = device.encoder();
    ready.encode(&mut encoder);
    device.queue().submit([encoder.finish()]);
    ready.tensor().read(Duration::from_secs(60))
}

/// Reproducible numbers of 0 to 255.
pub(in crate::gpu) fn noise(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// The kinds of textures that every device has.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bytes(Format),
    Floats,
    Yuv(YuvMatrix, YuvRange),
}

/// A picture on the device, and its pixels on the host: red, green, blue, 0 to 255.
fn picture(device: &GpuDevice, kind: Kind, size: [u32; 2], seed: u32) -> (GpuPicture, Vec<f32>) {
    let pixels = (size[0] * size[1]) as usize;
    match kind {
        Kind::Bytes(Format::R8Unorm) => {
            let texels = noise(pixels, seed);
            let picture = GpuPicture::new(&filled(device, Format::R8Unorm, size, &texels)).unwrap();
            (picture, texels.iter().flat_map(|&v| [f32::from(v); 3]).collect())
        }
        Kind::Bytes(format) => {
            let texels = noise(pixels * 4, seed);
            let picture = GpuPicture::new(&filled(device, format, size, &texels)).unwrap();
            let blue_first = matches!(format, Format::Bgra8Unorm | Format::Bgra8UnormSrgb);
            let order = if blue_first { [2, 1, 0] } else { [0, 1, 2] };
            (picture, texels.chunks(4).flat_map(|p| order.map(|c| f32::from(p[c]))).collect())
        }
        Kind::Floats => {
            // From a quarter below black to a quarter above white.
            let values: Vec<f16> =
                noise(pixels * 4, seed).iter().map(|&v| f16::from_f32(f32::from(v) / 170.0 - 0.25)).collect();
            let texels: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let picture = GpuPicture::new(&filled(device, Format::Rgba16Float, size, &texels)).unwrap();
            (picture, values.chunks(4).flat_map(|p| [0, 1, 2].map(|c| p[c].to_f32() * 255.0)).collect())
        }
        Kind::Yuv(matrix, range) => {
            let half = size.map(|side| side.div_ceil(2));
            let (luma, chroma) = (noise(pixels, seed), noise((half[0] * half[1] * 2) as usize, seed ^ 0x5555));
            let [first, second] = [(Format::R8Unorm, size, &luma), (Format::Rg8Unorm, half, &chroma)]
                .map(|(format, size, texels)| filled(device, format, size, texels));
            let picture = GpuPicture::yuv(&first, &second, matrix, range).unwrap();
            let codes = luma.iter().map(|&v| v.into()).zip(chroma_of(size, &chroma));
            (picture, codes.flat_map(|(y, uv)| rgb(matrix, range, [y, uv[0], uv[1]])).collect())
        }
    }
}

/// The differences of colour of each pixel.
fn chroma_of([width, height]: [u32; 2], chroma: &[u8]) -> impl Iterator<Item = [f64; 2]> {
    (0..height).flat_map(move |y| {
        (0..width).map(move |x| {
            let at = (y / 2 * width.div_ceil(2) + x / 2) as usize * 2;
            [chroma[at].into(), chroma[at + 1].into()]
        })
    })
}

/// The standards' formulas for 8 bits, written out.
fn rgb(matrix: YuvMatrix, range: YuvRange, [y, u, v]: [f64; 3]) -> [f32; 3] {
    let (y, u, v) = match range {
        YuvRange::Full => (y / 255.0, (u - 128.0) / 255.0, (v - 128.0) / 255.0),
        YuvRange::Limited => ((y - 16.0) / 219.0, (u - 128.0) / 224.0, (v - 128.0) / 224.0),
    };
    let rgb = match matrix {
        YuvMatrix::Bt601 => [y + 1.402 * v, y - 0.114 * 1.772 / 0.587 * u - 0.299 * 1.402 / 0.587 * v, y + 1.772 * u],
        YuvMatrix::Bt709 => {
            [y + 1.5748 * v, y - 0.0722 * 1.8556 / 0.7152 * u - 0.2126 * 1.5748 / 0.7152 * v, y + 1.8556 * u]
        }
    };
    rgb.map(|v| (v.clamp(0.0, 1.0) * 255.0) as f32)
}

/// Compares a texture's tensor with the host's, in steps of 255 before mean and standard deviation.
fn check(device: &GpuDevice, kind: Kind, size: [u32; 2], how: &Preprocessing, input: &Fact, seed: u32) {
    let (picture, pixels) = picture(device, kind, size, seed);
    let got = on_device(device, &picture, how, input).unwrap();
    // Integers are compared with what they were rounded from.
    let floats = Fact::new(ElementType::F32, input.shape.clone());
    let expected = match how.exact {
        true => how.tensor_of_pixels(&pixels, size, &floats).unwrap(),
        false => {
            let bytes: Vec<u8> = pixels.iter().map(|v| (v.clamp(0.0, 255.0) + 0.5) as u8).collect();
            how.tensor_of_pixels(&bytes, size, &floats).unwrap()
        }
    };
    assert_eq!(got.shape(), expected.shape());
    let steps = |v: f32| v * how.std[0] / how.scale;
    let expected = expected.as_slice::<f32>().unwrap();
    let (values, rounding): (Vec<f32>, f32) = match input.element_type {
        ElementType::F32 => (got.as_slice::<f32>().unwrap().to_vec(), 0.0),
        ElementType::F16 => (got.as_slice::<f16>().unwrap().iter().map(|v| v.to_f32()).collect(), 0.0),
        ElementType::U8 => (got.as_slice::<u8>().unwrap().iter().map(|&v| v.into()).collect(), 0.5),
        _ => (got.as_slice::<i8>().unwrap().iter().map(|&v| v.into()).collect(), 0.5),
    };
    // Of a colour that was computed, a byte may be the next one where it lies between two.
    let computed = matches!(kind, Kind::Yuv(..)) && !how.exact;
    for (i, (&got, &wanted)) in values.iter().zip(expected).enumerate() {
        let wanted = match input.element_type {
            ElementType::U8 => wanted.clamp(0.0, 255.0),
            ElementType::I8 => wanted.clamp(-128.0, 127.0),
            _ => wanted,
        };
        let half = if input.element_type == ElementType::F16 { wanted.abs() / 2048.0 } else { 0.0 };
        let bound = 1e-3 + steps(rounding + half) + if computed { 1.0 } else { 0.0 };
        let error = steps((got - wanted).abs());
        assert!(error <= bound, "element {i}: {got} for {wanted}, {error} steps ({kind:?} {size:?} {how:?} {input})");
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    let matrix = prop_oneof![Just(YuvMatrix::Bt601), Just(YuvMatrix::Bt709)];
    let range = prop_oneof![Just(YuvRange::Full), Just(YuvRange::Limited)];
    prop_oneof![
        3 => proptest::sample::select(vec![
            Format::Rgba8Unorm,
            Format::Bgra8Unorm,
            Format::Rgba8UnormSrgb,
            Format::Bgra8UnormSrgb,
            Format::R8Unorm,
        ])
        .prop_map(Kind::Bytes),
        1 => Just(Kind::Floats),
        2 => (matrix, range).prop_map(|(matrix, range)| Kind::Yuv(matrix, range)),
    ]
}

prop_compose! {
    fn settings()(
        turn in proptest::sample::select(vec![Turn::None, Turn::Quarter, Turn::Half, Turn::ThreeQuarters]),
        mirror in any::<bool>(),
        resize in proptest::sample::select(vec![
            Resize::ShortSide, Resize::Stretch, Resize::Letterbox, Resize::LetterboxCentred,
        ]),
        short_side in proptest::option::of(1u32..50),
        exact in any::<bool>(),
        fill in any::<u8>(),
        channels in proptest::sample::select(vec![Channels::Rgb, Channels::Bgr, Channels::Grey]),
        layout in proptest::sample::select(vec![PixelLayout::Nchw, PixelLayout::Nhwc]),
        (scale, mean, std) in prop_oneof![
            Just((1.0, [0.0; 3], [1.0; 3])),
            Just((1.0 / 255.0, [0.485, 0.456, 0.406], [0.225; 3])),
            Just((1.0, [104.0, 117.0, 123.0], [1.0; 3])),
        ],
    ) -> Preprocessing {
        Preprocessing {
            turn, mirror, resize, short_side, exact, fill, channels, layout, scale, mean, std, ..Preprocessing::default()
        }
    }
}

/// The input of a model that takes pictures of this size by these settings.
fn input_of(how: &Preprocessing, element_type: ElementType, [width, height]: [u32; 2]) -> Fact {
    let (width, height) = (width as usize, height as usize);
    let channels = if how.channels == Channels::Grey { 1 } else { 3 };
    let shape = match how.layout {
        PixelLayout::Nchw => [1, channels, height, width],
        PixelLayout::Nhwc => [1, height, width, channels],
    };
    Fact::new(element_type, shape)
}

/// A picture, what is done to it, and what it is to become.
#[derive(Debug)]
struct Case {
    kind: Kind,
    size: [u32; 2],
    how: Preprocessing,
    input: Fact,
    seed: u32,
}

impl Case {
    fn check(&self) {
        let Some(device) = GpuDevice::for_tests() else { return };
        check(&device, self.kind, self.size, &self.how, &self.input, self.seed);
    }
}

prop_compose! {
    fn cases(sizes: BoxedStrategy<[u32; 2]>, most: u32)(
        kind in kinds(),
        size in sizes,
        region in proptest::option::of([0f64..1.0, 0f64..1.0, 0f64..1.0, 0f64..1.0]),
        how in settings(),
        to in [1..most, 1..most],
        element_type in proptest::sample::select(vec![
            ElementType::F32, ElementType::F32, ElementType::F16, ElementType::U8, ElementType::I8,
        ]),
        seed in any::<u32>(),
    ) -> Case {
        let turned = matches!(how.turn, Turn::Quarter | Turn::ThreeQuarters);
        let seen = if turned { [size[1], size[0]] } else { size };
        let part = |share: [f64; 2], side: u32| {
            let start = (share[0] * f64::from(side)) as u32;
            [start, 1 + (share[1] * f64::from(side - start - 1)) as u32]
        };
        let region = region.map(|r| {
            let ([left, width], [top, height]) = (part([r[0], r[1]], seen[0]), part([r[2], r[3]], seen[1]));
            [left, top, width, height]
        });
        let how = Preprocessing { region, ..how };
        let input = input_of(&how, element_type, to);
        Case { kind, size, how, input, seed }
    }
}

fn small() -> BoxedStrategy<[u32; 2]> {
    prop_oneof![[1u32..4, 1u32..4], [1u32..70, 1u32..70], [100u32..700, 1u32..9], [1u32..9, 100u32..700]].boxed()
}

fn any_size() -> BoxedStrategy<[u32; 2]> {
    prop_oneof![[1u32..4001, 1u32..3001], [1u32..300, 1u32..3001], [1u32..4001, 1u32..300]].boxed()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if crate::testing::is_brief() { 24 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn textures_become_what_pictures_become(case in cases(small(), 40)) {
        case.check();
    }

    /// A minute of it in release: `cargo test --release -p rimlight --lib -- --ignored of_any_size`.
    #[test]
    #[ignore = "takes minutes"]
    fn textures_of_any_size_become_what_pictures_become(case in cases(any_size(), 300)) {
        case.check();
    }
}

#[test]
fn a_camera_s_largest_frames_keep_to_the_tolerance() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let stretched = Preprocessing { resize: Resize::Stretch, exact: true, ..Preprocessing::default() };
    let rgba = Kind::Bytes(Format::Rgba8Unorm);
    let height = if crate::testing::is_brief() { 600 } else { 3000 };
    for (kind, size, to, exact) in [
        (Kind::Yuv(YuvMatrix::Bt709, YuvRange::Limited), [4000, height], [20, 16], true),
        (rgba, [4000, 3], [1, 1], true),
        (rgba, [1, 4000], [3, 2], false),
    ] {
        let how = Preprocessing { exact, ..stretched.clone() };
        check(&device, kind, size, &how, &input_of(&how, ElementType::F32, to), 77);
    }
}

/// Two devices of one adapter with these features, where it has them.
fn devices(required_features: wgpu::Features) -> Option<[GpuDevice; 2]> {
    GpuDevice::for_tests()?;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).ok()?;
    if !adapter.features().contains(required_features) {
        eprintln!("skipped: the adapter lacks {required_features:?}");
        return None;
    }
    let descriptor = wgpu::DeviceDescriptor { required_features, ..Default::default() };
    let device = || {
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        GpuDevice::from_wgpu(device, queue, None)
    };
    Some([device(), device()])
}

/// P010: ten bits in the upper ones of sixteen, as integers, and as shares of 1 where the adapter has such textures.
#[test]
fn ten_bits_are_read_from_sixteen() {
    let words = |codes: &[u16]| codes.iter().flat_map(|code| (code << 6).to_le_bytes()).collect::<Vec<u8>>();
    let how = Preprocessing {
        resize: Resize::Stretch,
        exact: true,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        ..Preprocessing::default()
    };
    for (formats, feature) in [
        ([Format::R16Uint, Format::Rg16Uint], wgpu::Features::empty()),
        ([Format::R16Unorm, Format::Rg16Unorm], wgpu::Features::TEXTURE_FORMAT_16BIT_NORM),
    ] {
        let Some([device, _]) = devices(feature) else { continue };
        // Limited BT.709: white, black and twice the grey between, then four pixels of red.
        let luma = filled(&device, formats[0], [2, 4], &words(&[940, 64, 502, 502, 250, 250, 250, 250]));
        let chroma = filled(&device, formats[1], [1, 2], &words(&[512, 512, 409, 960]));
        let picture = GpuPicture::yuv(&luma, &chroma, YuvMatrix::Bt709, YuvRange::Limited).unwrap();
        let got = on_device(&device, &picture, &how, &Fact::new(ElementType::F32, [1usize, 3, 4, 2])).unwrap();
        let got = got.as_slice::<f32>().unwrap();
        assert!((got[0] - 255.0).abs() < 1e-3 && got[1].abs() < 1e-3 && (got[2] - 127.5).abs() < 1e-3, "{got:?}");
        // The codes of red are rounded to whole numbers.
        assert!((got[4] - 255.0).abs() < 0.5 && got[8 + 4].abs() < 0.5 && got[16 + 4].abs() < 0.5, "{got:?}");
    }
}
