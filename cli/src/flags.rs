//! Flags that commands share: the model, the device, how it is planned, what goes in.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use rimlight::kernel::{DeviceClass, Shaders};
use rimlight::{Backend, Device, DeviceOptions, Limits, Model, Options, Placement, PlanError, Precision};

use crate::failure::{Failure, Outcome};
use crate::inputs::Inputs;
use crate::known::{self, Known};

/// The kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendFlag {
    /// A GPU, the CPU where there is none or the model does not fit it (never a GPU in software)
    Auto,
    /// A GPU, one in software included; it is an error where there is none
    Gpu,
    /// The CPU
    Cpu,
}

/// How values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionFlag {
    /// 32-bit floats
    F32,
    /// Stored in 16 bits, computed in 32; on a GPU only
    F16,
    /// 16 bits on a GPU where a run of the model is shown to bear it, else 32
    Auto,
}

/// Which device to use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Device")]
pub struct DeviceFlags {
    /// What to run on
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: BackendFlag,
    /// The adapter whose name holds this
    #[arg(long, value_name = "SUBSTRING")]
    pub adapter: Option<String>,
    /// Plan as for a device of this class: nvidia, adreno, mali, apple, intel, amd, gl, web, software
    #[arg(long, value_name = "CLASS")]
    pub device_class: Option<DeviceClass>,
    /// Ask for cooperative matrices (tensor cores), which `tune` then measures in 16 bits; experimental in wgpu
    #[arg(long)]
    pub cooperative_matrices: bool,
    /// Threads of the CPU backend
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Where compiled pipelines, packed weights and what `tune` found are kept between starts
    #[arg(long, value_name = "FOLDER")]
    pub cache_folder: Option<PathBuf>,
}

/// How the model is planned.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Plan")]
pub struct PlanFlags {
    /// Bind a symbolic dimension
    #[arg(long, value_name = "NAME=N", value_parser = dimension)]
    pub dim: Vec<(String, usize)>,
    /// How values are stored
    #[arg(long, value_enum, default_value = "f32")]
    pub precision: PrecisionFlag,
    /// Any node that would run on the host is an error (and there must be a GPU)
    #[arg(long)]
    pub require_gpu: bool,
    /// Megabytes of GPU memory that values and weights may take: the plan keeps to it, or is refused with the number
    #[arg(long, value_name = "MB")]
    pub memory_limit: Option<u64>,
    /// Milliseconds that one submission to the GPU should take at most, so that a screen is drawn in between [default: 8
    /// on phones, else 100]
    #[arg(long, value_name = "MS")]
    pub submission: Option<u64>,
    /// Raise or lower a bound on what the model may take (NAME is a field of Limits: file_bytes, nodes, elements,
    /// memory_bytes, work, …)
    #[arg(long, value_name = "NAME=N", value_parser = limit)]
    pub limit: Vec<(String, u64)>,
    /// Leave out a rewrite of the graph, by its name
    #[arg(long, value_name = "REWRITE")]
    pub without: Vec<String>,
    /// Take the shaders in this folder instead of those of the same path that are built in: DIR/conv/direct.wgsl for
    /// conv/direct.wgsl
    #[arg(long, value_name = "DIR", hide_short_help = true, help_heading = "For who writes kernels")]
    pub shaders: Option<PathBuf>,
}

/// What goes into the model.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Inputs")]
pub struct InputFlags {
    /// An input out of a file: .npy, .npz (its array of that name), .pb, or a picture; NAME= may be left out where there is
    /// one input
    #[arg(long, value_name = "NAME=FILE")]
    pub input: Vec<String>,
    /// All inputs out of one .npz file: its arrays NAME or in:NAME
    #[arg(long, value_name = "FILE.npz")]
    pub inputs: Option<PathBuf>,
    /// How a picture becomes the input, such as resize=stretch or mean=0.5; see the library's documentation of
    /// `Preprocessing::set`
    #[arg(long, value_name = "PROPERTY=VALUE")]
    pub preprocess: Vec<String>,
    /// Inputs that are not given are random, from this seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

pub fn dimension(text: &str) -> Result<(String, usize), String> {
    let (name, size) = text.rsplit_once('=').ok_or("a dimension is given as NAME=N, such as batch=1")?;
    let size = size.parse().map_err(|_| format!("'{size}' is no size"))?;
    Ok((name.to_owned(), size))
}

/// `NAME=N`, of a limit.
pub fn limit(text: &str) -> Result<(String, u64), String> {
    let (name, number) = text.rsplit_once('=').ok_or("a limit is given as NAME=N, such as work=1000000000000")?;
    let number = number.parse().map_err(|_| format!("'{number}' is no whole number"))?;
    match Limits::default().by_name(name) {
        Some(_) => Ok((name.to_owned(), number)),
        None => Err(format!("there is no limit '{name}'; there are {}", Limits::NAMES.join(", "))),
    }
}

impl DeviceFlags {
    /// The CPU, with as many threads as were asked for.
    ///
    /// # Errors
    /// None that is known.
    fn cpu(&self) -> Outcome<Device> {
        let mut options = DeviceOptions::default();
        (options.backend, options.threads) = (Backend::Cpu, self.threads);
        Ok(Device::new(&options)?)
    }

