//! StringNormalizer: stop words left out, case changed.

use std::sync::Arc;

use super::texts;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, ShapeError, Value,
};
use crate::tensor::{ElementType, Tensor};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Case {
    Kept,
    Lower,
    Upper,
}

impl Case {
    fn of(self, text: &str) -> String {
        match self {
            Self::Kept => text.to_owned(),
            Self::Lower => text.to_lowercase(),
            Self::Upper => text.to_uppercase(),
        }
    }
}

/// Leaves stop words out of `[C]` or `[1, C]` texts, and changes the case of the others as Unicode has it: locales are not
/// looked at. Of nothing one empty text remains.
#[derive(Debug, Clone, PartialEq)]
pub struct StringNormalizer {
    case: Case,
    case_sensitive: bool,
    stopwords: Vec<String>,
}

pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let case = match d.string("case_change_action")?.as_deref() {
        None | Some("NONE") => Case::Kept,
        Some("LOWER") => Case::Lower,
        Some("UPPER") => Case::Upper,
        Some(other) => {
            return Err(DefinitionError::Value("case_change_action", format!("is '{other}', which is none")));
        }
    };
    let case_sensitive = d.flag("is_case_sensitive", false)?;
    let mut stopwords = d.strings("stopwords")?.unwrap_or_default();
    if !case_sensitive {
        stopwords = stopwords.iter().map(|word| Case::Lower.of(word)).collect();
    }
    Ok(Arc::new(StringNormalizer { case, case_sensitive, stopwords }))
}

impl Operator for StringNormalizer {
    fn name(&self) -> &str {
        "StringNormalizer"
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = texts(inputs, 0)?;
        let shape = match x.shape.as_slice() {
            [_] => vec![Dim::Unknown],
            [first, _] if first.size().is_none_or(|n| n == 1) => vec![Dim::Known(1), Dim::Unknown],
            _ => return Err(ShapeError::new(format!("it takes texts of shape [C] or [1, C], not {x}"))),
        };
        Ok(vec![Fact::new(ElementType::String, shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let stops = |text: &String| match self.case_sensitive {
            true => self.stopwords.contains(text),
            false => self.stopwords.contains(&Case::Lower.of(text)),
        };
        let mut kept: Vec<String> =
            x.strings()?.iter().filter(|text| !stops(text)).map(|text| self.case.of(text)).collect();
        if kept.is_empty() {
            kept.push(String::new());
        }
        let shape = match x.shape() {
            [_] => vec![kept.len()],
            [1, _] => vec![1, kept.len()],
            other => {
                return Err(ShapeError::new(format!("it takes texts of shape [C] or [1, C], not {other:?}")).into());
            }
        };
        Ok(vec![Tensor::from_strings(shape, kept)?.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, strings};
    use super::*;

    #[test]
    fn stop_words_go_and_the_case_changes() {
        let d = Definition::new("StringNormalizer")
            .attribute("case_change_action", "UPPER")
            .attribute("stopwords", vec!["Monday".to_owned()]);
        let x = strings(&[1, 3], &["monday", "Tuesday", "straße"]);
        let y = run(make, &d, std::slice::from_ref(&x)).unwrap();
        assert_eq!(y, [strings(&[1, 2], &["TUESDAY", "STRASSE"])]);
        let y = run(make, &d.clone().attribute("is_case_sensitive", 1i64), &[x]).unwrap();
        assert_eq!(y, [strings(&[1, 3], &["MONDAY", "TUESDAY", "STRASSE"])]);
        assert_eq!(run(make, &d, &[strings(&[1], &["Monday"])]).unwrap(), [strings(&[1], &[""])]);
        assert!(run(make, &d, &[strings(&[2, 1], &["a", "b"])]).is_err());
        assert!(make(&d.attribute("case_change_action", "TITLE")).is_err());
    }
}
