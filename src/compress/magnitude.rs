//! Which weights go: the smallest of them, or two of every four.

/// How many of so many a part is, rounded as Python and PyTorch round: halves to the even number.
pub fn count(amount: f64, of: usize) -> usize {
    // Both are finite, and the product is not negative.
    ((amount * of as f64).round_ties_even() as usize).min(of)
}

/// A weight by how likely it is to go: those that are gone first, then by magnitude, then by place.
fn rank(weight: f32, gone: bool, place: usize) -> (u32, usize) {
    // The bits of a float that is not negative are ordered as it is; one that is no number stands above all.
    (if gone { 0 } else { weight.abs().to_bits() + 1 }, place)
}

/// Marks the smallest of these weights as gone, as many as a part of them all. What is gone already goes first; of equal
/// magnitudes those that come first.
pub fn smallest(weights: &[&[f32]], kept: &mut [Vec<bool>], amount: f64) {
    let total = weights.iter().map(|weights| weights.len()).sum();
    let gone = count(amount, total);
    let mut order: Vec<(u32, usize)> = Vec::with_capacity(total);
    for (weights, kept) in weights.iter().zip(kept.iter()) {
        for (&weight, &kept) in weights.iter().zip(kept) {
            order.push(rank(weight, !kept, order.len()));
        }
    }
    if gone < total {
        order.select_nth_unstable(gone);
    }
    let mut marks = vec![true; total];
    for &(_, place) in order.iter().take(gone) {
        if let Some(mark) = marks.get_mut(place) {
            *mark = false;
        }
    }
    let mut marks = marks.into_iter();
    for kept in kept.iter_mut().flatten() {
        *kept = marks.next().unwrap_or(true);
    }
}

/// Marks the two smaller of every four weights that follow each other along an axis; those left over at its end stay, since
/// hardware that skips zeros takes whole fours.
pub fn two_of_four(weights: &[f32], shape: &[usize], axis: usize, kept: &mut [bool]) {
    let length = shape.get(axis).copied().unwrap_or_default();
    let inner: usize = shape.iter().skip(axis + 1).product();
    let outer: usize = shape.iter().take(axis).product();
    for o in 0..outer {
        for i in 0..inner {
            for four in 0..length / 4 {
                let place = |k: usize| (o * length + four * 4 + k) * inner + i;
                let weight = |k: usize| {
                    let at = place(k);
                    let (weight, kept) = (weights.get(at).copied(), kept.get(at).copied());
                    rank(weight.unwrap_or_default(), kept == Some(false), k)
                };
                let mut order = [0, 1, 2, 3].map(weight);
                order.sort_unstable();
                for (at, (_, k)) in order.into_iter().enumerate() {
                    if let Some(kept) = kept.get_mut(place(k)) {
                        *kept = at >= 2;
                    }
                }
            }
        }
    }
}
