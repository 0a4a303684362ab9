//! One file per command.

pub mod bench;
pub mod compress;
pub mod conformance;
pub mod devices;
pub mod inspect;
pub mod models;
pub mod run;
pub mod try_model;
pub mod tune;
pub mod validate;

use std::io::Write;

use crate::failure::{Failure, Outcome};

/// Prints JSON for machines.
fn print_json(value: &serde_json::Value) -> Outcome {
    print(&format!("{value:#}\n"))
}

/// Prints, and takes a closed pipe (`| head`) for an end, not for a failure.
fn print(text: &str) -> Outcome {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::input(format!("standard output: {e}"))),
        _ => Ok(()),
    }
}
