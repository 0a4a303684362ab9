//! Classifies frames that lie on the GPU already, as a camera's do: no pixel crosses to the processor.
//!
//! ```text
//! cargo run --release --example camera_texture
//! cargo run --release --example camera_texture -- --model mobilenetv2_fp32 cat.jpg dog.jpg
//! ```
//!
//! The program owns the device, as a renderer does, and plays the camera: it films digits that wander across the picture, in
//! NV12, a texture of luma and one of colour. Rimlight cuts the digit out, resizes it and runs the model, all on that device.

use std::process::ExitCode;
use std::time::Instant;

use rimlight::gpu::{GpuPicture, YuvMatrix, YuvRange, wgpu};
use rimlight::image::{Channels, Picture, Preprocessing, Resize, classes};
use rimlight::{Device, DeviceError, Model, Options};

#[path = "program/mod.rs"]
mod program;

use program::{Failure, Typed, fits, say, wrong};

const HELP: &str = "\
Classifies frames that lie on the GPU already, as a camera's do.

usage: camera_texture [--model NAME PICTURE…]

Without a model it films the digits that are shipped with it.

  --model NAME      a classifier of photographs as ImageNet has them, or its file; the pictures are filmed for it";

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
// The camera's frames, and how large digits are in them.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const SIDE: u32 = 336;

/// A texture that the camera fills.
#[expect(clippy::disallowed_methods, reason = "the application's own texture")]
fn texture(device: &wgpu::Device, format: wgpu::TextureFormat, [width, height]: [u32; 2]) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some("camera"),
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    })
}

fn fill(queue: &wgpu::Queue, texture: &wgpu::Texture, texels: &[u8]) {
    let bytes_per_row = Some(texels.len() as u32 / texture.height());
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row, rows_per_image: None };
    queue.write_texture(texture.as_image_copy(), texels, layout, texture.size());
}

/// The luma of a frame in which a digit, 28 × 28 numbers of 0 to 1, stands `left` pixels from the edge.
fn film(digit: &[f32], left: u32) -> Vec<u8> {
    let luma = |x: u32, y: u32| match (x.checked_sub(left), y.checked_sub(72)) {
        (Some(x), Some(y)) if x < SIDE && y < SIDE => (digit[(y / 12 * 28 + x / 12) as usize] * 255.0).round() as u8,
        _ => 40,
    };
    (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| luma(x, y))).collect()
}

fn run(typed: &Typed) -> Result<(), Failure> {
    // What a renderer has: a device of its own, with whatever features and limits.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
    let adapter = adapter.map_err(|e| DeviceError::NoAdapter(e.to_string()))?;
    let opened = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()));
    let (device, queue) = opened.map_err(|e| DeviceError::NoAdapter(e.to_string()))?;
    let guest = Device::from_wgpu(device.clone(), queue.clone());

    let model = match typed.text("model") {
        Some(name) => Model::open(program::model_file(&name)?)?,
        None => Model::open(format!("{FOLDER}/digits.onnx"))?,
    };
    let (name, fact) = program::first_input(&model)?;
    let options = match fact.shape.first() {
        Some(batch) if batch.known().is_none() => Options::new().dim(batch.to_string(), 1),
        _ => Options::new(),
    };
    let mut session = model.session_with(&guest, &options)?;
    let input = session.input(name)?;
    let output = model.outputs().next().ok_or_else(|| wrong("the model has no output"))?.name;
    let scores = session.output(output)?;

    // A frame's textures, its name, and how the model wants it.
    let mut frames: Vec<(GpuPicture, String, Preprocessing)> = vec![];
    for path in &typed.rest {
        let picture = Picture::open(path)?;
        let there = texture(&device, wgpu::TextureFormat::Rgba8UnormSrgb, [picture.width(), picture.height()]);
        let texels: Vec<u8> = picture.rgb().chunks(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
        fill(&queue, &there, &texels);
        frames.push((GpuPicture::new(&there)?, path.to_string_lossy().into_owned(), Preprocessing::for_input(fact)?));
    }
    for digit in 0..10 * u32::from(typed.text("model").is_none()) {
        let drawn = Picture::open(format!("{FOLDER}/images/digit_{digit}.png"))?;
        let pixels = Preprocessing::for_input(fact)?.tensor(&drawn, fact)?;
        let [luma, chroma] = [(wgpu::TextureFormat::R8Unorm, 1), (wgpu::TextureFormat::Rg8Unorm, 2)]
            .map(|(format, part)| texture(&device, format, [WIDTH / part, HEIGHT / part]));
        let left = digit * 33;
        fill(&queue, &luma, &film(fits(pixels.as_slice::<f32>())?, left));
        fill(&queue, &chroma, &[128; (WIDTH * HEIGHT / 2) as usize]);
        let mut how = Preprocessing::default();
        (how.resize, how.channels, how.region) = (Resize::Stretch, Channels::Grey, Some([left, 72, SIDE, SIDE]));
        (how.mean, how.std) = ([0.0; 3], [1.0; 3]);
        let frame = GpuPicture::yuv(&luma, &chroma, YuvMatrix::Bt601, YuvRange::Full)?;
        frames.push((frame, format!("digit {digit}"), how));
    }
    let mut times = vec![];
    for (frame, name, how) in &frames {
        let start = Instant::now();
        pollster::block_on(session.set_picture(input, frame, how))?;
        session.run()?;
        times.push(start.elapsed());
        let classes = fits(classes(session.get(scores)?))?;
        let Some((probability, class)) = classes.first() else { return Err(wrong("the model gives no scores")) };
        say!("{name}: class {class}, {:.1} %", probability * 100.0);
    }
    say!("{} frames on {}, {:.1} ms a frame (median)", frames.len(), guest.name(), program::median(times));
    Ok(())
}

fn main() -> ExitCode {
    program::main("camera_texture", HELP, &["model"], run)
}
