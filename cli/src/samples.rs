//! Sets of samples: pictures and arrays in files and folders, with labels where there are any.

use std::path::{Path, PathBuf};

use rimlight::compress::Sample;
use rimlight::graph::Fact;
use rimlight::image::Picture;
use rimlight::{Model, Tensor};

use crate::arrays;
use crate::failure::{Failure, Outcome};
use crate::inputs;
use crate::known::Known;

/// What a folder calls the file that names the classes of its files.
const LABELS: &str = "labels.txt";
/// The side of CIFAR's pictures; a record is a label and three planes.
const CIFAR: usize = 32;

/// Reads samples for a model.
pub struct Reader<'a> {
    pub model: &'a Model,
    pub known: Option<&'a Known>,
    /// How pictures become the input, besides what is known.
    pub preprocess: &'a [String],
}

impl Reader<'_> {
    /// The samples of files and folders, in the order of names within a folder.
    ///
    /// # Errors
    /// If a file cannot be read, or there is none.
    pub fn read(&self, paths: &[PathBuf]) -> Outcome<Vec<Sample>> {
        let mut samples = vec![];
        for path in paths {
            let before = samples.len();
            if path.is_dir() {
                self.folder(path, &mut samples)?;
            } else {
                self.file(path, None, &mut samples)?;
            }
            if samples.len() == before {
                return Err(Failure::file(path, "there is no sample in it: pictures, .npy, .npz, or CIFAR's .bin"));
            }
        }
        Ok(samples)
    }

    /// A folder: its files, those of folders whose names are numbers being of that class, those that `labels.txt` names (a
    /// line `FILE CLASS` each) of theirs.
    fn folder(&self, folder: &Path, samples: &mut Vec<Sample>) -> Outcome {
        let labels = labels(&folder.join(LABELS))?;
        for path in entries(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if let Ok(class) = name.parse::<usize>() {
                    for file in entries(&path)?.iter().filter(|file| is_sample(file)) {
                        self.file(file, Some(class), samples)?;
                    }
                }
            } else if is_sample(&path) {
                let label = labels.iter().find(|(file, _)| *file == name).map(|(_, label)| *label);
                self.file(&path, label, samples)?;
            }
        }
        Ok(())
    }

    fn file(&self, path: &Path, label: Option<usize>, samples: &mut Vec<Sample>) -> Outcome {
        match extension(path).as_str() {
            "npz" => self.arrays(path, samples),
            "bin" => self.cifar(path, samples),
            _ => {
                let (name, fact) = self.only_input(path)?;
                let tensor = inputs::read(name, path, fact, self.known, self.preprocess)?;
                samples.push(with(Sample::new(vec![(name.to_owned(), tensor)]), label));
                Ok(())
            }
        }
    }

    fn only_input(&self, path: &Path) -> Outcome<(&str, Option<&Fact>)> {
        let mut inputs = self.model.inputs();
        match (inputs.next(), inputs.next()) {
            (Some(input), None) => Ok((input.name, input.fact)),
            _ => Err(Failure::file(path, "the model has not one input: give .npz files with an array for each")),
        }
    }

    /// Arrays by the inputs' names, `labels` beside them. Where they have more than a batch of samples along their first axis,
    /// each is one.
    fn arrays(&self, path: &Path, samples: &mut Vec<Sample>) -> Outcome {
        let arrays = arrays::read_npz(path)?;
        let labels = arrays.iter().find(|(name, _)| name == "labels").map(|(_, labels)| labels.to_f64());
        let mut given = vec![];
        for port in self.model.inputs() {
            let is = |name: &str| name.strip_prefix("in:").unwrap_or(name) == port.name;
            let found = arrays.iter().find(|(name, _)| is(name));
            let (_, tensor) =
                found.ok_or_else(|| Failure::file(path, format!("it has no array for the input '{}'", port.name)))?;
            given.push((port.name, port.fact, tensor));
        }
        let batch = |fact: Option<&Fact>| fact.and_then(|fact| fact.shape.first()).map(|dim| dim.size().unwrap_or(1));
        let count = given.first().and_then(|(_, _, tensor)| tensor.shape().first()).copied().unwrap_or(1);
        let apart = count > 1
            && given.iter().all(|(_, fact, tensor)| batch(*fact) == Some(1) && tensor.shape().first() == Some(&count));
        for i in 0..if apart { count } else { 1 } {
            let part = |tensor: &Tensor| if apart { row(tensor, i, count) } else { Ok(tensor.clone()) };
            let inputs = given.iter().map(|(name, _, tensor)| Ok(((*name).to_owned(), part(tensor)?)));
            let label = match labels.as_ref().and_then(|labels| labels.get(i)) {
                Some(&label) if label < 0.0 || label.fract() != 0.0 => {
                    return Err(Failure::file(path, format!("a label is the number of a class, from 0, not {label}")));
                }
                label => label.map(|&label| label as usize),
            };
            samples.push(with(Sample::new(inputs.collect::<Outcome<_>>()?), label));
        }
        Ok(())
    }

    /// CIFAR-10's own form: records of a label and the planes of a picture of 32 × 32.
    fn cifar(&self, path: &Path, samples: &mut Vec<Sample>) -> Outcome {
        let bytes = std::fs::read(path).map_err(|e| Failure::file(path, e))?;
        let plane = CIFAR * CIFAR;
        if bytes.is_empty() || bytes.len() % (1 + 3 * plane) != 0 {
            return Err(Failure::file(path, "it is not made of CIFAR's records of 3073 bytes"));
        }
        let (name, fact) = self.only_input(path)?;
        let fact = fact.ok_or_else(|| Failure::input(format!("the file gives input '{name}' no type")))?;
        let how = inputs::preprocessing(fact, self.known, self.preprocess)?;
        for record in bytes.chunks_exact(1 + 3 * plane) {
            let Some((&label, planes)) = record.split_first() else { continue };
            let pixel = |i: usize| [0, 1, 2].map(|c| planes.get(c * plane + i).copied().unwrap_or_default());
            let picture = Picture::from_rgb(CIFAR as u32, CIFAR as u32, (0..plane).flat_map(pixel).collect())?;
            let tensor = how.tensor(&picture, fact)?;
            samples.push(Sample::new(vec![(name.to_owned(), tensor)]).labelled(label.into()));
        }
        Ok(())
    }
}

