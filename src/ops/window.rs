//! Sliding windows: the attributes and the geometry that convolutions and pools share.
//!
//! An output position `o` of an axis looks at the input positions `o·stride − before + k·dilation`, k = 0 … kernel − 1;
//! those outside the input are padding.

use crate::graph::{Definition, DefinitionError, Dim, ShapeError};

/// No attribute may be larger: sizes made of a few of them stay far below what an `i64` holds.
const LIMIT: i64 = 1 << 24;

/// How padding is found (`auto_pad`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum AutoPad {
    /// From the attribute `pads`.
    #[default]
    NotSet,
    /// There is none.
    Valid,
    /// As much as makes the output ⌈input / stride⌉ long; the odd one goes to the end.
    SameUpper,
    /// As much as makes the output ⌈input / stride⌉ long; the odd one goes to the beginning.
    SameLower,
}

/// The attributes of a sliding window. Lists may be empty, for their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Window {
    /// How padding is found.
    pub auto_pad: AutoPad,
    /// The kernel's size along each axis; empty where the weights give it.
    pub kernel: Vec<usize>,
    /// Steps between outputs; ones by default.
    pub strides: Vec<usize>,
    /// Steps between the kernel's elements; ones by default.
    pub dilations: Vec<usize>,
    /// Padding before each axis, then after each; zeros by default.
    pub pads: Vec<usize>,
    /// Whether a last window that reaches beyond the padding counts (pools).
    pub ceil: bool,
}

/// One axis of a window, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Length of the input.
    pub input: usize,
    /// Length of the output.
    pub output: usize,
    /// Elements of the kernel.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Step between the kernel's elements.
    pub dilation: usize,
    /// Padding before the input.
    pub before: usize,
    /// Padding after it.
    pub after: usize,
}

impl Axis {
    /// An axis of length one, for what a rank lacks.
    pub const ONE: Self = Self { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0 };

    /// The kernel's elements that lie inside the input at output `o`: from … to.
    pub fn taps(&self, o: usize) -> std::ops::Range<usize> {
        let start = o * self.stride;
        let first = self.before.saturating_sub(start).div_ceil(self.dilation);
        let end = (self.input + self.before).saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        first.min(end)..end
    }

    /// The input position of a tap that [`Axis::taps`] gave.
    pub const fn position(&self, o: usize, tap: usize) -> usize {
        o * self.stride + tap * self.dilation - self.before
    }

    /// The outputs for which the kernel's element `tap` lies inside the input: from … to.
    pub fn outputs(&self, tap: usize) -> std::ops::Range<usize> {
        let reach = tap * self.dilation;
        let first = self.before.saturating_sub(reach).div_ceil(self.stride);
        let end = (self.input + self.before).saturating_sub(reach).div_ceil(self.stride).min(self.output);
        first.min(end)..end
    }

    /// Whether the axis is not looked at but passed through.
    pub const fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.before == 0 && self.after == 0
    }

    /// Whether a window can reach beyond the input.
    pub const fn is_padded(&self) -> bool {
        self.before > 0 || self.output.saturating_sub(1) * self.stride + (self.kernel - 1) * self.dilation >= self.input
    }
}

/// Sizes from an attribute: none below `least`, none above [`LIMIT`].
pub(super) fn sizes(
    definition: &Definition,
    name: &'static str,
    least: i64,
) -> Result<Option<Vec<usize>>, DefinitionError> {
    let Some(values) = definition.ints(name)? else { return Ok(None) };
    let size = |v: &i64| usize::try_from(*v).ok().filter(|_| (least..=LIMIT).contains(v));
    let sizes: Option<Vec<usize>> = values.iter().map(size).collect();
    sizes
        .map(Some)
        .ok_or_else(|| DefinitionError::Value(name, format!("is {values:?}; each must be {least} to {LIMIT}")))
}

