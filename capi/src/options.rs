//! What a user can ask of a device and of a session.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use rimlight::DeviceOptions;
use rimlight::graph::Bindings;

use crate::failure::{Failure, guard};
use crate::pointers::{given, text};
use crate::status::Status;

/// Where a model runs.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A GPU; the CPU where there is none. Never a GPU in software, which the CPU beats.
    Auto = 0,
    /// A GPU, one in software included; an error where there is none.
    Gpu = 1,
    /// The CPU.
    Cpu = 2,
}

/// How a GPU stores values. The CPU computes in 32 bits.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// In 32 bits.
    F32 = 0,
    /// Floats in 16 bits: half the memory, and more speed on most GPUs.
    F16 = 1,
    /// The first run is made in both, and 16 bits are taken where the outputs agree.
    Auto = 2,
}

/// What is asked of a device and of a session. Made once, used for as many as you like, changed whenever you like: what was made
/// with it stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(crate) device: DeviceOptions,
    pub(crate) session: rimlight::Options,
    /// The dimensions among the session's options.
    pub(crate) dimensions: Bindings,
}

/// Makes options that ask for nothing: any GPU or else the CPU, 32 bits, no dimension bound. Free them with rimlight_options_free.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_options_new(options: Option<&mut MaybeUninit<*mut Options>>) -> Status {
    guard(|| {
        given(options, "options")?.write(Box::into_raw(Box::default()));
        Ok(())
    })
}

/// Frees options. What was made with them is not touched. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_options_free(options: Option<Box<Options>>) {
    guard(|| {
        drop(options);
        Ok(())
    });
}

/// Asks for a RimlightBackend.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_options_set_backend(options: Option<&mut Options>, backend: i32) -> Status {
    guard(|| {
        given(options, "options")?.device.backend = match backend {
            0 => rimlight::Backend::Auto,
            1 => rimlight::Backend::Gpu,
            2 => rimlight::Backend::Cpu,
            _ => return Err(no_number("RimlightBackend", backend, "0 (auto), 1 (GPU) and 2 (CPU)")),
        };
        Ok(())
    })
}

/// Asks for the GPU whose name has this part ("NVIDIA", "llvmpipe"); it is an error then if there is none. NULL asks for any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_options_set_adapter(options: Option<&mut Options>, name: *const c_char) -> Status {
    guard(|| {
        // SAFETY: the header asks for a text that lives as long as the call; null was looked for.
        let name = if name.is_null() { None } else { Some(unsafe { text(name, "name") }?.to_owned()) };
        given(options, "options")?.device.adapter = name;
        Ok(())
    })
}

/// How many threads the CPU computes with; 0 for as many as there are cores.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_options_set_threads(options: Option<&mut Options>, threads: usize) -> Status {
    guard(|| {
        let options = given(options, "options")?;
        if threads > MOST_THREADS {
            let message = format!("{threads} threads are more than the {MOST_THREADS} that can be asked for");
            return Err(Failure::new(Status::InvalidArgument, message));
        }
        options.device.threads = (threads > 0).then_some(threads);
        Ok(())
    })
}

/// Beyond every machine; each takes memory for its stack.
const MOST_THREADS: usize = 1024;

/// Asks for a RimlightPrecision.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_options_set_precision(options: Option<&mut Options>, precision: i32) -> Status {
    guard(|| {
        let options = given(options, "options")?;
        let precision = match precision {
            0 => rimlight::Precision::F32,
            1 => rimlight::Precision::F16,
            2 => rimlight::Precision::Auto,
            _ => return Err(no_number("RimlightPrecision", precision, "0 (32 bits), 1 (16 bits) and 2 (auto)")),
        };
        options.session = options.session.clone().precision(precision);
        Ok(())
    })
}

/// A folder in which compiled kernels and packed weights are kept between starts, so that the next start is faster. NULL, as at the
/// beginning, keeps nothing. It is made when something is kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_options_set_cache_folder(
    options: Option<&mut Options>,
    folder: *const c_char,
) -> Status {
    guard(|| {
        // SAFETY: the header asks for a text that lives as long as the call; null was looked for.
        let folder = if folder.is_null() { None } else { Some(unsafe { text(folder, "folder") }?.into()) };
        given(options, "options")?.device.cache_folder = folder;
        Ok(())
    })
}

/// Binds an open dimension of the model ("batch") to a number, as rimlight_session_resize_input does for one input alone. What is
/// bound when a session is made is planned and uploaded then, not by the first run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_options_set_dimension(
    options: Option<&mut Options>,
    symbol: *const c_char,
    size: usize,
) -> Status {
    guard(|| {
        let options = given(options, "options")?;
        // SAFETY: the header asks for a text that lives as long as the call.
        let symbol = unsafe { text(symbol, "symbol") }?;
        let Ok(bound) = i64::try_from(size) else {
            return Err(Failure::new(Status::WrongSize, format!("no tensor has a dimension of {size}")));
        };
        options.dimensions.insert(symbol.to_owned(), bound);
        options.session = options.session.clone().dim(symbol, size);
        Ok(())
    })
}

fn no_number(what: &str, number: i32, known: &str) -> Failure {
    Failure::new(Status::InvalidArgument, format!("{number} is no {what}; there are {known}"))
}
