//! What a reader gives for a file, in the form in which its maker says what it should.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fourfold_data::hash::sha256;
use fourfold_data::source::Table;
use fourfold_data::{RowImage, Source, SourceConfig, sample_rng};
use serde_json::{Map, Value};

use crate::common::{encoder, fixture};

/// What `expected.json` says of a file.
pub struct Expected {
    pub images: Option<PathBuf>,
    pub samples: Vec<Read>,
    pub skipped: Vec<usize>,
    pub error: Option<String>,
}

/// A row: its images, by path in their folder or by what they hold, and its turns.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    pub row: usize,
    pub images: Vec<String>,
    pub turns: Vec<(String, String)>,
}

pub fn file(name: &str) -> PathBuf {
    fixture("layouts").join(name)
}

pub fn expected() -> BTreeMap<String, Expected> {
    let text = std::fs::read_to_string(file("expected.json")).unwrap();
    let files: Map<String, Value> = serde_json::from_str(&text).unwrap();
    files
        .into_iter()
        .map(|(name, entry)| (name, Expected::of(&entry)))
        .collect()
}

/// The least that a recipe says of a file.
pub fn config(name: &str, expected: &Expected) -> SourceConfig {
    SourceConfig {
        path: file(name).into(),
        image_folder: expected.images.clone(),
        images: true,
        ..Default::default()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().trim().to_owned()
}

fn row(value: &Value) -> usize {
    value["row"].as_u64().unwrap() as usize
}

impl Expected {
    fn of(entry: &Value) -> Self {
        let list = |name: &str| entry[name].as_array().unwrap();
        Self {
            images: entry["images"].as_str().map(file),
            samples: list("samples").iter().map(Read::of).collect(),
            skipped: list("skipped").iter().map(row).collect(),
            error: entry["error"].as_str().map(str::to_owned),
        }
    }
}

impl Read {
    fn of(sample: &Value) -> Self {
        let image = |image: &Value| {
            let known = image.get("sha256").unwrap_or(&image["path"]);
            known.as_str().unwrap().to_owned()
        };
        let list = |name: &str| sample[name].as_array().into_iter().flatten();
        let mut turns: Vec<(String, String)> = list("turns")
            .map(|turn| (text(&turn[0]), text(&turn[1])))
            .chain(list("captions").map(|caption| (String::new(), text(caption))))
            .collect();
        // What a conversation is to be like is read before its first question.
        if let Some(system) = sample["system"].as_str() {
            turns[0].0 = format!("{system}\n\n{}", turns[0].0);
        }
        Self {
            row: row(sample),
            images: list("images").map(image).collect(),
            turns,
        }
    }
}

/// What was read of a file.
pub struct Seen {
    /// Rows of which everything can be learnt.
    pub samples: Vec<Read>,
    /// Why others cannot.
    pub broken: BTreeMap<usize, String>,
}

impl Seen {
    /// Reads all of `source` down to documents with their images.
    pub fn of(config: &SourceConfig, source: &dyn Source) -> Self {
        let table = Table::read(config).unwrap();
        let rows: Vec<String> = (0..table.len()).map(|row| table.origin(row)).collect();
        let encoder = encoder(None, 1000);
        let (mut samples, mut broken) = (Vec::<Read>::new(), BTreeMap::new());
        for number in 0..source.len() {
            let origin = source.origin(number);
            let origin = origin.split(" element ").next().unwrap();
            let row = rows.iter().position(|row| row == origin).unwrap();
            let mut rng = sample_rng(0, number as u64);
            let read = source.sample(number, &mut rng).and_then(|sample| {
                encoder.document(&sample, &mut rng)?;
                Ok(sample)
            });
            let sample = match read {
                Ok(sample) => sample,
                Err(error) => {
                    broken.insert(row, error.to_string());
                    continue;
                }
            };
            let turns = sample
                .turns
                .into_iter()
                .map(|turn| (turn.prompt, turn.answer));
            match samples.iter_mut().find(|read| read.row == row) {
                // Several captions of one image.
                Some(read) => read.turns.extend(turns),
                None => samples.push(Read {
                    row,
                    images: sample
                        .images
                        .iter()
                        .map(|image| known(image, config))
                        .collect(),
                    turns: turns.collect(),
                }),
            }
        }
        samples.retain(|read| !broken.contains_key(&read.row));
        Self { samples, broken }
    }
}

fn known(image: &RowImage, config: &SourceConfig) -> String {
    let folder = config.image_folder.as_deref().unwrap_or(Path::new(""));
    match image {
        RowImage::File(path) => path
            .strip_prefix(folder)
            .unwrap_or(path)
            .display()
            .to_string(),
        embedded => sha256(&embedded.load("", 0).unwrap().bytes),
    }
}
