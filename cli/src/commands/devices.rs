//! `rimlight devices`: the adapters of this machine, which one would be taken and why, and what they can do.

use std::path::PathBuf;

use clap::Args;
use rimlight::gpu::{AdapterInfo, AdapterRequest, Adapters, SelfTestReport, Verdict};
use rimlight::plan::readable_bytes;
use rimlight::{Device, DeviceError, DeviceOptions};

use super::{print, print_json};
use crate::failure::{Failure, Outcome};
use crate::flags::DeviceFlags;
use crate::output::Table;
use crate::report;

/// List the adapters, which one would be taken and why, and what to do where there is none
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rimlight devices\n  rimlight devices --check\n  \
    rimlight devices --backend gpu --report my-device.json\n\n\
    --check is the first thing to run on a new device. The exit status is 1 if a GPU answers wrong.\n\
    A report holds limits, features, a self-test and the rates of the kernel families. Reports from devices that we do\n\
    not have are what we learn from: please send them.")]
pub struct Devices {
    /// Check that each adapter answers right: what all kernels lean on (`quick`), and each family of kernels (`all`)
    #[arg(long, value_enum, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    check: Option<Check>,
    /// Write what the device can do and how fast it is (takes about a minute)
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

/// How much of a GPU is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Check {
    /// What all kernels lean on
    Quick,
    /// Each family of kernels, too
    All,
}

impl Devices {
    pub fn run(&self) -> Outcome {
        let adapters = pollster::block_on(Adapters::all());
        if let Some(what) = self.check {
            return self.check(&adapters, what);
        }
        let chosen = self.device.device(false);
        if self.json {
            let (taken, choice) = match &chosen {
                Ok(device) => (Some(device.name()), device.choice().to_owned()),
                Err(failure) => (None, failure.to_string()),
            };
            print_json(&serde_json::json!({
                "adapters": adapters.infos().map(report::adapter).collect::<Vec<_>>(),
                "taken": taken,
                "choice": choice.lines().collect::<Vec<_>>(),
            }))?;
        } else {
            for info in adapters.infos() {
                print(&describe(info))?;
            }
            match &chosen {
                Ok(device) => {
                    print(&format!("taken: {}\n  {}\n", device.name(), device.choice().replace('\n', "\n  ")))?
                }
                Err(failure) => print(&format!("none can be taken\n  {failure}\n"))?,
            }
        }
        let device = chosen?;
        match &self.report {
            Some(path) => self.write_report(path, &device),
            None => Ok(()),
        }
    }

    /// The report is of the device that would be taken; where that is the CPU, of any GPU that there is.
    fn write_report(&self, path: &PathBuf, taken: &Device) -> Outcome {
        let device = match taken.is_gpu() {
            true => taken.clone(),
            false => {
                let mut options = DeviceOptions::default();
                options.backend = rimlight::Backend::Gpu;
                options.class = self.device.device_class;
                Device::new(&options)?
            }
        };
        let report = report::report(&device)?;
        let text = format!("{report:#}\n");
        std::fs::write(path, text).map_err(|e| Failure::file(path, e))?;
        if !self.json {
            print(&format!("report of {} written to '{}'\n", device.name(), path.display()))?;
        }
        Ok(())
    }
}

impl Devices {
    /// Checks the adapters that the flags name, or all.
    fn check(&self, adapters: &Adapters, what: Check) -> Outcome {
        let mut checked = vec![];
        let (mut right, mut any) = (true, false);
        for info in adapters.infos() {
            if self.device.adapter.as_ref().is_some_and(|name| !info.is_meant_by(name)) {
                continue;
            }
            any = true;
            let outcome = self.check_one(info, what);
            right &= outcome.as_ref().is_ok_and(SelfTestReport::passed);
            if self.json {
                let mut row = report::adapter(info);
                row["self_test"] = match &outcome {
                    Ok(report) => report::self_test_report(report),
                    Err(error) => serde_json::json!({ "passed": false, "error": error.to_string() }),
                };
                checked.push(row);
            } else {
                print(&format!("{}{}\n", describe(info), findings(&outcome)))?;
            }
        }
        if self.json {
            print_json(&serde_json::json!({ "adapters": checked, "passed": right }))?;
        } else if !right {
            print(
                "A GPU answers wrong. Rimlight avoids what is named above; a newer driver may mend it. Please report it, with\n\
                 the output of `rimlight devices --check --json`, to the driver's maker and where Rimlight keeps its issues.\n",
            )?;
        } else if !any {
            print("there is no GPU to check\n")?;
        }
        if right { Ok(()) } else { Err(Failure::NO) }
    }

    fn check_one(&self, info: &AdapterInfo, what: Check) -> Result<SelfTestReport, DeviceError> {
        let mut request = AdapterRequest::any();
        (request.name, request.backends) = (Some(info.name.clone()), vec![info.backend.to_owned()]);
        (request.class, request.cooperative_matrices) = (self.device.device_class, true);
        let device = pollster::block_on(async { Adapters::find(&request).await.open(&request).await.1 })?;
        match what {
            Check::All => device.self_test(),
            Check::Quick => pollster::block_on(device.quick_self_test_async()),
        }
    }
}

/// What was found on one adapter, in words.
fn findings(outcome: &Result<SelfTestReport, DeviceError>) -> String {
    let report = match outcome {
        Ok(report) => report,
        Err(error) => return format!("WRONG: {error}\n"),
    };
    let mut table = Table::default();
    for quirk in &report.quirks {
        table.row(["known fault", &format!("{}; {} ({})", quirk.fault, quirk.remedy, quirk.source)]);
    }
    for check in &report.checks {
        let time = match check.verdict {
            Verdict::Absent(_) => String::new(),
            _ => format!(" ({:.1} ms)", check.time.as_secs_f64() * 1e3),
        };
        table.row([&check.name, &format!("{}{time}", check.verdict)]);
    }
    for off in &report.switched_off {
        table.row(["switched off", off]);
    }
    if let Some(reason) = &report.unfit {
        table.row(["not to be used", reason]);
    }
    table.to_string()
}

fn describe(info: &AdapterInfo) -> String {
    let facts = &info.facts;
    let mut table = Table::default();
    table.row(["driver", &info.driver]);
    table.row(["class", facts.class.name()]);
    table.row(["features", &if info.features.is_empty() { "none".to_owned() } else { info.features.join(", ") }]);
    let subgroups = facts.subgroup_size.map_or("none of fixed size".to_owned(), |size| format!("of {size}"));
    table.row(["subgroups", &subgroups]);
    let memory = readable_bytes(facts.workgroup_memory.into());
    table.row(["workgroups", &format!("up to {} invocations, {memory} of memory", facts.max_invocations)]);
    let binding = readable_bytes(facts.max_binding_size);
    let buffer = readable_bytes(info.max_buffer_size);
    table.row([
        "buffers",
        &format!("{buffer} each, {binding} bound at once, {} to a kernel", facts.max_storage_buffers),
    ]);
    format!("{info}\n{table}\n")
}
