//! A Rust program that runs a model, with its own names, shapes and types: what `rimlight try` ends with.

use std::collections::BTreeSet;

use rimlight::{ElementType, Model, Tensor};

/// The program for a model that is opened from `path`, with these inputs' shapes.
pub fn program(model: &Model, path: &str, inputs: &[(String, Tensor)]) -> String {
    let mut names = Names::default();
    let mut lines = vec![];
    let variables: Vec<String> = inputs.iter().map(|(name, _)| names.variable(name)).collect();
    for ((name, tensor), variable) in inputs.iter().zip(&variables) {
        let (rust, value) = element(tensor.element_type());
        lines.push(format!("    // {name:?} is {}{:?}: put your values here.", tensor.element_type(), tensor.shape()));
        lines.push(format!("    let {variable}: Vec<{rust}> = vec![{value}; {}];", tensor.len()));
        lines.push(format!(
            "    session.set(session.input({name:?})?, TensorView::new({:?}, &{variable})?)?;",
            tensor.shape()
        ));
    }
    lines.push("    session.run()?;".to_owned());
    for port in model.outputs() {
        let variable = names.variable(port.name);
        let rust = port.fact.map_or("f32", |fact| element(fact.element_type).0);
        lines.push(String::new());
        lines.push(format!("    let {variable} = session.get(session.output({:?})?)?;", port.name));
        lines.push(format!("    let values = {variable}.as_slice::<{rust}>()?;"));
        // The name stands in the text that is printed: quotes and braces in it are escaped.
        let text = port.name.escape_debug().to_string().replace('{', "{{").replace('}', "}}");
        lines.push(format!(
            "    println!(\"{text} {{:?}}: {{:?}} …\", {variable}.shape(), &values[..values.len().min(8)]);"
        ));
    }
    format!(
        "use rimlight::{{Device, Model, TensorView}};\n\n\
         fn main() -> Result<(), rimlight::Error> {{\n    \
             let model = Model::open({path:?})?;\n    \
             let device = Device::auto();\n    \
             let mut session = model.session(&device)?;\n\n{}\n    \
             Ok(())\n}}\n",
        lines.join("\n")
    )
}

/// The Rust type of an element, and a value of it.
const fn element(element_type: ElementType) -> (&'static str, &'static str) {
    match element_type {
        ElementType::F16 => ("half::f16", "half::f16::ZERO"),
        ElementType::F64 => ("f64", "0.0"),
        ElementType::I64 => ("i64", "0"),
        ElementType::I32 => ("i32", "0"),
        ElementType::I8 => ("i8", "0"),
        ElementType::U8 => ("u8", "0"),
        ElementType::Bool => ("rimlight::tensor::Truth", "rimlight::tensor::Truth(0)"),
        ElementType::I16 => ("i16", "0"),
        ElementType::U16 => ("u16", "0"),
        ElementType::U32 => ("u32", "0"),
        ElementType::U64 => ("u64", "0"),
        ElementType::BF16 => ("half::bf16", "half::bf16::ZERO"),
        _ => ("f32", "0.0"),
    }
}

/// Names of variables, each once.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    /// A variable's name that is as near to the model's as Rust allows.
    fn variable(&mut self, name: &str) -> String {
        let mut variable: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
        let taken = ["model", "device", "session", "values", "main", "vec"];
        if variable.is_empty()
            || variable.starts_with(|c: char| c.is_ascii_digit())
            || variable.chars().all(|c| c == '_')
        {
            variable.insert_str(0, "value_");
        }
        if KEYWORDS.contains(&variable.as_str()) || taken.contains(&variable.as_str()) {
            variable.push('_');
        }
        while !self.0.insert(variable.clone()) {
            variable.push('_');
        }
        variable
    }
}

/// Words that no variable can be called.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "union",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_variables_each_once() {
        let mut names = Names::default();
        let given = ["Input3", "in.put/3", "in_put_3", "type", "0", "", "模型", "session"];
        let variables: Vec<String> = given.iter().map(|name| names.variable(name)).collect();
        assert_eq!(
            variables,
            ["input3", "in_put_3", "in_put_3_", "type_", "value_0", "value_", "value___", "session_"]
        );
    }
}
