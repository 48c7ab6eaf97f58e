//! `config.json` files.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{LanguageConfig, ModelConfig, ModelError, Part, Result, VisionConfig};

const CONFIG: &str = "config.json";

/// Reads `folder/config.json`.
pub(crate) fn read_config<T: DeserializeOwned>(folder: &Path) -> Result<T> {
    let path = folder.join(CONFIG);
    let text = fs::read_to_string(&path).map_err(ModelError::io(&path))?;
    serde_json::from_str(&text)
        .map_err(|error| ModelError::config(path.display(), error.to_string()))
}

/// Writes the configuration of a whole model.
pub(crate) fn write_config(folder: &Path, config: &ModelConfig) -> Result<()> {
    write_json(
        folder,
        config,
        "fourfold",
        "FourfoldForConditionalGeneration",
    )
}

/// Writes the configuration of one part as Hugging Face has it.
pub(crate) fn write_part_config(config: &ModelConfig, part: Part, folder: &Path) -> Result<()> {
    match (part, &config.language) {
        (Part::Vision, _) => write_json(
            folder,
            &config.vision,
            &config.vision.model_type,
            "SiglipVisionModel",
        ),
        (Part::Language, LanguageConfig::Llama(_)) => {
            write_json(folder, &config.language, "llama", "LlamaForCausalLM")
        }
        (Part::Language, LanguageConfig::Gpt2(_)) => {
            write_json(folder, &config.language, "gpt2", "GPT2LMHeadModel")
        }
        (Part::Projector, _) => Err(ModelError::Input(
            "the projector is no model of its own; save the whole model".into(),
        )),
    }
}

fn write_json(
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

/// Demands that the folder's configuration is the one the model was built with.
pub(crate) fn check_part(config: &ModelConfig, part: Part, folder: &Path) -> Result<()> {
    let same = match part {
        Part::Vision => read_config::<VisionConfig>(folder)? == config.vision,
        Part::Language => read_config::<LanguageConfig>(folder)? == config.language,
        Part::Projector => true,
    };
    if same {
        return Ok(());
    }
    Err(ModelError::config(
        folder.join(CONFIG).display(),
        format!(
            "describes another {part} model than the one being built; use the folder's own configuration"
        ),
    ))
}
