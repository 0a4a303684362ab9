//! The targets on what is kept, files that are damaged at random, and files that were made to do harm.

mod bad;
mod damaged;
mod replay;
