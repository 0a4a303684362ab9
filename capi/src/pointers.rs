//! The one place where raw pointers of C are followed: texts and arrays. Handles and results are references, checked for null.

use std::ffi::{CStr, CString, c_char, c_void};

use crate::failure::Failure;
use crate::status::Status;

/// A text of the program itself, with the zero byte that C looks for.
macro_rules! c_text {
    ($text:expr) => {
        const {
            match ::std::ffi::CStr::from_bytes_with_nul(concat!($text, "\0").as_bytes()) {
                Ok(text) => text,
                Err(_) => c"",
            }
        }
    };
}
pub(crate) use c_text;

/// What a pointer that may be null points to; `what` names it.
pub fn given<T>(pointer: Option<T>, what: &str) -> Result<T, Failure> {
    pointer.ok_or_else(|| Failure::new(Status::NullPointer, format!("{what} is a null pointer")))
}

/// A text as C takes it. A zero byte within, which only a damaged file has, would end it: another character stands for it.
pub fn owned_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// The text that a pointer points to; `what` names it.
///
/// # Safety
/// The pointer is null, or points to bytes that end with a zero byte and that nobody changes while the text is used.
pub unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return given(None, what);
    }
    // SAFETY: it is not null, and by the contract above it points to bytes that end with a zero byte.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|error| Failure::new(Status::InvalidArgument, format!("{what} is not UTF-8: {error}")))
}

/// An array of `length` elements; `what` names it. An empty one may be null.
///
/// # Safety
/// The pointer is null, or points to `length` elements that nobody writes to while the slice is used.
pub unsafe fn slice<'a, T: Plain>(pointer: *const T, length: usize, what: &str) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    check(pointer, length, what)?;
    // SAFETY: it is neither null nor longer than an object can be, is aligned, and by the contract above points to `length` elements
    // (of a type that any bits are a value of).
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// The bytes at a pointer; `what` names them.
///
/// # Safety
/// As [`slice`].
pub unsafe fn bytes<'a>(pointer: *const c_void, length: usize, what: &str) -> Result<&'a [u8], Failure> {
    // SAFETY: the contract is the same.
    unsafe { slice(pointer.cast::<u8>(), length, what) }
}

/// Copies bytes to where C wants them; `what` names that place.
///
/// # Safety
/// The pointer is null, or points to memory of `bytes.len()` bytes that may be written and is no part of `bytes`.
pub unsafe fn write(pointer: *mut c_void, bytes: &[u8], what: &str) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Ok(());
    }
    check(pointer.cast::<u8>(), bytes.len(), what)?;
    // SAFETY: the source is a slice, the destination is not null and by the contract above has room for it and does not overlap.
    unsafe { pointer.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Ok(())
}

/// A type of which any bits are a value.
pub trait Plain {}
impl Plain for u8 {}
impl Plain for usize {}

/// Whether an array can lie there.
fn check<T>(pointer: *const T, length: usize, what: &str) -> Result<(), Failure> {
    if pointer.is_null() {
        return given(None, what);
    }
    if !pointer.is_aligned() {
        return Err(Failure::new(Status::InvalidArgument, format!("{what} is not aligned for its elements")));
    }
    let bytes = length.checked_mul(size_of::<T>()).filter(|&bytes| isize::try_from(bytes).is_ok());
    match bytes {
        Some(_) => Ok(()),
        None => Err(Failure::new(Status::WrongSize, format!("{what} cannot have {length} elements: no memory has"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_that_cannot_be_are_refused_before_they_are_looked_at() {
        let numbers = [1usize, 2, 3];
        let at = numbers.as_ptr();
        // SAFETY: the array is as long as is said, or refused for its pointer or length before it is looked at.
        unsafe {
            assert_eq!(slice(at, 3, "x").unwrap(), [1, 2, 3]);
            assert_eq!(slice::<usize>(std::ptr::null(), 0, "x").unwrap(), []);
            let status = |outcome: Result<&[usize], Failure>| outcome.unwrap_err().status();
            assert_eq!(status(slice(std::ptr::null(), 1, "x")), Status::NullPointer);
            assert_eq!(status(slice(at, usize::MAX, "x")), Status::WrongSize);
            assert_eq!(status(slice(at, usize::MAX / 8, "x")), Status::WrongSize);
            assert_eq!(status(slice(at.wrapping_byte_add(1), 1, "x")), Status::InvalidArgument);
        }
    }

    #[test]
    fn texts_are_utf_8() {
        // SAFETY: the texts end with a zero byte.
        unsafe {
            assert_eq!(text(c"é".as_ptr(), "x").unwrap(), "é");
            assert_eq!(text(c"\xff".as_ptr(), "x").unwrap_err().status(), Status::InvalidArgument);
            assert_eq!(text(std::ptr::null(), "x").unwrap_err().status(), Status::NullPointer);
        }
        assert_eq!(owned_text("a\0b").to_str(), Ok("a\u{fffd}b"));
    }
}