    /// The device, for plans that need a GPU or do not.
    ///
    /// # Errors
    /// If there is none that fits.
    pub fn device(&self, require_gpu: bool) -> Outcome<Device> {
        let mut options = DeviceOptions::default();
        options.backend = match (self.backend, require_gpu) {
            (BackendFlag::Cpu, true) => {
                return Err(Failure::input("--require-gpu and --backend cpu contradict each other"));
            }
            (BackendFlag::Cpu, false) => Backend::Cpu,
            (BackendFlag::Gpu, _) | (BackendFlag::Auto, true) => Backend::Gpu,
            (BackendFlag::Auto, false) => Backend::Auto,
        };
        options.adapter.clone_from(&self.adapter);
        options.class = self.device_class;
        options.cooperative_matrices = self.cooperative_matrices;
        options.threads = self.threads;
        options.cache_folder.clone_from(&self.cache_folder);
        if let Some(folder) = &self.cache_folder {
            std::fs::create_dir_all(folder).map_err(|e| Failure::file(folder, e))?;
        }
        Ok(Device::new(&options)?)
    }
}

/// A model, opened, with everything that its flags say about it.
pub struct Setup {
    /// The model as the user named it.
    pub name: String,
    /// What is known of it.
    pub known: Option<Known>,
    /// The device.
    pub device: Device,
    /// How long it took to make.
    pub device_time: Duration,
    /// What the model may take.
    pub limits: Limits,
    /// The options, the precision being the one that was settled on.
    pub options: Options,
    /// The precision.
    pub precision: Precision,
    /// The inputs.
    pub inputs: Inputs,
}

impl Setup {
    /// Opens a model and a device, and makes the inputs. Who needs the model no more lets go of it.
    ///
    /// # Errors
    /// If any of it cannot be.
    pub fn new(name: &str, device: &DeviceFlags, plan: &PlanFlags, input: &InputFlags) -> Outcome<(Self, Model)> {
        let (model, known) = known::open(name, &plan.limits())?;
        let mut inputs = Inputs::gather(&model, known.as_ref(), input, &plan.dim)?;
        let options = inputs.options(plan)?;
        let flags = device;
        let start = Instant::now();
        let mut device = flags.device(plan.require_gpu)?;
        let device_time = start.elapsed();
        // A model that does not fit the GPU goes to the CPU where no GPU was asked for: that is the device to be named.
        if device.is_gpu()
            && plan.precision != PrecisionFlag::F16
            && let Some(reason) = model.plan(&device, &options)?.instead()
        {
            inputs.notes.push(format!("on the CPU: {reason}"));
            device = flags.cpu()?;
        }
        let precision = match plan.precision {
            PrecisionFlag::F32 => Precision::F32,
            PrecisionFlag::F16 => Precision::F16,
            PrecisionFlag::Auto => {
                let chosen = settle(&model, &device, &options, &inputs)?;
                inputs.notes.push(format!("in {}, which a run in 16 bits beside one in 32 told", chosen.name()));
                chosen
            }
        };
        let options = options.precision(precision);
        let (name, limits) = (name.to_owned(), plan.limits());
        Ok((Self { name, known, device, device_time, limits, options, precision, inputs }, model))
    }

    /// The device's kind, for JSON.
    pub fn backend(&self) -> &'static str {
        if self.device.is_gpu() { "gpu" } else { "cpu" }
    }

    /// The precision's name.
    pub const fn precision_name(&self) -> &'static str {
        self.precision.name()
    }
}

/// 16 bits, if the device is a GPU and the model's outputs in 16 bits are near enough to those in 32.
fn settle(model: &Model, device: &Device, options: &Options, inputs: &Inputs) -> Outcome<Precision> {
    let mut session = model.session_with(device, &options.clone().precision(Precision::Auto))?;
    session.run_with(inputs.borrowed().iter().map(|(name, tensor)| (*name, tensor.view())))?;
    Ok(session.precision().unwrap_or_default())
}

impl PlanFlags {
    /// What the model may take.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for (name, number) in &self.limit {
            if let Some(limit) = limits.by_name(name) {
                *limit = *number;
            }
        }
        limits
    }

    /// The options that they stand for, shapes and precision aside.
    ///
    /// # Errors
    /// If shaders are to be replaced, and cannot be.
    pub fn options(&self) -> Outcome<Options> {
        let placement = if self.require_gpu { Placement::GpuOnly } else { Placement::Auto };
        let options = Options::new().placement(placement).limits(self.limits());
        let options = self.without.iter().fold(options, |options, rewrite| options.without(rewrite));
        let options = match self.memory_limit {
            Some(megabytes) => options.memory_limit(megabytes.saturating_mul(1_000_000)),
            None => options,
        };
        let options = match self.submission {
            Some(milliseconds) => options.submission(Duration::from_millis(milliseconds)),
            None => options,
        };
        Ok(match &self.shaders {
            Some(folder) => options.shaders(Shaders::from_folder(folder).map_err(PlanError::from)?),
            None => options,
        })
    }
}
