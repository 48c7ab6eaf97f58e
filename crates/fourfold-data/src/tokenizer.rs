//! Text to tokens and back, through Hugging Face's `tokenizer.json`.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, TokenizerBuilder};

use crate::regular::read_text;
use crate::{DataError, hash};

/// A `tokenizer.json`.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The same, but special tokens written out in a text are those tokens; made when first asked for.
    markup: OnceLock<Box<tokenizers::Tokenizer>>,
    /// The hash of the one that tokens were added to.
    original_hash: Option<String>,
    /// The file as it was read, so that saving it again changes nothing.
    json: String,
    hash: String,
    name: String,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let json = read_text(path)?;
        Self::from_json(json, path.display().to_string())
    }

    /// From the text of a `tokenizer.json`; `name` is what error messages call it.
    pub fn from_json(json: String, name: impl Into<String>) -> Result<Self, DataError> {
        let name = name.into();
        let fail = |message: String| DataError::Tokenizer {
            name: name.clone(),
            message,
        };
        let value: Value = serde_json::from_str(&json)
            .map_err(|error| fail(format!("expected a tokenizer.json: {error}")))?;
        let mut inner = tokenizers::Tokenizer::from_bytes(json.as_bytes())
            .map_err(|error| fail(format!("expected a tokenizer.json: {error}")))?;
        // Text that happens to contain "<|end|>" is text: only the format places special tokens.
        inner.set_encode_special_tokens(true);
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| fail(error.to_string()))?;
        let hash = hash::sha256(canonical(value).to_string().as_bytes());
        Ok(Self {
            inner,
            markup: OnceLock::new(),
            original_hash: None,
            json,
            hash,
            name,
        })
    }

    pub(crate) fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// What error messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes that this is `original` with further tokens.
    pub(crate) fn grown_from(mut self, original: &Self) -> Self {
        self.original_hash = Some(original.original_hash().to_owned());
        self
    }

    /// Writes the `tokenizer.json`, byte for byte as it was read.
    pub fn save(&self, path: &Path) -> Result<(), DataError> {
        std::fs::write(path, &self.json).map_err(|source| DataError::Io {
            action: "write",
            path: path.into(),
            source,
        })
    }

    /// The tokens of a text; special tokens written out in it are encoded as plain text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| self.error(e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of a text in which special tokens are written out, as a chat template writes them.
    pub fn encode_markup(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let markup = self.markup.get_or_init(|| {
            let mut markup = self.inner.clone();
            markup.set_encode_special_tokens(false);
            Box::new(markup)
        });
        let encoding = markup.encode_fast(text, false).map_err(|e| self.error(e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// A special token that is written out in a text, if there is one.
    pub fn special_within(&self, text: &str) -> Option<String> {
        let mut names = self.special_tokens().into_iter().map(|token| token.0);
        names.find(|name| !name.is_empty() && text.contains(name.as_str()))
    }

    /// The text of some tokens, special tokens left out.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, DataError> {
        self.inner.decode(tokens, true).map_err(|e| self.error(e))
    }

    /// The id of a token by its name, special or not.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The name of a token by its id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a special token: one that no text encodes to.
    pub fn special(&self, token: &str) -> Result<u32, DataError> {
        let fail = |message| DataError::Tokenizer {
            name: self.name.clone(),
            message,
        };
        let id = self.id(token).ok_or_else(|| {
            let mut names: Vec<String> = self.special_tokens().into_iter().map(|t| t.0).collect();
            names.truncate(20);
            fail(format!(
                "has no token `{token}`; its special tokens are {}",
                names.join(", ")
            ))
        })?;
        if !self
            .special_tokens()
            .iter()
            .any(|(_, special)| *special == id)
        {
            let message = format!(
                "`{token}` is an ordinary token there; it has to be a special one, which no text \
                 encodes to"
            );
            return Err(fail(message));
        }
        Ok(id)
    }

    /// All special tokens with their ids, by id.
    pub fn special_tokens(&self) -> Vec<(String, u32)> {
        let mut tokens: Vec<_> = self
            .inner
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special)
            .map(|(id, token)| (token.content, id))
            .collect();
        tokens.sort_by_key(|token| token.1);
        tokens
    }

    /// One more than the highest id: the rows an embedding needs.
    pub fn vocabulary(&self) -> usize {
        let highest = self.inner.get_vocab(true).into_values().max();
        highest.map_or(0, |id| id as usize + 1)
    }

    /// The first token that a model of `rows` tokens cannot be given a row for: an ordinary one that it does not know, or
    /// one behind a gap. Added tokens that follow the known ones without a gap are none, since models are given rows for
    /// those.
    pub fn beyond(&self, rows: usize) -> Option<(String, u32)> {
        let added = self.inner.get_added_tokens_decoder();
        let vocabulary = self.inner.get_vocab(true).into_iter();
        let mut further: Vec<(String, u32)> =
            vocabulary.filter(|(_, id)| *id as usize >= rows).collect();
        further.sort_by_key(|(_, id)| *id);
        let in_order = further.into_iter().zip(rows..);
        let mut odd = in_order
            .filter(|((_, id), expected)| *id as usize != *expected || !added.contains_key(id));
        odd.next().map(|(token, _)| token)
    }

    /// SHA-256 of the file's content, whatever its white space and the order of its keys. Saved
    /// with weights, so that they are never used with another tokenizer.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The hash of the tokenizer that this one was before tokens were added to it ([`Tokenizer::with_added`]); its own
    /// where none were. What pretrained weights were trained with.
    pub fn original_hash(&self) -> &str {
        self.original_hash.as_deref().unwrap_or(&self.hash)
    }

    /// An error of this tokenizer.
    pub(crate) fn refused(&self, message: String) -> DataError {
        DataError::Tokenizer {
            name: self.name.clone(),
            message,
        }
    }

    fn error(&self, error: tokenizers::Error) -> DataError {
        DataError::Tokenizer {
            name: self.name.clone(),
            message: error.to_string(),
        }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({}, {} tokens)", self.name, self.vocabulary())
    }
}

