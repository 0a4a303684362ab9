//! Outputs of random operators: the standard fixes no generator, so that its files show one outcome among many. The
//! standard's runner has no other way than to leave such tests out; here it is checked what any outcome must be.

use rimlight::{Graph, Tensor};

/// Whether a run of this graph draws numbers.
pub fn draws(graph: &Graph) -> bool {
    graph.nodes.iter().any(|node| !node.operator.is_deterministic())
}

/// Checks outputs that are not as expected: types and shapes are, truth values and what is 0 or 1 stays so, and where the
/// test is one of Dropout, each element of the first output is dropped or scaled, a plausible number of them is, and the
/// mask says which.
///
/// # Errors
/// With what no draw could give.
pub fn plausible(graph: &Graph, inputs: &[Tensor], got: &[Tensor], expected: &[Tensor]) -> Result<(), String> {
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        if (got.element_type(), got.shape()) != (expected.element_type(), expected.shape()) {
            return Err(format!("output {i} has another type or shape"));
        }
        let binary = |tensor: &Tensor| tensor.to_f64().iter().all(|&v| v == 0.0 || v == 1.0);
        if binary(expected) && !binary(got) {
            return Err(format!("output {i} should be zeros and ones"));
        }
    }
    match graph.nodes.as_slice() {
        [node] if node.operator.name() == "Dropout" => dropped(inputs, got),
        _ => Ok(()),
    }
}

fn dropped(inputs: &[Tensor], got: &[Tensor]) -> Result<(), String> {
    let ([x, ..], [y, masks @ ..]) = (inputs, got) else { return Err("it has no input or no output".to_owned()) };
    let ratio = inputs.get(1).and_then(|ratio| ratio.to_f64().first().copied()).unwrap_or(0.5);
    if ratio == 0.0 {
        return Err("nothing should be dropped".to_owned());
    }
    let scale = 1.0 / (1.0 - ratio);
    let (x, y) = (x.to_f64(), y.to_f64());
    for (i, (x, y)) in x.iter().zip(&y).enumerate() {
        if *y != 0.0 && (y - x * scale).abs() > 1e-3 * (x * scale).abs() {
            return Err(format!("element {i} is {y}: neither 0 nor {x} times {scale}"));
        }
    }
    // Six standard deviations of a binomial distribution: one run in 5·10⁸ is farther off.
    let (n, dropped) = (x.len() as f64, x.iter().zip(&y).filter(|&(x, y)| *y == 0.0 && *x != 0.0).count() as f64);
    if (dropped - n * ratio).abs() > 6.0 * (n * ratio * (1.0 - ratio)).sqrt() {
        return Err(format!("{dropped} of {n} elements are dropped, at a ratio of {ratio}"));
    }
    for mask in masks {
        let kept = mask.to_f64();
        let fits = |((&kept, &y), &x): ((&f64, &f64), &f64)| x == 0.0 || (kept != 0.0) == (y != 0.0);
        if !kept.iter().zip(&y).zip(&x).all(fits) {
            return Err("the mask does not say what is kept".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dropout_cannot_give_is_found() {
        let x = vec![1.0f32; 100];
        let inputs = [Tensor::vector(x.clone()), Tensor::scalar(0.5f32)];
        let y: Vec<f32> = (0..100).map(|i| if i % 2 == 0 { 2.0 } else { 0.0 }).collect();
        let outputs = |y: &[f32]| [Tensor::vector(y.to_vec())];
        assert!(dropped(&inputs, &outputs(&y)).is_ok());
        assert!(dropped(&inputs, &outputs(&x)).is_err());
        assert!(dropped(&inputs, &outputs(&[0.0; 100])).is_err());
        let zero = [inputs[0].clone(), Tensor::scalar(0.0f32)];
        assert!(dropped(&zero, &outputs(&y)).is_err());
        let masked = |mask: Vec<f32>| [Tensor::vector(y.clone()), Tensor::vector(mask)];
        assert!(dropped(&inputs, &masked(y.clone())).is_ok());
        assert!(dropped(&inputs, &masked(x)).is_err());
    }
}
