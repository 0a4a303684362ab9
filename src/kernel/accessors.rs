//! The functions by which a shader reads and writes a buffer, whatever its storage.

use std::fmt::Write as _;

use super::Storage;
use super::assemble::Access;

/// The type of one cell of a buffer's array. `words64`: see [`Dialect::words64`](super::Dialect::words64).
pub(super) const fn cell(storage: Storage, elements: bool, words64: bool) -> &'static str {
    match (storage, elements) {
        (Storage::F32, false) if words64 => "vec2<u64>",
        (Storage::F32, false) => "vec4<f32>",
        (Storage::F32, true) => "f32",
        (Storage::I32, false) => "vec4<i32>",
        (Storage::I32, true) => "i32",
        (Storage::U32, false) => "vec4<u32>",
        (Storage::F16 | Storage::BF16 | Storage::I16 | Storage::U16, false) => "vec2<u32>",
        (Storage::F16 | Storage::BF16 | Storage::I16 | Storage::U16 | Storage::U32, true)
        | (Storage::I8 | Storage::U8, _) => "u32",
        (Storage::I64 | Storage::Index, false) => "vec4<u32>",
        (Storage::I64 | Storage::Index, true) => "vec2<u32>",
    }
}

/// The types of an element and of a unit of four.
fn types(storage: Storage) -> (&'static str, &'static str) {
    match storage {
        Storage::F32 | Storage::F16 | Storage::BF16 => ("f32", "vec4<f32>"),
        Storage::U32 => ("u32", "vec4<u32>"),
        Storage::I64 => ("vec2<u32>", "array<vec2<u32>, 4>"),
        _ => ("i32", "vec4<i32>"),
    }
}

/// What shaders call to move elements of any type: written for a buffer where the shader calls it.
pub(super) fn movers(out: &mut String, body: &str, name: &str, storage: Storage) {
    let wide = storage == Storage::I64;
    let mut define = |function: &str, head: &str, plain: &str, words: &str| {
        if body.contains(&format!("{function}_{name}(")) {
            let _ = writeln!(out, "fn {function}_{name}{head} {{ {} }}", if wide { words } else { plain });
        }
    };
    let (element, unit) = (format!("{name}_element"), format!("{name}_unit"));
    define(
        "splat",
        &format!("(e: {element}) -> {unit}"),
        &format!("return {unit}(e);"),
        &format!("return {unit}(e, e, e, e);"),
    );
    define(
        "choose",
        &format!("(no: {unit}, yes: {unit}, chosen: bool) -> {unit}"),
        "return select(no, yes, chosen);",
        "var y = no; if chosen { y = yes; } return y;",
    );
    // Integers as 64 bits and back, by the functions of `common/wide`.
    let (widened, narrowed) = match types(storage).0 {
        "u32" => ("return vec2<u32>(e, 0u);", "return v.x;"),
        "i32" => ("return widen(e);", "return bitcast<i32>(v.x);"),
        "f32" => ("return integer64(e);", "return float64(v);"),
        _ => ("return e;", "return v;"),
    };
    define("wide", &format!("(e: {element}) -> vec2<u32>"), widened, widened);
    define("narrow", &format!("(v: vec2<u32>) -> {element}"), narrowed, narrowed);
    define(
        "bits",
        &format!("(low: u32, high: u32) -> {element}"),
        &format!("return bitcast<{element}>(low);"),
        "return vec2<u32>(low, high);",
    );
}