fn with(sample: Sample, label: Option<usize>) -> Sample {
    match label {
        Some(label) => sample.labelled(label),
        None => sample,
    }
}

/// A part of a tensor of so many along its first axis, with a batch of one.
fn row(tensor: &Tensor, i: usize, count: usize) -> Outcome<Tensor> {
    let mut shape = tensor.shape().to_vec();
    if let Some(first) = shape.first_mut() {
        *first = 1;
    }
    let length = tensor.bytes().len() / count.max(1);
    let bytes = tensor.bytes().get(i * length..(i + 1) * length).unwrap_or_default();
    Ok(Tensor::from_bytes(tensor.element_type(), shape, bytes.to_vec().into())?)
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

fn is_sample(path: &Path) -> bool {
    matches!(extension(path).as_str(), "jpg" | "jpeg" | "png" | "npy" | "npz" | "pb" | "bin")
}

fn entries(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let fail = |e| Failure::file(folder, e);
    let entries = std::fs::read_dir(folder).map_err(fail)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    entries.sort();
    Ok(entries)
}

fn labels(path: &Path) -> Outcome<Vec<(String, usize)>> {
    if !path.exists() {
        return Ok(vec![]);
    }
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file(path, e))?;
    let line = |line: &str| {
        let label = line.rsplit_once(char::is_whitespace).and_then(|(file, label)| Some((file, label.parse().ok()?)));
        let (file, label) = label
            .ok_or_else(|| Failure::file(path, format!("a line is FILE CLASS, such as 'cat.jpg 3', not '{line}'")))?;
        Ok((file.trim().to_owned(), label))
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(line).collect()
}
