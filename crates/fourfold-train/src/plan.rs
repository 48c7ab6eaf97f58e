//! What a recipe will cost, from its shapes and a few of its documents, before any of it is trained.

use fourfold_data::{Sampler, sample_rng};
use fourfold_model::{LanguageConfig, ModelConfig, Part, ProjectorKind};
use fourfold_tensor::Precision;
use serde::Serialize;

use anyhow::Result;

use crate::assemble::{model_config, reading, tokenizer};
use crate::feature_cache::FeatureCache;
use crate::recipe::Recipe;
use crate::sources::Sources;
use crate::stage::StagePlan;

/// Documents of a stage that its averages are taken over.
const DOCUMENTS: usize = 128;
/// Target rows whose logits exist at the same time.
const HEAD_ROWS: f64 = 256.0;
/// Batches that the loader makes ahead, and the one in use.
const BATCHES: f64 = 3.0;

/// What a recipe will cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Numbers in each part.
    pub parameters: Vec<(Part, usize)>,
    /// Visual tokens that an image becomes.
    pub visual_tokens: usize,
    /// Tokens that the language model knows.
    pub vocabulary: usize,
    /// The number format of products.
    pub precision: &'static str,
    /// The stages, in order.
    pub stages: Vec<StageCost>,
}

/// What a stage will cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageCost {
    /// Its name.
    pub name: String,
    /// Numbers that train.
    pub trainable: usize,
    /// Updates.
    pub updates: usize,
    /// Documents, all updates together.
    pub samples: usize,
    /// Rows of the language model, estimated.
    pub tokens: f64,
    /// Rows with a target, estimated.
    pub targets: f64,
    /// Images, estimated.
    pub images: f64,
    /// Floating-point operations, estimated; see [`plan`].
    pub operations: f64,
    /// The most memory that the stage needs, estimated.
    pub memory: Memory,
}

/// Memory in bytes, by its use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// f32 masters of all parameters, and 16-bit working copies where products are in 16 bits.
    pub weights: f64,
    /// Gradients and both moments of AdamW: 12 bytes a number that trains.
    pub training: f64,
    /// What a pack's forward pass keeps for its backward pass, and the logits of a chunk.
    pub activations: f64,
    /// Pixels of the batches that wait, and features that are kept.
    pub data: f64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.weights + self.training + self.activations + self.data
    }
}

/// Estimates `recipe` without loading weights; a tokenizer that is to be trained is trained for it.
///
/// Operations of a part are counted as `2 · numbers of its matrices · rows` for the forward pass, once more if a
/// gradient has to pass through it, and once more if it trains: 2, 4 or 6 operations a number and row. Attention
/// adds `4 · width · keys` a layer and row, twice that going back. The head counts target rows only. Embeddings,
/// norms and activations are left out.
///
/// # Errors
/// Names the file or key that keeps the recipe from running.
pub fn plan(recipe: &Recipe) -> Result<Plan> {
    let sources = Sources::new(recipe);
    let tokenizer = tokenizer(recipe, &sources, None)?;
    let config = model_config(recipe, &tokenizer)?;
    let reading = reading(recipe, tokenizer, &config)?;
    let precision = recipe.precision.resolve();
    let limit = recipe.training.feature_cache_mib;
    let mut stages = Vec::new();
    for plan in StagePlan::all(recipe, &sources, &config, &reading)? {
        let average = Average::of(&plan, recipe.seed);
        stages.push(cost(&plan, average, &config, precision, limit)?);
    }
    Ok(Plan {
        parameters: config.parameter_counts()?.to_vec(),
        visual_tokens: config.visual_tokens(),
        vocabulary: config.vocabulary(),
        precision: precision.name(),
        stages,
    })
}

/// What a document of a stage has on average.
#[derive(Clone, Copy, Debug)]
struct Average {
    tokens: f64,
    targets: f64,
    images: f64,
}

