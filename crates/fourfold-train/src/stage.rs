//! One stage made ready: what trains, its data, its length.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fourfold_data::{
    BatchSize, Encoder, EncoderConfig, End, Loader, LoaderConfig, Mixture, PackBudget, Sampler,
    SamplerState, Shard, Source, sample_rng, training_document,
};
use fourfold_model::{Model, ModelConfig, Part, VisibilityKind};
use fourfold_tensor::{Precision, mixed};

use crate::assemble::Reading;
use crate::feature_cache::FeatureCache;
use crate::recipe::{PrecisionChoice, Recipe, Stage};
use crate::schedule::LearningRate;
use crate::sources::{Sources, demand_one};

/// A stage with its length and its way of reading known.
pub struct StagePlan {
    /// Its place among the stages.
    pub index: usize,
    /// The recipe's words.
    pub stage: Stage,
    /// How many updates it makes, or is expected to make where it counts in packs or tokens.
    pub updates: usize,
    length: Length,
    /// What its products are computed in.
    pub precision: Precision,
    /// Whether a GPU may round what they read to TF32.
    pub tf32: bool,
    /// What a row may see.
    pub visibility: VisibilityKind,
    /// Turns samples into documents.
    pub encoder: Arc<Encoder>,
    /// What one of its packs may hold.
    pub budget: PackBudget,
    mixture: Mixture,
    learning_rate: LearningRate,
    /// Of all that is drawn in the stage.
    seed: u64,
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
            Self::new(
                index,
                stage,
                recipe.precision_of(stage),
                mixture,
                model,
                reading,
                recipe.seed,
            )
        };
        recipe.stage.iter().enumerate().map(plan).collect()
    }

    fn new(
        index: usize,
        stage: &Stage,
        precision: PrecisionChoice,
        mixture: Mixture,
        model: &ModelConfig,
        reading: &Reading,
        seed: u64,
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
        let encoder = Encoder::new(Arc::clone(&reading.tokenizer), config)
            .with_context(within)?
            .decoding(reading.files);
        let budget = PackBudget {
            tokens: stage.pack_tokens,
            images: stage.pack_images,
        };
        let shown = |(source, _): &(Arc<dyn Source>, f64)| source.shows_images();
        let adapters = model.adapter_counts()?;
        let adapted = |part: Part| adapters.iter().any(|(p, count)| *p == part && *count > 0);
        ensure!(
            !(stage.cache_features && stage.trains(Part::Lora) && adapted(Part::Vision)),
            "stage '{}': adapters of the vision encoder train, so its features change; write `cache_features = false`",
            stage.name
        );
        let learns = |part: &&Part| match part {
            Part::Vision | Part::Projector => true,
            Part::Language => false,
            // Those of the language model learn from text alone, too.
            Part::Lora => !adapted(Part::Language),
        };
        if let Some(part) = stage.train.iter().find(learns) {
            ensure!(
                mixture.sources().iter().any(shown),
                "stage '{}': `{part}` trains, but none of its data has images; a JSON line names them as \
                 {{\"image\": \"PATH\"}}, a Parquet file holds them in a column `image`, and `images = false` leaves \
                 them out",
                stage.name
            );
        }
        for (source, _) in mixture.sources() {
            demand_document(&**source, &encoder, budget).with_context(within)?;
        }
        let seed = stage_seed(seed, index);
        let length = Length::of(stage, &mixture);
        let mut stage = stage.clone();
        let samples = match length {
            Length::Samples(samples) if stage.packs.is_none() => samples,
            length => {
                // How large documents are says how many updates there will be.
                let [tokens, images] = average_size(&mixture, &encoder, seed);
                stage.batch = stage.expected_batch(tokens, images);
                match length {
                    Length::Samples(samples) => samples,
                    Length::Tokens(count) => (count as f64 / tokens.max(1.0)).ceil() as u64,
                }
            }
        };
        let updates = (samples as usize).div_ceil(stage.batch).max(1);
        Ok(Self {
            index,
            updates,
            length,
            precision: precision.resolve(),
            tf32: precision == PrecisionChoice::Tf32,
            visibility: stage.visibility.unwrap_or(model.visibility),
            encoder: Arc::new(encoder),
            budget,
            mixture,
            learning_rate: LearningRate::new(&stage, updates),
            stage,
            seed,
        })
    }

    /// Starts the stage's data, or the part of each batch that is `shard`'s, at its beginning or where a checkpoint was
    /// taken. Images in `cache` come without pixels.
    ///
    /// # Errors
    /// When the position is of other data.
    pub fn load(
        &self,
        strict: bool,
        resume: Option<SamplerState>,
        cache: Option<&FeatureCache>,
        shard: Shard,
    ) -> Result<Loader> {
        let end = match self.length {
            Length::Samples(samples) => End::Draws(samples),
            Length::Tokens(tokens) => End::Tokens(tokens),
        };
        self.loader(strict, resume, cache, end, shard)
    }

    /// The stage's data from its beginning on, without an end: for measuring.
    ///
    /// # Errors
    /// When the loader cannot start.
    pub fn load_endlessly(&self, cache: Option<&FeatureCache>) -> Result<Loader> {
        self.loader(false, None, cache, End::Never, Shard::WHOLE)
    }

    fn loader(
        &self,
        strict: bool,
        resume: Option<SamplerState>,
        cache: Option<&FeatureCache>,
        end: End,
        shard: Shard,
    ) -> Result<Loader> {
        let encoder = match cache {
            Some(cache) => Arc::new(self.encoder.knowing(cache.known())),
            None => Arc::clone(&self.encoder),
        };
        let config = LoaderConfig {
            batch: match self.stage.packs {
                Some(packs) => BatchSize::Packs(packs),
                None => BatchSize::Documents(self.stage.batch),
            },
            end,
            too_long: self.stage.too_long,
            shard,
            budget: self.budget,
            seed: self.seed,
            prefetch: 2,
            threads: rayon::current_num_threads().div_ceil(2),
            strict,
        };
        Loader::start(self.mixture.clone(), encoder, config, resume)
            .with_context(|| format!("in stage '{}'", self.stage.name))
    }

    /// The seed of what is left out at random in update `update`: of a document the same in whatever pack it is.
    pub fn dropout_seed(&self, update: usize) -> u64 {
        stage_seed(self.seed, update)
    }

    /// Makes the stage's parts trainable and no other, and the model compute and see as in this stage.
    pub fn prepare(&self, model: &mut Model) {
        let stage = &self.stage;
        model
            .parameters
            .set_trainable(|name| Part::of(name).is_some_and(|part| stage.trains(part)));
        model.parameters.set_precision(self.precision);
        model.parameters.allow_tf32(self.tf32);
        model.set_visibility(self.visibility);
    }

    /// Whether it is known beforehand how many updates there will be.
    pub fn counts_updates(&self) -> bool {
        matches!(self.length, Length::Samples(_)) && self.stage.packs.is_none()
    }

    /// How far the stage is before update `update`, in updates: their number where that is known beforehand, else what
    /// corresponds to the part `progress` of its samples or tokens.
    pub fn place(&self, update: usize, progress: f64) -> f64 {
        match self.counts_updates() {
            true => update as f64,
            false => progress * self.updates as f64,
        }
    }

    /// The learning rate of each part that trains, at [`StagePlan::place`].
    pub fn rates(&self, place: f64) -> BTreeMap<Part, f64> {
        let factor = self.learning_rate.factor(place);
        let parts = self.stage.train.iter();
        parts
            .filter_map(|part| Some((*part, self.stage.lr.of(*part)? * factor)))
            .collect()
    }

    /// How many of `looks` looks at images the vision encoder is expected to be asked for: all of them, or, where
    /// features are kept, the first look at each and those at images beyond the `room` that there is.
    pub fn encoded_images(&self, looks: f64, room: f64) -> f64 {
        if self.stage.cache_features {
            encoded(self.different_images() as f64, room, looks)
        } else {
            looks
        }
    }

    /// Images of the mixture, each variation counted.
    fn different_images(&self) -> usize {
        let mut files: HashMap<&Path, HashMap<u32, usize>> = HashMap::new();
        for (source, _) in self.mixture.sources() {
            if let Some((file, rows)) = source.image_rows() {
                files.entry(file).or_default().extend(rows);
            }
        }
        let images: usize = files.values().flat_map(HashMap::values).sum();
        let augment = self.stage.augment.as_ref();
        let views = augment.and_then(|augment| augment.views).unwrap_or(1);
        images * views as usize
    }

    /// The data of the stage.
    pub fn mixture(&self) -> &Mixture {
        &self.mixture
    }
}

