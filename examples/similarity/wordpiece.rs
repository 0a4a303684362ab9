//! WordPiece, as BERT without capitals has it: a text becomes words, and a word the longest pieces that are known.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longer words are not known.
const LONGEST: usize = 100;

/// A vocabulary.
pub struct WordPiece<'a> {
    pieces: HashMap<&'a str, i64>,
    first: i64,
    last: i64,
    unknown: i64,
}

impl<'a> WordPiece<'a> {
    /// A list of pieces, line i being number i. `None` if it lacks the pieces that begin and end a text.
    pub fn new(list: &'a str) -> Option<Self> {
        let pieces: HashMap<&str, i64> = list.lines().zip(0..).collect();
        let [first, last, unknown] = ["[CLS]", "[SEP]", "[UNK]"].map(|piece| pieces.get(piece).copied());
        Some(Self { first: first?, last: last?, unknown: unknown?, pieces })
    }

    /// A text's numbers, at most `most` of them, begin and end among them.
    pub fn numbers(&self, text: &str, most: usize) -> Vec<i64> {
        let mut numbers = vec![self.first];
        words(text).iter().for_each(|word| self.pieces_of(word, &mut numbers));
        numbers.truncate(most.saturating_sub(1));
        numbers.push(self.last);
        numbers
    }

    fn pieces_of(&self, word: &str, numbers: &mut Vec<i64>) {
        let before = numbers.len();
        let mut rest = word;
        while !rest.is_empty() && word.chars().count() <= LONGEST {
            let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
            let piece = |end: usize| match numbers.len() == before {
                true => self.pieces.get(&rest[..end]),
                // What does not begin a word is marked.
                false => self.pieces.get(format!("##{}", &rest[..end]).as_str()),
            };
            let Some((end, &number)) = ends.into_iter().find_map(|end| Some((end, piece(end)?))) else { break };
            numbers.push(number);
            rest = &rest[end..];
        }
        if !rest.is_empty() {
            numbers.truncate(before);
            numbers.push(self.unknown);
        }
    }
}

/// Words in lower case and without accents; signs, and characters of Chinese, are words of their own.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let plain = text.chars().filter(|&c| !is_nothing(c));
    // Accents go first: they show when characters are taken apart.
    for c in plain.nfd().filter(|&c| !is_combining_mark(c)).flat_map(char::to_lowercase) {
        let alone = is_sign(c) || is_chinese(c);
        if alone || c.is_whitespace() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut()
            && !c.is_whitespace()
        {
            word.push(c);
        }
        if alone {
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What is not seen, spaces aside: controls, joiners, marks of direction.
fn is_nothing(c: char) -> bool {
    let control = c.is_control() && !c.is_whitespace();
    control
        || matches!(c, '\0' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fffd}')
}

/// ASCII's signs, letters and digits aside, and the blocks of other punctuation.
fn is_sign(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c, '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}'
            | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}' | '\u{ff01}'..='\u{ff0f}'
            | '\u{ff1a}'..='\u{ff20}' | '\u{ff3b}'..='\u{ff3d}')
}

fn is_chinese(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2ceaf}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the `tokenizers` library has it; `tests/reference/similarity.py` wrote it down.
    #[test]
    fn texts_have_the_numbers_that_others_give_them() {
        let expected: serde_json::Value = serde_json::from_str(include_str!("expected.json")).unwrap();
        let words = WordPiece::new(crate::VOCABULARY).unwrap();
        for row in expected["tokens"].as_array().unwrap() {
            let numbers: Vec<i64> = serde_json::from_value(row["tokens"].clone()).unwrap();
            let text = row["text"].as_str().unwrap();
            assert_eq!(words.numbers(text, 256), numbers, "{text:?}");
            assert_eq!(words.numbers(text, 2), [101, 102], "{text:?}");
        }
    }
}
