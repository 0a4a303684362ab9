//! `rimlight try`: everything about a model at once.

use std::time::Instant;

use clap::Args;
use rimlight::Tolerance;

use super::{bench, inspect, print, run, validate};
use crate::failure::{Failure, Outcome};
use crate::flags::{DeviceFlags, InputFlags, PlanFlags, Setup};
use crate::output::ms;
use crate::program;

/// The first thing to type: inspect, run, validate and measure a model, one verdict, and a program to paste
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rimlight try digits\n  rimlight try model.onnx --input photo.jpg")]
pub struct Try {
    /// An ONNX file, or a model that is known by name
    model: String,
    #[command(flatten)]
    inputs: InputFlags,
    #[command(flatten)]
    plan: PlanFlags,
    #[command(flatten)]
    device: DeviceFlags,
}

impl Try {
    pub fn run(&self) -> Outcome {
        let (setup, model) = Setup::new(&self.model, &self.device, &self.plan, &self.inputs)?;
        print(&inspect::summary(&setup.name, &model))?;
        let plan = model.plan_for(&setup.device, &setup.options, &setup.inputs.borrowed())?;
        print(&inspect::planned(&plan, &setup.device, &setup.inputs.notes))?;
        if !setup.device.is_gpu() {
            print(&format!("  {}\n", setup.device.choice().replace('\n', "\n  ")))?;
        }

        print("\nrun\n")?;
        for note in &setup.inputs.notes {
            print(&format!("  {note}\n"))?;
        }
        let start = Instant::now();
        let mut session = model.session_with(&setup.device, &setup.options)?;
        let views = setup.inputs.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.view()));
        let outputs = session.run_with(views)?;
        print(&format!("  first result after {:.0} ms\n{}", ms(start.elapsed()), run::summary(&outputs)))?;
        drop(session);

        print("\nvalidate\n")?;
        let tolerance = Tolerance::of(setup.precision);
        let validation = validate::validate(&setup, &model, tolerance)?;
        print(&format!("  {}", validate::verdict(&setup, tolerance, &validation)))?;

        print("\nbench\n")?;
        let (measured, _) = bench::measure(&setup, 2, 10, std::time::Duration::MAX)?;
        print(&format!("  {:.2} ms a run on {} (median of 10)\n", ms(measured.median()), setup.device.name()))?;

        let hosts = plan.schedule().map_or(0, |schedule| schedule.summary.host_nodes);
        let verdict = match (validation.passed(), hosts) {
            (false, _) => "NO: it runs, but a value differs from the reference; please report the model".to_owned(),
            (true, 0) => format!("YES: it runs, all of it on {}, and every value agrees", setup.device.name()),
            (true, n) => format!("YES, with {n} nodes on the host: it runs, and every value agrees"),
        };
        print(&format!(
            "\n{verdict}\n\nAs a program, with `rimlight = \"{}\"` in Cargo.toml:\n\n",
            env!("CARGO_PKG_VERSION")
        ))?;
        let path = setup.known.as_ref().map_or(&setup.name, |known| &known.file);
        print(&program::program(&model, path, &setup.inputs.tensors))?;
        if validation.passed() { Ok(()) } else { Err(Failure::NO) }
    }
}
