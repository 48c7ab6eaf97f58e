//! `config.json` of a model that descends from Llama, read and written.
//!
//! A key that changes what a model computes is read even where only one value of it is supported: weights that were
//! trained under another value would load without a word and answer nonsense.

use serde::{Deserialize, Serialize, Serializer};

use super::rope_file::RopeFile;
use super::rotary::{RotaryConfig, RotaryFamily, WindowConfig};
use super::{RopeConfig, RopeScaling};
use crate::config::hugging_face::only;

const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

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
        let layers = 0..self.num_hidden_layers.min(super::super::bounds::LAYERS);
        if let Some(kinds) = &self.layer_types {
            let windowed = kinds.iter().map(|kind| match kind.as_str() {
                FULL => Ok(false),
                SLIDING => Ok(true),
                other => Err(format!(
                    "layer_types: '{other}' is not supported; expected {FULL} or {SLIDING}"
                )),
            });
            return windowed.collect();
        }
        Ok(match self.model_type {
            RotaryFamily::Gemma3 => {
                let pattern = self.sliding_window_pattern.unwrap_or(6).max(1);
                layers.map(|layer| (layer + 1) % pattern != 0).collect()
            }
            RotaryFamily::Qwen2 | RotaryFamily::Qwen3 if self.use_sliding_window == Some(true) => {
                let first = self.max_window_layers.unwrap_or(28);
                layers.map(|layer| layer >= first).collect()
            }
            _ => layers.map(|_| false).collect(),
        })
    }
}

impl TryFrom<RotaryFile> for RotaryConfig {
    type Error = String;

    fn try_from(file: RotaryFile) -> Result<Self, String> {
        file.check()?;
        let family = file.model_type;
        let gemma = family == RotaryFamily::Gemma3;
        let ropes = RopeFile {
            rope_theta: file.rope_theta,
            rope_local_base_freq: match (gemma, file.rope_local_base_freq) {
                (true, given) => Some(given.unwrap_or(10_000.0)),
                (false, _) => None,
            },
            rope_scaling: file.rope_scaling.clone(),
            rope_parameters: file.rope_parameters.clone(),
            partial_rotary_factor: file.partial_rotary_factor,
        };
        let theta = if gemma { 1_000_000.0 } else { 10_000.0 };
        let windowed = file.windowed()?;
        let window = if windowed.contains(&true) {
            let rows = file.sliding_window.ok_or(
                "sliding_window is missing: layer_types names layers with a window; say how many rows they see",
            )?;
            Some(WindowConfig {
                rows,
                layers: windowed,
                rope: ropes.of(SLIDING, theta)?,
            })
        } else {
            None
        };
        let heads = file.num_attention_heads;
        let head_dim = match (family, file.head_dim) {
            (RotaryFamily::Qwen2, _) | (_, None) => {
                if !file.hidden_size.is_multiple_of(heads.max(1)) {
                    let width = file.hidden_size;
                    return Err(format!("{heads} heads do not divide a width of {width}"));
                }
                file.hidden_size / heads.max(1)
            }
            (_, Some(width)) => width,
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
            rope: ropes.of(FULL, theta)?,
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

/// The same keys as they are written: those of the family, and no other.
#[derive(Serialize)]
struct Written<'a> {
    model_type: RotaryFamily,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    rope_theta: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_local_base_freq: Option<f32>,
    tie_word_embeddings: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    attention_bias: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mlp_bias: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_pre_attn_scalar: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_sliding_window: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sliding_window: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer_types: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_scaling: Option<&'a RopeScaling>,
}

impl Serialize for RotaryConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let gemma = self.family == RotaryFamily::Gemma3;
        let qwen = matches!(self.family, RotaryFamily::Qwen2 | RotaryFamily::Qwen3);
        let window = self.window.as_ref();
        let kind = |windowed: &bool| if *windowed { SLIDING } else { FULL };
        let local = |window: Option<&WindowConfig>| -> f32 {
            window.map_or(10_000.0, |window| window.rope.theta)
        };
        let usual = self.hidden_size / self.num_attention_heads.max(1);
        // Qwen2 knows no key for it; the others have a default of their own unless it is said.
        let says_width = match self.family {
            RotaryFamily::Qwen2 => false,
            RotaryFamily::Llama => self.head_dim != usual,
            RotaryFamily::Qwen3 | RotaryFamily::Gemma3 => true,
        };
        let RopeConfig { theta, scaling } = &self.rope;
        let written = Written {
            model_type: self.family,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads,
            head_dim: says_width.then_some(self.head_dim),
            max_position_embeddings: self.max_position_embeddings,
            rms_norm_eps: self.rms_norm_eps,
            rope_theta: *theta,
            rope_local_base_freq: gemma.then(|| local(window)),
            tie_word_embeddings: self.tie_word_embeddings,
            attention_bias: self.output_bias,
            mlp_bias: self.mlp_bias,
            query_pre_attn_scalar: gemma.then_some(self.query_pre_attn_scalar),
            use_sliding_window: (qwen && window.is_some()).then_some(true),
            sliding_window: window.map(|window| window.rows),
            layer_types: match window {
                Some(window) => Some(window.layers.iter().map(kind).collect()),
                // Gemma would slide by default.
                None => gemma.then(|| vec![FULL; self.num_hidden_layers]),
            },
            rope_scaling: scaling.as_ref(),
        };
        written.serialize(serializer)
    }
}
