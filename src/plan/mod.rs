//! From a graph to a schedule: where each node runs, how each value lies in memory, what is dispatched in which order.
//!
//! A [`Schedule`] is plain data: it can be printed, compared in a snapshot test, and checked without a GPU.

mod schedule;

pub use schedule::{
    Bound, HostStep, NodePlace, Place, Region, Schedule, ScheduledDispatch, Slot, SlotId, Step, Summary,
};
