//! One object that was found.

use super::Rectangle;

/// An object: where it is, how sure that is, and of which class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Where, in the pixels of the network's input unless the decoder says otherwise.
    pub rectangle: Rectangle,
    /// How sure, 0 to 1.
    pub score: f32,
    /// The class's number, from 0.
    pub class: usize,
}

impl Detection {
    /// The likeliest class of a row of scores, and its score; of equal ones the first. `None` where none is a number.
    pub(super) fn likeliest(scores: impl Iterator<Item = f32>) -> Option<(usize, f32)> {
        let numbers = scores.enumerate().filter(|(_, score)| !score.is_nan());
        numbers.fold(None, |best, (class, score)| match best {
            Some((_, most)) if most >= score => best,
            _ => Some((class, score)),
        })
    }

    /// One that is sure enough and whose rectangle can be: numbers throughout, no side below 0.
    pub(super) fn sure(rectangle: Rectangle, score: f32, class: usize, threshold: f32) -> Option<Self> {
        let can_be = score >= threshold && score.is_finite() && rectangle.is_valid();
        can_be.then_some(Self { rectangle, score, class })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_class_is_a_number() {
        let likeliest = |scores: &[f32]| Detection::likeliest(scores.iter().copied());
        assert_eq!(likeliest(&[]), None);
        assert_eq!(likeliest(&[f32::NAN, f32::NAN]), None);
        assert_eq!(likeliest(&[f32::NAN, 0.2, 0.7, 0.7, f32::NAN]), Some((2, 0.7)));
        assert_eq!(likeliest(&[f32::NEG_INFINITY]), Some((0, f32::NEG_INFINITY)));
    }
}