impl Average {
    /// Over the stage's first draws; broken samples are left out, as in training.
    fn of(plan: &StagePlan, seed: u64) -> Self {
        let mut sampler = Sampler::new(plan.mixture(), seed);
        let (mut tokens, mut targets, mut images, mut count) = (0, 0, 0, 0);
        for _ in 0..DOCUMENTS {
            let draw = sampler.draw();
            let mut rng = sample_rng(seed, draw.ordinal);
            let source = &plan.mixture().sources()[draw.source].0;
            let sample = source.sample(draw.row, &mut rng);
            let document = sample.and_then(|sample| plan.encoder.document(&sample, &mut rng));
            if let Ok(document) = document {
                tokens += document.tokens.len();
                targets += document.target_count();
                images += document.images.len();
                count += 1;
            }
        }
        let mean = |sum: usize| sum as f64 / f64::from(count.max(1));
        Self {
            tokens: mean(tokens),
            targets: mean(targets),
            images: mean(images),
        }
    }
}

fn cost(
    plan: &StagePlan,
    average: Average,
    config: &ModelConfig,
    precision: Precision,
    feature_cache_mib: usize,
) -> Result<StageCost> {
    let stage = &plan.stage;
    let counts = config.parameter_counts()?;
    let trainable: usize = counts
        .iter()
        .filter(|(part, _)| stage.trains(*part))
        .map(|(_, count)| count)
        .sum();
    let all: usize = counts.iter().map(|(_, count)| count).sum();
    let samples = plan.updates * stage.batch;
    let documents = samples as f64;
    let shapes = Shapes::of(config);
    let copy = match precision {
        Precision::F32 => 0.0,
        Precision::Bf16 => 2.0,
    };
    let batch = stage.batch as f64;
    let side = config.vision.image_size as f64;
    let room = FeatureCache::capacity(feature_cache_mib, config, precision);
    let encoded = plan.encoded_images(documents * average.images, room);
    let passed = if average.images > 0.0 {
        encoded / (documents * average.images)
    } else {
        1.0
    };
    let kept = if stage.cache_features {
        let image = shapes.patches * shapes.vision.width * precision.bytes() as f64;
        encoded.min(room) * image
    } else {
        0.0
    };
    Ok(StageCost {
        name: stage.name.clone(),
        trainable,
        updates: plan.updates,
        samples,
        tokens: documents * average.tokens,
        targets: documents * average.targets,
        images: documents * average.images,
        operations: documents * shapes.operations(average, passed, |part| stage.trains(part)),
        memory: Memory {
            weights: all as f64 * (4.0 + copy),
            training: trainable as f64 * 12.0,
            activations: shapes.activations(plan, average, precision),
            data: BATCHES * batch * average.images * 3.0 * side * side * 4.0 + kept,
        },
    })
}

/// The sizes of a model that its costs come from.
struct Shapes {
    vision: Stack,
    /// Rows of the vision encoder an image.
    patches: f64,
    /// Numbers in the projector's matrices.
    projector: f64,
    visual_tokens: f64,
    language: Stack,
    width: f64,
    vocabulary: f64,
}

/// A stack of equal blocks.
struct Stack {
    layers: f64,
    width: f64,
    /// Numbers in the matrices of a block.
    matrices: f64,
    /// Numbers a row that a block keeps in the precision of products.
    kept: f64,
    /// Numbers in matrices before the blocks.
    stem: f64,
}

impl Stack {
    /// Forward operations a row that attends to `keys` keys.
    fn forward(&self, keys: f64) -> f64 {
        2.0 * self.stem + self.layers * (2.0 * self.matrices + 4.0 * keys * self.width)
    }

    /// Bytes a row: a block keeps two f32 rows of the residual stream and what its products read. Without a
    /// gradient, one block at a time lives.
    fn bytes(&self, flows: bool, bytes: f64) -> f64 {
        let layers = if flows { self.layers } else { 1.0 };
        layers * (8.0 * self.width + bytes * self.kept)
    }
}

