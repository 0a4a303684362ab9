//! Channels that go: as zeros, or for good.

use std::collections::{HashMap, HashSet};

use super::coupling::Coupling;
use super::follow::{Along, Edit, Slices};
use crate::compress::{CompressError, Masks};
use crate::onnx::ModelFile;
use crate::tensor::{ElementType, Tensor};

/// The channels that go, and where they are.
#[derive(Debug)]
pub struct Removal {
    /// Of each constant that has channels, by name: the axes, and which channels stay.
    constants: Vec<Sliced>,
    /// Nodes that say something of channels, by their places.
    edits: Vec<(usize, Changed)>,
}

#[derive(Debug)]
struct Sliced {
    name: String,
    axes: Vec<(usize, Vec<bool>)>,
    masked: bool,
}

#[derive(Debug)]
enum Changed {
    Groups(usize),
    Pads { axis: usize, before: usize, after: usize, pads: Vec<i64> },
    Shape { first: i64, last: usize },
}

impl Removal {
    /// The channels whose representatives go.
    pub fn new(
        mut coupling: Coupling,
        slices: HashMap<String, Slices>,
        edits: Vec<(usize, Edit)>,
        gone: HashSet<usize>,
    ) -> Self {
        let mut stays = |channels: &[usize]| -> Vec<bool> {
            channels.iter().map(|&channel| !gone.contains(&coupling.find(channel))).collect()
        };
        let mut constants = vec![];
        for (name, Slices { along, masked, .. }) in slices {
            let axes: Vec<_> = along.iter().map(|Along { axis, channels }| (*axis, stays(channels))).collect();
            if axes.iter().any(|(_, stays)| stays.contains(&false)) {
                constants.push(Sliced { name, axes, masked });
            }
        }
        constants.sort_by(|a, b| a.name.cmp(&b.name));
        let mut count = |channels: &[usize]| stays(channels).into_iter().filter(|&stays| stays).count();
        let changed = |edit| match edit {
            Edit::Groups(channels) => Changed::Groups(count(&channels)),
            Edit::Pads { axis, before, after, pads } => {
                Changed::Pads { axis, before: count(&before), after: count(&after), pads }
            }
            Edit::Shape { first, channels } => Changed::Shape { first, last: count(&channels) },
        };
        let mut changed = changed;
        let edits = edits.into_iter().map(|(place, edit)| (place, changed(edit))).collect();
        Self { constants, edits }
    }

    /// Which weights stay: zeros in the others have the effect that the channels are not there.
    pub fn masks(&self, file: &ModelFile) -> Result<Masks, CompressError> {
        let mut masks = Masks::default();
        for Sliced { name, axes, .. } in self.constants.iter().filter(|sliced| sliced.masked) {
            let tensor = lookup(file, name)?;
            let mut kept = vec![true; tensor.len()];
            for (axis, stays) in axes {
                let inner: usize = tensor.shape().iter().skip(axis + 1).product();
                for (i, kept) in kept.iter_mut().enumerate() {
                    *kept &= stays.get(i / inner.max(1) % stays.len().max(1)).copied().unwrap_or(true);
                }
            }
            masks.insert(name, tensor.shape(), &kept)?;
        }
        Ok(masks)
    }

    /// Takes the channels out of the model.
    pub fn apply(&self, file: &mut ModelFile) -> Result<(), CompressError> {
        for Sliced { name, axes, .. } in &self.constants {
            let mut tensor = lookup(file, name)?;
            for (axis, stays) in axes {
                tensor = sliced(&tensor, *axis, stays)?;
            }
            file.set_constant(name, &tensor)?;
        }
        for (place, changed) in &self.edits {
            self.edit(file, *place, changed)?;
        }
        file.drop_unread();
        // What the file says of shapes on the way is no longer so.
        file.between.clear();
        Ok(())
    }

    fn edit(&self, file: &mut ModelFile, place: usize, changed: &Changed) -> Result<(), CompressError> {
        let numbers = match changed {
            Changed::Groups(groups) => {
                let Some(part) = file.nodes.get_mut(place) else { return Ok(()) };
                let node = part.edit();
                *node = std::mem::take(node).with_int("group", i64::try_from(*groups).unwrap_or(i64::MAX));
                return Ok(());
            }
            Changed::Pads { axis, before, after, pads } => {
                let mut pads = pads.clone();
                let half = pads.len() / 2;
                for (at, count) in [(*axis, *before), (half + *axis, *after)] {
                    if let Some(pad) = pads.get_mut(at) {
                        *pad = i64::try_from(count).unwrap_or(i64::MAX);
                    }
                }
                pads
            }
            Changed::Shape { first, last } => vec![*first, i64::try_from(*last).unwrap_or(i64::MAX)],
        };
        let attribute = ["pads", "paddings"].into_iter();
        let Some(node) = file.nodes.get(place).map(|part| part.get().clone()) else { return Ok(()) };
        if let Some(name) = attribute.into_iter().find(|name| node.attribute(name).is_some()) {
            if let Some(part) = file.nodes.get_mut(place) {
                *part.edit() = node.with_ints(name, &numbers);
            }
            return Ok(());
        }
        // Others may read the same constant.
        let name = file.fresh(&format!("{}_kept", node.given(1).unwrap_or_default()));
        file.set_constant(&name, &Tensor::vector(numbers))?;
        if let Some(input) = file.nodes.get_mut(place).and_then(|part| part.edit().input.get_mut(1)) {
            *input = name;
        }
        Ok(())
    }
}

fn lookup(file: &ModelFile, name: &str) -> Result<Tensor, CompressError> {
    let lost = || CompressError::Nothing(format!("the constant '{name}' is lost"));
    file.constant(name).ok_or_else(lost)
}

/// What stays of a tensor along an axis.
fn sliced(tensor: &Tensor, axis: usize, stays: &[bool]) -> Result<Tensor, CompressError> {
    if tensor.element_type() == ElementType::String {
        return Err(CompressError::Nothing("texts have no channels".to_owned()));
    }
    let size = tensor.element_type().size();
    let inner = tensor.shape().iter().skip(axis + 1).product::<usize>() * size;
    let mut bytes = vec![];
    for (i, row) in tensor.bytes().chunks(inner.max(1)).enumerate() {
        if stays.get(i % stays.len().max(1)).copied().unwrap_or(true) {
            bytes.extend_from_slice(row);
        }
    }
    let mut shape = tensor.shape().to_vec();
    if let Some(dim) = shape.get_mut(axis) {
        *dim = stays.iter().filter(|&&stays| stays).count();
    }
    Ok(Tensor::from_bytes(tensor.element_type(), shape, bytes.into())?)
}
