//! Running a model and its baselines over evaluations.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use fourfold_data::{DataError, SkipReport, Source, Tables, decode_rgb_within, sample_rng};
use fourfold_model::Model;

use super::baselines::{blind, majority, shuffled};
use super::cases::{Read, image_key};
use super::figures::name;
use super::figures::score_answers;
use super::{Case, Cases, EvaluationScores, Figures, Judge, PixelIndex, Prediction, Scores, score};
use crate::answer::{Answer, Answerer, Heard, Question};
use crate::assemble::Reading;
use crate::files;
use crate::recipe::{Baseline, Measure, Recipe, Search, unknown_word};
use crate::report;
use crate::run_folder::RunFolder;
use crate::sources::{Sources, demand_one};

/// The seed of the shuffle: the same images change places in every run.
const SHUFFLE_SEED: u64 = 0;

/// Hears how far an evaluation is. Every method may be left out.
pub trait Watch: Send {
    /// A system begins on an evaluation's cases.
    fn begins(&mut self, _evaluation: &str, _system: &str, _cases: usize) {}

    /// That many more cases are answered.
    ///
    /// # Errors
    /// An error ends the evaluation with it.
    fn advanced(&mut self, _cases: usize) -> Result<()> {
        Ok(())
    }

    /// Samples could not be read.
    fn skipped(&mut self, _evaluation: &str, _report: &SkipReport) {}
}

/// Hears nothing.
pub struct Quiet;

impl Watch for Quiet {}

/// What an evaluation gives.
pub struct Evaluated {
    /// The figures.
    pub scores: EvaluationScores,
    /// What each system said; the model is the first.
    pub predictions: Vec<(&'static str, Vec<Prediction>)>,
    /// Samples that could not be read.
    pub skipped: SkipReport,
}

/// Measures one model.
pub struct Evaluator<'a> {
    model: &'a Model,
    reading: &'a Reading,
    answerer: Answerer,
}

impl<'a> Evaluator<'a> {
    /// For `model`, read as `reading` says.
    ///
    /// # Errors
    /// When the tokenizer does not fit the text format.
    pub fn new(model: &'a Model, reading: &'a Reading) -> Result<Self> {
        Ok(Self {
            model,
            reading,
            answerer: Answerer::new(model, reading)?,
        })
    }

    /// Measures the model and the baselines of `measure` on `source`; `training` is where baselines look up
    /// answers. `shuffled_images` brings `blind` with it, the level it should fall to.
    ///
    /// # Errors
    /// When no sample can be read, a baseline lacks what it needs, or `watch` ends it.
    pub fn evaluate(
        &self,
        evaluation: &str,
        source: &dyn Source,
        measure: &Measure,
        training: &[&dyn Source],
        watch: &mut dyn Watch,
    ) -> Result<Evaluated> {
        if let Some(fault) = measure.fault() {
            bail!("{fault}");
        }
        let judge = Judge::of(measure)?;
        let Cases { cases, mut skipped } = Cases::read(source, measure);
        let search = &measure.search;
        let (cases, said) = self.first(evaluation, cases, search, &mut skipped, watch)?;
        if skipped.count > 0 {
            watch.skipped(evaluation, &skipped);
        }
        ensure!(!cases.is_empty(), "nothing to evaluate: {skipped}");
        let (scores, of_model) = score_answers(&cases, &said, &judge)?;
        let mut scores = EvaluationScores {
            skipped: skipped.count,
            ..scores
        };
        let mut predictions = vec![("model", of_model)];
        let mut note = |system, said: &[String]| -> Result<Figures> {
            let scored = score(&cases, said, &judge)?;
            predictions.push((system, scored.predictions));
            Ok(scored.figures)
        };
        for baseline in &measure.baselines {
            let system = name(*baseline);
            let mut looked_up = |said: Vec<String>| -> Result<Option<Figures>> {
                watch.begins(evaluation, system, cases.len());
                watch.advanced(cases.len())?;
                Ok(Some(note(system, &said)?))
            };
            match baseline {
                Baseline::PixelNn => {
                    let index =
                        PixelIndex::build(training, &self.reading.transform, self.reading.files)?;
                    let mut said = index.nearest(&cases)?;
                    if said.iter().any(Option::is_none) {
                        // What can be said without an image.
                        let usual = majority(&cases, training)?;
                        for (said, usual) in said.iter_mut().zip(usual) {
                            said.get_or_insert(usual);
                        }
                    }
                    scores.pixel_nn = looked_up(said.into_iter().flatten().collect())?;
                }
                Baseline::Majority => scores.majority = looked_up(majority(&cases, training)?)?,
                Baseline::ShuffledImages => {
                    let questions = shuffled(&cases, SHUFFLE_SEED)?;
                    let said = self.again(evaluation, system, &questions, search, watch)?;
                    scores.shuffled_images = Some(note(system, &said)?);
                    let questions = blind(&cases, &self.reading.transform);
                    let said = self.again(evaluation, "blind", &questions, search, watch)?;
                    scores.blind = Some(note("blind", &said)?);
                }
            }
        }
        Ok(Evaluated {
            scores,
            predictions,
            skipped,
        })
    }

