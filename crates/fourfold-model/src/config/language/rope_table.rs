//! One rule for positions, as a table of a `config.json` has it.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{RopeConfig, RopeScaling};
use crate::config::json::from_json;

/// The rules that are built.
const KNOWN: [&str; 4] = ["linear", "dynamic", "llama3", "yarn"];

/// The keys of a rule, of whatever kind. Those that say nothing here are left out, as `transformers` leaves them out.
#[derive(Default, Deserialize)]
struct Keys {
    rope_type: Option<String>,
    /// What files before 2024 call it.
    #[serde(rename = "type")]
    old_type: Option<String>,
    rope_theta: Option<f32>,
    partial_rotary_factor: Option<f64>,
    factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    attention_factor: Option<f64>,
    truncate: Option<bool>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
}

/// A rule that was found under `key`.
pub(super) struct RopeTable<'k> {
    key: &'k str,
    keys: Keys,
    /// Whether the factor is there, be it null.
    has_factor: bool,
}

impl<'k> RopeTable<'k> {
    pub fn read(key: &'k str, table: Map<String, Value>) -> Result<Self, String> {
        let has_factor = table.contains_key("factor");
        if table.get("truncate").is_some_and(Value::is_null) {
            return Err(format!("{key}.truncate: is null; expected true or false"));
        }
        let keys: Keys =
            from_json(Value::Object(table)).map_err(|fault| fault.under(key).to_string())?;
        if let Some(part) = keys.partial_rotary_factor.filter(|part| *part != 1.0) {
            return Err(partial(&format!("{key}.partial_rotary_factor"), part));
        }
        Ok(Self {
            key,
            keys,
            has_factor,
        })
    }

    /// Takes `length`, where there is one, for the longest document of pretraining.
    pub fn set_original(&mut self, length: Option<f64>) {
        let own = &mut self.keys.original_max_position_embeddings;
        *own = length.or(*own);
    }

    /// Refuses what `transformers` does not read in a rule for one kind of layer.
    pub fn refuse_untruncated(&self) -> Result<(), String> {
        match self.keys.truncate {
            Some(false) => Err(format!(
                "{}.truncate: is false, which transformers does not read of a rule for one kind of layer; remove it",
                self.key
            )),
            _ => Ok(()),
        }
    }

    /// The rule; `theta` is the base and `longest` the longest document where it does not say.
    pub fn rope(&self, theta: f32, longest: usize) -> Result<RopeConfig, String> {
        Ok(RopeConfig {
            theta: self.keys.rope_theta.unwrap_or(theta),
            scaling: self.scaling(longest as f64)?,
        })
    }

    fn scaling(&self, longest: f64) -> Result<Option<RopeScaling>, String> {
        let Self { key, keys, .. } = self;
        let kind = match keys.rope_type.as_ref().or(keys.old_type.as_ref()) {
            Some(kind) => kind.as_str(),
            None if self.has_factor => {
                return Err(format!(
                    "{key}: has a factor but no rope_type; expected one"
                ));
            }
            None => "default",
        };
        if kind == "default" {
            return Ok(None);
        }
        for (name, given) in [
            ("mscale", keys.mscale),
            ("mscale_all_dim", keys.mscale_all_dim),
        ] {
            if given.is_some() {
                return Err(format!(
                    "{key}.{name}: is not supported; write attention_factor"
                ));
            }
        }
        let demand = |name: &str, given: Option<f64>| {
            given.ok_or_else(|| {
                format!(
                    "{key}.{name}: is missing; expected a number, which a rope_type '{kind}' needs"
                )
            })
        };
        let factor = |given: Option<f64>| demand("factor", given);
        let original = keys.original_max_position_embeddings.unwrap_or(longest);
        Ok(Some(match kind {
            "linear" => RopeScaling::Linear {
                factor: factor(keys.factor)?,
            },
            "dynamic" => RopeScaling::Dynamic {
                factor: factor(keys.factor)?,
            },
            "llama3" => RopeScaling::Llama3 {
                factor: factor(keys.factor)?,
                low_freq_factor: demand("low_freq_factor", keys.low_freq_factor)?,
                high_freq_factor: demand("high_freq_factor", keys.high_freq_factor)?,
                original_max_position_embeddings: original,
            },
            "yarn" => {
                // A factor of null is the quotient of the two lengths.
                let quotient = self.has_factor.then_some(longest / original);
                let or =
                    |given: Option<f64>, default| given.filter(|b| *b != 0.0).unwrap_or(default);
                RopeScaling::Yarn {
                    factor: factor(keys.factor.or(quotient))?,
                    original_max_position_embeddings: original,
                    beta_fast: or(keys.beta_fast, 32.0),
                    beta_slow: or(keys.beta_slow, 1.0),
                    attention_factor: keys.attention_factor,
                    truncate: keys.truncate.unwrap_or(true),
                }
            }
            other => {
                return Err(format!(
                    "{key}.rope_type: '{other}' is not supported; expected default, {}",
                    KNOWN.join(", ")
                ));
            }
        }))
    }
}

/// That heads turn in part only.
pub(super) fn partial(key: &str, part: f64) -> String {
    format!(
        "{key}: is {part}, which is not supported; expected 1.0: use a model that was trained so"
    )
}
