//! `[format]`: what is different of the layout that a tokenizer or model brings.

use fourfold_data::{Chat, TextFormat};
use serde::{Deserialize, Serialize};

/// The keys of a [`TextFormat`], each of which may be left as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FormatSection {
    /// See [`TextFormat::begin`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin: Option<String>,
    /// See [`TextFormat::image`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// See [`TextFormat::answer`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// See [`TextFormat::end`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// See [`TextFormat::chat`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
    /// See [`TextFormat::system`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

impl FormatSection {
    /// The layout `base` with what the section says.
    #[must_use]
    pub fn over(&self, base: TextFormat) -> TextFormat {
        let said = self.clone();
        TextFormat {
            begin: said.begin.unwrap_or(base.begin),
            image: said.image.unwrap_or(base.image),
            answer: said.answer.unwrap_or(base.answer),
            end: said.end.unwrap_or(base.end),
            chat: said.chat.or(base.chat),
            system: said.system.or(base.system),
        }
    }
}