    /// The model's answers. Cases that cannot be read are left out here, so that every system is measured on
    /// the same ones.
    fn first(
        &self,
        evaluation: &str,
        cases: Vec<Case>,
        search: &Search,
        skipped: &mut SkipReport,
        watch: &mut dyn Watch,
    ) -> Result<(Vec<Case>, Vec<Answer>)> {
        let questions: Vec<Question> = cases.iter().map(|case| case.question(None)).collect();
        let answers = self.ask(
            evaluation,
            "model",
            &questions,
            search,
            watch,
            &mut |_, _| Ok(()),
        )?;
        let (mut good, mut said) = (Vec::new(), Vec::new());
        for (number, (case, answer)) in cases.into_iter().zip(answers).enumerate() {
            match answer {
                Ok(answer) => {
                    good.push(case);
                    said.push(answer);
                }
                Err(error) => skipped.add(evaluation, number, &error),
            }
        }
        Ok((good, said))
    }

    /// What a baseline that asks the model says to questions that can all be read.
    fn again(
        &self,
        evaluation: &str,
        system: &str,
        questions: &[Question],
        search: &Search,
        watch: &mut dyn Watch,
    ) -> Result<Vec<String>> {
        let answers = self.ask(evaluation, system, questions, search, watch, &mut |_, _| {
            Ok(())
        })?;
        answers.into_iter().map(|answer| Ok(answer?.text)).collect()
    }

