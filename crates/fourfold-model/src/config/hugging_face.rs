//! The part of Hugging Face's `config.json` files that describes a backbone, and what they leave unsaid.
//!
//! `transformers` writes only what differs from the defaults of a family, so that a file may hold little more than a
//! name; [`complete`] has those defaults, as of `transformers` 5.

use serde_json::{Map, Value, json};

use super::json::KeyFault;
use crate::{LanguageConfig, VisionConfig, VisionFamily};

/// The part of a `config.json` that describes a backbone, completed.
pub(super) struct Selected {
    /// The key that the part stands under, empty where it is the whole file.
    pub key: &'static str,
    /// Its keys.
    pub part: Value,
}

/// `part`, which stands under `key`, completed.
fn selected(key: &'static str, part: Value) -> Result<Selected, String> {
    let part = complete(part).map_err(|fault| fault.under(key).to_string())?;
    Ok(Selected { key, part })
}

impl VisionConfig {
    /// The vision encoder of a `config.json`, completed.
    pub(super) fn select(file: Value) -> Result<Selected, String> {
        unquantised(&file)?;
        let model_type = model_type(&file)?;
        if VisionFamily::ALL
            .iter()
            .any(|family| family.model_type() == model_type)
        {
            return selected("", file);
        }
        // Of a CLIP, `transformers` lets this older key replace the other one.
        let older = Some("vision_config_dict").filter(|_| model_type == "clip");
        let mut keys = older.into_iter().chain(["vision_config"]);
        let found =
            keys.find_map(|key| Some((key, file.get(key).filter(|part| part.is_object())?)));
        let Some((key, mut part)) = found.map(|(key, part)| (key, part.clone())) else {
            let known = VisionFamily::ALL.map(VisionFamily::model_type).join(", ");
            return Err(format!(
                "model_type: '{model_type}' is no vision encoder that is supported; expected {known}, or a model with \
                 one of these as its vision_config"
            ));
        };
        // The files of these two may leave the type of their encoder unsaid.
        let implied = match model_type.as_str() {
            "siglip" => Some(VisionFamily::Siglip),
            "clip" => Some(VisionFamily::Clip),
            _ => None,
        };
        if let (Some(family), Some(part)) = (implied, part.as_object_mut()) {
            let named = part.entry("model_type").or_insert(Value::Null);
            if named.is_null() {
                *named = family.model_type().into();
            }
        }
        let inner = self::model_type(&part).map_err(|error| format!("{key}.{error}"))?;
        match VisionFamily::ALL
            .iter()
            .any(|family| family.model_type() == inner)
        {
            true => selected(key, part),
            false => {
                let known = VisionFamily::ALL.map(VisionFamily::model_type).join(", ");
                Err(format!(
                    "{key}.model_type: '{inner}' is not supported; expected {known}"
                ))
            }
        }
    }
}

impl LanguageConfig {
    /// The language model of a `config.json`, completed.
    pub(super) fn select(file: Value) -> Result<Selected, String> {
        unquantised(&file)?;
        let model_type = model_type(&file)?;
        let known = Self::model_types();
        if known.contains(&model_type.as_str()) {
            return selected("", file);
        }
        let Some(mut part) = file
            .get("text_config")
            .filter(|part| part.is_object())
            .cloned()
        else {
            return Err(format!(
                "model_type: '{model_type}' is no language model that is supported; expected {}, or a model with one \
                 of these as its text_config",
                known.join(", ")
            ));
        };
        // Of a larger model, whether the head is tied may stand outside.
        if let (Some(tied), Some(part)) = (file.get("tie_word_embeddings"), part.as_object_mut()) {
            part.entry("tie_word_embeddings").or_insert(tied.clone());
        }
        let inner = self::model_type(&part).map_err(|error| format!("text_config.{error}"))?;
        match known.contains(&inner.as_str()) {
            true => selected("text_config", part),
            false => Err(format!(
                "text_config.model_type: '{inner}' is not supported; expected {}",
                known.join(", ")
            )),
        }
    }
}

/// Refuses weights that are stored in fewer bits in a way of their own.
fn unquantised(file: &Value) -> Result<(), String> {
    match file.get("quantization_config") {
        None | Some(Value::Null) => Ok(()),
        Some(how) => {
            let method = how["quant_method"].as_str().unwrap_or("unnamed");
            Err(format!(
                "quantization_config: the weights are quantised ({method}), which is not read; take the model that they \
                 were made from, or a GGUF file"
            ))
        }
    }
}

