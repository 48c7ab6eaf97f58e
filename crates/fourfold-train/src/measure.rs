//! How fast this machine makes a recipe's updates, found by making a few.

use std::time::Instant;

use anyhow::Result;
use fourfold_tensor::Device;

use crate::assemble::{assemble, text};
use crate::feature_cache::FeatureCache;
use crate::feed::Feed;
use crate::recipe::Recipe;
use crate::sources::Sources;
use crate::stage::StagePlan;
use crate::threads::in_pool;
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

/// Some updates in a row.
#[derive(Default)]
struct Pass {
    updates: usize,
    tokens: usize,
    images: usize,
    seconds: f64,
}

impl Pass {
    fn seconds_per_update(&self) -> f64 {
        self.seconds / self.updates as f64
    }
}

/// Times the updates of every stage on a model of its own, which is thrown away: one update to warm up, then
/// updates until `seconds_per_stage` are over, at least one and at most as many as the stage has. Where a stage keeps
/// features, the updates are made once more with what is kept, and weighed by how many images will be new. A folder of
/// features on disk is left alone: what it holds already makes a run faster than measured.
///
/// # Errors
/// As training: whatever keeps the recipe from running is found here, before a run folder exists.
pub fn measure(
    recipe: &Recipe,
    seconds_per_stage: f64,
    device: &Device,
) -> Result<Vec<StageSpeed>> {
    in_pool(recipe.threads, || {
        let sources = Sources::new(recipe);
        let text = text(recipe, &sources, None)?;
        let mut assembled = assemble(recipe, text, recipe.precision.resolve_on(device))?;
        assembled.model.parameters.to_device(device)?;
        let config = assembled.model.config();
        let plans = StagePlan::all(recipe, &sources, config, &assembled.reading)?;
        let mut speeds = Vec::new();
        let limit = recipe.training.feature_cache_mib;
        for plan in plans {
            plan.prepare(&mut assembled.model);
            let mut cache = FeatureCache::for_stage(None, &plan.stage, plan.precision, limit);
            let mut pass = |at_most: usize, watched: usize| -> Result<Pass> {
                let mut updater = Updater::new(&plan, &assembled.model, watched)?;
                let loader = plan.load_endlessly(cache.as_ref())?;
                let mut feed = Feed::new(loader, device.clone(), cache.is_none());
                let mut update = |number: usize| -> Result<(usize, usize)> {
                    let (mut ready, model) = (feed.next_batch()?, &mut assembled.model);
                    let (cache, targets) = (cache.as_mut(), ready.batch.targets);
                    updater.update(model, cache, &mut ready, targets, number, &mut feed)?;
                    Ok((ready.batch.tokens, ready.batch.images))
                };
                update(0)?;
                let (begin, mut pass) = (Instant::now(), Pass::default());
                while pass.updates == 0
                    || (pass.seconds < seconds_per_stage && pass.updates < at_most)
                {
                    let (tokens, images) = update((pass.updates + 1).min(plan.updates - 1))?;
                    pass.updates += 1;
                    pass.tokens += tokens;
                    pass.images += images;
                    pass.seconds = begin.elapsed().as_secs_f64();
                }
                Ok(pass)
            };
            let first = pass(plan.updates.saturating_sub(1), plan.updates)?;
            let mut seconds_per_update = first.seconds_per_update();
            if plan.stage.cache_features {
                // The same batches again, most of whose images are kept by now: the difference is what the encoder
                // took for those that were new.
                let again = pass(first.updates, 0)?.seconds_per_update();
                let room = FeatureCache::capacity(limit, assembled.model.config(), plan.precision);
                let share = |updates: usize| {
                    let looks = first.images as f64 / first.updates as f64 * updates as f64;
                    plan.encoded_images(looks, room) / looks.max(1.0)
                };
                let encoding =
                    (seconds_per_update - again).max(0.0) / share(first.updates).max(1e-9);
                seconds_per_update = again + encoding * share(plan.updates);
            }
            speeds.push(StageSpeed {
                name: plan.stage.name.clone(),
                measured: first.updates,
                updates: plan.updates,
                batch: plan.stage.batch,
                seconds_per_update,
                tokens_per_second: first.tokens as f64
                    / first.updates as f64
                    / seconds_per_update.max(1e-9),
            });
        }
        Ok(speeds)
    })
}
