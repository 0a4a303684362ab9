//! Which library this is.

use std::ffi::c_char;

use crate::pointers::c_text;

/// The version of the binary interface that this header describes.
pub const ABI_VERSION: u32 = 1;

/// The version of the binary interface that the library has: RIMLIGHT_ABI_VERSION of the header that it was built with.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_abi_version() -> u32 {
    ABI_VERSION
}

/// The library's version, such as "0.1.0". It lives as long as the program.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_version() -> *const c_char {
    c_text!(env!("CARGO_PKG_VERSION")).as_ptr()
}
