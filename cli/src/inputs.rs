//! The inputs of a run: out of files, or random.

use std::path::{Path, PathBuf};

use rimlight::graph::{Bindings, Dim, Fact};
use rimlight::image::{Picture, Preprocessing};
use rimlight::{Model, Options, RunError, Tensor};

use crate::arrays;
use crate::failure::{Failure, Outcome};
use crate::flags::{InputFlags, PlanFlags};
use crate::known::Known;
use crate::random::Random;

/// A random input is not made larger than this, in bytes: beyond it, somebody mistyped a dimension.
const LARGEST: usize = 4 << 30;

/// Inputs, one for each of the model's, in its order.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Names and contents.
    pub tensors: Vec<(String, Tensor)>,
    /// What was decided without being asked: random contents, open dimensions taken as 1.
    pub notes: Vec<String>,
    /// The names of those with random contents.
    made: Vec<String>,
    dims: Vec<(String, usize)>,
}

impl Inputs {
    /// Reads what the flags name and makes the rest.
    ///
    /// # Errors
    /// If a file cannot be read or does not fit, or a dimension stays open.
    pub fn gather(model: &Model, known: Option<&Known>, flags: &InputFlags, dims: &[(String, usize)]) -> Outcome<Self> {
        let mut given: Vec<(String, Tensor)> = vec![];
        let names: Vec<&str> = model.inputs().map(|port| port.name).collect();
        let check = |name: &str| {
            if names.contains(&name) {
                return Ok(());
            }
            let known = names.iter().map(|&n| n.to_owned()).collect();
            Err(Failure::from(RunError::Name { kind: "input", name: name.to_owned(), known }))
        };
        if let Some(path) = &flags.inputs {
            for (array, tensor) in arrays::read_npz(path)? {
                let name = array.strip_prefix("in:").unwrap_or(&array).to_owned();
                // Files with the answers beside the inputs are common.
                if array.starts_with("out:") {
                    continue;
                }
                check(&name)?;
                given.push((name, tensor));
            }
        }
        for text in &flags.input {
            let (name, path) = split(text, &names)?;
            check(name)?;
            let port = model.inputs().find(|port| port.name == name);
            let fact = port.and_then(|port| port.fact);
            given.retain(|(other, _)| other != name);
            given.push((name.to_owned(), read(name, &path, fact, known, &flags.preprocess)?));
        }
        let mut bindings: Bindings =
            dims.iter().map(|(name, size)| (name.clone(), i64::try_from(*size).unwrap_or(i64::MAX))).collect();
        for (name, tensor) in &given {
            let fact = model.inputs().find(|port| port.name == name).and_then(|port| port.fact);
            bind(fact, tensor.shape(), &mut bindings);
        }
        let mut notes = vec![];
        let mut random = Random::new(flags.seed);
        let mut tensors = vec![];
        let mut made = vec![];
        for port in model.inputs() {
            if let Some(at) = given.iter().position(|(name, _)| name == port.name) {
                let (name, tensor) = given.swap_remove(at);
                let tensor = narrowed(&name, tensor, port.fact)?;
                tensors.push((name, tensor));
                continue;
            }
            let Some(fact) = port.fact else {
                let kind = port.declared.map_or_else(|| "of no type".to_owned(), |declared| format!("{declared}"));
                return Err(Failure::input(format!(
                    "input '{}' is {kind}, of no known shape: nothing random can be made for it; a tensor can be given \
                     with --input",
                    port.name
                )));
            };
            let shape = shape(port.name, fact, &mut bindings, &mut notes)?;
            let bytes = shape.iter().try_fold(fact.element_type.size(), |n, &d| n.checked_mul(d));
            if bytes.is_none_or(|n| n > LARGEST) {
                return Err(Failure::input(format!(
                    "input '{}' would be {shape:?}, which is too large to make",
                    port.name
                )));
            }
            made.push(port.name.to_owned());
            tensors.push((port.name.to_owned(), random.tensor(fact.element_type, &shape)?));
        }
        if !made.is_empty() {
            notes.push(format!("random input for {} (seed {})", made.join(", "), flags.seed));
        }
        Ok(Self { tensors, notes, made, dims: dims.to_vec() })
    }

    /// The options: the flags', with every input's shape.
    ///
    /// # Errors
    /// As [`PlanFlags::options`].
    pub fn options(&self, flags: &PlanFlags) -> Outcome<Options> {
        let options = self.dims.iter().fold(flags.options()?, |options, (name, size)| options.dim(name, *size));
        Ok(self.tensors.iter().fold(options, |options, (name, tensor)| options.shape(name, tensor.shape())))
    }

    /// Names and contents of those that came from files, borrowed.
    pub fn given(&self) -> Vec<(&str, &Tensor)> {
        self.borrowed().into_iter().filter(|(name, _)| !self.made.iter().any(|made| made == name)).collect()
    }

    /// Names and contents, borrowed.
    pub fn borrowed(&self) -> Vec<(&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
    }
}

/// `NAME=FILE`, or `FILE` where the model has one input.
fn split<'a>(text: &'a str, names: &[&'a str]) -> Outcome<(&'a str, PathBuf)> {
    // Names may hold '='; what the model has decides.
    let named = names.iter().find_map(|name| Some((*name, text.strip_prefix(name)?.strip_prefix('=')?)));
    match (named, names) {
        (Some((name, path)), _) => Ok((name, path.into())),
        (None, [only]) if !text.contains('=') || Path::new(text).exists() => Ok((only, text.into())),
        _ => match text.split_once('=') {
            Some((name, path)) => Ok((name, path.into())),
            None => Err(Failure::input(format!("--input takes NAME=FILE; the inputs are {}", names.join(", ")))),
        },
    }
}

