//! Finds objects in a photograph, and draws them.
//!
//! ```text
//! cargo run --release --example detect -- street.jpg -o found.png
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use rimlight::Options;
use rimlight::image::Picture;
use rimlight::vision::Rectangle;
use scene::detector::label;
use scene::drawing::{Canvas, colour};

#[path = "network.rs"]
mod network;
#[path = "../program/mod.rs"]
mod program;

use program::{Failure, Typed, say, wrong};

const HELP: &str = "\
Finds objects in a photograph, and draws them.

usage: detect PICTURE

  -o FILE           draw what is found into this .png (also --output)
  --model NAME      the network, by its name or its file (yolox_nano, unless told)
  --head NAME       what its rows mean: yolox, yolov5 or yolov8 (yolox, unless told)
  --labels FILE     the classes' names, one a line (COCO's 80, unless told)
  --threshold T     from which score on an object is one (0.5, unless told)
  --overlap T       above which intersection over union two are one (0.45, unless told)
  --backend NAME    auto, gpu or cpu";

const OPTIONS: [&str; 7] = ["output", "model", "head", "labels", "threshold", "overlap", "backend"];

fn run(typed: &Typed) -> Result<(), Failure> {
    let [path] = typed.rest.as_slice() else { return Err(wrong("one picture at a time; --help tells more")) };
    let path = Path::new(path);
    let detector = network::detector(typed)?;
    let how = detector.head.preprocessing()?;
    let labels = network::labels(typed)?;
    let labels: Vec<&str> = labels.lines().collect();
    let picture = Picture::open(path)?;
    let model = program::model(&typed.text("model").unwrap_or_else(|| "yolox_nano".to_owned()))?;
    let (input, fact) = program::first_input(&model)?;
    let device = typed.device()?;
    let mut session = model.session_with(&device, &Options::new())?;

    let tensor = how.tensor(&picture, fact)?;
    let start = Instant::now();
    let outputs = session.run_with([(input, tensor.view())])?;
    let (_, rows) = outputs.first().ok_or_else(|| wrong("the model has no output"))?;
    let found = detector.found(rows, tensor.shape(), [picture.width(), picture.height()])?;
    let time = start.elapsed().as_secs_f64() * 1e3;

    let mut canvas = Canvas::of(&picture);
    for object in &found {
        let (label, rectangle) = (label(&labels, object.class), object.rectangle);
        let Rectangle { left, top, right, bottom } = rectangle;
        say!("{label:<12} {:.2}  from {left:4.0}, {top:4.0} to {right:4.0}, {bottom:4.0}", object.score);
        canvas.rectangle(&rectangle, &format!("{label} {:.2}", object.score), colour(object.class));
    }
    say!("{} objects in {}, on {}: {time:.1} ms", found.len(), path.display(), device.name());
    if let Some(output) = typed.path("output") {
        canvas.write(&output)?;
        say!("drawn into {}", output.display());
    }
    Ok(())
}

fn main() -> ExitCode {
    program::main("detect", HELP, &OPTIONS, run)
}