    /// Asks the questions about one image after one another, whatever their order; the answers are in it. `heard` gets
    /// each as it comes, with its question's number.
    pub(super) fn ask(
        &self,
        evaluation: &str,
        system: &str,
        questions: &[Question],
        search: &Search,
        watch: &mut dyn Watch,
        heard: &mut Heard<'_>,
    ) -> Result<Vec<Result<Answer, DataError>>> {
        watch.begins(evaluation, system, questions.len());
        let order = by_image(questions);
        let ordered: Vec<Question> = order.iter().map(|at| questions[*at].clone()).collect();
        let mut note = |number: usize, answer: &Result<Answer, DataError>| {
            heard(order[number], answer)?;
            watch.advanced(1)
        };
        let answers = self
            .answerer
            .answer_all(self.model, &ordered, search, &mut note)?;
        let mut placed: Vec<_> = order.into_iter().zip(answers).collect();
        placed.sort_unstable_by_key(|(place, _)| *place);
        Ok(placed.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// The places of questions so that those about the same images follow one another, in the order of the first of each.
fn by_image(questions: &[Question]) -> Vec<usize> {
    let mut first = HashMap::new();
    let mut order: Vec<(usize, usize)> = Vec::with_capacity(questions.len());
    for (place, question) in questions.iter().enumerate() {
        let seen = image_key(&question.images);
        let group = seen.map_or(place, |key| *first.entry(key).or_insert(place));
        order.push((group, place));
    }
    order.sort_unstable();
    order.into_iter().map(|(_, place)| place).collect()
}

/// Opens what the evaluations of `recipe` read, so that a mistake in them is told before the training rather than
/// after it. Their own files are let go again.
///
/// # Errors
/// Names the evaluation whose file, columns or templates are wrong.
pub fn check_evaluations(recipe: &Recipe, sources: &Sources) -> Result<()> {
    let tables = Tables::new();
    for (name, evaluation) in &recipe.evaluation {
        let within = || format!("in the evaluation '{name}'");
        let source = tables.open(&evaluation.source).with_context(within)?;
        let measure = &evaluation.measure;
        Judge::of(measure).with_context(within)?;
        demand_one(&*source, "can be read", |row| {
            seen(&*source, row, recipe, measure)
        })
        .with_context(within)?;
        if evaluation
            .measure
            .baselines
            .contains(&Baseline::ShuffledImages)
        {
            demand_two_images(&*source).with_context(within)?;
        }
        for data in &evaluation.measure.baseline_data {
            sources.get(data).with_context(within)?;
        }
    }
    Ok(())
}

/// Reads sample `row` as an evaluation does, its images decoded.
fn seen(
    source: &dyn Source,
    row: usize,
    recipe: &Recipe,
    measure: &Measure,
) -> Result<(), DataError> {
    let Read { sample, .. } = Read::new(source, row, measure)?;
    for (index, image) in sample.read_images()?.iter().enumerate() {
        decode_rgb_within(&image.bytes, &recipe.image_files).map_err(|message| {
            DataError::Image {
                origin: sample.origin.clone(),
                image: sample.images[index].name(index),
                message,
            }
        })?;
    }
    Ok(())
}

/// Demands that there are images to change places with.
fn demand_two_images(source: &dyn Source) -> Result<()> {
    let mut first = None;
    let mut lost = None;
    for row in 0..source.len() {
        // What cannot be read is left out of the evaluation.
        let sample = source.sample(row, &mut sample_rng(0, row as u64));
        let images = sample.and_then(|sample| {
            sample.read_images()?;
            Ok(sample.images)
        });
        let images = match images {
            Ok(images) => images,
            Err(error) => {
                lost.get_or_insert(error);
                continue;
            }
        };
        let Some(key) = image_key(&images) else {
            continue;
        };
        if first.get_or_insert_with(|| key.clone()) != &key {
            return Ok(());
        }
    }
    let lost = lost.map_or_else(String::new, |error| {
        format!("; one that cannot be read: {error}")
    });
    bail!("the baseline shuffled_images needs at least two different images; remove it{lost}");
}

/// Runs every `[evaluation.NAME]` of `recipe` and leaves `predictions/`, `scores.json` and a report with the scores
/// in the run folder; the scores are written at the end and at once.
///
/// # Errors
/// Names the evaluation that fails, or the file.
pub fn evaluate_recipe(
    recipe: &Recipe,
    model: &Model,
    reading: &Reading,
    run: &RunFolder,
    watch: &mut dyn Watch,
) -> Result<Scores> {
    let _lock = run.lock()?;
    let tables = Tables::new();
    let evaluator = Evaluator::new(model, reading)?;
    let folder = run.predictions();
    files::create_folder(&folder)?;
    let mut scores = BTreeMap::new();
    for (name, evaluation) in &recipe.evaluation {
        let within = || format!("in the evaluation '{name}'");
        let source = tables.open(&evaluation.source).with_context(within)?;
        let training =
            training_sources(recipe, &evaluation.measure, &tables).with_context(within)?;
        let training: Vec<&dyn Source> = training.iter().map(|source| &**source).collect();
        let measure = &evaluation.measure;
        let evaluated = evaluator
            .evaluate(name, &*source, measure, &training, watch)
            .with_context(within)?;
        for (system, predictions) in &evaluated.predictions {
            let file = match *system {
                "model" => format!("{name}.jsonl"),
                system => format!("{name}.{system}.jsonl"),
            };
            write_predictions(&folder.join(file), predictions)?;
        }
        scores.insert(name.clone(), evaluated.scores);
    }
    let scores = Scores(scores);
    files::write_json(&run.scores(), &scores)?;
    report::write(run)?;
    Ok(scores)
}

/// The `baseline_data` of an evaluation, opened.
///
/// # Errors
/// When the recipe has no data of such a name, or its file cannot be read.
pub fn training_sources(
    recipe: &Recipe,
    measure: &Measure,
    tables: &Tables,
) -> Result<Vec<Arc<dyn Source>>> {
    let open = |name: &String| {
        let known: Vec<&String> = recipe.data.keys().collect();
        let config = recipe
            .data
            .get(name)
            .with_context(|| unknown_word("data name", name, &known))?;
        tables
            .open(config)
            .with_context(|| format!("in the data '{name}'"))
    };
    measure.baseline_data.iter().map(open).collect()
}

/// Writes predictions, one JSON object a line.
///
/// # Errors
/// Names the file.
pub fn write_predictions(path: &Path, predictions: &[Prediction]) -> Result<()> {
    let mut text = String::new();
    for prediction in predictions {
        text.push_str(&serde_json::to_string(prediction).context("cannot write a prediction")?);
        text.push('\n');
    }
    files::write_atomic(path, text.as_bytes())
}

/// The scores of a run or task, in its `scores.json`.
///
/// # Errors
/// When there are none, or they cannot be read.
pub fn read_scores(path: &Path) -> Result<Scores> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is damaged: remove it and measure again with `fourfold eval RUN`",
            path.display()
        )
    })
}
