//! `config.json` of a model that descends from Llama, written: the keys of its family, and no other.

use serde::{Serialize, Serializer};

use super::rope_file::{FULL, SLIDING};
use super::rotary::{RotaryConfig, RotaryFamily, WindowConfig};
use super::{RopeConfig, RopeScaling};

/// What older versions of `transformers` read too; `rope_parameters` stands where these keys cannot say it.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_theta: Option<f32>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_parameters: Option<ByKind<'a>>,
}

/// A rule for each kind of layer.
#[derive(Serialize)]
struct ByKind<'a> {
    full_attention: Rule<'a>,
    sliding_attention: Rule<'a>,
}

#[derive(Serialize)]
struct Rule<'a> {
    rope_theta: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_type: Option<&'static str>,
    #[serde(flatten)]
    scaling: Option<&'a RopeScaling>,
}

impl<'a> From<&'a RopeConfig> for Rule<'a> {
    fn from(rope: &'a RopeConfig) -> Self {
        Self {
            rope_theta: rope.theta,
            // A rule that changes the frequencies names itself.
            rope_type: rope.scaling.is_none().then_some("default"),
            scaling: rope.scaling.as_ref(),
        }
    }
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
        // The younger families have a default of their own unless it is said.
        let says_width = match self.family {
            RotaryFamily::Llama | RotaryFamily::Qwen2 => self.head_dim != usual,
            RotaryFamily::Qwen3 | RotaryFamily::Gemma3 => true,
        };
        // The older keys know of one scaling, that of layers that see everything.
        let by_kind = window
            .filter(|window| gemma && window.rope.scaling.is_some())
            .map(|window| ByKind {
                full_attention: (&self.rope).into(),
                sliding_attention: (&window.rope).into(),
            });
        let flat = by_kind.is_none();
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
            rope_theta: flat.then_some(self.rope.theta),
            rope_local_base_freq: (flat && gemma).then(|| local(window)),
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
            rope_scaling: self.rope.scaling.as_ref().filter(|_| flat),
            rope_parameters: by_kind,
        };
        written.serialize(serializer)
    }
}
