//! What a recipe says of low-rank adapters.

use serde::{Deserialize, Serialize};

use crate::spec::Spec;
use crate::{ModelError, Result};

/// The largest rank: beyond it an adapter is no smaller than its layer in any model that trains here.
const RANK: usize = 4096;

/// Low-rank adapters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rows of `A` and columns of `B`.
    pub rank: usize,
    /// `B · A` is multiplied by `alpha / rank`; `rank` when absent, which multiplies by 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f32>,
    /// The share of an adapter's inputs that is left out in training.
    #[serde(default)]
    pub dropout: f32,
    /// The layers that get one: names or their ends (`q_proj`, `vision_model.encoder.layers.0.mlp.fc1`), with `*` for
    /// anything in a whole name (`language.*.mlp.*`).
    pub targets: Vec<String>,
}

impl LoraConfig {
    /// What `B · A` is multiplied by.
    pub fn factor(&self) -> f32 {
        self.alpha.map_or(1.0, |alpha| alpha / self.rank as f32)
    }

    pub(super) fn check(&self) -> Result<()> {
        let fault =
            |key: &str, message: String| Err(ModelError::config(format!("lora.{key}"), message));
        if !(1..=RANK).contains(&self.rank) {
            return fault("rank", format!("is {}; expected 1 to {RANK}", self.rank));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let dropout = self.dropout;
            return fault(
                "dropout",
                format!("is {dropout}; expected at least 0 and less than 1"),
            );
        }
        if let Some(alpha) = self
            .alpha
            .filter(|alpha| !(alpha.is_finite() && *alpha > 0.0))
        {
            return fault("alpha", format!("is {alpha}; expected a number above 0"));
        }
        match self.targets.is_empty() {
            true => fault("targets", "is empty; name at least one linear layer".into()),
            false => Ok(()),
        }
    }
}

/// Whether `pattern` names `layer`: with a `*`, the whole of it; without, its end from a dot on.
pub(super) fn matches(pattern: &str, layer: &str) -> bool {
    if pattern.contains('*') {
        return glob(pattern, layer);
    }
    let before = layer.strip_suffix(pattern);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Whether `text` is `pattern` with something, or nothing, for each `*`.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        // The earliest place leaves most for the pieces to come.
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

/// The last words of the names of all linear layers, each once.
pub(super) fn last_names(specs: &[Spec]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let stored = specs
        .iter()
        .filter(|spec| spec.linear)
        .flat_map(|spec| &spec.stored);
    for name in stored.map(|stored| super::layer(stored).rsplit('.').next().unwrap_or("")) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_ends_or_with_stars_the_whole() {
        let layer = "language.model.layers.11.self_attn.q_proj";
        for (pattern, wanted) in [
            ("q_proj", true),
            ("self_attn.q_proj", true),
            ("proj", false),
            ("k_proj", false),
            (layer, true),
            ("language.*.q_proj", true),
            ("language.*", true),
            ("*", true),
            ("*.layers.1.*", false),
            ("*.layers.11.*_proj", true),
            ("vision.*", false),
            ("*q_proj*q_proj", false),
            ("", false),
        ] {
            assert_eq!(matches(pattern, layer), wanted, "{pattern}");
        }
    }
}
