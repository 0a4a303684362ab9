//! Rimlight from C and C++.
//!
//! `capi/include/rimlight.h` is made from these sources by cbindgen, its words from their doc comments, and its rules (errors,
//! ownership, threads, versions) from `cbindgen.toml`. How to build and link it says `docs/embedding.md`.
//!
//! A handle is a reference here: `Option<&Model>` is what C calls a pointer that may be null. So the functions are safe code, but for
//! texts and arrays, which `pointers` reads and writes, and it alone. What the header asks of its callers is
//! what every function relies on: pointers are null, or point to what they say.

#![allow(
    unsafe_code,
    reason = "C calls by name and gives texts and arrays as raw pointers; `pointers` alone follows them"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "what every function asks of its pointers stands once, at the header's top"
)]

mod details;
mod device;
mod element;
mod failure;
mod model;
mod options;
mod picture;
mod pointers;
mod session;
mod status;
mod version;

pub use details::*;
pub use device::*;
pub use element::*;
pub use failure::*;
pub use model::*;
pub use options::*;
pub use picture::*;
pub use session::*;
pub use status::*;
pub use version::*;

/// What several threads may use at once, or one after the other, as the header says.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    const fn handed_on<T: Send>() {}
    shared::<Model>();
    shared::<Device>();
    shared::<Details>();
    handed_on::<Options>();
    handed_on::<Session>();
};
