//! Frames of other drivers are read where they lie.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd;

use super::*;
use crate::gpu::picture::tests::{filled, noise, on_device};
use crate::gpu::{AdapterKind, AdapterRequest, Adapters, YuvMatrix, YuvRange};
use crate::graph::Fact;
use crate::image::{Preprocessing, Resize};
use crate::tensor::{ElementType, Tensor};

/// Memory that has a file's handle, as a dma-buf has.
fn memory(bytes: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!("rimlight-frame-{}-{:p}", std::process::id(), bytes));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn described<'a>(file: &'a File, format: DmaBufFormat, size: [u32; 2], planes: &[(u64, u64)]) -> DmaBuf<'a> {
    let plane = |&(offset, stride): &(u64, u64)| DmaBufPlane { buffer: file.as_fd(), offset, stride };
    DmaBuf { format, size, modifier: image::LINEAR, planes: planes.iter().map(plane).collect() }
}

#[allow(unsafe_code)]
fn import(device: &GpuDevice, frame: &DmaBuf<'_>) -> Result<ForeignPicture, ImportError> {
    // SAFETY: drivers that are no software refuse what is no dma-buf; those in software read it as the memory that it is.
    unsafe { device.import_dma_buf(frame) }
}

/// A device that can import, if the adapter's driver can, and maps any file.
fn device() -> Option<GpuDevice> {
    let mut request = AdapterRequest::any();
    request.imports = true;
    let adapters = pollster::block_on(Adapters::find(&request));
    let device = pollster::block_on(adapters.open(&request)).1.ok()?;
    let file = memory(&[0; 4096]);
    match import(&device, &described(&file, DmaBufFormat::Rgba8, [16, 4], &[(0, 64)])) {
        Err(ImportError::Extension(name)) => {
            eprintln!("skipped: {} has no {name}, nothing was imported", device.info())
        }
        Err(_) if device.info().kind != AdapterKind::Software => {
            eprintln!("skipped: {} wants a dma-buf, and the test has but a file", device.info());
        }
        imported => {
            imported.unwrap();
            return Some(device);
        }
    }
    // Where it is known to be there, it must not be skipped.
    assert!(std::env::var_os("RIMLIGHT_REQUIRE_IMPORTS").is_none(), "no frames were imported");
    None
}

/// A picture's bytes as they are, in floats.
fn read(device: &GpuDevice, picture: &GpuPicture) -> Tensor {
    let how = Preprocessing { resize: Resize::Stretch, scale: 1.0, ..Preprocessing::default() };
    let [width, height] = picture.size().map(|side| side as usize);
    on_device(device, picture, &how, &Fact::new(ElementType::F32, [1, 3, height, width])).unwrap()
}

/// Frame after frame in the same buffer, each read after it was written, by colours and by luma and differences.
#[test]
fn frames_are_read_where_they_lie() {
    let Some(device) = device() else { return };
    let size = [64, 48];
    let mut file = memory(&noise(1 << 16, 1));
    let colours = import(&device, &described(&file, DmaBufFormat::Bgra8, size, &[(4096, 256)])).unwrap();
    let nv12 = DmaBufFormat::Nv12(YuvMatrix::Bt709, YuvRange::Limited);
    let yuv = import(&device, &described(&file, nv12, size, &[(0, 64), (64 * 64, 64)])).unwrap();
    for frame in [3, 5, 7] {
        let bytes = noise(1 << 16, frame);
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&bytes).unwrap();
        for foreign in [&colours, &yuv] {
            foreign.acquire().unwrap();
        }
        let bgra = filled(&device, wgpu::TextureFormat::Bgra8Unorm, size, &bytes[4096..4096 + 64 * 48 * 4]);
        let luma = filled(&device, wgpu::TextureFormat::R8Unorm, size, &bytes[..64 * 48]);
        let chroma = filled(&device, wgpu::TextureFormat::Rg8Unorm, [32, 24], &bytes[4096..4096 + 64 * 24]);
        let expected = GpuPicture::yuv(&luma, &chroma, YuvMatrix::Bt709, YuvRange::Limited).unwrap();
        assert_eq!(read(&device, colours.picture()), read(&device, &GpuPicture::new(&bgra).unwrap()), "frame {frame}");
        assert_eq!(read(&device, yuv.picture()), read(&device, &expected), "frame {frame}");
        for foreign in [&colours, &yuv] {
            foreign.release().unwrap();
        }
    }
    // Dropped while what was submitted may still be running.
    colours.acquire().unwrap();
    drop((colours, yuv));
    assert!(device.poll(wgpu::PollType::wait_indefinitely()).is_ok());
    device.check().unwrap();
}

