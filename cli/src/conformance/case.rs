//! One test: a model, and sets of inputs with the outputs that it should give.

use std::path::{Path, PathBuf};

use rimlight::onnx::{self, Limits};
use rimlight::plan::{Place, Schedule};
use rimlight::{Device, Engine, Error, Model, Options, Session, Tensor};

use super::compare::{Bounds, compare};
use super::{End, HostNode, Work, name, random, values};

/// Runs the test in this folder.
pub fn run(test: &Path, device: &Device, bounds: Bounds) -> End {
    let model = match Model::open(test.join("model.onnx")) {
        Ok(model) => model,
        Err(error) => return refused(&error.into()),
    };
    let mut sets: Vec<PathBuf> = std::fs::read_dir(test)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| name(path).starts_with("test_data_set_") && path.is_dir())
        .collect();
    sets.sort();
    if sets.is_empty() {
        return End::Failed("it has no test_data_set_0".to_owned());
    }
    let mut session = None;
    let mut work: Option<Work> = None;
    for set in sets {
        let session = match &mut session {
            Some(session) => session,
            none => match open(&model, device) {
                Ok(session) => none.insert(session),
                Err(error) => return refused(&error),
            },
        };
        if let Err(end) = run_set(&model, session, &set, bounds) {
            return end;
        }
        if let Some(schedule) = session.schedule() {
            work.get_or_insert_default().add(schedule);
        }
    }
    End::Passed(work)
}

fn open(model: &Model, device: &Device) -> Result<Session, Error> {
    Engine::new(model, device, &Options::new())?.session()
}

fn run_set(model: &Model, session: &mut Session, set: &Path, bounds: Bounds) -> Result<(), End> {
    if values::any(model) {
        return values::run_set(model, session, set, bounds);
    }
    let inputs = tensors(set, "input").map_err(End::Failed)?;
    let expected = tensors(set, "output").map_err(End::Failed)?;
    if inputs.len() > model.inputs().len() {
        return Err(End::Failed(format!("{} has more tensors than the model inputs", name(set))));
    }
    all_outputs(set, expected.len(), model)?;
    let views = model.inputs().map(|port| port.name).zip(inputs.iter().map(Tensor::view));
    let outputs = session.run_with(views).map_err(|e| refused(&e.into()))?;
    let differs = outputs.iter().zip(&expected).find_map(|((name, got), expected)| {
        compare(got, expected, bounds).err().map(|difference| format!("output '{name}': {difference}"))
    });
    match differs {
        None => Ok(()),
        Some(_) if random::draws(model.graph()) => {
            let got: Vec<Tensor> = outputs.into_iter().map(|(_, tensor)| tensor).collect();
            random::plausible(model.graph(), &inputs, &got, &expected).map_err(End::Failed)
        }
        Some(difference) => Err(End::Failed(difference)),
    }
}

/// Every output is compared: a set that lacks one would show nothing of it.
pub fn all_outputs(set: &Path, expected: usize, model: &Model) -> Result<(), End> {
    match model.outputs().len() {
        outputs if outputs == expected => Ok(()),
        outputs => Err(End::Failed(format!("{} has {expected} outputs, but the model {outputs}", name(set)))),
    }
}

impl Work {
    fn add(&mut self, schedule: &Schedule) {
        self.dispatches += schedule.summary.dispatches;
        for place in &schedule.places {
            if let Place::Host(reason) = &place.place {
                let operator = schedule.graph.node(place.node).operator.name().to_owned();
                self.host.push(HostNode { operator, reason: reason.clone() });
            }
        }
        self.host.sort();
        self.host.dedup();
    }
}

/// A model that is refused for a reason of the list is unsupported; whatever else goes wrong is a failure.
pub fn refused(error: &Error) -> End {
    match error.unsupported() {
        Some(reason) => End::Unsupported(reason, error.to_string()),
        None => End::Failed(error.to_string()),
    }
}

/// The tensors `KIND_0.pb`, `KIND_1.pb`, …
fn tensors(set: &Path, kind: &str) -> Result<Vec<Tensor>, String> {
    let mut found = vec![];
    loop {
        let path = set.join(format!("{kind}_{}.pb", found.len()));
        if !path.is_file() {
            return Ok(found);
        }
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        match onnx::read_tensor(bytes.into(), &Limits::default()) {
            Ok((_, tensor)) => found.push(tensor),
            Err(error) => return Err(format!("{}: {error}", name(&path))),
        }
    }
}
