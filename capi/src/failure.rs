//! What went wrong, kept for the thread that asks; and the border that no panic crosses.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rimlight::Error;

use crate::pointers::owned_text;
use crate::status::Status;

thread_local! {
    /// The text of the last call that failed on this thread.
    static LAST: RefCell<CString> = RefCell::default();
}

/// Why a function gives no result.
#[derive(Debug)]
pub struct Failure(Status, String);

impl Failure {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Self {
        Self(status, text.into())
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> Status {
        self.0
    }

    /// What a panic says of itself.
    fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
        Self(Status::Internal, format!("a fault of Rimlight, please report it: {text}"))
    }

    /// Keeps the text for [`rimlight_error_text`].
    fn keep(self) -> Status {
        // A thread that ends has nobody to tell.
        let _ = LAST.try_with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                *last = owned_text(&self.1);
            }
        });
        self.0
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Self(Status::of(&error), error.to_string())
    }
}

/// Does what a function of the interface does; what goes wrong becomes its status, also a panic.
pub(crate) fn guard(run: impl FnOnce() -> Result<(), Failure>) -> Status {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Status::Ok,
        Ok(Err(failure)) => failure.keep(),
        Err(panic) => {
            let failure = Failure::of_panic(&*panic);
            // What was thrown could panic once more when it is dropped.
            std::mem::forget(panic);
            failure.keep()
        }
    }
}

/// What went wrong in the last call that failed on this thread, where, and what to do; empty if none has failed. It lives until the next
/// call fails on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_error_text() -> *const c_char {
    let text = LAST.try_with(|last| last.try_borrow().map(|last| last.as_ptr()).ok());
    text.ok().flatten().unwrap_or(c"".as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> String {
        LAST.with(|last| last.borrow().to_string_lossy().into_owned())
    }

    #[test]
    fn a_panic_becomes_a_status_with_its_text() {
        assert_eq!(guard(|| panic!("at {}", 7)), Status::Internal);
        assert!(last().ends_with("at 7"), "{}", last());
        assert_eq!(guard(|| std::panic::panic_any(3u8)), Status::Internal);
        assert!(last().ends_with("no text"), "{}", last());
    }

    #[test]
    fn a_thread_hears_of_its_own_failures_alone() {
        assert_eq!(guard(|| Err(Failure::new(Status::NotFound, "here"))), Status::NotFound);
        std::thread::spawn(|| assert_eq!(last(), "")).join().unwrap();
        assert_eq!(guard(|| Ok(())), Status::Ok);
        assert_eq!(last(), "here");
        assert_eq!(LAST.with(|last| last.borrow().as_ptr()), rimlight_error_text());
    }
}
