//! The program as a user calls it, on a tiny model and pictures made here.

mod answers;
mod bench;
mod data;
mod data_check;
mod data_convert;
mod data_show;
mod devices;
mod exports;
mod mistakes;
mod plan;
mod ranks;
mod runs;
mod scores;
mod support;
mod tasks;
