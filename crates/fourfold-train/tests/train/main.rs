//! Whole runs of a tiny model on pictures made here.

mod features;
mod formats;
mod learning;
mod mistakes;
mod resuming;
mod support;
