//! How a node falls into parts where a constant that it reads is too large for a device.

/// A way to divide a node: the same operator on a part of a constant gives a part of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    /// The input that is divided, and its axis.
    pub constant: (usize, usize),
    /// The axis of the only output along which the parts' results follow one another.
    pub output: usize,
    /// Other inputs that are divided alike, as long along their axes: a bias, a residual.
    pub along: Vec<(usize, usize)>,
}
