//! Tensors as textures.

use super::*;

#[test]
fn tensors_become_the_pictures_that_they_show() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let size = [37, 5];
    let picture = Picture::from_rgb(size[0], size[1], noise(37 * 5 * 3, 3)).unwrap();
    for (channels, layout, format) in [
        (Channels::Rgb, PixelLayout::Nchw, Format::Rgba8Unorm),
        (Channels::Bgr, PixelLayout::Nhwc, Format::Rgba8Unorm),
        (Channels::Grey, PixelLayout::Nchw, Format::Rgba8Unorm),
        (Channels::Bgr, PixelLayout::Nchw, Format::Rgba16Float),
    ] {
        let how = Preprocessing { channels, layout, resize: Resize::Stretch, ..Preprocessing::default() };
        let input = input_of(&how, ElementType::F32, size);
        let tensor = how.tensor(&picture, &input).unwrap();
        let expected = how.picture(&tensor.view()).unwrap();
        // In the middle of a buffer, at no whole unit.
        let bytes: Vec<u8> =
            [0f32; 67].iter().chain(tensor.as_slice::<f32>().unwrap()).flat_map(|v| v.to_le_bytes()).collect();
        let usage = wgpu::BufferUsages::STORAGE;
        let buffer = super::pass::filled(&device, "x", usage, &bytes);
        let there = GpuTensor::from_buffer(&device, buffer, 67 * 4, ElementType::F32, tensor.shape().to_vec()).unwrap();
        let shown = texture(&device, format, size, Use::STORAGE_BINDING | Use::TEXTURE_BINDING);
        let output = pollster::block_on(PictureOutput::new(&there, &shown, &how)).unwrap();
        // Seen as a renderer sees it, by the way there.
        let plain = Preprocessing {
            resize: Resize::Stretch,
            exact: true,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            ..Preprocessing::default()
        };
        let input = Fact::new(ElementType::F32, [1usize, 5, 37, 3]);
        let plain = Preprocessing { layout: PixelLayout::Nhwc, ..plain };
        let seen = GpuPicture::new(&shown).unwrap();
        let back = pollster::block_on(PictureInput::new(&device, &seen, &plain, &input)).unwrap();
        let mut encoder = device.encoder();
        output.encode(&mut encoder);
        back.encode(&mut encoder);
        device.queue().submit([encoder.finish()]);
        let back = back.tensor().read(Duration::from_secs(60)).unwrap();
        // Halves below 1 lie 2^-11 apart, and drivers may take the one towards zero.
        let bound = if format == Format::Rgba16Float { 255.0 / 2048.0 + 1e-3 } else { 1e-3 };
        for (got, &wanted) in back.as_slice::<f32>().unwrap().iter().zip(expected.rgb()) {
            assert!((got - f32::from(wanted)).abs() < bound, "{got} for {wanted} ({channels:?} {format:?})");
        }
    }
}