#[test]
fn lines_that_the_driver_does_not_read_are_refused() {
    let Some(device) = device() else { return };
    let file = memory(&[0; 1 << 16]);
    let frame = described(&file, DmaBufFormat::Rgba8, [16, 4], &[(0, 68)]);
    assert!(matches!(import(&device, &frame), Err(ImportError::Layout { plane: 0, .. } | ImportError::Refused { .. })));
    let frame = described(&file, DmaBufFormat::Rgba8, [16, 4], &[(1, 64)]);
    assert!(matches!(import(&device, &frame), Err(ImportError::Layout { plane: 0, .. } | ImportError::Refused { .. })));
}

#[test]
fn other_interfaces_import_nothing() {
    let file = memory(&[0; 4096]);
    let frame = described(&file, DmaBufFormat::Rgba8, [16, 4], &[(0, 64)]);
    assert!(matches!(import(&GpuDevice::noop(), &frame), Err(ImportError::Backend("noop"))));
}

#[test]
fn descriptions_that_contradict_themselves_are_refused() {
    let device = GpuDevice::noop();
    let file = memory(&[0; 4096]);
    let nv12 = DmaBufFormat::Nv12(YuvMatrix::Bt601, YuvRange::Full);
    let outside = |format, size, planes: &[(u64, u64)]| {
        let error = import(&device, &described(&file, format, size, planes)).unwrap_err();
        // The last of those that are given.
        assert!(matches!(error, ImportError::Layout { plane, .. } if plane + 1 == planes.len()), "{error}");
    };
    outside(DmaBufFormat::Rgba8, [16, 4], &[(0, 63)]);
    outside(DmaBufFormat::Rgba8, [16, 65], &[(0, 64)]);
    outside(DmaBufFormat::Rgba8, [16, 4], &[(3841, 64)]);
    outside(DmaBufFormat::Rgba8, [16, 4], &[(u64::MAX, 64)]);
    outside(DmaBufFormat::Rgba8, [16, 4], &[(0, u64::MAX)]);
    outside(nv12, [64, 43], &[(0, 64), (43 * 64, 64)]);
    // The last line need not be padded.
    let fits = described(&file, DmaBufFormat::Rgba8, [15, 64], &[(4, 64)]);
    assert!(matches!(import(&device, &fits), Err(ImportError::Backend(_))));
    let planes = described(&file, nv12, [16, 4], &[(0, 64)]);
    assert!(matches!(import(&device, &planes), Err(ImportError::Planes { planes: 1, wanted: 2, .. })));
    for size in [[0, 4], [4, 0], [4, u32::MAX]] {
        let frame = described(&file, DmaBufFormat::Grey, size, &[(0, 64)]);
        assert!(matches!(import(&device, &frame), Err(ImportError::Size { .. })));
    }
}

#[test]
fn formats_have_the_numbers_of_drm() {
    let yuv = (YuvMatrix::Bt601, YuvRange::Full);
    let of = |text: &[u8; 4]| DmaBufFormat::from_fourcc(u32::from_le_bytes(*text), yuv);
    assert_eq!(of(b"XR24").unwrap(), DmaBufFormat::Bgra8);
    assert_eq!(of(b"AB24").unwrap(), DmaBufFormat::Rgba8);
    assert_eq!(of(b"NV12").unwrap(), DmaBufFormat::Nv12(yuv.0, yuv.1));
    // DRM_FORMAT_P010 as the kernel's header has it.
    assert_eq!(DmaBufFormat::from_fourcc(0x3031_3050, yuv).unwrap(), DmaBufFormat::P010(yuv.0, yuv.1));
    let error = of(b"YUYV").unwrap_err();
    assert!(matches!(&error, ImportError::FourCc(text) if text == "YUYV"), "{error}");
}
