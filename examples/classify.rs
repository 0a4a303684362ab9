//! Classifies pictures, on the GPU or the CPU, and shows that both agree.
//!
//! ```text
//! cargo run --release --example classify
//! cargo run --release --example classify -- --model mobilenetv2_fp32.onnx --labels models/labels/imagenet_1000.txt cat.jpg dog.jpg
//! ```
//!
//! Without arguments it takes the digits in `models/images` and the model that it embeds.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rimlight::graph::Fact;
use rimlight::image::{Picture, Preprocessing, Resize, classes};
use rimlight::{Device, DeviceOptions, Model, Options, Precision, Session, Tensor, Tolerance};

const DIGITS: &[u8] = include_bytes!("../models/digits.onnx");
const MANIFEST: &str = include_str!("../models/manifest.toml");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models");

#[path = "classify/arguments.rs"]
mod arguments;
#[path = "classify/print.rs"]
mod print;
#[path = "program/mod.rs"]
mod program;

use arguments::Arguments;
use print::{Agreement, Answer};
use program::{Failure, say, wrong};

/// The manifest's entry for a model's file.
fn known(file: &str) -> Result<Option<toml::Table>, Failure> {
    let manifest: toml::Table = MANIFEST.parse().map_err(|e| Failure(format!("models/manifest.toml: {e}"), 2))?;
    let models = manifest.get("model").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let tables = models.into_iter().filter_map(|model| model.try_into::<toml::Table>().ok());
    Ok(tables.into_iter().find(|model| model.get("file").and_then(toml::Value::as_str) == Some(file)))
}

/// How the model's input wants its picture: what the manifest says, or the likely way, and then what the user says.
fn preprocessing(
    known: Option<&toml::Table>,
    input: &Fact,
    given: &[(String, String)],
) -> Result<Preprocessing, Failure> {
    let mut how = Preprocessing::for_input(input)?;
    let table = known.and_then(|model| model.get("preprocessing")).and_then(toml::Value::as_table);
    for (property, value) in table.into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        how.set(property, &text)?;
    }
    for (property, value) in given {
        how.set(property, value)?;
    }
    Ok(how)
}

fn labels(given: Option<&Path>, known: Option<&toml::Table>) -> Result<Vec<String>, Failure> {
    let named = known.and_then(|model| model.get("labels")).and_then(toml::Value::as_str);
    let path = match (given, named) {
        (Some(path), _) => path.to_owned(),
        (None, Some(name)) if Path::new(FOLDER).join(name).exists() => Path::new(FOLDER).join(name),
        _ => return Ok(vec![]),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(e) => Err(wrong(format!("cannot read the labels '{}': {e}", path.display()))),
    }
}

fn classify(session: &mut Session, name: &str, input: Tensor) -> Result<Answer, Failure> {
    let start = Instant::now();
    let outputs = session.run_with([(name, input.view())])?;
    let time = start.elapsed();
    let Some((_, scores)) = outputs.first() else { return Err(wrong("the model has no output")) };
    let classes = classes(scores)?;
    Ok(Answer { input, classes, time })
}

/// How long GPU and CPU are compared: of many or large pictures the first ones must do.
const CHECK: Duration = Duration::from_secs(10);

fn compare(
    model: &Model,
    gpu: &Device,
    options: &Options,
    name: &str,
    answers: &[Answer],
) -> Result<Agreement, Failure> {
    let mut found = Agreement { gpu: gpu.name(), values: 0, pictures: 0, worst: 0.0, failure: None };
    let start = Instant::now();
    for answer in answers.iter().take_while(|_| start.elapsed() < CHECK) {
        let tolerance = Tolerance::of(Precision::F32);
        let validation = rimlight::validate(model, gpu, options, &[(name, &answer.input)], tolerance)?;
        found.values += validation.elements();
        found.pictures += 1;
        found.worst = found.worst.max(validation.worst().map_or(0.0, |value| value.worst));
        found.failure = found.failure.or_else(|| validation.first_failure().map(|value| value.name.clone()));
    }
    Ok(found)
}

fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let (model, file) = match &arguments.model {
        None => (Model::from_bytes(DIGITS)?, "digits.onnx".to_owned()),
        Some(name) => {
            let path = program::model_file(name)?;
            (Model::open(&path)?, path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        }
    };
    let pictures = match arguments.pictures.as_slice() {
        [] if arguments.model.is_some() => return Err(wrong("which pictures? give their files after the options")),
        [] => (0..10).map(|digit| Path::new(FOLDER).join(format!("images/digit_{digit}.png"))).collect(),
        given => given.to_vec(),
    };
    let (Some(port), 1) = (model.inputs().next(), model.inputs().len()) else {
        return Err(wrong(format!("a classifier has one input, but {file} has {}", model.inputs().len())));
    };
    let Some(fact) = port.fact else { return Err(wrong(format!("nothing is known of the input '{}'", port.name))) };
    let known = known(&file)?;
    let how = preprocessing(known.as_ref(), fact, &arguments.preprocessing)?;
    let labels = labels(arguments.labels.as_deref(), known.as_ref())?;

    let mut wanted = DeviceOptions::default();
    wanted.backend = arguments.backend;
    let device = Device::new(&wanted)?;
    // One picture at a time: a batch that the model leaves open is 1.
    let options = match fact.shape.first() {
        Some(batch) if batch.known().is_none() => Options::new().dim(batch.to_string(), 1),
        _ => Options::new(),
    };
    let start = Instant::now();
    let mut session = model.session_with(&device, &options)?;
    let load = start.elapsed();

    let mut answers = vec![];
    for path in &pictures {
        let input = how.tensor(&Picture::open(path)?, fact)?;
        let answer = classify(&mut session, port.name, input)?;
        if !arguments.json {
            let drawing = if how.resize == Resize::Digit { print::drawing(&answer.input) } else { vec![] };
            print::answer(path, &answer, &labels, arguments.top, &drawing);
        }
        answers.push(answer);
    }
    // Any GPU will do for the promise, one in software too, and the one that was used first of all.
    let gpu = match (arguments.no_check, device.is_gpu()) {
        (true, _) => Err("left out".to_owned()),
        (false, true) => Ok(device.clone()),
        (false, false) => Device::gpu().map_err(|e| e.to_string()),
    };
    let agreement = match gpu {
        Ok(gpu) => Ok(compare(&model, &gpu, &options, port.name, &answers)?),
        Err(reason) => Err(reason),
    };
    let agree = agreement.as_ref().map_or(true, |a| a.failure.is_none());
    if arguments.json {
        print::json(&file, &device, &pictures, &answers, &labels, arguments.top, &agreement);
        return Ok(agree);
    }
    print::summary(&file, &device, load, &answers, &agreement);
    Ok(agree)
}

fn main() -> ExitCode {
    let outcome = arguments::parse().and_then(|arguments| match arguments {
        None => {
            say!("{}", arguments::HELP);
            Ok(true)
        }
        Some(arguments) => run(&arguments),
    });
    program::exit("classify", outcome)
}
