//! Finding the chat template in a model's folder.

use std::path::Path;

use serde_json::Value;

use super::ChatTemplate;
use crate::regular::read_text_if_any;
use crate::{DataError, SpecialTokens};

/// Where a template lies, the later written form first: a file of its own, or a key of a JSON file.
const PLACES: [&str; 3] = [
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer_config.json",
];

impl ChatTemplate {
    /// The chat template of a model's folder, with the tokens that it may name: `chat_template.jinja`, or the key
    /// `chat_template` of `chat_template.json` or `tokenizer_config.json`; of several named ones `default`. None where
    /// there is no such file or key.
    ///
    /// # Errors
    /// Names the file that cannot be read and what was expected there.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>, DataError> {
        for name in PLACES {
            let path = folder.join(name);
            let Some(text) = read_text_if_any(&path)? else {
                continue;
            };
            let source = match name.ends_with(".jinja") {
                true => Some(text),
                false => in_json(&path, &text)?,
            };
            if let Some(source) = source {
                let tokens = SpecialTokens::read(folder)?.into_variables();
                return Self::new(&source, tokens, path.display().to_string()).map(Some);
            }
        }
        Ok(None)
    }
}

fn in_json(path: &Path, text: &str) -> Result<Option<String>, DataError> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| DataError::file(path, format!("expected JSON: {error}")))?;
    match &value["chat_template"] {
        Value::Null => Ok(None),
        Value::String(source) => Ok(Some(source.clone())),
        Value::Array(named) => {
            let name = |entry: &Value| entry["name"].as_str().map(str::to_owned);
            let default = named.iter().find(|entry| entry["name"] == "default");
            let source = default.and_then(|entry| entry["template"].as_str());
            source.map(|source| Some(source.to_owned())).ok_or_else(|| {
                let names: Vec<String> = named.iter().filter_map(name).collect();
                let message = format!(
                    "expected a chat template called `default` among {}; write the one to use into a file and give \
                     `chat = \"FILE.jinja\"`",
                    names.join(", ")
                );
                DataError::file(path, message)
            })
        }
        other => Err(DataError::file(
            path,
            format!("`chat_template`: expected a text or a list of named ones, got {other}"),
        )),
    }
}
