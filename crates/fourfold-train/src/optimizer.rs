//! AdamW over the parameters of a stage, with a learning rate a part.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use fourfold_model::{Model, Part};
use fourfold_tensor::{AdamW, Gradients, ParameterId};

use crate::checkpoint::{Checkpoint, TensorRef};

/// The optimizer of one stage.
pub struct Optimizer {
    betas: [f64; 2],
    weight_decay: f64,
    steps: u64,
    /// One a trainable parameter, in the order of the parameters.
    slots: Vec<Slot>,
}

struct Slot {
    id: ParameterId,
    part: Part,
    /// Updates that this parameter took part in.
    steps: u64,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Optimizer {
    /// Moments of zero for every trainable parameter of `model`.
    ///
    /// # Errors
    /// When a parameter belongs to no part.
    pub fn new(betas: [f64; 2], weight_decay: f64, model: &Model) -> Result<Self> {
        let mut slots = Vec::new();
        for (id, parameter) in model.parameters.iter().filter(|(_, p)| p.trainable()) {
            let part = Part::of(parameter.name());
            let len = parameter.master().len();
            slots.push(Slot {
                id,
                part: part.with_context(|| format!("'{}' is of no part", parameter.name()))?,
                steps: 0,
                first: vec![0.0; len],
                second: vec![0.0; len],
            });
        }
        Ok(Self {
            betas,
            weight_decay,
            steps: 0,
            slots,
        })
    }

    /// Steps made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step of AdamW with gradients multiplied by `scale`.
    ///
    /// Matrices decay, vectors do not. A parameter that no gradient reached (the vision encoder in an update of
    /// text alone) is left as it is, and so are its moments.
    ///
    /// # Errors
    /// When a tape still holds a parameter.
    pub fn step(
        &mut self,
        model: &mut Model,
        gradients: &Gradients,
        rates: &BTreeMap<Part, f64>,
        scale: f32,
    ) -> Result<()> {
        self.steps += 1;
        for slot in &mut self.slots {
            let Some(gradient) = gradients.get(slot.id) else {
                continue;
            };
            slot.steps += 1;
            let rate = rates.get(&slot.part).copied();
            let rate = rate.with_context(|| format!("no learning rate for {}", slot.part))?;
            let matrix = model.parameters.get(slot.id).is_matrix();
            let decay = if matrix { self.weight_decay } else { 0.0 };
            let step = AdamW::new(self.betas, slot.steps, rate, decay);
            let gradient = gradient.f32()?;
            let Slot { first, second, .. } = slot;
            model.parameters.update_both(slot.id, |master, working| {
                step.apply(master, working, gradient, scale, first, second);
            })?;
        }
        Ok(())
    }

    /// The moments, for a checkpoint.
    pub fn tensors<'a>(&'a self, model: &'a Model) -> Vec<TensorRef<'a>> {
        let mut all = Vec::new();
        for slot in &self.slots {
            let parameter = model.parameters.get(slot.id);
            for (kind, values) in [("first", &slot.first), ("second", &slot.second)] {
                let shape = parameter.master().shape();
                all.push(TensorRef {
                    name: format!("{kind}.{}", parameter.name()),
                    shape,
                    values,
                });
            }
        }
        all
    }

    /// How many steps each parameter took part in, for a checkpoint.
    pub fn parameter_steps(&self, model: &Model) -> BTreeMap<String, u64> {
        let name = |slot: &Slot| model.parameters.get(slot.id).name().to_owned();
        self.slots
            .iter()
            .map(|slot| (name(slot), slot.steps))
            .collect()
    }

    /// Takes moments and counts from a checkpoint.
    ///
    /// # Errors
    /// When it lacks one.
    pub fn restore(&mut self, model: &Model, checkpoint: &Checkpoint) -> Result<()> {
        self.steps = checkpoint.state.optimizer_steps;
        for slot in &mut self.slots {
            let name = model.parameters.get(slot.id).name();
            let steps = checkpoint.state.parameter_steps.get(name);
            slot.steps = *steps
                .with_context(|| format!("the checkpoint has no count of steps of '{name}'"))?;
            for (kind, values) in [("first", &mut slot.first), ("second", &mut slot.second)] {
                let stored = checkpoint.tensor(&format!("{kind}.{name}"), values.len())?;
                values.copy_from_slice(stored);
            }
        }
        Ok(())
    }
}
