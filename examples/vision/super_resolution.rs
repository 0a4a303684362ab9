//! Enlarges a picture three times, and shows it beside what interpolation alone makes of it.
//!
//! ```text
//! cargo run --release --example super_resolution -- small.png -o large.png
//! ```
//!
//! The network enlarges the luma; Cb and Cr are enlarged by bicubic interpolation ([`Picture::with_luma`]).

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use rimlight::Options;
use rimlight::image::{Picture, Preprocessing};
use scene::drawing::{Canvas, colour};

#[path = "../program/mod.rs"]
mod program;

use program::{Failure, Typed, say, wrong};

const HELP: &str = "\
Enlarges a picture three times, and shows it beside what interpolation alone makes of it.

usage: super_resolution PICTURE

  -o FILE           write both, side by side, into this .png (also --output)
  --alone FILE      write the enlarged picture alone into this .png
  --model NAME      the network, by its name or its file (super_resolution, unless told)
  --backend NAME    auto, gpu or cpu";

const OPTIONS: [&str; 4] = ["output", "alone", "model", "backend"];

/// The luma as it is, 0 to 1.
const PREPROCESSING: [(&str, &str); 4] = [("resize", "none"), ("channels", "y"), ("mean", "0"), ("std", "1")];

fn run(typed: &Typed) -> Result<(), Failure> {
    let [path] = typed.rest.as_slice() else { return Err(wrong("one picture at a time; --help tells more")) };
    let path = Path::new(path);
    let mut how = Preprocessing::default();
    PREPROCESSING.into_iter().try_for_each(|(property, value)| how.set(property, value))?;
    let picture = Picture::open(path)?;
    let model = program::model(&typed.text("model").unwrap_or_else(|| "super_resolution".to_owned()))?;
    let (input, fact) = program::first_input(&model)?;
    let device = typed.device()?;
    let mut session = model.session_with(&device, &Options::new())?;

    let tensor = how.tensor(&picture, fact)?;
    let start = Instant::now();
    let outputs = session.run_with([(input, tensor.view())])?;
    let (_, luma) = outputs.first().ok_or_else(|| wrong("the model has no output"))?;
    let large = picture.with_luma(&luma.view())?;
    let time = start.elapsed().as_secs_f64() * 1e3;

    let (width, height) = (large.width(), large.height());
    say!(
        "{} from {} × {} to {width} × {height}, on {}: {time:.1} ms",
        path.display(),
        picture.width(),
        picture.height(),
        device.name()
    );
    if let Some(output) = typed.path("output") {
        let mut canvas = Canvas::beside(&picture.resized_bicubic(width, height)?, &large);
        canvas.label([0.0, 0.0], "bicubic", colour(7));
        canvas.label([width as f32, 0.0], "network", colour(7));
        canvas.write(&output)?;
        say!("drawn into {}", output.display());
    }
    if let Some(alone) = typed.path("alone") {
        Canvas::of(&large).write(&alone)?;
        say!("written to {}", alone.display());
    }
    Ok(())
}

fn main() -> ExitCode {
    program::main("super_resolution", HELP, &OPTIONS, run)
}
