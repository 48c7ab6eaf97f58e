//! The parts of a model.

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
    /// The low-rank adapters of the other parts.
    Lora,
}

impl Part {
    /// All parts, those that the data passes in its order.
    pub const ALL: [Self; 4] = [Self::Vision, Self::Projector, Self::Language, Self::Lora];

    /// The word used in recipes and as the prefix of parameter names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Projector => "projector",
            Self::Language => "language",
            Self::Lora => "lora",
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
            .ok_or_else(|| {
                let parts = Self::ALL.map(Self::name).join(", ");
                format!("'{word}' is no part; expected one of {parts}")
            })
    }
}
