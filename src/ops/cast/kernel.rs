//! How a GPU converts elements: by expressions between numbers, by tables of all results from and to small types.

use super::Cast;
use crate::graph::Request;
use crate::kernel::{
    Binding, Candidate, Candidates, Constant, Dispatch, Kernel, Layout, Packing, Storage, Want, units,
};
use crate::ops::broadcast::Expression;
use crate::ops::unary;
use crate::tensor::{ElementType, Tensor};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// A table is a constant as it is.
const TABLE: Packing = Packing { name: "cast table", pack: |table, _| table.clone() };

pub(super) fn of(cast: &Cast, request: &Request<'_>) -> Candidates {
    let from = request.input(0)?.fact.element_type;
    let to = request.outputs.first().map_or(from, |y| y.element_type);
    request.any_storage(0).and(request.any_output_storage(0))?;
    if from == to {
        let view = Candidate::view(0, request.inputs.len());
        // In another layout than the linear one a copy is nearer than a conversion.
        return match request.input(0)?.layout {
            Layout::Linear => Ok(vec![view]),
            _ => Ok([vec![view], unary::typed(request, "v", 0, [0.0; 2])?].concat()),
        };
    }
    match expression(from, to) {
        Some(expression) => unary::typed(request, expression, 0, [0.0; 2]),
        None => lookup(cast, request, from, to),
    }
}

/// The integers of 32 bits and fewer that kernels read as `i32`.
const fn is_narrow(element_type: ElementType) -> bool {
    matches!(
        element_type,
        ElementType::I32 | ElementType::I16 | ElementType::U16 | ElementType::I8 | ElementType::U8 | ElementType::Bool
    )
}

const fn is_pair(element_type: ElementType) -> bool {
    matches!(element_type, ElementType::I64 | ElementType::U64 | ElementType::U32)
}

const fn computes_floats(element_type: ElementType) -> bool {
    matches!(element_type, ElementType::F32 | ElementType::F16 | ElementType::BF16)
}

/// The least and the largest integer of a type that has no more than 64 bits, as pairs of words.
const fn bounds(element_type: ElementType) -> Option<(&'static str, &'static str)> {
    Some(match element_type {
        ElementType::I32 => ("vec2<u32>(0x80000000u, 0xffffffffu)", "vec2<u32>(0x7fffffffu, 0u)"),
        ElementType::U32 => ("vec2<u32>(0u, 0u)", "vec2<u32>(0xffffffffu, 0u)"),
        ElementType::I16 => ("vec2<u32>(0xffff8000u, 0xffffffffu)", "vec2<u32>(0x7fffu, 0u)"),
        ElementType::U16 => ("vec2<u32>(0u, 0u)", "vec2<u32>(0xffffu, 0u)"),
        ElementType::I8 => ("vec2<u32>(0xffffff80u, 0xffffffffu)", "vec2<u32>(0x7fu, 0u)"),
        ElementType::U8 => ("vec2<u32>(0u, 0u)", "vec2<u32>(0xffu, 0u)"),
        _ => return None,
    })
}

/// A 64-bit integer, which a float became, as an integer of a type.
fn bounded(integer: &str, to: ElementType) -> Expression {
    // Those of 64 bits are bounded already; U64 alone is made without a sign.
    let sign = if to == ElementType::U64 { to } else { ElementType::I64 };
    let four = matches!(to, ElementType::I4 | ElementType::U4);
    // Of what 32 bits bound, 4-bit integers keep the lowest.
    let text = match bounds(if four { ElementType::I32 } else { to }) {
        Some((least, largest)) => format!("smaller64(larger64({integer}, {least}), {largest})"),
        None => integer.to_owned(),
    };
    match four {
        true => Expression::of_elements(four_bits(&format!("{text}.x"), to == ElementType::I4), sign),
        false => Expression::of_elements(format!("narrow_y({text})"), sign),
    }
}

/// The lowest four bits of a word, as an `i32`.
fn four_bits(word: &str, signed: bool) -> String {
    match signed {
        true => format!("extractBits(bitcast<i32>({word}), 0u, 4u)"),
        false => format!("bitcast<i32>({word} & 15u)"),
    }
}

