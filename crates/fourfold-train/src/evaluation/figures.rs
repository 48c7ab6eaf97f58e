//! Predictions and the figures made of them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use fourfold_eval::{AnswerCase, CaptionCase, bootstrap_mean, score_answers, score_captions, vqa};
use serde::{Deserialize, Serialize};

use super::Case;
use crate::recipe::{Baseline, Metric};

/// Draws of the bootstrap behind an interval.
const RESAMPLES: usize = 1000;

/// One line of `predictions/<evaluation>.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// File and row.
    pub id: String,
    /// What was asked.
    pub prompt: String,
    /// What was answered.
    pub prediction: String,
    /// What counts as right.
    pub references: Vec<String>,
    /// Whether the answer equals a reference, once both are normalised as [`Metric::ExactMatch`] says.
    pub correct: bool,
}

/// The figures of one system on one evaluation; those that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Share of predictions that equal a reference, both normalised as [`Metric::ExactMatch`] says, in `0..=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_match: Option<f64>,
    /// The same share, under the name that it has for answers to questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean VQA accuracy, in `0..=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vqa_accuracy: Option<f64>,
    /// Mean CIDEr-D, in `0..=10`; 1.0 is what papers write as 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cider_d: Option<f64>,
    /// Corpus BLEU-1, in `0..=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bleu1: Option<f64>,
    /// Corpus BLEU-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bleu2: Option<f64>,
    /// Corpus BLEU-3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bleu3: Option<f64>,
    /// Corpus BLEU-4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bleu4: Option<f64>,
    /// Mean ROUGE-L, in `0..=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rouge_l: Option<f64>,
}

impl Figures {
    /// The figures with their names, in the order of tables.
    pub fn named(&self) -> [(&'static str, Option<f64>); 9] {
        [
            ("exact_match", self.exact_match),
            ("accuracy", self.accuracy),
            ("vqa_accuracy", self.vqa_accuracy),
            ("cider_d", self.cider_d),
            ("bleu1", self.bleu1),
            ("bleu2", self.bleu2),
            ("bleu3", self.bleu3),
            ("bleu4", self.bleu4),
            ("rouge_l", self.rouge_l),
        ]
    }
}

/// The figures of one evaluation: the model's and the baselines'.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationScores {
    /// Cases that were asked.
    pub samples: usize,
    /// Samples that could not be read and were left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: usize,
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
    /// Bootstrap intervals of the model's figures, `[low, high]` at 95 %, where the figure is a mean over
    /// samples.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub interval_95: BTreeMap<String, [f64; 2]>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
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

/// Figures of one system, its predictions as they are written, and an interval for each figure that is a
/// mean over samples.
pub type Scored = (Figures, Vec<Prediction>, BTreeMap<String, [f64; 2]>);

/// Scores what a system said to `cases`, in their order.
///
/// # Errors
/// When there are no cases, or one without a reference that has text.
pub fn score(cases: &[Case], said: &[String], metrics: &[Metric]) -> Result<Scored> {
    let answer_cases: Vec<AnswerCase> = cases
        .iter()
        .zip(said)
        .map(|(case, said)| AnswerCase {
            id: case.id.clone(),
            candidate: said.clone(),
            accepted: case.references.clone(),
        })
        .collect();
    let (answers, marks) = score_answers(&answer_cases)?;
    let right: Vec<f64> = marks.iter().map(|mark| f64::from(mark.correct)).collect();
    let mut figures = Figures::default();
    let mut intervals = BTreeMap::new();
    let mut interval = |name: &str, values: &[f64]| -> Result<()> {
        let interval = bootstrap_mean(values, 0.95, RESAMPLES, 0).context(name.to_owned())?;
        intervals.insert(name.to_owned(), [interval.low, interval.high]);
        Ok(())
    };
    let asked = |metric| metrics.contains(&metric);
    if asked(Metric::ExactMatch) {
        figures.exact_match = Some(answers.accuracy);
        interval("exact_match", &right)?;
    }
    if asked(Metric::Accuracy) {
        figures.accuracy = Some(answers.accuracy);
        interval("accuracy", &right)?;
    }
    if asked(Metric::VqaAccuracy) {
        let of = |(case, said): (&Case, &String)| vqa::accuracy(said, &case.references);
        let values: Vec<f64> = cases.iter().zip(said).map(of).collect();
        figures.vqa_accuracy = Some(values.iter().sum::<f64>() / values.len() as f64);
        interval("vqa_accuracy", &values)?;
    }
    if asked(Metric::CiderD) || asked(Metric::Bleu) || asked(Metric::RougeL) {
        let caption_cases: Vec<CaptionCase> = answer_cases
            .into_iter()
            .map(|case| CaptionCase {
                id: case.id,
                candidate: case.candidate,
                references: case.accepted,
            })
            .collect();
        let (captions, samples) = score_captions(&caption_cases)?;
        if asked(Metric::CiderD) {
            figures.cider_d = Some(captions.cider_d);
            interval(
                "cider_d",
                &samples
                    .iter()
                    .map(|sample| sample.cider_d)
                    .collect::<Vec<_>>(),
            )?;
        }
        if asked(Metric::RougeL) {
            figures.rouge_l = Some(captions.rouge_l);
            interval(
                "rouge_l",
                &samples
                    .iter()
                    .map(|sample| sample.rouge_l)
                    .collect::<Vec<_>>(),
            )?;
        }
        if asked(Metric::Bleu) {
            let [bleu1, bleu2, bleu3, bleu4] = captions.bleu.map(Some);
            figures = Figures {
                bleu1,
                bleu2,
                bleu3,
                bleu4,
                ..figures
            };
        }
    }
    let predictions = cases
        .iter()
        .zip(said)
        .zip(&marks)
        .map(|((case, said), mark)| Prediction {
            id: case.id.clone(),
            prompt: case.prompt.clone(),
            prediction: said.clone(),
            references: case.references.clone(),
            correct: mark.correct,
        });
    Ok((figures, predictions.collect(), intervals))
}
