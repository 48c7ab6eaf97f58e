//! The sections of a recipe that are not stages, data or evaluations.

use std::path::PathBuf;

use fourfold_model::{
    LanguageConfig, LoraConfig, ProjectorConfig, VisibilityKind, VisionConfig, WeightFormat,
};
use fourfold_tensor::{Device, Precision};
use serde::{Deserialize, Serialize};
use toml::Table;

use super::backbone::{self, Backbone};
use super::key::{KeyError, KeyPath};
use super::origin::Origin;

/// `precision = "auto" | "f32" | "tf32" | "bf16" | "fp16"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 where the machine has instructions for it, else f32.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// The same, but an NVIDIA GPU may round what products read to TF32 while it trains.
    Tf32,
    /// 16-bit brain floats into 32-bit sums.
    Bf16,
    /// 16-bit floats of five bits of exponent into 32-bit sums, with a loss that is scaled.
    Fp16,
}

impl PrecisionChoice {
    /// The precision on this processor.
    pub fn resolve(self) -> Precision {
        self.resolve_on(&Device::Cpu)
    }

    /// The precision on `device`.
    pub fn resolve_on(self, device: &Device) -> Precision {
        match self {
            Self::Auto => Precision::fastest_on(device),
            Self::F32 | Self::Tf32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
            Self::Fp16 => Precision::F16,
        }
    }

    /// What `auto` means on `device`; any other as it is.
    pub(super) fn settle(self, device: &Device) -> Self {
        match self {
            Self::Auto => match Precision::fastest_on(device) {
                Precision::F32 => Self::F32,
                Precision::Bf16 => Self::Bf16,
                Precision::F16 => Self::Fp16,
            },
            settled => settled,
        }
    }

    /// The word for what it means on this processor.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tf32 => "tf32",
            other => other.resolve().name(),
        }
    }
}

/// `[model]`: a whole model of an earlier run, or its three parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelSection {
    /// A model folder that Fourfold wrote; excludes the three parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
    /// What a row may see, in training and in prefill; that of `from`, or image-bidirectional, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<VisibilityKind>,
    /// The vision encoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision: Option<Backbone<VisionConfig>>,
    /// The projector; always starts from random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projector: Option<ProjectorConfig>,
    /// The language model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Backbone<LanguageConfig>>,
    /// Adapters of linear layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
}

/// `[model]` before its backbones are read.
#[derive(Deserialize)]
pub(super) struct RawModel {
    from: Option<Origin>,
    visibility: Option<VisibilityKind>,
    vision: Option<Table>,
    projector: Option<ProjectorConfig>,
    language: Option<Table>,
    lora: Option<LoraConfig>,
}

impl RawModel {
    pub fn read(self, path: &KeyPath) -> Result<ModelSection, KeyError> {
        let vision = self.vision;
        let language = self.language;
        Ok(ModelSection {
            from: self.from,
            visibility: self.visibility,
            vision: vision
                .map(|table| backbone::vision(table, &path.key("vision")))
                .transpose()?,
            projector: self.projector,
            lora: self.lora,
            language: language
                .map(|table| backbone::language(table, &path.key("language")))
                .transpose()?,
        })
    }
}

/// `[tokenizer]`: a file, or the order to train one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenizerSection {
    /// A `tokenizer.json` or a folder with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
    /// Special tokens to add, such as one that keeps an image's place; they get the next ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Trains one at the start of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainTokenizer>,
}

/// A byte-pair tokenizer to train on the texts of some data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainTokenizer {
    /// How many tokens it shall have, special ones included.
    pub vocabulary: usize,
    /// Names of `[data.NAME]` whose prompts and answers it is trained on.
    pub on: Vec<String>,
}

/// `[training]`: what happens along the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Training {
    /// Updates between checkpoints; one is always written where a stage ends or training is stopped.
    pub checkpoint_every: usize,
    /// How many checkpoints are kept.
    pub keep_checkpoints: usize,
    /// Whether the optimizer's moments are shared out among ranks, each of which steps its part (ZeRO-1): less memory
    /// on each for more numbers to send. On one rank it changes nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shard_optimizer: bool,
    /// Updates between captions of the held-out `samples`; they are always made where a stage ends.
    pub sample_every: usize,
    /// Most memory for kept features (`cache_features` of a stage), in MiB; images beyond it are encoded anew.
    pub feature_cache_mib: usize,
    /// A folder for kept features on disk, where later runs find those of the same encoder, image file, transform and
    /// variation; numbers in the precision of products, so that no loss changes by a bit. Made if need be; runs may
    /// share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_cache: Option<PathBuf>,
    /// Most disk for all that is in `feature_cache`, in MiB; when it is full, no more is stored.
    pub feature_cache_disk_mib: usize,
    /// The part of a source, from 0 to 1, that may be broken: so many of its samples are passed over and listed in
    /// `skipped.jsonl`, and one always is; the run stops at the next.
    pub max_skipped: f64,
    /// The number format of the finished model's file.
    pub model_format: StoredFormat,
    /// The number format of exported parts.
    pub parts_format: StoredFormat,
    /// Held-out images that are captioned as training goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<SampleSelection>,
}

/// The number format that weights are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredFormat {
    /// 32-bit floats: the very numbers that were trained.
    F32,
    /// 16-bit brain floats: half the size.
    Bf16,
}

impl From<StoredFormat> for WeightFormat {
    fn from(format: StoredFormat) -> Self {
        match format {
            StoredFormat::F32 => Self::F32,
            StoredFormat::Bf16 => Self::Bf16,
        }
    }
}

impl Default for Training {
    fn default() -> Self {
        Self {
            checkpoint_every: 200,
            keep_checkpoints: 2,
            shard_optimizer: false,
            max_skipped: 0.01,
            sample_every: 200,
            feature_cache_mib: 1024,
            feature_cache: None,
            feature_cache_disk_mib: 16384,
            model_format: StoredFormat::F32,
            parts_format: StoredFormat::Bf16,
            samples: None,
        }
    }
}

/// Which images are captioned as training goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSelection {
    /// The name of a `[data.NAME]` or `[evaluation.NAME]`.
    pub data: String,
    /// How many, spread evenly over it.
    pub count: usize,
    /// The longest caption, in tokens.
    #[serde(default = "max_new_tokens")]
    pub max_new_tokens: usize,
}

fn max_new_tokens() -> usize {
    32
}
