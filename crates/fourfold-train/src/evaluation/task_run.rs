//! A task on a model: answers that are written as they come, then scores.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fourfold_data::{DataError, SkipReport, Source, Tables};
use serde_json::{Map, Value};

use super::cases::question_keys;
use super::figures::score_answers;
use super::journal::{Journal, Settings, Shard, demand_own};
use super::{
    Asked, Case, Cases, EvaluationScores, Evaluator, Judge, Prediction, Scores, Watch,
    write_predictions,
};
use crate::answer::{Answer, Question};
use crate::files;
use crate::recipe::{Found, Submission};

/// A task whose files are found, and where its answers and scores go.
#[derive(Debug)]
pub struct TaskRun<'a> {
    /// What tables and progress call it.
    pub name: &'a str,
    /// What is read, asked and measured.
    pub found: &'a Found,
    /// What evaluation servers take, if any does.
    pub submission: Option<&'a Submission>,
    /// `answers.jsonl`, `settings.json`, `predictions.jsonl`, `scores.json` and `submission.json` are in it.
    pub folder: PathBuf,
}

/// The cases of a task, or of a part of it, as they are on disk now.
#[derive(Debug)]
pub struct Opened {
    shard: Shard,
    cases: Vec<Case>,
    /// What tells the question of each from another of its name.
    keys: Vec<String>,
    /// Samples that cannot be cases.
    skipped: SkipReport,
    /// What was said when it was scored before.
    noted: Vec<Prediction>,
}