impl Window {
    /// Reads `auto_pad`, `kernel_shape`, `strides`, `dilations`, `pads` and `ceil_mode`.
    pub fn from_definition(definition: &Definition) -> Result<Self, DefinitionError> {
        let auto_pad = match definition.string("auto_pad")?.as_deref() {
            None | Some("" | "NOTSET") => AutoPad::NotSet,
            Some("VALID") => AutoPad::Valid,
            Some("SAME_UPPER") => AutoPad::SameUpper,
            Some("SAME_LOWER") => AutoPad::SameLower,
            Some(other) => return Err(DefinitionError::Value("auto_pad", format!("is '{other}'"))),
        };
        let window = Self {
            auto_pad,
            kernel: sizes(definition, "kernel_shape", 1)?.unwrap_or_default(),
            strides: sizes(definition, "strides", 1)?.unwrap_or_default(),
            dilations: sizes(definition, "dilations", 1)?.unwrap_or_default(),
            pads: sizes(definition, "pads", 0)?.unwrap_or_default(),
            ceil: definition.flag("ceil_mode", false)?,
        };
        let ranks = [window.kernel.len(), window.strides.len(), window.dilations.len(), window.pads.len().div_ceil(2)];
        let rank = ranks.into_iter().max().unwrap_or(0);
        if ranks.iter().any(|&r| r != 0 && r != rank) || !window.pads.len().is_multiple_of(2) {
            return Err(DefinitionError::Value(
                "kernel_shape",
                "has not as many axes as strides, dilations or pads".into(),
            ));
        }
        Ok(window)
    }

    /// The stride along an axis.
    pub fn stride(&self, axis: usize) -> usize {
        self.strides.get(axis).copied().unwrap_or(1)
    }

    /// The dilation along an axis.
    pub fn dilation(&self, axis: usize) -> usize {
        self.dilations.get(axis).copied().unwrap_or(1)
    }

    /// The explicit padding of an axis: before and after. Zeros where `auto_pad` decides.
    pub fn padding(&self, axis: usize) -> (usize, usize) {
        let at = |i: usize| self.pads.get(i).copied().unwrap_or(0);
        match self.auto_pad {
            AutoPad::NotSet => (at(axis), at(self.pads.len() / 2 + axis)),
            _ => (0, 0),
        }
    }

    /// Checks that the attributes are for this many axes.
    pub fn check_rank(&self, rank: usize) -> Result<(), ShapeError> {
        let lists = [&self.kernel, &self.strides, &self.dilations].map(Vec::len);
        if lists.iter().any(|&n| n != 0 && n != rank) || (!self.pads.is_empty() && self.pads.len() != 2 * rank) {
            return Err(ShapeError::new(format!(
                "the input has {rank} spatial axes, but kernel_shape, strides, dilations or pads are for another number"
            )));
        }
        Ok(())
    }

    /// The output's length along an axis.
    ///
    /// # Errors
    /// If the kernel is known to be larger than the padded input.
    pub fn output(&self, axis: usize, input: &Dim, kernel: &Dim) -> Result<Dim, ShapeError> {
        let stride = Dim::from(self.stride(axis));
        if matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower) {
            return Ok(input.ceil_div(&stride));
        }
        let (before, after) = self.padding(axis);
        let one = Dim::Known(1);
        let extent = kernel.sub(&one).mul(&Dim::from(self.dilation(axis))).add(&one);
        let padded = input.add(&Dim::from(before + after));
        let room = padded.sub(&extent);
        if input.known() != Some(0) && room.known().is_some_and(|room| room < 0) {
            return Err(ShapeError::new(format!(
                "the kernel reaches over {extent} elements, more than the {padded} of the padded input"
            )));
        }
        let count = if self.ceil {
            // A window that would begin in the padding after the input does not count.
            let begins = input.add(&Dim::from(before)).ceil_div(&stride);
            room.ceil_div(&stride).add(&one).minimum(&begins)
        } else {
            room.floor_div(&stride).add(&one)
        };
        Ok(match count {
            Dim::Known(n) => Dim::Known(n.max(0)),
            other => other,
        })
    }

    /// The axes in numbers, under a kernel of this size.
    ///
    /// # Errors
    /// If the attributes are for another rank, or the kernel is larger than the padded input.
    pub fn axes(&self, input: &[usize], kernel: &[usize]) -> Result<Vec<Axis>, ShapeError> {
        self.check_rank(input.len())?;
        let axis = |(i, (&input, &kernel)): (usize, (&usize, &usize))| {
            let output = self.output(i, &Dim::from(input), &Dim::from(kernel))?;
            let output = output.size().ok_or_else(|| ShapeError::new("the window's sizes overflow"))?;
            let (stride, dilation) = (self.stride(i), self.dilation(i));
            let (before, after) = match self.auto_pad {
                AutoPad::NotSet | AutoPad::Valid => self.padding(i),
                same => {
                    let reach = output.saturating_sub(1) * stride + kernel.saturating_sub(1) * dilation + 1;
                    let total = reach.saturating_sub(input);
                    let small = total / 2;
                    if same == AutoPad::SameUpper { (small, total - small) } else { (total - small, small) }
                }
            };
            Ok(Axis { input, output, kernel, stride, dilation, before, after })
        };
        input.iter().zip(kernel).enumerate().map(axis).collect()
    }
}

