//! Finds faces in a photograph, and draws a frame around each.
//!
//! ```text
//! cargo run --release --example faces -- portrait.jpg -o found.png
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use rimlight::image::{Picture, Preprocessing};
use rimlight::vision::{NonMaximumSuppression, Rectangle, ultraface};
use rimlight::{Options, Tensor};
use scene::drawing::{Canvas, colour};

#[path = "../program/mod.rs"]
mod program;

use program::{Failure, Typed, say, wrong};

const HELP: &str = "\
Finds faces in a photograph, and draws a frame around each.

usage: faces PICTURE

  -o FILE           draw what is found into this .png (also --output)
  --model NAME      the network, by its name or its file (version-RFB-320, unless told)
  --threshold T     from which score on a face is one (0.7, unless told)
  --backend NAME    auto, gpu or cpu";

const OPTIONS: [&str; 4] = ["output", "model", "threshold", "backend"];

/// The whole picture, whatever becomes of its proportions; (value - 127) / 128.
const PREPROCESSING: [(&str, &str); 4] = [("resize", "stretch"), ("scale", "1"), ("mean", "127"), ("std", "128")];

fn run(typed: &Typed) -> Result<(), Failure> {
    let [path] = typed.rest.as_slice() else { return Err(wrong("one picture at a time; --help tells more")) };
    let path = Path::new(path);
    let threshold = typed.number("threshold", 0.7, [0.0, 1.0])?;
    let suppression = NonMaximumSuppression { iou_threshold: 0.3, ..NonMaximumSuppression::default() };
    let mut how = Preprocessing::default();
    PREPROCESSING.into_iter().try_for_each(|(property, value)| how.set(property, value))?;
    let picture = Picture::open(path)?;
    let model = program::model(&typed.text("model").unwrap_or_else(|| "version-RFB-320".to_owned()))?;
    let (input, fact) = program::first_input(&model)?;
    let device = typed.device()?;
    let mut session = model.session_with(&device, &Options::new())?;

    let tensor = how.tensor(&picture, fact)?;
    let start = Instant::now();
    let outputs = session.run_with([(input, tensor.view())])?;
    let output = |name: &str| {
        let found: Option<&Tensor> = outputs.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor);
        found.ok_or_else(|| wrong(format!("the model has no output '{name}'")))
    };
    let found = ultraface(&output("scores")?.view(), &output("boxes")?.view(), threshold);
    let found = suppression.apply(&found.map_err(rimlight::Error::from)?);
    let time = start.elapsed().as_secs_f64() * 1e3;

    let mut canvas = Canvas::of(&picture);
    let size = [picture.width(), picture.height()];
    for face in &found {
        let rectangle = face.rectangle.scaled(size.map(|side| side as f32)).within(size);
        let Rectangle { left, top, right, bottom } = rectangle;
        say!("a face, {:.2}, from {left:4.0}, {top:4.0} to {right:4.0}, {bottom:4.0}", face.score);
        canvas.rectangle(&rectangle, &format!("face {:.2}", face.score), colour(3));
    }
    say!("{} faces in {}, on {}: {time:.1} ms", found.len(), path.display(), device.name());
    if let Some(output) = typed.path("output") {
        canvas.write(&output)?;
        say!("drawn into {}", output.display());
    }
    Ok(())
}

fn main() -> ExitCode {
    program::main("faces", HELP, &OPTIONS, run)
}
