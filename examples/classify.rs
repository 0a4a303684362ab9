//! Classifies pictures, on the GPU or the CPU, and shows that both agree.
//!
//! ```text
//! cargo run --release --example classify
//! cargo run --release --example classify -- --model mobilenetv2_fp32.onnx --labels models/labels/imagenet_1000.txt cat.jpg dog.jpg
//! ```
//!
//! Without arguments it takes the digits in `models/images` and the model that it embeds.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rimlight::graph::Fact;
use rimlight::image::{Picture, Preprocessing, Resize};
use rimlight::{
    Backend, Device, DeviceOptions, Error, ErrorKind, Model, Options, Precision, Session, Tensor, Tolerance,
};

const DIGITS: &[u8] = include_bytes!("../models/digits.onnx");
const MANIFEST: &str = include_str!("../models/manifest.toml");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models");

const HELP: &str = "\
Classifies pictures, on the GPU or the CPU, and shows that both agree.

usage: classify [--model MODEL.onnx] [--labels LABELS.txt] [PICTURE…]

  --model FILE      an ONNX classifier (the embedded one of digits, unless told)
  --labels FILE     the names of its classes, one to a line
  --backend NAME    auto, gpu or cpu
  --top N           how many classes to print (3, unless told)
  --json            print JSON
  --no-check        leave out the comparison of GPU and CPU at the end

How the picture becomes the model's input is known for the models in models/manifest.toml and guessed for others. It can be
given: --resize short_side|stretch|letterbox|none|digit, --short-side N, --size WxH, --channels rgb|bgr|grey,
--scale 1/255, --mean A,B,C, --std A,B,C, --layout nchw|nhwc.

example: classify --model mobilenetv2_fp32.onnx --labels models/labels/imagenet_1000.txt cat.jpg dog.jpg";

/// Prints a line. A reader who has had enough (`| head`) is no failure.
macro_rules! say {
    ($($text:tt)*) => {
        drop(writeln!(std::io::stdout(), $($text)*))
    };
}

/// What the user gets to read, and the exit code: 1 the answer is no, 2 wrong use or bad input, 3 the device failed.
struct Failure(String, u8);

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let code = if error.kind() == ErrorKind::Device { 3 } else { 2 };
        Self(error.to_string(), code)
    }
}

fn wrong<T>(message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure(message.into(), 2))
}

#[derive(Default)]
struct Arguments {
    model: Option<PathBuf>,
    labels: Option<PathBuf>,
    backend: Backend,
    top: usize,
    json: bool,
    no_check: bool,
    preprocessing: Vec<(String, String)>,
    pictures: Vec<PathBuf>,
}

/// `None` if the user asked for help.
fn arguments() -> Result<Option<Arguments>, Failure> {
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
                    return wrong(format!("--{flag} needs a value; --help lists what there is"));
                };
                let text = value.to_string_lossy().into_owned();
                match flag {
                    "model" => parsed.model = Some(value.into()),
                    "labels" => parsed.labels = Some(value.into()),
                    "top" => {
                        parsed.top = text.parse().or_else(|_| wrong(format!("--top takes a number, not '{text}'")))?
                    }
                    "backend" => {
                        parsed.backend = match text.as_str() {
                            "auto" => Backend::Auto,
                            "gpu" => Backend::Gpu,
                            "cpu" => Backend::Cpu,
                            _ => return wrong(format!("--backend is auto, gpu or cpu, not '{text}'")),
                        }
                    }
                    // The properties of the preprocessing have its own messages.
                    _ => parsed.preprocessing.push((flag.replace('-', "_"), text)),
                }
            }
        }
    }
    Ok(Some(parsed))
}

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
        Err(e) => wrong(format!("cannot read the labels '{}': {e}", path.display())),
    }
}

/// A picture's classes: probability and class, the likeliest first, and how long the model took.
struct Answer {
    input: Tensor,
    classes: Vec<(f32, usize)>,
    time: Duration,
}

fn classify(session: &mut Session, name: &str, input: Tensor) -> Result<Answer, Failure> {
    let start = Instant::now();
    let outputs = session.run_with([(name, input.view())])?;
    let time = start.elapsed();
    let Some((_, scores)) = outputs.first() else { return wrong("the model has no output") };
    let mut scores = scores.as_slice::<f32>()?.to_vec();
    // A model that ends before its softmax gives any numbers at all.
    if scores.iter().any(|s| !(0.0..=1.0).contains(s)) || (scores.iter().sum::<f32>() - 1.0).abs() > 1e-2 {
        let max = scores.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = scores.iter().map(|s| (s - max).exp()).sum();
        scores.iter_mut().for_each(|s| *s = (*s - max).exp() / sum);
    }
    let mut classes: Vec<(f32, usize)> = scores.into_iter().zip(0..).collect();
    classes.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(Answer { input, classes, time })
}

/// The digit that the model sees, two rows of pixels to a line.
fn drawing(input: &Tensor) -> Vec<String> {
    let pixels = input.as_slice::<f32>().unwrap_or_default();
    let bright = pixels.iter().copied().fold(0.0, f32::max) * 0.4;
    let lit = |x: usize, y: usize| pixels.get(y * 28 + x).is_some_and(|v| *v > bright);
    let half = |x: usize, y: usize| match (lit(x, y), lit(x, y + 1)) {
        (false, false) => ' ',
        (true, false) => '▀',
        (false, true) => '▄',
        (true, true) => '█',
    };
    let lines = (0..28).step_by(2).map(|y| (2..26).map(|x| half(x, y)).collect::<String>());
    let lines: Vec<String> = lines.collect();
    let blank = |line: &&String| line.trim().is_empty();
    let (above, below) = (lines.iter().take_while(blank).count(), lines.iter().rev().take_while(blank).count());
    lines.get(above..lines.len() - below).map_or(vec![], <[String]>::to_vec)
}

