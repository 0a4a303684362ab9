//! Sessions on both backends.

use crate::graph::{Definition, Graph};
use crate::model::Model;
use crate::session::{Backend, Device, DeviceOptions, Options};
use crate::{Dim, ElementType, Placement, Tensor};

pub(in crate::session) fn gpu() -> Option<Device> {
    let options = DeviceOptions { backend: Backend::Gpu, ..DeviceOptions::default() };
    Device::new(&options).inspect_err(|e| eprintln!("skipped: {e}")).ok()
}

/// Two branches that are concatenated: enough for every kind of step.
fn model() -> Model {
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [Dim::symbol("N"), Dim::Known(3), Dim::symbol("H"), Dim::Known(9)]);
    let ramp = |n: usize| (0..n).map(|i| ((i * 7 + 3) % 11) as f32 / 11.0 - 0.5).collect::<Vec<f32>>();
    let w = graph.constant("w", Tensor::new([5, 3, 3, 3], ramp(135)).unwrap());
    let v = graph.constant("v", Tensor::new([4, 5, 1, 1], ramp(20)).unwrap());
    let pads = Definition::new("Conv").attribute("pads", [1, 1, 1, 1]);
    let a = graph.node(&pads, &[x, w]).unwrap();
    let a = graph.node(&Definition::new("Relu"), &[a]).unwrap();
    let b = graph.node(&Definition::new("Conv"), &[a, v]).unwrap();
    let c = graph.node(&Definition::new("Neg"), &[a]).unwrap();
    let y = graph.node(&Definition::new("Concat").attribute("axis", 1i64), &[b, c]).unwrap();
    let z = graph.node(&Definition::new("GlobalAveragePool"), &[y]).unwrap();
    graph.output("y", y);
    graph.output("z", z);
    Model::from_graph(graph.build().unwrap())
}

#[test]
fn a_session_follows_the_shapes_of_its_inputs_on_both_backends() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let mut on_gpu = model.session_with(&gpu, &Options::new().placement(Placement::GpuOnly)).unwrap();
    let mut on_cpu = model.session(&Device::cpu()).unwrap();
    for (n, h) in [(1, 4), (2, 7), (1, 4), (1, 1)] {
        let x = Tensor::new([n, 3, h, 9], (0..n * h * 27).map(|i| (i % 13) as f32 - 6.0).collect()).unwrap();
        let got = on_gpu.run_with([("x", x.view())]).unwrap();
        let expected = on_cpu.run_with([("x", x.view())]).unwrap();
        for ((name, got), (_, expected)) in got.iter().zip(&expected) {
            let compared =
                crate::Tolerance { rtol: 1e-5, atol: 1e-6, floor: 0.0, amplified: 0.0 }.compare(name, got, expected);
            assert!(compared.passed, "{compared:?}");
        }
    }
}

#[test]
fn runs_under_way_may_have_other_shapes_and_end_anywhere() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    for device in [gpu, Device::cpu()] {
        let mut reference = model.session(&Device::cpu()).unwrap();
        let mut session = model.session(&device).unwrap();
        let (x, z) = (session.input("x").unwrap(), session.output("z").unwrap());
        let runs: Vec<_> = [(1, 4), (1, 4), (2, 7), (1, 1), (2, 7), (1, 4)]
            .into_iter()
            .enumerate()
            .map(|(i, (n, h))| {
                let values = (0..n * h * 27).map(|k| ((k + i) % 13) as f32 - 6.0).collect();
                let input = Tensor::new([n, 3, h, 9], values).unwrap();
                session.set(x, input.view()).unwrap();
                let pending = session.submit().unwrap();
                assert!(session.get(z).is_err());
                (input, pending)
            })
            .collect();
        drop(session);
        for (input, pending) in runs {
            let outputs = std::thread::spawn(move || pending.wait().unwrap()).join().unwrap();
            let expected = reference.run_with([("x", input.view())]).unwrap();
            let tolerance = crate::Tolerance { rtol: 1e-5, atol: 1e-6, floor: 0.0, amplified: 0.0 };
            let compared = tolerance.compare("z", outputs.get(z).unwrap(), &expected[1].1);
            assert!(compared.passed, "{compared:?}");
        }
    }
}

