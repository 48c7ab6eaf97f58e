//! How long a run will take here, its scores included, from a few seconds of it.

use std::time::Instant;

use anyhow::{Context, Result};
use fourfold_data::Tables;
use fourfold_model::Model;
use fourfold_tensor::Device;

use crate::answer::{Answerer, Question};
use crate::assemble::{Reading, assemble, text};
use crate::evaluation::Cases;
use crate::measure::{StageSpeed, measure};
use crate::recipe::{Baseline, Evaluation, Recipe, Search};
use crate::sources::Sources;
use crate::threads::in_pool;

/// Cases that are answered to learn how long one takes.
const TRIED: usize = 64;

/// How long a recipe will take.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Its stages.
    pub stages: Vec<StageSpeed>,
    /// Its evaluations.
    pub evaluations: Vec<AnswerSpeed>,
}

/// How long an evaluation will take.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerSpeed {
    /// Its name.
    pub name: String,
    /// Questions that the model answers, the baselines that ask it again included.
    pub answers: usize,
    /// Seconds an answer.
    pub seconds_per_answer: f64,
}

impl Estimate {
    /// Seconds for all of it.
    pub fn seconds(&self) -> f64 {
        self.stages.iter().map(StageSpeed::seconds).sum::<f64>() + self.answer_seconds()
    }

    /// Answers that the evaluations take.
    pub fn answers(&self) -> usize {
        self.evaluations.iter().map(|speed| speed.answers).sum()
    }

    /// Seconds for the evaluations.
    pub fn answer_seconds(&self) -> f64 {
        let seconds = |speed: &AnswerSpeed| speed.answers as f64 * speed.seconds_per_answer;
        self.evaluations.iter().map(seconds).sum()
    }

    /// Scales the samples of every stage of `recipe`, and this estimate with it, so that all of it takes
    /// `seconds`. The evaluations stay as they are; a stage keeps at least one update.
    pub fn fit(&mut self, recipe: &mut Recipe, seconds: f64) {
        let training: f64 = self.stages.iter().map(StageSpeed::seconds).sum();
        let factor = (seconds - self.answer_seconds()).max(0.0) / training.max(1e-9);
        recipe.scale_samples(factor);
        for stage in &mut self.stages {
            stage.updates = ((stage.updates as f64 * factor).round() as usize).max(1);
        }
    }
}

/// Times a few updates of every stage of `recipe`, for `seconds_per_stage` each, and a few answers of every
/// evaluation, on models that are thrown away.
///
/// # Errors
/// As training: whatever keeps the recipe from running is found here, before a run folder exists.
pub fn estimate(recipe: &Recipe, seconds_per_stage: f64, device: &Device) -> Result<Estimate> {
    let stages = measure(recipe, seconds_per_stage, device)?;
    let evaluations = in_pool(recipe.threads, || answers(recipe, device))?;
    Ok(Estimate {
        stages,
        evaluations,
    })
}

fn answers(recipe: &Recipe, device: &Device) -> Result<Vec<AnswerSpeed>> {
    if recipe.evaluation.is_empty() {
        return Ok(Vec::new());
    }
    let sources = Sources::new(recipe);
    let text = text(recipe, &sources, None)?;
    let mut assembled = assemble(recipe, text, recipe.precision.resolve_on(device))?;
    assembled.model.parameters.to_device(device)?;
    let tables = Tables::new();
    let evaluations = recipe.evaluation.iter();
    let speed = |(name, evaluation): (&String, &Evaluation)| {
        speed(
            name,
            evaluation,
            &assembled.model,
            &assembled.reading,
            &tables,
        )
        .with_context(|| format!("in the evaluation '{name}'"))
    };
    evaluations.map(speed).collect()
}

/// A model that has learned nothing rarely ends an answer; so it answers as long as the references are.
fn speed(
    name: &str,
    evaluation: &Evaluation,
    model: &Model,
    reading: &Reading,
    tables: &Tables,
) -> Result<AnswerSpeed> {
    let measure = &evaluation.measure;
    let source = tables.open(&evaluation.source)?;
    let Cases { mut cases, .. } = Cases::read(&*source, measure);
    let asked_again = measure.baselines.contains(&Baseline::ShuffledImages);
    let answers = cases.len() * if asked_again { 3 } else { 1 };
    cases.truncate(TRIED);
    let references = cases.iter().filter_map(|case| case.references.first());
    let mut tokens = 0;
    for reference in references {
        tokens += reading.tokenizer.encode(reference)?.len();
    }
    let usual = tokens.div_ceil(cases.len().max(1)) + 1;
    let search = Search {
        max_new_tokens: usual.min(measure.search.max_new_tokens),
        min_new_tokens: 0,
        ..measure.search.clone()
    };
    let questions: Vec<Question> = cases.iter().map(|case| case.question(None)).collect();
    let answerer = Answerer::new(model, reading)?;
    let begin = Instant::now();
    answerer.answer_each(model, &questions, &search, &mut |_, _| Ok(()))?;
    Ok(AnswerSpeed {
        name: name.to_owned(),
        answers,
        seconds_per_answer: begin.elapsed().as_secs_f64() / questions.len().max(1) as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate() -> Estimate {
        let stage = |updates, seconds_per_update| StageSpeed {
            name: "a".into(),
            measured: 1,
            updates,
            batch: 8,
            seconds_per_update,
            tokens_per_second: 1.0,
        };
        Estimate {
            stages: vec![stage(100, 0.5), stage(25, 2.0)],
            evaluations: vec![AnswerSpeed {
                name: "e".into(),
                answers: 200,
                seconds_per_answer: 0.1,
            }],
        }
    }

    #[test]
    fn stages_are_scaled_to_what_the_scores_leave() {
        let text = "name = \"a\"\n[model]\nfrom = \"m\"\n[data.d]\npath = \"d.jsonl\"\nanswer = \"x\"\n\
            [[stage]]\nname = \"a\"\ntrain = [\"language\"]\nmixture = [\"d\"]\nsamples = 800\nbatch = 8\nlr = 1\n\
            [[stage]]\nname = \"b\"\ntrain = [\"language\"]\nmixture = [\"d\"]\nsamples = 200\nbatch = 8\nlr = 1\n";
        let mut recipe = Recipe::parse("a.toml", text, &[]).unwrap();
        let mut estimate = estimate();
        assert_eq!(estimate.seconds(), 120.0);
        estimate.fit(&mut recipe, 70.0);
        assert_eq!(recipe.stage[0].samples, Some(400));
        // Twelve and a half batches of 8, made whole; the estimate is of the same.
        assert_eq!(recipe.stage[1].samples, Some(104));
        assert_eq!(estimate.stages[1].updates, 13);
        assert!((estimate.seconds() - 70.0).abs() < 2.0, "{estimate:?}");
        estimate.fit(&mut recipe, 1.0);
        assert_eq!(recipe.stage[0].samples, Some(8), "one update is kept");
    }
}
