//! From a shader file and its specialisation to WGSL: a small preprocessor.
//!
//! | directive | meaning |
//! |---|---|
//! | `#import common/index` | pastes another file, once |
//! | `#if NAME`, `#if !NAME`, `#if NAME == 3`, `#if NAME != 3`, `#else`, `#endif` | keeps or drops lines, by the kernel's defines (one not set is 0) |
//! | `#for i in 4`, `#for i in NAME`, `#endfor` | repeats lines, `{i}` in them standing for 0, 1, …; may be nested |
//! | `#paste NAME` | pastes the kernel's text of that name, in place, anywhere in a line |
//! | `#enable f16` | an extension of WGSL that the text needs |
//! | `#param name: u32` | a 32-bit parameter of the dispatch, read as `params.name` |
//! | `#read x`, `#write y`, `#update z` | a storage buffer of units of four elements |
//!
//! Each define is also a constant of that name (`const NAME = 3;`). A buffer `x` comes with
//!
//! - `alias x_element` (`f32`, `i32` or `u32`, `vec2<u32>` for 64 bits) and `alias x_unit` (a `vec4` of it, or an array of four),
//! - for `#read` and `#update`: `load_x(unit) -> x_unit` and `get_x(element) -> x_element`,
//! - for `#write` and `#update`: `store_x(unit, value: x_unit)`,
//!
//! whatever its storage. What only moves elements takes 64-bit ones too if it makes units by `x_unit(a, b, c, d)` and
//! `splat_x(element)`, chooses between them by `choose_x(no, yes, condition)`, takes them apart by `unit[i]` alone, and
//! makes elements by `bits_x(low, high)`. `WIDE` is 1 where a buffer holds such elements. `#read x elements` reads single elements directly, for kernels that mostly call `get_x`
//! (`load_x` is then four reads). Unit 0 is the value's first: where it lies in the bound buffer is added inside.
//!
//! `#read x exact` adds, for constants whose end is a list of 32-bit floats whatever the storage (biases behind weights),
//! `exact_x(start, i)`: the float of index `i` in the list that begins at element `start`, and `exact4_x(start, u)`: the four
//! from `4 u` on in the list that begins at unit `start`. In f16 each takes the place of two elements; `start` is then a
//! multiple of four.
//!
//! Of bytes, `word_x(unit)` is the word in which the four of a unit lie.
//!
//! `#update x atomic`, for 32-bit integers that several invocations write at a time, comes with `store_largest_x(e, v)` alone:
//! element e becomes the larger of what it is and v.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::accessors::{accessors, atomic_accessors, cell, exact_accessors, movers, word_accessor};
use super::{Dialect, Kernel, ShaderError, Shaders, Storage};

/// The access of a storage buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Written only.
    Write,
    /// Read and written.
    Update,
}

/// A buffer that a shader declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// Its name in the shader.
    pub name: String,
    /// How it is accessed.
    pub access: Access,
    /// Its `@binding` in group 0, or `None` where it is read through the buffer that it is in place of.
    pub binding: Option<u32>,
}

/// WGSL that is ready to be compiled, with what its host side needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// The text.
    pub wgsl: String,
    /// The buffers, in the order of their declaration. Binding 0 is the uniform buffer of parameters.
    pub buffers: Vec<Buffer>,
    /// The parameters' names, in the order of the uniform buffer's words: first `x_base` (in units) of each bound
    /// buffer, then the shader's own.
    pub params: Vec<String>,
    /// The files in it that are not Rimlight's own.
    pub replaced: Vec<String>,
}

/// What kernels import unasked: what stores (`true`) and reads 16-bit floats, and what reads 64-bit integers as indices.
const UNASKED: [(Storage, bool, &str); 4] = [
    (Storage::F16, false, "common/half.wgsl"),
    (Storage::F16, true, "common/half.wgsl"),
    (Storage::BF16, true, "common/upper_halves.wgsl"),
    (Storage::Index, false, "common/saturated.wgsl"),
];

/// A buffer as a shader declares it.
struct Declared {
    name: String,
    access: Access,
    /// Read by single elements.
    elements: bool,
    /// Ends with 32-bit floats.
    exact: bool,
    /// Written by several invocations at a time.
    atomic: bool,
}

