//! Rotary positions as `config.json` has them: a base, and a rule that stretches it over longer documents.

use std::f64::consts::TAU;

use fourfold_tensor::ops::Rotary;
use serde::{Serialize, Serializer};

use crate::{ModelError, Result};

/// How angles grow with the position.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub theta: f32,
    /// The rule that changes them, if any.
    pub scaling: Option<RopeScaling>,
}

/// A rule for documents longer than those of pretraining, in Hugging Face's words (`rope_scaling` or, in newer files,
/// `rope_parameters`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// Positions are divided by `factor`.
    Linear {
        /// How many times longer documents may be.
        factor: f64,
    },
    /// Frequencies change with the length of a document beyond `max_position_embeddings`, which is where documents end
    /// here: below it nothing changes.
    Dynamic {
        /// How many times longer documents may be.
        factor: f64,
    },
    /// Low frequencies are divided by `factor`, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// How many times longer documents may be.
        factor: f64,
        /// Waves longer than the original length divided by this are stretched.
        low_freq_factor: f64,
        /// Waves shorter than the original length divided by this are kept.
        high_freq_factor: f64,
        /// Longest document of pretraining.
        #[serde(serialize_with = "count")]
        original_max_position_embeddings: f64,
    },
    /// Blended by the number of turns within the original length (YaRN, Peng et al., arXiv 2309.00071).
    Yarn {
        /// How many times longer documents may be.
        factor: f64,
        /// Longest document of pretraining.
        #[serde(serialize_with = "count")]
        original_max_position_embeddings: f64,
        /// Pairs that turn more often than this are kept.
        beta_fast: f64,
        /// Pairs that turn less often than this are stretched.
        beta_slow: f64,
        /// What cosines and sines are multiplied by; from `factor` when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        attention_factor: Option<f64>,
        /// Whether the bounds of the blend are whole pairs.
        #[serde(skip_serializing_if = "Clone::clone")]
        truncate: bool,
    },
}

/// A whole number as one: transformers warns of `32.0`.
fn count<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match number.fract() == 0.0 && (0.0..1e15).contains(number) {
        true => serializer.serialize_u64(*number as u64),
        false => serializer.serialize_f64(*number),
    }
}

impl RopeConfig {
    /// The angles of heads of `width` numbers; cosines and sines are multiplied by `amplitude` besides.
    ///
    /// # Errors
    /// When a number of it makes no angles; `part` says what it is a part of.
    pub(crate) fn rotary(&self, part: &str, width: usize, amplitude: f64) -> Result<Rotary> {
        let (frequencies, scale) = self.frequencies(part, width)?;
        Ok(Rotary::new(frequencies, scale * amplitude)?)
    }

    /// The frequency of each pair in heads of `width` numbers, and what cosines and sines are multiplied by.
    pub(super) fn frequencies(&self, part: &str, width: usize) -> Result<(Vec<f64>, f64)> {
        if !(self.theta > 1.0 && self.theta.is_finite()) {
            return Err(ModelError::config(
                format!("{part}.rope_theta"),
                format!("is {}; expected a number above 1", self.theta),
            ));
        }
        let theta = f64::from(self.theta);
        let plain: Vec<f64> = (0..width / 2)
            .map(|pair| theta.powf(-2.0 * pair as f64 / width as f64))
            .collect();
        let Some(scaling) = &self.scaling else {
            return Ok((plain, 1.0));
        };
        scaling.check(part)?;
        Ok((scaling.apply(plain, theta, width), scaling.amplitude()))
    }
}

impl RopeScaling {
    /// What cosines and sines are multiplied by.
    fn amplitude(&self) -> f64 {
        match self {
            Self::Yarn {
                factor,
                attention_factor,
                ..
            } => attention_factor.unwrap_or(0.1 * factor.max(1.0).ln() + 1.0),
            _ => 1.0,
        }
    }

    /// The frequencies of `plain` under this rule.
    fn apply(&self, plain: Vec<f64>, theta: f64, width: usize) -> Vec<f64> {
        match *self {
            Self::Dynamic { .. } => plain,
            Self::Linear { factor } => plain.iter().map(|f| f / factor).collect(),
            Self::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            } => {
                let scaled = |frequency: f64| {
                    let turns = original * frequency / TAU;
                    // 1 keeps the frequency, 0 divides it.
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - kept) * frequency / factor + kept * frequency
                };
                plain.into_iter().map(scaled).collect()
            }
            Self::Yarn {
                factor,
                original_max_position_embeddings: original,
                beta_fast,
                beta_slow,
                truncate,
                ..
            } => {
                // The pair that turns so often within the original length.
                let pair = |turns: f64| {
                    width as f64 * (original / (turns * TAU)).ln() / (2.0 * theta.ln())
                };
                let (mut low, mut high) = (pair(beta_fast), pair(beta_slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(width as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                let scaled = |(pair, frequency): (usize, f64)| {
                    let stretched = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    stretched * frequency / factor + (1.0 - stretched) * frequency
                };
                plain.into_iter().enumerate().map(scaled).collect()
            }
        }
    }

    /// Refuses numbers that would make no angles.
    fn check(&self, part: &str) -> Result<()> {
        let numbers: &[(&str, f64)] = match self {
            Self::Linear { factor } | Self::Dynamic { factor } => &[("factor", *factor)],
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => &[
                ("factor", *factor),
                ("low_freq_factor", *low_freq_factor),
                ("high_freq_factor", *high_freq_factor),
                (
                    "high_freq_factor - low_freq_factor",
                    high_freq_factor - low_freq_factor,
                ),
                (
                    "original_max_position_embeddings",
                    *original_max_position_embeddings,
                ),
            ],
            Self::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                attention_factor,
                ..
            } => &[
                ("factor", *factor),
                (
                    "original_max_position_embeddings",
                    *original_max_position_embeddings,
                ),
                ("beta_fast", *beta_fast),
                ("beta_slow", *beta_slow),
                ("attention_factor", attention_factor.unwrap_or(1.0)),
            ],
        };
        match numbers
            .iter()
            .find(|(_, value)| !(*value > 0.0 && value.is_finite()))
        {
            None => Ok(()),
            Some((key, value)) => Err(ModelError::config(
                format!("{part}.rope_scaling.{key}"),
                format!("is {value}; expected more than 0"),
            )),
        }
    }
}
