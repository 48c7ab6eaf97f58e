//! The language model's configuration.

use fourfold_tensor::ops::{Gelu, Heads};
use serde::{Deserialize, Serialize};

use super::bounds::{self, LAYERS, POSITIONS, VOCABULARY, WIDTH};
use super::hugging_face::{Gpt2File, LlamaFile};
use crate::{ModelError, Result};

/// A language model, told apart by Hugging Face's `model_type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model_type", rename_all = "lowercase")]
pub enum LanguageConfig {
    /// RMS norms, rotary positions, grouped queries, gated feed-forward.
    Llama(LlamaConfig),
    /// Layer norms, learned positions, GELU feed-forward.
    Gpt2(Gpt2Config),
}

/// Hugging Face's `llama` fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LlamaFile")]
pub struct LlamaConfig {
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
    /// Longest document in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in norms.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
}

/// Hugging Face's `gpt2` fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Gpt2File")]
pub struct Gpt2Config {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Width inside the feed-forward layers; four times the width if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_inner: Option<usize>,
    /// Number of blocks.
    pub n_layer: usize,
    /// Heads.
    pub n_head: usize,
    /// Longest document in tokens.
    pub n_positions: usize,
    /// Added to the variance in norms.
    pub layer_norm_epsilon: f32,
    /// The activation: `gelu_new` or `gelu`.
    pub activation_function: String,
}

/// The form of GELU that Hugging Face calls `name`.
pub(crate) fn gelu_named(key: &str, name: &str) -> Result<Gelu> {
    match name {
        "gelu_pytorch_tanh" | "gelu_new" => Ok(Gelu::Tanh),
        "gelu" => Ok(Gelu::Erf),
        _ => Err(ModelError::config(
            key,
            format!("'{name}' is not supported; expected gelu_pytorch_tanh, gelu_new or gelu"),
        )),
    }
}

impl LanguageConfig {
    /// How many tokens it knows.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Llama(config) => config.vocab_size,
            Self::Gpt2(config) => config.vocab_size,
        }
    }

    /// Longest document in tokens.
    pub fn max_positions(&self) -> usize {
        match self {
            Self::Llama(config) => config.max_position_embeddings,
            Self::Gpt2(config) => config.n_positions,
        }
    }

    /// Width of the residual stream.
    pub fn width(&self) -> usize {
        match self {
            Self::Llama(config) => config.hidden_size,
            Self::Gpt2(config) => config.n_embd,
        }
    }

    /// Number of blocks.
    pub fn layers(&self) -> usize {
        match self {
            Self::Llama(config) => config.num_hidden_layers,
            Self::Gpt2(config) => config.n_layer,
        }
    }

    /// The attention heads.
    pub fn heads(&self) -> Heads {
        match self {
            Self::Llama(config) => Heads {
                query: config.num_attention_heads,
                key_value: config.num_key_value_heads,
                width: config.hidden_size / config.num_attention_heads.max(1),
            },
            Self::Gpt2(config) => Heads {
                query: config.n_head,
                key_value: config.n_head,
                width: config.n_embd / config.n_head.max(1),
            },
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match self {
            Self::Llama(config) => {
                bounds::check_epsilon("language.rms_norm_eps", config.rms_norm_eps)?;
                bounds::check(
                    "language",
                    &[
                        ("vocab_size", config.vocab_size, VOCABULARY),
                        ("hidden_size", config.hidden_size, WIDTH),
                        ("intermediate_size", config.intermediate_size, WIDTH),
                        ("num_hidden_layers", config.num_hidden_layers, LAYERS),
                        ("num_attention_heads", config.num_attention_heads, WIDTH),
                        ("num_key_value_heads", config.num_key_value_heads, WIDTH),
                        (
                            "max_position_embeddings",
                            config.max_position_embeddings,
                            POSITIONS,
                        ),
                    ],
                )?;
            }
            Self::Gpt2(config) => {
                bounds::check_epsilon("language.layer_norm_epsilon", config.layer_norm_epsilon)?;
                bounds::check(
                    "language",
                    &[
                        ("vocab_size", config.vocab_size, VOCABULARY),
                        ("n_embd", config.n_embd, WIDTH),
                        ("n_inner", config.n_inner.unwrap_or(1), WIDTH),
                        ("n_layer", config.n_layer, LAYERS),
                        ("n_head", config.n_head, WIDTH),
                        ("n_positions", config.n_positions, POSITIONS),
                    ],
                )?;
                gelu_named("language.activation_function", &config.activation_function)?;
            }
        }
        let fault = |message: String| Err(ModelError::config("language", message));
        let heads = self.heads();
        if heads.query * heads.width != self.width() {
            return fault(format!(
                "{} heads do not divide a width of {}",
                heads.query,
                self.width()
            ));
        }
        if !heads.query.is_multiple_of(heads.key_value) {
            let (query, key_value) = (heads.query, heads.key_value);
            return fault(format!(
                "{key_value} key-value heads do not divide {query} query heads"
            ));
        }
        if matches!(self, Self::Llama(_)) && !heads.width.is_multiple_of(2) {
            return fault(format!(
                "rotary positions need an even head width, not {}",
                heads.width
            ));
        }
        Ok(())
    }
}