fn model_type(config: &Value) -> Result<String, String> {
    match config.get("model_type") {
        Some(Value::String(name)) => Ok(name.clone()),
        Some(other) => Err(format!("model_type: is {other}; expected a word")),
        None => Err("model_type: is missing; the file does not say what model it describes".into()),
    }
}

/// Demands that `key` has the one value that is built here.
pub(super) fn only(key: &str, is: bool, expected: &str) -> Result<(), String> {
    if is {
        return Ok(());
    }
    Err(format!(
        "{key}: has a value that is not supported; expected {expected}: use a model that was trained so"
    ))
}

/// Keys of a GPT-2 that `transformers` reads under a name that other families have too (its `attribute_map`).
const GPT2_ALIASES: [(&str, &str); 4] = [
    ("hidden_size", "n_embd"),
    ("max_position_embeddings", "n_positions"),
    ("num_attention_heads", "n_head"),
    ("num_hidden_layers", "n_layer"),
];

/// `config` with the defaults of its `model_type` for what it leaves unsaid.
pub(super) fn complete(mut config: Value) -> Result<Value, KeyFault> {
    let Value::Object(table) = &mut config else {
        return Ok(config);
    };
    let model_type = table.get("model_type").and_then(Value::as_str);
    let model_type = model_type.unwrap_or_default().to_owned();
    if model_type == "gpt2" {
        rename(table)?;
    }
    if model_type.starts_with("qwen") {
        // A window of null is none, and one that is not there has the default's rows.
        let null = |key: &str| table.get(key).is_some_and(Value::is_null);
        let no_window =
            null("sliding_window") && table.get("layer_types").is_none_or(Value::is_null);
        if no_window {
            table.insert("use_sliding_window".into(), false.into());
        }
    }
    if model_type == "gemma3_text" && table.get("num_key_value_heads").is_some_and(Value::is_null) {
        let fault: KeyFault = serde::de::Error::custom("is null; expected a whole number");
        return Err(fault.under("num_key_value_heads"));
    }
    let Value::Object(defaults) = defaults(&model_type) else {
        return Ok(config);
    };
    for (key, value) in defaults {
        // A key that is null is unsaid, but for those whose null means something: as many heads, no window.
        let means_something = ["num_key_value_heads", "sliding_window"].contains(&key.as_str());
        match table.get(&key) {
            Some(Value::Null) if means_something => {}
            None | Some(Value::Null) => {
                table.insert(key, value);
            }
            Some(_) => {}
        }
    }
    Ok(config)
}

/// Gives the keys of a GPT-2 its own names. `transformers` lets the other name win; a file where both are there and
/// differ says two things.
fn rename(table: &mut Map<String, Value>) -> Result<(), KeyFault> {
    for (alias, name) in GPT2_ALIASES {
        let Some(value) = table.remove(alias).filter(|value| !value.is_null()) else {
            continue;
        };
        match table.get(name) {
            Some(own) if !own.is_null() && *own != value => {
                let message = format!(
                    "is {value}, but {name}, which is the same, is {own}; remove the one that is wrong"
                );
                let fault: KeyFault = serde::de::Error::custom(message);
                return Err(fault.under(alias));
            }
            _ => table.insert(name.into(), value),
        };
    }
    Ok(())
}

fn defaults(model_type: &str) -> Value {
    match model_type {
        "siglip_vision_model" => vit(16),
        "clip_vision_model" => vit(32),
        "vit" | "deit" => vit(16),
        "dinov2" => json!({
            "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224, "patch_size": 14,
            "mlp_ratio": 4,
        }),
        "dinov2_with_registers" => json!({
            "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224, "patch_size": 16,
            "mlp_ratio": 4, "num_register_tokens": 4,
        }),
        "llama" => json!({
            "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
            "num_attention_heads": 32, "max_position_embeddings": 2048,
        }),
        "qwen2" => json!({
            "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 32768,
            "sliding_window": 4096,
        }),
        "qwen3" => json!({
            "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 32768, "head_dim": 128,
            "sliding_window": 4096,
        }),
        "gemma3_text" => json!({
            "vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
            "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 131072, "head_dim": 256,
            "sliding_window": 4096,
        }),
        "gpt2" => json!({
            "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
        }),
        _ => Value::Null,
    }
}

fn vit(patch_size: usize) -> Value {
    json!({
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "image_size": 224, "patch_size": patch_size,
    })
}
