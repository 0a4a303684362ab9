//! TfIdfVectorizer: how often sequences of tokens (n-grams) occur.

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, ShapeError, Value,
};
use crate::tensor::{ElementType, Tensor};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Weighting {
    /// The count.
    Frequency,
    /// The weight, where it occurs.
    Occurrence,
    /// The count times the weight.
    Both,
}

/// A token, as the pool has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Token {
    Integer(i64),
    Text(String),
}

/// Counts the n-grams of a pool in `[C]` or `[N, C]` tokens, their tokens lying up to `skips` others apart.
#[derive(Debug, Clone, PartialEq)]
pub struct TfIdfVectorizer {
    weighting: Weighting,
    /// The numbers of tokens of the n-grams that are counted.
    lengths: (usize, usize),
    skips: usize,
    /// Whether the pool is of texts.
    texts: bool,
    /// For each n-gram its place in the output and its weight.
    pool: HashMap<Vec<Token>, (usize, f32)>,
    width: usize,
}

fn size(d: &Definition, name: &'static str) -> Result<usize, DefinitionError> {
    let n = d.int(name)?.ok_or(DefinitionError::Missing(name))?;
    usize::try_from(n).map_err(|_| DefinitionError::Value(name, format!("is {n}, below 0")))
}

pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let weighting = match d.string("mode")?.ok_or(DefinitionError::Missing("mode"))?.as_str() {
        "TF" => Weighting::Frequency,
        "IDF" => Weighting::Occurrence,
        "TFIDF" => Weighting::Both,
        other => return Err(DefinitionError::Value("mode", format!("is '{other}', not TF, IDF or TFIDF"))),
    };
    let tokens: Vec<Token> = match (d.ints("pool_int64s")?, d.strings("pool_strings")?) {
        (Some(integers), None) => integers.into_iter().map(Token::Integer).collect(),
        (None, Some(texts)) => texts.into_iter().map(Token::Text).collect(),
        _ => {
            return Err(DefinitionError::Value(
                "pool_int64s",
                "or 'pool_strings' should be there, one of them".to_owned(),
            ));
        }
    };
    let starts = d.ints("ngram_counts")?.ok_or(DefinitionError::Missing("ngram_counts"))?;
    let places = d.ints("ngram_indexes")?.ok_or(DefinitionError::Missing("ngram_indexes"))?;
    let weights = d.floats("weights")?;
    let wrong = |name, message: &str| DefinitionError::Value(name, message.to_owned());
    if weights.as_ref().is_some_and(|weights| weights.len() != places.len()) {
        return Err(wrong("weights", "has another length than 'ngram_indexes'"));
    }
    let mut pool = HashMap::new();
    let mut width = 0;
    let mut next = 0;
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(tokens.len() as i64);
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let part = range.and_then(|(start, end)| tokens.get(start..end));
        let part = part.ok_or_else(|| wrong("ngram_counts", "does not rise within the pool"))?;
        if part.len() % (i + 1) != 0 {
            return Err(wrong("ngram_counts", "divides an n-gram of the pool"));
        }
        for gram in part.chunks(i + 1) {
            let place = places.get(next).and_then(|&p| usize::try_from(p).ok());
            let place = place.ok_or_else(|| wrong("ngram_indexes", "has no place for an n-gram of the pool"))?;
            let weight = weights.as_ref().and_then(|w| w.get(next)).copied().unwrap_or(1.0);
            pool.insert(gram.to_vec(), (place, weight));
            next += 1;
        }
    }
    for &place in &places {
        let place = usize::try_from(place).ok().and_then(|place| place.checked_add(1));
        width = width.max(place.ok_or_else(|| wrong("ngram_indexes", "has a place below 0"))?);
    }
    let lengths = (size(d, "min_gram_length")?.max(1), size(d, "max_gram_length")?.min(starts.len()));
    let texts = matches!(tokens.first(), Some(Token::Text(_)));
    Ok(Arc::new(TfIdfVectorizer { weighting, lengths, skips: size(d, "max_skip_count")?, texts, pool, width }))
}

