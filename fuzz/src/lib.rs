//! What fuzzing runs, as plain functions: a target takes bytes, and panics on a finding.
//!
//! The suite of this crate runs them on the corpus, on every finding of the past, and on some thousand cases of its own;
//! libFuzzer runs the same functions for as long as one likes (`fuzz/libfuzzer`, `.ci/extended fuzz`). What was run, and how to run
//! it, stands in `docs/reliability.md`.

pub mod backends;
pub mod near;
pub mod net;
pub mod onnx;
pub mod optimizer;
pub mod planner;
pub mod reader;
pub mod samples;
pub mod shapes;

/// A target: its name, which is that of its folders in `corpus` and `regressions`, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("reader", reader::run),
    ("shapes", shapes::run),
    ("optimizer", optimizer::run),
    ("planner", planner::run),
    ("cpu", backends::cpu),
    #[cfg(feature = "gpu")]
    ("backends", backends::gpu),
];
