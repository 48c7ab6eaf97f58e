//! The tokens of a tokenizer and their kinds.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::super::metadata::Reader;
use crate::Result;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";

/// What a token is (`llama_token_type`); what is left is plain text.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const BYTE: i64 = 6;

/// The tokens of a file by id.
pub(super) struct Vocabulary<'a> {
    pub tokens: Vec<&'a str>,
    types: Vec<i64>,
    ids: HashMap<&'a str, u32>,
}

impl<'a> Vocabulary<'a> {
    pub fn read(metadata: &Reader<'a>) -> Result<Self> {
        let tokens = metadata.demand(TOKENS, Reader::texts)?;
        let types = match metadata.integers(TYPES)? {
            Some(types) => types,
            // All are plain text, as of old files.
            None => vec![1; tokens.len()],
        };
        if types.len() != tokens.len() {
            return Err(metadata.fault(
                TYPES,
                format!(
                    "has {} elements; expected {}, one for each of '{TOKENS}': convert the model again",
                    types.len(),
                    tokens.len()
                ),
            ));
        }
        let mut ids = HashMap::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            let known = u32::try_from(id).ok().map(|id| ids.insert(*token, id));
            if known != Some(None) {
                return Err(metadata.fault(
                    TOKENS,
                    format!(
                        "holds {token:?} twice, the second time at {id}; convert the model again"
                    ),
                ));
            }
        }
        Ok(Self { tokens, types, ids })
    }

    /// The id of a token by its text.
    pub fn find(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// A token that a key names by id.
    pub fn id(&self, metadata: &Reader, key: &str) -> Result<Option<u32>> {
        let Some(id) = metadata.integer(key)? else {
            return Ok(None);
        };
        match u32::try_from(id) {
            Ok(small) if id < self.tokens.len() => Ok(Some(small)),
            _ => Err(metadata.fault(
                key,
                format!(
                    "is {id}, but there are {} tokens; convert the model again",
                    self.tokens.len()
                ),
            )),
        }
    }

    /// Whether a token stands for text that pieces may be merged to: one that is found in a text as a whole, or stands
    /// for no text or a byte, is not.
    pub fn is_text(&self, id: usize) -> bool {
        !matches!(self.types[id], UNKNOWN | CONTROL | USER_DEFINED | BYTE)
    }

    /// Whether any token stands for a byte.
    pub fn has_bytes(&self) -> bool {
        self.types.contains(&BYTE)
    }

    /// The value of `model.vocab`.
    pub fn json(&self) -> Value {
        let ids = self.tokens.iter().enumerate();
        Value::Object(
            ids.map(|(id, token)| ((*token).to_owned(), id.into()))
                .collect::<Map<_, _>>(),
        )
    }

    /// The value of `added_tokens`, by id.
    pub fn added_tokens(&self) -> Value {
        let all = self.types.iter().zip(&self.tokens).enumerate();
        let added = all.filter(|(_, (kind, _))| matches!(**kind, UNKNOWN | CONTROL | USER_DEFINED));
        let token = |(id, (kind, token)): (usize, (&i64, &&str))| {
            json!({
                "id": id,
                "content": token,
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": *kind != USER_DEFINED,
            })
        };
        added.map(token).collect()
    }
}
