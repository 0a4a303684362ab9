//! Writes text messages, letter by letter, as a small language model foretells them.
//!
//! ```text
//! cargo run --release --example generate
//! cargo run --release --example generate -- --temperature 0.8 --top 40 --seed 3 "See you at"
//! ```
//!
//! The model reads and writes bytes. What its attention needs of the past (keys and values of each layer) are outputs that
//! are inputs of the next run; they stay on the device, which writes what is new behind what is there
//! ([`Session::carry_up_to`]). `models/train/generate.py` trained it.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rimlight::{InputId, Options, OutputId, Session, Tensor, TensorView};

#[path = "program/mod.rs"]
mod program;
#[path = "generate/sampling.rs"]
mod sampling;

use program::{Failure, Typed, fits, say, wrong};
use sampling::Sampling;

const HELP: &str = "\
Writes text messages, letter by letter, as a small language model foretells them. The model is part of the sources.

usage: generate [PROMPT]

  --model NAME      a model of bytes with the inputs and outputs that Hugging Face's exports have (messages, unless told)
  --length N        how many bytes to write (200, unless told)
  --temperature T   0 writes the likeliest byte each time; 1 draws bytes as often as they are likely (0, unless told)
  --top N           draw from the N likeliest alone (40, unless told)
  --seed N          another seed, other draws (1, unless told)
  --backend NAME    auto, gpu or cpu

example: generate --temperature 0.8 --seed 3 \"See you at\"";

const OPTIONS: [&str; 6] = ["model", "length", "temperature", "top", "seed", "backend"];

/// A session that remembers what it has read.
struct Writer {
    session: Session,
    inputs: [InputId; 3],
    logits: OutputId,
    /// How many bytes it has read.
    read: usize,
}

impl Writer {
    /// A writer that reads and writes so many bytes at most.
    fn new(mut session: Session, length: usize) -> Result<Self, Failure> {
        let model = session.engine().model().clone();
        let mut kept = 0;
        for port in model.inputs() {
            let Some(rest) = port.name.strip_prefix("past_key_values") else { continue };
            // [batch, heads, what was read, size]: one text, and nothing was read yet.
            session.carry_up_to(&format!("present{rest}"), port.name, 2, length)?;
            let fact = port.fact.ok_or_else(|| wrong(format!("nothing is known of the input '{}'", port.name)))?;
            let sizes = fact.shape.iter().enumerate().map(|(i, dim)| if i == 0 { 1 } else { dim.size().unwrap_or(0) });
            let none = fits(Tensor::zeros(fact.element_type, sizes.collect::<Vec<_>>()))?;
            session.set(session.input(port.name)?, none.view())?;
            kept += 1;
        }
        if kept == 0 {
            return Err(wrong("this is no language model with a past: it has no inputs past_key_values…"));
        }
        let names = ["input_ids", "attention_mask", "position_ids"];
        let [ids, mask, places] = names.map(|name| session.input(name));
        let (inputs, logits) = ([ids?, mask?, places?], session.output("logits")?);
        Ok(Self { session, inputs, logits, read: 0 })
    }

    /// Reads bytes, and says how likely each byte is next.
    fn read(&mut self, bytes: &[u8]) -> Result<Vec<f32>, Failure> {
        let all = self.read + bytes.len();
        let ids: Vec<i64> = bytes.iter().map(|&byte| byte.into()).collect();
        let places: Vec<i64> = (0i64..).skip(self.read).take(bytes.len()).collect();
        for (input, values) in self.inputs.into_iter().zip([&ids, &vec![1; all], &places]) {
            self.session.set(input, fits(TensorView::new([1, values.len()], values))?)?;
        }
        self.session.run()?;
        self.read = all;
        let logits = fits(self.session.get(self.logits)?.as_slice::<f32>())?;
        Ok(logits[logits.len() - logits.len() / bytes.len()..].to_vec())
    }

    /// Reads the prompt and goes on by `length` bytes, each of which is told as it comes.
    fn write(
        &mut self,
        prompt: &[u8],
        length: usize,
        sampling: &mut Sampling,
        tell: &mut dyn FnMut(u8, Duration),
    ) -> Result<(), Failure> {
        let mut given = prompt.to_vec();
        for _ in 0..length {
            let start = Instant::now();
            let next = sampling.draw(&self.read(&given)?);
            let next = u8::try_from(next).map_err(|_| wrong("the model's tokens are not bytes"))?;
            tell(next, start.elapsed());
            given = vec![next];
        }
        Ok(())
    }
}

fn run(typed: &Typed) -> Result<(), Failure> {
    let prompt = match typed.rest.as_slice() {
        [] => String::new(),
        [prompt] => prompt.to_string_lossy().into_owned(),
        _ => return Err(wrong("one prompt at a time: put it between quotation marks")),
    };
    let length = typed.number("length", 200, [1, 10_000])?;
    let mut sampling = Sampling {
        temperature: typed.number("temperature", 0.0, [0.0, 10.0])?,
        top: typed.number("top", 40, [1, 256])?,
        seed: typed.number("seed", 1, [0, u64::MAX])?,
    };
    let model = program::model(&typed.text("model").unwrap_or_else(|| MODEL.to_owned()))?;
    let device = typed.device()?;
    // A message begins where another ends.
    let begun = [b"\n", prompt.as_bytes()].concat();
    let mut writer = Writer::new(model.session_with(&device, &Options::new())?, begun.len() + length)?;

    let mut out = std::io::stdout();
    let mut times = vec![];
    drop(write!(out, "{prompt}"));
    writer.write(&begun, length, &mut sampling, &mut |byte, time| {
        // A reader who has had enough is no failure.
        drop(out.write_all(&[byte]).and_then(|()| out.flush()));
        times.push(time);
    })?;
    let median = program::median(times);
    say!("\n\n{length} bytes on {}: {median:.2} ms each (median)", device.name());
    Ok(())
}

/// The model's name.
const MODEL: &str = "messages";

fn main() -> ExitCode {
    program::main("generate", HELP, &OPTIONS, run)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ONNX Runtime's 200 likeliest bytes, one after the other; `models/train/generate.py` wrote them down.
    #[test]
    fn the_likeliest_bytes_are_those_of_others() {
        let expected: serde_json::Value = serde_json::from_str(include_str!("generate/greedy.json")).unwrap();
        let [prompt, text] = ["prompt", "text"].map(|name| expected[name].as_str().unwrap());
        assert_eq!(text.len(), 200, "bytes");
        let model = program::model(MODEL).unwrap();
        for device in program::tests::devices() {
            let mut writer = Writer::new(model.session(&device).unwrap(), prompt.len() + text.len()).unwrap();
            let (mut greedy, mut found) = (Sampling { temperature: 0.0, top: 1, seed: 0 }, vec![]);
            writer.write(prompt.as_bytes(), text.len(), &mut greedy, &mut |byte, _| found.push(byte)).unwrap();
            assert_eq!(String::from_utf8_lossy(&found), text, "on {}", device.name());
        }
    }
}