/// The expression between two types of numbers. Stored integers are cut to their type's bits when they are stored.
fn expression(from: ElementType, to: ElementType) -> Option<Expression> {
    use ElementType::{BF16, Bool, F16, F32, F64, I4, I8, I16, U4, U8, U16, U32};
    let floats = computes_floats;
    Some(match (from, to) {
        (a, Bool) if floats(a) => {
            "select(vec4<i32>(0), vec4<i32>(1), (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) != vec4<u32>(0u))"
                .into()
        }
        (a, Bool) if is_narrow(a) => "select(vec4<i32>(0), vec4<i32>(1), v != vec4<i32>(0))".into(),
        (a, Bool) if is_pair(a) => Expression::of_integers("select(1, 0, is_zero64(v))", a, true),
        (F64, Bool) => Expression::of_elements("select(0, 1, (v.x | (v.y & 0x7fffffffu)) != 0u)", F64),
        (Bool, b) if floats(b) => "select(vec4<f32>(0.0), vec4<f32>(1.0), v != vec4<i32>(0))".into(),
        (Bool, b) if is_narrow(b) => "select(vec4<i32>(0), vec4<i32>(1), v != vec4<i32>(0))".into(),
        (a, b) if floats(a) && floats(b) => "v".into(),
        (a, I8) if floats(a) => "vec4<i32>(select(bound4(v, -128.0, 127.0), vec4<f32>(0.0), is_nan4(v)))".into(),
        (a, U8) if floats(a) => "vec4<i32>(select(bound4(v, 0.0, 255.0), vec4<f32>(0.0), is_nan4(v)))".into(),
        (a, I16) if floats(a) => "vec4<i32>(select(bound4(v, -32768.0, 32767.0), vec4<f32>(0.0), is_nan4(v)))".into(),
        (a, U16) if floats(a) => "vec4<i32>(select(bound4(v, 0.0, 65535.0), vec4<f32>(0.0), is_nan4(v)))".into(),
        // 2^31 is no f32 below the largest i32: from there on it is that itself.
        (a, ElementType::I32) if floats(a) => {
            "select(vec4<i32>(select(bound4(v, -2147483648.0, 2147483520.0), vec4<f32>(0.0), is_nan4(v))), vec4<i32>(2147483647), v >= vec4<f32>(2147483648.0))"
                .into()
        }
        (a, b) if floats(a) && (is_pair(b) || matches!(b, I4 | U4)) => {
            bounded("integer64(v)", b)
        }
        (a, F64) if floats(a) => Expression::of_elements("double_of_float(v)", a),
        (F64, F32) => Expression::of_elements("float_of_double(v, false)", F64),
        // Twice rounded: the first time so that the second knows.
        (F64, F16 | BF16) => Expression::of_elements("float_of_double(v, true)", F64),
        (F64, b) if is_narrow(b) || is_pair(b) || matches!(b, I4 | U4) => bounded("integer_of_double(v)", b),
        (a, F32 | F16) if is_narrow(a) || a == U32 => "vec4<f32>(v)".into(),
        (a, BF16) if is_narrow(a) && a != ElementType::I32 => "vec4<f32>(v)".into(),
        (a, F32 | F16) if is_pair(a) => Expression::of_integers("float64(v)", a, true),
        (a, BF16) if is_pair(a) || is_narrow(a) => Expression::of_integers("odd_float64(v)", a, true),
        (a, F64) if is_pair(a) || is_narrow(a) => Expression::of_integers("double_of_integer(v)", a, true),
        (a, b) if is_narrow(a) && is_narrow(b) => "v".into(),
        (a, I4 | U4) if is_pair(a) || a == ElementType::I32 => {
            Expression::of_integers(&four_bits("v.x", to == I4), a, true)
        }
        (a, b) if (is_pair(a) || is_narrow(a)) && (is_pair(b) || is_narrow(b)) => Expression::of_integers("v", a, false),
        _ => return None,
    })
}

/// The place of an element in the table of all results, the type of the table's elements, and what they are read as.
fn key(from: ElementType, read: Storage) -> (String, ElementType, Storage) {
    match (from, from.size()) {
        (_, 1) => ("bitcast<u32>(v) & 255u".to_owned(), from, read),
        // Stored as they are, their bits are the place.
        (_, 2) => ("u32(v)".to_owned(), from, Storage::U16),
        (ElementType::F64, _) => ("upper_half(float_of_double(v, true))".to_owned(), ElementType::BF16, read),
        (ElementType::F32, _) => ("upper_half(v)".to_owned(), ElementType::BF16, read),
        _ => ("upper_half(odd_float64(wide_x(v)))".to_owned(), ElementType::BF16, read),
    }
}

/// The kernel that looks results up, of which there are as many as the type has elements; types of more bits are cut to
/// 16 first, such that the results are the same.
fn lookup(cast: &Cast, request: &Request<'_>, from: ElementType, to: ElementType) -> Candidates {
    let (key, of, read) = key(from, request.any_storage(0)?);
    let written = request.any_output_storage(0)?;
    let text = |e: crate::tensor::TensorError| e.to_string();
    let all: Vec<u8> = match of.size() {
        1 => (0..=u8::MAX).collect(),
        _ => (0..=u16::MAX).flat_map(u16::to_le_bytes).collect(),
    };
    let length = all.len() / of.size();
    let all = Tensor::from_bytes(of, [length], all.into()).map_err(text)?;
    let table = cast.converted(&all, to).map_err(|e| e.to_string())?;
    let x = request.input(0)?;
    let count = units(&request.shape(0)?, x.layout).and_then(|n| u32::try_from(n).ok()).ok_or("it is too large")?;
    let mut wants = vec![Want::Nothing; request.inputs.len()];
    wants[0] = Want::In(x.layout);
    let mut candidate = Candidate::new("lookup", wants, vec![x.layout]);
    if count > 0 {
        let table =
            Constant { source: table, packing: TABLE, parameters: vec![], storage: written, units: length as u64 / 4 };
        let mut kernel = Kernel::of("elementwise/lookup.wgsl").define("WORKGROUP", WORKGROUP).paste("KEY", key);
        if matches!(from, ElementType::U32 | ElementType::U64) {
            kernel = kernel.define("UNSIGNED", 1);
        }
        candidate = candidate.dispatch(
            Dispatch::of(kernel)
                .bind(Binding::Input(0), read)
                .bind(Binding::Constant(Box::new(table)), written)
                .bind(Binding::Output(0), written)
                .param("units", count)
                .param("last", length - 1)
                .linear(count.into(), WORKGROUP, request.device),
        );
    }
    let bytes = u64::from(count) * (read.unit_bytes() + written.unit_bytes());
    Ok(vec![candidate.cost(f64::from(count) * 8.0, bytes as f64)])
}