/// Where a stage ends.
#[derive(Clone, Copy, Debug)]
enum Length {
    Samples(u64),
    Tokens(u64),
}

impl Length {
    fn of(stage: &Stage, mixture: &Mixture) -> Self {
        let epochs = |epochs: f64| (epochs * mixture.len() as f64).round().max(1.0) as u64;
        match (stage.tokens, stage.samples) {
            (Some(tokens), _) => Self::Tokens(tokens),
            (None, Some(samples)) => Self::Samples(samples as u64),
            (None, None) => Self::Samples(epochs(stage.epochs.unwrap_or(1.0))),
        }
    }
}

/// Rows and images of a document on average, over the first draws; images are not read for it.
fn average_size(mixture: &Mixture, encoder: &Encoder, seed: u64) -> [f64; 2] {
    const DRAWS: usize = 512;
    let mut sampler = Sampler::new(mixture, seed);
    let (mut tokens, mut images, mut documents) = (0, 0, 0);
    for _ in 0..DRAWS {
        let draw = sampler.draw();
        let source = &mixture.sources()[draw.source].0;
        let sample = source.sample(draw.row, &mut sample_rng(seed, draw.ordinal));
        if let Ok(document) = sample.and_then(|sample| encoder.text(&sample)) {
            tokens += document.tokens.len();
            images += document.visual.len();
            documents += 1;
        }
    }
    [tokens, images].map(|sum| sum as f64 / f64::from(documents.max(1)))
}

