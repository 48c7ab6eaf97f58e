//! What Hugging Face's `config.json` says of a language model, beyond what is built here.
//!
//! A key that changes what a model computes is read even where only one value of it is supported: weights that were
//! trained under another value would load without a word and answer nonsense.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Gpt2Config, LlamaConfig};

/// The keys of a `llama`.
#[derive(Deserialize)]
pub(super) struct LlamaFile {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    max_position_embeddings: usize,
    #[serde(default = "rms_epsilon")]
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    #[serde(default)]
    tie_word_embeddings: bool,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<IgnoredAny>,
    hidden_act: Option<String>,
    head_dim: Option<usize>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
}

/// Where newer files keep what they say of rotary positions.
#[derive(Deserialize)]
struct RopeParameters {
    rope_theta: Option<f32>,
    rope_type: Option<String>,
    partial_rotary_factor: Option<f32>,
}

/// The keys of a `gpt2`.
#[derive(Deserialize)]
pub(super) struct Gpt2File {
    vocab_size: usize,
    n_embd: usize,
    n_inner: Option<usize>,
    n_layer: usize,
    n_head: usize,
    n_positions: usize,
    #[serde(default = "layer_epsilon")]
    layer_norm_epsilon: f32,
    #[serde(default = "gelu_new")]
    activation_function: String,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
    #[serde(default)]
    add_cross_attention: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

fn rms_epsilon() -> f32 {
    1e-6
}
fn theta() -> f32 {
    10_000.0
}
fn layer_epsilon() -> f32 {
    1e-5
}
fn gelu_new() -> String {
    "gelu_new".into()
}
fn yes() -> bool {
    true
}

/// Demands that `key` has the one value that is built here.
fn only(key: &str, is: bool, expected: &str) -> Result<(), String> {
    if is {
        return Ok(());
    }
    Err(format!(
        "{key} has a value that is not supported; expected {expected}: use a model that was trained so"
    ))
}

impl TryFrom<LlamaFile> for LlamaConfig {
    type Error = String;

    fn try_from(file: LlamaFile) -> Result<Self, String> {
        only("rope_scaling", file.rope_scaling.is_none(), "none")?;
        only("attention_bias", !file.attention_bias, "false")?;
        only("mlp_bias", !file.mlp_bias, "false")?;
        let activation = file.hidden_act.as_deref().unwrap_or("silu");
        only("hidden_act", matches!(activation, "silu" | "swish"), "silu")?;
        let width = file.hidden_size / file.num_attention_heads.max(1);
        only(
            "head_dim",
            file.head_dim.is_none_or(|given| given == width),
            "hidden_size / num_attention_heads",
        )?;
        let mut rope_theta = file.rope_theta;
        if let Some(rope) = file.rope_parameters {
            let kind = rope.rope_type.as_deref().unwrap_or("default");
            only("rope_parameters.rope_type", kind == "default", "default")?;
            only(
                "rope_parameters.partial_rotary_factor",
                rope.partial_rotary_factor.is_none_or(|part| part == 1.0),
                "1.0",
            )?;
            rope_theta = rope.rope_theta.or(rope_theta);
        }
        Ok(Self {
            vocab_size: file.vocab_size,
            hidden_size: file.hidden_size,
            intermediate_size: file.intermediate_size,
            num_hidden_layers: file.num_hidden_layers,
            num_attention_heads: file.num_attention_heads,
            num_key_value_heads: file.num_key_value_heads,
            max_position_embeddings: file.max_position_embeddings,
            rms_norm_eps: file.rms_norm_eps,
            rope_theta: rope_theta.unwrap_or_else(theta),
            tie_word_embeddings: file.tie_word_embeddings,
        })
    }
}

impl TryFrom<Gpt2File> for Gpt2Config {
    type Error = String;

    fn try_from(file: Gpt2File) -> Result<Self, String> {
        only("scale_attn_weights", file.scale_attn_weights, "true")?;
        only(
            "scale_attn_by_inverse_layer_idx",
            !file.scale_attn_by_inverse_layer_idx,
            "false",
        )?;
        only("add_cross_attention", !file.add_cross_attention, "false")?;
        only("tie_word_embeddings", file.tie_word_embeddings, "true")?;
        Ok(Self {
            vocab_size: file.vocab_size,
            n_embd: file.n_embd,
            n_inner: file.n_inner,
            n_layer: file.n_layer,
            n_head: file.n_head,
            n_positions: file.n_positions,
            layer_norm_epsilon: file.layer_norm_epsilon,
            activation_function: file.activation_function,
        })
    }
}