/// An input out of a file of arrays or a picture.
///
/// # Errors
/// If the file cannot be read, or does not fit.
pub fn read(
    name: &str,
    path: &Path,
    fact: Option<&Fact>,
    known: Option<&Known>,
    preprocess: &[String],
) -> Outcome<Tensor> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match extension.as_str() {
        "npy" => arrays::read_npy(path),
        "pb" => arrays::read_pb(path),
        "npz" => {
            let arrays = arrays::read_npz(path)?;
            let names: Vec<String> = arrays.iter().map(|(name, _)| name.clone()).collect();
            let found = match arrays.len() {
                1 => arrays.into_iter().next(),
                _ => arrays.into_iter().find(|(array, _)| array.strip_prefix("in:").unwrap_or(array) == name),
            };
            let missing = || Failure::file(path, format!("it has no array '{name}'; it has {}", names.join(", ")));
            found.map(|(_, tensor)| tensor).ok_or_else(missing)
        }
        "jpg" | "jpeg" | "png" => {
            let fact = fact.ok_or_else(|| Failure::input(format!("the file gives input '{name}' no type")))?;
            Ok(preprocessing(fact, known, preprocess)?.tensor(&Picture::open(path)?, fact)?)
        }
        _ => Err(Failure::file(path, "an input is a .npy, .npz, .pb, .jpg, .jpeg or .png file")),
    }
}

/// How a picture becomes an input: as is known of the model, or likely, but for what is said otherwise.
///
/// # Errors
/// If no picture can be this input, or there is no such property.
pub fn preprocessing(fact: &Fact, known: Option<&Known>, changes: &[String]) -> Outcome<Preprocessing> {
    let mut how = match known {
        Some(known) => known.preprocessing(fact)?,
        None => Preprocessing::for_input(fact)?,
    };
    for text in changes {
        let (property, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::input(format!("--preprocess takes PROPERTY=VALUE, not '{text}'")))?;
        how.set(property, value)?;
    }
    Ok(how)
}

/// What NumPy has no type for comes in a wider one, and must be exact in its own.
fn narrowed(name: &str, tensor: Tensor, fact: Option<&Fact>) -> Outcome<Tensor> {
    let Some(wanted) = fact.map(|fact| fact.element_type) else { return Ok(tensor) };
    if wanted == tensor.element_type() || arrays::numpy_type(wanted) != tensor.element_type() {
        return Ok(tensor);
    }
    let numbers = tensor.to_f64();
    let narrow = Tensor::from_f64(wanted, tensor.shape(), numbers.clone())?;
    let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
    match numbers.iter().zip(&narrow.to_f64()).all(same) {
        true => Ok(narrow),
        false => Err(Failure::input(format!("input '{name}' has numbers that are none of {wanted}"))),
    }
}

/// Symbols take the sizes that a given tensor has.
fn bind(fact: Option<&Fact>, shape: &[usize], bindings: &mut Bindings) {
    for (dim, &size) in fact.iter().flat_map(|fact| &fact.shape).zip(shape) {
        if let Some(symbol) = symbol(dim) {
            bindings.entry(symbol).or_insert(i64::try_from(size).unwrap_or(i64::MAX));
        }
    }
}

fn symbol(dim: &Dim) -> Option<String> {
    let mut symbols = vec![];
    dim.symbols(&mut symbols);
    symbols.pop().filter(|symbol| *symbol == dim.to_string())
}

/// An input's shape in numbers. What leads and stays open is a batch, and is taken as 1.
fn shape(name: &str, fact: &Fact, bindings: &mut Bindings, notes: &mut Vec<String>) -> Outcome<Vec<usize>> {
    let mut shape = vec![];
    for (axis, dim) in fact.shape.iter().enumerate() {
        let size = match dim.bind(bindings).size() {
            Some(size) => size,
            None if axis == 0 => {
                if let Some(symbol) = symbol(dim) {
                    notes.push(format!("{symbol} = 1"));
                    bindings.insert(symbol, 1);
                }
                1
            }
            None => {
                let what = format!("input '{name}' is {fact}");
                return Err(Failure::input(match symbol(dim) {
                    Some(symbol) => format!("{what}: bind '{symbol}' with --dim {symbol}=N, or give the input"),
                    None => format!("{what}, of which the file leaves dimension {axis} open: give the input"),
                }));
            }
        };
        shape.push(size);
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_to_the_input_that_it_names() {
        let names = ["a", "a=b", "c"];
        assert_eq!(split("c=x.npy", &names).unwrap(), ("c", "x.npy".into()));
        assert_eq!(split("a=b=x.npy", &["a=b"]).unwrap(), ("a=b", "x.npy".into()));
        assert_eq!(split("x.npy", &["only"]).unwrap(), ("only", "x.npy".into()));
        assert!(split("x.npy", &names).is_err());
        // A name that there is not is named later, with the ones that there are.
        assert_eq!(split("d=x.npy", &names).unwrap(), ("d", "x.npy".into()));
    }

    #[test]
    fn what_numpy_has_no_type_for_comes_in_a_wider_one() {
        let fact = Fact::new(rimlight::ElementType::I4, [2usize]);
        let exact = narrowed("x", Tensor::vector(vec![-8i8, 7]), Some(&fact)).unwrap();
        assert_eq!((exact.element_type(), exact.to_f64()), (rimlight::ElementType::I4, vec![-8.0, 7.0]));
        assert!(narrowed("x", Tensor::vector(vec![8i8, 7]), Some(&fact)).is_err());
        // What does not fit in any way is refused by the session, which names both types.
        assert_eq!(narrowed("x", Tensor::vector(vec![1f32]), Some(&fact)).unwrap().to_f64(), [1.0]);
    }
}
