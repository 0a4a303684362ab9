//! The models that are known by name: `models/manifest.toml`, and where their files lie.

use std::path::{Path, PathBuf};

use rimlight::Limits;
use rimlight::graph::Fact;
use rimlight::image::Preprocessing;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Outcome};
use crate::folders::{cache_folder, local_folder};

/// The manifest that is part of the program.
const MANIFEST: &str = include_str!("../../models/manifest.toml");
/// The model that is part of the program.
const DIGITS: &[u8] = include_bytes!("../../models/digits.onnx");

/// A manifest: models and lists of labels.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// The models.
    #[serde(rename = "model")]
    pub models: Vec<Known>,
}

/// A model that is known by name.
#[derive(Debug, Clone, Deserialize)]
pub struct Known {
    /// What to type.
    pub name: String,
    /// What it is.
    pub about: String,
    /// The file's name in a folder of models.
    pub file: String,
    /// `onnx` or `tflite`.
    pub format: String,
    /// Its licence.
    pub licence: String,
    /// The file's size in bytes.
    pub size: u64,
    /// The file's SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Where the very bytes can be had.
    pub url: Option<String>,
    /// How the file was made, where it cannot be had as it is.
    pub derived: Option<String>,
    /// Whether it is part of the program.
    #[serde(default)]
    pub embedded: bool,
    /// Where it is from.
    pub source: Option<Source>,
    /// How its input is made.
    #[serde(default)]
    pub preprocessing: toml::Table,
}

/// Where a model is from.
#[derive(Debug, Clone, Deserialize)]
pub struct Source {
    /// The repository, on GitHub unless it says otherwise.
    pub repository: String,
    /// The file in it.
    pub path: String,
    /// The commit.
    pub commit: String,
}

impl Manifest {
    /// The manifest that is part of the program, or another one.
    ///
    /// # Errors
    /// If the file cannot be read or is no manifest.
    pub fn load(path: Option<&Path>) -> Outcome<Self> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path).map_err(|e| Failure::file(path, e))?,
            None => MANIFEST.to_owned(),
        };
        toml::from_str(&text).map_err(|e| match path {
            Some(path) => Failure::file(path, e),
            None => Failure::input(format!("models/manifest.toml: {e}")),
        })
    }

    /// The model of this name.
    ///
    /// # Errors
    /// If there is none, with the name that was probably meant.
    pub fn find(&self, name: &str) -> Outcome<&Known> {
        self.models.iter().find(|known| known.name == name || known.file == name).ok_or_else(|| {
            let names = self.models.iter().map(|known| known.name.as_str());
            let near = rimlight::error::nearest(name, names).map(|near| format!("; did you mean '{near}'?"));
            Failure::input(format!(
                "no model is known as '{name}'{} `rimlight models` lists those that are",
                near.unwrap_or_else(|| ";".to_owned())
            ))
        })
    }
}

impl Known {
    /// How a picture becomes this model's input.
    ///
    /// # Errors
    /// If the model takes no pictures.
    pub fn preprocessing(&self, input: &Fact) -> Outcome<Preprocessing> {
        let mut how = Preprocessing::for_input(input)?;
        for (property, value) in &self.preprocessing {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            how.set(property, &text)?;
        }
        Ok(how)
    }

    /// Whether these are the model's bytes.
    pub fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.size && hexadecimal(&Sha256::digest(bytes)) == self.sha256
    }

    /// The model's file, if it lies in the folder that `RIMLIGHT_MODELS` names or in the cache.
    pub fn local(&self) -> Option<PathBuf> {
        let folders = local_folder().into_iter().chain(cache_folder());
        folders.map(|folder| folder.join(&self.file)).find(|path| path.is_file())
    }
}

/// A digest as text.
pub fn hexadecimal(digest: &[u8]) -> String {
    use std::fmt::Write;
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Where a model lies.
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// In the program.
    Program(&'static [u8]),
}

/// Opens a model: a file, or one that is known by name.
///
/// # Errors
/// If there is neither, the file is no model, or passes a limit.
pub fn open(model: &str, limits: &Limits) -> Outcome<(rimlight::Model, Option<Known>)> {
    let (place, known) = find(model)?;
    let model = match place {
        Place::File(path) => rimlight::Model::open_with(path, limits)?,
        Place::Program(bytes) => rimlight::Model::from_bytes_with(bytes, limits)?,
    };
    Ok((model, known))
}

/// Finds a model: a file, or one that is known by name.
///
/// # Errors
/// If there is neither.
pub fn find(model: &str) -> Outcome<(Place, Option<Known>)> {
    let path = Path::new(model);
    let manifest = Manifest::load(None)?;
    if path.exists() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let known = manifest.models.into_iter().find(|known| known.file == name);
        return Ok((Place::File(path.to_owned()), known));
    }
    // What looks like a path is one.
    let known = match manifest.find(model) {
        Err(_) if model.contains(['/', '\\']) || path.extension().is_some_and(|e| e == "onnx") => {
            return Err(Failure::file(path, "there is no such file"));
        }
        Err(failure) => {
            return Err(Failure::input(format!("there is no file '{model}', and {}", failure.message())));
        }
        Ok(known) => known.clone(),
    };
    if known.embedded && known.is(DIGITS) {
        return Ok((Place::Program(DIGITS), Some(known)));
    }
    let Some(file) = known.local() else {
        return Err(Failure::input(if known.url.is_some() {
            format!("the model '{model}' is not here yet: `rimlight models pull {model}` fetches it")
        } else {
            format!(
                "the model '{model}' is not here and cannot be pulled; name the folder that it lies in with RIMLIGHT_MODELS"
            )
        }));
    };
    Ok((Place::File(file), Some(known)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rimlight::ElementType;

    #[test]
    fn the_manifest_of_the_program_is_whole() {
        let manifest = Manifest::load(None).unwrap();
        for known in &manifest.models {
            assert_eq!(known.sha256.len(), 64, "{}", known.name);
            assert!(known.embedded || known.url.is_some() || known.derived.is_some(), "{}", known.name);
        }
        let digits = manifest.find("digits").unwrap();
        assert!(digits.is(DIGITS), "models/digits.onnx is not the one that the manifest describes");
    }

    #[test]
    fn every_model_of_pictures_has_a_preprocessing_that_is_understood() {
        let input = Fact::new(ElementType::F32, [1usize, 3, 224, 224]);
        let manifest = Manifest::load(None).unwrap();
        let kind =
            |known: &Known| known.preprocessing.get("kind").and_then(|k| k.as_str()).unwrap_or_default().to_owned();
        let mut pictures = 0;
        for known in &manifest.models {
            let outcome = known.preprocessing(&input);
            let wanted = ["picture", "digit"].contains(&kind(known).as_str());
            assert_eq!(outcome.is_ok(), wanted, "{}: {outcome:?}", known.name);
            pictures += usize::from(wanted);
        }
        assert!(pictures >= 8);
    }

    #[test]
    fn a_name_that_is_nearly_right_is_suggested() {
        let message = open("squeezenet1.1", &Limits::default()).unwrap_err().to_string();
        assert!(message.contains("did you mean 'squeezenet1.0'?"), "{message}");
        let message = open("missing/model.onnx", &Limits::default()).unwrap_err().to_string();
        assert!(message.contains("no such file"), "{message}");
    }
}
