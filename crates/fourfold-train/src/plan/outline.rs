//! The costs of a stage.

use anyhow::Result;
use fourfold_model::ModelConfig;
use fourfold_tensor::{Isa, Precision};

use super::shapes::Shapes;
use super::{Average, Memory, StageCost};
use crate::feature_cache::FeatureCache;
use crate::recipe::{PrecisionChoice, Stage};

/// Batches that the loader makes ahead, and the one in use.
const BATCHES: f64 = 3.0;

/// Bytes of the program, its threads and its tables, measured.
const PROGRAM: f64 = (48 << 20) as f64;
/// Buffers that wait for their next use, as a part of those in use: measured; the pool keeps an eighth at most.
const WAITING: f64 = 0.1;

/// What the costs of all stages depend on.
pub(super) struct Outline<'a> {
    pub config: &'a ModelConfig,
    /// Where a stage does not say otherwise.
    pub precision: PrecisionChoice,
    pub devices: usize,
    /// Whether each device holds its part of the optimizer alone.
    pub sharded: bool,
    /// The most that kept features may take in memory and on disk, in MiB.
    pub memory_mib: usize,
    pub disk_mib: usize,
}

impl Outline<'_> {
    /// `encoded` says how many of so many looks at images the encoder is asked for, where features of so many images
    /// have room.
    pub fn cost(
        &self,
        stage: &Stage,
        updates: usize,
        average: Average,
        encoded: impl Fn(f64, f64) -> f64,
    ) -> Result<StageCost> {
        let config = self.config;
        let choice = stage.precision.unwrap_or(self.precision);
        let precision = choice.resolve();
        let counts = config.parameter_counts()?;
        let trainable: usize = counts
            .iter()
            .filter(|(part, _)| stage.trains(*part))
            .map(|(_, count)| count)
            .sum();
        let all: usize = counts.iter().map(|(_, count)| count).sum();
        let samples = updates * stage.batch;
        let documents = samples as f64;
        let shapes = Shapes::of(config);
        let copies = match precision {
            Precision::F32 => 0.0,
            Precision::Bf16 if Isa::current().has_bf16() => 2.0 * (all + (all - trainable)) as f64,
            Precision::Bf16 | Precision::F16 => 2.0 * all as f64,
        };
        // What one of the devices has of each batch.
        let share = Stage {
            batch: stage.batch.div_ceil(self.devices),
            ..stage.clone()
        };
        let pixels = config.vision.image_size.area() as f64;
        let looks = documents * average.images;
        let room = |limit: usize| FeatureCache::capacity(limit, config, precision);
        let (memory, disk) = (room(self.memory_mib), room(self.disk_mib));
        let first_looks = encoded(looks, memory.max(disk));
        let passed = if looks > 0.0 {
            first_looks / looks
        } else {
            1.0
        };
        // Each image once, however often it has to be encoded.
        let features = if stage.cache_features {
            encoded(looks, f64::INFINITY)
        } else {
            0.0
        };
        let image =
            (config.vision.features() * config.vision.hidden_size * precision.bytes()) as f64;
        let weights = all as f64 * 4.0 + copies;
        let activations = shapes.activations(&share, average, precision);
        let moments = match self.sharded {
            true => 8.0 / self.devices as f64,
            false => 8.0,
        };
        let training = trainable as f64 * (4.0 + moments);
        // What gradients travel in between devices.
        let buckets = match self.devices {
            1 => 0.0,
            _ => 4.0 * trainable as f64,
        };
        // The images of the pack at hand, and of the one that is sent ahead.
        let most = share.batch as f64 * average.images;
        let sent = 2.0 * most.min(stage.pack_images as f64) * 3.0 * pixels * 4.0;
        let narrow = match precision {
            Precision::F32 => 0.0,
            Precision::Bf16 | Precision::F16 => 2.0,
        };
        Ok(StageCost {
            name: stage.name.clone(),
            precision: choice.name(),
            trainable,
            updates,
            samples,
            shared: stage.packs.unwrap_or(stage.batch).max(1),
            tokens: documents * average.tokens,
            targets: documents * average.targets,
            images: looks,
            operations: documents * shapes.operations(average, passed, |part| stage.trains(part)),
            memory: Memory {
                weights,
                training,
                activations,
                data: BATCHES * share.batch as f64 * average.images * 3.0 * pixels * 4.0
                    + features.min(memory) * image,
                process: PROGRAM + WAITING * (weights + activations),
            },
            gpu_memory: all as f64 * (4.0 + narrow) + training + activations + buckets + sent,
            disk: features.min(disk) * image,
        })
    }
}
