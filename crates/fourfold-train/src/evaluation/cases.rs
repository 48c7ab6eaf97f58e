//! What is asked and what counts as right: a source's samples, gathered into cases.

use std::collections::HashMap;

use fourfold_data::source::RowImage;
use fourfold_data::{DataError, Sample, SkipReport, Source, sample_rng};
use rayon::prelude::*;
use serde_json::Value;

use crate::answer::Question;

/// A prompt about an image with all that may be said to it.
#[derive(Clone, Debug)]
pub struct Case {
    /// File and row of its first sample, once in a list.
    pub id: String,
    /// The images, not yet read; may be none.
    pub images: Vec<RowImage>,
    /// Equal for equal images; none without images.
    pub image_key: Option<String>,
    /// What is asked.
    pub prompt: String,
    /// What counts as right: one answer or several.
    pub references: Vec<String>,
    /// The kind of case that it is, where figures of kinds are asked for.
    pub group: Option<String>,
}

impl Case {
    /// The case as a question, with other images where `images` gives them.
    pub fn question(&self, images: Option<&[RowImage]>) -> Question {
        Question {
            origin: self.id.clone(),
            images: images.unwrap_or(&self.images).to_vec(),
            prompt: self.prompt.clone(),
        }
    }
}

/// The cases of a source.
#[derive(Debug, Default)]
pub struct Cases {
    /// In the order of the source.
    pub cases: Vec<Case>,
    /// Samples that could not be read.
    pub skipped: SkipReport,
}

impl Cases {
    /// Reads every sample of `source`. Answers to the same prompt about the same image become references of
    /// one case, so five captions of a photograph are five references. `limit` keeps that many cases, spread
    /// evenly. A source with several prompt templates is asked one of them a row, the same each time.
    ///
    /// With `references`, the name of a column, each sample is a case of its own, and what counts as right is the list in
    /// that column.
    pub fn read(source: &dyn Source, limit: Option<usize>, references: Option<&str>) -> Self {
        let read = |row: usize| {
            let sample = source.sample(row, &mut sample_rng(0, row as u64))?;
            let listed = references.map(|column| listed(source, row, &sample, column));
            let key = image_key(&sample.images);
            Ok((sample, key, listed.transpose()?))
        };
        let rows: Vec<_> = (0..source.len()).into_par_iter().map(read).collect();
        let mut all = Self::default();
        let mut places: HashMap<(String, String), usize> = HashMap::new();
        for (number, row) in rows.into_iter().enumerate() {
            let (sample, image_key, listed) = match row {
                Ok(read) => read,
                Err(error) => {
                    all.skipped.add(source.name(), number, &error);
                    continue;
                }
            };
            for (number, turn) in sample.turns.iter().enumerate() {
                let id = match number {
                    0 => sample.origin.clone(),
                    number => format!("{} turn {}", sample.origin, number + 1),
                };
                let alone = image_key.is_none() || listed.is_some();
                let group = image_key.clone().filter(|_| !alone);
                let group = group.unwrap_or_else(|| sample.origin.clone());
                let place = *places
                    .entry((group, turn.prompt.clone()))
                    .or_insert(all.cases.len());
                match all.cases.get_mut(place) {
                    Some(case) if case.references.contains(&turn.answer) => {}
                    Some(case) => case.references.push(turn.answer.clone()),
                    None => all.cases.push(Case {
                        id,
                        images: sample.images.clone(),
                        image_key: image_key.clone(),
                        prompt: turn.prompt.clone(),
                        references: listed.clone().unwrap_or_else(|| vec![turn.answer.clone()]),
                        group: None,
                    }),
                }
            }
        }
        all.thin(limit);
        all
    }

    fn thin(&mut self, limit: Option<usize>) {
        let count = self.cases.len();
        if let Some(limit) = limit.filter(|limit| *limit < count) {
            let mut next = 0;
            let mut index = 0;
            self.cases.retain(|_| {
                let kept = next < limit && index == next * count / limit;
                next += usize::from(kept);
                index += 1;
                kept
            });
        }
    }
}

/// The list in `column` of a sample's row: all that counts as right, an answer as often as people gave it.
///
/// # Errors
/// When there is no such list of texts, or the sample has several turns, to which it cannot belong.
pub(super) fn listed(
    source: &dyn Source,
    row: usize,
    sample: &Sample,
    column: &str,
) -> Result<Vec<String>, DataError> {
    let fail = |message: String| DataError::Row {
        origin: sample.origin.clone(),
        message,
    };
    if sample.turns.len() != 1 {
        let turns = sample.turns.len();
        return Err(fail(format!(
            "has {turns} turns, and `references` are for samples of one"
        )));
    }
    let columns = source.columns(row);
    let text = |text: &Value| text.as_str().map(str::to_owned);
    let texts: Option<Vec<String>> = columns
        .get(column)
        .and_then(Value::as_array)
        .and_then(|list| list.iter().map(text).collect());
    match texts {
        Some(texts) if texts.iter().any(|text| !text.trim().is_empty()) => Ok(texts),
        _ => Err(fail(format!(
            "`{column}`: expected a list of texts, the references; the columns are {}",
            columns.keys().cloned().collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// A key of images that is equal for the same ones ([`RowImage::key`]); none without images.
pub(super) fn image_key(images: &[RowImage]) -> Option<String> {
    let keys: Vec<String> = images.iter().map(RowImage::key).collect();
    (!keys.is_empty()).then(|| keys.join("+"))
}