impl TaskRun<'_> {
    /// Reads the cases of `shard`, and what tells their questions from others.
    ///
    /// # Errors
    /// When the data cannot be opened, or the folder has scores of other cases.
    pub fn open(&self, shard: Shard) -> Result<Opened> {
        Judge::of(&self.found.evaluation.measure)?;
        demand_own(&self.folder)?;
        let (mut cases, skipped) = self.cases()?;
        let noted = self.predictions()?;
        // Before anything is asked: it would be refused in the end.
        self.demand_same_cases(&noted, &cases)?;
        let mut place = 0..;
        cases.retain(|_| place.next().is_some_and(|place| shard.has(place)));
        let keys = question_keys(&cases);
        Ok(Opened {
            shard,
            cases,
            keys,
            skipped,
            noted,
        })
    }

    /// Asks the model for what is not answered yet.
    ///
    /// # Errors
    /// When the folder's answers are to something else, or `watch` ends it; what was answered is kept.
    pub fn answer(
        &self,
        opened: &Opened,
        evaluator: &Evaluator<'_>,
        settings: &Settings,
        watch: &mut dyn Watch,
    ) -> Result<()> {
        let mut journal = Journal::open(&self.folder, opened.shard, settings)?;
        let left: Vec<(&Case, &String)> = (opened.cases.iter())
            .zip(&opened.keys)
            .filter(|(case, key)| !matches!(journal.get(&case.id, key), Some(Ok(_))))
            .collect();
        let questions: Vec<Question> = left.iter().map(|(case, _)| case.question(None)).collect();
        if questions.is_empty() {
            return Ok(());
        }
        let mut note = |number: usize, answer: &Result<Answer, DataError>| {
            let (case, key) = left[number];
            journal.add(&case.id, key, answer)
        };
        evaluator.ask(
            self.name,
            "model",
            &questions,
            &settings.search,
            watch,
            &mut note,
        )?;
        Ok(())
    }

    /// Scores the answers that the folder holds, and writes `predictions.jsonl`, `scores.json` and, where the task has
    /// one, `submission.json` beside them.
    ///
    /// # Errors
    /// When a case is not answered, or a file cannot be read or written.
    pub fn score(
        &self,
        opened: Opened,
        settings: &Settings,
        watch: &mut dyn Watch,
    ) -> Result<Scores> {
        let mut skipped = opened.skipped;
        let journal = Journal::read(&self.folder, settings)?;
        let (mut good, mut said, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (case, key)) in opened.cases.into_iter().zip(opened.keys).enumerate() {
            match journal.get(&case.id, &key) {
                Some(Ok(answer)) => {
                    said.push(answer.clone());
                    good.push(case);
                }
                Some(Err(reason)) => {
                    let error = DataError::Row {
                        origin: case.id,
                        message: reason.clone(),
                    };
                    skipped.add(self.name, number, &error);
                }
                None => missing.push(case.id),
            }
        }
        if let Some(first) = missing.first() {
            bail!(
                "there is no answer to {} of the cases in {}, the first is {first}: ask for them without --merge, or as \
                 the shards that are missing",
                missing.len(),
                self.folder.display()
            );
        }
        ensure!(!good.is_empty(), "nothing to evaluate: {skipped}");
        if skipped.count > 0 {
            watch.skipped(self.name, &skipped);
        }
        self.demand_same_cases(&opened.noted, &good)?;
        self.write(&good, &said, &skipped, settings.clone())
    }

    /// What was said when it was scored before, if it was.
    fn predictions(&self) -> Result<Vec<Prediction>> {
        let file = self.folder.join("predictions.jsonl");
        match file.exists() {
            true => files::read_json_lines(
                &file,
                "a prediction as `fourfold eval` writes it; --force begins anew",
            ),
            false => Ok(Vec::new()),
        }
    }

    /// Demands that scores of other cases than `cases`, or of more, are not replaced.
    fn demand_same_cases(&self, noted: &[Prediction], cases: &[Case]) -> Result<()> {
        let file = self.folder.join("predictions.jsonl");
        let now = cases.iter().map(|case| (case.id.as_str(), case));
        let now: HashMap<&str, &Case> = now.collect();
        let hint = "score others into another folder (--out), or begin anew with --force";
        for old in noted {
            match now.get(old.id.as_str()) {
                Some(case) => ensure!(
                    case.is_that_of(old),
                    "{} is of other data: {} has other references or another image there; {hint}",
                    file.display(),
                    old.id
                ),
                None => bail!(
                    "{} has {} cases, and {} is none of the {} now; {hint}",
                    file.display(),
                    noted.len(),
                    old.id,
                    cases.len()
                ),
            }
        }
        Ok(())
    }

    fn write(
        &self,
        cases: &[Case],
        said: &[Answer],
        skipped: &SkipReport,
        settings: Settings,
    ) -> Result<Scores> {
        let evaluation = &self.found.evaluation;
        let judge = Judge::of(&evaluation.measure)?;
        let (scores, mut predictions) = score_answers(cases, said, &judge)?;
        if self.found.unanswered {
            predictions.iter_mut().for_each(|p| p.references.clear());
        }
        write_predictions(&self.folder.join("predictions.jsonl"), &predictions)?;
        if let Some(submission) = self.submission {
            let path = self.folder.join("submission.json");
            files::write_json(&path, &submitted(submission, &predictions))?;
        }
        let scores = EvaluationScores {
            skipped: skipped.count,
            unfinished: said.iter().filter(|answer| !answer.finished).count(),
            asked: Some(Asked {
                settings,
                data: evaluation
                    .source
                    .path
                    .written()
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect(),
                limit: evaluation.measure.limit,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
            ..scores
        };
        let scores = Scores([(self.name.to_owned(), scores)].into());
        files::write_json(&self.folder.join("scores.json"), &scores)?;
        Ok(scores)
    }

    fn cases(&self) -> Result<(Vec<Case>, SkipReport)> {
        let tables = Tables::new();
        let evaluation = &self.found.evaluation;
        let source: std::sync::Arc<dyn Source> = tables
            .open(&evaluation.source)
            .with_context(|| format!("in the task {}", self.name))?;
        let Cases { cases, skipped } = Cases::read(&*source, &evaluation.measure);
        ensure!(!cases.is_empty(), "nothing to evaluate: {skipped}");
        ensure!(
            !evaluation.source.images || cases.iter().any(|case| !case.images.is_empty()),
            "not one of the {} cases of {} has an image: name their column with `image_column` in a task of your own, or \
             say there that they are to have none, `images = false`",
            cases.len(),
            self.name
        );
        let mut names = HashSet::new();
        for case in &cases {
            ensure!(
                names.insert(case.id.as_str()),
                "two questions of the task {} are called {}: cases are told apart by their names (`id`, or file and row)",
                self.name,
                case.id
            );
        }
        Ok((cases, skipped))
    }
}

/// The list that evaluation servers take; names that are numbers are numbers there.
fn submitted(submission: &Submission, predictions: &[Prediction]) -> Vec<Value> {
    let entry = |prediction: &Prediction| {
        let id = match prediction.id.parse::<u64>() {
            Ok(number) if number.to_string() == prediction.id => Value::from(number),
            _ => Value::from(prediction.id.as_str()),
        };
        let mut entry = Map::new();
        entry.insert(submission.id.clone(), id);
        entry.insert(
            submission.text.clone(),
            prediction.prediction.as_str().into(),
        );
        Value::Object(entry)
    };
    predictions.iter().map(entry).collect()
}

/// What tells the model in a folder from others: its weights, and all that says how they read.
///
/// # Errors
/// When a file of weights cannot be read.
pub fn weights_of(folder: &Path) -> Result<String> {
    let within = || format!("cannot read {}", folder.display());
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(within)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|e| e == "safetensors" || e == "json")
        })
        .collect();
    files.sort();
    let identities: Result<Vec<String>, DataError> = files
        .iter()
        .map(|file| fourfold_data::hash::file_identity(file))
        .collect();
    Ok(fourfold_data::hash::sha256(
        identities?.join(" ").as_bytes(),
    ))
}
