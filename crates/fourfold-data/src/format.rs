//! How a sample's parts are laid out as one sequence of tokens.

use serde::{Deserialize, Serialize};

use crate::{DataError, Tokenizer};

/// The special tokens that stand between a document's parts. Part of a recipe and of a saved
/// model: what it was trained with is what it has to be asked with.
///
/// ```text
/// begin  image × n …  prompt  answer-marker  answer  end  [prompt  answer-marker  answer  end …]
/// begin  text  end                                        without images and prompt
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextFormat {
    /// Begins every document.
    pub begin: String,
    /// Keeps the place of one visual token.
    pub image: String,
    /// Ends a prompt: the answer follows.
    pub answer: String,
    /// Ends an answer; generation stops at it.
    pub end: String,
}

impl Default for TextFormat {
    fn default() -> Self {
        Self {
            begin: "<|begin|>".into(),
            image: "<|image|>".into(),
            answer: "<|answer|>".into(),
            end: "<|end|>".into(),
        }
    }
}

/// The ids of a format's tokens in one tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Markers {
    /// See [`TextFormat::begin`].
    pub begin: u32,
    /// See [`TextFormat::image`].
    pub image: u32,
    /// See [`TextFormat::answer`].
    pub answer: u32,
    /// See [`TextFormat::end`].
    pub end: u32,
}

impl TextFormat {
    /// The format's tokens, in the order begin, image, answer, end.
    pub fn tokens(&self) -> [&str; 4] {
        [&self.begin, &self.image, &self.answer, &self.end]
    }

    /// The ids of the tokens. Each has to be a special token of the tokenizer, and the image token
    /// one of its own, since its place is taken by pixels.
    pub fn markers(&self, tokenizer: &Tokenizer) -> Result<Markers, DataError> {
        let [begin, image, answer, end] = self.tokens().map(|token| tokenizer.special(token));
        let markers = Markers {
            begin: begin?,
            image: image?,
            answer: answer?,
            end: end?,
        };
        if [markers.begin, markers.answer, markers.end].contains(&markers.image) {
            let message = format!(
                "`{}` also serves another purpose; give it its own",
                self.image
            );
            return Err(DataError::config("format.image", message));
        }
        Ok(markers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train_bpe;

    #[test]
    fn markers_are_the_special_tokens() {
        let format = TextFormat::default();
        let tokenizer = train_bpe(["a"].iter(), 260, &format.tokens()).unwrap();
        let markers = format.markers(&tokenizer).unwrap();
        assert_eq!(
            markers,
            Markers {
                begin: 0,
                image: 1,
                answer: 2,
                end: 3
            }
        );
    }

    #[test]
    fn an_unusable_format_is_told() {
        let tokenizer = train_bpe(["a"].iter(), 260, &["<|begin|>", "<|end|>"]).unwrap();
        let missing = TextFormat::default()
            .markers(&tokenizer)
            .unwrap_err()
            .to_string();
        assert!(missing.contains("<|image|>"), "{missing}");
        let one = |t: &str| t.to_string();
        let shared = TextFormat {
            begin: one("<|end|>"),
            answer: one("<|end|>"),
            end: one("<|end|>"),
            image: one("<|begin|>"),
        };
        assert!(
            shared.markers(&tokenizer).is_ok(),
            "GPT-2 has one special token for all"
        );
        let image = TextFormat {
            image: one("<|end|>"),
            ..shared
        };
        assert!(
            image
                .markers(&tokenizer)
                .unwrap_err()
                .to_string()
                .contains("format.image")
        );
    }
}