#[test]
fn shapes_that_a_run_computes_are_followed_on_the_host() {
    let Some(gpu) = gpu() else { return };
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [2, 3]);
    let axes = graph.input("axes", ElementType::I64, [1]);
    let sum = graph.node(&Definition::new("ReduceSum").attribute("keepdims", 0i64), &[x, axes]).unwrap();
    // To its own type: a view of a value that has no place on the device.
    let same = graph.node(&Definition::new("Cast").attribute("to", 1i64), &[sum]).unwrap();
    let root = graph.node(&Definition::new("Sqrt"), &[same]).unwrap();
    graph.output("root", root);
    let model = Model::from_graph(graph.build().unwrap());
    let x = Tensor::new([2, 3], vec![1f32, 2.0, 1.0, 3.0, 7.0, 6.0]).unwrap();
    for device in [gpu, Device::cpu()] {
        let mut session = model.session(&device).unwrap();
        for (axis, expected) in [(0i64, vec![2f32, 3.0, 7.0f32.sqrt()]), (1, vec![2.0, 4.0])] {
            let axes = Tensor::vector(vec![axis]);
            let got = session.run_with([("x", x.view()), ("axes", axes.view())]).unwrap();
            assert_eq!(got[0].1, Tensor::vector(expected));
        }
    }
}

#[test]
fn constants_as_views_and_types_without_a_storage_are_computed_on_both_backends() {
    let Some(gpu) = gpu() else { return };
    let mut graph = Graph::builder();
    let x = graph.input("x", ElementType::F32, [5]);
    // CastLike reads no more than the type of `x`, so it is not folded, and it changes nothing.
    let c = graph.constant("c", Tensor::vector(vec![0.5f32, -1.0, 2.0, 0.0, 7.0]));
    let c = graph.node(&Definition::new("CastLike"), &[c, x]).unwrap();
    let sum = graph.node(&Definition::new("Add"), &[x, c]).unwrap();
    // Element type 11 is f64.
    let wide = graph.node(&Definition::new("Cast").attribute("to", 11i64), &[sum]).unwrap();
    graph.output("c", c);
    graph.output("wide", wide);
    let model = Model::from_graph(graph.build().unwrap());
    let x = Tensor::vector(vec![1f32, 2.0, 3.0, 4.0, 5.0]);
    for device in [gpu, Device::cpu()] {
        let got = model.session(&device).unwrap().run_with([("x", x.view())]).unwrap();
        assert_eq!(got[0].1, Tensor::vector(vec![0.5f32, -1.0, 2.0, 0.0, 7.0]));
        assert_eq!(got[1].1, Tensor::vector(vec![1.5f64, 1.0, 5.0, 4.0, 12.0]));
    }
}

#[test]
fn weights_that_the_cpu_has_packed_are_held_once_and_read_again_where_a_plan_needs_them() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let bytes = bytes::Bytes::from_static(include_bytes!("../../../models/digits.onnx"));
    let callback = move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.clone())
    };
    let large = |graph: &Graph| {
        graph.values.iter().any(|value| {
            let constant = value.fact.as_ref().and_then(|fact| fact.constant.as_ref());
            constant.is_some_and(|tensor| tensor.bytes().len() > 4096)
        })
    };
    let mut results = vec![];
    for keep in [true, false] {
        reads.store(0, Ordering::Relaxed);
        let model = Model::from_callback(Arc::new(callback.clone())).unwrap();
        let mut session = model.session_with(&Device::cpu(), &Options::new().keep_weights(keep)).unwrap();
        // Another session of the same engine finds the same plan.
        let mut other = session.engine().session().unwrap();
        drop(model);
        for n in [1, 2] {
            let x = Tensor::new([n, 1, 28, 28], (0..n * 784).map(|i| (i % 7) as f32 / 7.0).collect()).unwrap();
            for session in [&mut session, &mut other] {
                let got = session.run_with([("image", x.view())]).unwrap();
                results.push(got[0].1.clone());
                assert_eq!(session.runners.last().map(|(planned, _)| large(&planned.graph)), Some(keep));
            }
        }
        assert_eq!(large(session.engine().model().graph()), keep);
        assert_eq!(reads.load(Ordering::Relaxed), if keep { 1 } else { 2 });
    }
    let (kept, released) = results.split_at(4);
    assert_eq!(kept, released);
}

