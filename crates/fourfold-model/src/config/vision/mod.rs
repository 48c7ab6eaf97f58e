//! The vision encoder's configuration.

use serde::{Deserialize, Serialize};

use super::bounds::{self, IMAGE, LAYERS, WIDTH};
use crate::{ModelError, Result};

/// A vision transformer without a class token, in the field names of Hugging Face's `siglip_vision_model`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VisionConfig {
    /// Always `siglip_vision_model`.
    #[serde(default = "siglip")]
    pub model_type: String,
    /// Width of a patch's features.
    pub hidden_size: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Side of the square input in pixels.
    pub image_size: usize,
    /// Side of a square patch in pixels.
    pub patch_size: usize,
    /// Colour channels: always 3.
    #[serde(default = "three")]
    pub num_channels: usize,
    /// Added to the variance in norms.
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f32,
    /// The activation: `gelu_pytorch_tanh` or `gelu`.
    #[serde(default = "tanh")]
    pub hidden_act: String,
}

fn siglip() -> String {
    "siglip_vision_model".into()
}
fn three() -> usize {
    3
}
fn epsilon() -> f32 {
    1e-6
}
fn tanh() -> String {
    "gelu_pytorch_tanh".into()
}

impl VisionConfig {
    /// Patches along one side.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size.max(1)
    }

    /// Patches of an image.
    pub fn patches(&self) -> usize {
        self.grid().saturating_pow(2)
    }

    pub(crate) fn gelu(&self) -> Result<fourfold_tensor::ops::Gelu> {
        super::language::gelu_named("vision.hidden_act", &self.hidden_act)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let fault =
            |key: &str, message: String| Err(ModelError::config(format!("vision.{key}"), message));
        if self.model_type != siglip() {
            return fault(
                "model_type",
                format!(
                    "'{}' is not supported; expected '{}'",
                    self.model_type,
                    siglip()
                ),
            );
        }
        bounds::check(
            "vision",
            &[
                ("hidden_size", self.hidden_size, WIDTH),
                ("intermediate_size", self.intermediate_size, WIDTH),
                ("num_hidden_layers", self.num_hidden_layers, LAYERS),
                ("num_attention_heads", self.num_attention_heads, WIDTH),
                ("image_size", self.image_size, IMAGE),
                ("patch_size", self.patch_size, IMAGE),
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
        if !self.image_size.is_multiple_of(self.patch_size) {
            let (image, patch) = (self.image_size, self.patch_size);
            return fault(
                "patch_size",
                format!("{patch} does not divide image_size {image}"),
            );
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let (width, heads) = (self.hidden_size, self.num_attention_heads);
            return fault(
                "num_attention_heads",
                format!("{heads} does not divide hidden_size {width}"),
            );
        }
        self.gelu().map(|_| ())
    }
}
