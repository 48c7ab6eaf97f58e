//! A backbone: pretrained weights in a folder, or a configuration for new random ones.

use fourfold_model::{ImageSize, LanguageConfig, ModelError, VisionConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::key::{KeyError, KeyPath, unknown_word};
use super::origin::Origin;
use super::strict;

/// Where a vision encoder or language model starts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Backbone<C> {
    /// From a folder with `config.json` and `model.safetensors`, here or on the hub.
    Pretrained {
        /// The folder.
        from: Origin,
        /// What is different of an encoder; nothing of a language model.
        #[serde(flatten)]
        changes: VisionChanges,
    },
    /// From random weights.
    New(C),
}

/// How a pretrained vision encoder is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct VisionChanges {
    /// The features are those of this layer, in `transformers`' count of hidden states; the last, normed where the
    /// family norms them, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<i64>,
    /// Whether the class token is a visual token.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_class_token: bool,
    /// The size of its input; its positions are interpolated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<ImageSize>,
}

impl VisionChanges {
    /// The encoder of a folder, changed so.
    ///
    /// # Errors
    /// When it has no such layer.
    pub fn apply(self, stored: VisionConfig) -> Result<VisionConfig, ModelError> {
        let mut config = match self.layer {
            Some(layer) => stored.cut_at(layer)?,
            None => stored,
        };
        config.keep_class_token |= self.keep_class_token;
        config.image_size = self.image_size.unwrap_or(config.image_size);
        Ok(config)
    }
}

impl<C> Backbone<C> {
    /// Where its pretrained weights are, if it starts from such.
    pub fn from(&self) -> Option<&Origin> {
        match self {
            Self::Pretrained { from, .. } => Some(from),
            Self::New(_) => None,
        }
    }
}

/// `[model.vision]` with a `from`.
#[derive(Deserialize)]
struct PretrainedVision {
    from: Origin,
    layer: Option<i64>,
    #[serde(default)]
    keep_class_token: bool,
    image_size: Option<ImageSize>,
}

/// `[model.language]` with a `from`.
#[derive(Deserialize)]
struct PretrainedLanguage {
    from: Origin,
}

/// Reads `[model.vision]`.
pub(super) fn vision(table: Table, path: &KeyPath) -> Result<Backbone<VisionConfig>, KeyError> {
    match pretrained::<PretrainedVision>(&table, path)? {
        Some(read) => Ok(Backbone::Pretrained {
            from: read.from,
            changes: VisionChanges {
                layer: read.layer,
                keep_class_token: read.keep_class_token,
                image_size: read.image_size,
            },
        }),
        None => strict::read(&Value::Table(table), path).map(Backbone::New),
    }
}

/// Reads `[model.language]`: the family is named by `model_type`; without `vocab_size` the vocabulary is
/// the tokenizer's (0 here until it is known).
pub(super) fn language(
    mut table: Table,
    path: &KeyPath,
) -> Result<Backbone<LanguageConfig>, KeyError> {
    if let Some(read) = pretrained::<PretrainedLanguage>(&table, path)? {
        return Ok(Backbone::Pretrained {
            from: read.from,
            changes: VisionChanges::default(),
        });
    }
    let families = LanguageConfig::model_types();
    table.entry("vocab_size").or_insert(Value::Integer(0));
    let Some(family) = table
        .get("model_type")
        .and_then(Value::as_str)
        .map(str::to_owned)
    else {
        return Err(KeyError::at(
            path.clone(),
            format!(
                "give `from = \"FOLDER\"` of a pretrained language model, or `model_type = \"llama\"` (or another \
                 of {}) and its configuration for random weights",
                families.join(", ")
            ),
        ));
    };
    if family == "gpt2" {
        table.remove("model_type");
        let also = ["model_type", "from"];
        return strict::read_rest(table, path, &also)
            .map(|c| Backbone::New(LanguageConfig::Gpt2(c)));
    }
    if !families.contains(&family.as_str()) {
        return Err(KeyError::at(
            path.key("model_type"),
            unknown_word("language model family", &family, &families),
        ));
    }
    strict::read_rest(table, path, &["from"]).map(|c| Backbone::New(LanguageConfig::Rotary(c)))
}

fn pretrained<T: DeserializeOwned>(table: &Table, path: &KeyPath) -> Result<Option<T>, KeyError> {
    if !table.contains_key("from") {
        return Ok(None);
    }
    let read = strict::read(&Value::Table(table.clone()), path).map_err(|mut error: KeyError| {
        let key = error.path.as_ref().map(|path| path.display(|_| None));
        if key.is_some_and(|key| key.ends_with(".visibility")) {
            error.message = "it is a key of [model]: what a row may see is a matter of the whole model".into();
        } else if error.message.starts_with("unknown key") {
            error.message = format!(
                "`from` names pretrained weights and brings their configuration; remove this key, or remove `from` to \
                 start from random weights ({})",
                error.message
            );
        }
        error
    })?;
    Ok(Some(read))
}
