//! What a compression did, as a table and as JSON.

use std::path::Path;

use rimlight::Device;
use rimlight::compress::{Change, Quantized, Stored};
use serde_json::json;

use super::Done;
use super::figures::{Figures, Measured};
use super::sets::{Origin, Sets};
use crate::output::{Table, ms, operations, rounded_ms, thousands};

/// How many layers are listed, those that changed most.
const LISTED: usize = 8;

/// What is to be told.
pub struct Report<'a> {
    pub name: &'a str,
    pub output: &'a Path,
    pub device: &'a Device,
    pub done: &'a Done,
    pub sets: &'a Sets,
    pub figures: Measured,
}

impl Report<'_> {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = self.figures();
        if let Some(pruned) = &self.done.pruned {
            let (gone, all) = (pruned.zeros(), pruned.weights());
            let part = gone as f64 / all.max(1) as f64 * 100.0;
            text.push_str(&format!(
                "\n{} of {} weights of {} layers are zero or gone ({part:.1} %)\n",
                thousands(gone),
                thousands(all),
                pruned.layers.len()
            ));
        }
        if let Some(quantized) = &self.done.quantized {
            text.push_str(&self.stored(quantized));
        }
        if let Some(packed) = self.done.packed.as_ref().filter(|packed| packed.constants > 0) {
            text.push_str(&format!(
                "\nzeros of {} constants are packed: {:.1} kB are {:.1} kB\n",
                packed.constants,
                packed.before as f64 / 1e3,
                packed.after as f64 / 1e3
            ));
        }
        if let Some(why) = &self.done.plain {
            text.push_str(&format!("\nzeros are stored as numbers: {why}\n"));
        }
        text.push_str(&self.changes());
        text.push_str(&format!("\nwritten to '{}'\n", self.output.display()));
        text
    }

    fn figures(&self) -> String {
        let [before, after] = &self.figures.figures;
        let mut table = Table::default();
        table.row([self.name, "before", "after", ""]);
        let mut row = |name: &str, text: [String; 2], numbers: [f64; 2]| {
            let ratio =
                if numbers[0] > 0.0 { format!("{:.1} %", numbers[1] / numbers[0] * 100.0) } else { String::new() };
            let [before, after] = text;
            table.row([name.to_owned(), before, after, ratio]);
        };
        let pair = |f: fn(&Figures) -> f64| [f(before), f(after)];
        let kilobytes = |bytes: f64| format!("{:.1} kB", bytes / 1e3);
        for (name, bytes) in [("file", pair(|f| f.file as f64)), ("memory", pair(|f| f.memory as f64))] {
            row(name, bytes.map(kilobytes), bytes);
        }
        let count = |n: f64| thousands(n as usize);
        let not_zero = pair(|f| f.not_zero as f64);
        row("numbers that are not zero", not_zero.map(count), not_zero);
        let work = pair(|f| f.work);
        row("work", work.map(operations), work);
        let time = pair(|f| ms(f.run));
        row("run", time.map(|t| format!("{t:.3} ms")), time);
        if let Some(evaluation) = &self.figures.evaluation
            && let Some(accuracy) = evaluation.accuracy()
        {
            let percent = accuracy.map(|a| format!("{:.1} %", a * 100.0));
            let [a, b] = accuracy;
            let [before, after] = percent;
            table.row([
                &format!("right of {}", evaluation.labelled),
                &before,
                &after,
                &format!("{:+.1} points", (b - a) * 100.0),
            ]);
            table.row(["same answer", "", &format!("{:.1} %", evaluation.agreement() * 100.0), ""]);
        }
        format!("on {}\n{table}", self.device.name())
    }

    /// How layers are stored now: how many in each way, and which were left.
    fn stored(&self, quantized: &Quantized) -> String {
        let mut counts: Vec<(Stored, usize)> = vec![];
        for layer in &quantized.layers {
            match counts.iter_mut().find(|(stored, _)| *stored == layer.stored) {
                Some((_, count)) => *count += 1,
                None => counts.push((layer.stored, 1)),
            }
        }
        let counts: Vec<String> = counts.iter().map(|(stored, n)| format!("{n} in {}", stored.name())).collect();
        let mut text = format!("\nlayers: {}; operator set {}", counts.join(", "), quantized.opset);
        if let Some(range) = quantized.range {
            text.push_str(&format!("; ranges by {}", range.name()));
        }
        if quantized.equalized > 0 {
            text.push_str(&format!("; channels of {} equalized", quantized.equalized));
        }
        if let Some(loss) = quantized.loss {
            text.push_str(&format!("; loss {loss:.4}"));
        }
        text.push('\n');
        let left = quantized.layers.iter().filter(|layer| layer.stored == Stored::Floats);
        let left: Vec<&str> = left.map(|layer| layer.name.as_str()).take(LISTED).collect();
        if !left.is_empty() {
            text.push_str(&format!("  in f32: {}\n", left.join(", ")));
        }
        text
    }

    fn changes(&self) -> String {
        let changes = &self.figures.changes;
        let of = match self.sets.origin {
            Origin::Calibrate => "calibrated with",
            Origin::Evaluate => "evaluated on",
            Origin::Random => "of random numbers: give real ones with --calibrate",
        };
        let samples = if changes.samples == 1 { "sample" } else { "samples" };
        let mut text =
            format!("\nchanges on {} {samples} {of}, relative to the value's root mean square\n", changes.samples);
        let mut table = Table::default();
        let line = |table: &mut Table, what: &str, change: &Change| {
            table.row([
                what,
                &change.value,
                &format!("{:.2e}", change.relative),
                &format!("largest {:.3e}", change.largest),
                &format!("cosine {:.6}", change.cosine),
            ]);
        };
        for change in &changes.outputs {
            line(&mut table, "output", change);
        }
        for change in changes.layers.iter().take(LISTED) {
            line(&mut table, "layer", change);
        }
        text.push_str(&table.to_string());
        if changes.layers.len() > LISTED {
            text.push_str(&format!("  and {} layers that changed less\n", changes.layers.len() - LISTED));
        }
        text
    }

    /// For machines.
    pub fn json(&self) -> serde_json::Value {
        let figures = |figures: &Figures| {
            json!({
                "file_bytes": figures.file, "memory_bytes": figures.memory, "constants": figures.weights,
                "not_zero": figures.not_zero, "work": figures.work, "run_ms": rounded_ms(figures.run),
            })
        };
        let [before, after] = &self.figures.figures;
        let changes = &self.figures.changes;
        let mut json = json!({
            "model": self.name,
            "output": self.output.display().to_string(),
            "adapter": self.device.name(),
            "before": figures(before),
            "after": figures(after),
            "samples": { "from": self.sets.origin.name(), "count": changes.samples },
            "outputs": changes.outputs.iter().map(change).collect::<Vec<_>>(),
            "layers": changes.layers.iter().map(change).collect::<Vec<_>>(),
        });
        if let Some(pruned) = &self.done.pruned {
            let layer = |layer: &rimlight::compress::PrunedLayer| json!({ "layer": layer.name, "before": layer.shapes[0], "after": layer.shapes[1], "zeros": layer.zeros });
            json["pruned"] = json!({
                "weights": pruned.weights(), "zeros": pruned.zeros(),
                "layers": pruned.layers.iter().map(layer).collect::<Vec<_>>(),
            });
        }
        if let Some(quantized) = &self.done.quantized {
            let layer = |layer: &rimlight::compress::QuantizedLayer| json!({ "layer": layer.name, "operator": layer.operator, "stored": layer.stored.name() });
            json["quantized"] = json!({
                "opset": quantized.opset, "loss": quantized.loss,
                "range": quantized.range.map(rimlight::compress::Range::name), "equalized": quantized.equalized,
                "layers": quantized.layers.iter().map(layer).collect::<Vec<_>>(),
            });
        }
        if let Some(packed) = &self.done.packed {
            json["packed"] =
                json!({ "constants": packed.constants, "before_bytes": packed.before, "after_bytes": packed.after });
        }
        if let Some(evaluation) = &self.figures.evaluation {
            json["evaluation"] = json!({
                "samples": evaluation.samples, "labelled": evaluation.labelled, "left_out": self.sets.left_out,
                "right_before": evaluation.right[0], "right_after": evaluation.right[1], "same": evaluation.agree,
                "accuracy_before": evaluation.accuracy().map(|a| a[0]), "accuracy_after": evaluation.accuracy().map(|a| a[1]),
            });
        }
        json
    }
}

fn change(change: &Change) -> serde_json::Value {
    json!({
        "value": change.value, "layer": change.layer, "relative": change.relative, "largest": change.largest,
        "cosine": change.cosine,
    })
}
