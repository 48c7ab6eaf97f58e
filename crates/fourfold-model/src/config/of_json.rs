//! Models out of a `config.json`, checked, so that whatever is wrong is named by the file's own key.

use serde::de::{DeserializeOwned, Error};
use serde_json::Value;

use super::hugging_face::Selected;
use super::json::{KeyFault, from_json};
use crate::{LanguageConfig, ModelConfig, ModelError, Result, VisionConfig};

/// What stands before the keys of a part where it is checked, and in files of whole models.
const PARTS: [(&str, &str); 3] = [
    ("vision.", "vision_config"),
    ("projector.", "projector_config"),
    ("language.", "text_config"),
];

impl ModelConfig {
    /// The whole model of a `config.json` that Fourfold wrote.
    ///
    /// # Errors
    /// Names the key that is missing, not supported or makes no model.
    pub(crate) fn of_json(file: Value) -> Result<Self, String> {
        let config: Self = from_json(file).map_err(|fault| fault.to_string())?;
        match config.validate() {
            Ok(()) => Ok(config),
            Err(ModelError::Config { origin, message }) => {
                let place = PARTS
                    .iter()
                    .find_map(|(own, file)| Some((origin.strip_prefix(own)?, *file)));
                let (name, part) = place.unwrap_or((&origin, ""));
                Err(KeyFault::custom(message)
                    .under(name)
                    .under(part)
                    .to_string())
            }
            Err(other) => Err(other.to_string()),
        }
    }
}

impl VisionConfig {
    /// The vision encoder of a `config.json`.
    ///
    /// # Errors
    /// Names the key that is missing, not supported or makes no model.
    pub(crate) fn of_json(file: Value) -> Result<Self, String> {
        read(Self::select(file)?, "vision.", Self::validate)
    }
}

impl LanguageConfig {
    /// The language model of a `config.json`.
    ///
    /// # Errors
    /// Names the key that is missing, not supported or makes no model.
    pub(crate) fn of_json(file: Value) -> Result<Self, String> {
        read(Self::select(file)?, "language.", Self::validate)
    }
}

/// What `selected` describes; `own` stands before the keys that `validate` names.
fn read<T: DeserializeOwned>(
    selected: Selected,
    own: &str,
    validate: impl FnOnce(&T) -> Result<()>,
) -> Result<T, String> {
    let Selected { key, part } = selected;
    let within = |fault: KeyFault| fault.under(key).to_string();
    let config: T = from_json(part).map_err(within)?;
    match validate(&config) {
        Ok(()) => Ok(config),
        Err(ModelError::Config { origin, message }) => {
            let name = origin.strip_prefix(own).unwrap_or(&origin);
            Err(within(KeyFault::custom(message).under(name)))
        }
        Err(other) => Err(other.to_string()),
    }
}
