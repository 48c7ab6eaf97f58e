//! `fourfold score`: the metrics alone, for captions and answers from elsewhere.

mod external;
mod loose;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Args;
use fourfold_train::evaluation::{Case, Judge, Layout, Scores, score, table, write_predictions};
use fourfold_train::recipe::Metric;

use crate::output::say;
use external::External;
use read::{Reference, Task, read_lines, read_predictions, read_references};

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
by the references that are scored. A caption without words scores 0. Where images have a `domain`, as nocaps', each domain is
scored too, as a corpus of its own. A predictions file of `fourfold eval` (.jsonl) holds its references.")]
pub struct Score {
    /// What was said: a JSON list, or JSON lines of `fourfold eval`
    #[arg(long, value_name = "FILE")]
    predictions: PathBuf,
    /// What counts as right: a JSON object with annotations
    #[arg(long, value_name = "FILE")]
    references: Option<PathBuf>,
    /// What is measured, separated by commas, in place of what is usual: exact_match, accuracy, vqa_accuracy,
    /// relaxed_accuracy, yes_no, open_closed, token_f1, cider_d, cider, bleu, rouge_l, meteor
    #[arg(long, value_name = "METRIC", value_delimiter = ',')]
    metrics: Vec<Metric>,
    /// A metric of another program, as SPICE: a shell command that reads JSON lines with id, prediction and references, and
    /// writes a number a line; may be given several times
    #[arg(long, value_name = "NAME=COMMAND")]
    external: Vec<External>,
    /// A folder of WordNet (dict), by which METEOR knows synonyms
    #[arg(long, value_name = "FOLDER")]
    wordnet: Option<PathBuf>,
    /// Leave out references without a prediction
    #[arg(long)]
    subset: bool,
    /// Write what each sample scores to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    samples: Option<PathBuf>,
    /// Print the scores as JSON
    #[arg(long)]
    json: bool,
    /// Replace an existing file of --samples
    #[arg(long)]
    force: bool,
}

/// Cases with what was said to each.
#[derive(Default)]
struct Judged {
    cases: Vec<Case>,
    said: Vec<String>,
}

impl Judged {
    fn add(&mut self, reference: Reference, prompt: String, said: String) {
        self.said.push(said);
        self.cases.push(Case {
            id: reference.id,
            images: Vec::new(),
            image_key: None,
            prompt,
            references: reference.texts,
            group: reference.group,
        });
    }
}

impl Score {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file is not as described, or predictions and references are not of the same ids.
    pub fn run(self) -> Result<()> {
        if let Some(samples) = &self.samples {
            let read = [Some(&self.predictions), self.references.as_ref()];
            let same = |path: &PathBuf| path.canonicalize().ok() == samples.canonicalize().ok();
            ensure!(
                !samples.exists() || !read.into_iter().flatten().any(same),
                "--samples: {} is what is scored; write to another file",
                samples.display()
            );
            ensure!(
                !samples.exists() || (samples.is_file() && self.force),
                "{} exists already; --force replaces a file",
                samples.display()
            );
        }
        let (name, usual, judged) = match &self.references {
            Some(file) => {
                let (task, references) = read_references(file)?;
                let (name, usual) = match task {
                    Task::Captions => (
                        "captions",
                        vec![Metric::CiderD, Metric::Bleu, Metric::RougeL],
                    ),
                    Task::Answers => ("answers", vec![Metric::VqaAccuracy]),
                };
                let senseless = self.metrics.iter().find(|metric| !metric.suits_captions());
                if let (Task::Captions, Some(metric)) = (task, senseless) {
                    bail!(
                        "--metrics: {metric} is for answers to questions, and {} has captions",
                        file.display()
                    );
                }
                (name, usual, self.join(task, references, file)?)
            }
            None => {
                let lines = extension(&self.predictions) == "jsonl";
                ensure!(
                    lines,
                    "--references is missing: only .jsonl files of `fourfold eval` hold their own"
                );
                let (mut judged, mut noted) = (Judged::default(), BTreeSet::new());
                for line in read_lines(&self.predictions)? {
                    noted.extend(line.scores.into_keys());
                    let reference = Reference {
                        id: line.id,
                        texts: line.references,
                        group: line.group,
                    };
                    judged.add(reference, line.prompt, line.prediction);
                }
                // What was measured before is measured again.
                let again =
                    |metric: &Metric| metric.figures().iter().any(|name| noted.contains(*name));
                let mut usual: Vec<Metric> = Metric::ALL.into_iter().filter(again).collect();
                if usual.is_empty() {
                    usual = vec![
                        Metric::ExactMatch,
                        Metric::CiderD,
                        Metric::Bleu,
                        Metric::RougeL,
                    ];
                }
                ("predictions", usual, judged)
            }
        };
        let metrics = match self.metrics.as_slice() {
            [] => &usual,
            metrics => metrics,
        };
        let mut scored = score(
            &judged.cases,
            &judged.said,
            &Judge::new(metrics, self.wordnet.as_deref())?,
        )?;
        for external in &self.external {
            external.add(&mut scored)?;
        }
        if let Some(samples) = &self.samples {
            write_predictions(samples, &scored.predictions)?;
        }
        let (scores, _) = scored.into_scores();
        let scores = Scores(BTreeMap::from([(name.to_owned(), scores)]));
        match self.json {
            true => say(serde_json::to_string_pretty(&scores)?),
            false => say(table(&scores, Layout::Text).trim_end()),
        }
    }

    /// The references with the predictions of their ids.
    fn join(&self, task: Task, references: Vec<Reference>, known: &Path) -> Result<Judged> {
        let mut predictions = read_predictions(&self.predictions, task)?;
        let (mut judged, mut missing) = (Judged::default(), Vec::new());
        for reference in references {
            match predictions.remove(&reference.id) {
                Some(said) => judged.add(reference, String::new(), said),
                None => missing.push(reference.id),
            }
        }
        let key = task.keys().0;
        let file = self.predictions.display();
        if let Some(unknown) = predictions.keys().min() {
            let more = and_more("are", predictions.len());
            let known = known.display();
            bail!("{file}: {key} {unknown} is none of {known}{more}");
        }
        ensure!(!judged.cases.is_empty(), "{file} has no predictions");
        if let (Some(first), false) = (missing.first(), self.subset) {
            let more = and_more("for", missing.len());
            bail!(
                "{file}: there is no prediction for {key} {first}{more}; give all, or --subset to leave such out"
            );
        }
        Ok(judged)
    }
}

fn extension(path: &Path) -> &str {
    path.extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default()
}

fn and_more(word: &str, count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        count => format!(", nor {word} {} more", count - 1),
    }
}