struct Assembly<'a> {
    kernel: &'a Kernel,
    shaders: &'a Shaders,
    dialect: Dialect,
    imported: BTreeSet<String>,
    body: String,
    buffers: Vec<Declared>,
    params: Vec<(String, String)>,
    extensions: Vec<String>,
    replaced: Vec<String>,
}

/// Assembles a kernel's WGSL from the shaders that are built in.
///
/// # Errors
/// As [`assemble_from`].
pub fn assemble(kernel: &Kernel) -> Result<Assembled, ShaderError> {
    assemble_from(&Shaders::default(), kernel, Dialect::COMMON)
}

/// Assembles a kernel's WGSL from these shaders, as a device's dialect has it.
///
/// # Errors
/// If a file is missing, a directive is malformed, or the kernel's storages do not match the shader's buffers.
pub fn assemble_from(shaders: &Shaders, kernel: &Kernel, dialect: Dialect) -> Result<Assembled, ShaderError> {
    let fail = |message: String| ShaderError { shader: kernel.shader.to_owned(), message };
    let mut assembly = Assembly {
        kernel,
        shaders,
        dialect,
        imported: BTreeSet::new(),
        body: String::new(),
        buffers: vec![],
        params: vec![],
        extensions: vec![],
        replaced: vec![],
    };
    if let Some((name, _)) = kernel.defines.iter().find(|(name, _)| assembly.own(name).is_some()) {
        return Err(fail(format!("{name} is not the kernel's to define: it follows from storages and device")));
    }
    assembly.file(kernel.shader).map_err(fail)?;
    assembly.finish().map_err(fail)
}

/// Kernels whose text is kept.
const KEPT: usize = 1024;

/// [`assemble`], by looking it up where this was asked before: a plan for a new length has the kernels of the others.
///
/// # Errors
/// As [`assemble_from`].
pub fn assembled(kernel: &Kernel) -> Result<Assembled, ShaderError> {
    static BEFORE: LazyLock<Mutex<HashMap<Kernel, Assembled>>> = LazyLock::new(Mutex::default);
    let before = || BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = before().get(kernel).cloned() {
        return Ok(found);
    }
    let made = assemble(kernel)?;
    let mut before = before();
    if before.len() >= KEPT {
        before.clear();
    }
    before.insert(kernel.clone(), made.clone());
    Ok(made)
}

