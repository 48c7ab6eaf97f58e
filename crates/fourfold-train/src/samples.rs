//! Captions of fixed held-out images as training goes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use fourfold_data::source::RowImage;
use fourfold_data::{Sample, Source, Turn, decode_rgb, sample_rng};
use fourfold_model::Model;
use serde::{Deserialize, Serialize};

use crate::answer::{Answerer, Question};
use crate::assemble::Reading;
use crate::files;
use crate::recipe::{SampleSelection, Search};

/// What the model says of one held-out image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// The image's file in the samples folder; none for text alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Where the sample comes from.
    pub origin: String,
    /// What the model was asked.
    pub prompt: String,
    /// The answer in the data.
    pub reference: String,
    /// The model's answer.
    pub answer: String,
}

/// The held-out samples of a run.
pub struct HeldOut {
    questions: Vec<Question>,
    records: Vec<SampleRecord>,
    search: Search,
}

impl HeldOut {
    /// Picks the samples, spread evenly over `source`. A broken one is passed over for the next.
    ///
    /// # Errors
    /// When not one sample can be read.
    pub fn pick(source: &dyn Source, selection: &SampleSelection) -> Result<Self> {
        let count = selection.count.min(source.len());
        let (mut questions, mut records) = (Vec::new(), Vec::new());
        let mut broken = None;
        for index in 0..count {
            let place = |index: usize| index * source.len() / count;
            let readable = (place(index)..place(index + 1)).find_map(|row| {
                let sample = readable(source, row);
                sample.map_err(|error| broken = Some(error)).ok()
            });
            let Some((sample, turn)) = readable else {
                continue;
            };
            let images = match sample.read_images() {
                Ok(images) => images,
                Err(error) => {
                    broken = Some(error.into());
                    continue;
                }
            };
            let image = images.first();
            records.push(SampleRecord {
                image: image.map(|image| format!("{index:03}.{}", extension(&image.bytes))),
                origin: sample.origin.clone(),
                prompt: turn.prompt.clone(),
                reference: turn.answer,
                answer: String::new(),
            });
            questions.push(Question {
                prompt: turn.prompt,
                origin: sample.origin,
                images: images.into_iter().map(RowImage::Bytes).collect(),
            });
        }
        if let (true, Some(error)) = (records.is_empty(), broken) {
            return Err(error.context("not one sample can be read"));
        }
        let search = Search {
            max_new_tokens: selection.max_new_tokens,
            ..Search::default()
        };
        Ok(Self {
            questions,
            records,
            search,
        })
    }

    /// Writes the images into `folder`, once.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn write_images(&self, folder: &Path) -> Result<()> {
        files::create_folder(folder)?;
        for (question, record) in self.questions.iter().zip(&self.records) {
            if let (Some(image), Some(name)) = (question.images.first(), &record.image) {
                let image = image.load(&question.origin, 0)?;
                let path = folder.join(name);
                fs::write(&path, &image.bytes)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Asks `model` and writes `step-00000120.jsonl` into `folder`.
    ///
    /// # Errors
    /// When an image cannot be read or the file cannot be written.
    pub fn sample(
        &self,
        model: &Model,
        reading: &Reading,
        folder: &Path,
        step: usize,
    ) -> Result<Vec<SampleRecord>> {
        let answers =
            Answerer::new(model, reading)?.answer(model, &self.questions, &self.search)?;
        ensure!(answers.len() == self.records.len(), "an answer is missing");
        let mut records = self.records.clone();
        let mut text = String::new();
        for (record, answer) in records.iter_mut().zip(answers) {
            record.answer = answer;
            text.push_str(&serde_json::to_string(record).context("cannot write a sample")?);
            text.push('\n');
        }
        files::write_atomic(
            &folder.join(format!("step-{step:08}.jsonl")),
            text.as_bytes(),
        )?;
        Ok(records)
    }
}

/// A sample whose images decode, and its first turn.
fn readable(source: &dyn Source, row: usize) -> Result<(Sample, Turn)> {
    let sample = source.sample(row, &mut sample_rng(0, row as u64))?;
    let turn = sample.turns.first().cloned();
    let turn = turn.with_context(|| format!("{} has no answer", sample.origin))?;
    for image in sample.read_images()? {
        decode_rgb(&image.bytes)
            .map_err(|message| anyhow!("{}: an image {message}", sample.origin))?;
    }
    Ok((sample, turn))
}

/// All captions in a samples folder, by step.
///
/// # Errors
/// Names the file that cannot be read.
pub fn read(folder: &Path) -> Result<Vec<(usize, Vec<SampleRecord>)>> {
    let mut all = Vec::new();
    if !folder.exists() {
        return Ok(all);
    }
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry
            .with_context(|| format!("cannot list {}", folder.display()))?
            .path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let step = name
            .strip_prefix("step-")
            .and_then(|name| name.strip_suffix(".jsonl"));
        let Some(step) = step.and_then(|step| step.parse().ok()) else {
            continue;
        };
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let records = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<Vec<SampleRecord>, _>>()
            .with_context(|| {
                format!(
                    "{} is damaged: remove it; only the page about the run needs it",
                    path.display()
                )
            })?;
        all.push((step, records));
    }
    all.sort_by_key(|(step, _)| *step);
    Ok(all)
}

/// The usual file ending of an image with these first bytes.
pub(crate) fn extension(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xff, 0xd8, ..] => "jpg",
        [b'G', b'I', b'F', ..] => "gif",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "webp",
        _ => "bmp",
    }
}
