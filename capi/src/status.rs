//! What a function answers with.

use std::ffi::c_char;

use rimlight::image::ImageError;
use rimlight::{DeviceError, Error, LoadError, PlanError, RunError, TensorError};

/// What a function answers with. Later versions may add others.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is done.
    Ok = 0,
    /// A pointer is null that must not be.
    NullPointer = 1,
    /// A number that names nothing, a text that is not UTF-8, an option that cannot be or does not fit the model.
    InvalidArgument = 2,
    /// There is no input or output of this index or name, or no such dimension.
    NotFound = 3,
    /// The elements are of another type.
    WrongType = 4,
    /// The data is not as long as the tensor, or the shape is none that the model takes.
    WrongSize = 5,
    /// Something else has to come first: a shape, an input, a run.
    WrongOrder = 6,
    /// A file cannot be read.
    File = 7,
    /// This is no model, or one that cannot be right.
    Model = 8,
    /// This is no picture, or none that can be made into the input.
    Picture = 9,
    /// The model may be right, or the wish, but this library cannot do it.
    Unsupported = 10,
    /// There is no GPU, or it failed.
    Device = 11,
    /// The GPU was lost: free what runs on it, and make it anew.
    DeviceLost = 12,
    /// Memory does not suffice, or something is larger than the device takes.
    OutOfMemory = 13,
    /// A fault of Rimlight. The handle that it befell can only be freed.
    Internal = 14,
}

impl Status {
    /// The status of an error of the library.
    pub(crate) fn of(error: &Error) -> Self {
        if error.unsupported().is_some() {
            return Self::Unsupported;
        }
        match error {
            Error::Load(LoadError::Io { .. }) => Self::File,
            Error::Load(_) => Self::Model,
            Error::Plan(error) => Self::of_plan(error),
            Error::Run(error) => Self::of_run(error),
            Error::Device(error) => Self::of_device(error),
            Error::Image(ImageError::Io { .. }) => Self::File,
            Error::Image(_) => Self::Picture,
            _ => Self::Internal,
        }
    }

    fn of_plan(error: &PlanError) -> Self {
        match error {
            PlanError::Unbound { .. } => Self::WrongOrder,
            PlanError::Node(_) => Self::Model,
            PlanError::HostNodes(_) => Self::Unsupported,
            PlanError::TooLarge { .. } | PlanError::Memory { .. } => Self::OutOfMemory,
            PlanError::Reread(_) => Self::File,
            PlanError::Options(_) => Self::InvalidArgument,
            _ => Self::Internal,
        }
    }

    fn of_run(error: &RunError) -> Self {
        match error {
            RunError::Name { .. } => Self::NotFound,
            RunError::MissingInput(_) | RunError::State(_) => Self::WrongOrder,
            RunError::InputType { .. } | RunError::InputKind { .. } => Self::WrongType,
            RunError::InputShape { .. } | RunError::TooLong { .. } => Self::WrongSize,
            RunError::Node(_) => Self::Model,
            RunError::Tensor(TensorError::Type { .. }) => Self::WrongType,
            RunError::Tensor(_) => Self::WrongSize,
            RunError::Plan(error) => Self::of_plan(error),
            RunError::Device(error) => Self::of_device(error),
            RunError::Picture(_) => Self::Picture,
            _ => Self::Internal,
        }
    }

    fn of_device(error: &DeviceError) -> Self {
        match error {
            DeviceError::Lost(_) => Self::DeviceLost,
            DeviceError::OutOfMemory(_) => Self::OutOfMemory,
            _ => Self::Device,
        }
    }

    fn name(number: i32) -> &'static std::ffi::CStr {
        const NAMES: [&std::ffi::CStr; 15] = [
            c"ok",
            c"null pointer",
            c"invalid argument",
            c"not found",
            c"wrong type",
            c"wrong size",
            c"wrong order",
            c"file",
            c"model",
            c"picture",
            c"unsupported",
            c"device",
            c"device lost",
            c"out of memory",
            c"internal",
        ];
        usize::try_from(number).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or(c"unknown")
    }
}

/// A few words for a RimlightStatus, such as "wrong size"; "unknown" for a number that is none. They live as long as the program.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_status_name(status: i32) -> *const c_char {
    Status::name(status).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_at_their_numbers() {
        for (status, name) in [
            (Status::Ok, c"ok"),
            (Status::WrongOrder, c"wrong order"),
            (Status::Picture, c"picture"),
            (Status::Internal, c"internal"),
        ] {
            assert_eq!(Status::name(status as i32), name);
        }
        assert_eq!(Status::name(15), c"unknown");
        assert_eq!(Status::name(-1), c"unknown");
    }

    #[test]
    fn errors_of_the_library_have_statuses() {
        let missing: Error = LoadError::Io { path: "x".to_owned(), source: std::io::ErrorKind::NotFound.into() }.into();
        assert_eq!(Status::of(&missing), Status::File);
        assert_eq!(Status::of(&LoadError::Format("x".to_owned()).into()), Status::Model);
        assert_eq!(Status::of(&DeviceError::Lost("x".to_owned()).into()), Status::DeviceLost);
        assert_eq!(Status::of(&RunError::from(DeviceError::Lost("x".to_owned())).into()), Status::DeviceLost);
        assert_eq!(Status::of(&DeviceError::NoAdapter("x".to_owned()).into()), Status::Device);
        assert_eq!(Status::of(&PlanError::Options("x".to_owned()).into()), Status::InvalidArgument);
        assert_eq!(Status::of(&RunError::MissingInput("x".to_owned()).into()), Status::WrongOrder);
    }
}
