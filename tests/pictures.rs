//! From the picture file to the class, on both backends: the classes that ONNX Runtime gives after the same preprocessing
//! (`reference/classify_photos.py` and `reference/mnist_classes.py` wrote them down). And to boxes: `pictures/vision.rs`.

#[path = "pictures/vision.rs"]
mod vision;

use std::io::Read as _;
use std::path::Path;

use rimlight::gpu::{GpuPicture, PictureInput, wgpu};
use rimlight::image::{Picture, Preprocessing};
use rimlight::{Backend, Device, DeviceOptions, Model, Options, Placement, Precision, TensorView};
use rimlight_tests::{models, root};

/// The CPU, and a GPU where there is one, in 32 and in 16 bits; it must be there if `RIMLIGHT_REQUIRE_GPU` says so.
fn backends() -> Vec<(Device, Options)> {
    let mut wanted = DeviceOptions::default();
    wanted.backend = Backend::Gpu;
    let mut backends = vec![(Device::cpu(), Options::new())];
    match Device::new(&wanted) {
        Ok(device) => {
            let options = Options::new().placement(Placement::GpuOnly);
            backends.push((device.clone(), options.clone()));
            backends.push((device, options.precision(Precision::F16)));
        }
        Err(e) => {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{e}");
            eprintln!("skipped on a GPU: {e}");
        }
    }
    backends
}

/// A model's preprocessing, from the manifest.
fn preprocessing(name: &str) -> Preprocessing {
    let text = std::fs::read_to_string(root().join("models/manifest.toml")).expect("the manifest");
    let manifest: toml::Table = text.parse().expect("a manifest");
    let models = manifest["model"].as_array().expect("models");
    let model = models.iter().find(|m| m["name"].as_str() == Some(name)).expect("a known model");
    let mut how = Preprocessing::default();
    for (property, value) in model["preprocessing"].as_table().expect("its preprocessing") {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        how.set(property, &value).expect("a property of preprocessing");
    }
    how
}

fn expected() -> serde_json::Value {
    let text = std::fs::read_to_string(root().join("tests/data/photo_classes.json")).expect("the classes");
    serde_json::from_str(&text).expect("classes")
}

