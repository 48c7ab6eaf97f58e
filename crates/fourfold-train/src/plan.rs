//! What a recipe will cost, from its shapes and a few of its documents, before any of it is trained.

mod average;
mod outline;
pub(crate) mod shapes;

use anyhow::{Context, Result};
use fourfold_model::Part;
use serde::Serialize;

pub use self::average::Average;
use self::outline::Outline;
use crate::assemble::{model_config, reading, text};
use crate::recipe::{Recipe, Stage};
use crate::sources::Sources;
use crate::stage::StagePlan;

/// What a recipe will cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Numbers in each part.
    pub parameters: Vec<(Part, usize)>,
    /// Visual tokens that an image becomes.
    pub visual_tokens: usize,
    /// Tokens that the language model knows.
    pub vocabulary: usize,
    /// The number format of products, where a stage has no other.
    pub precision: &'static str,
    /// Devices that share every batch.
    pub devices: usize,
    /// The stages, in order.
    pub stages: Vec<StageCost>,
}

/// What a stage will cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageCost {
    /// Its name.
    pub name: String,
    /// The number format of its products.
    pub precision: &'static str,
    /// Numbers that train.
    pub trainable: usize,
    /// Updates.
    pub updates: usize,
    /// Documents, all updates together.
    pub samples: usize,
    /// Documents or packs of an update, which devices share.
    pub shared: usize,
    /// Rows of the language model, estimated.
    pub tokens: f64,
    /// Rows with a target, estimated.
    pub targets: f64,
    /// Images, estimated.
    pub images: f64,
    /// Floating-point operations, estimated; see [`plan_with`].
    pub operations: f64,
    /// The most memory that the stage's updates need, estimated; checkpoints, captions and evaluations come on top.
    pub memory: Memory,
    /// Bytes of it that lie in a GPU's memory where one computes: masters and working copies once, `memory.training` and
    /// `memory.activations`.
    pub gpu_memory: f64,
    /// Bytes of features on disk, estimated, if none of them were there before.
    pub disk: f64,
}

/// Memory in bytes, by its use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// f32 masters of all parameters; where products are in 16 bits, 16-bit working copies, and those of frozen
    /// parameters a second time in the order in which products read them.
    pub weights: f64,
    /// Gradients and both moments of AdamW: 12 bytes a number that trains, or where the optimizer is sharded 4 and each
    /// device's part of 8.
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

/// What a plan takes as given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Given {
    /// What a document has on average, in every stage; then no data are read. Each look at an image counts as the first
    /// one at it.
    pub average: Option<Average>,
    /// Devices that share every batch, each with all weights; memory is that of one of them.
    pub devices: usize,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            average: None,
            devices: 1,
        }
    }
}

/// Estimates `recipe` from its data, on one device; see [`plan_with`].
///
/// # Errors
/// Names the file or key that keeps the recipe from running.
pub fn plan(recipe: &Recipe) -> Result<Plan> {
    plan_with(recipe, Given::default())
}

/// Estimates `recipe` without loading weights; a tokenizer that is to be trained is trained for it.
///
/// Operations of a part are counted as `2 · numbers of its matrices · rows` for the forward pass, once more if a
/// gradient has to pass through it, and once more if it trains: 2, 4 or 6 operations a number and row. Attention
/// adds `4 · width · keys` a layer and row, twice that going back. The head counts target rows only. Embeddings,
/// norms and activations are left out, and so is what `recompute` computes again.
///
/// # Errors
/// Names the file or key that keeps the recipe from running; with a given average, says what in it does not fit the
/// recipe, and which stage counts in `epochs` of data that are not read.
pub fn plan_with(recipe: &Recipe, given: Given) -> Result<Plan> {
    let sources = Sources::new(recipe);
    let text = text(recipe, &sources, None)?;
    let config = model_config(recipe, &text.tokenizer)?;
    let training = &recipe.training;
    let outline = Outline {
        config: &config,
        precision: recipe.precision,
        devices: given.devices.max(1),
        sharded: training.shard_optimizer,
        memory_mib: training.feature_cache_mib,
        disk_mib: match training.feature_cache {
            Some(_) => training.feature_cache_disk_mib,
            None => 0,
        },
    };
    let stages: Result<Vec<StageCost>> = match given.average {
        Some(average) => recipe
            .stage
            .iter()
            .map(|stage| {
                average.demand_fits(stage, &config)?;
                let samples = match stage.tokens {
                    Some(tokens) => Some((tokens as f64 / average.tokens).ceil() as usize),
                    None => stage.samples,
                };
                let samples = samples.with_context(|| {
                    let name = &stage.name;
                    format!(
                        "stage '{name}' is as long as `epochs` of its data, which are not read where averages are given; \
                         write `samples = NUMBER` in the place of `epochs`"
                    )
                })?;
                let stage = Stage {
                    batch: stage.expected_batch(average.tokens, average.images),
                    ..stage.clone()
                };
                let updates = samples.div_ceil(stage.batch);
                outline.cost(&stage, updates, average, |looks, _| looks)
            })
            .collect(),
        None => {
            let reading = reading(recipe, text, &config)?;
            let plans = StagePlan::all(recipe, &sources, &config, &reading)?;
            let cost = |plan: &StagePlan| {
                let average = Average::of(plan, recipe.seed);
                let encoded = |looks, room| plan.encoded_images(looks, room);
                outline.cost(&plan.stage, plan.updates, average, encoded)
            };
            plans.iter().map(cost).collect()
        }
    };
    Ok(Plan {
        parameters: config.parameter_counts()?,
        visual_tokens: config.visual_tokens(),
        vocabulary: config.vocabulary(),
        precision: recipe.precision.resolve().name(),
        devices: outline.devices,
        stages: stages?,
    })
}
