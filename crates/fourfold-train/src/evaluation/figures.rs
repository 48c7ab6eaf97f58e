//! Predictions and the figures made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use fourfold_eval::resample::{RESAMPLES, intervals};
use fourfold_eval::{Case as Judged, Figure, Meteor, TITLES, WordNet, answers, measure_with};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Case, Settings};
use crate::answer::Answer;
use crate::files;
use crate::recipe::{Baseline, Measure, Metric};

/// One line of `predictions/<evaluation>.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// File and row, or the data set's own name of the sample.
    pub id: String,
    /// What was asked.
    pub prompt: String,
    /// What was answered.
    pub prediction: String,
    /// What counts as right.
    pub references: Vec<String>,
    /// Whether the answer equals a reference, once both are normalised as [`Metric::ExactMatch`] says.
    pub correct: bool,
    /// What it scores by itself in each figure that speaks of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
    /// The kind of case that it is, where figures of kinds are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The file of its first image, where that is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The natural logarithm of the probability of the answer, where a model gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_probability: Option<f32>,
    /// Whether the model ended it, rather than the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<bool>,
}

/// The figures of one system on one evaluation, by their names: shares in `0..=1`, CIDEr in `0..=10`, where 1.0 is what
/// papers write as 100.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(pub BTreeMap<String, f64>);

impl Figures {
    /// The figure called `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }
}

/// Ends of 95 % intervals, `[low, high]`, by the names of their figures.
pub type Intervals = BTreeMap<String, [f64; 2]>;

/// The model's figures on one kind of cases, as a domain of nocaps; a corpus of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupScores {
    /// Cases of the kind.
    pub samples: usize,
    /// The figures.
    pub model: Figures,
    /// Their intervals.
    pub interval_95: Intervals,
}

/// What a task asked of whom, and by which program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// What answers have in common.
    #[serde(flatten)]
    pub settings: Settings,
    /// The files of the data, as they were found.
    pub data: Vec<String>,
    /// How many cases were drawn at most, where not all were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Fourfold's version.
    pub version: String,
}

/// The figures of one evaluation: the model's and the baselines'.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationScores {
    /// Cases that were asked.
    pub samples: usize,
    /// Samples that could not be read and were left out.
    #[serde(default, skip_serializing_if = "files::is_default")]
    pub skipped: usize,
    /// Answers that the limit ended, or what the model reads, where answers were kept as they came.
    #[serde(default, skip_serializing_if = "files::is_default")]
    pub unfinished: usize,
    /// The model.
    pub model: Figures,
    /// What is said of the training image nearest in raw pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_nn: Option<Figures>,
    /// The model, shown the images of other samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffled_images: Option<Figures>,
    /// The model, shown a uniform image: the level that `shuffled_images` should fall to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<Figures>,
    /// The most frequent training answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub majority: Option<Figures>,
    /// Bootstrap intervals of the model's figures.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub interval_95: Intervals,
    /// What was asked of whom, where answers were kept as they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The model by kinds of cases, where these have one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, GroupScores>,
}

impl EvaluationScores {
    /// The systems that were measured, the model first.
    pub fn systems(&self) -> Vec<(&'static str, &Figures)> {
        let baselines = [
            (name(Baseline::PixelNn), &self.pixel_nn),
            (name(Baseline::Majority), &self.majority),
            (name(Baseline::ShuffledImages), &self.shuffled_images),
            ("blind", &self.blind),
        ];
        let measured = baselines
            .into_iter()
            .filter_map(|(name, figures)| Some((name, figures.as_ref()?)));
        [("model", &self.model)]
            .into_iter()
            .chain(measured)
            .collect()
    }
}

/// `scores.json`: the figures of every evaluation, by its name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scores(pub BTreeMap<String, EvaluationScores>);

/// A baseline's name in recipes and scores.
pub(super) fn name(baseline: Baseline) -> &'static str {
    match baseline {
        Baseline::PixelNn => "pixel_nn",
        Baseline::ShuffledImages => "shuffled_images",
        Baseline::Majority => "majority",
    }
}

/// What a system said, scored.
#[derive(Clone, Debug, Default)]
pub struct Scored {
    /// Its figures.
    pub figures: Figures,
    /// Their intervals.
    pub interval_95: Intervals,
    /// The figures of each kind of cases.
    pub groups: BTreeMap<String, GroupScores>,
    /// Its predictions as they are written, in the order of the cases.
    pub predictions: Vec<Prediction>,
}

impl Scored {
    /// Adds the mean of a value of each prediction as the figure `name`, with its interval, of all and of each group.
    pub fn add(&mut self, name: &str, values: Vec<f64>) {
        for (prediction, value) in self.predictions.iter_mut().zip(&values) {
            prediction.scores.insert(name.to_owned(), *value);
        }
        let put = |values: Vec<f64>, figures: &mut Figures, intervals: &mut Intervals| {
            let (mean, ends) = summed(&[Figure::mean("external", values)]);
            let (mean, ends) = (mean.0.into_values(), ends.into_values());
            figures.0.extend(mean.map(|mean| (name.to_owned(), mean)));
            intervals.extend(ends.map(|ends| (name.to_owned(), ends)));
        };
        for (group, scores) in &mut self.groups {
            let own = self.predictions.iter().zip(&values);
            let own = own.filter(|(prediction, _)| prediction.group.as_ref() == Some(group));
            let own = own.map(|(_, value)| *value).collect();
            put(own, &mut scores.model, &mut scores.interval_95);
        }
        put(values, &mut self.figures, &mut self.interval_95);
    }
}

