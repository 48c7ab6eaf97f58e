//! What a recipe will cost, from its shapes and a few of its documents, before any of it is trained.

pub(crate) mod shapes;

use fourfold_data::{Sampler, sample_rng};
use fourfold_model::{ModelConfig, Part};
use fourfold_tensor::{Isa, Precision};
use serde::Serialize;

use anyhow::Result;

use crate::assemble::{model_config, reading, tokenizer};
use crate::feature_cache::FeatureCache;
use crate::recipe::Recipe;
use crate::sources::Sources;
use crate::stage::StagePlan;
use shapes::{Average, Shapes};

/// Documents of a stage that its averages are taken over.
const DOCUMENTS: usize = 128;
/// Batches that the loader makes ahead, and the one in use.
const BATCHES: f64 = 3.0;

/// Bytes of the program, its threads and its tables, measured.
const PROGRAM: f64 = (48 << 20) as f64;
/// Buffers that wait for their next use, as a part of those in use: measured; the pool keeps an eighth at most.
const WAITING: f64 = 0.1;

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
    /// The most memory that the stage's updates need, estimated; checkpoints, captions and evaluations come on top.
    pub memory: Memory,
    /// Bytes of features on disk, estimated, if none of them were there before.
    pub disk: f64,
}

/// Memory in bytes, by its use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// f32 masters of all parameters; where products are in 16 bits, 16-bit working copies, and those of frozen
    /// parameters a second time in the order in which products read them.
    pub weights: f64,
    /// Gradients and both moments of AdamW: 12 bytes a number that trains.
    pub training: f64,
    /// What a pack's forward pass keeps for its backward pass, and the logits of a chunk.
    pub activations: f64,
    /// Pixels of the batches that wait, and features that are kept.
    pub data: f64,
    /// The program with its threads, and buffers that wait for their next use.
    pub process: f64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.weights + self.training + self.activations + self.data + self.process
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
    let training = &recipe.training;
    let limits = Limits {
        memory: training.feature_cache_mib,
        disk: match training.feature_cache {
            Some(_) => training.feature_cache_disk_mib,
            None => 0,
        },
    };
    let mut stages = Vec::new();
    for plan in StagePlan::all(recipe, &sources, &config, &reading)? {
        let average = Average::of(&plan, recipe.seed);
        stages.push(cost(&plan, average, &config, precision, limits)?);
    }
    Ok(Plan {
        parameters: config.parameter_counts()?,
        visual_tokens: config.visual_tokens(),
        vocabulary: config.vocabulary(),
        precision: precision.name(),
        stages,
    })
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

/// The most that kept features may take, in MiB.
#[derive(Clone, Copy)]
struct Limits {
    memory: usize,
    disk: usize,
}

fn cost(
    plan: &StagePlan,
    average: Average,
    config: &ModelConfig,
    precision: Precision,
    limits: Limits,
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
    let copies = match precision {
        Precision::F32 => 0.0,
        Precision::Bf16 if Isa::current().has_bf16() => 2.0 * (all + (all - trainable)) as f64,
        Precision::Bf16 => 2.0 * all as f64,
    };
    let batch = stage.batch as f64;
    let pixels = config.vision.image_size.area() as f64;
    let looks = documents * average.images;
    let room = |limit: usize| FeatureCache::capacity(limit, config, precision);
    let (memory, disk) = (room(limits.memory), room(limits.disk));
    let encoded = plan.encoded_images(looks, memory.max(disk));
    let passed = if looks > 0.0 { encoded / looks } else { 1.0 };
    // Each image once, however often it has to be encoded.
    let features = if stage.cache_features {
        plan.encoded_images(looks, f64::INFINITY)
    } else {
        0.0
    };
    let image = (config.vision.features() * config.vision.hidden_size * precision.bytes()) as f64;
    let weights = all as f64 * 4.0 + copies;
    let activations = shapes.activations(plan, average, precision);
    Ok(StageCost {
        name: stage.name.clone(),
        trainable,
        updates: plan.updates,
        samples,
        tokens: documents * average.tokens,
        targets: documents * average.targets,
        images: looks,
        operations: documents * shapes.operations(average, passed, |part| stage.trains(part)),
        memory: Memory {
            weights,
            training: trainable as f64 * 12.0,
            activations,
            data: BATCHES * batch * average.images * 3.0 * pixels * 4.0
                + features.min(memory) * image,
            process: PROGRAM + WAITING * (weights + activations),
        },
        disk: features.min(disk) * image,
    })
}
