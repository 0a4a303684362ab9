//! One session of a network for sentences, with batches and lengths that change from run to run. A shape that was met before
//! makes nothing.

use rimlight::{Backend, Device, DeviceOptions, Model, Session, Tensor};
use rimlight_tests::{models, reference};

const MODEL: &str = "all-minilm-l6-v2_w8";
const NAMES: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// Pipelines that serve them all: those of one plan, and the products by kernels for one row and for few rows beside the one
/// for many.
const PIPELINES: usize = 20;

/// Batches and lengths.
const SHAPES: [[usize; 2]; 8] = [[5, 128], [1, 1], [1, 7], [1, 128], [1, 256], [5, 1], [5, 7], [5, 256]];

fn gpu() -> Option<Device> {
    let mut options = DeviceOptions::default();
    options.backend = Backend::Gpu;
    let device = Device::new(&options);
    device
        .inspect_err(|error| {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
        })
        .ok()
}

fn session(device: &Device) -> Option<Session> {
    let model = Model::open(models()?.join(format!("{MODEL}.onnx"))).expect("the model loads");
    Some(model.session(device).expect("a session"))
}

/// Sentences of made-up words, the last third of each but the first left out by the mask.
fn sentences([batch, length]: [usize; 2]) -> [Tensor; 3] {
    let of = |number: &dyn Fn(usize, usize) -> i64| {
        let all = (0..batch * length).map(|i| number(i / length, i % length)).collect::<Vec<i64>>();
        Tensor::new([batch, length], all).unwrap()
    };
    let word = |b: usize, i: usize| if i == 0 { 101 } else { 1000 + ((b * 7919 + i * 104_729) % 20_000) as i64 };
    [of(&word), of(&|b, i| i64::from(b == 0 || i == 0 || i < length - length / 3)), of(&|_, _| 0)]
}

fn embed(session: &mut Session, inputs: &[Tensor; 3]) -> Vec<f64> {
    let given = NAMES.iter().zip(inputs).map(|(name, tensor)| (*name, tensor.view()));
    let outputs = session.run_with(given).expect("a run");
    let (_, embedding) = outputs.iter().find(|(name, _)| name == "sentence_embedding").expect("the embedding");
    embedding.to_f64()
}

/// The cosines between rows of two matrices.
fn cosines(a: &[f64], b: &[f64], rows: usize) -> Vec<f64> {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let width = a.len() / rows;
    let pairs = a.chunks(width).zip(b.chunks(width));
    pairs.map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).collect()
}

#[test]
fn sentences_mean_what_they_mean_to_others() {
    for device in [Some(Device::cpu()), gpu()].into_iter().flatten() {
        let Some(mut session) = session(&device) else { return };
        let (inputs, outputs) = reference(models().unwrap().join(format!("{MODEL}.sentences.npz")));
        let given = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.view()));
        let found = session.run_with(given).unwrap();
        for (name, expected) in outputs {
            let got = &found.iter().find(|(n, _)| *n == name).unwrap().1;
            let least = cosines(&got.to_f64(), &expected.to_f64(), 4).into_iter().fold(1.0, f64::min);
            assert!(least > 0.9999, "{name}: {least}");
        }
        // Its 22.6 million weights take about a byte each there.
        if let Some(schedule) = session.schedule() {
            let bytes = schedule.summary.constant_bytes;
            assert!((22_000_000..25_000_000).contains(&bytes), "{bytes} bytes of constants");
        }
    }
}

