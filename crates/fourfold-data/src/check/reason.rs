//! The kinds of reasons for which a sample is passed over.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// Why a sample cannot be trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The row cannot be parsed, or lacks what the source needs.
    Row,
    /// A template fails on it.
    Template,
    /// Its answer is empty.
    EmptyAnswer,
    /// An image column is empty.
    NoImage,
    /// The file of an image does not exist.
    MissingFile,
    /// An image cannot be read or decoded.
    UnreadableImage,
    /// No pack could hold it.
    TooLarge,
    /// The limit on tokens leaves it no target.
    NoTarget,
    /// Anything else.
    Other,
}

impl Reason {
    /// The kind of `error`, as far as it tells.
    pub fn of(error: &DataError) -> Self {
        match error {
            DataError::Row { .. } => Self::Row,
            DataError::Template { .. } => Self::Template,
            DataError::EmptyAnswer { .. } => Self::EmptyAnswer,
            DataError::Image { .. } => Self::UnreadableImage,
            DataError::TooLarge { .. } => Self::TooLarge,
            DataError::AllMasked { .. } => Self::NoTarget,
            DataError::Shared(inner) => Self::of(inner),
            DataError::File { .. } | DataError::Io { .. } => Self::Row,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Row => "row that cannot be read",
            Self::Template => "template that fails",
            Self::EmptyAnswer => "empty answer",
            Self::NoImage => "image column that is empty",
            Self::MissingFile => {
                "image file that does not exist where `image_folder` (--image-folder) says"
            }
            Self::UnreadableImage => "image that cannot be read",
            Self::TooLarge => "larger than a pack",
            Self::NoTarget => "no target within the limit on tokens",
            Self::Other => "other",
        })
    }
}
