//! A message as the numbers that the network was trained on, as `models/train/spam.py` makes them.

use std::collections::HashMap;

/// Tokens of a message that count: the last ones, what is missing is padding in front.
pub const LENGTH: usize = 100;
/// What stands for words that are not known.
const UNKNOWN: i64 = 1;

/// Words and their numbers.
pub struct Words<'a>(HashMap<&'a str, i64>);

impl<'a> Words<'a> {
    /// A list, line i being number i; the first two are padding and what is not known.
    pub fn new(list: &'a str) -> Self {
        Self(list.lines().zip(0..).skip(2).collect())
    }

    /// A message's numbers, without padding.
    pub fn numbers(&self, message: &str) -> Vec<i64> {
        let tokens = tokens(message);
        let last = &tokens[tokens.len().saturating_sub(LENGTH)..];
        last.iter().map(|token| self.0.get(token.as_str()).copied().unwrap_or(UNKNOWN)).collect()
    }
}

/// Words in lower case, numbers as so many zeros, and every other sign by itself.
fn tokens(message: &str) -> Vec<String> {
    let message = message.to_lowercase().replace('’', "'");
    let letter = |c: char| c.is_alphanumeric() && !c.is_ascii_digit();
    let mut tokens = vec![];
    let mut rest = message.as_str();
    while let Some(first) = rest.chars().next() {
        let run = |of: &dyn Fn(char) -> bool, from: usize| {
            rest[from..].find(|c| !of(c)).map_or(rest.len(), |length| from + length)
        };
        let end = if first.is_ascii_digit() {
            let end = run(&|c| c.is_ascii_digit(), 0);
            tokens.push("0".repeat(end.min(12)));
            end
        } else if letter(first) {
            // Apostrophes between letters belong to the word.
            let mut end = run(&letter, 0);
            while rest[end..].strip_prefix('\'').is_some_and(|after| after.starts_with(letter)) {
                end = run(&letter, end + 1);
            }
            tokens.push(rest[..end].to_owned());
            end
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[end..];
    }
    tokens
}
