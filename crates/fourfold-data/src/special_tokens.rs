//! The tokens that begin and end a document of a pretrained model, from the files beside its tokenizer.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::regular::read_text_if_any;
use crate::{DataError, TextFormat, Tokenizer};

/// The keys that templates may use and documents may need.
const ROLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];
/// Tokens that keep an image's place in models that know images, the most usual first.
const IMAGE: [&str; 3] = ["<image>", "<|image|>", "<|image_pad|>"];

/// The texts of a tokenizer's special tokens by their role, as `bos_token`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    by_role: BTreeMap<String, String>,
    /// The id that `generation_config.json` or `config.json` says an answer ends with.
    end_id: Option<u32>,
}

impl SpecialTokens {
    /// From `tokenizer_config.json`, `special_tokens_map.json`, and the `eos_token_id` of `generation_config.json` or
    /// `config.json`, as far as there are such files; what an earlier one says goes before the later.
    ///
    /// # Errors
    /// Names the file that is no JSON, or whose token has no text.
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let mut tokens = Self::default();
        for file in ["tokenizer_config.json", "special_tokens_map.json"] {
            let path = folder.join(file);
            let Some(value) = json(&path)? else { continue };
            for role in ROLES {
                // A text, or an added token with its flags.
                let token = match &value[role] {
                    Value::Null => continue,
                    Value::String(text) => text,
                    Value::Object(token) => match token.get("content") {
                        Some(Value::String(text)) => text,
                        _ => return Err(no_text(&path, role)),
                    },
                    _ => return Err(no_text(&path, role)),
                };
                let role = role.to_owned();
                tokens.by_role.entry(role).or_insert_with(|| token.clone());
            }
        }
        for file in ["generation_config.json", "config.json"] {
            let Some(value) = json(&folder.join(file))? else {
                continue;
            };
            // One id, or several of which the first is the usual one.
            let id = match &value["eos_token_id"] {
                Value::Array(ids) => ids.first().and_then(Value::as_u64),
                id => id.as_u64(),
            };
            tokens.end_id = tokens.end_id.or(id.and_then(|id| u32::try_from(id).ok()));
        }
        Ok(tokens)
    }

    /// Those that a file of another kind names.
    pub fn new(begin: Option<String>, end: Option<String>) -> Self {
        let roles = [("bos_token", begin), ("eos_token", end)];
        let named = roles.into_iter();
        Self {
            by_role: named
                .filter_map(|(role, token)| Some((role.to_owned(), token?)))
                .collect(),
            end_id: None,
        }
    }

    /// What a document begins with, if the tokenizer has such a token.
    pub fn begin(&self) -> Option<&str> {
        self.by_role.get("bos_token").map(String::as_str)
    }

    /// What an answer ends with: the tokenizer's own `eos_token`, else that of the model's configuration.
    pub fn end(&self, tokenizer: &Tokenizer) -> Option<String> {
        let own = self.by_role.get("eos_token").cloned();
        own.or_else(|| tokenizer.token(self.end_id?))
    }

    /// By role, as templates name them.
    pub fn into_variables(self) -> BTreeMap<String, String> {
        self.by_role
    }

    /// The layout of documents for a pretrained language model that brings none: its own beginning and end; the end
    /// also in the place of a missing beginning, as GPT-2 has it, and between prompt and answer, since a token that
    /// the model knows is worth more there than a new one that it does not. An image's place is kept by the token
    /// that the tokenizer has for it, else by `<image>`, which has to be added ([`Tokenizer::with_added`]).
    ///
    /// None where the model names no end.
    pub fn format(&self, tokenizer: &Tokenizer) -> Option<TextFormat> {
        let end = self.end(tokenizer)?;
        let known = IMAGE.iter().find(|token| tokenizer.special(token).is_ok());
        Some(TextFormat {
            begin: self.begin().unwrap_or(&end).to_owned(),
            image: (*known.unwrap_or(&IMAGE[0])).to_owned(),
            answer: end.clone(),
            end,
            ..TextFormat::default()
        })
    }
}

fn no_text(path: &Path, role: &str) -> DataError {
    let message = format!("`{role}`: expected a text, or an object with a `content`");
    DataError::file(path, message)
}

fn json(path: &Path) -> Result<Option<Value>, DataError> {
    let Some(text) = read_text_if_any(path)? else {
        return Ok(None);
    };
    let value = serde_json::from_str(&text);
    let value = value.map_err(|error| DataError::file(path, format!("expected JSON: {error}")));
    value.map(Some)
}
