//! A generator of pictures as DCGAN has it, from noise by transposed convolutions: a GPU session and the CPU give what the
//! references give, and nothing of it runs on the host.

use rimlight::graph::{Definition, ValueId};
use rimlight::kernel::DeviceClass;
use rimlight::{
    Backend, Device, DeviceOptions, ElementType, Graph, GraphBuilder, Model, Options, Placement, Tensor, Tolerance,
    validate,
};

/// Numbers between −`scale` and `scale` around `centre`, without a pattern.
fn noise(shape: &[usize], scale: f32, centre: f32, seed: usize) -> Tensor {
    let value = |i: usize| ((i + 1) * 7919 * (2 * seed + 1) % 10_007) as f32 / 5003.5 - 1.0;
    Tensor::new(shape.to_vec(), (0..shape.iter().product()).map(|i| centre + scale * value(i)).collect()).unwrap()
}

/// A transposed convolution from `from` to `to` channels, in groups, with a kernel of four.
fn up(graph: &mut GraphBuilder, x: ValueId, [from, to, groups]: [usize; 3], definition: Definition) -> ValueId {
    let seed = from * 31 + to;
    // As large as keeps the values' size about the same: four of sixteen weights meet an output at stride two.
    let scale = (3.0 / (4 * from / groups) as f32).sqrt();
    let weights = graph.constant(&format!("w{seed}"), noise(&[from, to / groups, 4, 4], scale, 0.0, seed));
    graph.node(&definition.attribute("group", groups as i64), &[x, weights]).unwrap()
}

/// A batch normalization as it is in inference, and Relu.
fn normalized(graph: &mut GraphBuilder, x: ValueId, channels: usize) -> ValueId {
    let mut parameter = |name: &str, scale: f32, centre: f32, seed: usize| {
        graph.constant(&format!("{name}{channels}"), noise(&[channels], scale, centre, channels + seed))
    };
    let parameters = [
        parameter("scale", 0.2, 1.0, 1),
        parameter("shift", 0.3, 0.1, 2),
        parameter("mean", 0.2, 0.0, 3),
        parameter("variance", 0.4, 1.0, 4),
    ];
    let [scale, shift, mean, variance] = parameters;
    let y = graph.node(&Definition::new("BatchNormalization"), &[x, scale, shift, mean, variance]).unwrap();
    graph.node(&Definition::new("Relu"), &[y]).unwrap()
}

/// 20 numbers become a picture of 32 by 32 in three colours; each layer has another form of transposed convolution.
fn model(images: usize) -> Model {
    let mut graph = Graph::builder();
    let doubling = || Definition::new("ConvTranspose").attribute("strides", [2, 2]);
    let z = graph.input("z", ElementType::F32, [images, 20, 1, 1]);
    let x = up(&mut graph, z, [20, 24, 1], Definition::new("ConvTranspose"));
    let x = normalized(&mut graph, x, 24);
    let x = up(&mut graph, x, [24, 16, 1], doubling().attribute("pads", [1, 1, 1, 1]));
    let x = normalized(&mut graph, x, 16);
    let x = up(&mut graph, x, [16, 12, 2], doubling().attribute("auto_pad", "SAME_UPPER"));
    let x = normalized(&mut graph, x, 12);
    // 34 rows, of which 32 are asked for.
    let last = doubling().attribute("dilations", [1, 1]).attribute("output_shape", [32, 32]);
    let x = up(&mut graph, x, [12, 3, 1], last);
    let y = graph.node(&Definition::new("Tanh"), &[x]).unwrap();
    graph.output("y", y);
    Model::from_graph(graph.build().unwrap())
}

/// What a session gives.
fn run(model: &Model, device: &Device, options: &Options, z: &Tensor) -> Tensor {
    let mut session = model.session_with(device, options).unwrap();
    session.run_with([("z", z.view())]).unwrap().remove(0).1
}

#[test]
fn pictures_of_a_generator_are_those_of_the_references() {
    for images in [1, 3] {
        let (model, z) = (model(images), noise(&[images, 20, 1, 1], 1.0, 0.0, 5));
        // Four layers of sums of up to 96 products, folded with their normalizations: some tens of roundings of 6·10⁻⁸.
        let tolerance = Tolerance { rtol: 2e-5, atol: 1e-6, floor: 0.0, amplified: 0.0 };
        let cpu = run(&model, &Device::cpu(), &Options::new(), &z);
        assert_eq!(cpu.shape(), [images, 3, 32, 32]);
        let on_cpu = validate(&model, &Device::cpu(), &Options::new(), &[("z", &z)], tolerance).unwrap();
        assert!(on_cpu.passed(), "{:?}", on_cpu.first_failure());
        for class in [DeviceClass::Software, DeviceClass::Mali, DeviceClass::Nvidia] {
            let mut options = DeviceOptions::default();
            (options.backend, options.class) = (Backend::Gpu, Some(class));
            let device = match Device::new(&options) {
                Ok(device) => device,
                Err(e) => {
                    assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{e}");
                    eprintln!("skipped: {e}");
                    return;
                }
            };
            // A node on the host would be an error.
            let options = Options::new().placement(Placement::GpuOnly);
            let found = validate(&model, &device, &options, &[("z", &z)], tolerance).unwrap();
            assert!(found.passed(), "{class:?}: {:?}", found.first_failure());
            let gpu = run(&model, &device, &options, &z);
            for (g, c) in gpu.as_slice::<f32>().unwrap().iter().zip(cpu.as_slice::<f32>().unwrap()) {
                assert!((g - c).abs() <= 2e-5, "{class:?}: {g} on the GPU, {c} on the CPU");
            }
        }
    }
}
