//! The weights by which a picture is resized, as the shaders read them.

use crate::image::{Fitted, fixed, taps};

/// The weights of columns and lines, one after the other, and what the passes need to know of them.
#[derive(Debug)]
pub(super) struct Tables {
    pub floats: Vec<f32>,
    /// Floats of a column's entry, and of a line's.
    pub strides: [u32; 2],
    /// Where the lines' entries begin.
    pub entries: u32,
    /// The first of the view's lines that is needed, and how many are.
    pub rows: [u32; 2],
}

impl Tables {
    /// The tables of a placement. `None` where an address cannot count them.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sides have 16 bits, weights few")]
    pub fn new(fitted: &Fitted, exact: bool) -> Option<Self> {
        let (view, place) = (&fitted.view, &fitted.placement);
        let taps = |axis: usize| {
            let wanted = place.origin[axis] as usize..place.origin[axis] as usize + place.part[axis] as usize;
            taps(view.size[axis] as usize, place.size[axis] as usize, wanted).collect::<Vec<_>>()
        };
        let both = [taps(0), taps(1)];
        let (top, bottom) = both[1].first().zip(both[1].last())?;
        let rows = top.first..bottom.first + bottom.weights.len();
        let mut floats = vec![];
        let mut strides = [0; 2];
        let mut entries = 0;
        for (axis, taps) in both.iter().enumerate() {
            entries = floats.len();
            let stride = 2 + taps.iter().map(|t| t.weights.len()).max()?;
            for tap in taps {
                let first = if axis == 1 { tap.first - rows.start } else { tap.first };
                floats.extend([first as f32, tap.weights.len() as f32]);
                // A fixed-point number has at most 23 bits, which a float holds.
                floats.extend(tap.weights.iter().map(|&w| if exact { w as f32 } else { fixed(w) as f32 }));
                floats.resize(floats.len() + stride - 2 - tap.weights.len(), 0.0);
            }
            strides[axis] = u32::try_from(stride).ok()?;
        }
        Some(Self {
            floats,
            strides,
            entries: u32::try_from(entries).ok()?,
            rows: [u32::try_from(rows.start).ok()?, u32::try_from(rows.len()).ok()?],
        })
    }
}