/// Trains a byte-level BPE (GPT-2's splitting) with `vocabulary` tokens in all: the special tokens
/// first, then the 256 bytes, then merges of pairs seen at least twice. The same texts give the
/// same tokenizer in whatever order they come.
pub fn train_bpe<S: AsRef<str> + Send>(
    texts: impl Iterator<Item = S> + Send,
    vocabulary: usize,
    special_tokens: &[&str],
) -> Result<Tokenizer, DataError> {
    let least = special_tokens.len() + 256;
    if vocabulary < least {
        let message =
            format!("expected at least {least} (special tokens and bytes), got {vocabulary}");
        return Err(DataError::config("vocabulary", message));
    }
    let fail = |error: tokenizers::Error| DataError::Tokenizer {
        name: "being trained".into(),
        message: error.to_string(),
    };
    let special: Vec<_> = special_tokens
        .iter()
        .map(|t| AddedToken::from(*t, true))
        .collect();
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocabulary)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(special.clone())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut inner = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<tokenizers::NormalizerWrapper>)
        .with_pre_tokenizer(Some(ByteLevel::new(false, true, true)))
        .with_post_processor(None::<tokenizers::PostProcessorWrapper>)
        .with_decoder(Some(ByteLevel::new(false, true, true)))
        .build()
        .map_err(fail)?;
    inner.train(&mut trainer, texts).map_err(fail)?;
    inner.add_special_tokens(&special);
    let json = inner.to_string(true).map_err(fail)?;
    Tokenizer::from_json(json, "trained here")
}

/// Object keys in alphabetical order, at every depth.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(
                entries
                    .into_iter()
                    .map(|(k, v)| (k, canonical(v)))
                    .collect(),
            )
        }
        Value::Array(list) => Value::Array(list.into_iter().map(canonical).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 4] = [
        "a red cat and a red hat",
        "the cat sat on the hat",
        "größer? 🙂 yes",
        "red, red, red",
    ];

    fn tokenizer() -> Tokenizer {
        train_bpe(TEXTS.iter(), 300, &["<|begin|>", "<|end|>"]).unwrap()
    }

    #[test]
    fn round_trip_of_any_text() {
        let tokenizer = tokenizer();
        for text in ["a red cat", " two  spaces\n", "größer 🙂 日本語", ""] {
            assert_eq!(
                tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(),
                text
            );
        }
        assert_eq!(tokenizer.encode(" red").unwrap().len(), 1);
    }

    #[test]
    fn special_tokens_come_first_and_never_from_text() {
        let tokenizer = tokenizer();
        assert_eq!(tokenizer.special("<|begin|>").unwrap(), 0);
        assert_eq!(tokenizer.special("<|end|>").unwrap(), 1);
        let tokens = tokenizer.encode("say <|end|> now").unwrap();
        assert!(!tokens.contains(&1), "{tokens:?}");
        assert_eq!(tokenizer.decode(&[0, tokens[0], 1]).unwrap(), "s");
        let message = tokenizer.special("<|image|>").unwrap_err().to_string();
        assert!(message.contains("<|image|>") && message.contains("<|begin|>, <|end|>"));
        assert!(
            tokenizer
                .special("a")
                .unwrap_err()
                .to_string()
                .contains("ordinary")
        );
    }

    #[test]
    fn training_is_deterministic_in_any_order() {
        let reversed = train_bpe(TEXTS.iter().rev(), 300, &["<|begin|>", "<|end|>"]).unwrap();
        assert_eq!(tokenizer().json, reversed.json);
        assert!(tokenizer().vocabulary() <= 300 && tokenizer().vocabulary() > 258);
        assert!(train_bpe(TEXTS.iter(), 100, &[]).is_err());
    }

    #[test]
    fn hash_ignores_layout_only() {
        let tokenizer = tokenizer();
        let value: Value = serde_json::from_str(&tokenizer.json).unwrap();
        let Value::Object(map) = value else { panic!() };
        let turned: Value = Value::Object(map.into_iter().rev().collect());
        let same = Tokenizer::from_json(turned.to_string(), "compact").unwrap();
        assert_ne!(same.json, tokenizer.json);
        assert_eq!(same.hash(), tokenizer.hash());
        let other = train_bpe(TEXTS.iter(), 300, &["<|begin|>", "<|image|>"]).unwrap();
        assert_ne!(other.hash(), tokenizer.hash());
    }

    #[test]
    fn saves_what_it_read() {
        let path = std::env::temp_dir().join(format!("fourfold-tok-{}.json", std::process::id()));
        let tokenizer = tokenizer();
        tokenizer.save(&path).unwrap();
        let again = Tokenizer::from_file(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            (again.hash(), &again.json),
            (tokenizer.hash(), &tokenizer.json)
        );
        assert_eq!(
            again.encode("a red hat").unwrap(),
            tokenizer.encode("a red hat").unwrap()
        );
        let bad = Tokenizer::from_json("{}".into(), "x/tokenizer.json")
            .unwrap_err()
            .to_string();
        assert!(bad.contains("x/tokenizer.json"), "{bad}");
    }
}