/// One, two or three axes as three: depth, height, width. `None` for more.
pub(crate) fn three(axes: &[Axis]) -> Option<[Axis; 3]> {
    match *axes {
        [] => Some([Axis::ONE; 3]),
        [w] => Some([Axis::ONE, Axis::ONE, w]),
        [h, w] => Some([Axis::ONE, h, w]),
        [d, h, w] => Some([d, h, w]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_pads_give_the_odd_one_to_the_named_side() {
        let window = |auto_pad| Window { auto_pad, strides: vec![2], ..Window::default() };
        let axis = window(AutoPad::SameUpper).axes(&[5], &[4]).unwrap()[0];
        // ⌈5/2⌉ = 3 outputs reach over 2·2 + 4 = 8 elements: 3 of padding.
        assert_eq!((axis.output, axis.before, axis.after), (3, 1, 2));
        let axis = window(AutoPad::SameLower).axes(&[5], &[4]).unwrap()[0];
        assert_eq!((axis.output, axis.before, axis.after), (3, 2, 1));
    }

    #[test]
    fn a_ceiled_window_never_begins_in_the_padding() {
        let window = Window { strides: vec![2], pads: vec![1, 1], ceil: true, ..Window::default() };
        // (4 + 2 − 1)/2 rounds up to 3, + 1 = 4; the fourth would begin at 5, beyond 4 + 1.
        assert_eq!(window.axes(&[4], &[1]).unwrap()[0].output, 3);
        let h = window.output(0, &Dim::symbol("h"), &Dim::Known(1)).unwrap();
        assert_eq!(h.bind(&[("h".to_owned(), 4)].into()), Dim::Known(3));
    }

    #[test]
    fn taps_and_outputs_agree() {
        for (input, kernel, stride, dilation, pad) in
            [(5, 3, 2, 1, 1), (1, 5, 1, 1, 2), (7, 2, 3, 4, 3), (4, 3, 1, 2, 9)]
        {
            let window =
                Window { strides: vec![stride], dilations: vec![dilation], pads: vec![pad, pad], ..Window::default() };
            let axis = window.axes(&[input], &[kernel]).unwrap()[0];
            for o in 0..axis.output {
                for k in 0..kernel {
                    let position = (o * stride + k * dilation).checked_sub(pad).filter(|&p| p < input);
                    assert_eq!(axis.taps(o).contains(&k), position.is_some());
                    assert_eq!(axis.outputs(k).contains(&o), position.is_some());
                    if let Some(position) = position {
                        assert_eq!(axis.position(o, k), position);
                    }
                }
            }
        }
    }

    #[test]
    fn hostile_attributes_are_refused() {
        for (name, values) in
            [("strides", [0, 1]), ("dilations", [1, -1]), ("pads", [i64::MAX, 0]), ("kernel_shape", [0, 3])]
        {
            let definition = Definition::new("Conv").attribute(name, values);
            assert!(Window::from_definition(&definition).is_err(), "{name}");
        }
        let definition = Definition::new("Conv").attribute("strides", [1, 1]).attribute("pads", [1, 1]);
        assert!(Window::from_definition(&definition).is_err());
        assert!(Window::default().axes(&[2], &[3]).is_err());
    }
}
