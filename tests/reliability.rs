//! What only many runs and many starts show.

#[path = "reliability/killed.rs"]
mod killed;
#[path = "reliability/soak.rs"]
mod soak;
