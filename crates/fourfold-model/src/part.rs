//! The three parts of a model.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A part of the model: what a stage trains is said in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The vision encoder.
    Vision,
    /// What carries image features into the language model's width.
    Projector,
    /// The language model.
    Language,
}

impl Part {
    /// All parts, in the order that the data passes them.
    pub const ALL: [Self; 3] = [Self::Vision, Self::Projector, Self::Language];

    /// The word used in recipes and as the prefix of parameter names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Projector => "projector",
            Self::Language => "language",
        }
    }

    /// The part that a parameter belongs to, by the prefix of its name.
    pub fn of(parameter: &str) -> Option<Self> {
        let prefix = parameter.split('.').next()?;
        Self::ALL.into_iter().find(|part| part.name() == prefix)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|part| part.name() == word)
            .ok_or_else(|| format!("'{word}' is no part; expected vision, projector or language"))
    }
}
