//! The command line.

use std::path::PathBuf;

use rimlight::Backend;

use super::program::{self, Failure, wrong};

pub const HELP: &str = "\
Classifies pictures, on the GPU or the CPU, and shows that both agree.

usage: classify [--model MODEL.onnx] [--labels LABELS.txt] [PICTURE…]

  --model NAME      an ONNX classifier, by its file or as `rimlight models` knows it (the embedded one of digits, unless told)
  --labels FILE     the names of its classes, one to a line
  --backend NAME    auto, gpu or cpu
  --top N           how many classes to print (3, unless told)
  --json            print JSON
  --no-check        leave out the comparison of GPU and CPU at the end

How the picture becomes the model's input is known for the models in models/manifest.toml and guessed for others. It can be
given: --resize short_side|stretch|letterbox|none|digit, --short-side N, --size WxH, --channels rgb|bgr|grey,
--scale 1/255, --mean A,B,C, --std A,B,C, --layout nchw|nhwc.

example: classify --model mobilenetv2_fp32 --labels models/labels/imagenet_1000.txt cat.jpg dog.jpg";

/// What the user typed.
#[derive(Default)]
pub struct Arguments {
    pub model: Option<String>,
    pub labels: Option<PathBuf>,
    pub backend: Backend,
    pub top: usize,
    pub json: bool,
    pub no_check: bool,
    pub preprocessing: Vec<(String, String)>,
    pub pictures: Vec<PathBuf>,
}

/// `None` if the user asked for help.
pub fn parse() -> Result<Option<Arguments>, Failure> {
    let mut parsed = Arguments { top: 3, ..Arguments::default() };
    let mut given = std::env::args_os().skip(1);
    while let Some(argument) = given.next() {
        let Some(flag) = argument.to_str().and_then(|text| text.strip_prefix("--")) else {
            parsed.pictures.push(argument.into());
            continue;
        };
        let (flag, attached) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value.into())),
            None => (flag, None),
        };
        match flag {
            "help" => return Ok(None),
            "json" => parsed.json = true,
            "no-check" => parsed.no_check = true,
            _ => {
                let Some(value) = attached.or_else(|| given.next()) else {
                    return Err(wrong(format!("--{flag} needs a value; --help lists what there is")));
                };
                let text = value.to_string_lossy().into_owned();
                match flag {
                    "model" => parsed.model = Some(text),
                    "labels" => parsed.labels = Some(value.into()),
                    "top" => {
                        parsed.top = text.parse().map_err(|_| wrong(format!("--top takes a number, not '{text}'")))?
                    }
                    "backend" => parsed.backend = program::backend(&text)?,
                    // The properties of the preprocessing have its own messages.
                    _ => parsed.preprocessing.push((flag.replace('-', "_"), text)),
                }
            }
        }
    }
    Ok(Some(parsed))
}
