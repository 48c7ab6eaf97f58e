//! Tensors that the classes of `transformers` have and that no features here depend on.
//!
//! A folder without them would load there with a warning and random numbers in their place.

use super::layout::Names;
use crate::weights::Constant;
use crate::{VisionConfig, VisionFamily};

/// Such tensors of the encoder of `config`, their names behind `prefix`: the norm behind the last block of an encoder
/// that gives features before it, as one that changes no scale, and the token that hides patches in pretraining.
pub(crate) fn unread(config: &VisionConfig, prefix: &str) -> Vec<Constant> {
    let names = Names::of(config);
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[usize], value: f32| {
        let name = name.strip_prefix("vision.").unwrap_or(&name);
        tensors.push(Constant {
            name: format!("{prefix}{name}"),
            shape: shape.to_vec(),
            value,
        });
    };
    let width = config.hidden_size;
    if !config.final_norm {
        let norm = names.at(names.final_norm);
        add(format!("{norm}.weight"), &[width], 1.0);
        add(format!("{norm}.bias"), &[width], 0.0);
    }
    if matches!(
        config.family,
        VisionFamily::Dinov2 | VisionFamily::Dinov2Registers
    ) {
        add(names.at("embeddings.mask_token"), &[1, width], 0.0);
    }
    tensors
}
