//! Published layouts: what the records of a file are, found by looking at them, and the columns and templates that
//! follow.
//!
//! Each layout turns a record into a row of plain columns, `prompts` and `answers`, `captions`, `question` and `answer`,
//! and proposes templates over them; a recipe that gives its own reads the same columns.

mod captions;
mod coco;
mod conversations;
mod images;
mod spool;
mod vqa;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub(super) use captions::group as group_captions;
pub(super) use coco::join as join_coco;
pub(super) use conversations::Spelling;
pub(super) use images::{ImageFolder, image_columns, is_known_name};
pub(super) use vqa::{annotations_beside, join as join_vqa};

use super::reader::Record;
use super::tar::KEY;
use super::{Prompts, Row, RowImage, SourceConfig};
use crate::DataError;

/// What the records of a source are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// Columns, as they are.
    #[default]
    Plain,
    /// `conversations: [{from, value}]`, as LLaVA's instructions, or `messages: [{role, content}]`, as chat completions.
    Conversation(conversations::Spelling),
    /// `texts: [{user, assistant}]`, as The Cauldron and FineVision.
    Texts,
    /// `sentences: [{raw, tokens}]` beside `filename`, as Karpathy's splits of COCO and Flickr30k.
    Karpathy,
    /// `raw`, a JSON list in a cell, beside `filename`, as Flickr30k's table on the Hugging Face hub.
    RawCaptions,
    /// The members of one name in a tar archive.
    WebDataset,
    /// Rows that a reader of this crate has joined from several places of the file.
    Joined,
}

impl Kind {
    /// What `record`, put together from the first of a file, shows its records to be.
    pub fn of(record: &Record) -> Self {
        let list = |name: &str| record.columns.get(name).and_then(Value::as_array);
        let objects = |name: &str, keys: [&str; 2]| {
            list(name).is_some_and(|list| {
                let first = list.iter().find_map(Value::as_object);
                first.is_some_and(|first| keys.iter().all(|key| first.contains_key(*key)))
            })
        };
        let named = || record.columns.contains_key("filename");
        let spelling = conversations::Spelling::of(&record.columns);
        if let Some(spelling) = spelling {
            Self::Conversation(spelling)
        } else if record.columns.contains_key(KEY) {
            Self::WebDataset
        } else if objects("texts", ["user", "assistant"]) {
            Self::Texts
        } else if objects("sentences", ["raw", "raw"]) && named() {
            Self::Karpathy
        } else if record
            .columns
            .get("raw")
            .and_then(Value::as_str)
            .is_some_and(|raw| raw.starts_with('['))
            && named()
        {
            Self::RawCaptions
        } else {
            Self::Plain
        }
    }

    /// Whether rows may be without images where others have some: conversations of text alone stand among those about
    /// images.
    pub fn may_lack_images(self) -> bool {
        matches!(self, Self::Conversation(_) | Self::Texts)
    }
}

/// A layout, with where its images are.
#[derive(Default)]
pub(super) struct Layout {
    pub kind: Kind,
    pub images: ImageFolder,
}

impl Layout {
    /// The row that a record at `origin` becomes.
    pub fn row(&self, origin: String, record: Record) -> Result<Row, DataError> {
        let mut row = Row {
            origin,
            images: record.images,
            columns: record.columns,
        };
        let mut made = || -> Result<(), String> {
            match self.kind {
                Kind::Plain => {}
                Kind::Conversation(spelling) => {
                    // Rows of one file may differ in it.
                    let own = conversations::Spelling::of(&row.columns);
                    conversations::spoken(&mut row.columns, own.unwrap_or(spelling))?;
                }
                Kind::WebDataset => captions::members(&mut row.columns),
                Kind::Texts => conversations::texts(&mut row.columns)?,
                Kind::Karpathy => captions::karpathy(&mut row.columns)?,
                Kind::RawCaptions => captions::raw(&mut row.columns)?,
                Kind::Joined => {
                    let (origin, broken) = spool::restored(&mut row.columns);
                    row.origin = origin.unwrap_or_else(|| std::mem::take(&mut row.origin));
                    broken.map_or(Ok(()), Err)?;
                }
            }
            let may_lack = self.kind.may_lack_images();
            if !may_lack {
                let missing = std::iter::repeat_n(RowImage::Missing, record.empty);
                row.images.extend(missing);
            }
            self.images.take(&mut row, may_lack)
        };
        match made() {
            Ok(()) => Ok(row),
            Err(message) => Err(DataError::Row {
                origin: row.origin,
                message,
            }),
        }
    }

