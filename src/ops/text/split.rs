//! StringSplit: texts into parts.

use std::sync::Arc;

use super::texts;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, ShapeError, Value,
};
use crate::tensor::{ElementType, Tensor};

/// Splits at a delimiter, or at white space where there is none. Shorter lists of parts are filled up with empty texts.
#[derive(Debug, Clone, PartialEq)]
pub struct StringSplit {
    delimiter: Option<String>,
    /// The largest number of splits.
    most: Option<usize>,
}

pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let most = match d.int("maxsplit")? {
        None => None,
        Some(n) => {
            Some(usize::try_from(n).map_err(|_| DefinitionError::Value("maxsplit", format!("is {n}, below 0")))?)
        }
    };
    Ok(Arc::new(StringSplit { delimiter: d.string("delimiter")?.filter(|text| !text.is_empty()), most }))
}

impl StringSplit {
    fn parts<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let pieces = self.most.map_or(usize::MAX, |n| n.saturating_add(1));
        if let Some(delimiter) = &self.delimiter {
            return text.splitn(pieces, delimiter.as_str()).collect();
        }
        let mut parts = vec![];
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let end = match rest.find(char::is_whitespace) {
                Some(end) if parts.len() + 1 < pieces => end,
                _ => rest.len(),
            };
            parts.push(&rest[..end]);
            rest = rest[end..].trim_start();
        }
        parts
    }
}

impl Operator for StringSplit {
    fn name(&self) -> &str {
        "StringSplit"
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = texts(inputs, 0)?;
        let shape = x.shape.iter().cloned().chain([Dim::Unknown]);
        Ok(vec![Fact::new(ElementType::String, shape), Fact::new(ElementType::I64, x.shape.clone())])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let parts: Vec<Vec<&str>> = x.strings()?.iter().map(|text| self.parts(text)).collect();
        let longest = parts.iter().map(Vec::len).max().unwrap_or_default();
        let counts = parts.iter().map(|parts| parts.len() as i64).collect::<Vec<_>>();
        let shape = [x.shape(), &[longest]].concat();
        Tensor::bounded(ElementType::String, &shape)?;
        let filled = parts.iter().flat_map(|parts| (0..longest).map(|i| parts.get(i).copied().unwrap_or_default()));
        let filled = filled.map(str::to_owned).collect();
        Ok(vec![Tensor::from_strings(shape, filled)?.into(), Tensor::new(x.shape(), counts)?.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, strings};
    use super::*;

    #[test]
    fn parts_are_filled_up_and_counted() {
        let split = |d: &Definition, texts: &[&str]| run(make, d, &[strings(&[texts.len()], texts)]).unwrap();
        let d = Definition::new("StringSplit");
        let y = split(&d, &["  hello  world ", "one", " "]);
        assert_eq!(y[0], strings(&[3, 2], &["hello", "world", "one", "", "", ""]));
        assert_eq!(y[1].as_slice::<i64>().unwrap(), [2, 1, 0]);
        let y = split(&d.clone().attribute("maxsplit", 1i64), &[" a b  c "]);
        assert_eq!(y[0], strings(&[1, 2], &["a", "b  c "]));
        let y = split(&d.clone().attribute("delimiter", ","), &["a,,b", ""]);
        assert_eq!(y[0], strings(&[2, 3], &["a", "", "b", "", "", ""]));
        assert_eq!(y[1].as_slice::<i64>().unwrap(), [3, 1]);
        assert_eq!(split(&d, &[])[0].shape(), [0, 0]);
        assert!(make(&d.attribute("maxsplit", -1i64)).is_err());
    }
}