fn print_answer(path: &Path, answer: &Answer, labels: &[String], top: usize, drawing: &[String]) {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let mut lines = vec![format!("{name}, {:.2} ms", answer.time.as_secs_f64() * 1e3), String::new()];
    for (probability, class) in answer.classes.iter().take(top) {
        let label = labels.get(*class).map_or_else(|| class.to_string(), |l| l.chars().take(28).collect());
        let filled = (probability * 30.0).round() as usize;
        let bar = "█".repeat(filled) + &"·".repeat(30usize.saturating_sub(filled));
        lines.push(format!("{label:>28}  {bar} {:5.1} %", probability * 100.0));
    }
    if drawing.is_empty() {
        lines.remove(1);
        say!("{}\n", lines.join("\n"));
        return;
    }
    // A digit's label is short: the bars stand beside the drawing.
    let beside = (drawing.len().saturating_sub(lines.len())) / 2;
    let nothing = " ".repeat(24);
    for i in 0..drawing.len().max(lines.len()) {
        let left = drawing.get(i).unwrap_or(&nothing);
        let right = i.checked_sub(beside).and_then(|i| lines.get(i)).map_or("", |line| line.trim_start());
        say!("{}", format!("  {left}   {right}").trim_end());
    }
    say!();
}

/// How long GPU and CPU are compared: of many or large pictures the first ones must do.
const CHECK: Duration = Duration::from_secs(10);

/// GPU and CPU, compared at every value that both keep, picture after picture.
struct Agreement {
    gpu: String,
    values: usize,
    pictures: usize,
    /// The largest difference, as a part of the largest magnitude of its channel.
    worst: f32,
    /// The first value that differs by more than is allowed.
    failure: Option<String>,
}

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
        None => (Model::from_bytes(DIGITS)?, "digits.onnx".into()),
        Some(path) => (Model::open(path)?, path.file_name().unwrap_or_default().to_string_lossy()),
    };
    let pictures = match arguments.pictures.as_slice() {
        [] if arguments.model.is_some() => return wrong("which pictures? give their files after the options"),
        [] => (0..10).map(|digit| Path::new(FOLDER).join(format!("images/digit_{digit}.png"))).collect(),
        given => given.to_vec(),
    };
    let (Some(port), 1) = (model.inputs().next(), model.inputs().len()) else {
        return wrong(format!("a classifier has one input, but {file} has {}", model.inputs().len()));
    };
    let Some(fact) = port.fact else { return wrong(format!("nothing is known of the input '{}'", port.name)) };
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
            let drawing = if how.resize == Resize::Digit { drawing(&answer.input) } else { vec![] };
            print_answer(path, &answer, &labels, arguments.top, &drawing);
        }
        answers.push(answer);
    }
    let mut times: Vec<Duration> = answers.iter().map(|answer| answer.time).collect();
    times.sort();
    let median = times[times.len() / 2];

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
        print_json(&file, &device, &pictures, &answers, &labels, arguments.top, &agreement);
        return Ok(agree);
    }
    say!(
        "{file} on {}: loaded in {:.0} ms, {:.2} ms a picture (median of {})",
        device.name(),
        load.as_secs_f64() * 1e3,
        median.as_secs_f64() * 1e3,
        times.len()
    );
    match &agreement {
        Err(reason) => say!("GPU and CPU were not compared: {reason}"),
        Ok(Agreement { gpu, values, pictures, worst, failure: None }) => say!(
            "{gpu} and the CPU agree on all {values} values of {pictures} picture{}; the worst differs by {worst:.1e} of its channel's largest",
            if *pictures == 1 { "" } else { "s" }
        ),
        Ok(Agreement { gpu, worst, failure: Some(name), .. }) => {
            say!("{gpu} and the CPU DIFFER, first at '{name}', the worst by {worst:.1e} of its channel's largest");
        }
    }
    Ok(agree)
}

fn print_json(
    file: &str,
    device: &Device,
    pictures: &[PathBuf],
    answers: &[Answer],
    labels: &[String],
    top: usize,
    agreement: &Result<Agreement, String>,
) {
    let class = |&(probability, class): &(f32, usize)| serde_json::json!({ "class": class, "label": labels.get(class), "probability": probability });
    let picture = |(path, answer): (&PathBuf, &Answer)| {
        serde_json::json!({
            "picture": path,
            "ms": answer.time.as_secs_f64() * 1e3,
            "top": answer.classes.iter().take(top).map(class).collect::<Vec<_>>(),
        })
    };
    let check = match agreement {
        Ok(a) => serde_json::json!({
            "gpu": a.gpu, "agree": a.failure.is_none(), "values": a.values, "pictures": a.pictures, "worst": a.worst,
            "first_difference": a.failure,
        }),
        Err(reason) => serde_json::json!({ "agree": null, "reason": reason }),
    };
    let pictures: Vec<_> = pictures.iter().zip(answers).map(picture).collect();
    let all = serde_json::json!({ "model": file, "device": device.name(), "pictures": pictures, "check": check });
    say!("{all:#}");
}

fn main() -> ExitCode {
    let outcome = arguments().and_then(|arguments| match arguments {
        None => {
            say!("{HELP}");
            Ok(true)
        }
        Some(arguments) => run(&arguments),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Failure(message, code)) => {
            eprintln!("classify: {message}");
            ExitCode::from(code)
        }
    }
}