impl Assembly<'_> {
    fn file(&mut self, path: &str) -> Result<(), String> {
        let text = self.shaders.text(path).ok_or_else(|| format!("there is no shader '{path}'"))?;
        if self.shaders.is_replaced(path) {
            self.replaced.push(path.to_owned());
        }
        // Whether lines are kept, for each `#if` that is open.
        let mut kept: Vec<bool> = vec![];
        let lines: Vec<_> = text.lines().enumerate().map(|(i, line)| (i + 1, line.to_owned())).collect();
        for (number, line) in self.repeated(path, lines)? {
            let line = line.as_str();
            let at = |message: &str| format!("{path}:{number}: {message}");
            let trimmed = line.trim_start();
            let (directive, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
            let rest = rest.split("//").next().unwrap_or_default().trim();
            match directive {
                "#if" => {
                    let holds =
                        self.condition(rest).ok_or_else(|| at("a condition is NAME, !NAME, NAME == 3 or NAME != 3"))?;
                    kept.push(holds);
                }
                "#else" => match kept.last_mut() {
                    Some(last) => *last = !*last,
                    None => return Err(at("#else without #if")),
                },
                "#endif" => {
                    kept.pop().ok_or_else(|| at("#endif without #if"))?;
                }
                _ if kept.contains(&false) => {}
                "#import" => {
                    let import = format!("{rest}.wgsl");
                    if self.imported.insert(import.clone()) {
                        self.file(&import)?;
                    }
                }
                "#enable" => self.extensions.push(rest.to_owned()),
                "#param" => {
                    let (name, kind) = rest.split_once(':').ok_or_else(|| at("a parameter is NAME: TYPE"))?;
                    self.params.push((name.trim().to_owned(), kind.trim().to_owned()));
                }
                "#read" | "#write" | "#update" => {
                    let mut words = rest.split_whitespace();
                    let name = words.next().ok_or_else(|| at("a buffer needs a name"))?;
                    let flags: Vec<_> = words.collect();
                    let access = match directive {
                        "#read" => Access::Read,
                        "#write" => Access::Write,
                        _ => Access::Update,
                    };
                    let [elements, exact, atomic] = ["elements", "exact", "atomic"].map(|flag| flags.contains(&flag));
                    self.buffers.push(Declared { name: name.to_owned(), access, elements, exact, atomic });
                }
                _ => {
                    self.body
                        .push_str(&self.pasted(line).map_err(|name| at(&format!("nothing to paste for '{name}'")))?);
                    self.body.push('\n');
                }
            }
        }
        if kept.is_empty() { Ok(()) } else { Err(format!("{path}: #if without #endif")) }
    }

    /// Lines with their numbers, `#for` loops written out.
    fn repeated(&self, path: &str, lines: Vec<(usize, String)>) -> Result<Vec<(usize, String)>, String> {
        let mut out = vec![];
        let mut lines = lines.into_iter();
        while let Some((number, line)) = lines.next() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words.as_slice() {
                ["#for", name, "in", count, ..] => {
                    let mut body = vec![];
                    let mut open = 1;
                    for inner in lines.by_ref() {
                        match inner.1.split_whitespace().next() {
                            Some("#for") => open += 1,
                            Some("#endfor") => open -= 1,
                            _ => {}
                        }
                        if open == 0 {
                            break;
                        }
                        body.push(inner);
                    }
                    if open != 0 {
                        return Err(format!("{path}:{number}: #for without #endfor"));
                    }
                    let count = count.parse().unwrap_or_else(|_| self.define(count));
                    for i in 0..count {
                        let index = i.to_string();
                        let hole = format!("{{{name}}}");
                        let body = body.iter().map(|(n, text)| (*n, text.replace(&hole, &index))).collect();
                        out.extend(self.repeated(path, body)?);
                    }
                }
                ["#for" | "#endfor", ..] => {
                    return Err(format!("{path}:{number}: a loop is #for i in 4 or #for i in NAME, then #endfor"));
                }
                _ => out.push((number, line)),
            }
        }
        Ok(out)
    }

    /// The names that conditions know unasked: whether a buffer has 64-bit integers, and [`Dialect::halves`].
    fn own(&self, name: &str) -> Option<i64> {
        match name {
            "WIDE" => Some(self.kernel.storages.contains(&Storage::I64).into()),
            "HALF_INSTRUCTIONS" => Some(self.dialect.halves.into()),
            _ => None,
        }
    }

    fn define(&self, name: &str) -> i64 {
        let given = || self.kernel.defines.iter().find(|(n, _)| *n == name).map_or(0, |(_, value)| *value);
        self.own(name).unwrap_or_else(given)
    }

    fn condition(&self, text: &str) -> Option<bool> {
        let words: Vec<_> = text.split_whitespace().collect();
        match words.as_slice() {
            [name] => Some(match name.strip_prefix('!') {
                Some(name) => self.define(name) == 0,
                None => self.define(name) != 0,
            }),
            [name, "==", value] => Some(self.define(name) == value.parse::<i64>().ok()?),
            [name, "!=", value] => Some(self.define(name) != value.parse::<i64>().ok()?),
            _ => None,
        }
    }

    fn pasted(&self, line: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = line;
        while let Some(at) = rest.find("#paste ") {
            out.push_str(&rest[..at]);
            rest = &rest[at + "#paste ".len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let text = self.kernel.pastes.iter().find(|(n, _)| *n == name).ok_or_else(|| name.to_owned())?;
            out.push_str(&text.1);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn finish(mut self) -> Result<Assembled, String> {
        let kernel = self.kernel;
        for (wanted, writing, path) in UNASKED {
            let other = if writing { Access::Read } else { Access::Write };
            let uses = |(buffer, storage): (&Declared, &Storage)| buffer.access != other && *storage == wanted;
            if self.buffers.iter().zip(&kernel.storages).any(uses) && self.imported.insert(path.to_owned()) {
                self.file(path)?;
            }
        }
        if self.buffers.len() != kernel.storages.len() {
            return Err(format!("declares {} buffers, but {} were bound", self.buffers.len(), kernel.storages.len()));
        }
        let mut wgsl = format!("// {}\n", kernel.shader);
        for extension in &self.extensions {
            let _ = writeln!(wgsl, "enable {extension};");
        }
        for (name, value) in &kernel.defines {
            let _ = writeln!(wgsl, "const {name} = {value};");
        }
        let mut params = vec![];
        let mut buffers = vec![];
        let mut declarations = String::new();
        let mut binding = 1;
        for (i, Declared { name, access, elements, exact, atomic }) in self.buffers.iter().enumerate() {
            let alias = kernel.in_place.filter(|&(read, _)| read == i).map(|(_, written)| written);
            let source = match alias {
                Some(written) => {
                    self.buffers.get(written).ok_or("in place of a buffer that is not there")?.name.as_str()
                }
                None => name,
            };
            let written = kernel.in_place.is_some_and(|(_, written)| written == i);
            let storage = kernel.storages[alias.unwrap_or(i)];
            // A buffer that is read in place, or is read through another's name, is addressed by units.
            let elements = *elements && alias.is_none();
            if *atomic && (storage != Storage::I32 || *access != Access::Update || alias.is_some()) {
                return Err(format!("'{name}' is atomic; only 32-bit integers that are updated can be"));
            }
            if alias.is_none() {
                let mode = if *access == Access::Read { "read" } else { "read_write" };
                let _ = writeln!(
                    declarations,
                    "@group(0) @binding({binding}) var<storage, {mode}> {name}_data: array<{}>;",
                    if *atomic { "atomic<i32>" } else { cell(storage, elements, self.dialect.words64) }
                );
                params.push((format!("{name}_base"), "u32".to_owned()));
            }
            match atomic {
                true => atomic_accessors(&mut declarations, name),
                false => {
                    accessors(&mut declarations, (name, source), storage, *access, elements, self.dialect.words64);
                    movers(&mut declarations, &self.body, name, storage);
                }
            }
            if matches!(storage, Storage::I8 | Storage::U8) && self.body.contains(&format!("word_{name}(")) {
                word_accessor(&mut declarations, source);
            }
            if *exact {
                exact_accessors(&mut declarations, name, storage, elements);
            }
            let access = if written { Access::Update } else { *access };
            buffers.push(Buffer { name: name.clone(), access, binding: alias.is_none().then_some(binding) });
            binding += u32::from(alias.is_none());
        }
        params.extend(self.params);
        if !params.is_empty() {
            wgsl.push_str("struct Params {\n");
            for (name, kind) in &params {
                if !matches!(kind.as_str(), "u32" | "i32" | "f32") {
                    return Err(format!("parameter '{name}' is {kind}; parameters are u32, i32 or f32"));
                }
                let _ = writeln!(wgsl, "    {name}: {kind},");
            }
            wgsl.push_str("}\n@group(0) @binding(0) var<uniform> params: Params;\n");
        }
        #[cfg(test)]
        let declarations = with_fault(declarations, kernel);
        wgsl.push_str(&declarations);
        wgsl.push_str(&self.body);
        let params = params.into_iter().map(|(name, _)| name).collect();
        Ok(Assembled { wgsl, buffers, params, replaced: self.replaced })
    }
}

/// Plants a fault where a test asks for one by the define `FAULT`: everything that the kernel stores is off by one.
#[cfg(test)]
fn with_fault(declarations: String, kernel: &Kernel) -> String {
    if !kernel.defines.contains(&("FAULT", 1)) {
        return declarations;
    }
    let faulty = |line: &str| match line.split_once(", v: ") {
        Some((head, tail)) if head.starts_with("fn store_") => {
            let (unit, body) = tail.split_once(") { ").unwrap_or((tail, ""));
            let wrong = match body.contains("v[0]") {
                true => "var v = right; v[0].x ^= 1u;".to_owned(),
                false => format!("let v = right + {unit}(1);"),
            };
            format!("{head}, right: {unit}) {{ {wrong} {body}\n")
        }
        _ => format!("{line}\n"),
    };
    declarations.lines().map(faulty).collect()
}

#[cfg(test)]
mod tests;
