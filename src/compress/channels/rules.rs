//! What each operator does with channels.

use super::coupling::MOST;
use super::follow::{Along, Edit, Follower, Producer};
use crate::onnx::messages::NodeProto;

/// Operators that make of each element another one, and of 0 a number.
const ELEMENTWISE: [&str; 28] = [
    "Abs",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Mish",
    "Neg",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "Tanh",
    "ThresholdedRelu",
];
/// Operators of several operands that are broadcast.
const BROADCAST: [&str; 8] = ["Add", "Div", "Max", "Min", "Mul", "PRelu", "Sub", "Sum"];
const POOLS: [&str; 6] = ["AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"];
const REDUCTIONS: [&str; 6] = ["ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"];

impl Follower<'_> {
    /// The channels of what a node computes; `None` where they cannot be followed.
    pub(super) fn rule(&mut self, place: usize, node: &NodeProto) -> Option<Along> {
        match node.standard()? {
            "Conv" => self.convolution(place, node),
            "ConvTranspose" => self.transposed(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.product(node),
            "BatchNormalization" => self.normalization(node),
            "Pad" => self.padding(place, node),
            "Concat" => self.concatenation(node),
            "Flatten" => self.flattening(node),
            "Reshape" => self.reshape(place, node),
            "Transpose" => self.transposition(node),
            "Slice" => self.cut(node),
            "Resize" | "Upsample" => self.enlarging(node),
            "Squeeze" => self.squeezing(node),
            operator if ELEMENTWISE.contains(&operator) => self.unary(node),
            operator if BROADCAST.contains(&operator) => self.broadcast(node),
            operator if POOLS.contains(&operator) => self.along(node.given(0)).filter(|x| x.axis == 1),
            operator if REDUCTIONS.contains(&operator) => self.reduction(node),
            _ => None,
        }
    }

    fn produce(&mut self, node: &NodeProto, weights: &str, along: Along) {
        let output = node.result().to_owned();
        self.found.producers.push(Producer { weights: weights.to_owned(), along, output, norm: None });
    }

    /// The bias of a layer, along its only axis.
    fn bias(&mut self, node: &NodeProto, place: usize, channels: &[usize]) -> Option<()> {
        match node.given(place) {
            Some(bias) => self.slice(bias, &[Along { axis: 0, channels: channels.to_vec() }], true),
            None => Some(()),
        }
    }

    fn convolution(&mut self, place: usize, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0)).filter(|x| x.axis == 1);
        let weights = node.given(1)?;
        let shape = self.constant_shape(weights)?;
        let (&outputs, &each) = (shape.first()?, shape.get(1)?);
        let groups = usize::try_from(node.int("group").unwrap_or(1)).ok()?;
        if groups == 1 {
            let y = self.found.coupling.fresh(outputs)?;
            let mut along = vec![Along { axis: 0, channels: y.clone() }];
            along.extend(x.map(|x| Along { axis: 1, channels: x.channels }));
            self.slice(weights, &along, true)?;
            self.bias(node, 2, &y)?;
            self.produce(node, weights, Along { axis: 0, channels: y.clone() });
            return Some(Along { axis: 1, channels: y });
        }
        // A filter, or several, for each channel.
        let x = x?;
        if each != 1 || x.channels.len() != groups || groups == 0 || outputs % groups != 0 {
            return None;
        }
        let times = outputs / groups;
        if outputs > MOST {
            return None;
        }
        let y: Vec<usize> = x.channels.iter().flat_map(|&c| std::iter::repeat_n(c, times)).collect();
        self.slice(weights, &[Along { axis: 0, channels: y.clone() }], true)?;
        self.bias(node, 2, &y)?;
        self.produce(node, weights, Along { axis: 0, channels: y.clone() });
        self.found.edits.push((place, Edit::Groups(x.channels)));
        Some(Along { axis: 1, channels: y })
    }

    fn transposed(&mut self, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0)).filter(|x| x.axis == 1);
        let weights = node.given(1)?;
        let shape = self.constant_shape(weights)?;
        if node.int("group").unwrap_or(1) != 1 {
            return None;
        }
        let y = self.found.coupling.fresh(*shape.get(1)?)?;
        let mut along = vec![Along { axis: 1, channels: y.clone() }];
        along.extend(x.map(|x| Along { axis: 0, channels: x.channels }));
        self.slice(weights, &along, true)?;
        self.bias(node, 2, &y)?;
        self.produce(node, weights, Along { axis: 1, channels: y.clone() });
        Some(Along { axis: 1, channels: y })
    }

    fn gemm(&mut self, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0)).filter(|x| x.axis == 1);
        let weights = node.given(1)?;
        let shape = self.constant_shape(weights)?;
        if node.int("transA").unwrap_or_default() != 0 {
            return None;
        }
        let (inputs, outputs) = if node.int("transB").unwrap_or_default() != 0 { (1, 0) } else { (0, 1) };
        let y = self.found.coupling.fresh(*shape.get(outputs)?)?;
        let mut along = vec![Along { axis: outputs, channels: y.clone() }];
        along.extend(x.map(|x| Along { axis: inputs, channels: x.channels }));
        self.slice(weights, &along, true)?;
        if let Some(bias) = node.given(2) {
            let shape = self.constant_shape(bias)?;
            let axis = shape.len().checked_sub(1);
            let along = axis.filter(|&axis| shape.get(axis) == Some(&y.len()) && shape.len() <= 2);
            match along {
                Some(axis) => self.slice(bias, &[Along { axis, channels: y.clone() }], true)?,
                None if shape.iter().all(|&d| d == 1) => self.slice(bias, &[], true)?,
                None => return None,
            }
        }
        self.produce(node, weights, Along { axis: outputs, channels: y.clone() });
        Some(Along { axis: 1, channels: y })
    }

    fn product(&mut self, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0));
        let last = self.shape(node.given(0)?)?.len().checked_sub(1)?;
        let weights = node.given(1)?;
        let shape = self.constant_shape(weights)?;
        if shape.len() != 2 || last == 0 || x.as_ref().is_some_and(|x| x.axis != last) {
            return None;
        }
        let y = self.found.coupling.fresh(*shape.get(1)?)?;
        let mut along = vec![Along { axis: 1, channels: y.clone() }];
        along.extend(x.map(|x| Along { axis: 0, channels: x.channels }));
        self.slice(weights, &along, true)?;
        self.produce(node, weights, Along { axis: 1, channels: y.clone() });
        Some(Along { axis: last, channels: y })
    }

    fn normalization(&mut self, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0)).filter(|x| x.axis == 1)?;
        for input in 1..5 {
            let along = Along { axis: 0, channels: x.channels.clone() };
            // A variance of 0 would do no harm, but is none of a network's.
            self.slice(node.given(input)?, &[along], input <= 2)?;
        }
        if let [Some(scale), Some(variance)] = [node.given(1), node.given(4)]
            && let Some(producer) = self.found.producers.iter_mut().find(|p| Some(p.output.as_str()) == node.given(0))
        {
            producer.norm = Some([scale.to_owned(), variance.to_owned()]);
        }
        Some(x)
    }

    fn unary(&mut self, node: &NodeProto) -> Option<Along> {
        // Bounds and rates are one number each.
        for name in node.input.iter().skip(1).filter(|name| !name.is_empty()) {
            if self.constant_shape(name)?.iter().any(|&d| d != 1) {
                return None;
            }
        }
        self.along(node.given(0))
    }

    fn broadcast(&mut self, node: &NodeProto) -> Option<Along> {
        let rank = self.shape(node.result())?.len();
        let names: Vec<(&str, bool)> = node.input.iter().map(|name| (name.as_str(), self.is_constant(name))).collect();
        // Places of axes are counted from the end, as broadcasting does.
        let mut joined: Option<(usize, Vec<usize>)> = None;
        for &(name, _) in names.iter().filter(|(_, constant)| !constant) {
            let Some(along) = self.along(Some(name)) else { continue };
            let from_end = self.shape(name)?.len().checked_sub(along.axis)?;
            match &joined {
                None => joined = Some((from_end, along.channels)),
                Some((place, _)) if *place != from_end => return None,
                Some((_, channels)) if channels.len() == along.channels.len() => {
                    self.found.coupling.unite(channels, &along.channels);
                }
                // One channel is repeated for all of the other's.
                Some((_, channels)) if channels.len() == 1 => {
                    let one = channels.clone();
                    self.found.coupling.fix(&one);
                    joined = Some((from_end, along.channels));
                }
                Some(_) if along.channels.len() == 1 => self.found.coupling.fix(&along.channels),
                Some(_) => return None,
            }
        }
        let (from_end, channels) = joined?;
        let divides = node.is("Div");
        for (i, &(name, constant)) in names.iter().enumerate() {
            let shape = self.shape(name)?;
            let size = shape.len().checked_sub(from_end).and_then(|axis| Some((axis, *shape.get(axis)?)));
            if constant {
                match size {
                    Some((axis, Some(n))) if n == channels.len() && n > 1 => {
                        self.slice(name, &[Along { axis, channels: channels.clone() }], false)?;
                    }
                    None | Some((_, Some(1))) => self.slice(name, &[], false)?,
                    Some(_) => return None,
                }
            } else if divides && i > 0 {
                // What is zero must not be divided by.
                return None;
            } else if self.along(Some(name)).is_none() && !matches!(size, None | Some((_, Some(1)))) {
                return None;
            }
        }
        Some(Along { axis: rank.checked_sub(from_end)?, channels })
    }

    fn padding(&mut self, place: usize, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0))?;
        // Names of axes, since operator set 18.
        if node.given(3).is_some() {
            return None;
        }
        let pads = match node.ints("pads").or_else(|| node.ints("paddings")) {
            Some(pads) => pads.to_vec(),
            None => self.integers(node.given(1))?,
        };
        let rank = self.shape(node.given(0)?)?.len();
        let (&before, &after) = (pads.get(x.axis)?, pads.get(rank + x.axis)?);
        if (before, after) == (0, 0) {
            return Some(x);
        }
        let mode = node.attribute("mode").and_then(|mode| mode.s.as_deref());
        if !matches!(mode, None | Some(b"constant")) {
            return None;
        }
        let before = self.found.coupling.fresh(usize::try_from(before).ok()?)?;
        let after = self.found.coupling.fresh(usize::try_from(after).ok()?)?;
        let channels = [before.as_slice(), &x.channels, &after].concat();
        self.found.edits.push((place, Edit::Pads { axis: x.axis, before, after, pads }));
        Some(Along { axis: x.axis, channels })
    }

    fn concatenation(&mut self, node: &NodeProto) -> Option<Along> {
        let rank = self.shape(node.result())?.len();
        let axis = crate::tensor::shape::axis(node.int("axis")?, rank)?;
        let mut parts = vec![];
        for name in &node.input {
            let known = if self.is_constant(name) { None } else { self.along(Some(name)) };
            parts.push(match known {
                Some(along) => along,
                None => {
                    let count = (*self.shape(name)?.get(axis)?)?;
                    Along { axis, channels: self.found.coupling.fresh_fixed(count)? }
                }
            });
        }
        let first = parts.first()?.clone();
        if parts.iter().any(|part| part.axis != first.axis) {
            return None;
        }
        if first.axis == axis {
            return Some(Along { axis, channels: parts.into_iter().flat_map(|part| part.channels).collect() });
        }
        // Along another axis: channel by channel the same.
        if parts.iter().any(|part| part.channels.len() != first.channels.len()) {
            return None;
        }
        for part in &parts {
            self.found.coupling.unite(&first.channels, &part.channels);
        }
        Some(first)
    }

    /// The channels of a value whose last axes become one.
    fn flattened(&mut self, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0)).filter(|x| x.axis == 1)?;
        let shape = self.shape(node.given(0)?)?;
        let inner = shape.iter().skip(2).try_fold(1usize, |n, d| n.checked_mul((*d)?))?;
        x.channels.len().checked_mul(inner).filter(|&all| all <= MOST)?;
        let channels = x.channels.iter().flat_map(|&c| std::iter::repeat_n(c, inner)).collect();
        Some(Along { axis: 1, channels })
    }

    fn flattening(&mut self, node: &NodeProto) -> Option<Along> {
        if node.int("axis").unwrap_or(1) != 1 {
            return None;
        }
        self.flattened(node)
    }

    fn reshape(&mut self, place: usize, node: &NodeProto) -> Option<Along> {
        let flat = self.flattened(node)?;
        let (x, y) = (node.given(0)?, node.result());
        let shape = self.shape(y)?;
        let same_batch = self.batch(x) == self.batch(y) && self.batch(x).is_some();
        if shape.len() != 2 || shape.get(1) != Some(&Some(flat.channels.len())) || !same_batch {
            return None;
        }
        let &[first, last] = self.integers(node.given(1))?.as_slice() else { return None };
        if last > 0 {
            self.found.edits.push((place, Edit::Shape { first, channels: flat.channels.clone() }));
        }
        Some(flat)
    }

    fn transposition(&mut self, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0))?;
        let axis = match node.ints("perm") {
            Some(order) => order.iter().position(|&from| usize::try_from(from) == Ok(x.axis))?,
            None => self.shape(node.given(0)?)?.len().checked_sub(1 + x.axis)?,
        };
        Some(Along { axis, ..x })
    }

    fn cut(&mut self, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0))?;
        let rank = self.shape(node.given(0)?)?.len();
        let axes = match (node.ints("axes"), node.given(3)) {
            (Some(axes), _) => axes.to_vec(),
            (None, Some(axes)) => self.integers(Some(axes))?,
            (None, None) => return None,
        };
        let axes: Option<Vec<usize>> = axes.iter().map(|&axis| crate::tensor::shape::axis(axis, rank)).collect();
        (!axes?.contains(&x.axis)).then_some(x)
    }

    fn enlarging(&mut self, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0))?;
        let scales = match node.attribute("scales") {
            Some(scales) => scales.floats.iter().map(|&s| f64::from(s)).collect(),
            None => {
                let place = if node.input.len() > 2 { 2 } else { 1 };
                self.numbers(node.given(place))?
            }
        };
        // Sizes name the number of channels, and attributes may name axes.
        let plain = node.given(3).is_none() && node.attribute("axes").is_none();
        (plain && scales.get(x.axis) == Some(&1.0)).then_some(x)
    }

    /// The axes that an attribute or a constant names, of so many.
    fn axes(&self, node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
        let axes = match node.ints("axes") {
            Some(axes) => axes.to_vec(),
            None => self.integers(node.given(1))?,
        };
        axes.iter().map(|&axis| crate::tensor::shape::axis(axis, rank)).collect()
    }

    fn squeezing(&mut self, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0))?;
        let axes = self.axes(node, self.shape(node.given(0)?)?.len())?;
        without(x, &axes)
    }

    fn reduction(&mut self, node: &NodeProto) -> Option<Along> {
        let x = self.along(node.given(0))?;
        let axes = self.axes(node, self.shape(node.given(0)?)?.len())?;
        if axes.is_empty() || axes.contains(&x.axis) {
            return None;
        }
        if node.int("keepdims").unwrap_or(1) == 0 { without(x, &axes) } else { Some(x) }
    }
}

/// Channels after axes are gone, unless it is theirs.
fn without(x: Along, axes: &[usize]) -> Option<Along> {
    if axes.contains(&x.axis) {
        return None;
    }
    let gone = axes.iter().filter(|&&axis| axis < x.axis).count();
    Some(Along { axis: x.axis - gone, ..x })
}
