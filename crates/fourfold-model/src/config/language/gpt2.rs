//! GPT-2's configuration.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::config::bounds::{self, LAYERS, POSITIONS, VOCABULARY, WIDTH};
use crate::config::gelu_named;
use crate::config::hugging_face::only;

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
    /// Whether the head is the embedding table.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub tie_word_embeddings: bool,
}

/// The keys, those included that have to have their usual value.
#[derive(Deserialize)]
struct Gpt2File {
    vocab_size: usize,
    n_embd: usize,
    n_inner: Option<usize>,
    n_layer: usize,
    n_head: usize,
    n_positions: usize,
    #[serde(default = "epsilon")]
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

fn epsilon() -> f32 {
    1e-5
}
fn gelu_new() -> String {
    "gelu_new".into()
}
fn yes() -> bool {
    true
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
        Ok(Self {
            vocab_size: file.vocab_size,
            n_embd: file.n_embd,
            n_inner: file.n_inner,
            n_layer: file.n_layer,
            n_head: file.n_head,
            n_positions: file.n_positions,
            layer_norm_epsilon: file.layer_norm_epsilon,
            activation_function: file.activation_function,
            tie_word_embeddings: file.tie_word_embeddings,
        })
    }
}

impl Gpt2Config {
    /// Width inside the feed-forward layers.
    pub fn inner(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    pub(super) fn validate(&self) -> Result<()> {
        bounds::check_epsilon("language.layer_norm_epsilon", self.layer_norm_epsilon)?;
        bounds::check(
            "language",
            &[
                ("vocab_size", self.vocab_size, VOCABULARY),
                ("n_embd", self.n_embd, WIDTH),
                ("n_inner", self.n_inner.unwrap_or(1), WIDTH),
                ("n_layer", self.n_layer, LAYERS),
                ("n_head", self.n_head, WIDTH),
                ("n_positions", self.n_positions, POSITIONS),
            ],
        )?;
        gelu_named("language.activation_function", &self.activation_function)?;
        if !self.n_embd.is_multiple_of(self.n_head) {
            let (heads, width) = (self.n_head, self.n_embd);
            let message = format!("{heads} does not divide n_embd {width}");
            return Err(crate::ModelError::config("language.n_head", message));
        }
        Ok(())
    }
}
