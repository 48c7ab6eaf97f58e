//! How fast this machine makes a recipe's updates, found by making a few.

use std::time::Instant;

use anyhow::Result;

use crate::assemble::{assemble, tokenizer};
use crate::recipe::Recipe;
use crate::sources::Sources;
use crate::stage::StagePlan;
use crate::trainer::in_pool;
use crate::update::Updater;

/// How fast a stage is here.
#[derive(Clone, Debug, PartialEq)]
pub struct StageSpeed {
    /// The stage's name.
    pub name: String,
    /// Updates that were timed.
    pub measured: usize,
    /// Updates of the whole stage.
    pub updates: usize,
    /// Documents an update.
    pub batch: usize,
    /// Seconds an update, its data included.
    pub seconds_per_update: f64,
    /// Rows a second.
    pub tokens_per_second: f64,
}

impl StageSpeed {
    /// Seconds that the whole stage takes; checkpoints and captions come on top.
    pub fn seconds(&self) -> f64 {
        self.seconds_per_update * self.updates as f64
    }
}

/// Times the updates of every stage on a model of its own, which is thrown away: one update to warm up, then
/// updates until `seconds_per_stage` are over, at least one and at most as many as the stage has.
///
/// # Errors
/// As training: whatever keeps the recipe from running is found here, before a run folder exists.
pub fn measure(recipe: &Recipe, seconds_per_stage: f64) -> Result<Vec<StageSpeed>> {
    in_pool(recipe.threads, || {
        let sources = Sources::new(recipe);
        let tokenizer = tokenizer(recipe, &sources, None)?;
        let mut assembled = assemble(recipe, tokenizer, recipe.precision.resolve())?;
        let config = assembled.model.config();
        let plans = StagePlan::all(recipe, &sources, config, &assembled.reading)?;
        let mut speeds = Vec::new();
        for plan in plans {
            plan.prepare(&mut assembled.model);
            let mut updater = Updater::new(&plan, &assembled.model, plan.updates)?;
            let mut loader = plan.load(recipe.seed, false, None)?;
            let mut update = |number: usize| -> Result<usize> {
                let batch = loader.next_batch()?;
                updater.update(&plan, &mut assembled.model, &batch, number)?;
                Ok(batch.tokens)
            };
            update(0)?;
            let (begin, mut measured, mut tokens) = (Instant::now(), 0, 0);
            while measured == 0
                || (begin.elapsed().as_secs_f64() < seconds_per_stage
                    && measured + 1 < plan.updates)
            {
                measured += 1;
                tokens += update(measured.min(plan.updates - 1))?;
            }
            let seconds = begin.elapsed().as_secs_f64();
            speeds.push(StageSpeed {
                name: plan.stage.name.clone(),
                measured,
                updates: plan.updates,
                batch: plan.stage.batch,
                seconds_per_update: seconds / measured as f64,
                tokens_per_second: tokens as f64 / seconds.max(1e-9),
            });
        }
        Ok(speeds)
    })
}