fn top(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

fn photographs(name: &str) {
    let Some(folder) = models() else { return };
    let images = folder.join("../images");
    let model = Model::open(folder.join(format!("{name}.onnx"))).expect("the model loads");
    let port = model.inputs().next().expect("an input");
    let (input, fact) = (port.name.to_owned(), port.fact.expect("a typed input").clone());
    let how = preprocessing(name);
    for (device, options) in backends() {
        let options = if name == "mobilenetv2_fp32" { options.dim("batch_size", 1) } else { options };
        let mut session = model.session_with(&device, &options).expect("the model is planned and loaded");
        let expected = expected();
        let photos = expected[name].as_object().expect("photographs");
        assert!(photos.len() >= 12);
        for (photo, answer) in photos {
            let picture = Picture::open(images.join(photo)).expect("a picture");
            let tensor = how.tensor(&picture, &fact).expect("a tensor");
            let results = session.run_with([(input.as_str(), tensor.view())]).expect("the model runs");
            let classes = top(results[0].1.as_slice::<f32>().expect("scores"));
            let best = usize::try_from(answer["top1"].as_u64().expect("a class")).expect("a class");
            // A lead of a few hundredths is less than what two JPEG decoders may differ by (one step of 255 a pixel).
            let margin = answer["margin"].as_f64().expect("a margin");
            let places = if margin < 0.1 { 2 } else { 1 };
            assert!(
                classes[..places].contains(&best),
                "{photo} on {}: got {:?}, expected {best} (margin {margin})",
                device.name(),
                &classes[..5]
            );
        }
    }
}

#[test]
fn photographs_get_their_class_by_mobilenet() {
    photographs("mobilenetv2_fp32");
}

#[test]
fn photographs_get_their_class_by_squeezenet() {
    photographs("squeezenet1.0");
}

/// The photograph as a texture, its bytes as the file has them.
#[allow(clippy::disallowed_methods, reason = "the application's own texture")]
fn texture(device: &rimlight::gpu::GpuDevice, picture: &Picture) -> wgpu::Texture {
    let size = wgpu::Extent3d { width: picture.width(), height: picture.height(), depth_or_array_layers: 1 };
    let texture = device.wgpu().create_texture(&wgpu::TextureDescriptor {
        label: None,
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8UnormSrgb,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let texels: Vec<u8> = picture.rgb().chunks(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
    let bytes_per_row = Some(picture.width() * 4);
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row, rows_per_image: None };
    device.queue().write_texture(texture.as_image_copy(), &texels, layout, size);
    texture
}

#[test]
fn photographs_in_textures_are_the_same_tensors_and_keep_their_class() {
    let Some(folder) = models() else { return };
    let name = "squeezenet1.0";
    let model = Model::open(folder.join(format!("{name}.onnx"))).expect("the model loads");
    let port = model.inputs().next().expect("an input");
    let (input, fact) = (port.name.to_owned(), port.fact.expect("a typed input").clone());
    let how = preprocessing(name);
    let Some((device, options)) = backends().into_iter().nth(1) else { return };
    let gpu = device.as_gpu().expect("a GPU");
    let mut session = model.session_with(&device, &options).expect("the model is planned and loaded");
    let id = session.input(&input).expect("its input");
    let scores = session.output(model.outputs().next().expect("an output").name).expect("its output");
    let answers = expected();
    for (photo, answer) in answers[name].as_object().expect("photographs").iter().take(3) {
        let picture = Picture::open(folder.join("../images").join(photo)).expect("a picture");
        let there = GpuPicture::new(&texture(gpu, &picture)).expect("a picture on the GPU");
        for exact in [true, false] {
            let mut how = how.clone();
            how.exact = exact;
            let ready = pollster::block_on(PictureInput::new(gpu, &there, &how, &fact)).expect("an input");
            let mut encoder = gpu.wgpu().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            ready.encode(&mut encoder);
            gpu.queue().submit([encoder.finish()]);
            let got = pollster::block_on(ready.tensor().read_async()).expect("a tensor");
            let wanted = how.tensor(&picture, &fact).expect("a tensor");
            let both = got.as_slice::<f32>().expect("floats").iter().zip(wanted.as_slice::<f32>().expect("floats"));
            let worst = both.map(|(got, wanted)| (got - wanted).abs()).fold(0.0, f32::max);
            let steps = worst * how.std.iter().copied().fold(0.0, f32::max) / how.scale;
            assert!(steps <= 1e-3, "{photo}: {steps} of 255");
        }
        pollster::block_on(session.set_picture(id, &there, &how)).expect("an input of the session");
        session.run().expect("the model runs");
        let classes = top(session.get(scores).expect("an output").as_slice::<f32>().expect("scores"));
        let best = usize::try_from(answer["top1"].as_u64().expect("a class")).expect("a class");
        let places = if answer["margin"].as_f64().expect("a margin") < 0.1 { 2 } else { 1 };
        assert!(classes[..places].contains(&best), "{photo}: got {:?}, expected {best}", &classes[..5]);
    }
}

fn gunzip(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).expect("the data set");
    let mut bytes = vec![];
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("a gzip file");
    bytes
}

#[test]
fn a_thousand_digits_get_onnx_runtimes_class() {
    let Some(folder) = models() else { return };
    let text = std::fs::read_to_string(root().join("tests/data/mnist8_first1000.json")).expect("the classes");
    let answers: serde_json::Value = serde_json::from_str(&text).expect("classes");
    let classes: Vec<usize> = answers["classes"]
        .as_str()
        .expect("a digit a picture")
        .bytes()
        .map(|digit| usize::from(digit - b'0'))
        .collect();
    assert_eq!(classes.len(), 1000);
    let pixels = gunzip(&folder.join("../datasets/mnist/t10k-images-idx3-ubyte.gz"));
    let model = Model::open(folder.join("mnist-8.onnx")).expect("the model loads");
    for (device, options) in backends() {
        let mut session = model.session_with(&device, &options).expect("the model is planned and loaded");
        let (input, output) = (session.input("Input3").unwrap(), session.output("Plus214_Output_0").unwrap());
        for (i, &class) in classes.iter().enumerate() {
            // A header of 16 bytes, then 28 × 28 bytes a picture.
            let picture: Vec<f32> = pixels[16 + i * 784..][..784].iter().map(|&p| p.into()).collect();
            session.set(input, TensorView::new([1, 1, 28, 28], &picture).unwrap()).unwrap();
            session.run().unwrap();
            let scores = session.get(output).unwrap().as_slice::<f32>().unwrap();
            assert_eq!(top(scores)[0], class, "picture {i} on {}", device.name());
        }
    }
}