/// Demands that some sample of `source` makes a document that fits a pack: limits that none keeps are told before the
/// training, not when it comes to this stage.
fn demand_document(source: &dyn Source, encoder: &Encoder, budget: PackBudget) -> Result<()> {
    demand_one(
        source,
        &format!("of '{}' can be trained on", source.name()),
        |row| training_document(source, row, encoder, budget, &mut sample_rng(0, row as u64)),
    )
}

/// How many of `looks` looks at `all` images find no kept features, where `room` of the images find room: the first
/// look at each of those, and every look at another. A look misses a given image with probability `1 - 1/all`.
fn encoded(all: f64, room: f64, looks: f64) -> f64 {
    let kept = room.min(all).floor();
    let looks_at_kept = looks * kept / all.max(1.0);
    let first = kept * (1.0 - (-looks_at_kept / kept.max(1.0)).exp());
    first + looks - looks_at_kept
}

/// A seed of its own for each stage, or whatever else is numbered.
fn stage_seed(seed: u64, number: usize) -> u64 {
    mixed(seed, number as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::encoded;

    /// Against draws that are made and counted.
    #[test]
    fn encoded_images_are_as_many_as_counted() {
        let all = 500;
        for (room, draws) in [(500, 0), (500, 100), (500, 5000), (200, 3000), (0, 300)] {
            let (mut state, mut kept, mut counted) = (1u64, vec![false; all], 0);
            for _ in 0..draws {
                state = super::stage_seed(state, 0);
                let image = (state % all as u64) as usize;
                counted += usize::from(!kept[image]);
                kept[image] |= image < room;
            }
            let expected = encoded(all as f64, room as f64, f64::from(draws));
            assert!(
                (counted as f64 - expected).abs() <= 0.05 * f64::from(draws),
                "room for {room}, {draws} draws: {counted}, expected {expected}"
            );
        }
    }
}
