//! The references of element-wise functions of two tensors.

use super::members::Side;
use crate::graph::EvaluateError;
use crate::ops::broadcast::{self, combine};
use crate::tensor::wide::{PART, Written, room, written};
use crate::tensor::{ElementType, Tensor, TensorError, Truth, Wide};

type Result<T, E = EvaluateError> = std::result::Result<T, E>;

/// Applies a function to numbers of one type. Integers that overflow wrap around.
pub(super) fn numbers(
    a: Side<'_>,
    b: Side<'_>,
    to: &[usize],
    f: fn(f64, f64) -> f64,
    g: fn(i128, i128) -> i128,
) -> Result<Tensor> {
    fn of<V: Wide>(a: Side<'_>, b: Side<'_>, to: &[usize], f: fn(V, V) -> V) -> Result<Tensor> {
        let mut y = written(a.0.element_type(), to)?;
        let mut part = Vec::with_capacity(PART);
        let (a, b) = ((&*a.0.numbers()?, a.1), (&*b.0.numbers()?, b.1));
        broadcast::numbers(a, b, to, &mut |a: &[V], b: &[V]| {
            part.clear();
            part.extend(a.iter().zip(b).map(|(&a, &b)| f(a, b)));
            V::write(&part, &mut *y);
        });
        Ok(y.tensor(to)?)
    }
    if of_floats(a, b)? { of(a, b, to, f) } else { of(a, b, to, g) }
}

/// Whether the elements, which have one type, are floats, small ones too.
fn of_floats((a, _): Side<'_>, (b, _): Side<'_>) -> Result<bool> {
    let (a, b) = (a.element_type(), b.element_type());
    if a == b { Ok(a.is_any_float()) } else { Err(TensorError::Type { wanted: a, found: b }.into()) }
}

/// Compares elements of one type.
pub(super) fn compare(
    a: Side<'_>,
    b: Side<'_>,
    to: &[usize],
    f: fn(f64, f64) -> bool,
    g: fn(i128, i128) -> bool,
) -> Result<Tensor> {
    fn of<V: Wide>(a: Side<'_>, b: Side<'_>, to: &[usize], f: fn(V, V) -> bool) -> Result<Tensor> {
        let mut y = room::<Truth>(to)?;
        let (a, b) = ((&*a.0.numbers()?, a.1), (&*b.0.numbers()?, b.1));
        broadcast::numbers(a, b, to, &mut |a: &[V], b: &[V]| {
            y.extend(a.iter().zip(b).map(|(&a, &b)| Truth::from(f(a, b))));
        });
        Ok(Tensor::new(to, y)?)
    }
    if of_floats(a, b)? { of(a, b, to, f) } else { of(a, b, to, g) }
}

/// Whether elements are the same, texts too: as numbers, which are the same where the texts are.
pub(super) fn equal(a: Side<'_>, b: Side<'_>, to: &[usize]) -> Result<Tensor> {
    if a.0.element_type() != ElementType::String {
        return compare(a, b, to, |a, b| a == b, |a, b| a == b);
    }
    let mut numbers = std::collections::HashMap::new();
    let mut numbered = |tensor: &Tensor| -> Result<Tensor> {
        let mut of = |text: &String| {
            let next = numbers.len() as u64;
            *numbers.entry(text.clone()).or_insert(next)
        };
        Ok(Tensor::new(tensor.shape(), tensor.strings()?.iter().map(&mut of).collect::<Vec<u64>>())?)
    };
    let numbered = (numbered(a.0)?, numbered(b.0)?);
    compare((&numbered.0, a.1), (&numbered.1, b.1), to, |_, _| false, |a, b| a == b)
}

pub(super) fn truths(a: Side<'_>, b: Side<'_>, to: &[usize], f: fn(bool, bool) -> bool) -> Result<Tensor> {
    let (a, b) = ((a.0.as_slice::<Truth>()?, a.1), (b.0.as_slice::<Truth>()?, b.1));
    combine(a, b, to, |a, b| Truth::from(f(a.into(), b.into())))
}

/// Base and exponent may be of any two types; the power has the base's.
pub(super) fn power(a: Side<'_>, b: Side<'_>, to: &[usize]) -> Result<Tensor> {
    let mut y = written(a.0.element_type(), to)?;
    let (from, b) = ((&*a.0.numbers()?, a.1), (&*b.0.numbers()?, b.1));
    if a.0.element_type().is_any_float() {
        broadcast::numbers(from, b, to, &mut |a: &[f64], b: &[f64]| {
            a.iter().zip(b).for_each(|(a, &b)| y.floats(&[a.powf(b)]));
        });
    } else {
        broadcast::numbers(from, b, to, &mut |a: &[i128], b: &[f64]| {
            a.iter().zip(b).for_each(|(&a, &b)| integer_power(a, b, &mut *y));
        });
    }
    Ok(y.tensor(to)?)
}

/// Appends an integer to a power: exact (and wrapping around) for whole exponents, truncated otherwise.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "only whole exponents in range are cast"
)]
fn integer_power(a: i128, b: f64, y: &mut dyn Written) {
    if b >= 0.0 && b.fract() == 0.0 && b <= f64::from(u32::MAX) {
        y.integers(&[a.wrapping_pow(b as u32)]);
    } else {
        // 64-bit integers as floats are near enough for a result that is rounded toward zero anyway.
        y.floats(&[(a as f64).powf(b)]);
    }
}
