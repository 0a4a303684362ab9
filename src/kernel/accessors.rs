//! The functions by which a shader reads and writes a buffer, whatever its storage.

use std::fmt::Write as _;

use super::Storage;
use super::assemble::Access;

/// The type of one cell of a buffer's array.
pub(super) const fn cell(storage: Storage, elements: bool) -> &'static str {
    match (storage, elements) {
        (Storage::F32, false) => "vec4<f32>",
        (Storage::F32, true) => "f32",
        (Storage::I32, false) => "vec4<i32>",
        (Storage::I32, true) => "i32",
        (Storage::F16, false) => "vec2<u32>",
        (Storage::F16, true) | (Storage::I8 | Storage::U8, _) => "u32",
    }
}

/// What loads, gets and stores units and elements.
pub(super) fn accessors(out: &mut String, name: &str, source: &str, storage: Storage, access: Access, elements: bool) {
    let element = if storage.is_float() { "f32" } else { "i32" };
    let _ = writeln!(out, "alias {name}_element = {element};\nalias {name}_unit = vec4<{element}>;");
    let d = format!("{source}_data");
    let b = format!("params.{source}_base");
    if access != Access::Write {
        let load = match (storage, elements) {
            (Storage::F32 | Storage::I32, false) => format!("return {d}[{b} + u];"),
            (Storage::F32 | Storage::I32, true) => {
                format!("let e = ({b} + u) * 4u; return {name}_unit({d}[e], {d}[e + 1u], {d}[e + 2u], {d}[e + 3u]);")
            }
            (Storage::F16, false) => {
                format!("let w = {d}[{b} + u]; return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));")
            }
            (Storage::F16, true) => {
                format!(
                    "let e = ({b} + u) * 2u; return vec4<f32>(unpack2x16float({d}[e]), unpack2x16float({d}[e + 1u]));"
                )
            }
            (Storage::I8, _) => format!("return unpack4xI8({d}[{b} + u]);"),
            (Storage::U8, _) => format!("return vec4<i32>(unpack4xU8({d}[{b} + u]));"),
        };
        let get = match (storage, elements) {
            (Storage::F32 | Storage::I32, true) => format!("return {d}[{b} * 4u + e];"),
            (Storage::F16, true) => {
                format!("return unpack2x16float({d}[{b} * 2u + (e >> 1u)] >> ((e & 1u) * 16u)).x;")
            }
            (Storage::F16, false) => format!(
                "let w = {d}[{b} + (e >> 2u)]; return unpack2x16float(select(w.x, w.y, (e & 2u) != 0u) >> ((e & 1u) * 16u)).x;"
            ),
            (Storage::F32 | Storage::I32, false) => format!("return {d}[{b} + (e >> 2u)][e & 3u];"),
            (Storage::I8, _) => {
                format!("return extractBits(bitcast<i32>({d}[{b} + (e >> 2u)]), (e & 3u) * 8u, 8u);")
            }
            (Storage::U8, _) => {
                format!("return i32(extractBits({d}[{b} + (e >> 2u)], (e & 3u) * 8u, 8u));")
            }
        };
        let _ = writeln!(out, "fn load_{name}(u: u32) -> {name}_unit {{ {load} }}");
        let _ = writeln!(out, "fn get_{name}(e: u32) -> {name}_element {{ {get} }}");
    }
    if access != Access::Read {
        let store = match (storage, elements) {
            (Storage::F32 | Storage::I32, false) => format!("{d}[{b} + u] = v;"),
            (Storage::F32 | Storage::I32, true) => {
                format!(
                    "let e = ({b} + u) * 4u; {d}[e] = v.x; {d}[e + 1u] = v.y; {d}[e + 2u] = v.z; {d}[e + 3u] = v.w;"
                )
            }
            (Storage::F16, false) => {
                format!("{d}[{b} + u] = vec2<u32>(pack_half(v.xy), pack_half(v.zw));")
            }
            (Storage::F16, true) => {
                format!("let e = ({b} + u) * 2u; {d}[e] = pack_half(v.xy); {d}[e + 1u] = pack_half(v.zw);")
            }
            (Storage::I8, _) => format!("{d}[{b} + u] = pack4xI8(v);"),
            (Storage::U8, _) => format!("{d}[{b} + u] = pack4xU8(vec4<u32>(v));"),
        };
        let _ = writeln!(out, "fn store_{name}(u: u32, v: {name}_unit) {{ {store} }}");
    }
}

/// What reads a list of 32-bit floats at the end of a constant.
pub(super) fn exact_accessors(out: &mut String, name: &str, storage: Storage, elements: bool) {
    let (d, b) = (format!("{name}_data"), format!("params.{name}_base"));
    let (one, four) = match (storage, elements) {
        (Storage::F16, true) => (
            format!("return bitcast<f32>({d}[{b} * 2u + (start >> 1u) + i]);"),
            format!(
                "let e = ({b} + start) * 2u + u * 4u; \
                 return bitcast<vec4<f32>>(vec4<u32>({d}[e], {d}[e + 1u], {d}[e + 2u], {d}[e + 3u]));"
            ),
        ),
        (Storage::F16, false) => (
            format!(
                "let w = {d}[{b} + (start >> 2u) + (i >> 1u)]; return bitcast<f32>(select(w.x, w.y, (i & 1u) != 0u));"
            ),
            format!("let e = {b} + start + u * 2u; return bitcast<vec4<f32>>(vec4<u32>({d}[e], {d}[e + 1u]));"),
        ),
        _ => (format!("return get_{name}(start + i);"), format!("return load_{name}(start + u);")),
    };
    let _ = writeln!(out, "fn exact_{name}(start: u32, i: u32) -> {name}_element {{ {one} }}");
    let _ = writeln!(out, "fn exact4_{name}(start: u32, u: u32) -> {name}_unit {{ {four} }}");
}
