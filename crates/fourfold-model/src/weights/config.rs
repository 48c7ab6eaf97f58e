//! `config.json` files.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::gguf::GgufFile;
use super::gguf_of;
use super::regular::read_text;
use crate::{LanguageConfig, ModelConfig, ModelError, Part, Result, VisionConfig, VisionFamily};

const CONFIG: &str = "config.json";

/// The `model_type` of a whole model.
const WHOLE: &str = "fourfold";

/// Reads `folder/config.json`.
pub(crate) fn read_config<T: DeserializeOwned>(folder: &Path) -> Result<T> {
    let path = folder.join(CONFIG);
    let text = read_text(&path)?;
    serde_json::from_str(&text)
        .map_err(|error| ModelError::config(path.display(), error.to_string()))
}

/// Reads the configuration of a whole model, which [`write_config`] wrote.
pub(crate) fn read_whole(folder: &Path) -> Result<ModelConfig> {
    let file: Value = read_config(folder)?;
    let fault = |message| Err(ModelError::config(folder.join(CONFIG).display(), message));
    match file["model_type"].as_str() {
        Some(WHOLE) => {}
        Some("llava") => {
            return fault(
                "model_type is llava; expected fourfold: `fourfold import` turns a LLaVA into a model of Fourfold's"
                    .to_owned(),
            );
        }
        other => {
            return fault(format!(
                "model_type is {}; expected fourfold, a whole model that Fourfold wrote. A pretrained encoder or language \
                 model is a part: `from` in [model.vision] or [model.language]",
                other.unwrap_or("missing")
            ));
        }
    }
    ModelConfig::of_json(file).or_else(fault)
}

impl VisionConfig {
    /// The vision encoder that `folder/config.json` describes: one alone, or that of a larger model such as CLIP,
    /// SigLIP or a vision-language model.
    ///
    /// # Errors
    /// Names the file, and the key that is missing or not supported.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG);
        Self::of_json(read_config(folder)?)
            .map_err(|message| ModelError::config(path.display(), message))
    }
}

impl LanguageConfig {
    /// The language model that `folder/config.json` describes: one alone, or that of a vision-language model; or that
    /// of a GGUF file, given itself or by a folder that holds it and no `config.json`.
    ///
    /// # Errors
    /// Names the file, and the key that is missing or not supported.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let (path, config) = match gguf_of(folder)? {
            Some(path) => {
                let config = GgufFile::open(&path)?.hugging_face()?.config().clone();
                (path, config)
            }
            None => (folder.join(CONFIG), read_config(folder)?),
        };
        Self::of_json(config).map_err(|message| ModelError::config(path.display(), message))
    }
}

/// Writes the configuration of a whole model.
pub(crate) fn write_config(folder: &Path, config: &ModelConfig) -> Result<()> {
    write_json(folder, config, WHOLE, "FourfoldForConditionalGeneration")
}

/// An encoder's configuration as `transformers` reads it.
pub(crate) fn vision_table(config: &VisionConfig) -> Result<Map<String, Value>> {
    let mut table = table(config)?;
    if config.family == VisionFamily::Siglip {
        // Attention that pools the patches, which is none of the features here: without the key, its weights would be
        // missed.
        table.insert("vision_use_head".into(), false.into());
    }
    Ok(table)
}

/// A configuration as a table of keys.
pub(crate) fn table(config: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(config) {
        Ok(Value::Object(table)) => Ok(table),
        Ok(other) => Err(ModelError::config(
            CONFIG,
            format!("{other} is no table; this is a defect of Fourfold"),
        )),
        Err(error) => Err(ModelError::config(CONFIG, error.to_string())),
    }
}

/// Writes the configuration of one part as Hugging Face has it.
pub(crate) fn write_part_config(config: &ModelConfig, part: Part, folder: &Path) -> Result<()> {
    match part {
        Part::Vision => {
            let family = config.vision.family;
            write_json(
                folder,
                &vision_table(&config.vision)?,
                family.model_type(),
                family.architecture(),
            )
        }
        Part::Language => {
            let language = &config.language;
            write_json(
                folder,
                language,
                language.model_type(),
                language.architecture(),
            )
        }
        Part::Projector | Part::Lora => Err(ModelError::Input(format!(
            "the {part} is no model of its own; save the whole model"
        ))),
    }
}

/// Writes `folder/config.json`: the type and class of a model, and `config`.
pub(crate) fn write_json(
    folder: &Path,
    config: &impl Serialize,
    model_type: &str,
    architecture: &str,
) -> Result<()> {
    let path = folder.join(CONFIG);
    let fault = |error: serde_json::Error| ModelError::config(path.display(), error.to_string());
    let mut value = json!({ "model_type": model_type, "architectures": [architecture] });
    if let (Value::Object(all), Value::Object(own)) =
        (&mut value, serde_json::to_value(config).map_err(fault)?)
    {
        all.extend(own);
    }
    let text = serde_json::to_string_pretty(&value).map_err(fault)? + "\n";
    fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
    fs::write(&path, text).map_err(ModelError::io(&path))
}
