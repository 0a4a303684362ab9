//! Recurrent models over many frames, their state carried from run to run: against what ONNX Runtime says where the host
//! passes the state (`tests/data/state.npz`, made by `tests/reference/state.py`).

use rimlight::{Backend, Device, DeviceOptions, Model, Session, Tensor};
use rimlight_tests::{models, npz, root};

const FRAMES: usize = 200;
const WHOLE: [usize; 5] = [0, 49, 99, 149, 199];

/// What one run may differ by is 2·10⁻⁵ (`tests/models.rs`); here 200 hand their rounding on.
const TOLERANCE: f64 = 1e-4;

/// A model, its input and output, its state's.
struct Row {
    model: &'static str,
    x: &'static str,
    y: &'static str,
    state: [&'static str; 2],
    /// Whether the input has no sign.
    magnitudes: bool,
}

const ROWS: [Row; 3] = [
    Row { model: "silero_vad_16k", x: "input", y: "output", state: ["stateN", "state"], magnitudes: false },
    Row {
        model: "dtln_model_1",
        x: "input_2",
        y: "activation_2",
        state: ["tf_op_layer_stack_2", "input_3"],
        magnitudes: true,
    },
    Row {
        model: "dtln_model_2",
        x: "input_4",
        y: "conv1d_3",
        state: ["tf_op_layer_stack_5", "input_5"],
        magnitudes: false,
    },
];

/// Number k of the noise.
fn noise(k: usize) -> f32 {
    let hashed = u32::try_from(k).unwrap().wrapping_mul(2_654_435_761) >> 8;
    hashed as f32 / 8_388_608.0 - 1.0
}

fn check(row: &Row, session: &mut Session) {
    let expected = npz(root().join("tests/data/state.npz"));
    let expected = |what: &str| {
        let name = format!("{}.{what}", row.model);
        expected.iter().find(|(n, _)| *n == name).expect("an array of the reference").1.to_f64()
    };
    let near = |got: f64, expected: f64, what: &str| {
        let allowed = TOLERANCE * expected.abs().max(1.0);
        assert!((got - expected).abs() <= allowed, "{} {what}: {got}, where {expected} is expected", row.model);
    };
    let (whole, each, last) = (expected("whole"), expected("each"), expected("state"));
    session.carry(row.state[0], row.state[1]).unwrap();
    let (x, y) = (session.input(row.x).unwrap(), session.output(row.y).unwrap());
    let shape: Vec<usize> = {
        let port = session.engine().model().inputs().find(|port| port.name == row.x).unwrap();
        port.fact.unwrap().concrete().unwrap()
    };
    let length: usize = shape.iter().product();
    for frame in 0..FRAMES {
        let value = |k| if row.magnitudes { noise(k).abs() } else { noise(k) };
        let values = (frame * length..(frame + 1) * length).map(value).collect::<Vec<f32>>();
        session.set(x, Tensor::new(shape.as_slice(), values).unwrap().view()).unwrap();
        session.run().unwrap();
        let got = session.get(y).unwrap().to_f64();
        near(got[frame % got.len()], each[frame], &format!("frame {frame}"));
        if let Some(at) = WHOLE.iter().position(|&f| f == frame) {
            assert_eq!(whole.len(), WHOLE.len() * got.len());
            for (&got, &expected) in got.iter().zip(&whole[at * got.len()..]) {
                near(got, expected, &format!("frame {frame}, whole"));
            }
        }
    }
    let state = session.state(row.state[0]).unwrap().to_f64();
    assert_eq!(state.len(), last.len());
    for (got, expected) in state.into_iter().zip(last) {
        near(got, expected, "state");
    }
}

fn check_all(device: &Device) {
    let Some(models) = models() else { return };
    for row in &ROWS {
        let model = Model::open(models.join(format!("{}.onnx", row.model))).expect("the model loads");
        let mut session = model.session(device).expect("the model is planned and loaded");
        check(row, &mut session);
        // Of the outputs only what was asked for is read back: where the state can stay on the GPU, it does.
        let state = session.output(row.state[0]).unwrap();
        if session.schedule().is_some_and(|schedule| schedule.summary.host_nodes == 0) {
            assert!(session.get(state).is_err(), "{}", row.model);
        }
    }
}

#[test]
fn carried_on_the_cpu() {
    check_all(&Device::cpu());
}

#[test]
fn carried_on_the_gpu() {
    let mut options = DeviceOptions::default();
    options.backend = Backend::Gpu;
    match Device::new(&options) {
        Ok(device) => check_all(&device),
        Err(error) => {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
        }
    }
}
