//! The language model's configuration.

mod gpt2;
mod rope;
mod rope_file;
mod rope_table;
mod rotary;
mod rotary_file;
mod rotary_written;
#[cfg(test)]
mod tests;

use fourfold_tensor::ops::Heads;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use gpt2::Gpt2Config;
pub use rope::{RopeConfig, RopeScaling};
pub use rotary::{RotaryConfig, RotaryFamily, WindowConfig};

use super::json::from_json;
use crate::{ModelError, Result};

/// A language model, told apart by Hugging Face's `model_type`.
#[derive(Clone, Debug, PartialEq)]
pub enum LanguageConfig {
    /// Llama and its descendants.
    Rotary(RotaryConfig),
    /// GPT-2: layer norms, learned positions, GELU feed-forward.
    Gpt2(Gpt2Config),
}

/// GPT-2's `model_type`.
const GPT2: &str = "gpt2";

impl LanguageConfig {
    /// Every `model_type` that there is.
    pub fn model_types() -> Vec<&'static str> {
        let rotary = RotaryFamily::ALL.map(RotaryFamily::model_type);
        rotary.into_iter().chain([GPT2]).collect()
    }

    /// Hugging Face's `model_type`.
    pub fn model_type(&self) -> &'static str {
        match self {
            Self::Rotary(config) => config.family.model_type(),
            Self::Gpt2(_) => GPT2,
        }
    }

    /// Hugging Face's class for it.
    pub(crate) fn architecture(&self) -> &'static str {
        match self {
            Self::Rotary(config) => config.family.architecture(),
            Self::Gpt2(_) => "GPT2LMHeadModel",
        }
    }

    /// How many tokens it knows.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Rotary(config) => config.vocab_size,
            Self::Gpt2(config) => config.vocab_size,
        }
    }

    /// The same model with room for `tokens` tokens.
    pub fn set_vocabulary(&mut self, tokens: usize) {
        match self {
            Self::Rotary(config) => config.vocab_size = tokens,
            Self::Gpt2(config) => config.vocab_size = tokens,
        }
    }

    /// Whether the head is the embedding table.
    pub(crate) fn ties_head(&self) -> bool {
        match self {
            Self::Rotary(config) => config.tie_word_embeddings,
            Self::Gpt2(config) => config.tie_word_embeddings,
        }
    }

    /// Longest document in tokens.
    pub fn max_positions(&self) -> usize {
        match self {
            Self::Rotary(config) => config.max_position_embeddings,
            Self::Gpt2(config) => config.n_positions,
        }
    }

    /// Width of the residual stream.
    pub fn width(&self) -> usize {
        match self {
            Self::Rotary(config) => config.hidden_size,
            Self::Gpt2(config) => config.n_embd,
        }
    }

    /// Number of blocks.
    pub fn layers(&self) -> usize {
        match self {
            Self::Rotary(config) => config.num_hidden_layers,
            Self::Gpt2(config) => config.n_layer,
        }
    }

    /// The attention heads.
    pub fn heads(&self) -> Heads {
        match self {
            Self::Rotary(config) => config.heads(),
            Self::Gpt2(config) => Heads {
                query: config.n_head,
                key_value: config.n_head,
                width: config.n_embd / config.n_head.max(1),
            },
        }
    }

    /// How many rows the layer at `index` sees at most, its own counted, if not all.
    pub fn window(&self, index: usize) -> Option<usize> {
        let Self::Rotary(config) = self else {
            return None;
        };
        let window = config.window.as_ref()?;
        window.layers.get(index)?.then_some(window.rows)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match self {
            Self::Rotary(config) => config.validate()?,
            Self::Gpt2(config) => config.validate()?,
        }
        let heads = self.heads();
        if !heads.query.is_multiple_of(heads.key_value) {
            let (query, key_value) = (heads.query, heads.key_value);
            return Err(ModelError::config(
                "language.num_key_value_heads",
                format!("{key_value} does not divide {query}, the number of query heads"),
            ));
        }
        Ok(())
    }
}

impl Serialize for LanguageConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Tagged<'a> {
            model_type: &'a str,
            #[serde(flatten)]
            config: &'a Gpt2Config,
        }
        match self {
            Self::Rotary(config) => config.serialize(serializer),
            Self::Gpt2(config) => Tagged {
                model_type: GPT2,
                config,
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for LanguageConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let model_type = value.get("model_type").and_then(Value::as_str);
        let model_type = model_type
            .ok_or_else(|| D::Error::custom("missing field `model_type`"))?
            .to_owned();
        match model_type.as_str() {
            GPT2 => from_json(value).map(Self::Gpt2),
            rotary if RotaryFamily::named(rotary).is_some() => from_json(value).map(Self::Rotary),
            other => {
                return Err(D::Error::custom(format!(
                    "model_type: language models of type '{other}' are not supported; expected {}",
                    Self::model_types().join(", ")
                )));
            }
        }
        .map_err(D::Error::custom)
    }
}
