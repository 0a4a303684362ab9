//! What the user sees.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rimlight::{Device, Tensor};

use super::program::{median, say};

/// A picture's classes: probability and class, the likeliest first, and how long the model took.
pub struct Answer {
    pub input: Tensor,
    pub classes: Vec<(f32, usize)>,
    pub time: Duration,
}

/// GPU and CPU, compared at every value that both keep, picture after picture.
pub struct Agreement {
    pub gpu: String,
    pub values: usize,
    pub pictures: usize,
    /// The largest difference, as a part of the largest magnitude of its channel.
    pub worst: f32,
    /// The first value that differs by more than is allowed.
    pub failure: Option<String>,
}

/// The digit that the model sees, two rows of pixels to a line.
pub fn drawing(input: &Tensor) -> Vec<String> {
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

pub fn answer(path: &Path, answer: &Answer, labels: &[String], top: usize, drawing: &[String]) {
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

/// The last lines: the model, the device, the time, and whether GPU and CPU agree.
pub fn summary(file: &str, device: &Device, load: Duration, answers: &[Answer], agreement: &Result<Agreement, String>) {
    let median = median(answers.iter().map(|answer| answer.time).collect());
    say!(
        "{file} on {}: loaded in {:.0} ms, {:.2} ms a picture (median of {})",
        device.name(),
        load.as_secs_f64() * 1e3,
        median,
        answers.len()
    );
    match agreement {
        Err(reason) => say!("GPU and CPU were not compared: {reason}"),
        Ok(Agreement { gpu, values, pictures, worst, failure: None }) => say!(
            "{gpu} and the CPU agree on all {values} values of {pictures} picture{}; the worst differs by {worst:.1e} of its channel's largest",
            if *pictures == 1 { "" } else { "s" }
        ),
        Ok(Agreement { gpu, worst, failure: Some(name), .. }) => {
            say!("{gpu} and the CPU DIFFER, first at '{name}', the worst by {worst:.1e} of its channel's largest");
        }
    }
}

/// Everything, for machines.
pub fn json(
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
