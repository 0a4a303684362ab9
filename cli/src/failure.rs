//! How a command ends when it does not succeed: a message and an exit status.

use std::fmt;

use rimlight::compress::CompressError;
use rimlight::{DeviceError, Error, ErrorKind, LoadError, PlanError, RunError, TensorError};

/// A command that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    code: u8,
}

/// What commands give back.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The command worked, and its answer is no. It has said so itself.
    pub const NO: Self = Self { message: String::new(), code: 1 };

    /// The answer is no, because of this.
    pub fn no(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// Wrong use or bad input.
    pub fn input(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// The device failed.
    pub fn device(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 3 }
    }

    /// A file could not be read or written.
    pub fn file(path: &std::path::Path, error: impl fmt::Display) -> Self {
        Self::input(format!("'{}': {error}", path.display()))
    }

    /// What to print; empty where the command has said everything.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The exit status.
    pub const fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = if error.kind() == ErrorKind::Device { 3 } else { 2 };
        let message = match error.unsupported() {
            Some(reason) => format!("not supported ({reason}): {error}"),
            None => error.to_string(),
        };
        Self { message, code }
    }
}

macro_rules! from_step_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Error::from(error).into()
            }
        }
    )*};
}
from_step_errors!(
    LoadError,
    PlanError,
    RunError,
    DeviceError,
    TensorError,
    rimlight::onnx::WriteError,
    rimlight::image::ImageError
);

impl From<CompressError> for Failure {
    fn from(error: CompressError) -> Self {
        match error {
            CompressError::Run(error) => error.into(),
            CompressError::Load(error) => Error::from(error).into(),
            other => Self::input(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_fails_is_told_from_bad_input() {
        let lost = DeviceError::Lost("gone".to_owned());
        assert_eq!(Failure::from(lost.clone()).code(), 3);
        assert_eq!(Failure::from(RunError::Device(lost)).code(), 3);
        assert_eq!(Failure::from(RunError::MissingInput("x".to_owned())).code(), 2);
        assert_eq!(Failure::from(LoadError::Format("no".to_owned())).code(), 2);
    }
}
