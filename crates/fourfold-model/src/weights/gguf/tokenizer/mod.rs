//! The tokenizer in a file's metadata, as a `tokenizer.json` of Hugging Face's `tokenizers`.

mod byte_level;
mod sentence_piece;
mod vocabulary;

use serde_json::{Value, json};

use super::GgufFile;
use super::metadata::Reader;
use crate::Result;
use vocabulary::Vocabulary;

/// A tokenizer and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTokenizer {
    /// The text of a `tokenizer.json`. It adds no tokens at the ends of a text.
    pub json: String,
    /// The token that begins a text.
    pub begin: Option<u32>,
    /// The token that ends a text.
    pub end: Option<u32>,
    /// Whether the model was trained on texts that begin with `begin`.
    pub add_begin: bool,
    /// The Jinja template of a chat, where the model has one.
    pub chat_template: Option<String>,
}

impl GgufFile {
    /// Builds the `tokenizer.json` of the file's tokenizer.
    ///
    /// Control tokens become special tokens, which no text encodes to; user-defined ones become added tokens that are
    /// not special: they are found in a text before anything else.
    ///
    /// # Errors
    /// Names the key that is missing, does not fit the others, or holds a tokenizer that is not read here.
    pub fn tokenizer(&self) -> Result<GgufTokenizer> {
        const MODEL: &str = "tokenizer.ggml.model";
        let metadata = self.metadata();
        let model = metadata.demand(MODEL, Reader::text)?;
        let vocabulary = Vocabulary::read(&metadata)?;
        let (parts, always_begins) = match model {
            "gpt2" => byte_level::parts(&metadata, &vocabulary)?,
            "llama" => (sentence_piece::parts(&metadata, &vocabulary)?, true),
            other => {
                return Err(metadata.fault(
                    MODEL,
                    format!(
                        "is '{other}'; read are gpt2 (byte-level BPE) and llama (SentencePiece's BPE): take another model"
                    ),
                ));
            }
        };
        let json = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": vocabulary.added_tokens(),
            "normalizer": parts.normalizer,
            "pre_tokenizer": parts.pre_tokenizer,
            "post_processor": null,
            "decoder": parts.decoder,
            "model": parts.model,
        });
        let add_begin = metadata.boolean("tokenizer.ggml.add_bos_token")?;
        let begin = vocabulary.id(&metadata, "tokenizer.ggml.bos_token_id")?;
        Ok(GgufTokenizer {
            json: json.to_string(),
            begin,
            end: vocabulary.id(&metadata, "tokenizer.ggml.eos_token_id")?,
            add_begin: begin.is_some() && add_begin.unwrap_or(always_begins),
            chat_template: metadata.text("tokenizer.chat_template")?.map(str::to_owned),
        })
    }
}

/// What differs between tokenizers, as values of a `tokenizer.json`.
struct Parts {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
}
