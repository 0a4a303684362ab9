//! Finds where text is in a picture, and draws a frame around each line.
//!
//! ```text
//! cargo run --release --example text_regions -- page.png -o found.png
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use rimlight::Options;
use rimlight::image::{Picture, Preprocessing};
use rimlight::vision::TextDetector;
use scene::drawing::{Canvas, colour};

#[path = "../program/mod.rs"]
mod program;

use program::{Failure, Typed, say, wrong};

const HELP: &str = "\
Finds where text is in a picture, and draws a frame around each line.

usage: text_regions PICTURE

  -o FILE           draw what is found into this .png (also --output)
  --model NAME      the network, by its name or its file (ch_PP-OCRv3_det, unless told)
  --threshold T     from which mean probability on a region is text (0.6, unless told)
  --side N          larger pictures are looked at with so many pixels to the longer side (960, unless told)
  --backend NAME    auto, gpu or cpu";

const OPTIONS: [&str; 5] = ["output", "model", "threshold", "side", "backend"];

/// Width and height that the network looks at: multiples of 32 near the picture's, or near what its longer side may have.
fn size(picture: &Picture, longest: u32) -> [u32; 2] {
    let (width, height) = (picture.width(), picture.height());
    let factor = (f64::from(longest) / f64::from(width.max(height))).min(1.0);
    [width, height].map(|side| ((f64::from(side) * factor / 32.0).round() as u32).max(1) * 32)
}

fn run(typed: &Typed) -> Result<(), Failure> {
    let [path] = typed.rest.as_slice() else { return Err(wrong("one picture at a time; --help tells more")) };
    let path = Path::new(path);
    let unless_told = TextDetector::default();
    let detector = TextDetector {
        box_threshold: typed.number("threshold", unless_told.box_threshold, [0.0, 1.0])?,
        ..unless_told
    };
    let picture = Picture::open(path)?;
    let mut how = Preprocessing::default();
    how.set("resize", "stretch")?;
    how.size = Some(size(&picture, typed.number("side", 960, [32, 4096])?));
    let model = program::model(&typed.text("model").unwrap_or_else(|| "ch_PP-OCRv3_det".to_owned()))?;
    let (input, fact) = program::first_input(&model)?;
    let device = typed.device()?;
    let mut session = model.session_with(&device, &Options::new())?;

    let tensor = how.tensor(&picture, fact)?;
    let fitted = how.mapping(&picture, fact)?;
    let start = Instant::now();
    let outputs = session.run_with([(input, tensor.view())])?;
    let (_, map) = outputs.first().ok_or_else(|| wrong("the model has no output"))?;
    let regions = detector.regions(&map.view()).map_err(rimlight::Error::from)?;
    let time = start.elapsed().as_secs_f64() * 1e3;

    let mut canvas = Canvas::of(&picture);
    for region in &regions {
        let corners = region.rectangle.corners().map(|corner| fitted.point_back(corner));
        let places: Vec<String> = corners.iter().map(|[x, y]| format!("{x:.0},{y:.0}")).collect();
        say!("text, {:.2}, at {}", region.score, places.join(" "));
        canvas.polygon(&corners, colour(5));
    }
    say!("{} lines of text in {}, on {}: {time:.1} ms", regions.len(), path.display(), device.name());
    if let Some(output) = typed.path("output") {
        canvas.write(&output)?;
        say!("drawn into {}", output.display());
    }
    Ok(())
}

fn main() -> ExitCode {
    program::main("text_regions", HELP, &OPTIONS, run)
}
