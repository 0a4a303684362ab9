//! Kernels of casts between floating-point types of which one has eight bits or less.

use crate::graph::Request;
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Want, units};
use crate::tensor::{ElementType, F4E2M1, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, Format, PowerRounding};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// A format of exponents alone.
const POWERS: Format =
    Format { exponent_bits: 8, mantissa_bits: 0, bias: 127, largest: 254, beyond: 255, nan: 255, one_zero: false };

fn format(element_type: ElementType) -> Option<&'static Format> {
    match element_type {
        ElementType::F8E4M3FN => Some(&F8E4M3FN::FORMAT),
        ElementType::F8E4M3FNUZ => Some(&F8E4M3FNUZ::FORMAT),
        ElementType::F8E5M2 => Some(&F8E5M2::FORMAT),
        ElementType::F8E5M2FNUZ => Some(&F8E5M2FNUZ::FORMAT),
        ElementType::F4E2M1 => Some(&F4E2M1::FORMAT),
        ElementType::F8E8M0 => Some(&POWERS),
        _ => None,
    }
}

/// The parameters of a format, under names that begin so.
fn described(dispatch: Dispatch, names: [&'static str; 7], format: &Format) -> Dispatch {
    let [exponent, mantissa, bias, largest, beyond, nan, one_zero] = names;
    dispatch
        .param(exponent, format.exponent_bits)
        .param(mantissa, format.mantissa_bits)
        .param(bias, format.bias)
        .param(largest, u32::from(format.largest))
        .param(beyond, u32::from(format.beyond))
        .param(nan, u32::from(format.nan))
        .param(one_zero, u32::from(format.one_zero))
}

const X: [&str; 7] = ["x_exponent", "x_mantissa", "x_bias", "x_largest", "x_beyond", "x_nan", "x_one_zero"];
const Y: [&str; 7] = ["y_exponent", "y_mantissa", "y_bias", "y_largest", "y_beyond", "y_nan", "y_one_zero"];

/// Whether [`candidates`] casts between these types.
pub(super) fn takes(from: ElementType, to: ElementType) -> bool {
    let wide = |t: ElementType| matches!(t, ElementType::F32 | ElementType::F16 | ElementType::BF16);
    let small = |t: ElementType| format(t).is_some();
    (small(from) && (small(to) || wide(to))) || (wide(from) && small(to))
}

/// The candidate that casts between a small floating-point type and one that kernels compute with, or two small ones.
/// `bounded`: what is too large becomes the largest; `rounding`: which power of two a number becomes.
pub(super) fn candidates(
    request: &Request<'_>,
    from: ElementType,
    to: ElementType,
    bounded: bool,
    rounding: PowerRounding,
) -> Candidates {
    let (x_format, y_format) = (format(from), format(to));
    let x = request.input(0)?;
    let shape = request.shape(0)?;
    let count = units(&shape, x.layout).and_then(|n| u32::try_from(n).ok()).ok_or("it is too large for a shader")?;
    let mut wants = vec![Want::Nothing; request.inputs.len()];
    wants[0] = Want::In(x.layout);
    let candidate = Candidate::new("small float", wants, vec![x.layout.canonical(&shape)]);
    if count == 0 {
        return Ok(vec![candidate]);
    }
    let kernel = Kernel::of("cast/small_float.wgsl")
        .define("WORKGROUP", WORKGROUP)
        .define("FROM_BITS", x_format.is_some())
        .define("TO_BITS", y_format.is_some());
    let mut dispatch = Dispatch::of(kernel)
        .bind(Binding::Input(0), request.any_storage(0)?)
        .bind(Binding::Output(0), request.any_output_storage(0)?)
        .param("units", count);
    if let Some(format) = x_format {
        dispatch = described(dispatch, X, format);
    }
    if let Some(format) = y_format {
        dispatch =
            described(dispatch, Y, format).param("bounded", u32::from(bounded)).param("rounding", rounding as u32);
    }
    Ok(vec![candidate.dispatch(dispatch.linear(count.into(), WORKGROUP, request.device))])
}

#[cfg(test)]
mod tests {
    use super::super::cast;
    use crate::graph::{Context, Definition, Inputs, Value};
    use crate::tensor::{ElementType, Tensor};
    use crate::testing::{Input, Tolerance, check};

    const SMALL: [ElementType; 8] = [
        ElementType::F8E4M3FN,
        ElementType::F8E4M3FNUZ,
        ElementType::F8E5M2,
        ElementType::F8E5M2FNUZ,
        ElementType::F8E8M0,
        ElementType::F4E2M1,
        ElementType::I4,
        ElementType::U4,
    ];
    const WIDE: [ElementType; 3] = [ElementType::F32, ElementType::F16, ElementType::BF16];

    fn check_pair(x: &Tensor, to: ElementType, definition: &Definition) {
        let definition = definition.clone().attribute("to", i64::from(to.data_type()));
        check(&*cast(&definition).unwrap(), &[Input::Run(x.clone())], Tolerance::EXACT);
    }

    /// Every number of every format, what lies in the middle of two, and what is beyond all.
    fn numbers() -> Vec<f32> {
        let mut numbers = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 1e-30, 65_504.0, 500.0, -464.0];
        for small in SMALL {
            let codes: Vec<u8> = if small.bits() == 4 { (0..16).collect() } else { (0..=255).collect() };
            let codes = Tensor::from_bytes(small, [codes.len()], codes.into()).unwrap();
            let all: Vec<f32> = codes.to_f64().into_iter().map(|v| v as f32).filter(|v| v.abs() < 1e30).collect();
            numbers.extend(all.windows(2).flat_map(|pair| [pair[0], (pair[0] + pair[1]) / 2.0, pair[0] * 1.001]));
        }
        // What WGSL may take for zero.
        numbers.retain(|v| *v == 0.0 || v.abs() >= f32::MIN_POSITIVE || v.is_nan());
        numbers
    }

    #[test]
    fn floats_become_small_numbers_as_in_the_reference() {
        for from in WIDE {
            let x = Tensor::from_f64(from, [numbers().len()], numbers().into_iter().map(f64::from).collect()).unwrap();
            for to in SMALL.into_iter().filter(|to| from != ElementType::BF16 || to.is_small_float()) {
                for saturate in [0i64, 1] {
                    check_pair(&x, to, &Definition::new("Cast").attribute("saturate", saturate));
                }
            }
            for round_mode in ["down", "nearest"] {
                check_pair(&x, ElementType::F8E8M0, &Definition::new("Cast").attribute("round_mode", round_mode));
            }
        }
    }

    #[test]
    fn small_numbers_become_others_as_in_the_reference() {
        for from in SMALL {
            let codes: Vec<u8> = if from.bits() == 4 { (0..16).collect() } else { (0..=255).collect() };
            let x = Tensor::from_bytes(from, [codes.len()], codes.into()).unwrap();
            // Equal elements are equal bytes.
            let x = match from {
                ElementType::I4 => Tensor::from_f64(from, x.shape(), x.to_f64()).unwrap(),
                _ => x,
            };
            // Two powers of two are below the smallest normal number.
            let x = match from {
                ElementType::F8E8M0 => Tensor::from_bytes(from, [254], (2..=255).collect::<Vec<u8>>().into()).unwrap(),
                _ => x,
            };
            for to in WIDE.into_iter().chain(SMALL) {
                let value = Value::from(x.clone());
                let made = cast(&Definition::new("Cast").attribute("to", i64::from(to.data_type()))).unwrap();
                assert!(made.compute(&mut Context::default(), Inputs(&[Some(&value)])).is_ok());
                let integers = |t| matches!(t, ElementType::I4 | ElementType::U4);
                if integers(from) == integers(to) || (integers(from) && to == ElementType::F32) {
                    check_pair(&x, to, &Definition::new("Cast"));
                }
            }
        }
    }
}
