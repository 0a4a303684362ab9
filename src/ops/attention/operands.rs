//! What the kernels for all of attention bind: q, k and v where they lie, or copies where rows do not begin at whole units or
//! a device binds too few buffers.

use super::append::Append;
use super::fused::Rows;
use super::kernel::Problem;
use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Storage};
use crate::ops::contraction::Place;

/// What q, k and v are bound to: three buffers, one, or one for q and one for both others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    Each = 0,
    Together = 1,
    Pair = 2,
}

/// Buffers to bind, and where q, k and v lie in them.
#[derive(Debug)]
pub(super) struct Operands {
    pub bound: Bound,
    pub places: Vec<Place>,
    pub rows: [Rows; 3],
}

impl Operands {
    /// Binds the operands of a problem to at most `most` buffers.
    pub fn of(
        problem: &Problem,
        most: usize,
        request: &Request<'_>,
        candidate: &mut Candidate,
    ) -> Result<Self, String> {
        let given = &problem.operands;
        let whole = given.each_ref().map(|operand| operand.rows.in_units());
        let mut found = Self { bound: Bound::Each, places: vec![], rows: given.each_ref().map(|o| o.rows) };
        let mut copier = Copier { problem, request, candidate };
        if whole == [true; 3] && given.iter().all(|operand| operand.place == given[0].place) {
            found.bound = Bound::Together;
            found.places.push(given[0].place.clone());
        } else if most >= 3 {
            for (i, operand) in given.iter().enumerate() {
                found.places.push(if whole[i] { operand.place.clone() } else { copier.copy(&[i], &mut found.rows)? });
            }
        } else if most == 2 {
            found.bound = Bound::Pair;
            let q = if whole[0] { given[0].place.clone() } else { copier.copy(&[0], &mut found.rows)? };
            found.places = vec![q, copier.copy(&[1, 2], &mut found.rows)?];
        } else {
            found.bound = Bound::Together;
            found.places.push(copier.copy(&[0, 1, 2], &mut found.rows)?);
        }
        Ok(found)
    }
}

struct Copier<'a, 'b> {
    problem: &'a Problem,
    request: &'a Request<'b>,
    candidate: &'a mut Candidate,
}

impl Copier<'_, '_> {
    /// Copies operands into scratch memory, one behind the other.
    fn copy(&mut self, which: &[usize], rows: &mut [Rows; 3]) -> Result<Place, String> {
        let s = self.problem.sizes;
        let kv = s.heads / s.group;
        let place = (Binding::Scratch(self.candidate.scratch.len()), Storage::F32);
        let mut first = 0usize;
        for &i in which {
            let (counts, size) = match i {
                0 => ([s.batch, s.heads, s.queries], s.d),
                1 => ([s.batch, kv, s.keys], s.d),
                _ => ([s.batch, kv, s.keys], s.v),
            };
            let pitch = size.next_multiple_of(4);
            let x = &self.problem.operands[i];
            let append = Append { x, past: None, counts, size, pitch, to: place.clone(), first };
            let units = append.units()?;
            self.candidate.dispatches.extend(append.dispatch(self.request)?);
            let steps = [counts[1] * counts[2] * pitch, counts[2] * pitch, pitch];
            rows[i] = Rows { base: 4 * first, steps };
            first = first.checked_add(units).filter(|&n| u32::try_from(n).is_ok()).ok_or("it is too large")?;
        }
        self.candidate.scratch.push((first.max(1) as u64, place.1));
        Ok(place)
    }
}
