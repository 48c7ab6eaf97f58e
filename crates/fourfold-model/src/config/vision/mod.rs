//! The vision encoder's configuration.

mod family;
mod file;
mod size;
#[cfg(test)]
mod tests;

use serde::Deserialize;

use self::file::VisionFile;
use super::bounds::{self, IMAGE, LAYERS, WIDTH};
use crate::{ModelError, Result};

pub use family::VisionFamily;
pub use size::ImageSize;

/// A vision transformer, in the field names of Hugging Face where there are such.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "VisionFile")]
pub struct VisionConfig {
    /// Which family (`model_type`).
    pub family: VisionFamily,
    /// Width of a patch's features.
    pub hidden_size: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Pixels of the input.
    pub image_size: ImageSize,
    /// Side of a square patch in pixels.
    pub patch_size: usize,
    /// Colour channels: always 3.
    pub num_channels: usize,
    /// Added to the variance in norms.
    pub layer_norm_eps: f32,
    /// The activation: `gelu_pytorch_tanh`, `gelu` or `quick_gelu`.
    pub hidden_act: String,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether the feed-forward layers are gated (`use_swiglu_ffn`).
    pub gated: bool,
    /// Tokens that stand for nothing (`num_register_tokens`).
    pub registers: usize,
    /// Whether what the last block gives is normed. Features from a block before the last (`layer` in a recipe) are
    /// not, as in `transformers`; an encoder cut there has fewer blocks and no such norm.
    pub final_norm: bool,
    /// Whether the class token is a feature, before those of the patches.
    pub keep_class_token: bool,
}

impl VisionConfig {
    /// Patches down and across: those that fit whole. Pixels behind the last are left out, as `transformers` leaves
    /// them out: 384 pixels hold 27 patches of 14.
    pub fn grid(&self) -> ImageSize {
        let patch = self.patch_size.max(1);
        ImageSize {
            height: self.image_size.height / patch,
            width: self.image_size.width / patch,
        }
    }

    /// Patches of an image.
    pub fn patches(&self) -> usize {
        self.grid().area()
    }

    /// Rows before the patches inside the encoder.
    pub fn prefix(&self) -> usize {
        self.family.class_tokens() + self.registers
    }

    /// Features of an image: its patches, and the class token where it is kept.
    pub fn features(&self) -> usize {
        self.patches() + usize::from(self.keep_class_token)
    }

    pub(crate) fn gelu(&self) -> Result<fourfold_tensor::ops::Gelu> {
        super::gelu_named("vision.hidden_act", &self.hidden_act)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let fault =
            |key: &str, message: String| Err(ModelError::config(format!("vision.{key}"), message));
        bounds::check(
            "vision",
            &[
                ("hidden_size", self.hidden_size, WIDTH),
                ("intermediate_size", self.intermediate_size, WIDTH),
                ("num_hidden_layers", self.num_hidden_layers, LAYERS),
                ("num_attention_heads", self.num_attention_heads, WIDTH),
                ("image_size", self.image_size.height, IMAGE),
                ("image_size", self.image_size.width, IMAGE),
                ("patch_size", self.patch_size, IMAGE),
                ("num_register_tokens", self.registers.max(1), WIDTH),
            ],
        )?;
        bounds::check_epsilon("vision.layer_norm_eps", self.layer_norm_eps)?;
        if self.num_channels != 3 {
            return fault(
                "num_channels",
                format!(
                    "is {}; expected 3: images are read as red, green and blue",
                    self.num_channels
                ),
            );
        }
        let (image, patch) = (self.image_size, self.patch_size);
        if image.height < patch || image.width < patch {
            let message = match image.side() {
                Some(side) => format!("is {patch}, larger than image_size {side}"),
                None => format!("is {patch}, larger than a side of image_size {image}"),
            };
            return fault("patch_size", message);
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let (width, heads) = (self.hidden_size, self.num_attention_heads);
            return fault(
                "num_attention_heads",
                format!("{heads} does not divide hidden_size {width}"),
            );
        }
        if self.keep_class_token && self.family.class_tokens() == 0 {
            let family = self.family.model_type();
            return fault(
                "keep_class_token",
                format!("a {family} has no class token; remove the key"),
            );
        }
        self.gelu().map(|_| ())
    }
}
