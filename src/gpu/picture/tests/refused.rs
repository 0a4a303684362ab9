//! What cannot be read or shown.

use super::*;

#[test]
fn another_device_s_textures_are_refused() {
    let Some([device, other]) = devices(wgpu::Features::empty()) else { return };
    let theirs = texture(&other, Format::Rgba8Unorm, [3, 3], READ | Use::STORAGE_BINDING);
    let (how, input) = (Preprocessing::default(), Fact::new(ElementType::F32, [1usize, 3, 3, 3]));
    let picture = GpuPicture::new(&theirs).unwrap();
    // The application's scope sees nothing of it.
    let scope = device.wgpu().push_error_scope(wgpu::ErrorFilter::Validation);
    let refused = pollster::block_on(PictureInput::new(&device, &picture, &how, &input));
    assert!(matches!(refused, Err(RunError::Device(_))), "{refused:?}");
    let own = pollster::block_on(PictureInput::new(&other, &picture, &how, &input)).unwrap();
    let ours = texture(&device, Format::Rgba8Unorm, [3, 3], Use::STORAGE_BINDING);
    let refused = pollster::block_on(PictureOutput::new(own.tensor(), &ours, &how));
    assert!(matches!(refused, Err(RunError::Device(_))), "{refused:?}");
    assert!(pollster::block_on(scope.pop()).is_none());
    assert!(device.check().is_ok() && other.check().is_ok());
}

#[test]
fn what_cannot_be_is_said() {
    let device = GpuDevice::noop();
    let rgba = |usage| texture(&device, Format::Rgba8Unorm, [8, 6], usage);
    let good = GpuPicture::new(&rgba(READ)).unwrap();
    assert_eq!(good.size(), [8, 6]);
    assert!(matches!(
        GpuPicture::new(&texture(&device, Format::Rgba8Uint, [8, 6], READ)),
        Err(PictureError::Format { .. })
    ));
    assert!(matches!(GpuPicture::new(&rgba(Use::COPY_DST)), Err(PictureError::Usage(Use::TEXTURE_BINDING))));
    let volume = device.wgpu().create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: 4, height: 4, depth_or_array_layers: 4 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D3,
        format: Format::Rgba8Unorm,
        usage: READ,
        view_formats: &[],
    });
    assert!(matches!(GpuPicture::new(&volume), Err(PictureError::Kind { .. })));
    let (luma, chroma) =
        (texture(&device, Format::R8Unorm, [5, 5], READ), texture(&device, Format::Rg8Unorm, [2, 2], READ));
    let yuv = |luma, chroma| GpuPicture::yuv(luma, chroma, YuvMatrix::Bt601, YuvRange::Full);
    assert!(matches!(yuv(&luma, &chroma), Err(PictureError::Planes { .. })));
    assert!(matches!(yuv(&luma, &luma), Err(PictureError::Format { wanted: "Rg8Unorm", .. })));

    let input = Fact::new(ElementType::F32, [1usize, 3, 4, 4]);
    let made = |device: &GpuDevice, how: &Preprocessing, input: &Fact| {
        pollster::block_on(PictureInput::new(device, &good, how, input))
    };
    let plain = Preprocessing::default();
    assert!(made(&device, &plain, &input).is_ok());
    let digit = Preprocessing { resize: Resize::Digit, ..plain.clone() };
    assert!(matches!(made(&device, &digit, &input), Err(RunError::Picture(PictureError::Digit))));
    let preprocessing = |how: &Preprocessing, input: &Fact| {
        matches!(made(&device, how, input), Err(RunError::Picture(PictureError::Preprocessing(_))))
    };
    assert!(preprocessing(&Preprocessing { region: Some([4, 0, 5, 6]), ..plain.clone() }, &input));
    assert!(preprocessing(&Preprocessing { std: [1.0, 0.0, 1.0], ..plain.clone() }, &input));
    assert!(preprocessing(&plain, &Fact::new(ElementType::I64, [1usize, 3, 4, 4])));
    assert!(preprocessing(&plain, &Fact::new(ElementType::F32, [1usize, 5, 4, 4])));
    let mut ready = made(&device, &plain, &input).unwrap();
    let larger = GpuPicture::new(&texture(&device, Format::Rgba8Unorm, [8, 7], READ)).unwrap();
    let changed = pollster::block_on(ready.change(&larger));
    assert!(matches!(changed, Err(RunError::Picture(PictureError::Other([8, 7])))));
    assert!(pollster::block_on(ready.change(&GpuPicture::new(&rgba(READ)).unwrap())).is_ok());

    let shown = |format, size, usage| {
        pollster::block_on(PictureOutput::new(ready.tensor(), &texture(&device, format, size, usage), &plain))
    };
    assert!(shown(Format::Rgba8Unorm, [4, 4], Use::STORAGE_BINDING).is_ok());
    let usage = shown(Format::Rgba8Unorm, [4, 4], READ).unwrap_err();
    assert!(matches!(usage, RunError::Picture(PictureError::Usage(Use::STORAGE_BINDING))));
    let format = shown(Format::Bgra8Unorm, [4, 4], READ).unwrap_err();
    assert!(matches!(format, RunError::Picture(PictureError::Format { .. })));
    let size = shown(Format::Rgba8Unorm, [4, 5], Use::STORAGE_BINDING).unwrap_err();
    assert!(matches!(size, RunError::Picture(PictureError::Shape { .. })));
    assert!(device.check().is_ok());
}
