//! The most memory that a stage's updates take here, found by making some.

use std::time::Instant;

use anyhow::{Context, Result};
use fourfold_tensor::Device;
use serde::{Deserialize, Serialize};

use crate::assemble::{assemble, text};
use crate::feature_cache::FeatureCache;
use crate::feed::Feed;
use crate::metrics::peak_memory_mib;
use crate::recipe::Recipe;
use crate::sources::Sources;
use crate::stage::StagePlan;
use crate::threads::in_pool;
use crate::update::Updater;

/// What a few updates of a stage took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StagePeak {
    /// The stage's name.
    pub name: String,
    /// Updates that were made.
    pub updates: usize,
    /// Rows of the language model in them.
    pub tokens: usize,
    /// Rows with a target.
    pub targets: usize,
    /// Images.
    pub images: usize,
    /// Mean cross-entropy over the targets of the last update's batch, before its step, in nats.
    pub loss: f64,
    /// Seconds that the last update took, its data included.
    pub seconds: f64,
    /// The most memory that the process held until then, the making of the model included, in MiB; nothing where the
    /// system does not tell.
    pub peak_mib: Option<f64>,
}

/// Makes the first `updates` updates of the stage called `stage`, or all if it has fewer, on a model that is thrown
/// away. What this process held before counts as well, so that each stage wants a process of its own.
///
/// # Errors
/// As training: whatever keeps the recipe from running, or a name that no stage has.
pub fn peak(recipe: &Recipe, stage: &str, updates: usize) -> Result<StagePeak> {
    in_pool(recipe.threads, || {
        let sources = Sources::new(recipe);
        let text = text(recipe, &sources, None)?;
        let mut assembled = assemble(recipe, text, recipe.precision.resolve())?;
        let config = assembled.model.config();
        let plans = StagePlan::all(recipe, &sources, config, &assembled.reading)?;
        let plan = plans.iter().find(|plan| plan.stage.name == stage);
        let plan = plan.with_context(|| {
            let names: Vec<&str> = recipe.stage.iter().map(|s| s.name.as_str()).collect();
            format!(
                "there is no stage '{stage}'; the recipe has {}",
                names.join(", ")
            )
        })?;
        plan.prepare(&mut assembled.model);
        let limit = recipe.training.feature_cache_mib;
        let mut cache = FeatureCache::for_stage(None, &plan.stage, plan.precision, limit);
        let mut updater = Updater::new(plan, &assembled.model, plan.updates)?;
        let loader = plan.load_endlessly(cache.as_ref())?;
        let mut feed = Feed::new(loader, Device::Cpu, cache.is_none());
        let mut found = StagePeak {
            name: plan.stage.name.clone(),
            updates: updates.min(plan.updates),
            tokens: 0,
            targets: 0,
            images: 0,
            loss: f64::NAN,
            seconds: 0.0,
            peak_mib: None,
        };
        for number in 0..found.updates {
            let begin = Instant::now();
            let (mut ready, model) = (feed.next_batch()?, &mut assembled.model);
            let (cache, targets) = (cache.as_mut(), ready.batch.targets);
            let updated = updater.update(model, cache, &mut ready, targets, number, &mut feed)?;
            let batch = ready.batch;
            found.tokens += batch.tokens;
            found.targets += batch.targets;
            found.images += batch.images;
            found.loss = updated.loss;
            found.seconds = begin.elapsed().as_secs_f64();
        }
        found.peak_mib = peak_memory_mib();
        Ok(found)
    })
}