#[test]
fn lengths_and_batches_change_from_run_to_run() {
    let (Some(gpu), Some(mut reference)) = (gpu(), session(&Device::cpu())) else { return };
    let Some(mut session) = session(&gpu) else { return };
    let mut made = None;
    let mut first = vec![];
    for shape in SHAPES {
        first.push(embed(&mut session, &sentences(shape)));
        let pipelines = gpu.as_gpu().unwrap().pipelines();
        assert_eq!(*made.get_or_insert(pipelines), pipelines, "{shape:?}");
    }
    for (shape, first) in SHAPES.into_iter().zip(first) {
        let inputs = sentences(shape);
        let again = embed(&mut session, &inputs);
        assert_eq!(again, first, "{shape:?}");
        let expected = embed(&mut reference, &inputs);
        let least = cosines(&again, &expected, shape[0]).into_iter().fold(1.0, f64::min);
        assert!(least > 0.99999, "{shape:?}: {least}");
    }
    // What the large ones needed is given back once no run needs it any more.
    for (device, session) in [(&gpu, &mut session), (&Device::cpu(), &mut reference)] {
        let small = sentences([1, 1]);
        (0..32).for_each(|_| drop(embed(session, &small)));
        let mut fresh = self::session(device).unwrap();
        (0..8).for_each(|_| drop(embed(&mut fresh, &small)));
        assert_eq!(session.memory(), fresh.memory(), "{device:?}");
        if let Some(schedule) = session.schedule() {
            let (figure, held) = (schedule.summary.activation_bytes, session.memory().values);
            assert!(held >= figure && held < figure + 1024, "{held} bytes, {figure} in the plan");
        }
    }
}

/// Whatever shape comes first: all pipelines are made for its run, and it is the same ones each time.
#[test]
fn no_pipeline_is_made_after_the_first_run() {
    for first in [[1, 1], [5, 7], [1, 256]] {
        let made = [(); 2].map(|()| {
            let gpu = gpu()?;
            let mut session = session(&gpu)?;
            embed(&mut session, &sentences(first));
            Some((gpu.as_gpu()?.pipelines(), session.schedule()?.kernels.clone(), gpu, session))
        });
        let [Some((made, kernels, gpu, mut session)), Some((again, same, ..))] = made else { return };
        assert_eq!((made, kernels), (again, same), "{first:?}");
        assert!(made <= PIPELINES, "{first:?}: {made}");
        for shape in SHAPES.into_iter().filter(|[batch, length]| batch * length <= 256).chain([[3, 33]]) {
            embed(&mut session, &sentences(shape));
            assert_eq!(gpu.as_gpu().unwrap().pipelines(), made, "{shape:?} after {first:?}");
        }
    }
}

/// A decoder that reads a text and then writes it on, byte by byte: another length of what was in each run.
#[test]
fn no_pipeline_is_made_for_the_next_word() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/messages.onnx");
    for (first, steps) in [([20, 0], [[1, 20], [1, 21], [1, 127]]), ([1, 1], [[1, 2], [100, 0], [3, 40]])] {
        let Some(gpu) = gpu() else { return };
        let model = Model::open(path).expect("the model loads");
        let mut session = model.session(&gpu).expect("a session");
        let mut run = |[new, past]: [usize; 2]| {
            let integers = |shape: [usize; 2], from: usize| {
                let values = (from..from + shape[1]).map(|i| (i % 200) as i64).collect::<Vec<i64>>();
                Tensor::new(shape, values).unwrap()
            };
            let tensors = model.inputs().map(|port| {
                let tensor = match port.name {
                    "input_ids" => integers([1, new], 30),
                    "position_ids" => integers([1, new], past),
                    "attention_mask" => Tensor::new([1, new + past], vec![1i64; new + past]).unwrap(),
                    _ => Tensor::new([1, 4, past, 32], vec![0.1f32; 4 * past * 32]).unwrap(),
                };
                (port.name, tensor)
            });
            let tensors: Vec<_> = tensors.collect();
            session.run_with(tensors.iter().map(|(name, tensor)| (*name, tensor.view()))).expect("a run");
            gpu.as_gpu().unwrap().pipelines()
        };
        let made = run(first);
        for step in steps {
            assert_eq!(run(step), made, "{step:?} after {first:?}");
        }
    }
}