/// Measures what systems say.
#[derive(Debug, Default)]
pub struct Judge {
    metrics: Vec<Metric>,
    meteor: Meteor,
}

impl Judge {
    /// By `metrics`; METEOR knows synonyms where `wordnet` is WordNet's folder.
    ///
    /// # Errors
    /// When that folder cannot be read: file and line are named.
    pub fn new(metrics: &[Metric], wordnet: Option<&Path>) -> Result<Self> {
        let wordnet = wordnet.filter(|_| metrics.contains(&Metric::Meteor));
        Ok(Self {
            metrics: metrics.to_vec(),
            meteor: Meteor::new(wordnet.map(WordNet::read).transpose()?),
        })
    }

    /// As an evaluation says.
    ///
    /// # Errors
    /// As [`Judge::new`].
    pub fn of(measure: &Measure) -> Result<Self> {
        Self::new(&measure.metrics, measure.wordnet.as_deref())
    }
}

/// Scores what a system said to `cases`, in their order.
///
/// # Errors
/// When there are no cases, or one without a reference that has text.
pub fn score(cases: &[Case], said: &[String], judge: &Judge) -> Result<Scored> {
    let all: Vec<usize> = (0..cases.len()).collect();
    let figures = of(&all, cases, said, judge)?;
    let mut predictions: Vec<Prediction> = cases
        .par_iter()
        .zip(said)
        .map(|(case, said)| Prediction {
            id: case.id.clone(),
            prompt: case.prompt.clone(),
            prediction: said.clone(),
            references: case.references.clone(),
            correct: answers::matches(said, &case.references),
            group: case.group.clone(),
            image: case.image_file(),
            ..Prediction::default()
        })
        .collect();
    for figure in &figures {
        for (prediction, value) in predictions.iter_mut().zip(&figure.samples) {
            if let Some(value) = value {
                prediction.scores.insert(figure.name.to_owned(), *value);
            }
        }
    }
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, case) in cases.iter().enumerate() {
        if let Some(group) = &case.group {
            members.entry(group).or_default().push(place);
        }
    }
    let mut groups = BTreeMap::new();
    for (name, members) in members {
        let (model, interval_95) = summed(&of(&members, cases, said, judge)?);
        let samples = members.len();
        let scores = GroupScores {
            samples,
            model,
            interval_95,
        };
        groups.insert(name.to_owned(), scores);
    }
    let (figures, interval_95) = summed(&figures);
    Ok(Scored {
        figures,
        interval_95,
        groups,
        predictions,
    })
}

impl Scored {
    /// The figures as those of the model, and its predictions.
    pub fn into_scores(self) -> (EvaluationScores, Vec<Prediction>) {
        let scores = EvaluationScores {
            samples: self.predictions.len(),
            model: self.figures,
            interval_95: self.interval_95,
            groups: self.groups,
            ..EvaluationScores::default()
        };
        (scores, self.predictions)
    }
}

/// Scores what the model answered to `cases`; its predictions say how likely it was, and whether the model ended it.
///
/// # Errors
/// As [`score`].
pub(super) fn score_answers(
    cases: &[Case],
    said: &[Answer],
    judge: &Judge,
) -> Result<(EvaluationScores, Vec<Prediction>)> {
    let texts: Vec<String> = said.iter().map(|answer| answer.text.clone()).collect();
    let (scores, mut predictions) = score(cases, &texts, judge)?.into_scores();
    for (prediction, answer) in predictions.iter_mut().zip(said) {
        prediction.log_probability = Some(answer.log_probability());
        prediction.finished = Some(answer.finished);
    }
    Ok((scores, predictions))
}

/// The figures of the cases at `places`.
fn of(places: &[usize], cases: &[Case], said: &[String], judge: &Judge) -> Result<Vec<Figure>> {
    if judge.metrics.is_empty() {
        return Ok(Vec::new());
    }
    let judged: Vec<Judged<'_>> = places
        .iter()
        .map(|place| Judged {
            id: &cases[*place].id,
            candidate: &said[*place],
            references: &cases[*place].references,
        })
        .collect();
    Ok(measure_with(&judged, &judge.metrics, &judge.meteor)?)
}

/// Totals and intervals.
fn summed(figures: &[Figure]) -> (Figures, Intervals) {
    let name = |figure: &Figure| figure.name.to_owned();
    let totals = figures.iter().map(|f| (name(f), f.total()));
    let ends = intervals(figures, RESAMPLES, 0);
    let ends = figures
        .iter()
        .zip(ends)
        .map(|(f, i)| (name(f), [i.low, i.high]));
    (Figures(totals.collect()), ends.collect())
}

/// The names of the figures that any of `all` has, in the order of tables, with their titles and whether they are shares;
/// at last those of other programs, which have their name for a title.
pub(super) fn columns<'a>(
    all: impl Iterator<Item = &'a Figures> + Clone,
) -> Vec<(&'a str, &'a str, bool)> {
    let names: BTreeSet<&str> = all.flat_map(|f| f.0.keys().map(String::as_str)).collect();
    let known = TITLES.into_iter().filter(|(name, ..)| names.contains(name));
    let others = names
        .iter()
        .filter(|name| TITLES.iter().all(|(known, ..)| known != *name))
        .map(|name| (*name, *name, false));
    known.chain(others).collect()
}
