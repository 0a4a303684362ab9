//! The command line of Rimlight: `rimlight try`, `devices`, `inspect`, `run`, `validate`, `bench`, `tune`, `compress`,
//! `conformance`, `models`.
//!
//! Each command is a file in `commands/`; what they share stands beside it.

// What goes wrong is said, and is an exit status.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable
    )
)]

pub mod arrays;
mod commands;
pub mod conformance;
pub mod failure;
pub mod fetch;
mod flags;
mod folders;
mod inputs;
pub mod known;
mod output;
pub mod program;
mod random;
mod report;
mod samples;
mod timeline;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs neural networks on the GPU that is already there, and checks every value against the CPU.
#[derive(Debug, Parser)]
#[command(name = "rimlight", version, propagate_version = true, max_term_width = 120)]
#[command(after_help = "Example: rimlight try model.onnx\n\
    Exit status: 0 success, 1 the answer is no, 2 wrong use or bad input, 3 the device failed.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Try(commands::try_model::Try),
    Devices(commands::devices::Devices),
    Inspect(commands::inspect::Inspect),
    Run(commands::run::Run),
    Validate(commands::validate::Validate),
    Bench(commands::bench::Bench),
    Compress(commands::compress::Compress),
    Conformance(commands::conformance::Conformance),
    Tune(commands::tune::Tune),
    Models(commands::models::Models),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Try(command) => command.run(),
        Command::Devices(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Validate(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Compress(command) => command.run(),
        Command::Conformance(command) => command.run(),
        Command::Tune(command) => command.run(),
        Command::Models(command) => command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message().is_empty() {
                eprintln!("rimlight: {failure}");
            }
            ExitCode::from(failure.code())
        }
    }
}
