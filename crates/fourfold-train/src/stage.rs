//! One stage made ready: what trains, its data, its length.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fourfold_data::{
    Encoder, EncoderConfig, Loader, LoaderConfig, Mixture, PackBudget, SamplerState,
};
use fourfold_model::{Model, ModelConfig, Part, VisibilityKind};

use crate::assemble::Reading;
use crate::feature_cache::FeatureCache;
use crate::recipe::{Recipe, Stage};
use crate::schedule::LearningRate;
use crate::sources::Sources;

/// A stage with its length and its way of reading known.
pub struct StagePlan {
    /// Its place among the stages.
    pub index: usize,
    /// The recipe's words.
    pub stage: Stage,
    /// How many updates it makes.
    pub updates: usize,
    /// What a row may see.
    pub visibility: VisibilityKind,
    /// Turns samples into documents.
    pub encoder: Arc<Encoder>,
    mixture: Mixture,
    learning_rate: LearningRate,
}

impl StagePlan {
    /// Every stage of `recipe` for `model`, its data opened. The model's visibility holds where a stage gives none.
    ///
    /// # Errors
    /// When the data of a mixture cannot be read or encoded, or a document may be longer than the model takes.
    pub fn all(
        recipe: &Recipe,
        sources: &Sources,
        model: &ModelConfig,
        reading: &Reading,
    ) -> Result<Vec<Self>> {
        let plan = |(index, stage): (usize, &Stage)| {
            let mixture = sources
                .mixture(&stage.mixture)
                .with_context(|| format!("in the mixture of stage '{}'", stage.name))?;
            Self::new(index, stage, mixture, model, reading)
        };
        recipe.stage.iter().enumerate().map(plan).collect()
    }

    fn new(
        index: usize,
        stage: &Stage,
        mixture: Mixture,
        model: &ModelConfig,
        reading: &Reading,
    ) -> Result<Self> {
        let within = || format!("in stage '{}'", stage.name);
        let positions = model.max_positions();
        let max_tokens = stage.max_tokens.unwrap_or(stage.pack_tokens.min(positions));
        ensure!(
            max_tokens <= positions,
            "stage '{}': max_tokens = {max_tokens}, but the language model takes documents of at most {positions} \
             tokens; lower max_tokens",
            stage.name
        );
        let config = EncoderConfig {
            format: reading.format.clone(),
            transform: reading.transform.clone(),
            augment: stage.augment.clone(),
            visual_tokens_per_image: model.visual_tokens(),
            max_tokens,
        };
        let encoder = Encoder::new(Arc::clone(&reading.tokenizer), config).with_context(within)?;
        let epoch = mixture.len() as f64;
        let samples = match (stage.samples, stage.epochs) {
            (Some(samples), _) => samples,
            (None, epochs) => (epochs.unwrap_or(1.0) * epoch).round().max(1.0) as usize,
        };
        let updates = samples.div_ceil(stage.batch);
        Ok(Self {
            index,
            updates,
            visibility: stage.visibility.unwrap_or(model.visibility),
            encoder: Arc::new(encoder),
            mixture,
            learning_rate: LearningRate::new(stage, updates),
            stage: stage.clone(),
        })
    }

    /// Starts the stage's data, at its beginning or where a checkpoint was taken. Images in `cache` come without
    /// pixels.
    ///
    /// # Errors
    /// When the position is of other data.
    pub fn load(
        &self,
        seed: u64,
        strict: bool,
        resume: Option<SamplerState>,
        cache: Option<&FeatureCache>,
    ) -> Result<Loader> {
        let encoder = match cache {
            Some(cache) => Arc::new(self.encoder.knowing(cache.known())),
            None => Arc::clone(&self.encoder),
        };
        let config = LoaderConfig {
            batch: self.stage.batch,
            budget: PackBudget {
                tokens: self.stage.pack_tokens,
                images: self.stage.pack_images,
            },
            seed: stage_seed(seed, self.index),
            prefetch: 2,
            threads: rayon::current_num_threads().div_ceil(2),
            strict,
        };
        Loader::start(self.mixture.clone(), encoder, config, resume)
            .with_context(|| format!("in stage '{}'", self.stage.name))
    }

    /// Makes the stage's parts trainable and no other, and notes its visibility in the model.
    pub fn prepare(&self, model: &mut Model) {
        let stage = &self.stage;
        model
            .parameters
            .set_trainable(|name| Part::of(name).is_some_and(|part| stage.trains(part)));
        model.set_visibility(self.visibility);
    }

    /// The learning rate of each part that trains, at update `update`, counted from 0.
    pub fn rates(&self, update: usize) -> BTreeMap<Part, f64> {
        let factor = self.learning_rate.factor(update);
        let parts = self.stage.train.iter();
        parts
            .filter_map(|part| Some((*part, self.stage.lr.of(*part)? * factor)))
            .collect()
    }

    /// How many of `images` looks at images the vision encoder is asked for: all of them, or where features are kept,
    /// as many different ones as so many draws are expected to meet. Sources of one file are taken to show the same
    /// images, one a sample; the cache is taken to hold them.
    pub fn encoded_images(&self, images: f64) -> f64 {
        if !self.stage.cache_features {
            return images;
        }
        let mut files: BTreeMap<&str, usize> = BTreeMap::new();
        for (source, _) in self.mixture.sources() {
            let samples = files.entry(source.name()).or_default();
            *samples = source.len().max(*samples);
        }
        let augment = self.stage.augment.as_ref();
        let views = augment.and_then(|augment| augment.views).unwrap_or(1);
        different(
            files.values().sum::<usize>() as f64 * f64::from(views),
            images,
        )
    }

    /// The data of the stage.
    pub fn mixture(&self) -> &Mixture {
        &self.mixture
    }
}

/// How many of `all` things `draws` draws are expected to meet: a draw misses a thing with probability `1 - 1/all`.
fn different(all: f64, draws: f64) -> f64 {
    all * (1.0 - (-draws / all.max(1.0)).exp())
}

/// A seed of its own for each stage (the finalizer of SplitMix64).
fn stage_seed(seed: u64, stage: usize) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(stage as u64 + 1));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::different;

    #[test]
    fn draws_meet_as_many_different_things_as_counted() {
        let all = 500;
        let mut state = 1u64;
        for draws in [0, 100, 500, 5000] {
            let mut met = vec![false; all];
            for _ in 0..draws {
                state = super::stage_seed(state, 0);
                met[(state % all as u64) as usize] = true;
            }
            let counted = met.iter().filter(|met| **met).count() as f64;
            let expected = different(all as f64, f64::from(draws));
            assert!(
                (counted - expected).abs() <= 20.0,
                "{draws} draws: {counted}, expected {expected}"
            );
        }
    }
}
