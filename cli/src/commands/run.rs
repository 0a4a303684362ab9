//! `rimlight run`: one inference.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use rimlight::Tensor;

use super::{print, print_json};
use crate::arrays;
use crate::failure::Outcome;
use crate::flags::{DeviceFlags, InputFlags, PlanFlags, Setup};
use crate::output::{self, Table, ms, rounded_ms};

/// Run a model once and show or keep its outputs
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rimlight run squeezenet1.0.onnx --input data=cat.jpg --output out.npz\n  \
    rimlight run model.onnx --inputs inputs.npz --backend gpu --json")]
pub struct Run {
    /// An ONNX file, or a model that is known by name
    model: String,
    /// Keep the outputs in this .npz file, by their names
    #[arg(long, value_name = "FILE.npz")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    inputs: InputFlags,
    #[command(flatten)]
    plan: PlanFlags,
    #[command(flatten)]
    device: DeviceFlags,
}

impl Run {
    pub fn run(&self) -> Outcome {
        let (setup, model) = Setup::new(&self.model, &self.device, &self.plan, &self.inputs)?;
        let waiting = output::spinner("loading");
        let start = Instant::now();
        let mut session = model.session_with(&setup.device, &setup.options)?;
        let loaded = start.elapsed();
        waiting.set_message("running");
        let start = Instant::now();
        for (name, tensor) in &setup.inputs.tensors {
            session.set(session.input(name)?, tensor.view())?;
        }
        session.run()?;
        let time = start.elapsed();
        let mut outputs = vec![];
        for port in model.outputs() {
            arrays::flatten(port.name, session.get_value(session.output(port.name)?)?, &mut outputs);
        }
        waiting.finish_and_clear();
        if let Some(path) = &self.output {
            arrays::write_npz(path, &outputs)?;
        }
        if self.json {
            return print_json(&serde_json::json!({
                "model": setup.name,
                "backend": setup.backend(),
                "adapter": setup.device.name(),
                "precision": setup.precision_name(),
                "load_ms": rounded_ms(loaded),
                "run_ms": rounded_ms(time),
                "notes": setup.inputs.notes,
                "outputs": outputs.iter().map(describe).collect::<Vec<_>>(),
            }));
        }
        print(&format!("on {}: loaded in {:.1} ms, ran in {:.2} ms\n", setup.device.name(), ms(loaded), ms(time)))?;
        for note in &setup.inputs.notes {
            print(&format!("  {note}\n"))?;
        }
        print(&summary(&outputs))?;
        match &self.output {
            Some(path) => print(&format!("written to '{}'\n", path.display())),
            None => Ok(()),
        }
    }
}

/// The outputs with their shapes and the range of what they hold.
pub fn summary(outputs: &[(String, Tensor)]) -> String {
    let mut table = Table::default();
    for (name, tensor) in outputs {
        let shape = format!("{}{:?}", tensor.element_type(), tensor.shape());
        let figures = match tensor.as_slice::<f32>() {
            Ok(values) if !values.is_empty() => {
                let low = values.iter().copied().fold(f32::INFINITY, f32::min);
                let (at, high) = largest(values);
                format!("from {low:.4} to {high:.4}, the largest at {at}")
            }
            _ => String::new(),
        };
        table.row([name, &shape, &figures]);
    }
    table.to_string()
}

fn largest(values: &[f32]) -> (usize, f32) {
    let first = (0, f32::NEG_INFINITY);
    values.iter().copied().enumerate().fold(first, |best, here| if here.1 > best.1 { here } else { best })
}

fn describe((name, tensor): &(String, Tensor)) -> serde_json::Value {
    let mut value = serde_json::json!({
        "name": name, "type": tensor.element_type().name(), "shape": tensor.shape(),
    });
    if let Ok(values) = tensor.as_slice::<f32>() {
        let (at, high) = largest(values);
        value["min"] = values.iter().copied().fold(f32::INFINITY, f32::min).into();
        value["max"] = high.into();
        value["argmax"] = at.into();
    }
    // Small outputs are what somebody wants to read.
    if tensor.len() <= 16 {
        value["values"] = format!("{tensor:?}").into();
        if let Ok(values) = tensor.as_slice::<f32>() {
            value["values"] = values.into();
        } else if let Ok(values) = tensor.as_slice::<i64>() {
            value["values"] = values.into();
        }
    }
    value
}
