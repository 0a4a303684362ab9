//! The reference product: sums in f64 for floating point, wrapping for integers.

use half::f16;

use super::Epilogue;
use super::product::Product;
use crate::graph::{Activation, EvaluateError, ShapeError};
use crate::tensor::shape::broadcast_strides;
use crate::tensor::{Element, ElementType, Tensor};

/// An element that can be multiplied and summed.
trait Term: Element {
    type Sum: Copy + Default;
    fn widen(self) -> Self::Sum;
    fn add_product(sum: Self::Sum, a: Self::Sum, b: Self::Sum) -> Self::Sum;
    /// `activation(alpha · sum + beta · c)`
    fn finish(sum: Self::Sum, c: Option<Self>, epilogue: &Epilogue) -> Self;
}

macro_rules! float_terms {
    ($($t:ty, $widen:expr, $narrow:expr, $activate:expr;)*) => {$(
        impl Term for $t {
            type Sum = f64;
            fn widen(self) -> f64 {
                $widen(self)
            }
            fn add_product(sum: f64, a: f64, b: f64) -> f64 {
                sum + a * b
            }
            fn finish(sum: f64, c: Option<Self>, epilogue: &Epilogue) -> Self {
                let c = c.map_or(0.0, |c| f64::from(epilogue.beta) * c.widen());
                let y = f64::from(epilogue.alpha) * sum + c;
                if epilogue.activation == Activation::Identity { $narrow(y) } else { $activate(epilogue.activation, y) }
            }
        }
    )*};
}
#[expect(clippy::cast_possible_truncation, reason = "the result has the type of the operands")]
const fn narrow(y: f64) -> f32 {
    y as f32
}
float_terms! {
    f32, f64::from, narrow, |f: Activation, y| f.apply(narrow(y));
    f64, std::convert::identity, std::convert::identity, |f: Activation, y| f64::from(f.apply(narrow(y)));
    f16, f16::to_f64, f16::from_f64, |f: Activation, y| f16::from_f32(f.apply(narrow(y)));
}

macro_rules! integer_terms {
    ($($t:ty),*) => {$(
        impl Term for $t {
            type Sum = i64;
            #[allow(clippy::cast_possible_wrap, clippy::cast_lossless, clippy::unnecessary_cast, reason = "integers wrap")]
            fn widen(self) -> i64 {
                self as i64
            }
            fn add_product(sum: i64, a: i64, b: i64) -> i64 {
                sum.wrapping_add(a.wrapping_mul(b))
            }
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::unnecessary_cast,
                reason = "integers wrap"
            )]
            fn finish(sum: i64, c: Option<Self>, epilogue: &Epilogue) -> Self {
                let c = c.map_or(0, Term::widen);
                if epilogue.is_plain() {
                    return sum.wrapping_add(c) as $t;
                }
                // The factors are f32 in the standard too.
                let y = f64::from(epilogue.alpha) * sum as f64 + f64::from(epilogue.beta) * c as f64;
                if epilogue.activation == Activation::Identity { y as $t } else { epilogue.activation.apply(y as f32) as $t }
            }
        }
    )*};
}
integer_terms!(i32, i64, u32, u64);

/// The product of two tensors, as a tensor of `shape`.
pub(super) fn evaluate(
    product: &Product,
    a: &Tensor,
    b: &Tensor,
    c: Option<&Tensor>,
    epilogue: &Epilogue,
    shape: &[usize],
) -> Result<Tensor, EvaluateError> {
    match a.element_type() {
        ElementType::F32 => typed::<f32>(product, a, b, c, epilogue, shape),
        ElementType::F16 => typed::<f16>(product, a, b, c, epilogue, shape),
        ElementType::F64 => typed::<f64>(product, a, b, c, epilogue, shape),
        ElementType::I32 => typed::<i32>(product, a, b, c, epilogue, shape),
        ElementType::I64 => typed::<i64>(product, a, b, c, epilogue, shape),
        ElementType::U32 => typed::<u32>(product, a, b, c, epilogue, shape),
        ElementType::U64 => typed::<u64>(product, a, b, c, epilogue, shape),
        other => Err(ShapeError::new(format!("matrices of {other} cannot be multiplied")).into()),
    }
}

fn typed<T: Term>(
    product: &Product,
    a: &Tensor,
    b: &Tensor,
    c: Option<&Tensor>,
    epilogue: &Epilogue,
    shape: &[usize],
) -> Result<Tensor, EvaluateError> {
    let &Product { m, k, n, .. } = product;
    let (a, b) = (a.as_slice::<T>()?, b.as_slice::<T>()?);
    let c_strides = match c {
        Some(c) if c.rank() <= 2 => broadcast_strides(c.shape(), &[m, n]),
        Some(_) => return Err(ShapeError::new("C has more than two dimensions").into()),
        None => vec![0, 0],
    };
    let c = c.map(Tensor::as_slice::<T>).transpose()?;
    let mut y = Tensor::zeros(T::TYPE, shape)?;
    let out = y.as_mut_slice::<T>()?;
    if out.is_empty() {
        return Ok(y);
    }
    let mut row = vec![T::Sum::default(); n];
    for (out, [a_matrix, b_matrix]) in out.chunks_exact_mut(m * n).zip(product.pairs()) {
        let a = &a[a_matrix * m * k..][..m * k];
        let b = &b[b_matrix * k * n..][..k * n];
        for (i, out) in out.chunks_exact_mut(n).enumerate() {
            row.fill(T::Sum::default());
            let a_at = |kk: usize| a[if product.transpose_a { kk * m + i } else { i * k + kk }].widen();
            if product.transpose_b {
                for (sum, b) in row.iter_mut().zip(b.chunks_exact(k.max(1))) {
                    *sum = (0..k).fold(*sum, |sum, kk| T::add_product(sum, a_at(kk), b[kk].widen()));
                }
            } else {
                for (kk, b) in b.chunks_exact(n).enumerate() {
                    let a = a_at(kk);
                    for (sum, &b) in row.iter_mut().zip(b) {
                        *sum = T::add_product(*sum, a, b.widen());
                    }
                }
            }
            for (j, (out, &sum)) in out.iter_mut().zip(&row).enumerate() {
                *out = T::finish(sum, c.map(|c| c[i * c_strides[0] + j * c_strides[1]]), epilogue);
            }
        }
    }
    Ok(y)
}