/// What loads, gets and stores units and elements of the buffer `name`, which is read through `source`.
pub(super) fn accessors(
    out: &mut String,
    (name, source): (&str, &str),
    storage: Storage,
    access: Access,
    elements: bool,
    words64: bool,
) {
    let (element, unit) = types(storage);
    let _ = writeln!(out, "alias {name}_element = {element};\nalias {name}_unit = {unit};");
    let d = format!("{source}_data");
    let b = format!("params.{source}_base");
    if access != Access::Write {
        let load = match (storage, elements) {
            (Storage::F32, false) if words64 => format!(
                "let w = {d}[{b} + u]; let h = w >> vec2<u32>(32u); \
                 return bitcast<vec4<f32>>(vec4<u32>(u32(w.x), u32(h.x), u32(w.y), u32(h.y)));"
            ),
            (Storage::F32 | Storage::I32 | Storage::U32, false) => format!("return {d}[{b} + u];"),
            (Storage::F32 | Storage::I32 | Storage::U32, true) => {
                format!("let e = ({b} + u) * 4u; return {name}_unit({d}[e], {d}[e + 1u], {d}[e + 2u], {d}[e + 3u]);")
            }
            (Storage::F16, false) => {
                format!("let w = {d}[{b} + u]; return vec4<f32>(unpack_half(w.x), unpack_half(w.y));")
            }
            (Storage::F16, true) => {
                format!("let e = ({b} + u) * 2u; return vec4<f32>(unpack_half({d}[e]), unpack_half({d}[e + 1u]));")
            }
            (Storage::BF16 | Storage::I16 | Storage::U16, _) => {
                let words = match elements {
                    false => format!("let w = {d}[{b} + u];"),
                    true => format!("let c = ({b} + u) * 2u; let w = vec2<u32>({d}[c], {d}[c + 1u]);"),
                };
                let places = "vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u)";
                match storage {
                    Storage::BF16 => format!("{words} return bitcast<vec4<f32>>({places});"),
                    Storage::I16 => format!("{words} return bitcast<vec4<i32>>({places}) >> vec4<u32>(16u);"),
                    _ => format!("{words} return bitcast<vec4<i32>>({places} >> vec4<u32>(16u));"),
                }
            }
            (Storage::I8, _) => format!("return unpack4xI8({d}[{b} + u]);"),
            (Storage::U8, _) => format!("return vec4<i32>(unpack4xU8({d}[{b} + u]));"),
            (Storage::I64 | Storage::Index, _) => {
                let words = match elements {
                    false => format!("let c = ({b} + u) * 2u; let p = {d}[c]; let q = {d}[c + 1u];"),
                    true => format!(
                        "let c = ({b} + u) * 4u; let p = vec4<u32>({d}[c], {d}[c + 1u]); \
                         let q = vec4<u32>({d}[c + 2u], {d}[c + 3u]);"
                    ),
                };
                match storage {
                    Storage::I64 => format!("{words} return {name}_unit(p.xy, p.zw, q.xy, q.zw);"),
                    _ => format!(
                        "{words} return vec4<i32>(saturated(p.xy), saturated(p.zw), saturated(q.xy), saturated(q.zw));"
                    ),
                }
            }
        };
        let get = match (storage, elements) {
            (Storage::F32, false) if words64 => {
                format!("return bitcast<f32>(u32({d}[{b} + (e >> 2u)][(e >> 1u) & 1u] >> ((e & 1u) * 32u)));")
            }
            (Storage::F32 | Storage::I32 | Storage::U32, true) => format!("return {d}[{b} * 4u + e];"),
            (Storage::F16, true) => {
                format!("return unpack_half({d}[{b} * 2u + (e >> 1u)] >> ((e & 1u) * 16u)).x;")
            }
            (Storage::F16, false) => format!(
                "let w = {d}[{b} + (e >> 2u)]; return unpack_half(select(w.x, w.y, (e & 2u) != 0u) >> ((e & 1u) * 16u)).x;"
            ),
            (Storage::F32 | Storage::I32 | Storage::U32, false) => format!("return {d}[{b} + (e >> 2u)][e & 3u];"),
            (Storage::BF16 | Storage::I16 | Storage::U16, _) => {
                let word = match elements {
                    true => format!("let w = {d}[{b} * 2u + (e >> 1u)];"),
                    false => format!("let c = {d}[{b} + (e >> 2u)]; let w = select(c.x, c.y, (e & 2u) != 0u);"),
                };
                match storage {
                    Storage::BF16 => {
                        format!("{word} return bitcast<f32>(select(w << 16u, w & 0xffff0000u, (e & 1u) != 0u));")
                    }
                    Storage::I16 => format!("{word} return extractBits(bitcast<i32>(w), (e & 1u) * 16u, 16u);"),
                    _ => format!("{word} return i32(extractBits(w, (e & 1u) * 16u, 16u));"),
                }
            }
            (Storage::I8, _) => {
                format!("return extractBits(bitcast<i32>({d}[{b} + (e >> 2u)]), (e & 3u) * 8u, 8u);")
            }
            (Storage::U8, _) => {
                format!("return i32(extractBits({d}[{b} + (e >> 2u)], (e & 3u) * 8u, 8u));")
            }
            (Storage::I64 | Storage::Index, _) => {
                let word = match elements {
                    true => format!("let w = {d}[{b} * 4u + e];"),
                    false => {
                        format!("let c = {d}[{b} * 2u + (e >> 1u)]; let w = select(c.xy, c.zw, (e & 1u) != 0u);")
                    }
                };
                format!("{word} return {};", if storage == Storage::I64 { "w" } else { "saturated(w)" })
            }
        };
        let _ = writeln!(out, "fn load_{name}(u: u32) -> {name}_unit {{ {load} }}");
        let _ = writeln!(out, "fn get_{name}(e: u32) -> {name}_element {{ {get} }}");
    }
    if access != Access::Read {
        let store = match (storage, elements) {
            (Storage::F32, false) if words64 => format!(
                "let w = bitcast<vec4<u32>>(v); \
                 {d}[{b} + u] = vec2<u64>(u64(w.x) | (u64(w.y) << 32u), u64(w.z) | (u64(w.w) << 32u));"
            ),
            (Storage::F32 | Storage::I32 | Storage::U32, false) => format!("{d}[{b} + u] = v;"),
            (Storage::F32 | Storage::I32 | Storage::U32, true) => {
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
            (Storage::BF16 | Storage::I16 | Storage::U16, _) => {
                let halves = match storage {
                    Storage::BF16 => "upper_halves(v)",
                    _ => "bitcast<vec4<u32>>(v) & vec4<u32>(0xffffu)",
                };
                let words = format!("let h = {halves}; let w = vec2<u32>(h.x | (h.y << 16u), h.z | (h.w << 16u));");
                match elements {
                    false => format!("{words} {d}[{b} + u] = w;"),
                    true => format!("{words} let c = ({b} + u) * 2u; {d}[c] = w.x; {d}[c + 1u] = w.y;"),
                }
            }
            (Storage::I8, _) => format!("{d}[{b} + u] = pack4xI8(v);"),
            (Storage::U8, _) => format!("{d}[{b} + u] = pack4xU8(vec4<u32>(v));"),
            (Storage::I64 | Storage::Index, _) => {
                let values = match storage {
                    Storage::I64 => "let p = vec4<u32>(v[0], v[1]); let q = vec4<u32>(v[2], v[3]);",
                    _ => {
                        "let s = v >> vec4<u32>(31u); let p = bitcast<vec4<u32>>(vec4<i32>(v.x, s.x, v.y, s.y)); \
                         let q = bitcast<vec4<u32>>(vec4<i32>(v.z, s.z, v.w, s.w));"
                    }
                };
                match elements {
                    false => format!("{values} let c = ({b} + u) * 2u; {d}[c] = p; {d}[c + 1u] = q;"),
                    true => format!(
                        "{values} let c = ({b} + u) * 4u; {d}[c] = p.xy; {d}[c + 1u] = p.zw; {d}[c + 2u] = q.xy; \
                         {d}[c + 3u] = q.zw;"
                    ),
                }
            }
        };
        let _ = writeln!(out, "fn store_{name}(u: u32, v: {name}_unit) {{ {store} }}");
    }
}

/// What reads four bytes as the word that they lie in.
pub(super) fn word_accessor(out: &mut String, name: &str) {
    let _ = writeln!(out, "fn word_{name}(u: u32) -> u32 {{ return {name}_data[params.{name}_base + u]; }}");
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

/// What writes elements of which several invocations may write the same.
pub(super) fn atomic_accessors(out: &mut String, name: &str) {
    let _ = writeln!(
        out,
        "fn store_largest_{name}(e: u32, v: i32) {{ atomicMax(&{name}_data[params.{name}_base * 4u + e], v); }}"
    );
}
