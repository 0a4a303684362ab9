//! What the examples share: what the user typed, what goes wrong, and models by name.

#![allow(dead_code, unused_imports, unused_macros, reason = "each example takes what it needs")]

mod model;
mod typed;

use std::process::ExitCode;

use rimlight::{Error, ErrorKind};

pub use model::{first_input, model, model_file};
pub use typed::{Typed, backend};

/// Prints a line. A reader who has had enough (`| head`) is no failure.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        drop(writeln!(std::io::stdout(), $($text)*))
    }};
}
pub(crate) use say;

/// What the user gets to read, and the exit code: 1 the answer is no, 2 wrong use or bad input, 3 the device failed.
#[derive(Debug)]
pub struct Failure(pub String, pub u8);

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Self(error.to_string(), if error.kind() == ErrorKind::Device { 3 } else { 2 })
    }
}

/// A tensor that does not fit together is no fault of the device.
pub fn fits<T>(made: Result<T, rimlight::TensorError>) -> Result<T, Failure> {
    made.map_err(|error| Failure(error.to_string(), 2))
}

/// Bad use or bad input.
pub fn wrong(message: impl Into<String>) -> Failure {
    Failure(message.into(), 2)
}

/// Says what went wrong, and gives the exit status: 1 where the answer is no.
pub fn exit(program: &str, outcome: Result<bool, Failure>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Failure(message, code)) => {
            eprintln!("{program}: {message}");
            ExitCode::from(code)
        }
    }
}

/// The middle one of some times, in milliseconds; 0 of none.
pub fn median(mut times: Vec<std::time::Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3
}

/// A whole program: help where it is asked for, else what is to be done with what was typed. `options` have values.
pub fn main(program: &str, help: &str, options: &[&str], run: impl FnOnce(&Typed) -> Result<(), Failure>) -> ExitCode {
    let outcome = Typed::read(std::env::args_os().skip(1), options).and_then(|typed| match typed {
        None => {
            say!("{help}");
            Ok(true)
        }
        Some(typed) => run(&typed).map(|()| true),
    });
    exit(program, outcome)
}

#[cfg(test)]
pub mod tests {
    use rimlight::Device;

    /// The CPU, and a GPU where there is one: in software too, required where `RIMLIGHT_REQUIRE_GPU` is set.
    pub fn devices() -> impl Iterator<Item = Device> {
        let gpu = Device::gpu().inspect_err(|error| {
            assert!(std::env::var_os("RIMLIGHT_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
        });
        [Some(Device::cpu()), gpu.ok()].into_iter().flatten()
    }
}
