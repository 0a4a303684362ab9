//! Models: a file, or one that `rimlight models` knows by name, wherever it was put.

use std::path::{Path, PathBuf};

use rimlight::Model;
use rimlight::graph::Fact;

use super::{Failure, wrong};

#[path = "../../cli/src/folders.rs"]
mod folders;

/// The repository's root: examples lie in it, or in a crate of their own below it.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(|folder| folder.join("models/manifest.toml").is_file()).unwrap_or(here)
}

/// A model's file: the one of that path, or `NAME.onnx` among the sources' own, in the folder that `RIMLIGHT_MODELS` names, or
/// where `rimlight models pull NAME` puts it.
pub fn model_file(name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(name);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if name.ends_with(".onnx") || name.contains(['/', '\\']) {
        return Err(wrong(format!("there is no file '{name}'")));
    }
    let folders = [Some(root().join("models")), folders::local_folder(), folders::cache_folder()];
    // A relative folder is meant from the repository's root.
    let folders = folders.into_iter().flatten().map(|folder| root().join(folder));
    let found = folders.map(|folder| folder.join(format!("{name}.onnx"))).find(|path| path.is_file());
    found.ok_or_else(|| {
        wrong(format!(
            "the model '{name}' is not here: `rimlight models pull {name}` fetches it, or RIMLIGHT_MODELS names the folder \
             that it lies in"
        ))
    })
}

/// Opens a model: a file, or one that is known by name.
pub fn model(name: &str) -> Result<Model, Failure> {
    Ok(Model::open(model_file(name)?)?)
}

/// A model's first input: its name, and what it takes.
pub fn first_input(model: &Model) -> Result<(&str, &Fact), Failure> {
    let port = model.inputs().next().ok_or_else(|| wrong("the model has no input"))?;
    Ok((port.name, port.fact.ok_or_else(|| wrong("nothing is known of the model's input"))?))
}
