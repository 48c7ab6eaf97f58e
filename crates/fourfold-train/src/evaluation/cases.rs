//! What is asked and what counts as right: a source's samples, gathered into cases.

use std::collections::HashMap;
use std::path::Path;

use fourfold_data::source::RowImage;
use fourfold_data::{DataError, Sample, SkipReport, Source, hash, sample_rng};
use rayon::prelude::*;
use serde_json::Value;

use super::Prediction;
use crate::answer::Question;
use crate::recipe::{CaseUnit, Measure};

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
    /// The file of its first image, where that is one.
    pub fn image_file(&self) -> Option<String> {
        match self.images.first()? {
            RowImage::File(path) => Some(path.display().to_string()),
            _ => None,
        }
    }

    /// Whether a prediction of this name was made for it, as far as predictions say: the references, and the name of the
    /// image's file.
    pub fn is_that_of(&self, prediction: &Prediction) -> bool {
        let name = |path: &Path| path.file_name().map(ToOwned::to_owned);
        let noted = prediction
            .image
            .as_ref()
            .map(|image| name(Path::new(image)));
        let own = self.image_file().map(|image| name(Path::new(&image)));
        // Of what is not published, predictions hold no references.
        let same = prediction.references.is_empty() || prediction.references == self.references;
        same && noted == own
    }

    /// The case as a question, with other images where `images` gives them.
    pub fn question(&self, images: Option<&[RowImage]>) -> Question {
        Question {
            origin: self.id.clone(),
            images: images.unwrap_or(&self.images).to_vec(),
            prompt: self.prompt.clone(),
        }
    }
}

/// What tells each question from another of the same name, wherever the files are: the prompt, and what its images hold.
pub fn question_keys(cases: &[Case]) -> Vec<String> {
    let images = cases.iter().flat_map(|case| &case.images);
    let distinct: HashMap<String, &RowImage> = images.map(|image| (image.key(), image)).collect();
    let contents: HashMap<String, String> = distinct
        .into_par_iter()
        .map(|(key, image)| (key, image.contents_key()))
        .collect();
    let key = |case: &Case| {
        let mut text = case.prompt.clone();
        for image in &case.images {
            text.push('\n');
            text += &contents[&image.key()];
        }
        hash::sha256(text.as_bytes())[..16].to_owned()
    };
    cases.iter().map(key).collect()
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
    /// Reads every sample of `source` and makes cases of them as `measure` says ([`Measure::cases`], [`Measure::id`]): by
    /// default answers to the same prompt about the same image become references of one case, so five captions of a
    /// photograph are five references. `limit` keeps that many cases, spread evenly. A source with several prompt
    /// templates is asked one of them a row, the same each time.
    ///
    /// With [`Measure::references`] each sample is a case of its own, and what counts as right is the list in that column.
    pub fn read(source: &dyn Source, measure: &Measure) -> Self {
        let rows: Vec<_> = (0..source.len())
            .into_par_iter()
            .map(|row| Read::new(source, row, measure))
            .collect();
        let mut all = Self::default();
        let mut places: HashMap<(String, String), usize> = HashMap::new();
        for (number, row) in rows.into_iter().enumerate() {
            let added = row.and_then(|row| all.add(row, measure, &mut places));
            if let Err(error) = added {
                all.skipped.add(source.name(), number, &error);
            }
        }
        all.thin(measure.limit);
        all
    }

    /// Adds the turns of a sample, or their answers to the cases that they belong to.
    fn add(
        &mut self,
        row: Read,
        measure: &Measure,
        places: &mut HashMap<(String, String), usize>,
    ) -> Result<(), DataError> {
        let image_key = image_key(&row.sample.images);
        let alone = measure.cases == CaseUnit::Sample || row.listed.is_some();
        for (number, turn) in row.sample.turns.iter().enumerate() {
            let name = row.id.as_ref().unwrap_or(&row.sample.origin);
            let id = match number {
                0 => name.clone(),
                number => format!("{name} turn {}", number + 1),
            };
            let unit = match (&row.id, &image_key) {
                (Some(id), _) => id,
                (None, Some(image)) if !alone => image,
                _ => &id,
            };
            let place = *places
                .entry((unit.clone(), turn.prompt.clone()))
                .or_insert(self.cases.len());
            match self.cases.get_mut(place) {
                Some(_) if alone => {
                    return Err(DataError::Row {
                        origin: row.sample.origin,
                        message: format!("{unit} is there already, and each sample is a case"),
                    });
                }
                Some(case) if case.image_key != image_key => {
                    return Err(DataError::Row {
                        origin: row.sample.origin,
                        message: format!("{unit} is there already, with another image"),
                    });
                }
                // Without a name of its own, a repeated row is no second reference.
                Some(case) if row.id.is_none() && case.references.contains(&turn.answer) => {}
                Some(case) => case.references.push(turn.answer.clone()),
                None => self.cases.push(Case {
                    id,
                    images: row.sample.images.clone(),
                    image_key: image_key.clone(),
                    prompt: turn.prompt.clone(),
                    references: (row.listed.clone()).unwrap_or_else(|| vec![turn.answer.clone()]),
                    group: row.group.clone(),
                }),
            }
        }
        Ok(())
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

/// A row as an evaluation reads it.
pub(super) struct Read {
    pub sample: Sample,
    /// All that counts as right, where a column says it.
    listed: Option<Vec<String>>,
    id: Option<String>,
    group: Option<String>,
}

impl Read {
    pub fn new(source: &dyn Source, row: usize, measure: &Measure) -> Result<Self, DataError> {
        let sample = source.sample(row, &mut sample_rng(0, row as u64))?;
        let listed = measure.references.as_deref();
        let listed = listed.map(|column| listed_in(source, row, &sample, column));
        let word = |key, column: &Option<String>| {
            let column = column.as_deref();
            column.map(|column| word_in(source, row, &sample, key, column))
        };
        Ok(Self {
            listed: listed.transpose()?,
            id: word("id", &measure.id).transpose()?,
            group: word("group", &measure.group).transpose()?,
            sample,
        })
    }
}

/// A number or a text in `column` of a sample's row.
fn word_in(
    source: &dyn Source,
    row: usize,
    sample: &Sample,
    key: &str,
    column: &str,
) -> Result<String, DataError> {
    let columns = source.columns(row);
    match columns.get(column) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(DataError::Row {
            origin: sample.origin.clone(),
            message: format!(
                "`{key} = \"{column}\"`: expected a number or a text there; the columns are {}",
                columns.keys().cloned().collect::<Vec<_>>().join(", ")
            ),
        }),
    }
}

/// The list in `column` of a sample's row: all that counts as right, an answer as often as people gave it.
///
/// # Errors
/// When there is no such list of texts, or the sample has several turns, to which it cannot belong.
fn listed_in(
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