#[test]
fn weights_are_on_the_gpu_alone_and_read_again_where_a_plan_needs_them() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let Some(gpu) = gpu() else { return };
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let bytes = bytes::Bytes::from_static(include_bytes!("../../../models/digits.onnx"));
    let callback = move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.clone())
    };
    let large = |graph: &Graph| {
        let facts = graph.values.iter().filter_map(|value| value.fact.as_ref()?.constant.as_ref());
        facts.map(|tensor| tensor.bytes().len()).max().unwrap_or(0) > 4096
    };
    for keep in [false, true] {
        reads.store(0, Ordering::Relaxed);
        let model = Model::from_callback(Arc::new(callback.clone())).unwrap();
        let options = Options::new().keep_weights(keep);
        let mut session = model.session_with(&gpu, &options).unwrap();
        let input =
            |n: usize| Tensor::new([n, 1, 28, 28], (0..n * 784).map(|i| (i % 7) as f32 / 7.0).collect()).unwrap();
        let inputs = [input(1), input(2)];
        let mut reference = model.session(&Device::cpu()).unwrap();
        let expected = inputs.each_ref().map(|x| reference.run_with([("image", x.view())]).unwrap());
        assert!(large(model.graph()));
        drop((model, reference));
        for (x, expected) in inputs.iter().zip(&expected) {
            let got = session.run_with([("image", x.view())]).unwrap();
            let tolerance = crate::Tolerance { rtol: 1e-5, atol: 1e-6, floor: 0.0, amplified: 0.0 };
            let compared = tolerance.compare("probabilities", &got[0].1, &expected[0].1);
            assert!(compared.passed, "{compared:?}");
            let schedule = session.schedule().unwrap();
            assert_eq!(large(&schedule.graph), keep);
            assert_eq!(schedule.constants.iter().any(|constant| !constant.source.bytes().is_empty()), keep);
            assert_eq!(large(session.engine().model().graph()), keep);
        }
        // The second plan found them on the device; one that does not reads them again.
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        session.runners.clear();
        session.engine().forget_plans();
        session.run_with([("image", inputs[0].view())]).unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), if keep { 1 } else { 2 });
    }
}

/// Weights in 8 bits, which each plan takes as floats, and projections that it joins.
#[test]
fn plans_for_other_lengths_find_what_the_first_has_made_of_the_weights() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let Some(gpu) = gpu() else { return };
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let bytes = bytes::Bytes::from_static(include_bytes!("../../../models/messages.onnx"));
    let callback = move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.clone())
    };
    for device in [gpu, Device::cpu()] {
        reads.store(0, Ordering::Relaxed);
        let mut session = Model::from_callback(Arc::new(callback.clone())).unwrap().session(&device).unwrap();
        let model = session.engine().model().clone();
        for length in [5, 7, 6] {
            for port in model.inputs() {
                let shape = port.fact.unwrap().shape.iter().enumerate().map(|(i, dim)| match (dim.size(), i) {
                    (Some(size), _) => size,
                    (None, 0) => 1,
                    _ if port.name.starts_with("past") => 0,
                    _ => length,
                });
                let zeros = Tensor::zeros(port.fact.unwrap().element_type, shape.collect::<Vec<_>>()).unwrap();
                session.set(session.input(port.name).unwrap(), zeros.view()).unwrap();
            }
            session.run().unwrap();
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1, "{device:?}");
    }
}

#[test]
fn a_model_that_was_trained_further_meanwhile_is_not_mixed_in() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let Some(gpu) = gpu() else { return };
    let further = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&further);
    let callback = move || {
        let mut bytes = include_bytes!("../../../models/digits.onnx").to_vec();
        if switch.load(Ordering::Relaxed) {
            // In the midst of the weights, which are most of the file.
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Ok(bytes.into())
    };
    let mut session = Model::from_callback(Arc::new(callback)).unwrap().session(&gpu).unwrap();
    let run = |session: &mut crate::Session, n: usize| {
        let x = Tensor::zeros(ElementType::F32, [n, 1, 28, 28]).unwrap();
        session.run_with([("image", x.view())]).map(|mut outputs| outputs.remove(0).1.part(0, 0, 1).unwrap())
    };
    let expected = run(&mut session, 1).unwrap();
    run(&mut session, 2).unwrap();
    further.store(true, Ordering::Relaxed);
    // What lies on the device is what it was.
    let got = run(&mut session, 3).unwrap();
    let tolerance = crate::Tolerance { rtol: 1e-5, atol: 1e-6, floor: 0.0, amplified: 0.0 };
    assert!(tolerance.compare("probabilities", &got, &expected).passed);
    session.runners.clear();
    session.engine().forget_plans();
    let error = run(&mut session, 3).unwrap_err().to_string();
    assert!(error.contains("another model now"), "{error}");
    // Nothing of that is left.
    further.store(false, Ordering::Relaxed);
    run(&mut session, 3).unwrap();
}
