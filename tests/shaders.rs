//! Shaders that the application puts in the place of Rimlight's own.

use rimlight::graph::Definition;
use rimlight::kernel::{Shaders, shaders};
use rimlight::{Device, ElementType, Graph, Model, Options, Placement, Tensor};

#[test]
fn two_versions_of_a_shader_are_two_pipelines_of_one_device() {
    let device = match Device::gpu() {
        Ok(device) => device,
        Err(error) => {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            return eprintln!("skipped: {error}");
        }
    };
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [4usize]);
    let y = graph.node(&Definition::new("Abs"), &[x]).unwrap();
    graph.output("y", y);
    let model = Model::from_graph(graph.build().unwrap());
    let x = Tensor::vector(vec![1f32, -2.0, 3.0, 0.0]);
    let run = |options: &Options| {
        let mut session = model.session_with(&device, options).unwrap();
        session.run_with([("x", x.view())]).unwrap()[0].1.as_slice::<f32>().unwrap().to_vec()
    };
    let own = Options::new().placement(Placement::GpuOnly);
    // Everything that the shader stores is one more.
    let path = "elementwise/unary.wgsl";
    let text = shaders::text(path).unwrap();
    assert!(text.contains("store_y("), "{text}");
    let mut changed = text.replace("store_y(", "store_more(");
    changed.push_str("\nfn store_more(u: u32, v: y_unit) { store_y(u, v + y_unit(1)); }\n");
    let other = own.clone().shaders(Shaders::new().replace(path, changed).unwrap());
    let before = device.as_gpu().unwrap().pipelines();
    for _ in 0..2 {
        assert_eq!(run(&own), [1.0, 2.0, 3.0, 0.0]);
        assert_eq!(run(&other), [2.0, 3.0, 4.0, 1.0]);
    }
    assert_eq!(device.as_gpu().unwrap().pipelines() - before, 2);
}
