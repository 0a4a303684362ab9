//! Ranks sentences by how near they are in meaning to another: a search that needs no common word.
//!
//! ```text
//! cargo run --release --example similarity
//! cargo run --release --example similarity -- "How do I get my money back?" --of answers.txt
//! ```
//!
//! The network is all-MiniLM-L6-v2. It makes a vector of each sentence; sentences of like meaning have vectors of like direction.

use std::process::ExitCode;
use std::time::Instant;

use rimlight::{Options, Session, Tensor, TensorView};

#[path = "program/mod.rs"]
mod program;
#[path = "similarity/wordpiece.rs"]
mod wordpiece;

use program::{Failure, Typed, fits, say, wrong};
use wordpiece::WordPiece;

const HELP: &str = "\
Ranks sentences by how near they are in meaning to the first: a search that needs no common word.

usage: similarity [QUESTION [SENTENCE…]]

Without sentences it ranks some that are shipped with it. The network is all-MiniLM-L6-v2, as ONNX: inputs input_ids,
attention_mask and token_type_ids, output sentence_embedding, or last_hidden_state, whose mean is taken.

  --model NAME      the network, by its name or its file (all-minilm-l6-v2_w8, unless told)
  --of FILE         rank the lines of this text file
  --top N           how many to print (5, unless told)
  --backend NAME    auto, gpu or cpu

example: similarity \"How do I get my money back?\" --of answers.txt";

const OPTIONS: [&str; 4] = ["model", "of", "top", "backend"];
const MODEL: &str = "all-minilm-l6-v2_w8";
/// The pieces of words that the network was trained on.
const VOCABULARY: &str = include_str!("../models/labels/minilm_vocab.txt");

const QUESTION: &str = "How do I get my money back?";
const SENTENCES: [&str; 10] = [
    "Refunds reach your account within five working days.",
    "Our office is open from nine to five, Monday to Friday.",
    "You can return an item for a full reimbursement within a month.",
    "To change your password, open the settings and choose Security.",
    "We accept credit cards and bank transfers.",
    "Parcels are shipped on the day of the order.",
    "Cancelled subscriptions are credited for the days that are left.",
    "The battery lasts for about ten hours.",
    "Money is the root of all evil, says the proverb.",
    "Hold the button for three seconds to start the device anew.",
];

/// Tokens of a sentence that count: the network was trained on so many.
const MOST: usize = 256;
/// Sentences of one run.
const BATCH: usize = 16;

/// The sentences' vectors, of length 1: as the model gives them, or, where it does not or if asked for, the means of its tokens.
fn embed(
    session: &mut Session,
    words: &WordPiece,
    sentences: &[String],
    as_means: bool,
) -> Result<Vec<Vec<f32>>, Failure> {
    let mut vectors = vec![];
    for sentences in sentences.chunks(BATCH) {
        let numbers: Vec<Vec<i64>> = sentences.iter().map(|sentence| words.numbers(sentence, MOST)).collect();
        let length = numbers.iter().map(Vec::len).max().unwrap_or(0);
        // What is missing at the end of a sentence is padding, and the mask leaves it out.
        let padded = |number: &dyn Fn(i64) -> i64| {
            let row =
                |row: &Vec<i64>| row.iter().map(|&n| number(n)).chain(std::iter::repeat(0)).take(length).collect();
            let all: Vec<i64> = numbers.iter().flat_map(|numbers| -> Vec<i64> { row(numbers) }).collect();
            all
        };
        let (ids, mask, types) = (padded(&|n| n), padded(&|_| 1), padded(&|_| 0));
        let shape = [sentences.len(), length];
        let outputs = session.run_with([
            ("input_ids", fits(TensorView::new(shape, &ids))?),
            ("attention_mask", fits(TensorView::new(shape, &mask))?),
            ("token_type_ids", fits(TensorView::new(shape, &types))?),
        ])?;
        let named = |name: &str| outputs.iter().find(|(found, _)| *found == name).map(|(_, tensor)| tensor);
        match (named("sentence_embedding"), named("last_hidden_state")) {
            (Some(all), _) if !as_means => vectors.extend(rows(all, sentences.len())?.into_iter().map(unit)),
            (_, Some(all)) => vectors.extend(means(all, &mask, shape)?.into_iter().map(unit)),
            _ => return Err(wrong("the model has neither an output sentence_embedding nor last_hidden_state")),
        }
    }
    Ok(vectors)
}

