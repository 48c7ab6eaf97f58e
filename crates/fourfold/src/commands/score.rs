//! `fourfold score`: the metrics alone, for captions and answers from elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use fourfold_train::evaluation::{Case, EvaluationScores, Layout, Scores, score, table};
use fourfold_train::recipe::Metric;
use serde_json::{Map, Value};

use crate::output::say;

/// Scores captions or answers of any program against references, as the field's tools do
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold score --predictions captions.json --references captions_val2014.json
  fourfold score --predictions answers.json --references v2_mscoco_val2014_annotations.json --json

Captions: predictions are a list of {\"image_id\", \"caption\"}, references have \"annotations\" of the same, several an image
(COCO's results and annotations). BLEU, ROUGE-L and CIDEr-D are those of pycocoevalcap, its tokenizer included.
Answers: predictions are a list of {\"question_id\", \"answer\"}, references VQA's \"annotations\" with \"answers\" of ten
people; VQA accuracy is that of the challenge's evaluator.

An id has one prediction, and every id of the references has one; --subset scores those that have one. CIDEr-D weighs words
by the references that are scored. A caption without words scores 0.")]
pub struct Score {
    /// What was said: a JSON list
    #[arg(long, value_name = "FILE")]
    predictions: PathBuf,
    /// What counts as right: a JSON object with annotations
    #[arg(long, value_name = "FILE")]
    references: PathBuf,
    /// Leave out references without a prediction
    #[arg(long)]
    subset: bool,
    /// Print the scores as JSON
    #[arg(long)]
    json: bool,
}

/// What is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Captions,
    Answers,
}

impl Task {
    /// What an id and what was said are called.
    fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::Captions => ("image_id", "caption"),
            Self::Answers => ("question_id", "answer"),
        }
    }

    fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Captions => &[Metric::CiderD, Metric::Bleu, Metric::RougeL],
            Self::Answers => &[Metric::VqaAccuracy],
        }
    }
}

/// All that counts as right for one id.
struct Reference {
    id: String,
    texts: Vec<String>,
}

impl Score {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file is not as described, or predictions and references are not of the same ids.
    pub fn run(self) -> Result<()> {
        let (task, references) = read_references(&self.references)?;
        let mut predictions = read_predictions(&self.predictions, task)?;
        let (mut cases, mut said, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for Reference { id, texts } in references {
            match predictions.remove(&id) {
                Some(prediction) => {
                    said.push(prediction);
                    cases.push(Case {
                        id,
                        images: Vec::new(),
                        image_key: None,
                        prompt: String::new(),
                        references: texts,
                    });
                }
                None => missing.push(id),
            }
        }
        if let Some(unknown) = predictions.keys().min() {
            bail!(
                "{}: {} {unknown} is none of {}{}",
                self.predictions.display(),
                task.keys().0,
                self.references.display(),
                and_more("are", predictions.len())
            );
        }
        ensure!(
            !cases.is_empty(),
            "{} has no predictions",
            self.predictions.display()
        );
        if let (Some(first), false) = (missing.first(), self.subset) {
            bail!(
                "{}: there is no prediction for {} {first}{}; give all, or --subset to leave such out",
                self.predictions.display(),
                task.keys().0,
                and_more("for", missing.len())
            );
        }
        let (model, _, interval_95) = score(&cases, &said, task.metrics())?;
        let scores = EvaluationScores {
            samples: cases.len(),
            model,
            interval_95,
            ..EvaluationScores::default()
        };
        let name = match task {
            Task::Captions => "captions",
            Task::Answers => "answers",
        };
        let scores = Scores(BTreeMap::from([(name.to_owned(), scores)]));
        match self.json {
            true => say(serde_json::to_string_pretty(&scores)?),
            false => say(table(&scores, Layout::Text).trim_end()),
        }
    }
}

fn and_more(word: &str, count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        count => format!(", nor {word} {} more", count - 1),
    }
}

fn read(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no JSON", path.display()))
}

/// What counts as right by id, in the file's order.
fn read_references(path: &Path) -> Result<(Task, Vec<Reference>)> {
    let whole = read(path)?;
    let annotations = whole.get("annotations").and_then(Value::as_array);
    let annotations = annotations
        .filter(|list| !list.is_empty())
        .with_context(|| {
            format!(
                "{}: expected an object with a list `annotations`, as COCO's and VQA's",
                path.display()
            )
        })?;
    let task = match annotations[0].get("answers") {
        Some(_) => Task::Answers,
        None => Task::Captions,
    };
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut references: Vec<Reference> = Vec::new();
    for (number, annotation) in annotations.iter().enumerate() {
        let within = || format!("{}: annotation {number}", path.display());
        let fields = annotation.as_object().context("expected an object");
        let fields = fields.with_context(within)?;
        let id = id(fields, task).with_context(within)?;
        let place = *places.entry(id.clone()).or_insert(references.len());
        let texts = match task {
            Task::Captions => vec![text(fields, "caption").with_context(within)?],
            Task::Answers => {
                ensure!(
                    place == references.len(),
                    "{}: question_id {id} is there already",
                    within()
                );
                people(fields).with_context(within)?
            }
        };
        match references.get_mut(place) {
            Some(known) => known.texts.extend(texts),
            None => references.push(Reference { id, texts }),
        }
    }
    Ok((task, references))
}

/// What was said by id.
fn read_predictions(path: &Path, task: Task) -> Result<HashMap<String, String>> {
    let whole = read(path)?;
    let (id_key, text_key) = task.keys();
    let list = whole.as_array().with_context(|| {
        format!(
            "{}: expected a list of {{\"{id_key}\": …, \"{text_key}\": \"…\"}}",
            path.display()
        )
    })?;
    let mut predictions = HashMap::with_capacity(list.len());
    for (number, prediction) in list.iter().enumerate() {
        let within = || format!("{}: prediction {number}", path.display());
        let fields = prediction.as_object().context("expected an object");
        let fields = fields.with_context(within)?;
        let id = id(fields, task).with_context(within)?;
        let said = text(fields, text_key).with_context(within)?;
        ensure!(
            predictions.insert(id.clone(), said).is_none(),
            "{}: {id_key} {id} is there already; give one prediction for each",
            within()
        );
    }
    Ok(predictions)
}

/// A number or a text, as a text.
fn id(fields: &Map<String, Value>, task: Task) -> Result<String> {
    let (key, _) = task.keys();
    match fields.get(key) {
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::String(text)) => Ok(text.clone()),
        _ => bail!("expected `{key}` with a number or a text"),
    }
}

fn text(fields: &Map<String, Value>, key: &str) -> Result<String> {
    let text = fields.get(key).and_then(Value::as_str);
    Ok(text
        .with_context(|| format!("expected `{key}` with a text"))?
        .to_owned())
}

/// `answers: [{answer}]`, what several people said.
fn people(fields: &Map<String, Value>) -> Result<Vec<String>> {
    let answers = fields.get("answers").and_then(Value::as_array);
    let answers = answers.filter(|list| !list.is_empty());
    let answers = answers.context("expected `answers` with a list")?;
    let said = |answer: &Value| text(answer.as_object()?, "answer").ok();
    let said: Option<Vec<String>> = answers.iter().map(said).collect();
    said.context("`answers`: expected objects with `answer`, a text")
}
