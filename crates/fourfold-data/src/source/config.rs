//! How files become samples, as written in a recipe.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Paths;
use crate::{DataError, template};

/// One source of samples: files, and the templates that turn a row into prompt and answer.
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
    /// A file, a pattern of files (`shards/*.tar`, `{00000..00331}.tar`), or a list of them, all of one kind.
    pub path: Paths,
    /// The folder that paths of images are relative to; the file's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_folder: Option<PathBuf>,
    /// The column that names the images, where its name or what it holds does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_column: Option<String>,
    /// The annotations of a file of VQA questions, where they do not lie beside it under their published name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<PathBuf>,
    /// A template over the columns, or several of which one is drawn for each draw. Empty: what the layout of the file
    /// proposes if there is no `answer` either, else none.
    #[serde(default, skip_serializing_if = "Prompts::is_empty")]
    pub prompt: Prompts,
    /// A template over the columns: the text to learn; what the layout of the file proposes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Expands list columns, one sample an element: variable → list column. With
    /// `each = { question = "questions", answer = "answers" }` templates use `{{ question }}`.
    /// The lists of one row have the same length.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub each: BTreeMap<String, String>,
    /// As `each`, but one element is drawn each time the row is: of five captions, one an epoch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub draw: BTreeMap<String, String>,
    /// As `each`, but the elements become the turns of one sample. A row with empty lists is no sample.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub turns: BTreeMap<String, String>,
    /// In which order.
    #[serde(default, skip_serializing_if = "TurnOrder::is_default")]
    pub turn_order: TurnOrder,
    /// Keeps the rows where each named column (or variable of `each`) has one of the values; a
    /// list column has one if an element is among them.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Accepted>,
    /// `false`: leaves images out and reads the text alone.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub images: bool,
    /// Mebibytes of rows that are shuffled among each other, and kept in memory for it; 64 when absent. What is smaller
    /// is shuffled as a whole; of what is larger, stretches are drawn at random until they are that much, and their rows
    /// shuffled together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle_mib: Option<usize>,
}

impl SourceConfig {
    /// Checks what can be without the files.
    ///
    /// # Errors
    /// Names the key whose value cannot work: a path that is empty, a template that does not parse, two expansions.
    pub fn check(&self) -> Result<(), DataError> {
        let fail = |key: &str, message: &str| Err(DataError::config(key, message));
        self.path.check()?;
        let empty =
            |path: &Option<PathBuf>| path.as_ref().is_some_and(|p| p.as_os_str().is_empty());
        for (key, path) in [
            ("image_folder", &self.image_folder),
            ("annotations", &self.annotations),
        ] {
            if empty(path) {
                return fail(key, "an empty text is no path; leave the key out instead");
            }
        }
        if self.answer.as_ref().is_some_and(String::is_empty) {
            let message = "an empty text is nothing to learn; leave the key out for what the layout of the file proposes";
            return fail("answer", message);
        }
        let prompts = self.prompt.templates();
        if prompts.is_empty() {
            return fail("prompt", "an empty list; leave the key out instead");
        }
        for (key, template) in (prompts.iter().map(|text| ("prompt", text)))
            .chain(self.answer.iter().map(|text| ("answer", text)))
        {
            template::check(template).map_err(|message| DataError::config(key, message))?;
        }
        for (column, accepted) in &self.filter {
            if matches!(accepted, Accepted::Any(values) if values.is_empty()) {
                let message = format!("`{column} = []` keeps no row; give values, or leave it out");
                return fail("where", &message);
            }
        }
        let mut given = self.expansions();
        match (given.next(), given.next()) {
            (Some((one, _)), Some((other, _))) => fail(
                one,
                &format!("cannot be combined with `{other}`; choose one"),
            ),
            _ => Ok(()),
        }
    }

    /// The expansions of rows that are given, by key.
    pub(super) fn expansions(
        &self,
    ) -> impl Iterator<Item = (&'static str, &BTreeMap<String, String>)> {
        let all = [
            ("each", &self.each),
            ("draw", &self.draw),
            ("turns", &self.turns),
        ];
        all.into_iter().filter(|(_, lists)| !lists.is_empty())
    }

    /// Bytes of rows that are shuffled among each other.
    pub fn shuffle_bytes(&self) -> usize {
        self.shuffle_mib.unwrap_or(64) << 20
    }
}

/// The order of turns within a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnOrder {
    /// As the row has them: what is asked may rest on what was said.
    #[default]
    File,
    /// Drawn each time: for questions that do not rest on each other.
    Random,
}

impl TurnOrder {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

/// One prompt template or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a template, or a list of them")]
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
        let one = |value: &Value| self.values().iter().any(|accepted| equal(accepted, value));
        match value {
            Value::Array(elements) => elements.iter().any(one),
            value => one(value),
        }
    }

    /// What is accepted.
    pub fn values(&self) -> &[Value] {
        match self {
            Self::Any(values) => values,
            Self::One(value) => std::slice::from_ref(value),
        }
    }
}

/// Equal as a reader takes it: 1 is 1.0.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) if x.is_f64() != y.is_f64() => {
            x.as_f64() == y.as_f64()
        }
        _ => a == b,
    }
}
