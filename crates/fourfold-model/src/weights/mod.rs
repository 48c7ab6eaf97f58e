//! Weights in and out: safetensors under Hugging Face's names.

mod adapters;
mod config;
pub mod gguf;
mod interpolate;
mod names;
mod read;
mod regular;
mod safetensors_files;
mod tensors;
mod write;

use half::bf16;
use safetensors::Dtype;

pub(crate) use adapters::write_adapters;
pub(crate) use config::{
    read_config, read_whole, table, vision_table, write_config, write_json, write_part_config,
};
pub(crate) use read::{StoredFor, WeightSource};
pub use tensors::gguf_of;
pub use write::write_safetensors;
pub(crate) use write::{Constant, write};

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

impl WeightFormat {
    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::Bf16 => Dtype::BF16,
        }
    }

    /// The numbers as they are written.
    fn bytes(self, numbers: impl Iterator<Item = f32>) -> Vec<u8> {
        match self {
            Self::F32 => numbers.flat_map(f32::to_le_bytes).collect(),
            Self::Bf16 => numbers
                .flat_map(|number| bf16::from_f32(number).to_le_bytes())
                .collect(),
        }
    }
}