impl TfIdfVectorizer {
    fn row(&self, tokens: &[Token]) -> Vec<f32> {
        let mut counts = vec![0f32; self.width];
        let mut weights = vec![0f32; self.width];
        // Tokens farther apart than the row is long there are none.
        for distance in 1..=self.skips.min(tokens.len()) + 1 {
            for length in self.lengths.0..=self.lengths.1 {
                // Single tokens have no distance: they count once.
                if length == 1 && distance > 1 {
                    continue;
                }
                let span = (length - 1).saturating_mul(distance);
                for start in 0..tokens.len().saturating_sub(span) {
                    let gram: Vec<Token> = tokens[start..].iter().step_by(distance).take(length).cloned().collect();
                    if let Some(&(place, weight)) = self.pool.get(&gram) {
                        counts[place] += 1.0;
                        weights[place] = weight;
                    }
                }
            }
        }
        match self.weighting {
            Weighting::Frequency => counts,
            Weighting::Occurrence => weights,
            Weighting::Both => counts.iter().zip(&weights).map(|(count, weight)| count * weight).collect(),
        }
    }
}

impl Operator for TfIdfVectorizer {
    fn name(&self) -> &str {
        "TfIdfVectorizer"
    }

    fn takes_strings(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let fits = if self.texts { x.element_type == ElementType::String } else { x.element_type.is_integer() };
        if !fits || !matches!(x.rank(), 1 | 2) {
            return Err(ShapeError::new(format!("it takes one or two dimensions of its pool's tokens, not {x}")));
        }
        let rows = x.shape.iter().take(x.rank() - 1).cloned();
        Ok(vec![Fact::new(ElementType::F32, rows.chain([Dim::from(self.width)]))])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let tokens: Vec<Token> = match x.element_type() {
            ElementType::String => x.strings()?.iter().cloned().map(Token::Text).collect(),
            _ => x.integers().unwrap_or_default().into_iter().map(Token::Integer).collect(),
        };
        let (rows, length) = match x.shape() {
            [length] => (vec![], *length),
            [rows, length] => (vec![*rows], *length),
            other => return Err(ShapeError::new(format!("it takes one or two dimensions, not {other:?}")).into()),
        };
        let shape = [rows.as_slice(), &[self.width]].concat();
        Tensor::bounded(ElementType::F32, &shape)?;
        let count = rows.first().copied().unwrap_or(1);
        let y = (0..count).flat_map(|i| self.row(tokens.get(i * length..(i + 1) * length).unwrap_or_default()));
        Ok(vec![Tensor::new(shape, y.collect::<Vec<f32>>())?.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{run, strings};
    use super::*;

    fn definition(mode: &str, skips: i64) -> Definition {
        Definition::new("TfIdfVectorizer")
            .attribute("mode", mode)
            .attribute("min_gram_length", 2i64)
            .attribute("max_gram_length", 2i64)
            .attribute("max_skip_count", skips)
            .attribute("ngram_counts", [0i64, 4])
            .attribute("ngram_indexes", [0i64, 1, 2, 3, 4, 5, 6])
            .attribute("pool_int64s", [2i64, 3, 5, 4, 5, 6, 7, 8, 6, 7])
    }

    /// The example of the standard's text.
    #[test]
    fn pairs_are_counted_up_to_so_many_tokens_apart() {
        let x = Tensor::new([2, 6], vec![1i64, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8]).unwrap();
        let y = run(make, &definition("TF", 0), std::slice::from_ref(&x)).unwrap();
        assert_eq!(y[0].as_slice::<f32>().unwrap(), [0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 1., 0., 1.]);
        let y = run(make, &definition("TF", 5), &[x]).unwrap();
        assert_eq!(y[0].as_slice::<f32>().unwrap(), [0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 1., 1., 1.]);
    }

    #[test]
    fn weights_scale_what_occurs_and_texts_are_tokens() {
        let d = Definition::new("TfIdfVectorizer")
            .attribute("min_gram_length", 1i64)
            .attribute("max_gram_length", 1i64)
            .attribute("max_skip_count", 0i64)
            .attribute("ngram_counts", [0i64])
            .attribute("ngram_indexes", [1i64, 0])
            .attribute("weights", Attribute::Floats(vec![0.5, 2.0]))
            .attribute("pool_strings", vec!["a".to_owned(), "b".to_owned()]);
        let x = strings(&[4], &["a", "b", "a", "c"]);
        for (mode, expected) in [("TF", [1.0, 2.0]), ("IDF", [2.0, 0.5]), ("TFIDF", [2.0, 1.0])] {
            let y = run(make, &d.clone().attribute("mode", mode), std::slice::from_ref(&x)).unwrap();
            assert_eq!(y[0].as_slice::<f32>().unwrap(), expected, "{mode}");
        }
        let wrong = d.attribute("mode", "TF").attribute("ngram_counts", [3i64, 1]);
        assert!(make(&wrong).is_err() && make(&definition("TF", -1)).is_err());
    }

    use crate::graph::Attribute;
}
