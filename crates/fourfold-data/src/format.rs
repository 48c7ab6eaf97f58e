//! How a sample's parts are laid out as one sequence of tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::chat::ChatLayout;
use crate::regular::read_text;
use crate::{ChatTemplate, DataError, SpecialTokens, Tokenizer};

/// The special tokens that stand between a document's parts. Part of a recipe and of a saved
/// model: what it was trained with is what it has to be asked with.
///
/// ```text
/// begin  image × n …  prompt  answer-marker  answer  end  [prompt  answer-marker  answer  end …]
/// begin  text  end                                        without images and prompt
/// ```
///
/// With `chat` a chat template writes the document instead, and of these tokens only `image` counts: answers, and the
/// special token that the template writes after each, are learnt; generation stops at that token. A document without
/// images and prompt is the template's `bos_token`, if there is one, the text, and that token.
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
    /// The chat template that lays documents out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
    /// What the chat template is given as the system's message; nothing when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

/// Where a chat template comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Chat {
    /// `true`: from the folder of the language model or tokenizer; `false`: none.
    OwnTemplate(bool),
    /// From a file.
    File(PathBuf),
    /// The template itself, as a saved model keeps it.
    Template {
        /// Its text.
        template: String,
        /// The tokens that it may name, as `bos_token`.
        tokens: BTreeMap<String, String>,
    },
}

impl Default for TextFormat {
    fn default() -> Self {
        Self {
            begin: "<|begin|>".into(),
            image: "<|image|>".into(),
            answer: "<|answer|>".into(),
            end: "<|end|>".into(),
            chat: None,
            system: None,
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
        if let Some(chat) = self.layout(tokenizer)? {
            return Ok(Markers {
                begin: chat.end(),
                image: chat.image(),
                answer: chat.end(),
                end: chat.end(),
            });
        }
        let markers = Markers {
            begin: tokenizer.special(&self.begin)?,
            image: tokenizer.placeholder(&self.image)?,
            answer: tokenizer.special(&self.answer)?,
            end: tokenizer.special(&self.end)?,
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

    /// Whether a chat template lays documents out.
    pub fn is_chat(&self) -> bool {
        !matches!(self.chat, None | Some(Chat::OwnTemplate(false)))
    }

    /// Whether the template has to come from the files of the language model or tokenizer.
    pub fn wants_own_template(&self) -> bool {
        self.chat == Some(Chat::OwnTemplate(true))
    }

    /// The same format with the chat template itself in the place of where it comes from. `own` is that of the language
    /// model or tokenizer, if it has one; a template in a file may name `tokens`.
    ///
    /// # Errors
    /// When there is no template, or it does not compile or does not fit `tokenizer`.
    pub fn with_template(
        mut self,
        own: Option<ChatTemplate>,
        tokens: &SpecialTokens,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let template = match &self.chat {
            None | Some(Chat::OwnTemplate(false) | Chat::Template { .. }) => return Ok(self),
            Some(Chat::OwnTemplate(true)) => own.ok_or_else(no_template)?,
            Some(Chat::File(path)) => {
                let text = read_text(path)?;
                let tokens = tokens.clone().into_variables();
                ChatTemplate::new(&text, tokens, path.display().to_string())?
            }
        };
        // Here the template's file is known: what is wrong with it is told with its name.
        ChatLayout::new(
            template.clone(),
            self.system.clone(),
            &self.image,
            tokenizer,
        )?;
        self.chat = Some(Chat::Template {
            template: template.source().to_owned(),
            tokens: template.tokens().clone(),
        });
        Ok(self)
    }

    /// The chat template for programs that know nothing of this format: it takes messages as texts and in parts, and
    /// writes the system message and the end of a prompt by itself, all as in training. None where no template lays
    /// documents out.
    ///
    /// # Errors
    /// When the template does not fit `tokenizer`.
    pub fn standalone_template(&self, tokenizer: &Tokenizer) -> Result<Option<String>, DataError> {
        let layout = self.layout(tokenizer)?;
        layout.map(|layout| layout.standalone()).transpose()
    }

    /// The chat template made to fit `tokenizer`, if there is one.
    pub(crate) fn layout(&self, tokenizer: &Tokenizer) -> Result<Option<ChatLayout>, DataError> {
        match &self.chat {
            None | Some(Chat::OwnTemplate(false)) => Ok(None),
            Some(Chat::Template { template, tokens }) => {
                let template = ChatTemplate::new(template, tokens.clone(), "of [format]")?;
                let layout = ChatLayout::new(template, self.system.clone(), &self.image, tokenizer);
                layout.map(Some)
            }
            Some(Chat::OwnTemplate(true) | Chat::File(_)) => Err(DataError::config(
                "format.chat",
                "the template was not read yet",
            )),
        }
    }
}

fn no_template() -> DataError {
    let message = "the language model or tokenizer brings no chat template (chat_template.jinja, or `chat_template` in \
                   tokenizer_config.json, or tokenizer.chat_template in a GGUF file); give `chat = \"FILE.jinja\"`, or \
                   remove the key for the layout by begin, image, answer and end";
    DataError::config("format.chat", message)
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
            ..TextFormat::default()
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
