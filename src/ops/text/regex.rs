//! RegexFullMatch: whether a whole text matches a regular expression.

use std::sync::Arc;

use crate::graph::{Definition, DefinitionError, Operator};

/// Without the feature there are no regular expressions.
#[cfg(not(feature = "regex"))]
pub(in crate::ops) fn make(_: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    Err(DefinitionError::Unsupported("Rimlight was built without its feature 'regex'".to_owned()))
}

#[cfg(feature = "regex")]
pub(in crate::ops) use full_match::make;

#[cfg(feature = "regex")]
mod full_match {
    use super::super::texts;
    use super::{Arc, Definition, DefinitionError, Operator};
    use crate::graph::{Context, EvaluateError, Fact, Inputs, ShapeError, Value};
    use crate::tensor::{ElementType, Tensor, Truth};

    /// The expression is read by the `regex` crate, whose syntax is near RE2's and whose matching takes linear time.
    #[derive(Debug, Clone)]
    pub struct RegexFullMatch {
        whole: regex::Regex,
    }

    pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
        let pattern = d.string("pattern")?.ok_or(DefinitionError::Missing("pattern"))?;
        // The expression by itself first: one that closes a group which it did not open is none.
        regex::Regex::new(&pattern)
            .and_then(|_| regex::Regex::new(&format!(r"\A(?:{pattern})\z")))
            .map(|whole| Arc::new(RegexFullMatch { whole }) as Arc<dyn Operator>)
            .map_err(|e| DefinitionError::Value("pattern", format!("is no regular expression: {e}")))
    }

    impl Operator for RegexFullMatch {
        fn name(&self) -> &str {
            "RegexFullMatch"
        }

        fn takes_strings(&self) -> bool {
            true
        }

        fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
            Ok(vec![texts(inputs, 0)?.with_type(ElementType::Bool)])
        }

        fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
            let x = inputs.tensor(0)?;
            let matches = x.strings()?.iter().map(|text| Truth::from(self.whole.is_match(text))).collect();
            Ok(vec![Tensor::new(x.shape(), matches)?.into()])
        }
    }

    #[cfg(test)]
    mod tests {
        use super::super::super::tests::{run, strings};
        use super::*;

        #[test]
        fn only_whole_texts_match() {
            let d = |pattern: &str| Definition::new("RegexFullMatch").attribute("pattern", pattern);
            let x = strings(&[3], &["www.google.com", "www.google.com\n", "x www.google.com"]);
            let y = run(make, &d(r"www\.[\w.-]+\.\bcom\b"), &[x]).unwrap();
            assert_eq!(y[0].bytes(), [1, 0, 0]);
            assert_eq!(run(make, &d("a|ab"), &[strings(&[1], &["ab"])]).unwrap()[0].bytes(), [1]);
            assert!(make(&d("a)(b")).is_err() && make(&d("(")).is_err());
            assert!(run(make, &d("a"), &[Tensor::vector(vec![1f32])]).is_err());
        }
    }
}
