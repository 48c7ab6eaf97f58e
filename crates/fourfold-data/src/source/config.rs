//! How a file becomes samples, as written in a recipe.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One source of samples: a file and the templates that turn a row into prompt and answer.
///
/// ```toml
/// path = "datasets/emoji/train.parquet"
/// prompt = ["What is this?", "Name the picture."]   # one is drawn each time
/// answer = "{{ name }}"
/// where = { vendor = ["noto", "twemoji"] }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// A `.parquet` or `.jsonl` file.
    pub path: PathBuf,
    /// A template over the columns, or several of which one is drawn for each draw. Empty: none.
    #[serde(default, skip_serializing_if = "Prompts::is_empty")]
    pub prompt: Prompts,
    /// A template over the columns: the text to learn.
    pub answer: String,
    /// Expands list columns, one sample an element: variable → list column. With
    /// `each = { question = "questions", answer = "answers" }` templates use `{{ question }}`.
    /// The lists of one row have the same length.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub each: BTreeMap<String, String>,
    /// As `each`, but the elements become the turns of one sample, in an order drawn each time.
    /// A row with empty lists is no sample.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub turns: BTreeMap<String, String>,
    /// Keeps the rows where each named column (or variable of `each`) has one of the values; a
    /// list column has one if an element is among them.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Accepted>,
    /// `false`: leaves images out and reads the text alone.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub images: bool,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

/// One prompt template or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompts {
    /// Always this one.
    One(String),
    /// One of these, drawn for each draw.
    Several(Vec<String>),
}

impl Prompts {
    /// The templates.
    pub fn templates(&self) -> &[String] {
        match self {
            Self::One(template) => std::slice::from_ref(template),
            Self::Several(templates) => templates,
        }
    }

    /// Whether there is no prompt.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::One(template) if template.is_empty())
    }
}

impl Default for Prompts {
    fn default() -> Self {
        Self::One(String::new())
    }
}

/// The values a filter accepts: one or a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Accepted {
    /// Any of these.
    Any(Vec<Value>),
    /// Exactly this.
    One(Value),
}

impl Accepted {
    /// Whether a column's value passes.
    pub fn accepts(&self, value: &Value) -> bool {
        let one = |value: &Value| match self {
            Self::Any(values) => values.contains(value),
            Self::One(accepted) => accepted == value,
        };
        match value {
            Value::Array(elements) => elements.iter().any(one),
            value => one(value),
        }
    }
}
