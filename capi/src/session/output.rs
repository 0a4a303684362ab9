//! Outputs: their details and their content.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use rimlight::Tensor;

use super::{Session, look};
use crate::details::Details;
use crate::element::ElementType;
use crate::failure::Failure;
use crate::model::at;
use crate::pointers::{given, write};
use crate::status::Status;

impl Session {
    /// An output of the last run, which has these elements.
    fn tensor(&self, index: usize, element_type: i32) -> Result<&Tensor, Failure> {
        let output = at(&self.outputs, index, "output")?;
        let wanted = ElementType::taken(element_type)?;
        if !self.has_run {
            let message = format!("there is no output '{}' yet: rimlight_session_run comes first", output.name);
            return Err(Failure::new(Status::WrongOrder, message));
        }
        let value = self.session.get_value(output.id)?;
        let Some(tensor) = value.as_tensor() else {
            let message =
                format!("output '{}' is {}, and the interface for C gives tensors", output.name, value.value_type());
            return Err(Failure::new(Status::Unsupported, message));
        };
        if tensor.element_type() != wanted {
            let message = format!("output '{}' was asked for as {wanted}", output.details.text());
            return Err(Failure::new(Status::WrongType, message));
        }
        Ok(tensor)
    }
}

/// What is known of an output: after a run its type and shape in numbers, before it what the model says. The details live until the next run,
/// and no longer than the session.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_session_output(
    session: Option<&Session>,
    index: usize,
    details: Option<&mut MaybeUninit<*const Details>>,
) -> Status {
    look(session, |session| {
        let found = at(&session.outputs, index, "output")?;
        given(details, "details")?.write(&raw const found.details);
        Ok(())
    })
}

/// Copies an output of the last run to `buffer`: all elements, row-major. `element_type` is a RimlightElementType, and must be the output's; `bytes`,
/// the buffer's size, must be what rimlight_details_bytes says of rimlight_session_output.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_session_get_output(
    session: Option<&Session>,
    index: usize,
    element_type: i32,
    buffer: *mut c_void,
    bytes: usize,
) -> Status {
    look(session, |session| {
        let tensor = session.tensor(index, element_type)?;
        let elements = tensor.bytes();
        if elements.len() != bytes {
            let output = at(&session.outputs, index, "output")?.details.text();
            let message = format!("output '{output}' has {} bytes, and the buffer {bytes}", elements.len());
            return Err(Failure::new(Status::WrongSize, message));
        }
        // SAFETY: the header asks for a buffer of `bytes` bytes that may be written; outputs are lent to C as const.
        unsafe { write(buffer, elements, "buffer") }
    })
}

/// Lends an output of the last run without a copy, aligned for its elements. `element_type` is a RimlightElementType, and must be the output's. The
/// data lives until the next run, and no longer than the session; setting inputs leaves it as it is.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_session_output_data(
    session: Option<&Session>,
    index: usize,
    element_type: i32,
    data: Option<&mut MaybeUninit<*const c_void>>,
    bytes: Option<&mut MaybeUninit<usize>>,
) -> Status {
    look(session, |session| {
        let elements = session.tensor(index, element_type)?.bytes();
        let (data, bytes) = (given(data, "data")?, given(bytes, "bytes")?);
        data.write(elements.as_ptr().cast());
        bytes.write(elements.len());
        Ok(())
    })
}