    /// The columns that rows have, given those of the records.
    pub fn columns(&self, records: &[String]) -> Vec<String> {
        let captioned = records
            .iter()
            .any(|name| captions::MEMBERS.contains(&&**name));
        let (gone, made): (Vec<&str>, &[&str]) = match self.kind {
            Kind::Plain => (vec![], &[]),
            Kind::Conversation(_) => (conversations::LISTS.to_vec(), &["prompts", "answers"]),
            Kind::Texts => (vec!["texts"], &["prompts", "answers"]),
            Kind::Karpathy => (vec!["sentences"], &["captions"]),
            Kind::RawCaptions => (vec!["raw"], &["captions"]),
            Kind::WebDataset if captioned => (vec!["caption"], &["caption"]),
            Kind::WebDataset => (vec![], &[]),
            Kind::Joined => (vec![spool::ORIGIN, spool::BROKEN], &[]),
        };
        let kept = records.iter().filter(|name| !gone.contains(&name.as_str()));
        let kept = kept.filter(|name| !self.images.hides(name));
        kept.cloned()
            .chain(made.iter().map(|name| (*name).to_owned()))
            .collect()
    }
}

/// Completes a source's configuration with the templates that its columns speak for. `first` is a row put together from
/// the first of the file.
///
/// # Errors
/// When nothing says what the answer is.
pub(super) fn complete(
    config: &SourceConfig,
    columns: &[String],
    first: &Map<String, Value>,
) -> Result<SourceConfig, DataError> {
    let mut config = config.clone();
    let has = |name: &str| columns.iter().any(|column| column == name);
    let list = |name: &str| first.get(name).is_some_and(Value::is_array);
    let expands = !(config.each.is_empty() && config.turns.is_empty() && config.draw.is_empty());
    let pairs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter()
            .map(|(a, b)| ((*a).into(), (*b).into()))
            .collect()
    };
    let mut prompt = "";
    let mut answer = None;
    if has("prompts") && has("answers") && list("prompts") {
        (prompt, answer) = ("{{ prompt }}", Some("{{ answer }}"));
        if !expands {
            config.turns = pairs(&[("prompt", "prompts"), ("answer", "answers")]);
        }
    } else if has("question") && has("answer") {
        (prompt, answer) = ("{{ question }}", Some("{{ answer }}"));
    } else if has("question") && has("multiple_choice_answer") {
        (prompt, answer) = ("{{ question }}", Some("{{ multiple_choice_answer }}"));
    } else if let Some(captions) = ["captions", "caption"].into_iter().find(|name| list(name)) {
        answer = Some("{{ caption }}");
        if !expands {
            config.each = pairs(&[("caption", captions)]);
        }
    } else if let Some((_, template)) = [
        ("caption", "{{ caption }}"),
        ("text", "{{ text }}"),
        ("txt", "{{ txt }}"),
        ("comment", "{{ comment }}"),
    ]
    .into_iter()
    .find(|(name, _)| has(name))
    {
        answer = Some(template);
    }
    if config.answer.is_none() {
        let answer = answer.ok_or_else(|| {
            let message = format!(
                "nothing says what is to be learnt: give a template over the columns of {}, such as \"{{{{ caption }}}}\"; the columns are {}{}",
                config.path,
                columns.join(", "),
                match has("question_id") {
                    true => ". Questions of VQA are learnt with the file of their answers, `annotations`",
                    false => "",
                }
            );
            DataError::config("answer", message)
        })?;
        config.answer = Some(answer.into());
        if config.prompt.is_empty() {
            config.prompt = Prompts::One(prompt.into());
        }
    }
    Ok(config)
}
