//! `rimlight conformance`: folders in the form of ONNX's backend tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{print, print_json};
use crate::conformance::{self, Bounds, Counts, End, Expectations, Ran, Row, readme};
use crate::failure::{Failure, Outcome};
use crate::flags::DeviceFlags;
use crate::output;

/// Run ONNX backend tests: folders of model.onnx and test_data_set_*
#[derive(Debug, Args)]
#[command(
    long_about = "Run ONNX backend tests: folders with `model.onnx` and `test_data_set_*/input_*.pb, output_*.pb`, one or \
        a tree of them.\n\nAn element may differ by atol + rtol times the expected one, as in the standard's own runner. \
        Tests share one device and run several at a time, on OpenGL one. On a GPU it is counted how many of them had nodes on the host.\n\n\
        Exit status 1 if a test fails; a model that is refused when it is loaded is unsupported, not a failure.",
    after_help = "Example: rimlight conformance onnx/backend/test/data/node --backend gpu"
)]
pub struct Conformance {
    /// Folders of tests, or of folders of tests
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Allowed difference relative to the expected element
    #[arg(long, default_value_t = 1e-3)]
    rtol: f64,
    /// Allowed absolute difference
    #[arg(long, default_value_t = 1e-7)]
    atol: f64,
    /// Seconds that one test may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Only tests whose name holds this
    #[arg(long, value_name = "SUBSTRING")]
    only: Option<String>,
    /// What is expected of each test: the exit status is 1 where one ends in another way, passing included
    #[arg(long, value_name = "FILE.toml", conflicts_with = "only")]
    expectations: Option<PathBuf>,
    /// Write what is found into the file of expectations
    #[arg(long, requires = "expectations")]
    write: bool,
    /// Write the counts into the marked table of a text
    #[arg(long, value_name = "FILE.md", conflicts_with = "only")]
    readme: Option<PathBuf>,
    /// Print JSON, every test in it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

impl Conformance {
    pub fn run(&self) -> Outcome {
        let mut tests = vec![];
        for folder in &self.folders {
            if !folder.is_dir() {
                return Err(Failure::file(folder, "there is no such folder"));
            }
            tests.extend(conformance::find(folder));
        }
        let wanted = |test: &PathBuf| self.only.as_deref().is_none_or(|only| conformance::name(test).contains(only));
        tests.retain(wanted);
        if tests.is_empty() {
            return Err(Failure::input(
                "there is no test: none of the folders has a model.onnx beside a test_data_set_0",
            ));
        }
        let list = match &self.expectations {
            Some(path) => Expectations::read(&read(path)?).map_err(|e| Failure::file(path, e))?,
            None => Expectations::default(),
        };
        let device = self.device.device(false)?;
        let bar = output::progress(tests.len() as u64, "testing", false);
        let bounds = Bounds { relative: self.rtol, absolute: self.atol };
        let rows = conformance::run(&tests, &device, bounds, Duration::from_secs(self.timeout), &|_| bar.inc(1));
        bar.finish_and_clear();
        let counts = Counts::new(&rows);
        if self.json {
            print_json(&json(&device.name(), &counts, &rows))?;
        } else {
            for row in &rows {
                if let End::Failed(reason) = &row.end {
                    print(&format!("failed: {}: {reason}\n", row.name))?;
                }
            }
            print(&format!("{counts}\n"))?;
        }
        if let Some(path) = &self.readme {
            let text = readme::updated(&read(path)?, &rows, Ran::on(&device).name());
            write(path, &text.map_err(|e| Failure::file(path, e))?)?;
        }
        match &self.expectations {
            Some(path) if self.write => write(path, &list.updated(&rows, Ran::on(&device)).text()),
            Some(_) => match list.differences(&rows, Ran::on(&device)).join("\n") {
                none if none.is_empty() => Ok(()),
                differences => Err(Failure::no(format!("not as expected:\n{differences}"))),
            },
            None if counts.failed == 0 => Ok(()),
            None => Err(Failure::NO),
        }
    }
}

fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|e| Failure::file(path, e))
}

fn write(path: &Path, text: &str) -> Outcome {
    std::fs::write(path, text).map_err(|e| Failure::file(path, e))
}

fn json(adapter: &str, counts: &Counts, rows: &[Row]) -> serde_json::Value {
    let places = counts.places.map(|p| {
        serde_json::json!({ "gpu_alone": p.gpu, "nothing_left_to_do": p.nothing, "with_nodes_on_the_host": p.host })
    });
    serde_json::json!({
        "adapter": adapter,
        "passed": counts.passed,
        "failed": counts.failed,
        "unsupported": counts.unsupported,
        "places": places,
        "tests": rows.iter().map(test).collect::<Vec<_>>(),
    })
}

fn test(row: &Row) -> serde_json::Value {
    let (result, unsupported, reason, work) = match &row.end {
        End::Passed(work) => ("passed", None, None, work.as_ref()),
        End::Failed(reason) => ("failed", None, Some(reason), None),
        End::Unsupported(listed, reason) => ("unsupported", Some(listed.name()), Some(reason), None),
    };
    let host = work.map(|work| {
        let node = |n: &conformance::HostNode| serde_json::json!({ "operator": n.operator, "reason": n.reason });
        work.host.iter().map(node).collect::<Vec<_>>()
    });
    serde_json::json!({
        "test": row.name,
        "folder": row.folder,
        "result": result,
        "unsupported": unsupported,
        "reason": reason,
        "dispatches": work.map(|work| work.dispatches),
        "host": host,
    })
}
