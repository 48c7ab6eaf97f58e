//! The several ways in which `config.json` files say how positions turn.

use serde::Deserialize;
use serde_json::Value;

use super::{RopeConfig, RopeScaling};

/// The keys of it, old and new.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct RopeFile {
    pub rope_theta: Option<f32>,
    pub rope_local_base_freq: Option<f32>,
    pub rope_scaling: Option<Value>,
    pub rope_parameters: Option<Value>,
    pub partial_rotary_factor: Option<f32>,
}

impl RopeFile {
    /// The angles of layers of `kind` (`full_attention` or `sliding_attention`), which newer files may give apart;
    /// `theta` is the family's base where none is given.
    pub fn of(&self, kind: &str, theta: f32) -> Result<RopeConfig, String> {
        let sliding = kind == "sliding_attention";
        let own = if sliding {
            self.rope_local_base_freq
        } else {
            None
        };
        let mut rope = RopeConfig {
            theta: own.or(self.rope_theta).unwrap_or(theta),
            scaling: None,
        };
        whole(self.partial_rotary_factor)?;
        if let Some(parameters) = &self.rope_parameters {
            let parameters = parameters.get(kind).unwrap_or(parameters);
            if let Some(theta) = parameters.get("rope_theta").and_then(Value::as_f64) {
                rope.theta = theta as f32;
            }
            rope.scaling = scaling("rope_parameters", parameters)?;
        }
        // Where layers that slide have a base of their own, the old key speaks of the others (Gemma 3).
        if let Some(parameters) = self.rope_scaling.as_ref().filter(|_| own.is_none()) {
            rope.scaling = scaling("rope_scaling", parameters)?;
        }
        Ok(rope)
    }
}

/// The rule that `parameters` name, if they name one.
fn scaling(key: &str, parameters: &Value) -> Result<Option<RopeScaling>, String> {
    let Value::Object(table) = parameters else {
        return match parameters {
            Value::Null => Ok(None),
            other => Err(format!("{key} is {other}; expected a table")),
        };
    };
    let part = table.get("partial_rotary_factor").and_then(Value::as_f64);
    whole(part.map(|part| part as f32))?;
    // Files before 2024 call it `type`.
    let kind = table.get("rope_type").or_else(|| table.get("type"));
    let kind = match kind.and_then(Value::as_str) {
        Some(kind) => kind,
        None if table.contains_key("factor") => {
            return Err(format!("{key} has a factor but no rope_type; expected one"));
        }
        None => "default",
    };
    if kind == "default" {
        return Ok(None);
    }
    let known = ["linear", "dynamic", "llama3", "yarn"];
    if !known.contains(&kind) {
        return Err(format!(
            "{key}: rope_type '{kind}' is not supported; expected default, {}",
            known.join(", ")
        ));
    }
    for unsupported in ["mscale", "mscale_all_dim"] {
        if table.get(unsupported).is_some_and(|value| !value.is_null()) {
            return Err(format!(
                "{key}: {unsupported} is not supported; write attention_factor"
            ));
        }
    }
    let mut table = table.clone();
    table.insert("rope_type".into(), kind.into());
    serde_json::from_value(Value::Object(table))
        .map(Some)
        .map_err(|error| format!("{key}: {error}"))
}

fn whole(part: Option<f32>) -> Result<(), String> {
    match part {
        Some(part) if part != 1.0 => Err(format!(
            "partial_rotary_factor is {part}, which is not supported; expected 1.0: use a model that was trained so"
        )),
        _ => Ok(()),
    }
}
