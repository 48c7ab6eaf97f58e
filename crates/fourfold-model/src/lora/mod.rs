//! Low-rank adapters: a linear layer's frozen weight `W` and a learned `B · A` of low rank beside it (Hu et al., LoRA,
//! arXiv 2106.09685).
//!
//! An adapter belongs to a layer as weight files have it: queries, keys and values have their own, though they are one
//! matrix here.

mod config;
mod merge;

use fourfold_tensor::ops;
use fourfold_tensor::{ParameterId, Parameters, Tape, Tensor};

pub use config::LoraConfig;
pub(crate) use merge::{Merge, merged};

use crate::spec::{Init, Spec, Stored};
use crate::{ModelError, Result};

/// What the names of adapters' parameters begin with.
const ROOT: &str = "lora";

/// The layer that `stored` is the weight of: its name without `.weight`.
pub(crate) fn layer(stored: &Stored) -> &str {
    stored.name.strip_suffix(".weight").unwrap_or(&stored.name)
}

/// The names of the two matrices of the adapter of `layer`.
pub(crate) fn names(layer: &str) -> [String; 2] {
    ["lora_A", "lora_B"].map(|matrix| format!("{ROOT}.{layer}.{matrix}.weight"))
}

/// The parameters of the adapters of those layers of `specs` that `config` aims at.
///
/// # Errors
/// When a pattern fits no layer, or the configuration itself makes no adapter.
pub(crate) fn specs(config: &LoraConfig, specs: &[Spec]) -> Result<Vec<Spec>> {
    config.check()?;
    let mut fits = vec![false; config.targets.len()];
    let mut adapters = Vec::new();
    for spec in specs.iter().filter(|spec| spec.linear) {
        for stored in &spec.stored {
            let layer = layer(stored);
            let mut aimed = false;
            for (target, fits) in config.targets.iter().zip(&mut fits) {
                if config::matches(target, layer) {
                    (aimed, *fits) = (true, true);
                }
            }
            if aimed {
                let inner = spec.shape[1];
                let rows = stored.shape.iter().product::<usize>() / inner;
                // The spread of peft's Kaiming-uniform first values; with B zero the model begins as it was.
                let deviation = (3.0 * inner as f32).sqrt().recip();
                let [a, b] = names(layer);
                adapters.push(Spec::plain(
                    a,
                    &[config.rank, inner],
                    Init::Normal(deviation),
                ));
                adapters.push(Spec::plain(b, &[rows, config.rank], Init::Zeros));
            }
        }
    }
    match fits.iter().position(|fits| !fits) {
        None => Ok(adapters),
        Some(index) => Err(ModelError::config(
            "lora.targets",
            format!(
                "'{}' fits no linear layer; there are {}",
                config.targets[index],
                config::last_names(specs).join(", ")
            ),
        )),
    }
}

/// The adapters of a linear layer.
#[derive(Clone, Debug)]
pub(crate) struct Adapters {
    each: Vec<Adapter>,
    /// What their products are multiplied by.
    factor: f32,
    /// The share of inputs that is left out in training.
    dropout: f32,
}

#[derive(Clone, Copy, Debug)]
struct Adapter {
    a: ParameterId,
    b: ParameterId,
    /// The first of the layer's outputs that it adds to.
    first: usize,
}

impl Adapters {
    /// Those of the linear layer `spec`, if it has any.
    pub fn find(config: &LoraConfig, parameters: &Parameters, spec: &Spec) -> Option<Self> {
        let mut first = 0;
        let mut each = Vec::new();
        for stored in &spec.stored {
            let [a, b] = names(layer(stored)).map(|name| parameters.find(&name));
            if let (Some(a), Some(b)) = (a, b) {
                each.push(Adapter { a, b, first });
            }
            first += stored.shape.iter().product::<usize>() / spec.shape[1].max(1);
        }
        (!each.is_empty()).then(|| Self {
            each,
            factor: config.factor(),
            dropout: config.dropout,
        })
    }

    /// `y + factor · (dropout(x) · Aᵀ) · Bᵀ` for the layer's input `x: [rows, in]` and output `y: [rows, out]`. Adapters
    /// that do not train leave nothing out: a frozen encoder gives an image the same features each time.
    pub fn add_to(&self, tape: &Tape<'_>, x: &Tensor, y: Tensor) -> Result<Tensor> {
        let mut y = y;
        for adapter in &self.each {
            let dropout = if tape.trains(adapter.a) {
                self.dropout
            } else {
                0.0
            };
            let x = ops::dropout(tape, x, dropout)?;
            let low = ops::linear(tape, &x, &tape.parameter(adapter.a), None)?;
            let delta = ops::linear(tape, &low, &tape.parameter(adapter.b), None)?;
            y = ops::add_columns(tape, &y, &delta, adapter.first, self.factor)?;
        }
        Ok(y)
    }
}
