//! Weights in and out: safetensors under Hugging Face's names.

mod config;
mod interpolate;
mod names;
mod read;
mod safetensors_files;
mod write;

pub(crate) use config::{read_config, write_config, write_part_config};
pub(crate) use read::WeightSource;
pub(crate) use write::write;
pub use write::write_safetensors;

/// The file that holds the weights of a folder.
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// The number format that weights are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFormat {
    /// 32-bit floats.
    F32,
    /// 16-bit brain floats: half the size, what 16-bit training computes with.
    Bf16,
}
