//! Asking a model about images: what `caption` and `ask` share.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use fourfold_data::source::{Row, RowImage, Table};
use fourfold_train::answer::{Answer, Answerer, Question};
use fourfold_train::recipe::Search;
use serde_json::{Map, Value, json};

use crate::machine::Machine;
use crate::model_folder::ModelFolder;
use crate::output::{note, say};
use crate::search::SearchOptions;

/// Questions whose images are read, and which are answered, before anything is written.
const GROUP: usize = 64;

/// Options of the commands that ask.
#[derive(Args, Debug)]
pub struct Asking {
    #[command(flatten)]
    pub model: ModelFolder,
    #[command(flatten)]
    search: SearchOptions,
    /// Print one JSON object a line: path, id where the row has one, prompt, text, log_probability (and of each token in
    /// log_probabilities), finished
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

/// One thing to ask, and what its answer is called.
pub struct Item {
    /// `id` or `path`, as JSON.
    names: Map<String, Value>,
    /// The name in plain output.
    label: String,
    /// Where it comes from, for messages.
    origin: String,
    /// The images; files are read when it is their turn.
    images: Vec<RowImage>,
    /// What is asked; or why nothing can be.
    prompt: Result<String, String>,
}

impl Item {
    /// A question about an image file.
    pub fn file(path: &Path, prompt: &str) -> Self {
        let label = path.display().to_string();
        let names = [("path".to_owned(), Value::from(label.as_str()))];
        Self {
            names: names.into_iter().collect(),
            origin: label.clone(),
            label,
            images: vec![RowImage::File(path.to_owned())],
            prompt: Ok(prompt.to_owned()),
        }
    }

    /// A row of a JSON lines file: `image` and, under one of `keys`, the prompt; `default` where it has none.
    fn row(row: &Row, keys: &[&str], default: Option<&str>) -> Self {
        let origin = row.origin.clone();
        let mut names = Map::new();
        let path = row.images.iter().find_map(|image| match image {
            RowImage::File(path) => Some(path.display().to_string()),
            RowImage::Url { url, .. } => Some(url.clone()),
            _ => None,
        });
        let id = row.columns.get("id").filter(|id| !id.is_null());
        let label = match (id, &path) {
            (Some(Value::String(id)), _) => id.clone(),
            (Some(id), _) => id.to_string(),
            (None, Some(path)) => path.clone(),
            (None, None) => origin.clone(),
        };
        names.extend(id.map(|id| ("id".to_owned(), id.clone())));
        names.extend(path.map(|path| ("path".to_owned(), path.into())));
        let prompt = keys
            .iter()
            .find_map(|key| row.columns.get(*key)?.as_str())
            .or(default);
        let prompt = match prompt {
            _ if row.images.is_empty() => Err(format!(
                "{origin}: expected `image` with a path relative to this file"
            )),
            None => Err(format!("{origin}: expected `{}` with a text", keys[0])),
            Some(prompt) => Ok(prompt.to_owned()),
        };
        Self {
            names,
            label,
            origin,
            images: row.images.clone(),
            prompt,
        }
    }

    /// The question; or why it cannot be asked.
    fn question(&self) -> Result<Question, String> {
        Ok(Question {
            origin: self.origin.clone(),
            images: self.images.clone(),
            prompt: self.prompt.clone()?,
        })
    }
}

impl Asking {
    /// Takes the threads that are asked for; before anything is read.
    ///
    /// # Errors
    /// When they cannot be had.
    pub fn start(&self) -> Result<()> {
        self.machine.start()
    }

    /// Answers every item in order. What cannot be answered is told on the standard error, and the command
    /// fails at the end.
    ///
    /// # Errors
    /// When the model cannot be loaded, the output is closed or something was not answered.
    pub fn answer(&self, items: Vec<Item>) -> Result<()> {
        let (model, reading) = self.model.load(&self.machine.device()?)?;
        let answerer = Answerer::new(&model, &reading)?;
        let search = self.search.over(&Search::default())?;
        let (total, mut failed) = (items.len(), 0);
        for group in items.chunks(GROUP) {
            let questions: Vec<Result<Question, String>> =
                group.iter().map(Item::question).collect();
            let readable: Vec<Question> = questions.iter().flatten().cloned().collect();
            let answers = answerer.answer_all(&model, &readable, &search, &mut |_, _| Ok(()))?;
            let mut answers = answers.into_iter();
            for (item, question) in group.iter().zip(questions) {
                let answer = match question {
                    Ok(question) => match answers.next() {
                        Some(answer) => answer.map(|a| (question, a)).map_err(|e| e.to_string()),
                        None => bail!("an answer is missing; this is a defect of Fourfold"),
                    },
                    Err(message) => Err(message),
                };
                match answer {
                    Ok((question, answer)) => self.write(item, &question, &answer, total)?,
                    Err(message) => {
                        failed += 1;
                        note(format_args!("error: {message}"));
                    }
                }
            }
        }
        match failed {
            0 => Ok(()),
            _ => bail!("{failed} of {total} not answered; see above"),
        }
    }

    fn write(&self, item: &Item, question: &Question, answer: &Answer, total: usize) -> Result<()> {
        if self.json {
            let mut line = item.names.clone();
            line.insert("prompt".into(), question.prompt.as_str().into());
            line.insert("text".into(), answer.text.as_str().into());
            line.insert("log_probability".into(), json!(answer.log_probability()));
            line.insert("log_probabilities".into(), json!(answer.log_probabilities));
            line.insert("finished".into(), answer.finished.into());
            return say(Value::Object(line));
        }
        if total == 1 {
            say(&answer.text)
        } else {
            say(format_args!("{}: {}", item.label, answer.text))
        }
    }
}

/// The files on the command line and the rows of the JSON lines file, together.
///
/// # Errors
/// When there is nothing to ask, or the file cannot be read.
pub fn gather(
    images: &[PathBuf],
    prompt: Option<&str>,
    jsonl: Option<&Path>,
    keys: &[&str],
) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = images
        .iter()
        .map(|image| Item::file(image, prompt.unwrap_or_default()))
        .collect();
    if let Some(file) = jsonl {
        let table = Table::open(file)?;
        for number in 0..table.len() {
            items.push(Item::row(&table.row(number)?, keys, prompt));
        }
    }
    if items.is_empty() {
        bail!("there is nothing to ask: the file has no rows");
    }
    Ok(items)
}
