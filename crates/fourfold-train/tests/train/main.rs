//! Whole runs of a tiny model on pictures made here.

mod adapters;
mod devices;
mod features;
mod feed;
mod formats;
mod fp16;
mod learning;
mod mistakes;
mod packing;
mod pretrained;
mod ranks;
mod resuming;
mod support;
