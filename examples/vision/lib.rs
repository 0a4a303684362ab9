//! What the examples of vision share: detectors, drawing, and what a loop over frames needs.

pub mod detector;
pub mod drawing;
pub mod frames;
pub mod latency;
pub mod quads;
pub mod queue;
pub mod report;
