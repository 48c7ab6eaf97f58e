//! A backbone: pretrained weights in a folder, or a configuration for new random ones.

use fourfold_model::{LanguageConfig, VisionConfig};
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
    },
    /// From random weights.
    New(C),
}

impl<C> Backbone<C> {
    /// Where its pretrained weights are, if it starts from such.
    pub fn from(&self) -> Option<&Origin> {
        match self {
            Self::Pretrained { from } => Some(from),
            Self::New(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct From {
    from: Origin,
}

/// Reads `[model.vision]`.
pub(super) fn vision(table: Table, path: &KeyPath) -> Result<Backbone<VisionConfig>, KeyError> {
    match pretrained(&table, path)? {
        Some(from) => Ok(Backbone::Pretrained { from }),
        None => strict::read(&Value::Table(table), path).map(Backbone::New),
    }
}

/// Reads `[model.language]`: the family is named by `model_type`; without `vocab_size` the vocabulary is
/// the tokenizer's (0 here until it is known).
pub(super) fn language(
    mut table: Table,
    path: &KeyPath,
) -> Result<Backbone<LanguageConfig>, KeyError> {
    if let Some(from) = pretrained(&table, path)? {
        return Ok(Backbone::Pretrained { from });
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

fn pretrained(table: &Table, path: &KeyPath) -> Result<Option<Origin>, KeyError> {
    if !table.contains_key("from") {
        return Ok(None);
    }
    let from: From = strict::read(&Value::Table(table.clone()), path).map_err(|mut error| {
        if error.message.starts_with("unknown key") {
            error.message =
                "`from` names pretrained weights and brings their configuration; remove \
                             this key, or remove `from` to start from random weights"
                    .into();
        }
        error
    })?;
    Ok(Some(from.from))
}