impl Shapes {
    fn of(config: &ModelConfig) -> Self {
        let vision = &config.vision;
        let wide = vision.hidden_size as f64;
        let inner = vision.intermediate_size as f64;
        let shuffled = wide * (config.projector.pixel_shuffle as f64).powi(2);
        let width = config.language.width() as f64;
        let hidden = config
            .projector
            .hidden_size
            .map_or(width, |size| size as f64);
        let heads = config.language.heads();
        let queries = (heads.query * heads.width) as f64;
        let qkv = queries + 2.0 * (heads.key_value * heads.width) as f64;
        // Of a gated block, gate and up and their product; of a plain one, before and after the activation.
        let (inner_language, feed_forward, kept) = match &config.language {
            LanguageConfig::Llama(config) => (config.intermediate_size as f64, 3.0, 3.0),
            LanguageConfig::Gpt2(config) => {
                (config.n_inner.unwrap_or(4 * config.n_embd) as f64, 2.0, 2.0)
            }
        };
        Self {
            vision: Stack {
                layers: vision.num_hidden_layers as f64,
                width: wide,
                matrices: 4.0 * wide * wide + 2.0 * wide * inner,
                kept: 6.0 * wide + 2.0 * inner,
                stem: wide * (vision.num_channels * vision.patch_size.pow(2)) as f64,
            },
            patches: vision.patches() as f64,
            projector: match config.projector.kind {
                ProjectorKind::Linear => shuffled * width,
                ProjectorKind::Mlp => (shuffled + width) * hidden,
            },
            visual_tokens: config.visual_tokens() as f64,
            language: Stack {
                layers: config.language.layers() as f64,
                width: queries,
                matrices: width * (qkv + queries + feed_forward * inner_language),
                kept: 2.0 * width + 2.0 * qkv + queries + kept * inner_language,
                stem: 0.0,
            },
            width,
            vocabulary: config.vocabulary() as f64,
        }
    }

    /// Operations a document, of whose images the part `encoded` passes the encoder.
    fn operations(&self, average: Average, encoded: f64, trains: impl Fn(Part) -> bool) -> f64 {
        let [vision, projector, language] = Part::ALL.map(&trains);
        // Once forward, once if a gradient passes, once if the part itself trains.
        let passes = |flows: bool, trains: bool| 1.0 + f64::from(flows) + f64::from(trains);
        let rows = encoded * average.images * self.patches;
        let seen = self.vision.forward(self.patches) * rows * passes(vision, vision);
        let visual = average.images * self.visual_tokens;
        let flows = vision || projector;
        let projected = 2.0 * self.projector * visual * passes(flows, projector);
        let passes = passes(flows || language, language);
        // A row of text sees half of its document on average.
        let read = self.language.forward(average.tokens / 2.0) * average.tokens * passes;
        let head = 2.0 * self.width * self.vocabulary * average.targets * passes;
        seen + projected + read + head
    }

    /// Bytes of the largest pack's activations.
    fn activations(&self, plan: &StagePlan, average: Average, precision: Precision) -> f64 {
        let stage = &plan.stage;
        let [vision, projector, language] = Part::ALL.map(|part| stage.trains(part));
        let bytes = precision.bytes() as f64;
        let batch = stage.batch as f64;
        let tokens = (batch * average.tokens).min(stage.pack_tokens as f64);
        let images = (batch * average.images).min(stage.pack_images as f64);
        let images = images.min(tokens / average.tokens.max(1.0) * average.images);
        let seen = images * self.patches * self.vision.bytes(vision, bytes);
        let read = tokens * self.language.bytes(vision || projector || language, bytes);
        let kept = if language {
            4.0 * self.vocabulary * self.width
        } else {
            0.0
        };
        seen + read + kept + HEAD_ROWS * self.vocabulary * 4.0
    }
}

#[cfg(test)]
mod tests;
