//! `config.json` of a model that descends from Llama, read.
//!
//! A key that changes what a model computes is read even where only one value of it is supported: weights that were
//! trained under another value would load without a word and answer nonsense.

use serde::Deserialize;

use super::rope_file::{FULL, RopeFile, SLIDING};
use super::rotary::{RotaryConfig, RotaryFamily, WINDOW_OF_LLAMA, WindowConfig};
use crate::config::bounds::LAYERS;
use crate::config::hugging_face::only;

/// The keys, of whatever family.
#[derive(Deserialize)]
pub(super) struct RotaryFile {
    #[serde(default = "llama")]
    model_type: RotaryFamily,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    #[serde(default = "epsilon")]
    rms_norm_eps: f32,
    tie_word_embeddings: Option<bool>,
    rope_theta: Option<f32>,
    rope_local_base_freq: Option<f32>,
    rope_scaling: Option<serde_json::Value>,
    rope_parameters: Option<serde_json::Value>,
    partial_rotary_factor: Option<f32>,
    original_max_position_embeddings: Option<f64>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    query_pre_attn_scalar: Option<usize>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    #[serde(default)]
    use_bidirectional_attention: Option<bool>,
}

fn llama() -> RotaryFamily {
    RotaryFamily::Llama
}
fn epsilon() -> f32 {
    1e-6
}

impl RotaryFile {
    /// Refuses what would change the mathematics.
    fn check(&self) -> Result<(), String> {
        let gemma = self.model_type == RotaryFamily::Gemma3;
        let llama = self.model_type == RotaryFamily::Llama;
        only("mlp_bias", llama || !self.mlp_bias, "false")?;
        only(
            "attention_bias",
            llama || self.model_type == RotaryFamily::Qwen3 || !self.attention_bias,
            "false",
        )?;
        let activation = self.hidden_activation.as_deref().filter(|_| gemma);
        let activation = activation.or(self.hidden_act.as_deref());
        match (gemma, activation) {
            (true, given) => only(
                "hidden_activation",
                given.is_none_or(|given| given == "gelu_pytorch_tanh"),
                "gelu_pytorch_tanh",
            )?,
            (false, given) => only(
                "hidden_act",
                given.is_none_or(|given| matches!(given, "silu" | "swish")),
                "silu",
            )?,
        }
        let none = |cap: Option<f32>| cap.is_none_or(|cap| cap == 0.0);
        only(
            "attn_logit_softcapping",
            none(self.attn_logit_softcapping),
            "none",
        )?;
        only(
            "final_logit_softcapping",
            none(self.final_logit_softcapping),
            "none",
        )?;
        only(
            "use_bidirectional_attention",
            self.use_bidirectional_attention != Some(true),
            "false",
        )
    }

    /// Which layers have a window, by the family's rule where the file does not name each.
    fn windowed(&self) -> Result<Vec<bool>, String> {
        let layers = 0..self.num_hidden_layers.min(LAYERS);
        let Some(kinds) = &self.layer_types else {
            return Ok(match self.model_type {
                RotaryFamily::Gemma3 => {
                    let pattern = self.sliding_window_pattern.unwrap_or(6);
                    if pattern == 0 {
                        return Err("sliding_window_pattern: is 0; expected at least 1".into());
                    }
                    layers.map(|layer| (layer + 1) % pattern != 0).collect()
                }
                RotaryFamily::Qwen2 | RotaryFamily::Qwen3
                    if self.use_sliding_window == Some(true) =>
                {
                    let first = self.max_window_layers.unwrap_or(28);
                    layers.map(|layer| layer >= first).collect()
                }
                _ => layers.map(|_| false).collect(),
            });
        };
        let windowed = kinds.iter().map(|kind| match kind.as_str() {
            FULL => Ok(false),
            SLIDING => Ok(true),
            other => Err(format!(
                "layer_types: '{other}' is not supported; expected {FULL} or {SLIDING}"
            )),
        });
        let windowed: Vec<bool> = windowed.collect::<Result<_, _>>()?;
        let (given, layers) = (windowed.len(), self.num_hidden_layers);
        if given != layers && self.model_type != RotaryFamily::Llama {
            return Err(format!(
                "layer_types: speaks of {given} layers; expected {layers}, as many as num_hidden_layers"
            ));
        }
        if windowed.contains(&true) {
            match self.model_type {
                RotaryFamily::Llama => return Err(format!("layer_types: {WINDOW_OF_LLAMA}")),
                RotaryFamily::Qwen2 | RotaryFamily::Qwen3
                    if self.use_sliding_window != Some(true) =>
                {
                    return Err(
                        "layer_types: names layers with a window, but use_sliding_window is not true; expected true"
                            .into(),
                    );
                }
                _ => {}
            }
        }
        Ok(windowed)
    }
}

impl TryFrom<RotaryFile> for RotaryConfig {
    type Error = String;

    fn try_from(file: RotaryFile) -> Result<Self, String> {
        file.check()?;
        let family = file.model_type;
        let gemma = family == RotaryFamily::Gemma3;
        let ropes = RopeFile {
            family,
            max_position_embeddings: file.max_position_embeddings,
            rope_theta: file.rope_theta,
            rope_local_base_freq: file.rope_local_base_freq,
            rope_scaling: file.rope_scaling.clone(),
            rope_parameters: file.rope_parameters.clone(),
            partial_rotary_factor: file.partial_rotary_factor,
            original_max_position_embeddings: file.original_max_position_embeddings,
        };
        let ropes = ropes.read()?;
        let windowed = file.windowed()?;
        let window = if windowed.contains(&true) {
            let rows = file.sliding_window.ok_or(
                "sliding_window: is missing, and some layers have a window; say how many rows they see",
            )?;
            Some(WindowConfig {
                rows,
                layers: windowed,
                rope: ropes.sliding,
            })
        } else {
            None
        };
        let heads = file.num_attention_heads;
        let head_dim = match file.head_dim {
            None if !file.hidden_size.is_multiple_of(heads.max(1)) => {
                let width = file.hidden_size;
                return Err(format!(
                    "num_attention_heads: {heads} does not divide hidden_size {width}"
                ));
            }
            None => file.hidden_size / heads.max(1),
            Some(width) => width,
        };
        Ok(Self {
            family,
            vocab_size: file.vocab_size,
            hidden_size: file.hidden_size,
            intermediate_size: file.intermediate_size,
            num_hidden_layers: file.num_hidden_layers,
            num_attention_heads: heads,
            num_key_value_heads: file.num_key_value_heads.unwrap_or(heads),
            head_dim,
            max_position_embeddings: file.max_position_embeddings,
            rms_norm_eps: file.rms_norm_eps,
            rope: ropes.full,
            window,
            query_pre_attn_scalar: match file.query_pre_attn_scalar {
                Some(scalar) if gemma => scalar,
                None if gemma => 256,
                _ => head_dim,
            },
            tie_word_embeddings: file.tie_word_embeddings.unwrap_or(gemma),
            qkv_bias: file.attention_bias || family == RotaryFamily::Qwen2,
            output_bias: file.attention_bias,
            mlp_bias: file.mlp_bias,
        })
    }
}
