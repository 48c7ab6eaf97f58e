//! The families of vision encoders and what tells them apart.

use serde::{Deserialize, Serialize};

/// A family, named as Hugging Face's `model_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VisionFamily {
    /// SigLIP, and SigLIP 2 of fixed resolution: no class token.
    #[default]
    #[serde(rename = "siglip_vision_model")]
    Siglip,
    /// CLIP: a norm before the blocks, none over the patches after them.
    #[serde(rename = "clip_vision_model")]
    Clip,
    /// ViT (Dosovitskiy et al., arXiv 2010.11929).
    #[serde(rename = "vit")]
    Vit,
    /// DeiT: a distillation token beside the class token.
    #[serde(rename = "deit")]
    Deit,
    /// DINOv2: what a branch gives is scaled number by number.
    #[serde(rename = "dinov2")]
    Dinov2,
    /// The same with tokens that stand for nothing (Darcet et al., arXiv 2309.16588).
    #[serde(rename = "dinov2_with_registers")]
    Dinov2Registers,
}

impl VisionFamily {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Siglip,
        Self::Clip,
        Self::Vit,
        Self::Deit,
        Self::Dinov2,
        Self::Dinov2Registers,
    ];

    /// Hugging Face's `model_type`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Siglip => "siglip_vision_model",
            Self::Clip => "clip_vision_model",
            Self::Vit => "vit",
            Self::Deit => "deit",
            Self::Dinov2 => "dinov2",
            Self::Dinov2Registers => "dinov2_with_registers",
        }
    }

    /// Hugging Face's class for it.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Siglip => "SiglipVisionModel",
            Self::Clip => "CLIPVisionModel",
            Self::Vit => "ViTModel",
            Self::Deit => "DeiTModel",
            Self::Dinov2 => "Dinov2Model",
            Self::Dinov2Registers => "Dinov2WithRegistersModel",
        }
    }

    /// Tokens before the patches that have a position of their own: class and distillation.
    pub fn class_tokens(self) -> usize {
        match self {
            Self::Siglip => 0,
            Self::Deit => 2,
            _ => 1,
        }
    }

    /// Whether it is one of DINOv2's kind.
    pub fn is_dino(self) -> bool {
        matches!(self, Self::Dinov2 | Self::Dinov2Registers)
    }

    /// Whether `transformers` norms what the last block gives, patch by patch.
    pub(crate) fn has_final_norm(self) -> bool {
        self != Self::Clip
    }

    /// Whether the patches' linear layer has a bias.
    pub(crate) fn has_patch_bias(self) -> bool {
        self != Self::Clip
    }

    /// Added to the variance in norms unless the file says otherwise.
    pub(super) fn epsilon(self) -> f32 {
        match self {
            Self::Clip => 1e-5,
            Self::Vit | Self::Deit => 1e-12,
            Self::Siglip | Self::Dinov2 | Self::Dinov2Registers => 1e-6,
        }
    }

    /// The activation unless the file says otherwise.
    pub(super) fn activation(self) -> &'static str {
        match self {
            Self::Siglip => "gelu_pytorch_tanh",
            Self::Clip => "quick_gelu",
            _ => "gelu",
        }
    }
}
