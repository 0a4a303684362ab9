//! The command line of Rimlight.
fn main() {}
