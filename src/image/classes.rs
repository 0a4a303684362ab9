//! What a classifier's scores say of a picture.

use crate::tensor::{Tensor, TensorError};

/// The classes that a classifier of one picture tells apart, the likeliest first: the probability, and the class's number.
///
/// Scores that are no probabilities, as those of a model that ends before its softmax, are made into such.
///
/// # Errors
/// If the scores are not 32-bit floats.
pub fn classes(scores: &Tensor) -> Result<Vec<(f32, usize)>, TensorError> {
    let mut scores = scores.as_slice::<f32>()?.to_vec();
    if scores.iter().any(|s| !(0.0..=1.0).contains(s)) || (scores.iter().sum::<f32>() - 1.0).abs() > 1e-2 {
        let max = scores.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = scores.iter().map(|s| (s - max).exp()).sum();
        scores.iter_mut().for_each(|s| *s = (*s - max).exp() / sum);
    }
    let mut classes: Vec<(f32, usize)> = scores.into_iter().zip(0..).collect();
    classes.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_probabilities_in_order() {
        let given = Tensor::new([1, 3], vec![0.2f32, 0.7, 0.1]).unwrap();
        assert_eq!(classes(&given).unwrap(), [(0.7, 1), (0.2, 0), (0.1, 2)]);
        let logits = Tensor::vector(vec![1000f32, -5.0, 1000.0]);
        assert_eq!(classes(&logits).unwrap(), [(0.5, 0), (0.5, 2), (0.0, 1)]);
        assert!(classes(&Tensor::vector(vec![1i64])).is_err());
        assert!(classes(&Tensor::vector(Vec::<f32>::new())).unwrap().is_empty());
    }
}
