//! Predictions and references as files of the field have them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fourfold_train::evaluation::Prediction;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::loose::Loose;

/// What is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Captions,
    Answers,
}

impl Task {
    /// What an id and what was said are called.
    pub fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::Captions => ("image_id", "caption"),
            Self::Answers => ("question_id", "answer"),
        }
    }
}

/// All that counts as right for one id.
pub struct Reference {
    pub id: String,
    pub texts: Vec<String>,
    /// The domain of its image, where the file says one.
    pub group: Option<String>,
}

/// One entry of a list of annotations or predictions; what is absent or of another kind is told by name and number.
#[derive(Default, Deserialize)]
#[serde(default, expecting = "an object")]
struct Entry {
    image_id: Loose,
    question_id: Loose,
    caption: Loose,
    answer: Loose,
    answers: Option<Vec<Entry>>,
}

impl Entry {
    fn id(&mut self, task: Task) -> Result<String> {
        let (key, id) = match task {
            Task::Captions => ("image_id", &mut self.image_id),
            Task::Answers => ("question_id", &mut self.question_id),
        };
        let id = std::mem::take(id).text_or_number();
        id.with_context(|| format!("expected `{key}` with a whole number or a text"))
    }

    fn said(&mut self, task: Task) -> Result<String> {
        let (key, said) = match task {
            Task::Captions => ("caption", &mut self.caption),
            Task::Answers => ("answer", &mut self.answer),
        };
        let said = std::mem::take(said).text();
        said.with_context(|| format!("expected `{key}` with a text"))
    }

    /// What several people said.
    fn people(&mut self) -> Result<Vec<String>> {
        let answers = self.answers.take().filter(|list| !list.is_empty());
        let answers = answers.context("expected `answers` with a list")?;
        let said: Result<_> = answers
            .into_iter()
            .map(|mut answer| answer.said(Task::Answers))
            .collect();
        said.context("`answers`: expected objects with `answer`, a text")
    }
}

/// A file of references.
#[derive(Default, Deserialize)]
#[serde(default, expecting = "an object")]
struct Annotations {
    annotations: Vec<Entry>,
    images: Vec<Image>,
}

/// An image, as nocaps' validation set has them.
#[derive(Default, Deserialize)]
#[serde(default, expecting = "an object")]
struct Image {
    id: Loose,
    domain: Loose,
}

fn read<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T> {
    ensure!(
        !path.is_dir(),
        "{} is a folder: expected a file, {expected}",
        path.display()
    );
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = match error.is_data() {
            true => format!("{}: expected {expected}", path.display()),
            false => format!("{} is no JSON", path.display()),
        };
        anyhow::Error::new(error).context(message)
    })
}

/// What counts as right by id, in the order of the file's images, or of its annotations where it lists none: the order in
/// which COCO's tool takes them.
pub fn read_references(path: &Path) -> Result<(Task, Vec<Reference>)> {
    let expected = "an object with a list `annotations`, as COCO's and VQA's";
    let file: Annotations = read(path, expected)?;
    let first = file.annotations.first();
    let first = first.with_context(|| format!("{}: expected {expected}", path.display()))?;
    let task = match first.answers {
        Some(_) => Task::Answers,
        None => Task::Captions,
    };
    let images = file.images.into_iter().enumerate();
    let images: HashMap<String, (usize, Option<String>)> = images
        .filter_map(|(place, image)| {
            Some((image.id.text_or_number()?, (place, image.domain.text())))
        })
        .collect();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut references: Vec<Reference> = Vec::new();
    for (number, mut entry) in file.annotations.into_iter().enumerate() {
        let within = || format!("{}: annotation {number}", path.display());
        let id = entry.id(task).with_context(within)?;
        let place = *places.entry(id.clone()).or_insert(references.len());
        let texts = match task {
            Task::Captions => vec![entry.said(task).with_context(within)?],
            Task::Answers => {
                ensure!(
                    place == references.len(),
                    "{}: question_id {id} is there already",
                    within()
                );
                entry.people().with_context(within)?
            }
        };
        match references.get_mut(place) {
            Some(known) => known.texts.extend(texts),
            None => references.push(Reference {
                group: images.get(&id).and_then(|(_, domain)| domain.clone()),
                id,
                texts,
            }),
        }
    }
    references.sort_by_key(|reference| {
        images
            .get(&reference.id)
            .map_or(usize::MAX, |image| image.0)
    });
    Ok((task, references))
}

/// What was said by id.
pub fn read_predictions(path: &Path, task: Task) -> Result<HashMap<String, String>> {
    let (id_key, said_key) = task.keys();
    let expected = format!(
        "a list of {{\"{id_key}\": …, \"{said_key}\": \"…\"}} (a predictions.jsonl of Fourfold's holds its references: \
         leave --references out)"
    );
    let list: Vec<Entry> = read(path, &expected)?;
    let mut predictions = HashMap::with_capacity(list.len());
    for (number, mut entry) in list.into_iter().enumerate() {
        let within = || format!("{}: prediction {number}", path.display());
        let id = entry.id(task).with_context(within)?;
        let said = entry.said(task).with_context(within)?;
        ensure!(
            predictions.insert(id.clone(), said).is_none(),
            "{}: {id_key} {id} is there already; give one prediction for each",
            within()
        );
    }
    Ok(predictions)
}

/// The lines of a predictions file of Fourfold's own, which holds the references.
pub fn read_lines(path: &Path) -> Result<Vec<Prediction>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| {
                format!(
                    "{}:line {}: expected an object with id, prompt, prediction, references and correct, as `eval` \
                     writes it; other files need --references",
                    path.display(),
                    number + 1
                )
            })
        })
        .collect()
}
