//! A session: inputs in, a run, outputs out.

mod input;
mod output;

use rimlight::graph::Fact;
use rimlight::image::Preprocessing;
use rimlight::{InputId, OutputId};
use std::mem::MaybeUninit;

use crate::details::Details;
use crate::device::Device;
use crate::failure::{Failure, guard};
use crate::model::Model;
use crate::options::{Backend, Options};
use crate::pointers::given;
use crate::status::Status;

pub use input::*;
pub use output::*;

/// The memory of one run at a time: a model on a device, its inputs and outputs.
#[derive(Debug)]
pub struct Session {
    session: rimlight::Session,
    device: Device,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    has_run: bool,
    /// Whether no panic has passed through it.
    sound: bool,
}

/// An input, and what it was given.
#[derive(Debug)]
struct Input {
    name: String,
    id: InputId,
    /// What the model and the options say of it; `None` if it is no tensor.
    fact: Option<Fact>,
    details: Details,
    /// The shape that its content has or must have, once it is known.
    shape: Option<Vec<usize>>,
    is_set: bool,
    /// How pictures are made into it, once somebody asked.
    how: Option<Preprocessing>,
}

/// An output.
#[derive(Debug)]
struct Output {
    name: String,
    id: OutputId,
    details: Details,
}

impl Session {
    fn new(model: &Model, device: Option<&Device>, options: &Options) -> Result<Self, Failure> {
        let device = match device {
            Some(device) => device.clone(),
            None => Device::of(options)?,
        };
        let model = &model.model;
        let session = model.session_with(&device.device, &options.session)?;
        let input = |port: rimlight::Port<'_>| -> Result<Input, Failure> {
            let fact = port.fact.map(|fact| fact.bind(&options.dimensions));
            Ok(Input {
                name: port.name.to_owned(),
                id: session.input(port.name)?,
                details: fact
                    .as_ref()
                    .map_or_else(|| Details::of_port(&port), |fact| Details::of_fact(port.name, fact)),
                shape: fact.as_ref().and_then(Fact::concrete),
                fact,
                is_set: false,
                how: None,
            })
        };
        let output = |port: rimlight::Port<'_>| -> Result<Output, Failure> {
            let fact = port.fact.map(|fact| fact.bind(&options.dimensions));
            let details = fact.map_or_else(|| Details::of_port(&port), |fact| Details::of_fact(port.name, &fact));
            Ok(Output { name: port.name.to_owned(), id: session.output(port.name)?, details })
        };
        let inputs = model.inputs().map(input).collect::<Result<_, _>>()?;
        let outputs = model.outputs().map(output).collect::<Result<_, _>>()?;
        Ok(Self { session, device, inputs, outputs, has_run: false, sound: true })
    }

    fn run(&mut self) -> Result<(), Failure> {
        if let Some(input) = self.inputs.iter().find(|input| !input.is_set) {
            let message = format!("input '{}' was not set: rimlight_session_set_input", input.details.text());
            return Err(Failure::new(Status::WrongOrder, message));
        }
        self.has_run = false;
        self.session.run()?;
        for output in &mut self.outputs {
            output.details.follow(&output.name, self.session.get_value(output.id)?);
        }
        self.has_run = true;
        Ok(())
    }

    fn backend(&self) -> Backend {
        let planned = self.session.backend().map(|backend| backend == rimlight::Backend::Gpu);
        if planned.unwrap_or_else(|| self.device.device.is_gpu()) { Backend::Gpu } else { Backend::Cpu }
    }

    fn check_sound(&self) -> Result<(), Failure> {
        let message = "an earlier call met a fault of Rimlight in this session, which can only be freed";
        if self.sound { Ok(()) } else { Err(Failure::new(Status::Internal, message)) }
    }
}

/// Does something with a session; one that a panic goes through is never used again.
fn change(session: Option<&mut Session>, run: impl FnOnce(&mut Session) -> Result<(), Failure>) -> Status {
    guard(|| {
        let session = given(session, "session")?;
        session.check_sound()?;
        session.sound = false;
        let outcome = run(session);
        session.sound = true;
        outcome
    })
}

/// Looks at a session.
fn look(session: Option<&Session>, run: impl FnOnce(&Session) -> Result<(), Failure>) -> Status {
    guard(|| {
        let session = given(session, "session")?;
        session.check_sound()?;
        run(session)
    })
}

/// Makes a session of a model. `device` may be NULL: then it opens the one that the options ask for. So may `options`: they ask for
/// nothing then. Of options beside a device only precision and dimensions count. If all shapes are known, the model is planned
/// and uploaded here, otherwise by the first run. Free it with rimlight_session_free.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_session_new(
    model: Option<&Model>,
    device: Option<&Device>,
    options: Option<&Options>,
    session: Option<&mut MaybeUninit<*mut Session>>,
) -> Status {
    guard(|| {
        let model = given(model, "model")?;
        let session = given(session, "session")?;
        let made = Session::new(model, device, options.unwrap_or(&Options::default()))?;
        session.write(Box::into_raw(Box::new(made)));
        Ok(())
    })
}

/// Frees a session, and what it lent. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_session_free(session: Option<Box<Session>>) {
    guard(|| {
        drop(session);
        Ok(())
    });
}

/// The device that the session was made on. It lives as long as the session.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_session_device(
    session: Option<&Session>,
    device: Option<&mut MaybeUninit<*const Device>>,
) -> Status {
    look(session, |session| {
        given(device, "device")?.write(&raw const session.device);
        Ok(())
    })
}

/// What runs it: RIMLIGHT_BACKEND_GPU or RIMLIGHT_BACKEND_CPU. It is the CPU on a device that is a GPU where RIMLIGHT_BACKEND_AUTO was asked
/// for and a tensor is too large for that GPU; where shapes are open, only a run decides.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_session_backend(
    session: Option<&Session>,
    backend: Option<&mut MaybeUninit<Backend>>,
) -> Status {
    look(session, |session| {
        given(backend, "backend")?.write(session.backend());
        Ok(())
    })
}

/// Runs the model on what was set, and waits for the outputs. Inputs keep what they hold: who runs again sets those that changed.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_session_run(session: Option<&mut Session>) -> Status {
    change(session, Session::run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rimlight::DeviceOptions;

    fn digits() -> Session {
        let model = rimlight::Model::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/digits.onnx")).unwrap();
        let mut device = DeviceOptions::default();
        device.backend = rimlight::Backend::Cpu;
        let options = Options { device, ..Options::default() };
        Session::new(&Model::of(model), None, &options).unwrap()
    }

    #[test]
    fn a_session_that_a_panic_went_through_can_only_be_freed() {
        let mut session = digits();
        assert_eq!(session.backend(), Backend::Cpu);
        assert_eq!(rimlight_session_run(Some(&mut session)), Status::WrongOrder);
        assert_eq!(change(Some(&mut session), |_| panic!("on purpose")), Status::Internal);
        assert_eq!(rimlight_session_run(Some(&mut session)), Status::Internal);
        assert_eq!(
            rimlight_session_backend(Some(&session), Some(&mut std::mem::MaybeUninit::uninit())),
            Status::Internal
        );
        rimlight_session_free(Some(Box::new(session)));
    }
}
