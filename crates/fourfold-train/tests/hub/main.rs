//! Models of the hub: a small server stands for it, so that no test needs a network.

mod fetching;
mod offline;
mod refusals;
mod runs;
mod server;
