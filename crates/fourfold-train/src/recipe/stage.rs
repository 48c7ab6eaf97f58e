//! `[[stage]]`: what trains, on what, how long and how fast.

use std::collections::BTreeMap;
use std::fmt;

use fourfold_data::{Augment, TooLong};
use fourfold_model::{Part, VisibilityKind};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::PrecisionChoice;
use super::key::unknown_word;

/// One stage of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// What it is called in overrides, metrics and reports.
    pub name: String,
    /// The parts that train; the others are frozen.
    pub train: Vec<Part>,
    /// Data names and how often each is drawn, relative to the others; or a list of names, each of which
    /// weighs its number of samples.
    pub mixture: Weights,
    /// How many samples the stage draws; or give `epochs` or `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// How often, on average, it sees each sample of its mixture; or give `samples` or `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// It ends when the documents drawn come to so many tokens, visual ones included; or give `samples` or `epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Documents an update; or give `packs`, and it is what they are expected to hold.
    #[serde(default, skip_serializing_if = "is_none")]
    pub batch: usize,
    /// Packs an update, filled from many times as many documents; or give `batch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packs: Option<usize>,
    /// Most tokens in a pack; a pack is a micro-batch.
    #[serde(default = "pack_tokens")]
    pub pack_tokens: usize,
    /// Most images in a pack.
    #[serde(default = "pack_images")]
    pub pack_images: usize,
    /// Most tokens in a document; longer answers are cut. When absent: what a pack holds, or what the language
    /// model takes if that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// What becomes of a document that is longer: `cut` at the end of its last answer, or `drop`.
    #[serde(default, skip_serializing_if = "is_cut")]
    pub too_long: TooLong,
    /// The highest learning rate: one number, or one a part (`{ projector = 1e-3, vision = 1e-4 }`).
    pub lr: Rates,
    /// The part of the stage, from 0 to 1, over which the learning rate rises to its highest.
    #[serde(default = "warmup")]
    pub warmup: f64,
    /// How the learning rate falls after that.
    #[serde(default)]
    pub schedule: Schedule,
    /// What remains of the learning rate at the end, as a fraction of the highest.
    #[serde(default)]
    pub min_lr: f64,
    /// AdamW's decoupled weight decay, on matrices only.
    #[serde(default)]
    pub weight_decay: f64,
    /// The largest norm of all gradients together; they are scaled down to it. 0 means no limit.
    #[serde(default = "clip")]
    pub clip: f64,
    /// AdamW's decay rates of the first and second moment.
    #[serde(default = "betas")]
    pub betas: [f64; 2],
    /// The number format of matrix products in this stage; the recipe's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<PrecisionChoice>,
    /// How the loss of a stage in fp16 is scaled, where it is not as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
    /// Random changes to training images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<Augment>,
    /// Whether the features of a frozen vision encoder are kept, so that an image passes it once: in memory, and on
    /// disk if there is a `training.feature_cache`. Images must not vary, or in a fixed number of ways
    /// (`augment.views`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cache_features: bool,
    /// Whether a block keeps only its input for the way back and is computed a second time there: up to a
    /// third more time for a fraction of the memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recompute: bool,
    /// What a row may see in this stage; the model's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<VisibilityKind>,
    /// Parts to write as Hugging Face folders under `parts/` of the run when the stage ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub export: Vec<Part>,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

fn is_cut(too_long: &TooLong) -> bool {
    *too_long == TooLong::Cut
}

fn pack_tokens() -> usize {
    2048
}

fn pack_images() -> usize {
    64
}

fn warmup() -> f64 {
    0.05
}

fn clip() -> f64 {
    1.0
}

fn betas() -> [f64; 2] {
    [0.9, 0.98]
}

impl Stage {
    /// How many documents of so many rows and images, on average, an update is expected to take.
    pub fn expected_batch(&self, tokens: f64, images: f64) -> usize {
        let Some(packs) = self.packs else {
            return self.batch;
        };
        let rows = self.pack_tokens as f64 / tokens.max(1.0);
        let looks = self.pack_images as f64 / images.max(1e-9);
        ((packs as f64 * rows.min(looks)).round() as usize).max(1)
    }

    /// Whether `part` trains in this stage.
    pub fn trains(&self, part: Part) -> bool {
        self.train.contains(&part)
    }
}

/// `[stage.loss_scale]`: what the loss of a stage in fp16 is multiplied by, so that small gradients do not vanish. The
/// defaults are PyTorch's (`torch.amp.GradScaler`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossScale {
    /// By how much at first.
    pub initial: f64,
    /// After so many updates in a row whose gradients are finite it is doubled; it is halved after one whose are not.
    pub growth_interval: u64,
}

impl Default for LossScale {
    fn default() -> Self {
        Self {
            initial: 65536.0,
            growth_interval: 2000,
        }
    }
}

/// A mixture of data, by name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Weights {
    /// Every source weighs its number of samples.
    Natural(Vec<String>),
    /// How often each source is drawn, relative to the others.
    Given(BTreeMap<String, f64>),
}

impl Weights {
    /// The names with their weights, if they have any.
    pub fn entries(&self) -> Vec<(&str, Option<f64>)> {
        match self {
            Self::Natural(names) => names.iter().map(|name| (name.as_str(), None)).collect(),
            Self::Given(weights) => weights
                .iter()
                .map(|(name, weight)| (name.as_str(), Some(*weight)))
                .collect(),
        }
    }
}

/// How a learning rate goes after its warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine down.
    #[default]
    Cosine,
    /// A straight line down.
    Linear,
    /// No fall.
    Constant,
}

/// A learning rate, the same for all parts or one a part.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Rates {
    /// For every part that trains.
    All(f64),
    /// By part.
    Parts(BTreeMap<Part, f64>),
}

impl Rates {
    /// The highest learning rate of `part`, if one is given.
    pub fn of(&self, part: Part) -> Option<f64> {
        match self {
            Self::All(rate) => Some(*rate),
            Self::Parts(rates) => rates.get(&part).copied(),
        }
    }

    /// The rates as written.
    pub fn values(&self) -> Vec<f64> {
        match self {
            Self::All(rate) => vec![*rate],
            Self::Parts(rates) => rates.values().copied().collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Weights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Weights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of data names and weights, or a list of data names")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Weights, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(Weights::Natural(names))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Weights, A::Error> {
                let mut weights = BTreeMap::new();
                while let Some((name, weight)) = map.next_entry()? {
                    weights.insert(name, weight);
                }
                Ok(Weights::Given(weights))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Rates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Rates;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a learning rate, or a table of one a part")
            }

            fn visit_f64<E: de::Error>(self, rate: f64) -> Result<Rates, E> {
                Ok(Rates::All(rate))
            }

            fn visit_i64<E: de::Error>(self, rate: i64) -> Result<Rates, E> {
                Ok(Rates::All(rate as f64))
            }

            fn visit_u64<E: de::Error>(self, rate: u64) -> Result<Rates, E> {
                Ok(Rates::All(rate as f64))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rates, A::Error> {
                let mut rates = BTreeMap::new();
                while let Some(word) = map.next_key::<String>()? {
                    let part = word.parse::<Part>().map_err(|_| {
                        de::Error::custom(unknown_word("part", &word, &Part::ALL.map(Part::name)))
                    })?;
                    rates.insert(part, map.next_value()?);
                }
                Ok(Rates::Parts(rates))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
