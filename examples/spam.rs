//! Says of text messages whether they are spam, where they arrive: nothing leaves the device.
//!
//! ```text
//! cargo run --release --example spam
//! cargo run --release --example spam -- "You have WON a prize! Call 09061701461 now"
//! ```
//!
//! The network and its words are part of the program: an embedding, two recurrent layers, two dense ones, in 8 bits.
//! `models/train/spam.py` trained it.

use std::io::BufRead;
use std::process::ExitCode;
use std::time::Instant;

use rimlight::{Model, Session, TensorView};

#[path = "program/mod.rs"]
mod program;
#[path = "spam/tokens.rs"]
mod tokens;

use program::{Failure, Typed, fits, say, wrong};
use tokens::{LENGTH, Words};

const HELP: &str = "\
Says of text messages whether they are spam, with a network that is part of the program: nothing leaves the device.

usage: spam [MESSAGE…]

Without a message it judges a few that are shipped with it; of - it takes every line that it is given.

  --backend NAME    auto, gpu or cpu

example: spam \"You have WON a prize! Call 09061701461 now\" \"Running late, start without me\"";

const NETWORK: &[u8] = include_bytes!("../models/spam.onnx");
const WORDS: &str = include_str!("../models/spam_words.txt");

const SHOWN: [&str; 6] = [
    "Running late, start without me. Ten minutes at most, I promise",
    "URGENT! Your number was drawn for a £500 prize. To claim call 09061234567 now, 150p per min",
    "can you get milk and 2 lemons on your way home? x",
    "FREE ringtone! Reply TONE to 85222 and get the latest hits to your mobile every week",
    "You won!!! What a game, I wish i had been there",
    "Your appointment is on Monday at 10:15. Please call us if you cannot come",
];

/// How likely each message is spam, all of them in one run.
fn judge(session: &mut Session, words: &Words, messages: &[String]) -> Result<Vec<f32>, Failure> {
    let mut numbers = vec![0i64; messages.len() * LENGTH];
    for (row, message) in numbers.chunks_mut(LENGTH).zip(messages) {
        let known = words.numbers(message);
        row[LENGTH - known.len()..].copy_from_slice(&known);
    }
    let outputs = session.run_with([("tokens", fits(TensorView::new([messages.len(), LENGTH], &numbers))?)])?;
    let (_, classes) = outputs.first().ok_or_else(|| wrong("the model has no output"))?;
    Ok(fits(classes.as_slice::<f32>())?.chunks(2).map(|classes| classes[1]).collect())
}

fn given(typed: &Typed) -> Result<Vec<String>, Failure> {
    let typed: Vec<String> = typed.rest.iter().map(|text| text.to_string_lossy().into_owned()).collect();
    match typed.as_slice() {
        [] => Ok(SHOWN.map(str::to_owned).to_vec()),
        [all] if all == "-" => {
            let lines: Result<Vec<_>, _> = std::io::stdin().lock().lines().collect();
            lines.map_err(|e| wrong(format!("cannot read the messages: {e}")))
        }
        _ => Ok(typed),
    }
}

fn run(typed: &Typed) -> Result<(), Failure> {
    let messages = given(typed)?;
    let device = typed.device()?;
    let start = Instant::now();
    let mut session = Model::from_bytes(NETWORK)?.session(&device)?;
    let words = Words::new(WORDS);
    let load = start.elapsed();

    let (mut times, mut spam) = (vec![], 0);
    for message in &messages {
        let start = Instant::now();
        let likely = judge(&mut session, &words, std::slice::from_ref(message))?[0];
        times.push(start.elapsed());
        spam += usize::from(likely >= 0.5);
        let verdict = if likely >= 0.5 { "SPAM" } else { "ham " };
        say!("{verdict} {:5.1} %  {message}", f64::from(likely) * 100.0);
    }
    let median = program::median(times);
    say!(
        "{spam} of {} are spam, on {}: loaded in {:.0} ms, {:.2} ms a message (median)",
        messages.len(),
        device.name(),
        load.as_secs_f64() * 1e3,
        median
    );
    Ok(())
}

fn main() -> ExitCode {
    program::main("spam", HELP, &["backend"], run)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages that the training never saw and some odd ones, alone and together: the same numbers as the training's script
    /// makes, and the answers of ONNX Runtime, which differ from another order of sums by less than 10⁻⁴.
    #[test]
    fn messages_are_judged_as_elsewhere() {
        let expected: serde_json::Value = serde_json::from_str(include_str!("spam/expected.json")).unwrap();
        let expected = expected.as_array().unwrap();
        let messages: Vec<String> = expected.iter().map(|e| e["text"].as_str().unwrap().to_owned()).collect();
        let words = Words::new(WORDS);
        for (message, expected) in messages.iter().zip(expected) {
            let numbers: Vec<i64> = serde_json::from_value(expected["tokens"].clone()).unwrap();
            assert_eq!(words.numbers(message), numbers, "{message}");
        }
        let model = Model::from_bytes(NETWORK).unwrap();
        for device in program::tests::devices() {
            let mut session = model.session(&device).unwrap();
            let together = judge(&mut session, &words, &messages).unwrap();
            for ((message, together), expected) in messages.iter().zip(together).zip(expected) {
                let alone = judge(&mut session, &words, std::slice::from_ref(message)).unwrap()[0];
                let expected = expected["spam"].as_f64().unwrap() as f32;
                for got in [alone, together] {
                    assert!((got - expected).abs() < 1e-4, "{message}: {got}, where {expected} is expected");
                }
            }
        }
    }
}