fn rows(tensor: &Tensor, count: usize) -> Result<Vec<Vec<f32>>, Failure> {
    let values = fits(tensor.as_slice::<f32>())?;
    Ok(values.chunks((values.len() / count).max(1)).map(<[f32]>::to_vec).collect())
}

/// Of each sentence the mean over its tokens.
fn means(tensor: &Tensor, mask: &[i64], [sentences, length]: [usize; 2]) -> Result<Vec<Vec<f32>>, Failure> {
    let tokens = rows(tensor, sentences * length)?;
    let sentence = |(tokens, mask): (&[Vec<f32>], &[i64])| {
        let mut sum = vec![0.0; tokens.first().map_or(0, Vec::len)];
        let counted = tokens.iter().zip(mask).filter(|(_, mask)| **mask == 1);
        counted.for_each(|(token, _)| sum.iter_mut().zip(token).for_each(|(sum, value)| *sum += value));
        sum
    };
    Ok(tokens.chunks(length).zip(mask.chunks(length)).map(sentence).collect())
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|v| *v /= length);
    vector
}

fn near(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn run(typed: &Typed) -> Result<(), Failure> {
    let mut given = typed.rest.iter().map(|text| text.to_string_lossy().into_owned());
    let question = given.next().unwrap_or_else(|| QUESTION.to_owned());
    let mut sentences: Vec<String> = given.collect();
    if let Some(path) = typed.path("of") {
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|e| wrong(format!("cannot read '{}': {e}", path.display())))?;
        sentences.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
    }
    if sentences.is_empty() {
        sentences = SENTENCES.map(str::to_owned).to_vec();
    }
    let top = typed.number("top", 5, [1, usize::MAX])?;
    let words = WordPiece::new(VOCABULARY).ok_or_else(|| wrong("the vocabulary is not whole"))?;
    let model = program::model(&typed.text("model").unwrap_or_else(|| MODEL.to_owned()))?;
    let device = typed.device()?;
    let mut session = model.session_with(&device, &Options::new())?;

    let start = Instant::now();
    let question_vector = embed(&mut session, &words, std::slice::from_ref(&question), false)?.remove(0);
    let vectors = embed(&mut session, &words, &sentences, false)?;
    let time = start.elapsed();
    let mut ranked: Vec<_> = vectors.iter().map(|vector| near(vector, &question_vector)).zip(&sentences).collect();
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    say!("{question}");
    for (near, sentence) in ranked.iter().take(top) {
        let bar = "█".repeat((near.clamp(0.0, 1.0) * 20.0).round() as usize);
        say!("  {near:5.2}  {bar:<20}  {sentence}");
    }
    let milliseconds = time.as_secs_f64() * 1e3;
    say!("{} sentences compared on {} in {milliseconds:.0} ms", sentences.len(), device.name());
    Ok(())
}

fn main() -> ExitCode {
    program::main("similarity", HELP, &OPTIONS, run)
}

#[cfg(test)]
mod tests {
    use rimlight::Model;

    use super::*;

    /// How near the sentences are by ONNX Runtime's reckoning, all in one run here, where most are padded. What is said of
    /// cosines, 10⁻⁴ at most, holds for both ways to a vector.
    #[test]
    fn sentences_are_as_near_as_elsewhere() {
        let Ok(path) = program::model_file(MODEL) else {
            eprintln!("skipped: '{MODEL}' is not here");
            return;
        };
        let expected: serde_json::Value = serde_json::from_str(include_str!("similarity/expected.json")).unwrap();
        let expected: Vec<f32> = serde_json::from_value(expected["near"].clone()).unwrap();
        let words = WordPiece::new(VOCABULARY).unwrap();
        let texts: Vec<String> = [QUESTION].iter().chain(&SENTENCES).map(|&text| text.to_owned()).collect();
        for device in program::tests::devices() {
            let mut session = Model::open(&path).unwrap().session(&device).unwrap();
            for as_means in [false, true] {
                let vectors = embed(&mut session, &words, &texts, as_means).unwrap();
                assert_eq!(vectors.len(), expected.len() + 1);
                for ((vector, expected), sentence) in vectors[1..].iter().zip(&expected).zip(SENTENCES) {
                    let near = near(&vectors[0], vector);
                    assert!((near - expected).abs() < 1e-4, "{sentence}: {near}, where {expected} is expected");
                }
            }
        }
    }
}
