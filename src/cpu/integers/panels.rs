//! What positions of the output see, as panels of pairs: for each two numbers along what is summed one pair for each of a
//! panel's columns.

use super::super::windows::Windows;
use super::pairs::{COLUMNS, Pairs};
use super::{Source, bytes_of};
use crate::ops::window::Axis;

/// Which inputs the positions of the output see.
#[derive(Debug)]
pub(super) enum Seen {
    /// Each the one in its place.
    Own,
    /// Windows, out of copies of the planes: where each element of what is summed begins in them.
    Windows(Windows, Vec<usize>),
    /// Windows of any form.
    Any([Axis; 3]),
}

impl Seen {
    /// What the positions see along these axes of so many channels.
    pub fn new(axes: [Axis; 3], channels: usize) -> Self {
        if axes.iter().all(Axis::is_pointwise) {
            return Self::Own;
        }
        match Windows::new(&axes) {
            Some(windows) => {
                let planes = (0..channels).map(|i| i * windows.copied());
                let places = planes.flat_map(|plane| windows.taps.iter().map(move |tap| plane + tap)).collect();
                Self::Windows(windows, places)
            }
            None => Self::Any(axes),
        }
    }
}

/// Columns of bytes.
type Row = [u8; COLUMNS];

/// Two rows as one of pairs.
#[inline(always)]
fn join<P: Pairs>(pairs: P, one: &Row, other: &Row, to: &mut [i32; COLUMNS]) {
    let [low, high] = pairs.join(one, other);
    pairs.store(low, to);
    pairs.store(high, &mut to[P::LANES..]);
}

/// A panel of positions from `first` on that see themselves. Columns behind the last hold anything.
#[inline(always)]
pub(super) fn own<P: Pairs>(pairs: P, x: &[u8], plane: usize, first: usize, source: Source, panel: &mut [i32]) {
    let mut places = (0..x.len()).step_by(plane).map(|at| at + first);
    for panel in panel.as_chunks_mut::<COLUMNS>().0 {
        let Some(one) = places.next() else { return };
        let one = bytes_of(&x[one..], source.flip);
        match places.next() {
            Some(other) => join(pairs, &one, &bytes_of(&x[other..], source.flip), panel),
            None => join(pairs, &one, &[0; COLUMNS], panel),
        }
    }
}

/// A stretch of positions of one row of the output.
#[derive(Clone, Copy)]
struct Piece {
    /// Where the panel's first column would lie in a plane, if the stretch began before it.
    base: usize,
    /// All bits from the first column of the stretch on.
    mask: Row,
}

/// A panel of `columns` positions from `first` on that see windows of copies.
#[inline(always)]
pub(super) fn windows<P: Pairs>(
    pairs: P,
    copies: &[u8],
    windows: &Windows,
    places: &[usize],
    at: [usize; 2],
    panel: &mut [i32],
) {
    let [first, columns] = at;
    let (length, pitch) = (windows.width.output, windows.pitch);
    let mut pieces = [Piece { base: 0, mask: [0; COLUMNS] }; COLUMNS];
    let (mut y, mut x, mut begin, mut count) = (first / length, first % length, 0, 0);
    while begin < columns {
        let mut mask = [0; COLUMNS];
        mask[begin..].fill(0xff);
        // A row of copies is at least as long as one of the output: `x + y · pitch` is no less than `begin`.
        pieces[count] = Piece { base: y * pitch + x - begin, mask };
        (begin, count) = ((begin + length - x).min(columns), count + 1);
        (y, x) = (y + 1, 0);
    }
    for (panel, places) in panel.as_chunks_mut::<COLUMNS>().0.iter_mut().zip(places.chunks(2)) {
        let one = seen(copies, places[0], &pieces[..count]);
        match places.get(1) {
            Some(&other) => join(pairs, &one, &seen(copies, other, &pieces[..count]), panel),
            None => join(pairs, &one, &[0; COLUMNS], panel),
        }
    }
}

/// What the positions of a panel see at one place of their windows.
#[inline(always)]
fn seen(copies: &[u8], place: usize, pieces: &[Piece]) -> Row {
    let mut all = [0; COLUMNS];
    for (i, piece) in pieces.iter().enumerate() {
        let own = bytes_of(&copies[place + piece.base..], 0);
        if i == 0 {
            all = own;
            continue;
        }
        for ((all, own), mask) in all.iter_mut().zip(&own).zip(&piece.mask) {
            *all = (*all & !mask) | (own & mask);
        }
    }
    all
}

/// A panel of `columns` positions from `first` on that see windows of any form, element by element.
#[inline(always)]
pub(super) fn any<P: Pairs>(
    pairs: P,
    x: &[u8],
    [d, h, w]: [Axis; 3],
    at: [usize; 2],
    source: Source,
    panel: &mut [i32],
) {
    let [first, columns] = at;
    let plane = d.input * h.input * w.input;
    let taps = (0..d.kernel).flat_map(|z| (0..h.kernel).map(move |y| (z, y)));
    let taps = taps.flat_map(|(z, y)| (0..w.kernel).map(move |x| [z, y, x]));
    let mut elements = x.chunks_exact(plane).flat_map(|plane| taps.clone().map(move |tap| (plane, tap)));
    let seen = |(plane, [z, y, v]): (&[u8], [usize; 3])| {
        let (deep, high, wide) = (d.outputs(z), h.outputs(y), w.outputs(v));
        let mut row = [source.zero; COLUMNS];
        for (i, to) in row.iter_mut().enumerate().take(columns) {
            let (line, ox) = ((first + i) / w.output, (first + i) % w.output);
            let (oz, oy) = (line / h.output, line % h.output);
            if deep.contains(&oz) && high.contains(&oy) && wide.contains(&ox) {
                let at = (d.position(oz, z) * h.input + h.position(oy, y)) * w.input + w.position(ox, v);
                *to = plane[at] ^ source.flip;
            }
        }
        row
    };
    for panel in panel.as_chunks_mut::<COLUMNS>().0 {
        let Some(one) = elements.next() else { return };
        join(pairs, &seen(one), &elements.next().map_or([0; COLUMNS], &seen), panel);
    }
}
