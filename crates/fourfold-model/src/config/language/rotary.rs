//! The models that descend from Llama: RMS norms, rotary positions, grouped queries, gated feed-forward.

use fourfold_tensor::ops::{Gate, Heads, Rotary};
use serde::{Deserialize, Serialize};

use super::RopeConfig;
use super::rotary_file::RotaryFile;
use crate::config::bounds::{self, LAYERS, POSITIONS, VOCABULARY, WIDTH};
use crate::{ModelError, Result};

/// A family, told apart by Hugging Face's `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotaryFamily {
    /// Llama (Touvron et al., arXiv 2302.13971), SmolLM, SmolLM2, TinyLlama.
    Llama,
    /// Qwen2 and Qwen2.5: queries, keys and values have biases.
    Qwen2,
    /// Qwen3: queries and keys are normed head by head.
    Qwen3,
    /// Gemma 3's text model: norms on both sides of a branch, windows, scaled embeddings.
    #[serde(rename = "gemma3_text")]
    Gemma3,
}

impl RotaryFamily {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Gemma3];

    /// Hugging Face's `model_type`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3_text",
        }
    }

    /// Hugging Face's class for it.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Gemma3 => "Gemma3ForCausalLM",
        }
    }

    /// The family that `model_type` names.
    pub fn named(model_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|family| family.model_type() == model_type)
    }
}

/// Why no Llama has a window: `transformers` would not know of it.
pub(super) const WINDOW_OF_LLAMA: &str = "names layers with a window, which transformers does not build of a llama; expected full_attention alone, or \
     another family";

/// Some layers see no farther back than a window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowConfig {
    /// How many rows such a layer sees, its own counted (`sliding_window`).
    pub rows: usize,
    /// Whether each layer is such a one (`layer_types`).
    pub layers: Vec<bool>,
    /// Their rotary positions.
    pub rope: RopeConfig,
}

/// Hugging Face's fields of these families.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "RotaryFile")]
pub struct RotaryConfig {
    /// Which family.
    pub family: RotaryFamily,
    /// Number of tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the gated feed-forward layers.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads, each shared by a group of query heads.
    pub num_key_value_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
    /// Longest document in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in norms.
    pub rms_norm_eps: f32,
    /// Rotary positions of the layers that see everything.
    pub rope: RopeConfig,
    /// The layers that do not, if any.
    pub window: Option<WindowConfig>,
    /// Scores are divided by the square root of this; the width of a head but for some Gemmas.
    pub query_pre_attn_scalar: usize,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether the attention's output has a bias.
    pub output_bias: bool,
    /// Whether the feed-forward layers have biases.
    pub mlp_bias: bool,
}

impl RotaryConfig {
    /// The attention heads.
    pub fn heads(&self) -> Heads {
        Heads {
            query: self.num_attention_heads,
            key_value: self.num_key_value_heads,
            width: self.head_dim,
        }
    }

    /// Whether query and key heads are normed.
    pub(crate) fn norms_heads(&self) -> bool {
        matches!(self.family, RotaryFamily::Qwen3 | RotaryFamily::Gemma3)
    }

    /// Whether what a branch gives is normed before it joins the residual stream.
    pub(crate) fn norms_branches(&self) -> bool {
        self.family == RotaryFamily::Gemma3
    }

    /// What weight files hold less of a norm's weight than it is: Gemma's hold the distance from 1.
    pub(crate) fn norm_offset(&self) -> f32 {
        match self.family {
            RotaryFamily::Gemma3 => 1.0,
            _ => 0.0,
        }
    }

    /// The activation of the gate.
    pub(crate) fn gate(&self) -> Gate {
        match self.family {
            RotaryFamily::Gemma3 => Gate::GeluTanh,
            _ => Gate::Silu,
        }
    }

    /// What embedded tokens are multiplied by.
    pub(crate) fn embedding_scale(&self) -> f32 {
        match self.family {
            RotaryFamily::Gemma3 => (self.hidden_size as f32).sqrt(),
            _ => 1.0,
        }
    }

    /// The angles of layers that see everything, and of those with a window.
    ///
    /// Scores are products of a query and a key that are both turned, so that a turn's amplitude counts twice in them:
    /// here it brings in `query_pre_attn_scalar` where that is not the width of a head, which attention divides by.
    pub(crate) fn rotary(&self) -> Result<(Rotary, Option<Rotary>)> {
        let amplitude = (self.head_dim as f64 / self.query_pre_attn_scalar as f64).powf(0.25);
        let turn = |rope: &RopeConfig| rope.rotary("language", self.head_dim, amplitude);
        let windowed = self.window.as_ref().map(|window| turn(&window.rope));
        Ok((turn(&self.rope)?, windowed.transpose()?))
    }

    pub(super) fn validate(&self) -> Result<()> {
        bounds::check_epsilon("language.rms_norm_eps", self.rms_norm_eps)?;
        bounds::check(
            "language",
            &[
                ("vocab_size", self.vocab_size, VOCABULARY),
                ("hidden_size", self.hidden_size, WIDTH),
                ("intermediate_size", self.intermediate_size, WIDTH),
                ("num_hidden_layers", self.num_hidden_layers, LAYERS),
                ("num_attention_heads", self.num_attention_heads, WIDTH),
                ("num_key_value_heads", self.num_key_value_heads, WIDTH),
                ("head_dim", self.head_dim, WIDTH),
                ("query_pre_attn_scalar", self.query_pre_attn_scalar, WIDTH),
                (
                    "max_position_embeddings",
                    self.max_position_embeddings,
                    POSITIONS,
                ),
            ],
        )?;
        let fault = |key: &str, message: String| {
            Err(ModelError::config(format!("language.{key}"), message))
        };
        if !self.head_dim.is_multiple_of(2) {
            let width = self.head_dim;
            return fault(
                "head_dim",
                format!("is {width}; expected an even number, which rotary positions need"),
            );
        }
        if let Some(window) = &self.window {
            bounds::check("language", &[("sliding_window", window.rows, POSITIONS)])?;
            if window.layers.len() != self.num_hidden_layers {
                let (given, layers) = (window.layers.len(), self.num_hidden_layers);
                return fault(
                    "layer_types",
                    format!(
                        "speaks of {given} layers; expected {layers}, as many as num_hidden_layers"
                    ),
                );
            }
            if self.family == RotaryFamily::Llama {
                return fault("layer_types", WINDOW_OF_LLAMA.into());
            }
            if self.family != RotaryFamily::Gemma3 && window.rope != self.rope {
                let family = self.family.model_type();
                return fault(
                    "rope_parameters",
                    format!(
                        "layers with a window turn otherwise than the others; expected the same of a {family}"
                    ),
                );
            }
        }
        self.rotary().map(|_| ())
    }
}
