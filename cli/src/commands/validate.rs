//! `rimlight validate`: the device's run against the references, value by value.

use clap::Args;
use rimlight::{Model, Tolerance, Validation};

use super::{print, print_json};
use crate::failure::{Failure, Outcome};
use crate::flags::{DeviceFlags, InputFlags, PlanFlags, Setup};
use crate::output::{self, Table, thousands};

/// Compare every value of a run with the reference's, and name the first that differs
#[derive(Debug, Args)]
#[command(
    long_about = "Compare every value of a run with the reference's, and name the first that differs.\n\n\
        The reference is the graph as it is read, before any rewrite, evaluated by the operators' references in 32 bits. \
        A float may differ by atol + rtol times the largest magnitude of its channel; integers must be equal. \
        Where a value strays a little further, every step is also compared by itself, from the device's own values before it: \
        an ill-conditioned network amplifies rounding errors, and that is no fault. Exit status 1 if a value differs by more.",
    after_help = "Examples:\n  rimlight validate model.onnx --backend gpu\n  \
        rimlight validate model.onnx --inputs inputs.npz --device-class mali --precision f16"
)]
pub struct Validate {
    /// An ONNX file, or a model that is known by name
    model: String,
    /// Allowed difference relative to the channel's largest magnitude [default: 5e-5, or 1e-2 in f16]
    #[arg(long, value_parser = tolerance)]
    rtol: Option<f32>,
    /// Allowed absolute difference [default: 1e-6, or 1e-4 in f16]
    #[arg(long, value_parser = tolerance)]
    atol: Option<f32>,
    /// List every value that was compared
    #[arg(long)]
    all: bool,
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

impl Validate {
    pub fn run(&self) -> Outcome {
        let (setup, model) = Setup::new(&self.model, &self.device, &self.plan, &self.inputs)?;
        let mut tolerance = Tolerance::of(setup.precision);
        tolerance.rtol = self.rtol.unwrap_or(tolerance.rtol);
        tolerance.atol = self.atol.unwrap_or(tolerance.atol);
        let validation = validate(&setup, &model, tolerance)?;
        if self.json {
            print_json(&json(&setup, tolerance, &validation, self.all))?;
        } else {
            if self.all {
                print(&list(&validation))?;
            }
            for note in &setup.inputs.notes {
                print(&format!("  {note}\n"))?;
            }
            print(&verdict(&setup, tolerance, &validation))?;
        }
        if validation.passed() { Ok(()) } else { Err(Failure::NO) }
    }
}

fn tolerance(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|n: &f32| *n >= 0.0 && n.is_finite());
    number.ok_or_else(|| "a difference is 0 or more".to_owned())
}

/// Validates, with a sign of life.
pub fn validate(setup: &Setup, model: &Model, tolerance: Tolerance) -> Outcome<Validation> {
    let waiting = output::spinner("comparing with the references");
    let inputs = setup.inputs.borrowed();
    let validation = rimlight::validate(model, &setup.device, &setup.options, &inputs, tolerance);
    waiting.finish_and_clear();
    Ok(validation?)
}

/// What was found, in a line or some.
pub fn verdict(setup: &Setup, tolerance: Tolerance, validation: &Validation) -> String {
    let Tolerance { rtol, atol, .. } = tolerance;
    let what = format!(
        "{} in {} and the references, {} elements of {} values (rtol {rtol:.0e}, atol {atol:.0e})",
        setup.device.name(),
        setup.precision_name(),
        thousands(validation.elements()),
        validation.values.len()
    );
    let worst = validation.worst().map_or(String::new(), |worst| {
        format!(
            "  the worst: '{}' {:?} at {}: {} instead of {}, {:.1e} of its channel's largest\n",
            worst.name, worst.shape, worst.index, worst.got, worst.expected, worst.worst
        )
    });
    match validation.first_failure() {
        None if validation.values.is_empty() => format!("NOTHING TO COMPARE: {what}\n"),
        None => format!("AGREE: {what}\n{worst}{}", amplified(validation)),
        Some(first) => format!(
            "DIFFER: {what}\n  the first that differs: '{}' {:?} at {}: {} instead of {}, {:.1e} of its channel's largest\n{worst}",
            first.name, first.shape, first.index, first.got, first.expected, first.worst
        ),
    }
}

/// What is to be said of values that stray by amplified rounding errors.
fn amplified(validation: &Validation) -> String {
    match validation.amplified().count() {
        0 => String::new(),
        1 => "  1 value strays further than that by rounding errors that the network amplifies: each step by itself agrees\n"
            .to_owned(),
        n => format!(
            "  {n} values stray further than that by rounding errors that the network amplifies: each step by itself agrees\n"
        ),
    }
}

fn list(validation: &Validation) -> String {
    let mut table = Table::default();
    for value in &validation.values {
        let mark = match (value.passed, value.amplified) {
            (false, _) => "differs",
            (true, true) => "amplified rounding",
            (true, false) => "",
        };
        table.row([&value.name, &format!("{:?}", value.shape), &format!("{:.1e}", value.worst), mark]);
    }
    table.to_string()
}

fn json(setup: &Setup, tolerance: Tolerance, validation: &Validation, all: bool) -> serde_json::Value {
    let value = |v: &rimlight::session::Comparison| {
        serde_json::json!({
            "name": v.name, "shape": v.shape, "elements": v.elements, "worst": v.worst, "index": v.index,
            "got": v.got, "expected": v.expected, "passed": v.passed, "amplified": v.amplified,
        })
    };
    let mut json = serde_json::json!({
        "model": setup.name,
        "backend": setup.backend(),
        "adapter": setup.device.name(),
        "precision": setup.precision_name(),
        "rtol": tolerance.rtol,
        "atol": tolerance.atol,
        "passed": validation.passed(),
        "amplified": validation.amplified().count(),
        "values": validation.values.len(),
        "elements": validation.elements(),
        "worst": validation.worst().map(value),
        "first_failure": validation.first_failure().map(value),
    });
    if all {
        json["all"] = validation.values.iter().map(value).collect();
    }
    json
}
