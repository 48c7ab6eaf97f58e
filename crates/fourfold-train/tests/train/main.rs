//! Whole runs of a tiny model on pictures made here.

mod adapters;
mod features;
mod formats;
mod learning;
mod mistakes;
mod packing;
mod pretrained;
mod resuming;
mod support;
