//! Finds objects in a photograph, and draws them.
//!
//! ```text
//! cargo run --release --example detect -- street.jpg -o found.png
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use drawing::{Canvas, colour};
use rimlight::Options;
use rimlight::image::{Picture, Preprocessing};
use rimlight::vision::{NonMaximumSuppression, Rectangle, yolov5, yolov8, yolox};

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
const COCO: &str = include_str!("../../models/labels/coco_80.txt");

/// How a detector of this kind wants its pictures: in a letterbox; YOLOX blue first and as they are.
fn preprocessing(head: &str) -> Result<Preprocessing, Failure> {
    let mut how = Preprocessing::default();
    let (resize, channels, scale) = match head {
        "yolox" => ("letterbox", "bgr", "1"),
        "yolov5" | "yolov8" => ("letterbox_centred", "rgb", "1/255"),
        other => return Err(wrong(format!("--head is yolox, yolov5 or yolov8, not '{other}'"))),
    };
    let properties = [("resize", resize), ("channels", channels), ("scale", scale), ("mean", "0"), ("std", "1")];
    properties.into_iter().try_for_each(|(property, value)| how.set(property, value))?;
    Ok(how)
}

fn run(typed: &Typed) -> Result<(), Failure> {
    let [path] = typed.rest.as_slice() else { return Err(wrong("one picture at a time; --help tells more")) };
    let path = Path::new(path);
    let head = typed.text("head").unwrap_or_else(|| "yolox".to_owned());
    let how = preprocessing(&head)?;
    let threshold = typed.number("threshold", 0.5, [0.0, 1.0])?;
    let suppression = NonMaximumSuppression {
        iou_threshold: typed.number("overlap", 0.45, [0.0, 1.0])?,
        ..NonMaximumSuppression::default()
    };
    let labels = match typed.path("labels") {
        Some(file) => {
            std::fs::read_to_string(&file).map_err(|e| wrong(format!("cannot read '{}': {e}", file.display())))?
        }
        None => COCO.to_owned(),
    };
    let labels: Vec<&str> = labels.lines().collect();
    let picture = Picture::open(path)?;
    let model = program::model(&typed.text("model").unwrap_or_else(|| "yolox_nano".to_owned()))?;
    let (input, fact) = program::first_input(&model)?;
    let device = typed.device()?;
    let mut session = model.session_with(&device, &Options::new())?;

    let tensor = how.tensor(&picture, fact)?;
    let fitted = how.mapping(&picture, fact)?;
    let start = Instant::now();
    let outputs = session.run_with([(input, tensor.view())])?;
    let (_, rows) = outputs.first().ok_or_else(|| wrong("the model has no output"))?;
    let found = match (head.as_str(), tensor.shape()) {
        ("yolox", &[.., height, width]) => yolox(&rows.view(), [width as u32, height as u32], threshold),
        ("yolov5", _) => yolov5(&rows.view(), threshold),
        _ => yolov8(&rows.view(), threshold),
    };
    let found = suppression.apply(&found.map_err(rimlight::Error::from)?);
    let time = start.elapsed().as_secs_f64() * 1e3;

    let mut canvas = Canvas::of(&picture);
    for object in &found {
        let label =
            labels.get(object.class).map_or_else(|| format!("class {}", object.class), |label| (*label).to_owned());
        let rectangle = fitted.back(object.rectangle);
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
