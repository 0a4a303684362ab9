//! `rimlight tune`: which kernels are fastest on this device.

use clap::Args;

use super::{print, print_json};
use crate::failure::{Failure, Outcome};
use crate::flags::{DeviceFlags, InputFlags, PlanFlags, Setup};
use crate::output::{self, ms, rounded_ms};

/// Measure the kernels that a model could run by, and keep which are fastest
#[derive(Debug, Args)]
#[command(
    long_about = "Measure the kernels that a model could run by, and keep which are fastest.\n\n\
        Every node has several, of which estimates choose one. This runs the model by each of them, on the adapter that \
        is there, and writes what it found to the cache folder, if a run becomes faster by it: later commands that \
        name the folder, and programs that do, follow it, for this model and for others with nodes of the same shapes.",
    after_help = "Example:\n  rimlight tune model.onnx --cache-folder ~/.cache/rimlight"
)]
pub struct Tune {
    /// An ONNX file, or a model that is known by name
    model: String,
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

impl Tune {
    pub fn run(&self) -> Outcome {
        if self.device.cache_folder.is_none() {
            return Err(Failure::input("name a folder to keep it in: --cache-folder FOLDER"));
        }
        let (setup, model) = Setup::new(&self.model, &self.device, &self.plan, &self.inputs)?;
        let mut session = model.session_with(&setup.device, &setup.options)?;
        for (name, tensor) in &setup.inputs.tensors {
            let id = session.input(name)?;
            session.set(id, tensor.view())?;
        }
        let spinner = output::spinner("measuring");
        let tuned = session.tune();
        spinner.finish_and_clear();
        let tuned = tuned?;
        if self.json {
            let kinds = tuned.kinds.iter().map(|kind| {
                serde_json::json!({
                    "operator": kind.operator, "node": kind.node, "nodes": kind.nodes, "candidates": kind.candidates,
                    "before": kind.names.0, "after": kind.names.1,
                    "before_ms": rounded_ms(kind.times.0), "after_ms": rounded_ms(kind.times.1),
                })
            });
            return print_json(&serde_json::json!({
                "model": setup.name,
                "adapter": setup.device.name(),
                "before_ms": rounded_ms(tuned.runs.0),
                "after_ms": rounded_ms(tuned.runs.1),
                "kept": tuned.kept,
                "kinds": kinds.collect::<Vec<_>>(),
            }));
        }
        let mut kinds: Vec<_> = tuned.kinds.iter().collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.times.0));
        let mut table = output::Table::default();
        table.row(["nodes", "", "before", "", "after", ""]);
        for kind in kinds {
            let nodes = if kind.nodes == 1 { String::new() } else { format!(" and {} more", kind.nodes - 1) };
            table.row([
                format!("{} '{}'{nodes}", kind.operator, kind.node),
                format!("{} candidates", kind.candidates),
                kind.names.0.to_owned(),
                format!("{:.3} ms", ms(kind.times.0)),
                kind.names.1.to_owned(),
                format!("{:.3} ms", ms(kind.times.1)),
            ]);
        }
        print(&table.to_string())?;
        let kept = if tuned.kept { "kept" } else { "no faster, so that nothing is kept" };
        print(&format!(
            "\na run on {}: {:.2} ms before, {:.2} ms after; {kept}\n",
            setup.device.name(),
            ms(tuned.runs.0),
            ms(tuned.runs.1)
        ))
    }
}
